"""Speech-to-speech translation as people measure it: a model speaks, a Whisper listens, a table has the numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
import spoken_answers
import tiny_whisper
from result_folders import results_in
from subjects.checkpoints import folder_of
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

import hf_tokcomp
from hf_tokcomp.cards import read_measurements
from hf_tokcomp.cli import main
from hf_tokcomp.evaluation import Dataset, Speech, evaluate, sweep
from hf_tokcomp.evaluation.items import read_items
from hf_tokcomp.evaluation.journal import Journal
from hf_tokcomp.evaluation.speech import Transcriber
from hf_tokcomp.evaluation.task import Task
from hf_tokcomp.evaluation.tasks import get_task
from hf_tokcomp.inference.reader import Reader

pytestmark = pytest.mark.usefixtures("libraries_as_they_were")
RUN = "top_k@0.5/contiguous"


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_whisper.save(tmp_path_factory.mktemp("listens") / "tiny-whisper")


@pytest.fixture(scope="module")
def checkpoint() -> Path:
    if spoken_answers.PROBLEM is not None:
        pytest.skip(spoken_answers.PROBLEM)
    return folder_of("qwen2_5_omni")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return spoken_answers.table(tmp_path / "data")


def command(name: str, checkpoint: Path, whisper: Path, data: Path, *arguments: Any) -> int:
    options = ["--model", checkpoint, "--asr-model", whisper, "--target-language", "english", "--dataset", data]
    compression = ["--compression", "top_k", "--retention-ratio", "1/2", "--positions", "contiguous"]
    given = [name, *options, *compression, *spoken_answers.TEXT, *spoken_answers.SPEECH, *arguments]
    return main([str(word) for word in given])


def measured(checkpoint: Path, whisper: Path, data: Path, out: Path, *arguments: Any) -> int:
    fast = ("--resamples", 100, "--batch-size", 2)
    return command("eval", checkpoint, whisper, data, *arguments, *fast, "s2st", "--output", out)


def test_the_numbers_are_those_of_text_and_transcript(
    checkpoint: Path, whisper: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert measured(checkpoint, whisper, data, out) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    found, answers = results_in(out), Journal(out).read()
    assert {each["metric"] for each in found["scores"]} == {"asr_bleu", "bleu"}
    plain = EnglishTextNormalizer(tiny_whisper.SPELLINGS)
    for run in ("none@1", RUN):
        given = [answers["s2st", str(number), run] for number in range(3)]
        assert all(each.transcript and each.speech_seconds == 0.001 for each in given)
        heard = sacrebleu.corpus_bleu(
            [" ".join(plain(str(each.transcript)).split()) for each in given], [list(spoken_answers.TRUTHS)]
        )
        text = sacrebleu.corpus_bleu([each.text for each in given], [list(spoken_answers.TRUTHS)])
        values = {each["metric"]: each["value"] for each in found["scores"] if each["method"] == run.split("@")[0]}
        assert values == {"asr_bleu": pytest.approx(heard.score), "bleu": pytest.approx(text.score)}
    assert [each["value"] for each in found["scores"]].count(0) < 4
    stored = found["tasks"]["s2st"]["speech"]
    assert (stored["asr_model"], stored["language"]) == ("tiny-whisper", "en")
    assert stored["max_new_tokens"] == 4
    by = found["measured_by"]["metrics"]["s2st"]["asr_bleu"]
    assert by["spellings"] == "a list of 1"
    assert "tok:13a" in by["signature"]
    assert found["tasks"]["s2st"]["prompt"] == "Translate the speech into English."
    assert "**test**: ASR-BLEU, higher is better, 3 items" in printed.replace("data", "test")
    assert "answers spoken, and written down by tiny-whisper in 'en'" in printed
    assert str(tmp_path) not in (out / "results.json").read_text(encoding="utf-8")
    config = hf_tokcomp.CompressionConfig.from_dict(found["runs"][RUN]["config"])
    (card,) = read_measurements(out, config)
    assert {score.name for score in card.scores} == {"asr_bleu", "bleu", "audio_tokens_per_second"}
    assert "speech written down by tiny-whisper in 'en'" in card.note
    assert "EnglishTextNormalizer" in card.note


def test_an_interrupted_one_goes_on(
    checkpoint: Path, whisper: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert measured(checkpoint, whisper, data, whole) == 0
    asked, heard = sweep.ask, Transcriber.transcribe
    calls: list[int] = []

    def stops(self: Transcriber, sounds: Any) -> list[str]:
        calls.append(len(sounds))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return heard(self, sounds)

    with monkeypatch.context() as patch:
        patch.setattr(Transcriber, "transcribe", stops)
        assert measured(checkpoint, whisper, data, broken) == 130
    assert calls == [2, 2, 1]
    before = (broken / "answers-0.jsonl").read_bytes()
    assert before.count(b"\n") == 4
    counted: list[int] = []

    def counting(model: Any, processor: Any, prepared: Any, *args: Any, **options: Any) -> Any:
        counted.append(len(prepared.audios))
        return asked(model, processor, prepared, *args, **options)

    monkeypatch.setattr(sweep, "ask", counting)
    assert measured(checkpoint, whisper, data, broken) == 0
    assert counted == [1, 1], "only what was missing is asked again"
    assert (broken / "answers-0.jsonl").read_bytes().startswith(before)
    assert Journal(broken).read() == Journal(whole).read()
    assert results_in(broken)["scores"] == results_in(whole)["scores"]


def test_another_whisper_another_voice_another_folder(
    checkpoint: Path, whisper: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert measured(checkpoint, whisper, data, out) == 0
    other = tiny_whisper.save(tmp_path / "tiny-whisper", says=3)
    before = (out / "answers-0.jsonl").read_bytes()
    for changed in (("--target-language", "de"), ("--speaker", "Chelsie")):
        assert measured(checkpoint, whisper, data, out, *changed) == 1
        assert "s2st: " in capsys.readouterr().err
    assert measured(checkpoint, other, data, out) == 0, "its weights are the same"
    assert (out / "answers-0.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("eval", "s2st", "--output", "o"), "Add --asr-model and --target-language"),
        (("eval", "s2st", "--output", "o", "--asr-model", "w"), "Add --target-language, as in"),
        (("eval", "s2st", "--output", "o", "--asr-model", "w", "--target-language", "xx"), "no language 'xx'"),
        (("eval", "asr", "--output", "o", "--asr-model", "w"), "--asr-model: no task here is spoken but s2st"),
        (("compare", "--speaker", "Chelsie"), "--speaker: no task here is spoken but s2st"),
        (("compare", "--task", "s2st"), "Add --asr-model and --target-language"),
        (
            ("eval", "s2st", "--output", "o", "--asr-model", "w", "--target-language", "en"),
            "writes and does not speak. Models that speak: qwen2_5_omni",
        ),
        (
            ("compare", "--task", "s2st", "--asr-model", "w", "--target-language", "en"),
            "writes and does not speak. Models that speak: qwen2_5_omni",
        ),
    ],
)
def test_errors_come_before_any_work(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    def loaded(*_: Any) -> None:
        raise AssertionError("a model is loaded")

    monkeypatch.setattr(Reader, "load_model", loaded)
    monkeypatch.chdir(tmp_path)
    dataset = () if arguments[0] == "compare" else ("--dataset", str(spoken_answers.table(tmp_path)))
    assert main([*arguments, *dataset]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_compare_prints_both_and_writes_all(
    checkpoint: Path, whisper: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "all.json"
    given = ("--task", "s2st", "--texts", "--output", file)
    assert command("compare", checkpoint, whisper, data, *given) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    for title in (
        "ASR-BLEU of the speech, by fraction",
        "BLEU of the text: 3",
        "heard",
        "written down by tiny-whisper",
    ):
        assert title in printed
    assert "Word error rate" not in printed
    values = json.loads(file.read_text())
    assert {each["metric"] for each in values["scores"]} == {"asr_bleu", "bleu"}
    assert all(each["transcript"] and len(each["seconds"]) == 3 for each in values["answers"])
    assert all(each["speech_seconds"] > 0 for each in values["costs"])
    assert values["tasks"]["s2st"]["speech"]["asr_model"] == "tiny-whisper"
    assert {each["prompt"] for each in values["recordings"]} == {"Translate the speech into English."}
    config = hf_tokcomp.CompressionConfig.from_dict(values["runs"][RUN]["config"])
    assert "speech_seconds" in {score.name for score in read_measurements(file, config)[0].scores}


def test_the_options_may_stand_in_a_file(checkpoint: Path, whisper: Path, data: Path, tmp_path: Path) -> None:
    lines = {
        "tasks": ["s2st"],
        "compression": "stride",
        "model": str(checkpoint),
        "dataset": str(data),
        "asr_model": str(whisper),
        "target_language": "en",
        "max_speech_tokens": 4,
        "max_new_tokens": 4,
        "items": 1,
        "resamples": 100,
        "output": str(tmp_path / "out"),
    }
    (tmp_path / "eval.yaml").write_text(json.dumps(lines))
    assert main(["eval", "--config", str(tmp_path / "eval.yaml")]) == 0
    assert [given.transcript is not None for given in Journal(tmp_path / "out").answers()] == [True] * 2


def test_from_python(checkpoint: Path, whisper: Path, data: Path, tmp_path: Path) -> None:
    from subjects.qwen2_5_omni import SUBJECT

    model, processor = SUBJECT.model(), SUBJECT.make_processor()
    where = {"s2st": Dataset(str(data), count=2)}
    with pytest.raises(ValueError, match=r"pass speech=Speech\("):
        evaluate(model, processor, ["s2st"], tmp_path / "out", datasets=where)
    with pytest.raises(hf_tokcomp.UnsupportedModelError, match="does not speak"):
        evaluate(model.thinker, processor, ["s2st"], tmp_path / "out", datasets=where)
    assert not (tmp_path / "out").exists()
    speech = Speech(str(whisper), "en", max_new_tokens=4)
    scores = evaluate(
        model, processor, ["s2st"], tmp_path / "out", datasets=where, speech=speech, max_new_tokens=4, resamples=100
    )
    assert [(score.metric, score.items) for score in scores] == [("asr_bleu", 2), ("bleu", 2)]
    own = Task("spoken", "Mine", "translation", ("asr_bleu",), {"": "In {language}?"}, spoken=True)
    (score,) = evaluate(
        *(model, processor, [own], tmp_path / "own"),
        datasets={"spoken": Dataset(str(data), count=2)},
        speech=speech,
        max_new_tokens=4,
        resamples=100,
    )
    assert score.metric == "asr_bleu"
    assert results_in(tmp_path / "own")["tasks"]["spoken"]["prompt"] == "In English?"


# The layouts.


def cvss(folder: Path, clips: bool = True) -> Path:
    """As its archive is unpacked, with Common Voice's folder beside it."""
    (folder / "test").mkdir(parents=True)
    made = spoken_answers.recordings(folder, 2)
    names = [path.rename(path.with_name(f"common_voice_de_{n}.wav")) for n, path in enumerate(made)]
    lines = [f"{path.name}\t{text}\n" for path, text in zip(names, ("Good morning.", "What is this?"), strict=True)]
    (folder / "test.tsv").write_text("".join(lines))
    for path in names:
        path.rename((folder / "test" / path.name).with_suffix(".translated.wav"))
    if clips:
        (folder / "clips").mkdir()
        for path in names:
            (folder / "test" / path.name).with_suffix(".translated.wav").rename(folder / "clips" / path.name)
    return folder


def fleurs(folder: Path, unpacked: str = "audio/test") -> Path:
    """Two languages as in its repository: one sentence twice, one only once, one in one language only."""
    german, english = folder / "de_de", folder / "en_us"
    (german / unpacked).mkdir(parents=True)
    english.mkdir()
    paths = [path.rename(german / unpacked / path.name) for path in spoken_answers.recordings(german)]
    numbers = ("7", "7", "9")

    def line(number: str, name: str, raw: str) -> str:
        return "\t".join([number, name, raw, raw.lower().strip("."), "|", "8000", "MALE"]) + "\n"

    (german / "test.tsv").write_text(
        "".join(line(n, path.name, "Satz.") for n, path in zip(numbers, paths, strict=True))
    )
    (english / "test.tsv").write_text(line("7", "x.wav", "A Sentence.") + line("8", "y.wav", "Another."))
    return german


def items(folder: Path, language: str = "en", **options: Any) -> Any:
    task = Speech("w", language).task(get_task("s2st"), {})
    return read_items(task, Dataset(str(folder), **options), 16_000)


def test_cvss(tmp_path: Path) -> None:
    found = items(cvss(tmp_path / "cvss"))
    assert [(item.id, item.references) for item in found.items] == [
        ("common_voice_de_0", ("Good morning.",)),
        ("common_voice_de_1", ("What is this?",)),
    ]
    assert found.samples == [6400, 9600]
    assert [Path(found.audio_of(place)["path"]).parent.name for place in (0, 1)] == ["clips", "clips"]
    with pytest.raises(ValueError, match="translates into English: --target-language en, not de"):
        items(tmp_path / "cvss", "de")
    (tmp_path / "cvss" / "clips" / "common_voice_de_1.wav").unlink()
    with pytest.raises(FileNotFoundError, match=r"names common_voice_de_1\.wav, and there is no"):
        items(tmp_path / "cvss")


def test_the_english_speech_of_cvss_is_not_taken_for_the_question(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Those in .*test are the spoken translations"):
        items(cvss(tmp_path / "cvss", clips=False))


@pytest.mark.parametrize("unpacked", ["audio/test", "test"])
def test_fleurs(tmp_path: Path, unpacked: str) -> None:
    found = items(fleurs(tmp_path, unpacked))
    assert [item.id for item in found.items] == ["7-clip0", "7-clip1"]
    assert {item.references for item in found.items} == {("A Sentence.",)}
    assert {item.recordings for item in found.items} == {("sentence 7",)}
    assert found.samples == [6400, 9600]


def test_fleurs_wrong(tmp_path: Path) -> None:
    german = fleurs(tmp_path)
    with pytest.raises(ValueError, match="is in the language to translate into, de; name the folder of the other"):
        items(german, "de")
    with pytest.raises(FileNotFoundError, match=r"in 'zh' are to be in .*cmn_\.\.\./test\.tsv, and there are 0"):
        items(german, "zh")
    (german / "audio").rename(german / "sounds")
    with pytest.raises(FileNotFoundError, match=r"unpack .*test\.tar\.gz there"):
        items(german)


def test_a_table_with_headings_is_no_cvss(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    spoken_answers.recordings(tmp_path, 1)
    (tmp_path / "test.tsv").write_text("audio\ttext\nclip0.wav\tGood morning.\n")
    (item,) = items(tmp_path).items
    assert item.references == ("Good morning.",)


def test_tables_of_their_own(tmp_path: Path) -> None:
    """With a transcript beside the translation, which is the one that counts."""
    spoken_answers.recordings(tmp_path, 1)
    row = {"audio": "clip0.wav", "sentence": "Guten Morgen.", "translation": "Good morning.", "prompt": "In English?"}
    (tmp_path / "test.jsonl").write_text(json.dumps(row))
    (item,) = items(tmp_path / "test.jsonl").items
    assert (item.references, item.question) == (("Good morning.",), "In English?")
