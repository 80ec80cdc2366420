"""The script behind the table of docs/training.md: it trains, measures, and takes up what was left."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from recipes import finetuning

DATA = os.environ.get("HF_TOKCOMP_DATA")
METHODS = ("none", "average_pooling", "conv_resampler")

pytestmark = pytest.mark.skipif(
    DATA is None or not Path(DATA, "digits").is_dir(), reason="HF_TOKCOMP_DATA names no folder with digits/"
)


def run(folder, *more):
    given = ["--seeds", "1", "--steps", "1", "--rows", "2", "--train-strings", "4", "--test-strings", "2"]
    finetuning.main([str(folder), "--workers", "1", "--methods", ",".join(METHODS), *given, *more])


def test_it_trains_measures_and_goes_on(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    caplog.set_level("INFO", "recipes")
    run(tmp_path, "--quick")
    folders = {method: tmp_path / f"{method}-1_3-seed0" for method in METHODS}
    found = {
        method: json.loads((folder / "results.json").read_text(encoding="utf-8")) for method, folder in folders.items()
    }
    assert set(found["average_pooling"]["before"]) == set(found["average_pooling"]["after"]) == {"1/3"}
    assert found["average_pooling"]["after"]["1/3"]["tokens_kept"] == pytest.approx(1 / 3, abs=0.02)
    assert found["none"]["after"]["1"]["tokens_kept"] == 1
    assert found["none"]["before"]["1"]["wer"] == 0, "two strings that this model reads without an error"
    assert found["conv_resampler"]["before"] == {}
    table = caplog.messages[-1]
    assert table.count("| LoRA | 1 |") == 3
    assert "| `conv_resampler` | none |" not in table
    assert f"| `none` | none |  | {100 * found['none']['before']['1']['wer']:.1f} |" in table

    times = {method: (folder / "results.json").stat().st_mtime_ns for method, folder in folders.items()}
    (folders["none"] / "results.json").unlink()
    adapter = (folders["none"] / "adapter_model.safetensors").stat().st_mtime_ns
    run(tmp_path, "--quick")
    assert (folders["none"] / "adapter_model.safetensors").stat().st_mtime_ns == adapter, "trained once"
    again = json.loads((folders["none"] / "results.json").read_text(encoding="utf-8"))
    assert again["after"] == found["none"]["after"]
    for method in METHODS[1:]:
        assert (folders[method] / "results.json").stat().st_mtime_ns == times[method], "measured once"
