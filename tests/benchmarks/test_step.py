"""What a patched model adds to a decoding step on the host: the benchmark's lines."""

from __future__ import annotations

import pytest
import torch

from hf_tokcomp.benchmarks import step


def test_decoding_steps(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Every model, method and kind of step has a line, and the models are as they were afterwards."""
    names = ["audio-flamingo-3", "qwen2-audio-7b"]
    models = {
        name: step.build(step.config_of(step.sizes_of(name, 1)), torch.device("meta"), torch.float32) for name in names
    }
    forwards = {name: type(model).forward for name, model in models.items()}
    monkeypatch.setattr(step, "model_of", models.__getitem__)
    assert step.main(["--runs", "1", "--calls", "3"]) == 0
    rows = [line.rsplit(maxsplit=3) for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0].split(maxsplit=2) for row in rows] == [
        [name, method, kind] for name in names for method in step.METHODS for kind in step.STEPS
    ]
    assert all(0 < float(bare) < float(patched) for _, bare, patched, _ in rows)
    assert {name: type(model).forward for name, model in models.items()} == forwards
