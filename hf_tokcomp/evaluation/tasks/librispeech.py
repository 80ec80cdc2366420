"""LibriSpeech (Panayotov et al., ICASSP 2015): read English speech."""

from __future__ import annotations

import re
from pathlib import Path

from ..task import Row, Task

SUBSET = re.compile(r"(train|dev|test)-(clean|other)")
ASR_PROMPTS = {
    "qwen2_audio": "Detect the language and recognize the speech: <|en|>",
    "": "Transcribe the input speech.",
}


def corpus(folder: Path, split: str | None = None, count: int | None = None, seed: int = 0) -> list[Row] | None:
    """The rows of the corpus as distributed: ``test-clean/84/121123/84-121123-0000.flac`` next to transcripts.

    Also supports a folder with ``transcripts.tsv`` (id and text) in place of these transcripts.

    Raises:
        ValueError: there are several subsets and no split selects one, or a transcript has no recording.
    """
    subsets = sorted(path.name for path in folder.iterdir() if path.is_dir() and SUBSET.match(path.name))
    if split is not None or len(subsets) == 1:
        folder = folder / (split or subsets[0])
    elif len(subsets) > 1:
        raise ValueError(f"{folder} holds {', '.join(subsets)}: choose one with --split.")
    rows: list[Row] = []
    for file in sorted(folder.rglob("*.trans.txt")) or sorted(folder.glob("transcripts.tsv")):
        for line in file.read_text(encoding="utf-8").splitlines():
            name, _, text = line.replace("\t", " ", 1).partition(" ")
            audio = file.parent / f"{name}.flac"
            if name == "id" or not text.strip():
                continue
            if not audio.is_file():
                raise ValueError(f"{file} has a line for {name}, and there is no {audio}.")
            rows.append({"audio": str(audio), "text": [text.strip()], "id": name})
    return rows or None


TASK = Task(
    name="librispeech",
    title="LibriSpeech",
    kind="asr",
    metrics=("wer",),
    prompts=ASR_PROMPTS,
    max_new_tokens=200,
    sources={
        "lmms-lab-audio/librispeech": ("librispeech_test_clean", "librispeech_test_clean"),
        "AudioLLMs/librispeech_test_clean": (None, "test"),
    },
    make=corpus,
    columns={
        "audio": ("audio", "context", "file", "path"),
        "text": ("text", "gt", "transcript", "answer", "sentence"),
    },
)
