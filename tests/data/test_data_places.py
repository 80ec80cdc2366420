"""Parquet, folders and the Hub."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest
from hub_client import Hub
from training_files import FORMS, RATE, ROWS, STORED, jsonl, parquet, seconds, wav, write

from hf_tokcomp.data import load_examples


@pytest.mark.parametrize("form", FORMS)
def test_parquet_with_audio_in_every_form(folder: Path, form: str) -> None:
    examples = load_examples(str(parquet(folder / "t[1] *.parquet", FORMS[form]())))
    assert examples.dataset.features["audio"] == datasets.Audio(decode=False)
    assert examples.dataset.column_names == ["audio", "text", "length"]
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
    with pytest.raises(ValueError, match=r"no split 'test'.*train, dev"):
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
    with pytest.raises(FileNotFoundError, match=r"a file train or manifest or metadata with .*a folder train "):
        load_examples(str(folder))
    jsonl(folder / "train.jsonl", *ROWS)
    write(folder / "train.csv", "audio,text")
    with pytest.raises(ValueError, match=r"holds train.jsonl and train.csv"):
        load_examples(str(folder))


def two_splits(folder: Path) -> None:
    """A table beside the folders train and test, of which each has a.wav."""
    for split in ("train", "test"):
        (folder / split).mkdir()
        (folder / split / "a.wav").write_bytes(wav(0.2))
    rows = [("train/a.wav", "of train"), ("test/a.wav", "of test"), ("./test/gone.wav", "bad"), ("a.wav", "of none")]
    write(folder / "metadata.csv", "file_name,text", *(",".join(row) for row in rows))


def test_a_table_beside_the_folders_of_splits_serves_each(folder: Path) -> None:
    two_splits(folder)
    assert list(load_examples(str(folder)).dataset["text"]) == ["of train"]
    test = load_examples(str(folder), split="test", skip_bad=True)
    assert (list(test.dataset["text"]), test.rows) == (["of test"], 2)
    assert [line for line, _ in test.skipped] == [4]
    with pytest.raises(ValueError, match=r"metadata.csv lists no recording in the folder deep/ next to it\.$"):
        load_examples(str(folder), split="deep")
    with pytest.raises(FileNotFoundError, match="Looked for"):
        load_examples(str(folder), split="dev")
    write(folder / "test" / "metadata.csv", "file_name,text", "a.wav,nearer")
    assert list(load_examples(str(folder), split="test").dataset["text"]) == ["nearer"]


def test_rows_of_a_split_keep_the_numbers_they_have_in_the_table(folder: Path) -> None:
    two_splits(folder)
    (folder / "metadata.csv").unlink()
    names = ["train/a.wav", "test/gone.wav", "test/a.wav"]
    pa.parquet.write_table(pa.table({"file_name": names, "text": names}), folder / "metadata.parquet")
    found = load_examples(str(folder), split="test", skip_bad=True)
    assert (list(found.dataset["text"]), found.unit) == (["test/a.wav"], "row")
    assert [row for row, _ in found.skipped] == [1]


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


# --- the Hub ----------------------------------------------------------------------------------------------------------

ASK = """
import json, sys
from hf_tokcomp.audio import load_audio
from hf_tokcomp.data import load_examples
for name, options in json.loads(sys.argv[1]):
    try:
        rows = load_examples(name, **options).dataset
        print(json.dumps([[row["text"], len(load_audio(row["audio"]))] for row in rows]))
    except Exception as error:
        print(json.dumps(f"{type(error).__name__}: {error}"))
"""


def ask(hub: Hub, *requests: tuple[str, dict[str, str]], offline: bool = False) -> list[Any]:
    """The texts and lengths of samples that each call of `load_examples` gives, or its error, in one new process."""
    return [json.loads(line) for line in hub.run(ASK, json.dumps(requests), offline=offline).stdout.splitlines()]


def test_hub_with_audio_in_tables_and_in_files(hub: Hub, folder: Path) -> None:
    """`datasets` would need torchcodec for a folder of recordings, and gives lines of JSON without their files."""
    files = {}
    for split in ("train", "test"):
        audio = pa.array([{"bytes": wav(0.2), "path": "x.wav"}], STORED)
        path = parquet(folder / f"{split}.parquet", audio, sentence=[split])
        files[f"data/{split}-00000-of-00001.parquet"] = path.read_bytes()
    first = hub.put("datasets/someone/tables", files)
    hub.put("datasets/someone/tables", {"data/test-00000-of-00001.parquet": None})
    recordings = {name: (folder / name).read_bytes() for name in ("a.wav", "b.wav")}
    hub.put("datasets/someone/folder", recordings | {"metadata.csv": "file_name,text\na.wav,one\nb.wav,two\n"})
    lines = "".join(json.dumps(row) + "\n" for row in ROWS[:2])
    hub.put("datasets/someone/lines", recordings | {"train.jsonl": lines})
    found = ask(
        hub,
        ("someone/tables", {}),
        (f"someone/tables@{first}", {"split": "test"}),
        ("someone/tables", {"split": "test", "revision": first}),
        ("someone/tables", {"split": "test"}),
        ("someone/folder", {}),
        ("someone/lines", {}),
    )
    assert found[:3] == [[["train", 3200]], [["test", 3200]], [["test", 3200]]]
    assert found[3].startswith("ValueError: someone/tables cannot be read (split= and config_name= select a part)")
    assert found[4:] == [[["one", 3200], ["two", 4800]]] * 2


def test_hub_names_no_files_of_this_machine(hub: Hub, folder: Path) -> None:
    outside = [str(folder / "a.wav"), "../../../../../../a.wav", "https://nowhere.invalid/a.wav"]
    lines = "".join(json.dumps({"audio": path, "text": "x"}) + "\n" for path in outside)
    hub.put("datasets/someone/lines", {"train.jsonl": lines})
    audio = pa.array([{"bytes": None, "path": str(folder / "a.wav")}], STORED)
    hub.put("datasets/someone/tables", {"train.parquet": parquet(folder / "x.parquet", audio).read_bytes()})
    by_lines, by_tables, none = ask(hub, ("someone/lines", {}), ("someone/tables", {}), ("someone/none", {}))
    assert by_lines.count("is not a file of the data set") == len(outside)
    assert by_tables.count("is not a file of the data set") == 1
    assert none.startswith("FileNotFoundError: There is no file or folder someone/none, and no data set on the Hub")


def test_hub_that_may_not_be_asked(hub: Hub) -> None:
    (said,) = ask(hub, ("someone/none", {}), offline=True)
    assert said.startswith("ConnectionError: There is no file or folder someone/none, and the Hub could not be asked")
