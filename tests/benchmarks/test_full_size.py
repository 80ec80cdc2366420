"""`python -m hf_tokcomp.benchmarks.full_size`, with toys in the place of the models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from toy_sizes import TOY_SIZES

from hf_tokcomp.benchmarks import full_size
from hf_tokcomp.benchmarks.full_size import BEGIN, PARTS, main
from hf_tokcomp.benchmarks.speed.architectures import architectures
from hf_tokcomp.reporting import pages

OPTIONS = ["--small", "--device", "cpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All parts, measured."""
    folder = tmp_path_factory.mktemp("full") / "results"
    assert main([str(folder), *OPTIONS], TOY_SIZES) == 0
    return folder


def test_every_part_is_measured(folder: Path) -> None:
    pictures = {f"{name}.png" for name, part in PARTS.items() if not part.ragged}
    assert {path.name for path in folder.iterdir()} == {*(f"{name}.json" for name in PARTS), *pictures, "speed.md"}
    page = (folder / "speed.md").read_text(encoding="utf-8")
    for name, part in PARTS.items():
        report = json.loads((folder / f"{name}.json").read_text())
        assert report["done"]
        assert report["model"]["name"] == part.model
        assert report["left_out"] == []
        assert report["rows"]
        assert f"### {part.title}\n" in page
        ways = {row["way"] for row in report["rows"]}
        assert ways == ({"batch", "one by one", "eager, one by one"} if part.ragged else {"batch"})
    assert {row["seconds"] for row in json.loads((folder / "flamingo-long.json").read_text())["rows"]} == {1.0, 2.0}


def test_the_real_thing_has_all_that_is_asked_for() -> None:
    assert {part.model for part in PARTS.values()} == set(architectures(reads_prompts=True))
    plain = [part for part in PARTS.values() if not part.ragged and len(part.windows) == 2]
    for part in plain:
        planned = full_size._plan(part, 30.0, small=False)
        assert planned.audio_seconds == [15, 30]
        assert planned.batch_sizes == (1, 8)
        assert {run.ratio for run in planned.runs} == {1, 1 / 2, 1 / 4, 1 / 10}
    long = full_size._plan(PARTS["flamingo-long"], 30.0, small=False)
    assert max(long.audio_seconds) == 600
    assert {run.ratio for run in long.runs} == {1, 1 / 4, 1 / 10}
    ragged = full_size._plan(PARTS["qwen-ragged"], 30.0, small=False)
    assert (ragged.batch_sizes, ragged.ragged, ragged.one_by_one, ragged.rivals) == ((8,), True, True, True)


def test_what_is_there_is_not_measured_again(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(folder, mine)
    report = json.loads((mine / "qwen.json").read_text())
    (mine / "qwen.json").write_text(json.dumps(report | {"done": False}))
    made: list[str] = []
    own = full_size.random_subject
    monkeypatch.setattr(full_size, "random_subject", lambda name, *rest: made.append(name) or own(name, *rest))
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n{BEGIN}\n{pages.END}\n")
    assert main([str(mine), *OPTIONS, "--no-plots", "--markdown", str(page)], TOY_SIZES) == 0
    assert made == ["qwen2-audio-7b"]
    assert json.loads((mine / "qwen.json").read_text())["done"]
    for part in PARTS.values():
        assert f"### {part.title}\n" in page.read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--parts", "everything"], "--parts: 'everything' is not one of qwen, "),
        (["--layers", "1"], "name another folder"),
        (["--markdown", "gone.md"], "There is no page gone.md"),
    ],
)
def test_errors_are_one_line(
    folder: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder), *OPTIONS, *options], TOY_SIZES) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
