"""The phases of a call, by a clock that stands still but where a test moves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import hf_tokcomp
from hf_tokcomp.benchmarks.speed.phases import PHASES, first_call, read_between
from hf_tokcomp.benchmarks.speed.sounds import draw_sound
from hf_tokcomp.benchmarks.speed.subject import Subject
from hf_tokcomp.models import base as model_patch
from hf_tokcomp.models.registry import supported_models


class Hands:
    """A clock's hands."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at

    def after(self, seconds: float, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which takes so many seconds."""

        def slow(*args: Any, **kwargs: Any) -> Any:
            self.at += seconds
            return function(*args, **kwargs)

        return slow


@pytest.fixture
def hands(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> Hands:
    """On a model whose layers, projector, embedding and head take a known time."""
    clock, inner = Hands(), subject.model.model
    slow: list[tuple[float, Any]] = [(100, layer) for layer in inner.audio_tower.layers]
    slow += [(10, inner.multi_modal_projector), (3, inner.get_input_embeddings()), (0.5, subject.model.lm_head)]
    slow += [(1, layer) for layer in inner.language_model.layers]
    for seconds, module in slow:
        monkeypatch.setattr(module, "forward", clock.after(seconds, module.forward))
    return clock


def call(subject: Subject, hands: Hands, compresses: bool, tokens: int = 1) -> dict[str, float]:
    inputs = subject.inputs([draw_sound(0.9, subject.rate), draw_sound(0.5, subject.rate)])
    with torch.inference_mode(), read_between(subject.patch.parts(subject.model), hands) as readings:
        subject.model.generate(**inputs, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=0)
    return readings.phases(compresses)


def test_phases_of_the_plain_model(subject: Subject, hands: Hands) -> None:
    hands.at = 7.0
    phases = call(subject, hands, compresses=False)
    assert phases == {"encoder": 200, "compressor": 0, "projector": 10, "prefill": 5.5}
    assert sum(phases.values()) == hands.at - 7
    assert list(phases) == list(PHASES)


def test_phases_of_a_compressed_model(subject: Subject, hands: Hands) -> None:
    with hf_tokcomp.compressed(subject.model, "average_pooling"):
        compressor = subject.model.audio_compressor
        compressor.forward = hands.after(40, compressor.forward)
        phases = call(subject, hands, compresses=True)
    assert phases == {"encoder": 200, "compressor": 40, "projector": 10, "prefill": 5.5}
    assert sum(phases.values()) == hands.at


def test_what_a_method_projects_to_choose_is_the_compressors(subject: Subject, hands: Hands) -> None:
    with hf_tokcomp.compressed(subject.model, "speechprune"):
        phases = call(subject, hands, compresses=True)
    assert (phases["encoder"], phases["projector"]) == (200, 10)
    assert phases["compressor"] >= 10
    assert sum(phases.values()) == hands.at


def test_later_tokens_are_in_no_phase(subject: Subject, hands: Hands) -> None:
    phases = call(subject, hands, compresses=False, tokens=3)
    assert sum(phases.values()) == 215.5
    assert hands.at == 215.5 + 2 * 5.5


def test_the_first_call_is_read_and_hooks_are_gone_afterwards(subject: Subject, hands: Hands) -> None:
    head = subject.model.lm_head
    states = torch.zeros(1, 1, head.in_features)
    with first_call(head, hands) as seen:
        head(states)
        head(states)
    head(states)
    assert seen == [0.5]
    call(subject, hands, compresses=False)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in subject.model.modules())


def test_a_patch_that_does_not_say_where_phases_begin_says_so() -> None:
    class Mute(type(supported_models()["qwen2_audio"])):  # type: ignore[misc]
        parts = model_patch.ModelPatch.parts

    with pytest.raises(hf_tokcomp.UnsupportedModelError, match=r"Mute does not say .* override `parts`"):
        Mute().parts(None)
