"""Every form of a table, and everything that may be wrong with one, is the same for finetune, eval, run and compare."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest
from training_files import STORED, jsonl, wav, write

from hf_tokcomp.audio.loading import load_audio
from hf_tokcomp.data import load_examples
from hf_tokcomp.evaluation.items import Dataset, read_items
from hf_tokcomp.evaluation.task import Task
from hf_tokcomp.inference.recordings import find_entries

RATE = 16_000
ROWS = [
    {"audio": "a.wav", "text": "one", "prompt": "Why?"},
    {"audio": "b.wav", "text": "two\u2028more", "prompt": "What?"},
    {"audio": "deep/c.wav", "text": "sch\u00f6n", "prompt": "Who?"},
]
Found = list[tuple[float, str, str | None]]


# The readers: seconds, text and prompt of every row.


def finetune(name: str, split: str | None) -> Found:
    rows = load_examples(name, split=split).dataset
    return [(_seconds(row["audio"]), row["text"], row["prompt"]) for row in rows]


def evaluate(name: str, split: str | None) -> Found:
    columns = {"question": ("prompt", "question")}
    task = Task("asked", "Questions", "qa", ("exact_match",), {"": "{question}"}, columns=columns)
    items = read_items(task, Dataset(name, split=split or "train"), RATE)
    return [
        (_seconds(items.audio_of(place)), item.references[0], item.question) for place, item in enumerate(items.items)
    ]


def run_and_compare(name: str, split: str | None) -> Found:
    return [(_seconds(entry.audio), str(entry.truth), entry.prompt) for entry in find_entries(None, name, split)]


READERS = {"finetune": finetune, "eval": evaluate, "run_and_compare": run_and_compare}


def _seconds(audio: object) -> float:
    return round(len(load_audio(audio, RATE)) / RATE, 3)


# The forms: what is given as name and as split.


def _table(between: str, end: str, folder: Path, name: str, start: str = "") -> str:
    lines = [between.join(row.values()) for row in ROWS]
    content = start + end.join([between.join(ROWS[0]), lines[0], "", *lines[1:], ""])
    (folder / name).write_bytes(content.encode())
    return str(folder / name)


def _parquet(folder: Path, name: str = "x.parquet", **columns: object) -> str:
    rows = {key: [row[key] for row in ROWS] for key in ROWS[0]}
    pa.parquet.write_table(pa.table(rows | columns), folder / name)
    return str(folder / name)


def _stored() -> pa.Array:
    return pa.array([{"bytes": wav(seconds), "path": None} for seconds in (0.2, 0.3, 0.4)], STORED)


def _saved(folder: Path, *splits: str) -> str:
    rows = {key: [row[key] for row in ROWS] for key in ("text", "prompt")}
    made = datasets.Dataset(pa.table({"audio": _stored()} | rows)).cast_column("audio", datasets.Audio(RATE))
    whole = datasets.DatasetDict(dict.fromkeys(splits, made)) if splits else made
    whole.save_to_disk(str(folder / "saved"))
    return str(folder / "saved")


def _audio_folder(folder: Path, suffix: str, *splits: str) -> str:
    """Of each split a folder, and one table beside them; without splits one folder of both."""
    rows = [{"file_name": row["audio"], "text": row["text"], "prompt": row["prompt"]} for row in ROWS]
    for split in splits:
        (folder / split / "deep").mkdir(parents=True)
        for row in ROWS:
            (folder / split / row["audio"]).write_bytes((folder / row["audio"]).read_bytes())
    inside = [row | {"file_name": f"{split}/{row['file_name']}"} for split in splits for row in rows] or rows
    if suffix == "jsonl":
        jsonl(folder / "metadata.jsonl", *inside)
    elif suffix == "csv":
        write(folder / "metadata.csv", "file_name,text,prompt", *(",".join(row.values()) for row in inside))
    else:
        columns = {key: [row[key] for row in inside] for key in inside[0]}
        pa.parquet.write_table(pa.table(columns), folder / "metadata.parquet")
    return str(folder)


def _lines(folder: Path, name: str, end: str = "\n", start: str = "") -> str:
    lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
    (folder / name).write_bytes((start + end.join([lines[0], "", *lines[1:], ""])).encode())
    return str(folder / name)


def _addresses(folder: Path) -> str:
    return str(jsonl(folder / "x.jsonl", *(row | {"audio": (folder / row["audio"]).as_uri()} for row in ROWS)))


def _question(folder: Path) -> str:
    return str(
        jsonl(folder / "x.jsonl", *({("question" if k == "prompt" else k): row[k] for k in row} for row in ROWS))
    )


FORMS: dict[str, tuple[Callable[[Path], str], str | None]] = {
    "jsonl": (lambda folder: _lines(folder, "x.jsonl"), None),
    "jsonl_bom_crlf": (lambda folder: _lines(folder, "x.JSONL", "\r\n", "\ufeff"), None),
    "json": (lambda folder: str(write(folder / "x.json", json.dumps(ROWS))), None),
    "json_data": (lambda folder: str(write(folder / "x.json", json.dumps({"data": ROWS}))), None),
    "json_lines": (lambda folder: _lines(folder, "x.json"), None),
    "csv": (lambda folder: _table(",", "\n", folder, "x.csv"), None),
    "csv_bom_crlf": (lambda folder: _table(",", "\r\n", folder, "x.csv", "\ufeff"), None),
    "csv_semicolons": (lambda folder: _table(";", "\n", folder, "x.csv"), None),
    "tsv": (lambda folder: _table("\t", "\n", folder, "x.tsv"), None),
    "tsv_bom_crlf": (lambda folder: _table("\t", "\r\n", folder, "x.tsv", "\ufeff"), None),
    "parquet_paths": (_parquet, None),
    "parquet_bytes": (lambda folder: _parquet(folder, audio=_stored()), None),
    "addresses": (_addresses, None),
    "question": (_question, None),
    "saved": (_saved, None),
    "saved_split": (lambda folder: _saved(folder, "train", "dev"), "dev"),
    "folder_of_files": (lambda folder: str(Path(_lines(folder, "test.jsonl")).parent), "test"),
    "folder_of_parquet": (lambda folder: str(Path(_parquet(folder, "test-00000-of-00001.parquet")).parent), "test"),
    **{
        f"audio_folder_{suffix}{split}": (
            lambda folder, suffix=suffix, splits=splits: _audio_folder(folder, suffix, *splits),  # type: ignore[misc]
            split or None,
        )
        for suffix in ("csv", "jsonl", "parquet")
        for split, splits in (("", ()), ("train", ("train", "test")), ("test", ("train", "test")))
    },
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_alike(folder: Path, form: str, reader: str) -> None:
    make, split = FORMS[form]
    expected = [(0.2, "one", "Why?"), (0.3, "two\u2028more", "What?"), (0.4, "sch\u00f6n", "Who?")]
    assert READERS[reader](make(folder), split) == expected


GOOD = '{"audio": "a.wav", "text": "x", "prompt": "p"}\n'
CSV = "audio,text,prompt\na.wav,x,p\n"
USUAL = r"none of which is called audio, path, .*\(--columns audio:NAME\)\.$"
WRONG: dict[str, tuple[str, bytes, str]] = {
    "latin_csv": (
        "x.csv",
        f"{CSV}b.wav,sch\u00f6n,p\n".encode("latin-1"),
        r"x\.csv, line 3 is not UTF-8 .* save the file",
    ),
    "latin_tsv": (
        "x.tsv",
        "audio\ttext\na.wav\t\u00f6\n".encode("latin-1"),
        r"x\.tsv, line 2 is not UTF-8 .* save the",
    ),
    "latin_jsonl": (
        "x.jsonl",
        f'{GOOD}\n{{"\u00f6"}}'.encode("latin-1"),
        r"x\.jsonl, line 3 is not UTF-8 .* save the file",
    ),
    "latin_json": ("x.json", '[\n{"\u00f6"}]'.encode("latin-1"), r"x\.json, line 2 is not UTF-8 .* save the file"),
    "column_twice": (
        "x.csv",
        b"\naudio,text,text\na.wav,x,y\n",
        r"x\.csv, line 2 has more than one column named text\.$",
    ),
    "name_twice": (
        "x.jsonl",
        f'{GOOD}\n{{"audio": "a.wav", "audio": "b.wav"}}'.encode(),
        r"x\.jsonl, line 3 is not valid JSON: an object has more than one value named audio\.$",
    ),
    "field_too_many": ("x.csv", f"{CSV}b.wav,x,y,p\n".encode(), r"x\.csv, line 3 has 4 fields where the header has 3 "),
    "no_json": ("x.jsonl", f"{GOOD}\r\n{{".encode(), r"x\.jsonl, line 3 is not valid JSON"),
    "no_object": ("x.jsonl", f"{GOOD}[]".encode(), r"x\.jsonl, line 2 is not an object such as"),
    "no_rows": ("x.csv", b"\xef\xbb\xbfaudio,text\n", r"x\.csv has no rows\.$"),
    "no_table": ("x.txt", CSV.encode(), r"x\.txt is not a table of examples; it should end in \.jsonl, \.json, "),
    "no_column": ("x.csv", b"sound,text,prompt\na.wav,x,p\n", r"x\.csv has the columns sound, text, prompt, " + USUAL),
    "no_audio_in_a_line": (
        "x.jsonl",
        f'{GOOD}\n{{"text": "x", "prompt": "p"}}'.encode(),
        r"^1 of the 2 rows of .*x\.jsonl cannot be used:\n  line 3: there is no audio\.\nFix .* --on-error skip",
    ),
    "no_audio_in_a_row": (
        "x.json",
        f'[{GOOD}, {{"audio": " ", "text": "x", "prompt": "p"}}]'.encode(),
        r"^1 of the 2 rows of .*x\.json cannot be used:\n  row 1: there is no audio\.\nFix .* --on-error skip",
    ),
    "no_audio_at_all": (
        "x.csv",
        b"audio,text,prompt\n,x,p\n,y,p\n",
        r"^None of the 2 rows of .* can be used:\n  line 2: there is no audio\.\n  line 3: there is no audio\.$",
    ),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_said_alike(folder: Path, wrong: str, reader: str) -> None:
    name, content, said = WRONG[wrong]
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=said):
        READERS[reader](str(folder / name), None)


@pytest.mark.parametrize("reader", READERS)
def test_a_name_of_nothing_is_said_alike(tmp_path: Path, reader: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"^There is no file or folder .*gone\.csv\.$"):
        READERS[reader](str(tmp_path / "gone.csv"), None)


def test_a_folder_of_recordings_is_a_table_where_no_truth_is_needed(folder: Path) -> None:
    for reader in ("finetune", "eval"):
        with pytest.raises(FileNotFoundError, match="holds no table of examples"):
            READERS[reader](str(folder), None)
    assert READERS["run_and_compare"](str(folder), None) == [(each, "None", None) for each in (0.2, 0.3, 0.4)]
    assert READERS["run_and_compare"](str(folder), "deep") == [(0.4, "None", None)]
    jsonl(folder / "deep" / "test.jsonl", ROWS[0])  # a table that perhaps was meant: it has truths
    with pytest.raises(FileNotFoundError, match="holds no table of examples"):
        READERS["run_and_compare"](str(folder), None)


def test_rows_need_no_text_where_no_truth_is_needed_but_take_one_only(folder: Path) -> None:
    rows = [
        {"audio": "a.wav"},
        {"audio": "b.wav", "text": [" one "]},
        {"audio": "deep/c.wav", "text": ["two", "three"]},
    ]
    path = str(jsonl(folder / "x.jsonl", *rows))
    with pytest.raises(ValueError, match="  line 3: there are 2 texts; only `eval` takes several"):
        find_entries(None, path)
    entries = find_entries(None, path, on_error="skip")
    assert [(entry.truth, entry.wrong is None) for entry in entries[:2]] == [(None, True), ("one", True)]
    assert entries[2].wrong == "there are 2 texts; only `eval` takes several"
