"""Which columns are taken, and what becomes of their values."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest
from training_files import FORMS, ROWS, STORED, jsonl, parquet, seconds, wav

from hf_tokcomp.audio.loading import load_audio
from hf_tokcomp.data import load_examples


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
    audio = {"bytes": None, "path": str(folder / "a.wav")}
    assert named == {"audio": audio, "text": "x", "prompt": "t", "length": len(load_audio(folder / "a.wav"))}
    without = load_examples(path, audio_column="recording", text_column="said", prompt_column="")
    assert without.dataset.column_names == ["audio", "text", "length"]
    for column in ("audio", "text", "prompt"):
        with pytest.raises(ValueError, match=rf"'none' for {column}_column: .*recording, audio, text, said, prompt"):
            load_examples(path, **{"audio_column": "recording", f"{column}_column": "none"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"audio": "a.wav", "sentence": "x", "translation": "y"}, "sentence and translation.*text_column="),
        ({"audio": "a.wav", "text": "x", "prompt": "p", "question": "q"}, 'prompt and question.*prompt_column=.*""'),
        ({"path": "a.wav", "file": "b.wav", "text": "x"}, "path and file could each be the audio.*audio_column="),
        ({"audio": "a.wav", "words": "x"}, "columns audio, words, .*none of which is called text, .*text_column="),
        ({"sound": "a.wav", "text": "x"}, "columns sound, text, .*none of which is called audio, .*audio_column="),
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
    required = load_examples(str(folder / "x.jsonl"), skip_bad=True, prompt_required=True)
    assert list(required.dataset["prompt"]) == ["Why?"]
    assert required.skipped == [(2, "there is no prompt"), (3, "there is no prompt"), (4, "there are 2 prompts")]
    with pytest.raises(ValueError, match="--columns question:NAME"):
        load_examples(str(jsonl(folder / "y.jsonl", *ROWS)), skip_bad=True, prompt_required=True)


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
