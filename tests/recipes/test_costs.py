"""`python -m recipes.costs`: its clocks, its encoder's arithmetic, and a whole run at toy size."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from threads import one_thread

import hf_tokcomp
from hf_tokcomp import AudioTokenCompressor, CompressionConfig, methods
from hf_tokcomp.benchmarks import measure
from hf_tokcomp.ops.audio_tokens import NEEDS
from hf_tokcomp.reporting import pages
from recipes.costs import tables
from recipes.costs.__main__ import main
from recipes.costs.clock import MethodClock
from recipes.costs.encoder import EncoderClock, scale_up
from recipes.costs.plan import Plan
from recipes.costs.runner import Benchmark
from recipes.costs.workload import Size, Workload, draw_states

TOY = Size(layers=3, width=32, heads=2, ffn=64, mel_bins=8, positions=50, hidden=48, text_heads=4, words=3)
CPU = torch.device("cpu")


def workload(windows: int = 2, audios: int = 3) -> Workload:
    return Workload(TOY, windows, audios, CPU, torch.float32)


def test_the_encoder_is_one_layer_times_layers_times_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert scale_up(one=0.6, layer=0.5, layers=32, windows=20) == pytest.approx(20 * (0.1 + 32 * 0.5))
    clock = EncoderClock(TOY, CPU, torch.float32)
    times = iter([0.6, 0.5])
    monkeypatch.setattr(clock, "_time", lambda call: next(times))
    assert clock.seconds(7) == pytest.approx(7 * (0.1 + 3 * 0.5))
    assert "plus 2 times that of the layer, times the number of windows" in clock.how


def test_the_encoder_is_upstreams_at_the_size_asked_for() -> None:
    clock = EncoderClock(TOY, CPU, torch.float32)
    assert clock.encoder(clock.mel).last_hidden_state.shape == (1, TOY.window_tokens, TOY.width)
    assert len(clock.encoder.layers) == 1
    assert clock.encoder.layers[0].fc1.out_features == TOY.ffn
    assert clock.encoder.layers[0].self_attn.num_heads == TOY.heads
    assert 0 < clock.seconds(1) < 5
    large = Size()
    assert (large.layers, large.width, large.heads, large.ffn, large.positions) == (32, 1280, 20, 5120, 1500)
    assert (large.windows(30), large.windows(30.1), large.windows(600)) == (1, 2, 20)


def test_a_methods_time_is_the_sum_of_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    compressor = AudioTokenCompressor.from_config(CompressionConfig(method="top_k", retention_ratio=0.5))
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def slow(part: Callable[..., Any], seconds: float) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            now[0] += seconds
            return part(*args)

        return call

    compressor.assign = slow(compressor.assign, 4.0)  # type: ignore[method-assign]
    audios = workload()
    clock = MethodClock(compressor, audios)
    audios.supply = slow(audios.supply, 8.0)  # type: ignore[method-assign]
    times = clock.seconds()
    assert times == {"supply": 8.0, "assign": 4.0, "apply": 0.0, "total": 12.0}
    assert clock.counts == [25, 25, 25]


def test_a_method_that_assigns_nothing_is_all_apply() -> None:
    class Resampler(methods()["stride"].compressor_class):  # type: ignore[misc]
        def forward(self, tokens: Any) -> Any:
            time.sleep(0.02)
            return hf_tokcomp.CompressedAudio(tokens.features, tokens.counts, tokens.lengths)

    times = MethodClock(Resampler(CompressionConfig(method="stride")), workload()).seconds()
    assert times["assign"] is None
    assert times["apply"] >= 0.02  # type: ignore[operator]


# What is measured on


def test_all_that_a_method_may_need_is_supplied() -> None:
    audios = workload(windows=2, audios=3)
    audios.prepare(NEEDS)
    tokens = audios.supply(NEEDS - {"query_lengths"})
    n = 2 * TOY.window_tokens
    assert tokens.counts == [n, n, n]
    assert tokens.features.shape == (3, n, TOY.width)
    assert tokens.need("keys").shape == (3, n, TOY.width // TOY.heads)
    assert tokens.need("projected").shape == (3, n, TOY.hidden)
    assert tokens.need("query").shape == (3, TOY.words, TOY.hidden)
    received = tokens.need("attention").view(3, 2, -1)
    torch.testing.assert_close(received.mean(2), torch.ones(3, 2), rtol=1e-4, atol=0)  # of every window
    assert received.std() > 0.05
    assert audios.supply(frozenset()).attention is None


def test_a_need_that_no_patch_supplies_is_named() -> None:
    with pytest.raises(ValueError, match="no patch supplies telepathy"):
        workload().supply(frozenset({"telepathy"}))


def test_states_look_like_an_encoders() -> None:
    states = draw_states(4, 300, 64, seed=0)
    assert torch.equal(states, draw_states(4, 300, 64, seed=0))
    assert not torch.equal(states, draw_states(4, 300, 64, seed=1))
    next_alike = torch.nn.functional.cosine_similarity(states[:, 1:], states[:, :-1], dim=-1)
    assert 0.85 < next_alike.mean() < 0.98
    assert torch.nn.functional.cosine_similarity(states[:, 100:], states[:, :-100], dim=-1).mean() < 0.3
    repeated = (states[:, 1:] == states[:, :-1]).all(-1).float().mean()
    assert 0.1 < repeated < 0.3
    assert draw_states(2, 300, 64, seed=0, offset=1.0).mean(1).norm() > draw_states(2, 300, 64, seed=0).mean(1).norm()


# The command


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    plan = Plan(durations=[1, 4], batch_sizes=[1], ratios=[0.5, 0.25, 0.1], seconds=0.0)
    with one_thread():
        return Benchmark(plan, TOY).run()


def test_every_method_has_a_row_or_a_reason(report: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    measured = {row["method"] for row in report["rows"]}
    reasons = {entry["method"]: entry["reason"] for entry in report["left_out"]}
    assert measured | set(reasons) == set(methods())
    assert measured.isdisjoint(reasons)
    needs_options = {name for name, method in methods().items() if method.default_config is None}
    assert set(reasons) == needs_options
    assert all(reasons.values())
    pages.show(tables.tables(report), tables.notes(report))
    printed = capsys.readouterr().out
    for name in measured:
        assert sum(line.split()[:1] == [name] for line in printed.splitlines()) >= 2
    for name in reasons:
        assert f"Left out: {name}: " in printed


def test_the_report_is_json_with_all_that_a_number_depends_on(report: dict[str, Any]) -> None:
    report = json.loads(json.dumps(report))
    assert report["workloads"] == [[1.0, 1], [4.0, 1]]
    facts = report["machine"]
    assert facts["processor"]
    assert facts["cores"] >= facts["threads"] >= 1
    assert facts["memory_gib"] >= 1
    assert set(facts["versions"]) == {"hf_tokcomp", "torch", "transformers", "python"}
    assert report["size"]["layers"] == TOY.layers
    for row in report["rows"]:
        assert row["repeats"] >= measure.FEWEST
        assert 0 < row["total"]["low"] <= row["total"]["median"] <= row["total"]["high"]
        assert row["share"] == pytest.approx(row["total"]["median"] / row["encoder"]["median"])
        assert row["peak_bytes"] > 0
        assert row["tokens"] == row["seconds"] * TOY.window_tokens
        if row["retention_ratio"] is not None and row["method"] != "segmentwise_top_k":
            wanted = CompressionConfig(method=row["method"], retention_ratio=row["retention_ratio"])
            assert row["kept"] == [wanted.output_length(row["tokens"])]
    lengths = {row["seconds"] for row in report["rows"] if row["method"] == "stride"}
    assert lengths == {1, 2, 4}, "one between the shortest and the longest"


def test_methods_that_outgrow_the_encoder_are_measured_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    slopes = iter([2.0, 2.1, 1.0])  # all of it, without supply, encoder
    monkeypatch.setattr("recipes.costs.runner.power", lambda x, y: next(slopes))
    found = Benchmark(Plan(methods=["ltbm"], durations=[1, 4], ratios=[0.5], seconds=0.0), TOY).run()
    (growth,) = found["growth"]
    assert growth["faster"]
    assert [cell["seconds"] for cell in growth["chunked"]] == [1, 2, 4]
    assert any(row["chunk_seconds"] == 30 for row in found["rows"])
    table = tables.tables(found)[-1]
    assert "yes" in table.rows[0]


def test_a_method_that_takes_too_long_is_left_out() -> None:
    plan = Plan(methods=["stride"], durations=[1, 4], batch_sizes=[1], ratios=[0.5], seconds=0.0, limit=1e-9)
    found = Benchmark(plan, TOY).run()
    assert found["rows"] == []
    first, *longer = (entry["reason"] for entry in found["left_out"])
    assert first.startswith("1 s of audio, 1 at once: a call takes ")
    assert len(longer) == 2
    assert all("judged by a shorter one" in reason for reason in longer)


def test_what_was_measured_is_saved_on_the_way() -> None:
    rows: list[int] = []
    plan = Plan(methods=["stride", "random"], durations=[1], batch_sizes=[1], ratios=[0.5, 0.25], seconds=0.0)
    Benchmark(plan, TOY, save=lambda report: rows.append(len(json.loads(json.dumps(report))["rows"]))).run()
    assert rows == [2, 4]


def test_a_method_that_fails_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("out of memory.")

    monkeypatch.setattr(methods()["stride"].compressor_class, "assign_slots", fail)
    found = Benchmark(Plan(methods=["stride", "random"], durations=[1, 4], ratios=[0.5], seconds=0.0), TOY).run()
    assert {row["method"] for row in found["rows"]} == {"random"}
    assert [entry["method"] for entry in found["left_out"]] == ["stride"]
    assert found["left_out"][0]["reason"].endswith("out of memory")


OPTIONS = ["--durations", "1", "--batch-sizes", "1,2", "--ratios", "1/2", "--seconds", "0", "--device", "cpu"]


def test_the_command_writes_json_and_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Before\n\n{tables.BEGIN}\nold\n{pages.END}\n\nAfter.\n", encoding="utf-8")
    for _ in range(2):  # twice, since it must find its place again
        code = main(
            [*OPTIONS, "--methods", "stride,top_k", "--json", str(tmp_path / "a.json"), "--markdown", str(page)], TOY
        )
        assert code == 0
    assert {row["method"] for row in json.loads((tmp_path / "a.json").read_text())["rows"]} == {"stride", "top_k"}
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Before\n")
    assert text.endswith("\nAfter.\n")
    assert "old" not in text
    assert text.count("| `stride` |") == text.count("| `top_k` |") == 4  # shares, memory, parts of two workloads
    assert "2 x 1 s" in text
    assert "stride" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--methods", "strude"], "did you mean 'stride'"),
        (["--durations", "soon"], "--durations: 'soon' is not a number"),
        (["--batch-sizes", "0"], "must be positive"),
        (["--ratios", "1/2,2"], "--ratios must be above 0 and at most 1"),
        (["--device", "cuda:99"], "no device 'cuda:99'"),
    ],
)
def test_errors_are_one_line(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*OPTIONS, *options], TOY) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_page_without_a_place_is_refused_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page.md").write_text("# Nothing here\n", encoding="utf-8")
    assert main([*OPTIONS, "--markdown", str(tmp_path / "page.md")], TOY) == 1
    assert "has no place for the tables" in capsys.readouterr().err
