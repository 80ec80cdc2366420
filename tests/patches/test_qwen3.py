"""What Qwen3-Omni and Qwen3-ASR share: counts, attention within blocks, chunks that are all padding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from subjects import subject_of
from transformers import AttentionInterface
from transformers.models.qwen3_asr.modeling_qwen3_asr import _get_feat_extract_output_lengths

from hf_tokcomp import patch
from hf_tokcomp.config.encoder_options import EncoderOptions
from hf_tokcomp.models.registry import PATCHES, load_patch
from hf_tokcomp.testing import Subject
from hf_tokcomp.testing.calls import config

pytestmark = pytest.mark.parametrize("model_type", ["qwen3_asr", "qwen3_omni_moe_thinker"])
LAYOUT = [[2.5], [1.1], [3.0]]


@pytest.fixture
def subject(model_type: str) -> Subject:
    return subject_of(model_type)


def test_tokens_of_a_window_are_upstreams(model_type: str) -> None:
    known = load_patch(PATCHES[model_type])
    frames = torch.arange(350)
    assert [known.window_tokens(n) for n in range(350)] == _get_feat_extract_output_lengths(frames).tolist()


@pytest.mark.parametrize("block", [100, 200])
def test_attention_is_received_within_blocks(subject: Subject, block: int) -> None:
    model, known = subject.model(), subject.patch
    tower, last, seen = model.model.audio_tower, known.parts(model).last_attention, list[torch.Tensor]()
    tower.n_window_infer = block
    windows = known.windows_of(subject.inputs(LAYOUT))
    wanted = frozenset({"attention", "attention_max", "attention_self"})
    encoded = known.encode(model, windows, wanted, EncoderOptions())

    def recording(module: Any, query: Any, key: Any, value: Any, scaling: float, **_: Any) -> Any:
        weights = (query @ key.transpose(2, 3) * scaling).softmax(-1)
        if module is last:
            seen.append(weights[0])
        return (weights @ value).transpose(1, 2), weights

    AttentionInterface.register("recording", recording)
    tower.set_attn_implementation("recording")
    again = known.encode(model, windows, frozenset(), EncoderOptions())
    torch.testing.assert_close(again.features, encoded.features)
    assert len(seen) == sum(-(-n // block) for n in windows.frames)
    counts = [known.window_tokens(n) for n in windows.frames]
    by_hand = {
        "attention": [weights.mean(0).sum(0) for weights in seen],
        "attention_max": [weights.sum(1).amax(0) for weights in seen],
        "attention_self": [weights.mean(0).diagonal() for weights in seen],
    }
    for name, parts in by_hand.items():
        found = torch.cat([row[:n] for row, n in zip(getattr(encoded, name), counts, strict=True)])
        torch.testing.assert_close(found, torch.cat(parts), msg=lambda text, name=name: f"{name}: {text}")


def test_chunks_of_padding_are_not_encoded(subject: Subject) -> None:
    inputs, known = subject.inputs([[1.5]]), subject.patch
    model, chunks = patch(subject.model(), config("average_pooling")), list[int]()
    known.parts(model).encoder_begin.register_forward_hook(lambda _module, given, _output: chunks.append(len(given[0])))
    wanted = model(**inputs).logits
    mask = known.feature_mask or ""
    padded = {name: torch.nn.functional.pad(inputs[name], (0, 300)) for name in (known.features, mask)}
    torch.testing.assert_close(model(**inputs | padded).logits, wanted)
    assert chunks == [2, 2]


def test_images_that_are_encoded_already_are_refused(subject: Subject, model_type: str) -> None:
    if model_type == "qwen3_asr":
        pytest.skip("it reads no images")
    model = patch(subject.model(), config("average_pooling"))
    with pytest.raises(ValueError, match="mm_encoder_outputs"):
        model(**subject.inputs(LAYOUT), mm_encoder_outputs={"image": torch.zeros(1)})
