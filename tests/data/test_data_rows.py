"""Which rows cannot be trained on: named, or left out and counted."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import soundfile
from training_files import FORMS, RATE, ROWS, jsonl, parquet, seconds, tone, wav, write

from hf_tokcomp.audio.loading import load_audio
from hf_tokcomp.data import load_examples


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
    7: "{}/long.wav is 1.01 s long, more than the model's limit of 1 s",
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
    assert record.getMessage().startswith(f"9 of the 11 rows of {broken} were left out:\n  line 3: There is no")
    assert record.getMessage().endswith("and 4 more.")


def test_without_check_nothing_is_decoded(broken: Path) -> None:
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
    with pytest.raises(ValueError, match=r"line 2: .*more than the model's limit of 0.39 s"):
        load_examples(path, max_seconds=0.39)


def test_lengths_are_those_at_the_models_rate(folder: Path) -> None:
    soundfile.write(folder / "a.wav", tone(0.5), RATE // 2)  # 0.5 s of samples at half the rate: 1 s
    path = str(jsonl(folder / "x.jsonl", ROWS[0]))
    assert load_examples(path, min_seconds=1, max_seconds=1, sampling_rate=4_000).skipped == []


def test_all_rows_bad_is_an_error_whatever_is_asked(folder: Path) -> None:
    path = str(jsonl(folder / "x.jsonl", ROWS[0] | {"text": ""}, {"audio": "none.wav", "text": "x"}))
    with pytest.raises(ValueError, match=r"None of the 2 rows .*\n  line 1: the text is empty.\n  line 2: There is no"):
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
    assert seconds(again) == seconds(examples)
    assert list(again.dataset["text"]) == list(examples.dataset["text"])


def test_arrays_of_integers_are_bad_rows_and_those_with_a_scale_are_good(folder: Path) -> None:
    """In JSON a sample at the scale of 16 bits is a number like any other."""
    loud = (tone(0.2) * 32768).astype(int).tolist()
    rows = [{"audio": {"array": samples, "sampling_rate": RATE}, "text": "x"} for samples in (loud, tone(0.2).tolist())]
    with pytest.raises(ValueError, match=r"line 1: the array is not audio: .* not int64: its scale is unknown"):
        load_examples(str(jsonl(folder / "x.jsonl", *rows)))
    (row,) = load_examples(str(folder / "x.jsonl"), skip_bad=True).dataset
    assert np.abs(load_audio(row["audio"]) - tone(0.2)).max() < 1e-6


def test_addresses_in_tables(folder: Path) -> None:
    """With any letters; those of files are looked for as files are."""
    there, gone = (folder / "a.wav").as_uri(), (folder / "gone.wav").as_uri()
    rows = [there, there.replace("file", "FILE"), gone, "file://elsewhere/a.wav", "HTTP://nowhere.invalid/a.wav"]
    path = jsonl(folder / "x.jsonl", *({"audio": name, "text": "x"} for name in rows))
    examples = load_examples(str(path), skip_bad=True, check=False)
    assert [row["audio"]["path"] for row in examples.dataset] == [rows[0], rows[1], rows[4]]
    assert [line for line, _ in examples.skipped] == [3, 4]
    assert "There is no audio file" in examples.skipped[0][1]
    assert "not on this machine" in examples.skipped[1][1]


def test_tables_and_columns_are_named_in_few_words(folder: Path) -> None:
    long = "y" * 70_000
    wide = write(folder / "wide.csv", ",".join(["audio", long, *(f"column{i}" for i in range(5_000))]), "a")
    jsonl(folder / "x.jsonl", {f"column{i}": 1 for i in range(5_000)} | {long: 1})
    jsonl(folder / "good.jsonl", *ROWS)
    calls: list[tuple[str, dict[str, str]]] = [(str(wide), {}), (str(folder / "x.jsonl"), {}), (long, {})]
    calls += [(long + ".jsonl", {}), (str(folder / "good.jsonl"), {"audio_column": long})]
    for name, options in calls:
        with pytest.raises((ValueError, FileNotFoundError)) as error:
            load_examples(name, **options)
        assert len(str(error.value)) < 1_500, str(error.value)[:300]


def test_what_is_wrong_with_rows_is_said_in_few_words(folder: Path) -> None:
    jsonl(folder / "x.jsonl", *({"audio": "y" * 70_000 + str(i), "text": "x"} for i in range(3)))
    for check in (True, False):
        with pytest.raises(ValueError, match="There is no audio file") as error:
            load_examples(str(folder / "x.jsonl"), check=check)
        assert len(str(error.value)) < 1500
