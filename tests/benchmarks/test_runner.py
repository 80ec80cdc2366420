"""Whole runs of the speed benchmark on toys: rows, what is left out, and that the plain model is plain."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
import toy_sizes as toy

from hf_tokcomp import methods
from hf_tokcomp.benchmarks import measure
from hf_tokcomp.benchmarks.speed import tables
from hf_tokcomp.benchmarks.speed.candidates import Candidate, candidates
from hf_tokcomp.benchmarks.speed.clips import Clips
from hf_tokcomp.benchmarks.speed.growth import growth
from hf_tokcomp.benchmarks.speed.phases import PHASES
from hf_tokcomp.benchmarks.speed.plan import SpeedPlan
from hf_tokcomp.benchmarks.speed.runner import SpeedBenchmark
from hf_tokcomp.benchmarks.speed.subject import Subject
from hf_tokcomp.evaluation.plan import plan
from hf_tokcomp.models.instance import active_config
from hf_tokcomp.plotting.speed import GROWING, plot_speed

QUICK: dict[str, Any] = {"rounds": 1, "seconds": 0.0, "new_tokens": 3}


def runs(*names: str, ratios: tuple[float, ...] = (0.5,)) -> Any:
    return plan(names, ratios, [], 1)[0]


def run(subject: Subject, **changes: Any) -> dict[str, Any]:
    return SpeedBenchmark(SpeedPlan(**{"runs": runs("top_k"), **QUICK, **changes}), subject).run()


@pytest.mark.usefixtures("real_peaks")
def test_rows(flamingo: Subject) -> None:
    report = run(flamingo, audio_seconds=[0.5, 2.0], batch_sizes=[1, 2])
    report = json.loads(json.dumps(report))
    assert report["workloads"] == [[0.5, 1], [0.5, 2], [2.0, 1], [2.0, 2]]
    assert report["left_out"] == []
    assert [row["candidate"] for row in report["rows"]] == ["uncompressed", "top_k"] * 4
    text = None
    for row in report["rows"]:
        parts = sum(row[name]["median"] for name in ("features", *PHASES))
        assert row["phase_sum"] == pytest.approx(parts), "one round, so sum of medians and median of sums agree"
        assert 0 < row["total"]["low"] <= row["total"]["median"] <= row["total"]["high"] < row["whole"]["median"]
        written = row["whole"]["median"] - row["total"]["median"]
        assert row["decode"]["median"] == pytest.approx(written / 2), "the first of three tokens is the prefill's"
        tokens = {0.5: 12, 2.0: 50}[row["seconds"]]
        assert row["tokens_before"] == [tokens] * row["batch_size"]
        kept = tokens // 2 if row["candidate"] == "top_k" else tokens
        assert row["tokens_after"] == [kept] * row["batch_size"]
        text = text or row["prompt"] - kept
        assert row["prompt"] == kept + text
        assert row["cache_bytes"] == toy.LAYERS * 2 * toy.KEYS * 4 * row["prompt"] * row["batch_size"]
        assert row["peak_bytes"] > row["cache_bytes"]
        assert (row["bound"] is None) == (row["candidate"] == "uncompressed")
    for plain, short in zip(report["rows"][::2], report["rows"][1::2], strict=True):
        assert plain["speedup"] == 1
        assert short["speedup"] == pytest.approx(plain["total"]["median"] / short["total"]["median"])
        assert short["reached"] == pytest.approx(short["speedup"] / short["bound"]["speedup"])
        assert short["operations"]["prefill"] < plain["operations"]["prefill"]
    assert {entry["candidate"]: entry["seconds"] for entry in report["growth"]} == {
        "uncompressed": [0.5, 2.0],
        "top_k": [0.5, 2.0],
    }
    facts = report["model"]
    assert (facts["name"], facts["dtype"], facts["weights"]) == ("audio-flamingo-3", "float32", "random")
    assert facts["weight_bytes"] == 4 * facts["parameters"] > 0


def test_the_uncompressed_model_is_not_patched(flamingo: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[tuple[str, str | None, bool]] = set()
    own = Candidate.generate

    def watched(self: Candidate, subject: Subject, *args: Any, **options: Any) -> Any:
        config = active_config(subject.model)
        seen.add((self.key, None if config is None else config.method, "forward" in subject.model.__dict__))
        return own(self, subject, *args, **options)

    monkeypatch.setattr(Candidate, "generate", watched)
    run(flamingo, runs=runs("none", "top_k"), none=True, rivals=True)
    assert seen == {
        ("uncompressed", None, False),
        ("none", "none", True),
        ("top_k@0.5", "top_k", True),
        ("top_k@0.5, eager, one by one", None, False),
    }


def test_candidates_take_turns_and_the_first_round_is_thrown_away(
    flamingo: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def fake(self: Clips, candidate: Candidate, new_tokens: int) -> dict[str, float]:
        order.append(candidate.key)
        seconds = 1000.0 if order.count(candidate.key) == 1 else 1.0
        return dict.fromkeys((*PHASES, "first", "rest"), seconds)

    monkeypatch.setattr(Clips, "measure", fake)
    monkeypatch.setattr(Clips, "features", lambda self, together: 1.0)
    report = run(flamingo, rounds=2)
    assert sorted(order[:2]) == sorted(order[2:4]) == sorted(order[4:]) == ["top_k@0.5", "uncompressed"]
    assert order[0] != order[2] or order[2] != order[4], "every round begins with another one"
    for row in report["rows"]:
        assert row["rounds"] == 2
        assert (row["total"]["high"], row["phase_sum"], row["whole"]["median"]) == (2.0, 5.0, 3.0)
        assert row["decode"]["median"] == 0.5


@pytest.mark.usefixtures("real_peaks")
def test_ragged_clips_together_and_one_by_one(flamingo: Subject) -> None:
    report = run(flamingo, audio_seconds=[1.0], batch_sizes=[2], ragged=True, one_by_one=True, rivals=True)
    ways = {(row["candidate"], row["way"]): row for row in report["rows"]}
    assert set(ways) == {
        ("uncompressed", "batch"),
        ("uncompressed", "one by one"),
        ("top_k", "batch"),
        ("top_k", "one by one"),
        ("top_k", "eager, one by one"),
    }
    for (name, _), row in ways.items():
        assert sorted(row["tokens_before"]) == [12, 25]
        assert sorted(row["tokens_after"]) == ([6, 13] if name == "top_k" else [12, 25])
        assert max(row["lengths"]) == 1.0
        assert row["speedup"] > 0
    together, alone = ways["top_k", "batch"], ways["top_k", "one by one"]
    assert together["cache_bytes"] == 2 * alone["cache_bytes"], "the largest of the calls, not all of them"
    assert alone["operations"]["encoder"] < together["operations"]["encoder"], "no clip is padded to the longest"
    eager = ways["top_k", "eager, one by one"]
    assert eager["peak_bytes"] > alone["peak_bytes"]
    assert eager["bound"] is alone["bound"] is None
    (table,) = (each for each in tables.tables(report) if "one by one" in each.title)
    assert table.title.endswith("2 x up to 1 s")
    assert [line[2] for line in table.rows] == ["together", "one by one", "eager, one by one", "together", "one by one"]


def test_one_clip_is_not_read_one_by_one_twice(flamingo: Subject) -> None:
    report = run(flamingo, audio_seconds=[0.5], one_by_one=True)
    assert [row["way"] for row in report["rows"]] == ["batch", "batch"]


def test_what_takes_too_long_is_left_out_and_what_would(flamingo: Subject) -> None:
    report = run(flamingo, audio_seconds=[0.5, 2.0], limit=0.0)
    assert report["rows"] == []
    first, longer = report["left_out"][0], report["left_out"][2]
    assert first["reason"].startswith("a call takes ")
    assert longer["reason"] == "over 0 s a call, judged by a shorter one"
    assert "Left out: uncompressed, 0.5 s: a call takes " in "\n".join(tables.notes(report))
    assert tables.tables(report) == []


def test_what_fails_does_not_end_the_run(flamingo: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("CUDA out of memory.\nTried to allocate everything.")

    monkeypatch.setattr(methods()["stride"].compressor_class, "assign_slots", fail)
    saved: list[int] = []
    planned = SpeedPlan(runs=runs("stride", "top_k"), **QUICK)
    report = SpeedBenchmark(planned, flamingo, save=lambda report: saved.append(len(report["rows"]))).run()
    assert [row["candidate"] for row in report["rows"]] == ["uncompressed", "top_k"]
    assert [(entry["candidate"], entry["reason"]) for entry in report["left_out"]] == [
        ("stride@0.5", "CUDA out of memory")
    ]
    assert saved == [2]
    assert active_config(flamingo.model) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"audio_seconds": [0.0]}, "above 0 seconds"),
        ({"batch_sizes": [0]}, "at least one clip"),
        ({"rounds": 0}, "one round measured"),
        ({"ragged": True}, "a batch of at least two"),
        ({"audio_seconds": [700.0]}, "audio-flamingo-3 reads 600 s of an audio at most, not 700 s"),
        ({"audio_seconds": [0.05]}, "0.05 s of audio make fewer than two"),
        ({"audio_seconds": [0.4], "batch_sizes": [8], "ragged": True}, "0.05 s of audio make fewer than two"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_before_a_model_is_made(
    flamingo: Subject, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(flamingo, **changes)
    assert "model" not in vars(flamingo)


def test_an_option_of_the_encoder_alone_goes_our_way(flamingo: Subject) -> None:
    """Not upstream's own code: what happens around the encoder is no prefill; and rivals have nothing to keep."""
    planned = {"runs": runs("none:encoder_stride=2", ratios=()), "audio_seconds": [1.0], "rivals": True}
    plain, halved = run(flamingo, **planned)["rows"]
    assert (halved["candidate"], halved["tokens_after"]) == ("none:encoder_stride=2", plain["tokens_after"])
    assert (plain["compressor"]["median"], plain["bound"]) == (0, None)
    assert halved["compressor"]["median"] > 0
    assert halved["bound"]["speedup"] > 1
    assert halved["operations"]["encoder"] < plain["operations"]["encoder"]


def test_candidates() -> None:
    found = candidates(runs("none", "ltbm", "top_k", ratios=(0.5, 0.25)), one_by_one=True, rivals=True)
    assert [each.key for each in found] == [
        *("uncompressed", "ltbm@0.5", "ltbm@0.25", "top_k@0.5", "top_k@0.25"),
        *("uncompressed, one by one", "ltbm@0.5, one by one", "ltbm@0.25, one by one"),
        *("top_k@0.5, one by one", "top_k@0.25, one by one"),
        *("top_k@0.5, eager, one by one", "top_k@0.25, eager, one by one"),
    ]


def test_growth_is_over_lengths_at_the_smallest_batch() -> None:
    def row(seconds: float, audios: int, way: str = "batch") -> dict[str, Any]:
        names: dict[str, Callable[[float], float]] = {
            "total": lambda n: n,
            "encoder": lambda n: 3 * n,
            "prefill": lambda n: n**2,
        }
        times = {name: {"median": get(seconds) * audios} for name, get in names.items()}
        head = {"candidate": "x", "retention_ratio": 0.5, "way": way, "seconds": seconds, "batch_size": audios}
        return {**head, **times, "peak_bytes": seconds**1.5, "cache_bytes": 7}

    rows = [row(30, 1), row(60, 1), row(600, 1), row(30, 8), row(60, 1, "one by one")]
    (found,) = growth(rows)
    assert found["seconds"] == [30, 60, 600]
    assert [round(found[name], 6) for name in ("total", "encoder", "prefill", "peak_bytes", "cache_bytes")] == [
        *(1, 1, 2, 1.5, 0)
    ]
    assert growth(rows[:1]) == growth([]) == []


def by_length(subject: Subject) -> dict[str, Any]:
    """A report of three lengths, from the measurements of one."""
    report = run(subject, audio_seconds=[0.5])
    lengths = [0.25, 0.5, 1.0]
    report["workloads"] = [[seconds, 1] for seconds in lengths]
    report["rows"] = [{**row, "seconds": seconds} for seconds in lengths for row in report["rows"]]
    return {**report, "growth": growth(report["rows"])}


def test_a_picture_has_a_bar_for_every_row_and_a_line_for_every_candidate(flamingo: Subject) -> None:
    report = by_length(flamingo)
    lines = plot_speed(report)
    assert [axes.get_title() for axes in lines.axes] == list(GROWING)
    assert [len(axes.lines) for axes in lines.axes] == [2, 2, 2]
    assert lines.axes[0].get_xticks().tolist() == [0.25, 0.5, 1.0]
    one = {**report, "rows": report["rows"][:2]}
    bars = plot_speed(one)
    (axes,) = bars.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["uncompressed", "top_k, 1/2"]
    ends = [container.patches[1].get_x() + container.patches[1].get_width() for container in axes.containers]
    assert max(ends) == pytest.approx(1e3 * one["rows"][1]["phase_sum"])
    (marks,) = axes.collections
    assert marks.get_offsets().tolist() == [[pytest.approx(1e3 * one["rows"][1]["bound"]["seconds"]), 1]]
    with pytest.raises(ValueError, match="nothing to draw"):
        plot_speed({**report, "rows": []})


def test_many_lengths_make_tables_by_length(flamingo: Subject) -> None:
    report = by_length(flamingo)
    found = {table.title: table for table in tables.tables(report)}
    assert found["Key-value cache, MiB"].columns == ("compression", "ratio", "0.25 s", "0.5 s", "1 s")
    assert [line[:2] for line in found["Key-value cache, MiB"].rows] == [["uncompressed", "-"], ["top_k", "1/2"]]
    assert not any("0.5 s" in title.split(",")[-1] and "Milliseconds to the first token," in title for title in found)
    assert any(title.startswith("Growth ") for title in found)


def test_a_plan_is_json(flamingo: Subject) -> None:
    planned = SpeedPlan(runs=runs("top_k"), **QUICK)
    assert json.loads(json.dumps(planned.to_dict()))["runs"] == ["none@1", "top_k@0.5/contiguous"]
    assert set(planned.to_dict()) == {field.name for field in dataclasses.fields(planned)}
    assert measure.FEWEST == 3
