"""Windows of unlike lengths run through the encoder apart, where that is cheaper, and nothing else changes."""

from __future__ import annotations

import itertools
import random

import pytest
import tiny
import torch

import hf_tokcomp
from hf_tokcomp.config.encoder_options import EncoderOptions
from hf_tokcomp.models.encoder import batching as encoder_runs
from hf_tokcomp.models.encoder.batching import FRAMES_PER_RUN, LARGEST_RUN, runs
from hf_tokcomp.models.registry import patch_for_class
from hf_tokcomp.models.windows import Windows

CPU = torch.device("cpu")
NEEDS = frozenset({"attention", "attention_max", "attention_peak", "attention_self", "keys"})
FRAMES = [12, 100, 33, 12, 97, 4, 70]


def cost(windows, frames):
    return sum(FRAMES_PER_RUN + len(run) * max(frames[i] for i in run) for run in windows)


def fits(run, frames):
    return len(run) == 1 or len(run) * max(frames[i] for i in run) <= LARGEST_RUN


def partitions(items):
    """All ways to put the items into runs."""
    if not items:
        yield []
        return
    first, *rest = items
    for part in partitions(rest):
        yield [[first], *part]
        for i, run in enumerate(part):
            yield [*part[:i], [first, *run], *part[i + 1 :]]


@pytest.mark.parametrize("seed", range(8))
def test_no_other_runs_cost_less(seed):
    draw = random.Random(seed)
    frames = [draw.choice([50, draw.randrange(1, 1000), 3000]) for _ in range(draw.randrange(2, 7))]
    found = runs(frames, CPU)
    assert sorted(itertools.chain(*found)) == list(range(len(frames)))
    allowed = [way for way in partitions(list(range(len(frames)))) if all(fits(run, frames) for run in way)]
    assert all(fits(run, frames) for run in found)
    assert cost(found, frames) == min(cost(way, frames) for way in allowed)


def test_what_is_alike_runs_together():
    assert runs([500, 480, 500, 490], CPU) == [[0, 1, 2, 3]]
    assert sorted(runs([100, 1000, 100, 990], CPU)) == [[0, 2], [1, 3]]


def test_long_windows_run_alone():
    assert sorted(runs([3000] * 3, CPU)) == [[0], [1], [2]]
    assert sorted(map(len, runs([1000] * 5, CPU))) == [1, 2, 2]


def test_no_windows_are_no_work():
    assert runs([], CPU) == [[]]


@pytest.mark.parametrize("processes", [1, 2])
def test_processes_that_may_share_an_encoder_run_once(processes, monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: processes)
    assert (len(runs([12, 1000], CPU)) == 1) == (processes == 2)  # an engine initialises it for itself alone, too


def test_elsewhere_than_on_a_cpu_all_run_together():
    assert runs([100, 1000], torch.device("meta")) == [[0, 1]]


@pytest.fixture
def calls(monkeypatch, model):
    """Windows and frames of every call of the encoder, where runs cost next to nothing."""
    monkeypatch.setattr(encoder_runs, "FRAMES_PER_RUN", 1)
    seen = []
    handle = model.model.audio_tower.conv1.register_forward_pre_hook(
        lambda _, args: seen.append((args[0].shape[0], args[0].shape[2]))
    )
    yield seen
    handle.remove()


@pytest.mark.parametrize(
    "options",
    [EncoderOptions(), EncoderOptions(stride=2), EncoderOptions(merge=0.25)],
    ids=["plain", "stride", "merge"],
)
def test_every_window_gets_what_it_gets_alone(kind, model, calls, options):
    patch = patch_for_class(type(model))[1]
    features = torch.randn(len(FRAMES), 16, 100, generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(100) < torch.tensor(FRAMES)[:, None]).long()
    encoded = patch.encode(model, Windows(features, FRAMES, mask, [0] * len(FRAMES)), NEEDS, options)
    assert len(calls) > 2
    assert sum(windows for windows, _ in calls) == len(FRAMES)
    for row, n in enumerate(FRAMES):
        window = Windows(features[row : row + 1], [n], mask[row : row + 1], [0])
        alone = patch.encode(model, window, NEEDS, options)
        tokens = patch.window_tokens(n)
        for name in ("features", *NEEDS):
            assert getattr(encoded, name).shape[:2] == encoded.features.shape[:2]
            expected = getattr(alone, name)[0, :tokens]
            torch.testing.assert_close(getattr(encoded, name)[row, :tokens], expected, atol=1e-5, rtol=1e-5)


def test_padding_is_kept_where_that_is_asked_for(kind, model, calls):
    hf_tokcomp.patch(model, {"method": "stride", "skip_padding": False})
    model(**tiny.inputs(kind, [0.9, 0.21]))
    assert calls == [(2, 100)]


@pytest.mark.grad
def test_gradients_are_those_of_one_run(kind, model, calls, monkeypatch):
    hf_tokcomp.patch(model, "average_pooling")
    inputs = tiny.inputs(kind, [0.9, 0.21, 0.5])
    weight = model.model.audio_tower.conv1.weight
    weight.requires_grad_(True)
    gradients = []
    for price in (1, 10_000):
        monkeypatch.setattr(encoder_runs, "FRAMES_PER_RUN", price)
        calls.clear()
        weight.grad = None
        model(**inputs).logits.float().logsumexp(-1).sum().backward()
        gradients.append(weight.grad.clone())
        assert (len(calls) > 1) == (price == 1)
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-3)
