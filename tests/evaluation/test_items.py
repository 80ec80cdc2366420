"""Benchmarks in every layout that they come in: the items, their parts and what is wrong with bad rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmark_layouts import LAYOUTS, OPTIONS, A, clothoaqa, parquet, table, transcripts
from training_files import jsonl, wav

from hf_tokcomp.evaluation.items import Dataset, Items, read_items
from hf_tokcomp.evaluation.options import chosen, options, without_letter
from hf_tokcomp.evaluation.task import Item, Task, letter
from hf_tokcomp.evaluation.tasks import get_task, register_task, tasks

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


def test_the_part_may_be_in_a_struct(tmp_path: Path) -> None:
    path = LAYOUTS["AudioLLMs/MMAU-mini"][1](tmp_path)
    assert [item.subset for item in read("mmau", path).items] == ["sound", "speech"]
    assert [item.subset for item in read("mmau", path, columns={"subset": "other_attributes.task"}).items] == [
        "sound",
        "speech",
    ]
    with pytest.raises(ValueError, match=r"no column 'other_attributes\.skill'"):
        read("mmau", path, columns={"subset": "other_attributes.skill"})


def test_a_row_without_the_struct_has_no_part(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(A)
    row = {"audio": "a.wav", "question": "What?", "choices": ["rain", "a dog"], "answer": "rain"}
    path = jsonl(
        tmp_path / "test.jsonl", row | {"other_attributes": {"task": "sound"}}, row | {"other_attributes": "-"}
    )
    assert [item.subset for item in read("mmau", path).items] == ["sound", ""]


def test_prompts(tmp_path: Path) -> None:
    task = get_task("mmau")
    item = Item("1", "What {is} it?", ("b",), ("a", "b"))
    asked = task.prompt(task.template("qwen2_audio"), item)
    assert asked == "What {is} it?\nChoose one of the following options:\n(A) a\n(B) b"
    assert task.prompt(task.template("audioflamingo3"), item).startswith("What {is} it?\nChoose the correct option:")
    assert task.prompt("{options}|{question}", item) == "(A) a\n(B) b|What {is} it?"
    assert get_task("audiocaps").template("qwen2_audio") == "Generate the caption in English:"
    assert get_task("audiocaps").template("audioflamingo3") == "Please describe the audio in detail."


@pytest.mark.parametrize(
    "name", ["Qwen/Qwen2-Audio-7B", "Qwen2-Audio-7B", "/models/Qwen2-Audio-7B/", r"C:\models\Qwen2-Audio-7B"]
)
def test_a_base_model_is_asked_without_a_chat(name: str) -> None:
    whole = "<|audio_bos|><|AUDIO|><|audio_eos|>Generate the caption in English:"
    assert get_task("audiocaps").template("qwen2_audio", name) == whole
    assert get_task("audiocaps").template("qwen2_audio", f"{name}-Instruct") == "Generate the caption in English:"


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = parquet(tmp_path, "sound", (A,), first=["a dog"], second=["a hound"])
    with pytest.raises(ValueError, match=r"none of which is called audio, .*--columns audio:NAME"):
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
    with pytest.raises(ValueError, match=r"(?s)2 of the 3 rows.*c\.wav.*the text is empty.*--on-error skip") as error:
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
    with pytest.raises(ValueError, match=r"'\?' has no letter or digit"):
        options(["yes", "?"])


def test_letters_that_we_gave_are_no_words() -> None:
    choices = ["rain", "a dog", "b"]
    for text, left in (
        ("(A) rain", "rain"), ("(A)", "rain"), ("B", "a dog"), (" B. A dog barks.", "A dog barks."), ("C", "b"),
        ("B: a dog", "a dog"), ("A dog", "A dog"), ("Both", "Both"), ("(D) rain", "(D) rain"), ("rain (A)", "rain (A)"),
    ):  # fmt: skip
        assert without_letter(text, choices) == left


def test_recordings_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    for folder, hertz in (("a", 300), ("b", 500)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "0.wav").write_bytes(wav(0.4, hertz))
    rows = [{"audio": f"{folder}/0.wav", "text": text} for folder, text in (("a", "one"), ("b", "two"), ("a", "too"))]
    found = read("audiocaps", jsonl(tmp_path / "test.jsonl", *rows))
    assert [item.references for item in found.items] == [("one", "too"), ("two",)]
    assert [item.recordings for item in found.items] == [("a/0.wav",), ("b/0.wav",)]


def test_what_the_recipe_writes_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(A)
    row = {"audio": "a.wav", "text": "one two", "prompt": "Which?", "recordings": ["1_x_0.wav", "2_x_3.wav"]}
    (item,) = read("digits", jsonl(tmp_path / "manifest.jsonl", row)).items
    assert (item.question, item.references, item.recordings) == ("Which?", ("one two",), ("1_x_0.wav", "2_x_3.wav"))
    asked = {"audio": "a.wav", "text": "rain", "prompt": "Which? (A) dog (B) rain", "choices": ["dog", "rain"]}
    (item,) = read("sound_choices", jsonl(tmp_path / "asked.jsonl", asked)).items
    assert (item.question, item.references, item.choices) == (asked["prompt"], ("rain",), ("dog", "rain"))


def test_a_subset_of_the_corpus_must_be_named(tmp_path: Path) -> None:
    for subset, text in (("test-clean", "go"), ("test-other", "do")):
        transcripts(make_folder(tmp_path / subset))
        (tmp_path / subset / "transcripts.tsv").write_text(f"1-0\t{text}\n")
    with pytest.raises(ValueError, match="test-clean, test-other: choose one with --split"):
        read("librispeech", tmp_path)
    assert read("librispeech", tmp_path, split="test-other").items[0].references == ("do",)


def make_folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_only_what_is_asked_about_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    path = table(tmp_path, {"audio": "a.wav", "text": "go"}, {"audio": "broken.wav", "text": "do"})
    assert len(read("librispeech", path, count=1).items) == 1
    with pytest.raises(ValueError, match="broken"):
        read("librispeech", path)


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
    assert read("librispeech", parquet(tmp_path, "audio", (wav(0.5),), text=["go"])).digest != digest


def test_unknown_tasks_and_missing_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="did you mean 'audiocaps'"):
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
