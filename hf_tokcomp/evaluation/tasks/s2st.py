"""Speech-to-speech translation, the second task of arXiv 2511.20973: of own recordings, CVSS and FLEURS.

CVSS (Jia et al., LREC 2022) is distributed as the English translations of Common Voice's recordings: read aloud, in
folders, and written, in ``test.tsv``. What is to be translated are the recordings themselves, of which it has the
names. FLEURS (Conneau et al., SLT 2022) has the same sentences in many languages: those of one are heard, and those of
the other, with the same numbers, are the right answers.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ...data.columns import PROMPT
from ..task import Row, Task

FLEURS_CODES = {"zh": "cmn", "no": "nb", "tl": "fil", "jw": "jv"}
"""The beginnings of FLEURS's names of languages, where they are not Whisper's codes."""


def corpus(
    folder: Path, split: str | None = None, count: int | None = None, seed: int = 0, *, language: str = "en"
) -> list[Row] | None:
    """The rows of a folder in the layout of CVSS or FLEURS.

    Args:
        folder: for CVSS, what its archive is unpacked to, with Common Voice's folder ``clips`` put beside ``test.tsv``;
            for FLEURS, the folder of the language to translate from, such as ``de_de``, beside that of the other.
        split: ``test`` if None.
        count, seed: not used.
        language: the language to translate into, as Whisper's code.

    Raises:
        FileNotFoundError: recordings, or the sentences in the other language, are not there.
        ValueError: a line has other columns, or the language does not fit.
    """
    table = folder / f"{split or 'test'}.tsv"
    if not table.is_file():
        return None
    lines = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines() if line.strip()]
    if lines and len(lines[0]) == 2 and Path(lines[0][0]).suffix:  # a recording, where other tables have a heading
        return _cvss(folder, table, lines, language)
    if lines and len(lines[0]) == 7 and lines[0][0].isdigit():
        return _fleurs(folder, table, lines, language)
    return None


def _cvss(folder: Path, table: Path, lines: list[list[str]], language: str) -> list[Row]:
    if language != "en":
        raise ValueError(f"{folder} is CVSS, which translates into English: --target-language en, not {language}.")
    clips = folder / "clips"
    if not clips.is_dir():
        raise FileNotFoundError(
            f"{table} names recordings of Common Voice, which are to be in {clips}: put its folder clips there, or a "
            f"link to it. Those in {folder / table.stem} are the spoken translations."
        )
    rows: list[Row] = []
    for line in lines:
        if len(line) != 2:
            raise ValueError(f"{table} has a line of {len(line)} columns, not a name and a translation: {line[0]}.")
        name, text = line
        audio = clips / name
        if not audio.is_file():
            raise FileNotFoundError(f"{table} names {name}, and there is no {audio}.")
        rows.append({"audio": str(audio), "text": [text.strip()], "id": Path(name).stem})
    return rows


def _fleurs(folder: Path, table: Path, lines: list[list[str]], language: str) -> list[Row]:
    """Sentences are read by several people; their translations are not independent, so they count as one recording."""
    start = FLEURS_CODES.get(language, language)
    if folder.resolve().name.split("_")[0] == start:
        raise ValueError(f"{folder} is in the language to translate into, {language}; name the folder of the other.")
    beside = folder.resolve().parent
    others = sorted(beside.glob(f"{start}_*/{table.name}"))
    if len(others) != 1:
        raise FileNotFoundError(
            f"The sentences of {table} in {language!r} are to be in {beside}/{start}_.../{table.name}, and there are "
            f"{len(others)} such files."
        )
    answers: dict[str, str] = {}
    for line in others[0].read_text(encoding="utf-8").splitlines():
        number, _, written, *_ = line.split("\t")
        answers.setdefault(number, written.strip())
    places = [folder / "audio" / table.stem, folder / table.stem]
    sounds = next((place for place in places if place.is_dir()), None)
    if sounds is None:
        raise FileNotFoundError(
            f"The recordings of {table} are to be in {places[0]}: unpack {folder / 'audio' / table.stem}.tar.gz there."
        )
    rows: list[Row] = []
    for number, name, *_ in lines:
        if number not in answers:
            continue  # the languages do not have all sentences in common
        audio = sounds / name
        if not audio.is_file():
            raise FileNotFoundError(f"{table} names {name}, and there is no {audio}.")
        row = {"audio": str(audio), "text": [answers[number]], "id": f"{number}-{Path(name).stem}"}
        rows.append(row | {"recordings": (f"sentence {number}",)})
    if not rows:
        raise ValueError(f"{table} and {others[0]} have no sentence in common.")
    return rows


TASK = Task(
    name="s2st",
    title="",
    kind="translation",
    metrics=("asr_bleu", "bleu"),
    prompts={"": "Translate the speech into {language}."},
    max_new_tokens=None,
    columns={"text": ("translation", "target_text", "tgt_text"), "question": PROMPT, "id": ("id",)},
    own=True,
    spoken=True,
    make_in=lambda language: partial(corpus, language=language),
    note="ASR-BLEU is that of the speech, BLEU that of the text.",
)
