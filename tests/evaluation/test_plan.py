"""What a sweep runs: methods, ratios, positions and seeds as runs with names of their own."""

from __future__ import annotations

import pytest
import tiny_whisper

import hf_tokcomp
from hf_tokcomp import CompressionConfig
from hf_tokcomp.config.notation import config_at, parse_config
from hf_tokcomp.config.registry import methods
from hf_tokcomp.errors import CompressionConfigError
from hf_tokcomp.evaluation.plan import NONE, plan
from hf_tokcomp.models.registry import PATCHES, load_patch


def keys(*arguments: object) -> list[str]:
    return [run.key for run in plan(*arguments)[0]]  # type: ignore[arg-type]


def test_methods_ratios_positions_and_seeds() -> None:
    assert keys(["stride", "random"], [1, 0.5], ["contiguous", "original"], 2) == [
        "none@1",
        "stride@0.5/contiguous",
        "stride@0.5/original",
        "random@0.5/contiguous/seed0",
        "random@0.5/contiguous/seed1",
        "random@0.5/original/seed0",
        "random@0.5/original/seed1",
    ]


def test_configs_are_what_the_names_say() -> None:
    for run in plan(["all"], [0.5, 0.25], ["contiguous", "original"], 2)[0]:
        if run != NONE:
            assert run.config.positions == run.positions
            assert run.config.output_length(1000) in range(int(1000 * run.ratio) - 9, int(1000 * run.ratio) + 1)
            assert getattr(run.config, "seed", None) == run.seed


def test_all_are_all_that_can_be_compared() -> None:
    runs, left_out = plan(["all"], [0.5], [], 1)
    found = {run.method for run in runs}
    assert found | set(left_out) | {"compose"} == set(methods()) | {"ltbm+top_k"}
    assert not found & set(left_out)
    assert set(left_out) == {"conv_resampler", "query_resampler"}
    assert len({run.key for run in runs}) == len(runs)


def test_all_tokens_of_a_model_that_reads_padding_are_not_the_uncompressed_model() -> None:
    patch = load_patch(PATCHES["whisper"])
    wanted = ["none@1", "stride@1/contiguous", "stride@0.5/contiguous"]
    assert [run.key for run in plan(["stride"], [1, 0.5], [], 1, patch)[0]] == wanted
    other = load_patch(PATCHES["qwen2_audio"])
    assert [run.key for run in plan(["stride"], [1, 0.5], [], 1, other)[0]] == [wanted[0], wanted[2]]


def test_methods_that_a_model_cannot_feed_are_left_out_of_all() -> None:
    runs, left_out = plan(["all"], [0.5], [], 1, load_patch(PATCHES["whisper"]))
    assert "speechprune" not in {run.method for run in runs}
    assert "top_k" in {run.method for run in runs}
    assert "its decoder reads no question" in left_out["speechprune"]
    with pytest.raises(CompressionConfigError, match="speechprune"):  # by name it is refused where it is patched in
        hf_tokcomp.patch(tiny_whisper.made()[0], "speechprune")


def test_without_ratios_and_positions_each_config_is_as_it_is() -> None:
    given = '{"method": "ltbm", "tokens_per_second": 5, "positions": "original", "window": 4}'
    runs = plan([given, "stride"], [], [], 1)[0][1:]
    assert [run.config for run in runs] == [
        CompressionConfig(method="ltbm", tokens_per_second=5, positions="original", window=4),
        CompressionConfig(method="stride"),
    ]
    assert [run.ratio for run in runs] == [None, 0.5]
    assert runs[0].method.startswith("ltbm:")
    assert "window=4" in runs[0].method
    assert "tokens_per_second=5" in runs[0].method


def test_the_same_thing_twice_is_run_once() -> None:
    assert keys(["stride", "none", "stride"], [0.5], [], 1) == ["none@1", "stride@0.5/contiguous"]


def test_options_and_compositions() -> None:
    assert config_at("ltbm:window=4:similarity=keys", 0.25) == CompressionConfig(
        method="ltbm", window=4, similarity="keys", retention_ratio=0.25
    )
    both = config_at("ltbm+top_k", 0.25)
    assert [stage.method for stage in both.stages] == ["ltbm", "top_k"]  # type: ignore[attr-defined]
    assert both.output_length(400) == 100
    assert parse_config("ltbm:window=4") == CompressionConfig(method="ltbm", window=4)
    assert config_at('{"method": "ltbm", "max_tokens": 9}', 0.25) == CompressionConfig(
        method="ltbm", retention_ratio=0.25
    )


@pytest.mark.parametrize(
    ("compressions", "ratios", "message"),
    [(["strid"], [0.5], "stride"), (["stride"], [0], "retention_ratio"), (["none"], [2], "retention_ratio")],
)
def test_mistakes(compressions: list[str], ratios: list[float], message: str) -> None:
    with pytest.raises(CompressionConfigError, match=message):
        plan(compressions, ratios, [], 1)


def test_what_reduces_the_encoders_work_is_not_none_at_one() -> None:
    assert keys(["stride:encoder_stride=2", "ltbm:skip_padding=false"], [1, 0.5], ["original"], 1) == [
        "none@1",
        "stride:encoder_stride=2@1/original",
        "stride:encoder_stride=2@0.5/original",
        "ltbm:skip_padding=false@0.5/original",
    ]
    runs, _ = plan(["none", "none:encoder_merge=0.25", "none:skip_padding=true"], [0.5], [], 1)
    assert [run.key for run in runs] == [
        "none@1",
        "none:encoder_merge=0.25@1/contiguous",
        "none:skip_padding=true@1/contiguous",
    ]
    assert runs[1].config == CompressionConfig(method="none", encoder_merge=0.25)


def test_a_seed_that_is_given_is_the_seed() -> None:
    for given in ("random:seed=7", '{"method": "random", "seed": 7}'):
        (run,) = plan([given], [0.5], [], 3)[0][1:]
        assert (run.seed, run.config.seed) == (None, 7)  # type: ignore[attr-defined]
        assert "seed=7" in run.key


def test_seeds_of_stages() -> None:
    runs = plan(["ltbm+random"], [0.25], [], 2)[0][1:]
    assert [run.config.stages[1].seed for run in runs] == [0, 1]  # type: ignore[attr-defined]
    assert len({run.key for run in runs}) == 2


def test_ratios_of_nothing() -> None:
    for ratios, positions in (([0.5], []), ([], ["original"])):
        with pytest.raises(ValueError, match="of which method"):
            plan([], ratios, positions, 1)
    assert keys([], [1], [], 1) == ["none@1"]
    assert keys([CompressionConfig(method="none").to_json_string()], [], [], 1) == ["none@1"], "as stored with a model"


def test_broken_json() -> None:
    with pytest.raises(ValueError, match="The compression is not valid JSON"):
        plan(['{"method": '], [], [], 1)
