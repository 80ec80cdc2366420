"""One language: the same options in every command, earlier spellings with a hint, and options from a YAML file."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import compared
import pytest
import soundfile
import tiny
from places import ROOT
from typer.main import get_command

from hf_tokcomp.cli import app
from hf_tokcomp.cli.config_file import defaults_from
from hf_tokcomp.cli.finetune import parse
from hf_tokcomp.cli.plot import configs_of
from hf_tokcomp.cli.spellings import OLD, modern
from hf_tokcomp.training.arguments import FinetuneArguments

pytestmark = pytest.mark.usefixtures("libraries_as_they_were")
ALIKE = ("--compression", "--retention-ratio", "--positions")
READING = ("--dataset", "--split", "--columns")
ONE = ("run", "push", "card")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, a recording and a table."""
    folder = tmp_path_factory.mktemp("language")
    tiny.model("qwen2_audio").save_pretrained(folder / "model")
    tiny.processor("qwen2_audio").save_pretrained(folder / "model")
    soundfile.write(folder / "long.wav", tiny.sound(0.96, 1), tiny.RATE)
    rows = [{"audio": "long.wav", "text": "one"}, {"audio": "long.wav", "text": "two"}]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def options() -> dict[str, set[str]]:
    """The options of every command that `typer` reads, the hidden ones left out."""
    group: Any = get_command(app)
    return {
        name: {option for param in command.params if not getattr(param, "hidden", False) for option in param.opts}
        for name, command in group.commands.items()
    }


def test_every_command_has_the_same_options() -> None:
    found = options()
    for name in ("run", "compare", "eval", "bench", "plot", "push", "card"):
        assert set(ALIKE) <= found[name], name
    for name in ("run", "compare", "eval", "plot"):
        assert set(READING) <= found[name], name
    fields = {f"--{name.replace('_', '-')}" for name in FinetuneArguments.__dataclass_fields__}
    assert {*ALIKE, *READING, "--on-error", "--dataset-config"} <= fields
    earlier = {old for each in OLD.values() for old in each}
    assert not earlier & {option for each in found.values() for option in each}


@pytest.mark.parametrize(
    ("command", "old", "now"),
    [
        ("compare", ["--methods", "ltbm:window=4,top_k"], ["--compression", "ltbm:window=4", "--compression", "top_k"]),
        ("compare", ["--ratios=1/2", "--texts"], ["--retention-ratio", "1/2", "--texts"]),
        ("run", ["a.wav", "--manifest", "m.jsonl"], ["a.wav", "--dataset", "m.jsonl"]),
        ("plot", ["--manifest", "m.jsonl"], ["--dataset", "m.jsonl"]),
        ("eval", ["asr", "--skip-bad"], ["asr", "--on-error", "skip"]),
        ("demo", ["--method", "ltbm"], ["--compression", "ltbm"]),
    ],
)
def test_earlier_spellings(command: str, old: list[str], now: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert modern(old, OLD[command], set()) == now
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("hf-tokcomp: hint: ")
    (name,) = {word.partition("=")[0] for word in old} & set(OLD[command])
    assert f"{name} is now {shlex.join([word for word in now if word not in old])}" in err
    modern(old, OLD[command], set(), quiet=True)
    assert capsys.readouterr().err == ""


def test_what_follows_an_option_or_two_dashes_is_no_option() -> None:
    given = ["--prompt", "--manifest", "--", "--manifest"]
    assert modern(given, OLD["run"], {"--prompt"}) == given


def test_an_earlier_spelling_does_what_todays_does(call: Callable[..., Any]) -> None:
    rest = ("--model", "./model", "--max-new-tokens", "2", "--positions", "original", "--json")
    old = call("compare", "--manifest", "rows.jsonl", "--methods", "top_k,stride", "--ratios", "1/2", *rest)
    named = ("--compression", "top_k", "--compression", "stride", "--retention-ratio", "0.5")
    now = call("compare", "--dataset", "rows.jsonl", *named, *rest)
    assert old[0] == now[0] == 0
    hint, *others = old[2].splitlines()
    assert hint == (
        "hf-tokcomp: hint: --manifest is now --dataset rows.jsonl; --methods is now --compression top_k --compression "
        "stride; --ratios is now --retention-ratio 1/2"
    )
    assert others == now[2].splitlines()
    cells = [compared.cells(json.loads(each[1])) for each in (old, now)]
    assert {key: cell["text"] for key, cell in cells[0].items()} == {
        key: cell["text"] for key, cell in cells[1].items()
    }
    assert len(cells[0]) == 3


@pytest.mark.parametrize("command", ONE)
@pytest.mark.parametrize(
    "given",
    [
        ("--compression", "ltbm", "--compression", "top_k"),
        ("--compression", "all"),
        ("--compression", "ltbm", "--retention-ratio", "1/2,1/4"),
        ("--compression", "ltbm", "--positions", "contiguous,original"),
    ],
)
def test_where_there_is_one_a_second_is_refused(call: Callable[..., Any], command: str, given: tuple[str, ...]) -> None:
    name = () if command == "run" else ("someone/thing",)
    code, out, err = call(command, *name, *given)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "this command takes one. `hf-tokcomp compare` and `hf-tokcomp eval` take several." in err


@pytest.mark.parametrize(
    "given",
    [
        ("--compression", "ltbm", "--compression", "top_k"),
        ("--compression", "all"),
        ("--compression", "ltbm", "--retention-ratio", "1/2,1/4"),
    ],
)
def test_finetune_takes_one_as_well(call: Callable[..., Any], given: tuple[str, ...]) -> None:
    code, _, err = call("finetune", "--dataset", "rows.jsonl", "--output-dir", "out", "--use-cpu", *given)
    assert code in (1, 2)
    assert "this command takes one. `hf-tokcomp compare` and `hf-tokcomp eval` take several" in err


def test_fractions_and_options_everywhere(call: Callable[..., Any]) -> None:
    given = ("--compression", "ltbm:window=4+top_k", "--positions", "original")
    code, out, err = call("run", "long.wav", "--model", "./model", "--max-new-tokens", "2", *given, "--json")
    assert (code, err) == (0, "")
    stages = json.loads(out)["compression"]["stages"]
    assert [(stage["method"], stage.get("window")) for stage in stages] == [("ltbm", 4), ("top_k", None)]
    code, out, _ = call("card", "someone/thing", "--compression", "ltbm:window=4", "--retention-ratio", "1/4")
    assert code == 0
    assert "25 %" in out or "0.25" in out


def test_a_picture_of_every_combination() -> None:
    found = configs_of(["none", "ltbm"], [0.5, 0.25], ["contiguous", "original"])
    listed = [(config.method, config.retention_ratio, config.positions) for config in found]
    assert listed == [
        ("none", None, "contiguous"),
        ("none", None, "original"),
        *(("ltbm", ratio, kind) for ratio in (0.5, 0.25) for kind in ("contiguous", "original")),
    ]


# finetune


def arguments(tmp_path: Path, *more: str) -> Any:
    return parse(["--dataset", "rows.jsonl", "--output-dir", str(tmp_path / "out"), "--use-cpu", *more])[0]


def test_finetune_names_columns_as_the_others_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = arguments(tmp_path, "--columns", "audio:sound,text:said,question:", "--ratios", "1/2,1/4", "0.1")
    assert (found.audio_column, found.text_column, found.prompt_column) == ("sound", "said", "")
    assert found.ratios == [0.5, 0.25, 0.1]
    assert capsys.readouterr().err == ""
    with pytest.raises(ValueError, match="no role 'sound'; there are audio, text, question"):
        arguments(tmp_path, "--columns", "sound:audio")


def test_finetune_understands_earlier_spellings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = arguments(tmp_path, "--audio-column", "sound", "--text_column=said", "--skip-bad")
    assert (found.audio_column, found.text_column, found.skips) == ("sound", "said", True)
    assert capsys.readouterr().err == (
        "hf-tokcomp: hint: --audio-column is now --columns audio:sound; --text-column is now --columns text:said; "
        "--skip-bad is now --on-error skip\n"
    )
    file = tmp_path / "run.yaml"
    file.write_text("text_column: said\nretention-ratio: 1/4\ncompression: ltbm\n")
    found = arguments(tmp_path, "--config", str(file), "--compression", "top_k")
    assert (found.text_column, found.retention_ratio, found.compression) == ("said", 0.25, "top_k")
    assert capsys.readouterr().err == "hf-tokcomp: hint: text_column is now columns: text:said\n"


def test_the_help_of_finetune_has_groups_and_no_earlier_spelling(capsys: pytest.CaptureFixture[str]) -> None:
    parse(["--help"])
    text = capsys.readouterr().out
    listed = text.split("Examples:")[0]
    for words in ("Input:", "Compression:", "Training:", "Running:", "Examples:\n  hf-tokcomp finetune"):
        assert words in text
    for words in ("_column", "text-column", "skip-bad", "--retention_ratio", "Trainer:"):
        assert words not in text
    for name in FinetuneArguments.__dataclass_fields__:
        if name not in ("audio_column", "text_column", "prompt_column", "skip_bad"):
            before = re.split(rf"\n  --{name.replace('_', '-')}\b(?!-)", listed)
            assert len(before) == 2, name
            assert "transformers.TrainingArguments:" not in before[0], name


# --config


def test_options_from_a_file(call: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    (folder / "eval.yaml").write_text(
        "tasks: asr\ndataset: rows.jsonl\nmodel: ./model\ncompression: [top_k, {method: stride}]\n"
        "retention-ratio: [1/2, 0.25]\npositions: original\nmax_new_tokens: 2\nresamples: 100\nitems: 2\n"
        f"output: {tmp_path / 'from_file'}\n"
    )
    code, out, err = call("eval", "--config", "eval.yaml", "--items", "1")
    assert code == 0, err
    assert "1 items of rows" in out
    stored = json.loads((tmp_path / "from_file" / "results.json").read_text())
    found = {(score["method"], score["ratio"], score["positions"]) for score in stored["scores"]}
    assert found == {("none", 1.0, None)} | {
        (method, ratio, "original") for method in ("top_k", "stride") for ratio in (0.5, 0.25)
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tasks: asr\nrounds: 3", "there is no argument rounds"),
        ("itmes: 3", "there is no argument itmes: did you mean 'items'?"),
        ("- asr", "must hold names and values"),
        ("a: [", "is not valid YAML"),
    ],
)
def test_a_file_that_is_refused(call: Callable[..., Any], folder: Path, text: str, said: str) -> None:
    (folder / "wrong.yaml").write_text(text)
    code, out, err = call("eval", "--config", "wrong.yaml", "asr", "--output", "out")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "wrong.yaml" in err
    assert said in err


def test_a_file_that_is_not_there_and_a_value_that_cannot_be(call: Callable[..., Any], folder: Path) -> None:
    assert "There is no file gone.yaml with arguments." in call("bench", "--config", "gone.yaml")[2]
    (folder / "wrong.yaml").write_text("rounds: many\n")
    code, _, err = call("bench", "--config=wrong.yaml")
    assert (code, err.count("\n")) == (1, 1)
    assert "wrong.yaml: Invalid value for '--rounds'" in err
    (folder / "wrong.yaml").write_text("ragged: 7\n")
    assert "wrong.yaml: ragged is true or false, not 7." in call("bench", "--config", "wrong.yaml")[2]
    (folder / "wrong.yaml").write_text("rounds: 3\n")
    code, _, err = call("bench", "--config", "wrong.yaml", "--full-size", "out")
    assert code == 1
    assert "leave out --rounds" in err


def test_the_file_of_the_docs(tmp_path: Path) -> None:
    text = re.search(r"```yaml\n(.*?)```", (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8"), re.DOTALL)
    assert text
    file = tmp_path / "eval.yaml"
    file.write_text(text[1], encoding="utf-8")
    group: Any = get_command(app)
    found = defaults_from(file, group.commands["eval"].params)
    assert (found["retention_ratio"], found["tasks"], found["dataset"]) == ("1/2,1/4", ["asr"], ["my_recordings"])
