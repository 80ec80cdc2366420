"""The benchmark on real weights: Whisper pooled to 25 tokens a second, equal counts, its tables and the page."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_whisper
import torch
from places import ROOT
from subjects.whisper import SUBJECT
from threads import one_thread

import hf_tokcomp
from hf_tokcomp.checkpoints import speech
from hf_tokcomp.config.measured import FILE, words_right
from hf_tokcomp.config.registry import get_method
from hf_tokcomp.evaluation.score import as_scores
from hf_tokcomp.reporting.pages import END
from hf_tokcomp.testing import NotApplicable, Subject, conformance_checks
from recipes.real_weights.__main__ import REPORT, main
from recipes.real_weights.equal_counts import as_many_as
from recipes.real_weights.measuring import COUNTED, EQUAL, EXTENTS, PAIRS, RATES, Extent, runs_of
from recipes.real_weights.pooled import PATCH, PooledWhisper, PooledWhisperConfig, register
from recipes.real_weights.tables import BEGIN, page, summary

pytestmark = pytest.mark.usefixtures("_own_registries")
EVIDENCE = ROOT / "docs" / "evidence" / "real-weights.json"
PAGE = ROOT / "docs" / "real-weights.md"


def pooled() -> Any:
    """The tiny Whisper with its weights in the pooled architecture."""
    register()
    model = tiny_whisper.made(multilingual=False)[0]
    values = {name: value for name, value in model.config.to_dict().items() if name != "model_type"}
    found = PooledWhisper(PooledWhisperConfig(**values)).eval()
    found.load_state_dict(model.state_dict(), strict=True)
    found.generation_config = model.generation_config
    return found


@pytest.mark.parametrize("check", conformance_checks(), ids=lambda check: str(check.__name__))
def test_the_pooled_model_goes_through_the_checks_of_every_model(check: Callable[[Subject], None]) -> None:
    try:
        with one_thread():
            check(dataclasses.replace(SUBJECT, make_model=pooled))
    except NotApplicable as reason:
        pytest.skip(str(reason))


def test_pairs_of_positions_are_averaged_before_the_last_norm() -> None:
    model, halved = tiny_whisper.made(multilingual=False)[0], pooled()
    features = torch.randn(2, 16, tiny_whisper.SECONDS * 100)
    seen: list[torch.Tensor] = []
    with (
        torch.inference_mode(),
        model.model.encoder.layer_norm.register_forward_pre_hook(lambda _, given: seen.append(given[0])),
    ):
        model.model.encoder(features)
        found = halved.model.encoder(features).last_hidden_state
        wanted = model.model.encoder.layer_norm((seen[0][:, ::2] + seen[0][:, 1::2]) / 2)
    assert found.shape[1] == tiny_whisper.SECONDS * 25
    torch.testing.assert_close(found, wanted)
    assert PATCH.window_tokens(tiny_whisper.SECONDS * 100) == found.shape[1]


def test_weights_are_loaded_from_a_checkpoint_of_whisper(tmp_path: Path) -> None:
    folder = tiny_whisper.save(tmp_path / "whisper", multilingual=False)
    found = PooledWhisper.from_whisper(str(folder))
    own = tiny_whisper.made(multilingual=False)[0].state_dict()
    assert all(torch.equal(value, own[name]) for name, value in found.state_dict().items())


@pytest.mark.parametrize("name", EQUAL)
def test_a_method_at_the_count_of_another_is_that_method_with_its_budget(name: str) -> None:
    key = as_many_as(name, COUNTED)
    assert as_many_as(name, COUNTED) == key
    tokens = hf_tokcomp.AudioTokens(
        torch.randn(2, 153, 8), lengths=[153, 47], attention=torch.rand(2, 153), frame_rate=50.0
    )
    asked = get_method(COUNTED).config_class(retention_ratio=0.25)
    compressor = hf_tokcomp.AudioTokenCompressor.from_config(get_method(key).config_class(retention_ratio=0.25))
    found = compressor(tokens)
    assert found.counts == [asked.output_length(n, 50.0) for n in (153, 47)]
    assert found.counts[0] < get_method(name).config_class(retention_ratio=0.25).output_length(153, 50.0)
    for row, (count, length) in enumerate(zip(found.counts, (153, 47), strict=True)):
        config = get_method(name).config_class(max_tokens=count)
        alone = hf_tokcomp.AudioTokenCompressor.from_config(config)(
            hf_tokcomp.AudioTokens(
                tokens.features[row : row + 1, :length],
                lengths=[length],
                attention=tokens.attention[row : row + 1, :length],
                frame_rate=50.0,
            )
        )
        torch.testing.assert_close(found.features[row, :count], alone.features[0])


def test_all_methods_are_run_that_these_models_can_do() -> None:
    for rate in RATES:
        runs = runs_of(rate, Extent())
        halves = {run.method for run in runs if run.ratio == 0.5}
        able = {name for name, method in hf_tokcomp.methods().items() if method.needs <= PATCH.supplies}
        learned = {name for name in able if hf_tokcomp.methods()[name].learns}
        assert able - learned - {"none", "compose"} <= halves | {as_many_as(name, COUNTED) for name in EQUAL}
        assert {one for pair in PAIRS for one in pair} <= halves
        assert {run.ratio for run in runs} == {1, 0.5, 0.25, 0.1}
        assert len({run.seed for run in runs if run.method == "random"}) == 3
    assert {run.seed for run in runs_of(50, EXTENTS["base"]) if run.method == "random"} == {0}


def test_the_command_resumes_and_writes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a tiny model where the weights should be, with two utterances."""
    data, text = tmp_path / "data", tmp_path / "page.md"
    data.mkdir()
    lines = []
    for path, truth in speech()[:2]:
        shutil.copy(path, data / path.name)
        lines.append(f"{path.stem}\t{truth}\n")
    (data / "transcripts.tsv").write_text("".join(lines), encoding="utf-8")
    text.write_text(f"# Page\n\n{BEGIN}\n{END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr("recipes.real_weights.__main__.make", lambda folder, _: folder.exists() or tiny_one(folder))
    few = Extent(seeds=1, equal=("top_k",), compressions=("segmentwise_top_k", "top_k"))
    monkeypatch.setitem(EXTENTS, "tiny.en", few)
    given = [str(tmp_path / "out"), "--data", str(data), "--models", "tiny.en", "--markdown", str(text)]
    assert main(given) == 0
    reports = json.loads((tmp_path / "out" / REPORT).read_text(encoding="utf-8"))
    assert [(report["model"], report["rate"], report["items"]) for report in reports] == [
        ("tiny.en", 50, 2),
        ("tiny.en", 25, 2),
    ]
    assert reports[0]["tokens"] // 2 == pytest.approx(reports[1]["tokens"], abs=2)
    written = text.read_text(encoding="utf-8")
    assert page(reports) in written
    assert written.endswith("after\n")
    answers = {file: file.read_bytes() for file in (tmp_path / "out").rglob("answers-*.jsonl")}
    assert main(given) == 0
    assert {file: file.read_bytes() for file in answers} == answers
    assert text.read_text(encoding="utf-8") == written


def tiny_one(folder: Path) -> None:
    tiny_whisper.save(folder, multilingual=False, seconds=30, longest=256)


@pytest.mark.parametrize(("options", "message"), [(["--models", "large"], "large"), (["--rates", "10"], "'10'|10")])
def test_what_it_cannot_measure_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main([str(tmp_path / "out"), "--data", str(tmp_path), *options]) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_the_page_is_made_of_the_evidence() -> None:
    reports = json.loads(EVIDENCE.read_text(encoding="utf-8"))
    inside = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    assert inside.strip() == page(reports)
    assert {(report["model"], report["rate"]) for report in reports} == {
        (model, rate) for model in EXTENTS for rate in RATES
    }


def test_the_table_of_findings_says_what_the_evidence_says() -> None:
    reports = {
        (report["model"], report["rate"]): as_scores(report["scores"])
        for report in json.loads(EVIDENCE.read_text(encoding="utf-8"))
    }
    row = re.compile(r"^\| `(\S+)` \| ([\d./ ]+) \| ([\d./ ]+) \| ([\d./ ]+) \| ([\d./ ]+) \|$", re.MULTILINE)
    rows = row.findall(PAGE.read_text(encoding="utf-8").partition(BEGIN)[0])
    assert len(rows) == 16
    for method, *written in rows:
        for text, part in zip(written, [("tiny.en", 50), ("tiny.en", 25), ("base", 50), ("base", 25)], strict=True):
            values = {
                each.ratio: each.value
                for each in reports[part]
                if (each.method, each.metric) == (method, "words_right")
            }
            assert text == " / ".join(f"{values[ratio]:.1f}" for ratio in (1 / 2, 1 / 4, 1 / 10)), (method, part)


def test_what_methods_say_of_themselves_is_the_evidence() -> None:
    reports = json.loads(EVIDENCE.read_text(encoding="utf-8"))
    assert json.loads(FILE.read_text(encoding="utf-8")) == summary(reports)
    said = words_right("segmentwise_top_k")
    assert said is not None
    assert "83.5, 63.0, 18.6 at 50 tokens a second (with all 86.8)" in said
    assert "with `remainder=spread`" in said
    assert words_right("none") is None


def test_help_comes_without_the_models() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "recipes.real_weights", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--data" in done.stdout
