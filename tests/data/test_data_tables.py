"""Tables that are text: every form, what stays text, and errors that name the line."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest
from training_files import ROWS, jsonl, seconds, write

from hf_tokcomp.data import load_examples
from hf_tokcomp.inference.recordings import find_entries


@pytest.mark.parametrize("form", ["jsonl", "json", "json_data", "json_lines", "csv", "semicolons", "tsv", "bom"])
def test_text_tables_give_the_same_examples(folder: Path, form: str) -> None:
    if form == "jsonl":
        path = jsonl(folder / "x.jsonl", *ROWS)
    elif form in ("json", "json_data"):
        path = write(folder / "x.json", json.dumps(ROWS if form == "json" else {"data": ROWS}, indent=1))
    elif form == "json_lines":
        path = jsonl(folder / "x.json", *ROWS)
    else:
        between = {"semicolons": ";", "tsv": "\t"}.get(form, ",")
        path = folder / ("x.tsv" if form == "tsv" else "x.csv")
        lines = (between.join((row["audio"], row["text"])) for row in ROWS)
        write(path, f"audio{between}text", *lines, start="\ufeff" if form == "bom" else "")
    examples = load_examples(str(path))
    assert examples.dataset.column_names == ["audio", "text", "length"]
    assert examples.dataset.features["audio"] == datasets.Audio(decode=False)
    assert list(examples.dataset["text"]) == ["one", "two", "three"]
    assert [row["audio"] for row in examples.dataset] == [
        {"bytes": None, "path": str(folder / row["audio"])} for row in ROWS
    ]
    assert seconds(examples) == [0.2, 0.3, 0.4]
    assert (examples.rows, examples.skipped) == (3, [])


def test_the_command_lines_manifest_is_read_as_it_reads_it(folder: Path) -> None:
    path = jsonl(folder / "m.jsonl", ROWS[0] | {"prompt": "Transcribe."}, ROWS[1] | {"prompt": "Say it."})
    entries = find_entries(None, str(path))
    examples = load_examples(str(path)).dataset
    assert examples.column_names == ["audio", "text", "prompt", "length"]
    assert [(row["audio"]["path"], row["text"], row["prompt"]) for row in examples] == [
        (entry.audio, entry.truth, entry.prompt) for entry in entries
    ]


def test_paths_do_not_depend_on_where_one_stands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jsonl(folder / "x.jsonl", ROWS[0], {"audio": str(folder / "b.wav"), "text": "absolute"})
    monkeypatch.chdir(folder.parent)
    examples = load_examples("speech/x.jsonl")
    monkeypatch.chdir("/")
    assert seconds(examples) == [0.2, 0.3]


def test_what_csv_readers_guess_stays_text(folder: Path) -> None:
    lines = ["a.wav,007", "a.wav,4.50", "a.wav,nan", "a.wav,NA", 'a.wav,"yes, ""no"""', 'a.wav,"two\nlines"', "a.wav,x"]
    path = write(folder / "x.csv", "path, sentence", *lines)
    found = list(load_examples(str(path)).dataset["text"])
    assert found == ["007", "4.50", "nan", "NA", 'yes, "no"', "two\nlines", "x"]


def test_json_numbers_become_text_and_nothing_is_empty(folder: Path) -> None:
    rows = [ROWS[0] | {"text": value} for value in (42, 1.5, "  padded\n", None, float("nan"), True, {"en": "x"})]
    path = jsonl(folder / "x.jsonl", *rows, {"audio": "a.wav"})
    examples = load_examples(str(path), skip_bad=True)
    assert list(examples.dataset["text"]) == ["42", "1.5", "padded"]
    reasons = dict(examples.skipped)
    assert {line for line, reason in reasons.items() if reason == "the text is empty"} == {4, 5, 8}
    assert reasons[6] == "the text is True, a bool"
    assert "{'en': 'x'}, a dict" in reasons[7]


@pytest.mark.parametrize("text", ['"Well," she said, "no', 'a "quoted" word', '"all"'])
def test_tsv_with_and_without_quoting(folder: Path, text: str) -> None:
    plain = write(folder / "plain.tsv", "path\tsentence", f"a.wav\t{text}", "b.wav\tnext")
    doubled = text.replace('"', '""')
    quoted = write(folder / "quoted.tsv", "path\tsentence", f'a.wav\t"{doubled}"', "b.wav\tnext")
    for path in (plain, quoted):
        found = list(load_examples(str(path)).dataset["text"])
        assert found == ["all" if text == '"all"' and path == plain else text, "next"]


def test_a_quote_in_a_tsv_swallows_no_lines(folder: Path) -> None:
    path = write(folder / "x.tsv", "path\tsentence", 'a.wav\t"begun', "b.wav\tbetween", 'deep/c.wav\tended"')
    assert list(load_examples(str(path)).dataset["text"]) == ['"begun', "between", 'ended"']


def test_separators_within_json_strings_are_no_line_ends(folder: Path) -> None:
    path = jsonl(folder / "x.jsonl", ROWS[0] | {"text": "one\u2028two\x0bthree"}, ROWS[1])
    assert list(load_examples(str(path)).dataset["text"]) == ["one\u2028two\x0bthree", "two"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.jsonl", b'{"audio": "a.wav", "text": "x"}\n\n{"audio": \n', "line 3 is not valid JSON"),
        ("x.jsonl", b'{"audio": "a.wav", "text": "x"}\n["a.wav", "x"]\n', "line 2 is not an object"),
        ("x.jsonl", b'{"audio": "a.wav", "text": "x"}\n{"audio": "a.wav", "text": "\xff"}\n', "line 2 is not UTF-8"),
        ("x.json", b'{"audio": ', "is not valid JSON"),
        ("x.json", b"[1, 2]", "neither a list of objects"),
        (
            "x.csv",
            b'audio,text\na.wav,"two\nlines"\nb.wav,one,too many\n',
            "line 4 has 3 fields where the header has 2",
        ),
        ("x.csv", b"audio,text\na.wav,x\nb.wav\n", "line 3 has 1 fields"),
        ("x.csv", b'audio,text\na.wav,x\nb.wav,"open\nc.wav,y\n', "line 3 cannot be read"),
        ("x.csv", b"audio,text,text\na.wav,x,y\n", "more than one column named text"),
        ("x.tsv", b"audio\ttext\na.wav\tx\ty\n", "line 2 has 3 fields"),
        ("x.csv", b"audio,text\n", "has no rows"),
        ("x.csv", b"", "has no rows"),
        ("x.jsonl", b"\n", "has no rows"),
        ("x.parquet", b"no parquet", "cannot be read"),
        ("x.txt", b"audio,text", "is not a table"),
    ],
)
def test_broken_tables_name_the_line(folder: Path, name: str, content: bytes, said: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=said) as error:
        load_examples(str(folder / name))
    assert str(folder / name) in str(error.value)
