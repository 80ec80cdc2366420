"""`hf-tokcomp bench`: what it prints and writes, and what it refuses before a model is made."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from toy_sizes import TOY_SIZES, WHISPER

import hf_tokcomp
from hf_tokcomp.benchmarks import full_size
from hf_tokcomp.benchmarks.decoding import tables as decoding_tables
from hf_tokcomp.benchmarks.full_size import PARTS
from hf_tokcomp.benchmarks.speed import architectures, tables
from hf_tokcomp.cli import main
from hf_tokcomp.reporting import pages

QUICK = ("--rounds", "1", "--seconds", "0", "--new-tokens", "2", "--device", "cpu")
ONE = ("--compression", "ltbm", "--retention-ratio", "1/2", *QUICK)


pytestmark = pytest.mark.usefixtures("libraries_as_they_were")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that stores a compression, and one that does not."""
    folder = tmp_path_factory.mktemp("bench")
    for kind in tiny.KINDS:
        model = tiny.model(kind)
        if kind == "audioflamingo3":
            hf_tokcomp.patch(model, {"method": "stride", "retention_ratio": 0.2})
        model.save_pretrained(folder / kind)
        tiny.processor(kind).save_pretrained(folder / kind)
    return folder


@pytest.fixture
def call(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Run a command line where the models are: exit code, stdout, stderr. The architectures are toys."""
    monkeypatch.chdir(tmp_path)
    for kind in tiny.KINDS:
        (tmp_path / kind).symlink_to(folder / kind)
    (tmp_path / "toys").mkdir()
    for name, config in (TOY_SIZES | {"whisper-base": WHISPER}).items():
        text = json.dumps({"source": "nowhere", "config": config})
        (tmp_path / "toys" / f"{name}.json").write_text(text)
    monkeypatch.setattr(architectures, "CONFIGS", tmp_path / "toys")
    monkeypatch.delenv("HF_TOKCOMP_DEBUG", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(("bench", *arguments))
        return (code, *capfd.readouterr())

    return run


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_a_model_is_measured_without_its_stored_compression(call: Callable[..., Any], kind: str) -> None:
    code, out, err = call("--model", f"./{kind}", "--compression", "none", *ONE, "--json")
    assert (code, err) == (0, ""), err
    report = json.loads(out)
    assert [row["candidate"] for row in report["rows"]] == ["uncompressed", "none", "ltbm"]
    assert [row["tokens_after"] for row in report["rows"]] == [[25], [25], [13]]
    assert report["model"]["weights"] == "its own"
    assert report["plan"]["audio_seconds"] == [1.0], "the encoder's window"


def test_tables_files_and_a_picture(call: Callable[..., Any], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    other, begin = (tables.BEGIN.format(place=place) for place in ("", "#long"))
    before = f"# Page\n\n{other}\nanother\n{pages.END}\n\n{begin}"
    page.write_text(f"{before}\nold\n{pages.END}\n\nAfter, and {pages.END}\n", encoding="utf-8")
    files = ("--output", "report.json", "--plot", "picture.png", "--markdown", "page.md#long")
    options = ("--audio-seconds", "0.5,1", "--batch-size", "2", "--layers", "1")
    code, out, err = call("--random-weights", "audio-flamingo-3", *options, *ONE, *files)
    assert (code, err) == (0, ""), err
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["model"]["layers"] == 1
    assert len(report["rows"]) == 4
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    for name in ("2 x 0.5 s", "2 x 1 s"):
        assert f"Milliseconds to the first token, {name}\n" in out
    assert "Cut down to 1 layer in each stack." in out
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"{before}\n\n- ")
    assert text.endswith(f"{pages.END}\n\nAfter, and {pages.END}\n")
    assert "old" not in text
    assert text.count("\n| `ltbm` | 1/2 |") == 2 + 2 + 1
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "page.md",
        "picture.png",
        "report.json",
    ]


def test_all_ways_in_one_run(call: Callable[..., Any]) -> None:
    options = ("--batch-size", "2", "--ragged", "--one-by-one", "--rivals")
    code, out, err = call("--random-weights", "qwen2-audio-7b", *options, *ONE)
    assert (code, err) == (0, ""), err
    table = out.split("one by one, 2 x up to 1 s\n")[1].split("\n\n")[0]
    assert [line.split()[0] for line in table.splitlines()[1:]] == ["ltbm", "ltbm", "top_k", *["uncompressed"] * 2]


def test_the_defaults(call: Callable[..., Any]) -> None:
    code, out, _ = call("--random-weights", "qwen2-audio-7b", *QUICK, "--json")
    assert code == 0
    names = [(row["candidate"], row["retention_ratio"]) for row in json.loads(out)["rows"]]
    methods = ("segmentwise_top_k", "average_pooling")
    assert names == [("uncompressed", None), *((name, ratio) for name in methods for ratio in (1 / 2, 1 / 4, 1 / 10))]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--random-weights", "whisper"], 1, "Available: audio-flamingo-3, qwen2-audio-7b, whisper-base."),
        (["--random-weights", "qwen2-audio-7b", "--model", "./qwen2_audio"], 1, "not both"),
        (["--random-weights", "qwen2-audio-7b", "--layers", "9"], 1, "keep 1 to 2"),
        (["--layers", "1"], 1, "--layers is for --random-weights"),
        (["--compression", "ltmb"], 1, "did you mean 'ltbm'?"),
        (["--retention-ratio", "2"], 1, "at most 1"),
        (["--retention-ratio", "half"], 1, "--retention-ratio: 'half' is not a number."),
        (["--audio-seconds", "soon"], 1, "--audio-seconds: 'soon' is not a number."),
        (["--batch-size", "0"], 1, "at least one clip"),
        (["--ragged"], 1, "a batch of at least two"),
        (["--audio-seconds", "40", "--model", "./qwen2_audio"], 1, "reads 1 s of an audio at most, not 40 s"),
        (["--model", "./nowhere"], 1, "There is no model folder nowhere."),
        (["--output", "gone/report.json"], 1, "There is no folder"),
        (["--plot", "picture.gif"], 1, "must end in .png, .pdf or .svg"),
        (["--markdown", "gone.md#long"], 1, "There is no page gone.md."),
        (["--markdown", "toys/qwen2-audio-7b.json"], 1, "has no place for the tables"),
        (["--new-tokens", "0"], 2, "greater than or equal to 1"),
        (["--random-weights", "whisper-base", "--new-tokens", "1"], 1, "At least two tokens must be generated"),
        (["--random-weights", "whisper-base", "--layers", "3"], 1, "whisper-base has 2 layers; keep 1 to 2."),
        (["--random-weights", "whisper-base", "--audio-seconds", "2"], 1, "reads 1 s of an audio at most, not 2 s"),
        (["--random-weights", "whisper-base", "--ragged"], 1, "give --batch-size"),
        (
            ["--random-weights", "whisper-base", "--compression", "ltbm", "--positions", "original", "--rivals"],
            1,
            "whisper-base reads no prompt, so its decoder is measured alone; leave out --positions, --rivals.",
        ),
        (["--random-weights", "whisper-base", "--one-by-one"], 1, "leave out --one-by-one."),
        (["--random-weights", "whisper-base", "--plot", "picture.png"], 1, "leave out --plot."),
        (["--full-size", "out"], 1, "leave out --new-tokens, --rounds, --seconds."),
    ],
)
def test_errors_are_one_line_and_come_before_a_model(
    call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, words: str
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("a model was made")

    monkeypatch.setattr("hf_tokcomp.benchmarks.speed.subject.build", never)
    monkeypatch.setattr("hf_tokcomp.inference.reader.Reader.load_model", never)
    found, out, err = call(*arguments, *QUICK) if "--new-tokens" not in arguments else call(*arguments)
    assert (found, out) == (code, "")
    assert err.startswith("hf-tokcomp: error: ")
    assert err.count("\n") == 1
    assert words in err


def test_no_server_for_a_decoder_that_attends_to_its_encoder(call: Callable[..., Any]) -> None:
    code, out, err = call("--random-weights", "whisper-base", "--engine", "vllm")
    assert (code, out) == (1, "")
    assert "'whisper' is not served under compression in vLLM" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "x", "--batch-size", "1", "--json"], "leave out --model, --batch-size, --json."),
        (["--markdown", "page.md#large"], "give --markdown PAGE, without #"),
        (["--markdown", "gone.md"], "There is no page gone.md."),
    ],
)
def test_full_size_refuses_what_it_says_itself(
    call: Callable[..., Any], tmp_path: Path, arguments: list[str], words: str
) -> None:
    code, out, err = call("--full-size", "out", *arguments)
    assert (code, out) == (1, "")
    assert err.startswith("hf-tokcomp: error: ")
    assert err.count("\n") == 1
    assert words in err
    assert not (tmp_path / "out").exists()


def test_full_size_is_the_same_as_its_module(
    call: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = replace(PARTS["qwen"], windows=(1,), batch_sizes=(1,), methods=("stride",), ratios=(1 / 4,))
    for name in set(PARTS) - {"qwen"}:
        monkeypatch.delitem(PARTS, name)
    monkeypatch.setitem(PARTS, "qwen", part)
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n{full_size.BEGIN}\n{pages.END}\n")
    options = ("--layers", "1", "--device", "cpu")
    code, out, err = call("--full-size", "out", *options, "--markdown", "page.md")
    assert code == 0, err
    assert out == "out holds qwen; speed.md has the tables.\n"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"qwen.json", "qwen.png", "speed.md"}
    report = json.loads((tmp_path / "out" / "qwen.json").read_text())
    assert report["settings"] == {"layers": 1, "small": False, "device": "cpu", "dtype": "float32"}
    assert {row["candidate"] for row in report["rows"]} == {"uncompressed", "stride"}
    assert f"### {part.title}\n" in page.read_text()
    monkeypatch.setattr(full_size, "random_subject", None)  # nothing is measured again
    assert full_size.main(["out", "--parts", "qwen", *options]) == 0


def test_an_adapter_is_as_fast_as_its_base(call: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    config = {"peft_type": "LORA", "base_model_name_or_path": str(tmp_path / "qwen2_audio"), "task_type": None}
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    code, _, err = call("--model", "./adapter", *ONE)
    assert code == 1
    assert "is an adapter, and as fast as its base model; measure " in err


def test_a_decoder_that_attends_to_its_encoder(call: Callable[..., Any], tmp_path: Path) -> None:
    begin = decoding_tables.BEGIN.format(place="#base")
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n{begin}\nold\n{pages.END}\n\nAfter\n", encoding="utf-8")
    files = ("--output", "report.json", "--markdown", "page.md#base", "--layers", "1")
    code, out, err = call("--random-weights", "whisper-base", *files, *ONE)
    assert (code, err) == (0, ""), err
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["model"]["layers"] == 1
    assert report["plan"]["batch_sizes"] == [1, 8, 16]
    assert [row["candidate"] for row in report["rows"]] == ["none", "ltbm", "none, again"] * 3
    for row, streams in zip(report["rows"][1::3], (1, 8, 16), strict=True):
        assert row["step"]["cross_bytes"] == streams * 2 * 25 * WHISPER["d_model"] * 4, "one layer, 25 of 50 tokens"
    for name in ("Decoding, 1 s", "Decoding, 16 x 1 s", "Milliseconds to the first token, 1 s"):
        assert f"{name}\n" in out
    text = page.read_text(encoding="utf-8")
    assert text == f"# Page\n\n{begin}\n\n{decoding_tables.markdown(report)}\n\n{pages.END}\n\nAfter\n"
    assert "Cut down to 1 layer in each stack." in text


def test_defaults_of_such_a_decoder(call: Callable[..., Any]) -> None:
    code, out, _ = call("--random-weights", "whisper-base", "--batch-size", "2", *QUICK, "--json")
    assert code == 0
    report = json.loads(out)
    names = [(row["candidate"], row["retention_ratio"]) for row in report["rows"]]
    methods = ("segmentwise_top_k", "average_pooling")
    compressed = [(name, ratio) for name in methods for ratio in (1 / 2, 1 / 4, 1 / 10)]
    assert names == [("none", None), *compressed, ("none, again", None)]
    assert report["plan"]["audio_seconds"] == [1.0], "the encoder's window"
