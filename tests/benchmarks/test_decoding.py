"""The decoding benchmark: bytes and operations of a step by the formulas for a transformer, and the bound by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
import toy_sizes as toy

from hf_tokcomp.benchmarks.decoding import streams, tables
from hf_tokcomp.benchmarks.decoding.bound import Rates, Step, bound
from hf_tokcomp.benchmarks.decoding.plan import DecodingPlan
from hf_tokcomp.benchmarks.decoding.runner import DecodingBenchmark
from hf_tokcomp.benchmarks.decoding.streams import COUNTED, Heard, Streams
from hf_tokcomp.benchmarks.speed.candidates import Candidate
from hf_tokcomp.benchmarks.speed.subject import Subject
from hf_tokcomp.evaluation.plan import plan
from hf_tokcomp.generation.cross_attention import CompressedEncoderOutput

POOLING = "average_pooling:padding_seconds=0.1"
QUICK: dict[str, Any] = {"rounds": 1, "seconds": 0.0, "new_tokens": 3}
FLOAT = 4
NONE = Candidate("none", None, None)


def candidate(ratio: float) -> Candidate:
    [_, run], _ = plan([POOLING], [ratio], [], 1)
    return Candidate(run.method, run.ratio, run.config)


def planned(**options: Any) -> DecodingPlan:
    runs, _ = plan([POOLING], [1 / 2, 1 / 5], [], 1)
    return DecodingPlan(**{"runs": runs, **QUICK, **options})


def counted(subject: Subject, one: Candidate, lengths: list[float], times: int) -> tuple[Step, Streams]:
    heard = Heard(subject, lengths)
    made = Streams(heard, {one: heard.states(one)}, times)
    return made.count(one, 60.0), made


def weights() -> int:
    """Of the decoder's step: all but the keys and values of the encoder's output, and tables of which it reads rows."""
    text, cross = 4 * toy.WIDTH**2 + 3 * toy.WIDTH, 2 * toy.WIDTH**2 + 2 * toy.WIDTH
    middle = 2 * toy.WIDTH * toy.FFN + toy.FFN + toy.WIDTH
    layers = toy.TEXT_LAYERS * (text + cross + middle + 3 * 2 * toy.WIDTH)
    return FLOAT * (layers + 2 * toy.WIDTH + toy.WORDS * toy.WIDTH)


def cache(columns: int) -> int:
    """Bytes of keys and values in all layers of the decoder."""
    return toy.TEXT_LAYERS * 2 * columns * toy.WIDTH * FLOAT


def operations(columns: int, read: int) -> int:
    linear = 2 * (6 * toy.WIDTH**2 + 2 * toy.WIDTH * toy.FFN)
    return toy.TEXT_LAYERS * (linear + 4 * toy.WIDTH * (columns + read)) + 2 * toy.WIDTH * toy.WORDS


@pytest.mark.parametrize(
    ("one", "seconds", "read"),
    [
        (NONE, 1.0, 50),
        (NONE, 0.5, 50),
        (candidate(1 / 2), 1.0, 25),
        (candidate(1 / 2), 0.5, 13 + 5),
        (candidate(1 / 5), 0.5, 5 + 5),
    ],
    ids=lambda value: value.key if isinstance(value, Candidate) else "",
)
@pytest.mark.parametrize("streams_", [1, 3])
def test_a_step_reads_what_the_shapes_say(
    whisper: Subject, one: Candidate, seconds: float, read: int, streams_: int
) -> None:
    step, made = counted(whisper, one, [seconds], streams_)
    assert made.states[one].tokens_after == [read]
    assert step.cross_bytes == streams_ * cache(read)
    assert step.self_bytes == streams_ * cache(COUNTED), "the start of the text, and all tokens but the last"
    assert step.weight_bytes == weights()
    assert step.operations == streams_ * operations(COUNTED, read)
    assert step.bytes == step.weight_bytes + step.cross_bytes + step.self_bytes


def test_clips_of_several_lengths_are_filled_up(whisper: Subject) -> None:
    one = candidate(1 / 2)
    step, made = counted(whisper, one, [1.0, 0.5], 1)
    output = made.states[one].output
    assert isinstance(output, CompressedEncoderOutput)
    assert output.log_weight is not None
    assert made.states[one].tokens_after == [25, 18]
    assert step.cross_bytes == 2 * cache(25)


def test_streams_of_one_clip_are_what_the_library_returns(whisper: Subject) -> None:
    """Repeated states are those of a batch of the same clips, and decode as it does."""
    one, model = candidate(1 / 2), whisper.model
    heard = Heard(whisper, [0.5])
    repeated = heard.states(one).repeated(3)["encoder_outputs"]
    with one.ready(whisper), torch.inference_mode():
        batch = {name: value.repeat_interleave(3, 0) for name, value in heard.inputs.items()}
        read = model.get_encoder()(**batch)
        assert type(repeated) is type(read) is CompressedEncoderOutput
        torch.testing.assert_close(repeated.last_hidden_state, read.last_hidden_state)
        assert torch.equal(repeated.log_weight, read.log_weight)
        together = model.generate(**batch, max_new_tokens=4, min_new_tokens=4)
        assert torch.equal(model.generate(encoder_outputs=repeated, max_new_tokens=4, min_new_tokens=4), together)


def test_the_bound_by_hand() -> None:
    none, half = Step(800.0, 100, 200, 10), Step(500.0, 100, 45, 10)
    slow_to_read = bound(none, half, Rates(bytes=10.0, operations=1000.0))
    assert slow_to_read.by == "bytes"
    assert slow_to_read.times_none == slow_to_read.bytes == pytest.approx(2.0)
    assert slow_to_read.seconds == pytest.approx(15.5)
    slow_to_compute = bound(none, half, Rates(bytes=1000.0, operations=10.0))
    assert slow_to_compute.by == "operations"
    assert slow_to_compute.times_none == slow_to_compute.operations == pytest.approx(1.6)
    between = bound(none, half, Rates(bytes=1.0, operations=2.7))
    assert between.by == "operations"
    assert between.times_none == pytest.approx(310 / (500 / 2.7))


def test_without_compression_there_is_nothing_to_gain() -> None:
    step = Step(800.0, 100, 200, 10)
    assert bound(step, step, Rates(10.0, 1000.0)).times_none == 1


def test_the_bound_grows_as_less_is_kept_and_with_the_streams(whisper: Subject) -> None:
    rates, found = Rates(10.0, 1e9), {}
    for number in (1, 4):
        none, _ = counted(whisper, NONE, [1.0], number)
        found[number] = [
            bound(none, counted(whisper, candidate(ratio), [1.0], number)[0], rates).times_none
            for ratio in (1 / 2, 1 / 5, 1 / 10)
        ]
    for bounds in found.values():
        assert 1 < bounds[0] < bounds[1] < bounds[2]
    assert all(few < many for few, many in zip(found[1], found[4], strict=True))


def test_rates_are_of_the_device() -> None:
    rates = Rates.measured(torch.device("cpu"), torch.float32)
    assert rates.bytes > 0
    assert rates.balance == rates.operations / rates.bytes


def test_the_report(whisper: Subject) -> None:
    saved: list[dict[str, Any]] = []
    benchmark = DecodingBenchmark(
        planned(batch_sizes=(1, 2), audio_seconds=(0.5, 1.0)), whisper, save=lambda report: saved.append(dict(report))
    )
    report = benchmark.run()
    assert len(saved) == 4
    assert json.loads(json.dumps(report)) == report
    names = ["none", POOLING, POOLING, "none, again"]
    assert [row["candidate"] for row in report["rows"]] == names * 4
    workloads = [(each["seconds"], each["batch_size"]) for each in report["noise"]]
    assert workloads == [(0.5, 1), (0.5, 2), (1.0, 1), (1.0, 2)]
    for first, half, fifth, last in zip(*(report["rows"][place::4] for place in range(4)), strict=True):
        assert first["bound"] is None
        assert last["bound"] is None
        mean = (first["token"]["median"] + last["token"]["median"]) / 2
        for row in (half, fifth):
            assert row["times_none"] == pytest.approx(mean / row["token"]["median"])
            assert row["bound"]["reached"] == pytest.approx(row["times_none"] / row["bound"]["times_none"])
            assert row["bound"]["bytes"] == first["step"]["bytes"] / row["step"]["bytes"]
            assert row["encoder"]["median"] > 0
            assert row["first"]["median"] > 0
        kept = [13 + 5] if half["seconds"] == 0.5 else [25]
        assert half["tokens_after"] == kept * half["batch_size"]
        assert half["cross_bytes_per_stream"] == cache(kept[0])
        assert first["tokens_after"] == [50] * first["batch_size"]
    assert report["left_out"] == []


def test_ragged_batches_are_encoded_clip_by_clip(whisper: Subject) -> None:
    report = DecodingBenchmark(planned(batch_sizes=(2,), ragged=True), whisper).run()
    half = report["rows"][1]
    assert half["windows"] == 2
    assert sorted(half["tokens_after"]) == [18, 25]
    assert "Decoding, 2 x up to 1 s" in [table.title for table in tables.tables(report)]


def test_a_call_that_takes_too_long_is_left_out_and_the_rest_is_measured(
    whisper: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Streams.count

    def count(self: Streams, one: Candidate, limit: float) -> Step:
        return own(self, one, 0.0 if one.label == "none" else limit)

    monkeypatch.setattr(streams.Streams, "count", count)
    report = DecodingBenchmark(planned(batch_sizes=(1,)), whisper).run()
    assert [row["candidate"] for row in report["rows"]] == [POOLING, POOLING, "none, again"]
    assert "a call takes" in report["left_out"][0]["reason"]
    assert report["noise"] == []
    text = "\n".join(tables.notes(report))
    assert "Left out: none, 1 s: a call takes" in text
    assert "of which there is one" in text


def test_all_that_fails_leaves_a_report(whisper: Subject) -> None:
    report = DecodingBenchmark(planned(batch_sizes=(1,), new_tokens=2, limit=0.0), whisper).run()
    assert report["rows"] == []
    assert len(report["left_out"]) == 4
    assert tables.tables(report) == []
    assert len(tables.notes(report)) == 2 + 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"new_tokens": 1}, "a step of decoding is what follows the first"),
        ({"batch_sizes": ()}, "at least one clip"),
        ({"ragged": True}, "batches of at least two; give --batch-size"),
        ({"audio_seconds": (0.0,)}, "above 0 seconds"),
        ({"rounds": 0}, "one round"),
    ],
)
def test_plans_that_measure_nothing_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        planned(**options)


def test_clips_that_the_model_does_not_hear_are_refused(whisper: Subject) -> None:
    with pytest.raises(ValueError, match="reads 1 s of an audio at most, not 2 s"):
        DecodingBenchmark(planned(audio_seconds=(2.0,)), whisper)
    with pytest.raises(ValueError, match="fewer than two audio tokens"):
        DecodingBenchmark(planned(audio_seconds=(0.01,)), whisper)


def test_a_row_of_the_table(whisper: Subject) -> None:
    report = DecodingBenchmark(planned(batch_sizes=(2,)), whisper).run()
    row = report["rows"][1]
    row |= {"token": {"median": 0.02, "low": 0.0123, "high": 0.5}, "cross_bytes_per_stream": 3 << 20, "times_none": 1.5}
    row["self_bytes_per_stream"], row["step"]["bytes"] = 1 << 19, 4 << 20
    row["bound"] |= {"times_none": 2.0, "reached": 0.75, "operations": 1.1}
    row |= {"encoder": {"median": 4.0}, "compressor": {"median": 0.05}, "first": {"median": 0.3}}
    decoding, first = tables.tables(report)
    cells = [POOLING, "1/2", "25", "3.00", "0.50", "20.0", "12.3", "500", "1.50", "2.00", "75", "1.10", "4.00"]
    assert dict(zip(decoding.columns, decoding.rows[1], strict=True)) == dict(zip(tables.TOKENS, cells, strict=True))
    assert decoding.rows[0][-4:-1] == ["-", "-", "-"], "no bound of what is not compressed"
    assert first.columns[2:] == ["encoder", "compressor", "then a first token of 2"]
    assert first.rows[1][2:] == ["4000", "50.0", "300"]
    assert "The bound is by " in tables.notes(report)[3]
