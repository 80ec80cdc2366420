"""LibriSpeech (Panayotov et al., ICASSP 2015): read English speech."""

from __future__ import annotations

from pathlib import Path

from ..task import Row, Task, register_task

ASR_PROMPTS = {
    "qwen2_audio": "Detect the language and recognize the speech: <|en|>",
    "": "Transcribe the input speech.",
}


def corpus(folder: Path, count: int | None = None, seed: int = 0) -> list[Row] | None:
    """The rows of the corpus as it is distributed: ``84/121123/84-121123-0000.flac`` beside ``84-121123.trans.txt``.

    Also of a folder with ``transcripts.tsv`` (id and text) in place of these.

    Raises:
        ValueError: a transcript has no recording.
    """
    texts = sorted(folder.rglob("*.trans.txt")) or sorted(folder.glob("transcripts.tsv"))
    rows: list[Row] = []
    for file in texts:
        for line in file.read_text(encoding="utf-8").splitlines():
            name, _, text = line.replace("\t", " ", 1).partition(" ")
            audio = file.parent / f"{name}.flac"
            if name == "id" or not text.strip():
                continue
            if not audio.is_file():
                raise ValueError(f"{file} has a line for {name}, and there is no {audio}.")
            rows.append({"audio": str(audio), "text": [text.strip()], "id": name})
    return rows or None


register_task(
    Task(
        name="librispeech",
        title="LibriSpeech",
        kind="asr",
        metrics=("wer",),
        prompts=ASR_PROMPTS,
        max_new_tokens=200,
        dataset="lmms-lab-audio/librispeech",
        make=corpus,
        columns={
            "audio": ("audio", "context", "file", "path"),
            "text": ("text", "gt", "transcript", "answer", "sentence"),
        },
    )
)
