"""Benchmarks in every layout that they come in: the items, their parts and what is wrong with bad rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmark_layouts import LAYOUTS, OPTIONS, A, clothoaqa, parquet, table

from hf_tokcomp.evaluation.items import Dataset, Items, chosen, options, read_items
from hf_tokcomp.evaluation.task import Item, Task, get_task, letter, register_task, tasks

RATE = 16_000


def read(task: str, where: Path, **options: object) -> Items:
    return read_items(get_task(task), Dataset(str(where), **options), RATE)  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read(layout: str, tmp_path: Path) -> None:
    name, make = LAYOUTS[layout]
    found = read(name, make(tmp_path))
    assert found.items
    assert found.samples
    for place, item in enumerate(found.items):
        assert item.references
        assert item.recordings
        assert all(item.references)
        assert found.audio_of(place)["bytes"] or Path(found.audio_of(place)["path"]).is_file()
        if name == "mmau":
            assert set(item.choices) <= set(OPTIONS)
            assert item.references[0] in item.choices
        if name in ("mmau", "clothoaqa"):
            assert item.question.endswith("?")
    assert len({item.id for item in found.items}) == len(found.items)


@pytest.mark.parametrize("layout", [name for name, (task, _) in LAYOUTS.items() if task == "audiocaps"])
def test_captions_of_one_recording_are_one_item(layout: str, tmp_path: Path) -> None:
    found = read("audiocaps", LAYOUTS[layout][1](tmp_path))
    assert [item.references for item in found.items] == [("a dog barks", "a dog"), ("rain falls",)]
    assert [round(samples / RATE, 1) for samples in found.samples] == [0.4, 0.6]


def test_clotho_has_five_captions(tmp_path: Path) -> None:
    first = read("clotho", LAYOUTS["Clotho, the corpus"][1](tmp_path)).items[0]
    assert first.references == tuple(f"a dog barks {n}" for n in range(1, 6))


def test_clothoaqa_parts(tmp_path: Path) -> None:
    found = read("clothoaqa", clothoaqa(tmp_path))
    assert [(item.question, item.subset) for item in found.items] == [
        ("Is it raining?", "unanimous"),
        ("What is it?", "non-binary"),
    ]
    assert found.items[1].references == ("rain", "water", "rain")
    assert {item.recordings for item in found.items} == {("a.wav",)}


def test_mmau_has_parts_and_ids(tmp_path: Path) -> None:
    found = read("mmau", LAYOUTS["MMAU, its own JSON"][1](tmp_path))
    assert [(item.id, item.subset, item.references) for item in found.items] == [
        ("x1", "sound", ("a cat",)),
        ("x2", "speech", ("a dog",)),
    ]


def test_prompts(tmp_path: Path) -> None:
    task = get_task("mmau")
    item = Item("1", "What {is} it?", ("b",), ("a", "b"))
    asked = task.prompt("qwen2_audio", item)
    assert asked == "What {is} it?\nChoose one of the following options:\n(A) a\n(B) b"
    assert task.prompt("audio_flamingo_3", item).startswith("What {is} it?\nChoose the correct option:")
    assert task.prompt("qwen2_audio", item, "{options}|{question}") == "(A) a\n(B) b|What {is} it?"
    assert get_task("audiocaps").prompt("qwen2_audio", item) == "Generate the caption in English:"
    assert get_task("audiocaps").prompt("audioflamingo3", item) == "Please describe the audio in detail."


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = parquet(tmp_path, "sound", (A,), first=["a dog"], second=["a hound"])
    with pytest.raises(ValueError, match="none is its audio"):
        read("audiocaps", path)
    found = read("audiocaps", path, columns={"audio": "sound", "text": "first+second"})
    assert found.items[0].references == ("a dog", "a hound")
    with pytest.raises(ValueError, match="no role 'sounds'"):
        read("audiocaps", path, columns={"sounds": "sound"})
    with pytest.raises(ValueError, match="no column 'third'"):
        read("audiocaps", path, columns={"audio": "sound", "text": "third"})


def test_bad_rows_stop_it_or_are_counted(tmp_path: Path) -> None:
    path = table(
        tmp_path, *({"audio": name, "text": text} for name, text in (("a.wav", "go"), ("c.wav", "do"), ("b.wav", "")))
    )
    with pytest.raises(ValueError, match=r"(?s)2 of the 3 rows.*c\.wav.*the text is empty.*--skip-bad") as error:
        read("librispeech", path)
    assert "line 3" in str(error.value)
    found = read("librispeech", path, skip_bad=True)
    assert (len(found.items), found.skipped) == (1, 2)


def test_answers_that_are_no_option(tmp_path: Path) -> None:
    path = parquet(tmp_path, "audio", (A,), question=["What?"], choices=[json.dumps(OPTIONS)], answer=["a bird"])
    with pytest.raises(ValueError, match="'a bird' is none of the choices"):
        read("mmau", path)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (["x", " y "], ("x", "y")),
        ('["x", "y"]', ("x", "y")),
        ("['x', 'y']", ("x", "y")),
        ('{"A": "x", "B": "y"}', ("x", "y")),
    ],
)
def test_options(given: object, found: tuple[str, ...]) -> None:
    assert options(given) == found


@pytest.mark.parametrize("given", ["x, y", '["x"]', 3, None])
def test_no_options(given: object) -> None:
    with pytest.raises(ValueError, match="no list of options"):
        options(given)


def test_chosen() -> None:
    choices = ["A", "b", "(c) d"]
    assert [chosen(text, choices) for text in ("A", "b", "(B)", "B", "C", "(B) b", "C. x", "B) b")] == [
        "A", "b", "b", "b", "(c) d", "b", "(c) d", "b",
    ]  # fmt: skip


def test_letters() -> None:
    assert [letter(place) for place in (0, 1, 25, 26, 27, 52)] == ["A", "B", "Z", "AA", "AB", "BA"]


def test_the_digest_tells_other_items_apart(tmp_path: Path) -> None:
    first = parquet(tmp_path, "audio", (A,), text=["go"])
    digest = read("librispeech", first).digest
    assert read("librispeech", first).digest == digest
    assert read("librispeech", parquet(tmp_path, "audio", (A,), text=["do"])).digest != digest


def test_unknown_tasks_and_missing_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="Did you mean 'audiocaps'"):
        get_task("audiocap")
    with pytest.raises(ValueError, match="--dataset clotho=FOLDER"):
        read_items(get_task("clotho"), Dataset(), RATE)
    monkeypatch.delenv("HF_TOKCOMP_DATA", raising=False)
    with pytest.raises(ValueError, match="--dataset digits=FOLDER"):
        read_items(get_task("digits"), Dataset(), RATE)
    with pytest.raises(FileNotFoundError, match="no folder digits"):
        read("digits", tmp_path)


def test_tasks_are_registered_once_and_have_a_prompt_for_all() -> None:
    known = tasks()
    assert {"audiocaps", "clotho", "clothoaqa", "mmau", "librispeech", "covost2", "digits"} <= set(known)
    with pytest.raises(ValueError, match="already"):
        register_task(known["mmau"])
    with pytest.raises(ValueError, match="under ''"):
        register_task(Task("new", "New", "asr", ("wer",), {"qwen2_audio": "Go."}))
