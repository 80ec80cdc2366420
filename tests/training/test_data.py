"""load_examples finds tables in every form, makes one form of them, and says which rows cannot be trained on."""

from __future__ import annotations

import io
import json
import logging
import os
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import soundfile

from hf_tokcomp.audio import load_audio
from hf_tokcomp.cli.recordings import read_manifest
from hf_tokcomp.training.data import Examples, load_examples

RATE = 16_000
STORED = pa.struct({"bytes": pa.binary(), "path": pa.string()})
DATA = os.environ.get("HF_TOKCOMP_DATA")


def tone(seconds: float, hertz: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(RATE * seconds)) / RATE)).astype(np.float32)


def wav(seconds: float = 0.2, hertz: float = 440.0) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, tone(seconds, hertz), RATE, format="WAV", subtype="FLOAT")
    return content.getvalue()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `datasets` converts goes into the test's own folder."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets_cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three recordings, a.wav of 0.2 s, b.wav of 0.3 s and deep/c.wav of 0.4 s, of different pitch."""
    made = tmp_path / "speech"
    (made / "deep").mkdir(parents=True)
    for name, seconds, hertz in (("a.wav", 0.2, 300), ("b.wav", 0.3, 500), ("deep/c.wav", 0.4, 700)):
        (made / name).write_bytes(wav(seconds, hertz))
    return made


def write(path: Path, *lines: str, start: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(start + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def jsonl(path: Path, *rows: Any) -> Path:
    return write(path, *(json.dumps(row, ensure_ascii=False) for row in rows))


def seconds(examples: Examples) -> list[float]:
    """How long each recording is, as the collator will read it."""
    return [round(len(load_audio(row["audio"])) / RATE, 3) for row in examples.dataset]


ROWS = ({"audio": "a.wav", "text": "one"}, {"audio": "b.wav", "text": "two"}, {"audio": "deep/c.wav", "text": "three"})


# --- text tables ------------------------------------------------------------------------------------------------------


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
    assert examples.dataset.column_names == ["audio", "text"]
    assert examples.dataset.features["audio"] == datasets.Audio(decode=False)
    assert list(examples.dataset["text"]) == ["one", "two", "three"]
    assert [row["audio"] for row in examples.dataset] == [
        {"bytes": None, "path": str(folder / row["audio"])} for row in ROWS
    ]
    assert seconds(examples) == [0.2, 0.3, 0.4]
    assert (examples.rows, examples.skipped) == (3, [])


def test_the_command_lines_manifest_is_read_as_it_reads_it(folder: Path) -> None:
    path = jsonl(folder / "m.jsonl", ROWS[0] | {"prompt": "Transcribe."}, ROWS[1] | {"prompt": "Say it."})
    entries = read_manifest(path)
    examples = load_examples(str(path)).dataset
    assert examples.column_names == ["audio", "text", "prompt"]
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


# --- parquet, save_to_disk, folders, Hub ------------------------------------------------------------------------------


def parquet(path: Path, audio: pa.Array, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = more or {"text": [f"text {place}" for place in range(len(audio))]}
    pa.parquet.write_table(pa.table({"audio": audio} | columns), path)
    return path


FORMS = {
    "paths": lambda: pa.array(["a.wav", "deep/c.wav"]),
    "bytes": lambda: pa.array([wav(0.2), wav(0.4)]),
    "large_bytes": lambda: pa.array([wav(0.2), wav(0.4)], pa.large_binary()),
    "dicts": lambda: pa.array([{"bytes": wav(0.2), "path": "x"}, {"bytes": wav(0.4), "path": None}], STORED),
    "bytes_or_path": lambda: pa.array(
        [{"bytes": wav(0.2), "path": "x"}, {"bytes": None, "path": "deep/c.wav"}], STORED
    ),
    "arrays": lambda: pa.array([{"array": tone(s)[::2], "sampling_rate": 8_000} for s in (0.2, 0.4)]),
}


@pytest.mark.parametrize("form", FORMS)
def test_parquet_with_audio_in_every_form(folder: Path, form: str) -> None:
    examples = load_examples(str(parquet(folder / "t[1] *.parquet", FORMS[form]())))
    assert examples.dataset.features["audio"] == datasets.Audio(decode=False)
    assert examples.dataset.column_names == ["audio", "text"]
    assert seconds(examples) == [0.2, 0.4]
    assert list(examples.dataset["text"]) == ["text 0", "text 1"]


def test_parquet_that_is_written_anew_is_read_anew(folder: Path) -> None:
    path = parquet(folder / "t.parquet", FORMS["bytes"]())
    load_examples(str(path))
    parquet(path, FORMS["bytes"](), text=["new", "newer"])
    os.utime(path, (1, 1))
    assert list(load_examples(str(path)).dataset["text"]) == ["new", "newer"]


def test_bytes_stay_where_they_are_mapped_from(folder: Path) -> None:
    """A table larger than the memory can be read: its bytes are those of the cache's file."""
    audio = pa.array([{"bytes": wav(0.2), "path": "x"}] * 50 + [{"bytes": None, "path": "a.wav"}], STORED)
    path = parquet(folder / "t.parquet", audio)
    before = pa.total_allocated_bytes()
    examples = load_examples(str(path), check=False)
    assert pa.total_allocated_bytes() - before < 50 * len(wav(0.2)) / 10
    assert len(examples.dataset) == 51


def saved(split: str | None = None) -> datasets.Dataset:
    """A table with an audio feature that is to be decoded, as people save them."""
    table = pa.table({"audio": pa.array([{"bytes": wav(0.2), "path": None}], STORED), "sentence": [f"of {split}"]})
    made = datasets.Dataset(table).cast_column("audio", datasets.Audio(sampling_rate=RATE))
    return datasets.Dataset(made.data, split=None if split is None else datasets.NamedSplit(split), info=made.info)


def test_folders_of_save_to_disk(tmp_path: Path) -> None:
    saved().save_to_disk(tmp_path / "one")
    assert seconds(load_examples(str(tmp_path / "one"))) == [0.2]
    saved("test").save_to_disk(tmp_path / "test")
    assert len(load_examples(str(tmp_path / "test"), split="test").dataset) == 1
    with pytest.raises(ValueError, match="of the split test, not 'train'"):
        load_examples(str(tmp_path / "test"), split="train")
    datasets.DatasetDict({"train": saved("train"), "dev": saved("dev")}).save_to_disk(tmp_path / "both")
    assert list(load_examples(str(tmp_path / "both")).dataset["text"]) == ["of train"]
    assert list(load_examples(str(tmp_path / "both"), split="dev").dataset["text"]) == ["of dev"]
    with pytest.raises(ValueError, match="no split 'test'.*train, dev"):
        load_examples(str(tmp_path / "both"), split="test")
    datasets.DatasetDict({"dev": saved("dev")}).save_to_disk(tmp_path / "only")
    assert list(load_examples(str(tmp_path / "only")).dataset["text"]) == ["of dev"]


@pytest.mark.parametrize(
    ("files", "split", "found"),
    [
        (["manifest.jsonl"], None, "manifest.jsonl"),
        (["manifest.jsonl"], "train", "manifest.jsonl"),
        (["metadata.csv"], None, "metadata.csv"),
        (["metadata.jsonl", "train.csv", "test.jsonl"], None, "train.csv"),
        (["train.jsonl", "test.tsv"], "test", "test.tsv"),
        (["train.jsonl", "deep/manifest.jsonl"], "deep", "deep/manifest.jsonl"),
        (["train.jsonl", "deep/metadata.csv"], "deep", "deep/metadata.csv"),
        (["train/train.jsonl"], None, "train/train.jsonl"),
    ],
)
def test_folders_by_the_names_of_their_files(folder: Path, files: list[str], split: str | None, found: str) -> None:
    for name in files:
        path = folder / name
        audio = folder / "a.wav"
        if path.suffix == ".jsonl":
            jsonl(path, {"audio": str(audio), "text": name})
        else:
            between = "\t" if path.suffix == ".tsv" else ","
            write(path, f"file_name{between}text", f"{audio}{between}{name}")
    assert list(load_examples(str(folder), split=split).dataset["text"]) == [found]


def test_folders_without_a_table_say_what_was_looked_for(folder: Path) -> None:
    jsonl(folder / "train.jsonl", *ROWS)
    with pytest.raises(FileNotFoundError, match=r"a file test with the ending .jsonl, .*It holds: a.wav, b.wav, deep/"):
        load_examples(str(folder), split="test")
    (folder / "train.jsonl").unlink()
    with pytest.raises(FileNotFoundError, match="a file train or manifest or metadata with .*a folder train "):
        load_examples(str(folder))
    jsonl(folder / "train.jsonl", *ROWS)
    write(folder / "train.csv", "audio,text")
    with pytest.raises(ValueError, match="holds train.jsonl and train.csv"):
        load_examples(str(folder))


def test_folders_of_parquet_with_splits_and_configs(tmp_path: Path) -> None:
    """`datasets` reads these by path as it reads the Hub's."""
    root = tmp_path / "set"
    for split in ("train", "test"):
        for shard in range(2):
            path = root / "data" / f"{split}-0000{shard}-of-00002.parquet"
            parquet(path, pa.array([{"bytes": wav(), "path": "x.wav"}], STORED), text=[f"{split} {shard}"])
    assert list(load_examples(str(root)).dataset["text"]) == ["train 0", "train 1"]
    assert list(load_examples(str(root), split="test").dataset["text"]) == ["test 0", "test 1"]
    with pytest.raises(ValueError, match='"dev"'):
        load_examples(str(root), split="dev")
    write(
        root / "README.md", "---", "configs:", "- config_name: a", "  data_files: data/train*", "- config_name: b",
        "  data_files: data/test*", "---",
    )  # fmt: skip
    assert list(load_examples(str(root), config_name="b").dataset["text"]) == ["test 0", "test 1"]
    with pytest.raises(ValueError, match=r"config_name.*\['a', 'b'\]"):
        load_examples(str(root))


@pytest.mark.parametrize("name", ["data/none.jsonl", "nothing here", "none", "./none/at/all"])
def test_names_of_nothing_are_not_asked_of_the_hub(name: str) -> None:
    with pytest.raises(FileNotFoundError, match="There is no file or folder"):
        load_examples(name)


# --- columns ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "chosen"),
    [
        ({"path": "a.wav", "sentence": "x"}, ("x", None)),
        ({"context": "a.wav", "instruction": "do", "answer": "x", "other_attributes": 1}, ("x", "do")),
        ({"file_name": "a.wav", "transcription": "x", "raw_transcription": "X", "question": "why"}, ("x", "why")),
        ({"audio": "a.wav", "path": "elsewhere.wav", "file": "elsewhere.wav", "text": "x"}, ("x", None)),
    ],
)
def test_columns_are_guessed_from_usual_names(folder: Path, row: dict[str, Any], chosen: tuple[Any, Any]) -> None:
    found = load_examples(str(jsonl(folder / "x.jsonl", row))).dataset[0]
    assert (found["text"], found.get("prompt")) == chosen
    assert found["audio"]["path"] == str(folder / "a.wav")


def test_columns_can_be_named(folder: Path) -> None:
    row = {"recording": "a.wav", "audio": "none.wav", "text": "y", "said": "x", "prompt": "p", "task": "t"}
    path = str(jsonl(folder / "x.jsonl", row))
    named = load_examples(path, audio_column="recording", text_column="said", prompt_column="task").dataset[0]
    assert named == {"audio": {"bytes": None, "path": str(folder / "a.wav")}, "text": "x", "prompt": "t"}
    without = load_examples(path, audio_column="recording", text_column="said", prompt_column="")
    assert without.dataset.column_names == ["audio", "text"]
    for column in ("audio", "text", "prompt"):
        with pytest.raises(ValueError, match=rf"'none' for {column}_column: .*recording, audio, text, said, prompt"):
            load_examples(path, **{"audio_column": "recording", f"{column}_column": "none"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"audio": "a.wav", "sentence": "x", "translation": "y"}, "sentence and translation.*text_column="),
        ({"audio": "a.wav", "text": "x", "prompt": "p", "question": "q"}, 'prompt and question.*prompt_column=.*""'),
        ({"path": "a.wav", "file": "b.wav", "text": "x"}, "path and file could each be the audio.*audio_column="),
        ({"audio": "a.wav", "words": "x"}, "columns audio, words, .*none is called text, .*text_column="),
        ({"sound": "a.wav", "text": "x"}, "columns sound, text, .*none is called audio, .*audio_column="),
    ],
)
def test_columns_that_are_not_clear_name_the_option(folder: Path, row: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        load_examples(str(jsonl(folder / "x.jsonl", row)))


def test_audio_is_known_by_its_type_before_its_name(folder: Path) -> None:
    content = pa.array([{"bytes": wav(), "path": None}], STORED)
    path = folder / "x.parquet"
    pa.parquet.write_table(pa.table({"path": ["no.wav"], "context": content, "file": ["no"], "text": ["x"]}), path)
    assert seconds(load_examples(str(path))) == [0.2]
    pa.parquet.write_table(pa.table({"audio": ["no.wav"], "context": content, "text": ["x"]}), path)
    os.utime(path, (1, 1))
    assert seconds(load_examples(str(path))) == [0.2]


def test_class_labels_become_their_names(tmp_path: Path) -> None:
    table = datasets.Dataset(pa.table({"audio": pa.array([{"bytes": wav(), "path": None}] * 3, STORED)}))
    table = table.add_column("label", [1, 0, -1]).cast_column("label", datasets.ClassLabel(names=["dog", "rain"]))
    table.save_to_disk(tmp_path / "x")
    examples = load_examples(str(tmp_path / "x"), skip_bad=True)
    assert list(examples.dataset["text"]) == ["rain", "dog"]
    assert examples.skipped == [(2, "the text is empty")]


def test_prompts_may_be_missing_in_a_row(folder: Path) -> None:
    rows = [ROWS[0] | {"prompt": " Why? "}, ROWS[1], ROWS[2] | {"prompt": ""}, ROWS[0] | {"prompt": ["a", "b"]}]
    examples = load_examples(str(jsonl(folder / "x.jsonl", *rows)), skip_bad=True)
    assert list(examples.dataset["prompt"]) == ["Why?", None, None]
    assert examples.skipped == [(4, "there are 2 prompts")]


# --- lists of texts ---------------------------------------------------------------------------------------------------


def test_several_texts_are_bad_unless_flattened(folder: Path) -> None:
    rows = [
        {"audio": "a.wav", "caption": ["one"], "prompt": "p"},
        {"audio": "b.wav", "caption": ["two", "three", "four"], "prompt": "q"},
        {"audio": "deep/c.wav", "caption": [], "prompt": "r"},
        {"audio": "a.wav", "caption": ["five", " "], "prompt": "s"},
        {"audio": "deep/c.wav", "caption": ["six", "seven"], "prompt": None},
    ]
    path = str(jsonl(folder / "x.jsonl", *rows))
    examples = load_examples(path, skip_bad=True)
    assert list(examples.dataset["text"]) == ["one"]
    assert examples.skipped[0] == (2, "there are 3 texts; flatten_texts=True makes an example of each, for captions")
    assert examples.skipped[1:3] == [(3, "the text is empty"), (4, "the text is empty")]
    flat = load_examples(path, skip_bad=True, flatten_texts=True)
    assert list(flat.dataset["text"]) == ["one", "two", "three", "four", "six", "seven"]
    assert list(flat.dataset["prompt"]) == ["p", "q", "q", "q", None, None]
    assert seconds(flat) == [0.2, 0.3, 0.3, 0.3, 0.4, 0.4]
    assert [line for line, _ in flat.skipped] == [3, 4]


def test_lists_in_parquet_flatten_with_their_bytes(folder: Path) -> None:
    captions = pa.array([["one", "two"], ["three"]])
    path = str(parquet(folder / "x.parquet", FORMS["dicts"](), captions=captions))
    flat = load_examples(path, text_column="captions", flatten_texts=True)
    assert list(flat.dataset["text"]) == ["one", "two", "three"]
    assert seconds(flat) == [0.2, 0.2, 0.4]


# --- bad rows ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def broken(folder: Path) -> Path:
    """Twelve lines, of which one is blank, the first and the last are good, and each other is bad in its own way."""
    (folder / "empty.wav").write_bytes(b"")
    (folder / "noise.wav").write_bytes(b"no audio at all")
    (folder / "short.wav").write_bytes(wav(0.079))
    (folder / "long.wav").write_bytes(wav(1.01))
    soundfile.write(folder / "cut.flac", np.random.default_rng(0).uniform(-1, 1, RATE), RATE)
    content = (folder / "cut.flac").read_bytes()
    (folder / "cut.flac").write_bytes(content[: len(content) // 2])
    names = ("none.wav", "empty.wav", "noise.wav", "short.wav", "long.wav", "cut.flac", "deep")
    rows = [{"audio": name, "text": "x"} for name in names]
    rows += [{"audio": "a.wav", "text": " "}, {"audio": "", "text": "x"}]
    return write(folder / "x.jsonl", json.dumps(ROWS[0]), "", *(json.dumps(row) for row in rows), json.dumps(ROWS[1]))


REASONS = {
    3: "There is no audio file {}/none.wav",
    4: "{}/empty.wav is empty",
    5: "{}/noise.wav is not audio that soundfile can read",
    6: "{}/short.wav is 0.079 s long, less than 0.08 s",
    7: "{}/long.wav is 1.01 s long, more than 1 s",
    8: "{}/cut.flac",
    9: "{}/deep is a folder, not an audio file",
    10: "the text is empty",
    11: "there is no audio",
}


def test_bad_rows_stop_with_line_and_reason(folder: Path, broken: Path) -> None:
    with pytest.raises(ValueError, match=r"^9 of the 11 rows of .*x\.jsonl cannot be used:\n") as error:
        load_examples(str(broken), max_seconds=1)
    said = str(error.value).splitlines()
    assert [line.split(":")[0] for line in said[1:6]] == [f"  line {line}" for line in (3, 4, 5, 6, 7)]
    for line, text in zip((3, 4, 5, 6, 7), said[1:6], strict=True):
        assert REASONS[line].format(folder) in text
    assert said[6] == "  and 4 more."
    assert "skip_bad=True" in said[7]
    assert len(said) == 8


def test_bad_rows_are_skipped_and_counted(folder: Path, broken: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="hf_tokcomp"):
        examples = load_examples(str(broken), max_seconds=1, skip_bad=True)
    assert list(examples.dataset["text"]) == ["one", "two"]
    assert seconds(examples) == [0.2, 0.3]
    assert (examples.rows, examples.unit) == (11, "line")
    assert [line for line, _ in examples.skipped] == list(REASONS)
    for line, reason in examples.skipped:
        assert reason.startswith(REASONS[line].format(folder))
    (record,) = caplog.records
    assert record.getMessage().startswith(f"9 of the 11 rows of {broken} are left out:\n  line 3: There is no")
    assert record.getMessage().endswith("and 4 more.")


def test_without_check_nothing_is_decoded(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = load_examples(str(broken), max_seconds=1, skip_bad=True, check=False)
    assert [line for line, _ in examples.skipped] == [3, 9, 10, 11]
    jsonl(broken, ROWS[0] | {"audio": "https://nowhere.invalid/a.wav"})
    address = load_examples(str(broken), check=False).dataset[0]["audio"]
    assert address == {"bytes": None, "path": "https://nowhere.invalid/a.wav"}


def test_rows_without_lines_count_from_zero(folder: Path) -> None:
    audio = pa.array([wav(), None, b"x", wav(0.01), wav()])
    path = str(parquet(folder / "x.parquet", audio, text=["a", "b", "c", "d", ""]))
    examples = load_examples(path, skip_bad=True)
    assert examples.unit == "row"
    assert examples.skipped[0] == (1, "there is no audio")
    assert [row for row, _ in examples.skipped] == [1, 2, 3, 4]
    with pytest.raises(ValueError, match=r"  row 1: there is no audio\.\n  row 2: the given bytes is not audio"):
        load_examples(path)


def test_lengths_at_the_bounds_are_good(folder: Path) -> None:
    path = str(jsonl(folder / "x.jsonl", ROWS[0], ROWS[2]))
    assert load_examples(path, min_seconds=0.2, max_seconds=0.4).skipped == []
    with pytest.raises(ValueError, match=r"line 1: .*less than 0.21 s"):
        load_examples(path, min_seconds=0.21)
    with pytest.raises(ValueError, match=r"line 2: .*more than 0.39 s"):
        load_examples(path, max_seconds=0.39)


def test_lengths_are_those_at_the_models_rate(folder: Path) -> None:
    soundfile.write(folder / "a.wav", tone(0.5), RATE // 2)  # 0.5 s of samples at half the rate: 1 s
    path = str(jsonl(folder / "x.jsonl", ROWS[0]))
    assert load_examples(path, min_seconds=1, max_seconds=1, sampling_rate=4_000).skipped == []


def test_all_rows_bad_is_an_error_whatever_is_asked(folder: Path) -> None:
    path = str(jsonl(folder / "x.jsonl", ROWS[0] | {"text": ""}, {"audio": "none.wav", "text": "x"}))
    with pytest.raises(ValueError, match="None of the 2 rows .*\n  line 1: the text is empty.\n  line 2: There is no"):
        load_examples(path, skip_bad=True)


@pytest.mark.parametrize("workers", [None, 1, 3])
def test_many_rows_keep_their_order(folder: Path, workers: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"audio": ("a.wav", "b.wav", "none.wav")[i % 3], "text": str(i)} for i in range(600)
    ]  # more than two blocks
    path = str(jsonl(folder / "x.jsonl", *rows))
    examples = load_examples(path, skip_bad=True, num_proc=workers)
    kept = [i for i in range(600) if i % 3 != 2]
    assert list(examples.dataset["text"]) == [str(i) for i in kept]
    assert [row["audio"]["path"][-5:] for row in examples.dataset] == [rows[i]["audio"] for i in kept]
    assert [line for line, _ in examples.skipped] == [i + 1 for i in range(600) if i % 3 == 2]


def test_max_samples_are_the_first_rows(folder: Path) -> None:
    path = jsonl(folder / "x.jsonl", *ROWS, {"audio": "none.wav", "text": "x"})
    assert list(load_examples(str(path), max_samples=2).dataset["text"]) == ["one", "two"]
    assert load_examples(str(path), max_samples=3).rows == 3
    table = str(parquet(folder / "x.parquet", FORMS["bytes"]()))
    assert seconds(load_examples(table, max_samples=1)) == [0.2]
    for option in ("max_samples", "num_proc", "sampling_rate"):
        with pytest.raises(ValueError, match=f"{option} is at least 1"):
            load_examples(str(path), **{option: 0})  # type: ignore[arg-type]


def test_nothing_is_drawn_where_nobody_watches(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_examples(str(parquet(folder / "x.parquet", FORMS["dicts"]())))
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert not datasets.utils.are_progress_bars_disabled()


def test_examples_can_be_saved_and_loaded_again(folder: Path) -> None:
    """What comes out goes in: plain `datasets`, which the audio column does not stop from being written."""
    examples = load_examples(str(jsonl(folder / "x.jsonl", *ROWS)))
    examples.dataset.save_to_disk(folder / "saved")
    again = load_examples(str(folder / "saved"))
    assert list(again.dataset) == list(examples.dataset)


@pytest.mark.skipif(DATA is None, reason="HF_TOKCOMP_DATA names no folder of recordings")
def test_real_recordings(tmp_path: Path) -> None:
    """8 kHz wav, 44.1 kHz ogg and 16 kHz flac, by paths from a file elsewhere."""
    root = Path(str(DATA))
    digits = sorted((root / "digits").glob("*_0.wav"))[:20]
    sounds = sorted((root / "sounds").glob("*/4-*.ogg"))[:5]
    speech = sorted((root / "librispeech").glob("*.flac"))[:3]
    rows = [(path, path.name) for path in (*digits, *sounds, *speech)]
    assert len(rows) == 28
    path = write(
        tmp_path / "real.tsv", "path\ttext", *(f"{os.path.relpath(path, tmp_path)}\t{text}" for path, text in rows)
    )
    examples = load_examples(str(path), max_seconds=30)
    assert list(examples.dataset["text"]) == [text for _, text in rows]
    for row, (source, _) in zip(examples.dataset, rows, strict=True):
        assert np.array_equal(load_audio(row["audio"]), load_audio(source))
    with pytest.raises(ValueError, match=rf"^8 of the 28 rows(.|\n)*line 22: {sounds[0]} is 5.* long, more than 3 s"):
        load_examples(str(path), max_seconds=3)
