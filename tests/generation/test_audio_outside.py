"""Audio compressed outside a call: the very rows that the language model of a patched model reads."""

from __future__ import annotations

import pytest
import tiny
import torch
from drawn import DETERMINISTIC
from subjects import subject_of

import hf_tokcomp
from hf_tokcomp.models.registry import PATCHES

BY_AUDIO = [name for name in DETERMINISTIC if not hf_tokcomp.methods()[name].needs & {"query", "first_layer"}]
CONFIGS = [
    *({"method": name} for name in BY_AUDIO if name not in ("compose", "none")),
    {"method": "compose", "stages": ["ltbm", {"method": "top_k", "max_tokens": 5}]},
    {"method": "top_k", "encoder_stride": 2},
    {"method": "ltbm", "encoder_merge": 0.3, "chunk_seconds": 0.4},
]
SECONDS = {"qwen2_audio": [0.9, 0.33, 1.0], "audioflamingo3": [2.4, 0.33, 2.0]}
WINDOWS = {"qwen2_audio": None, "audioflamingo3": [3, 1, 2]}


def rows_read(model, inputs):
    """What the language model reads in the audios' places, in order."""
    read = []
    hook = model.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    model(**inputs)
    hook.remove()
    columns = model.audio_compressor.last.columns
    ids = inputs["input_ids"].gather(1, columns.clamp(min=0))
    return read[0][(columns >= 0) & (ids == model.config.audio_token_id)]


def outside(model, inputs, kind, windows=None):
    patch = hf_tokcomp.supported_models()[kind]
    parts = model.model.audio_tower, model.model.multi_modal_projector
    mask = inputs[patch.feature_mask]
    return hf_tokcomp.compress_audio(
        patch, model.audio_compressor, *parts, inputs["input_features"], mask, WINDOWS[kind] or windows
    )


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: "-".join(map(str, config.values()))[:40])
def test_the_rows_are_those_of_the_patched_model(kind, model, config):
    inputs = tiny.inputs(kind, SECONDS[kind])
    hf_tokcomp.patch(model, config)
    read = rows_read(model, inputs)
    wanted = model.audio_compressor.last
    slots, record = outside(model, inputs, kind)
    embedded = hf_tokcomp.embed_audio(model, inputs)
    last = model.audio_compressor.last
    assert torch.equal(torch.cat(slots), read)
    assert torch.equal(torch.cat(embedded), read)
    for each in (record, last):
        assert [each.tokens_before, each.tokens_after] == [wanted.tokens_before, wanted.tokens_after]
        assert torch.equal(each.positions, wanted.positions)
    assert [len(each) for each in slots] == [len(each) for each in embedded] == wanted.tokens_after


def test_none_keeps_all_tokens(kind, model):
    inputs = tiny.inputs(kind, SECONDS[kind])
    read = []
    hook = model.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    model(**inputs)
    hook.remove()
    hf_tokcomp.patch(model, "none")
    wanted = read[0][inputs["input_ids"] == model.config.audio_token_id]
    assert torch.equal(torch.cat(hf_tokcomp.embed_audio(model, inputs)), wanted)


def test_a_patched_processor_says_the_same(kind, model):
    config = {"method": "top_k", "retention_ratio": 0.3}
    hf_tokcomp.patch(model, config)
    wanted = hf_tokcomp.embed_audio(model, tiny.inputs(kind, SECONDS[kind]))
    short = hf_tokcomp.patch(tiny.processor(kind), config)
    found = hf_tokcomp.embed_audio(model, tiny.inputs(kind, SECONDS[kind], of=short))
    assert all(map(torch.equal, found, wanted))
    assert not found[0].requires_grad


@pytest.mark.parametrize("model_type", sorted(set(PATCHES) - {"whisper"}))
def test_every_model_embeds_and_says_whether_its_parts_are_enough(model_type):
    subject = subject_of(model_type)
    model = hf_tokcomp.patch(subject.model(), "average_pooling")
    patch = hf_tokcomp.supported_models()[model_type]
    part = patch.inner(model)
    inputs = dict(subject.inputs([[0.7], [0.4]]))
    whole = hf_tokcomp.embed_audio(model, inputs)
    assert [len(each) for each in whole] == model.audio_compressor.last.tokens_after
    named = dict(part.model.named_children()) if hasattr(part, "model") else {}
    tower = named.get("audio_tower", torch.nn.Identity())
    projector = named.get("multi_modal_projector", getattr(tower, "proj", torch.nn.Identity()))
    args = patch, model.audio_compressor, tower, projector, inputs[patch.features]
    try:
        slots, _ = hf_tokcomp.compress_audio(*args, inputs.get(patch.feature_mask))
    except hf_tokcomp.UnsupportedModelError as error:
        assert "outside the model" in str(error)  # noqa: PT017 - some models raise, the others must be right
        assert model_type in ("musicflamingo", "granite_speech", "qwen3_omni_moe_thinker", "qwen3_omni_moe")
    else:
        assert all(map(torch.equal, slots, whole))


def test_a_model_without_prompts_says_that_it_has_no_embeddings():
    subject = subject_of("whisper")
    model = hf_tokcomp.patch(subject.model(), "average_pooling")
    inputs = subject.inputs([[0.7]])
    with pytest.raises(hf_tokcomp.UnsupportedModelError, match=r"'whisper' reads the encoder's output.*get_encoder"):
        hf_tokcomp.embed_audio(model, inputs)
    parts = model.model.encoder, torch.nn.Identity()
    with pytest.raises(hf_tokcomp.UnsupportedModelError, match="cannot be compressed outside the model"):
        hf_tokcomp.compress_audio(subject.patch, model.audio_compressor, *parts, inputs["input_features"])


def test_what_cannot_be_done_is_refused(kind, model):
    inputs = tiny.inputs(kind, SECONDS[kind])
    with pytest.raises(RuntimeError, match="not patched"):
        hf_tokcomp.embed_audio(model, inputs)
    hf_tokcomp.patch(model, "speechprune")
    assert len(hf_tokcomp.embed_audio(model, inputs)) == 3  # here the question is known
    with pytest.raises(hf_tokcomp.CompressionConfigError, match="goes by the user's question"):
        outside(model, inputs, kind)
    hf_tokcomp.patch(model, "stride")
    with pytest.raises(ValueError, match="no `input_features` in the inputs"):
        hf_tokcomp.embed_audio(model, {"input_ids": inputs["input_ids"]})
    patch = hf_tokcomp.supported_models()[kind]
    args = patch, model.audio_compressor, model.model.audio_tower, model.model.multi_modal_projector
    with pytest.raises(ValueError, match=r"windows=\[1\] are 1 windows"):
        hf_tokcomp.compress_audio(*args, inputs["input_features"], inputs[patch.feature_mask], [1])
    with pytest.raises(ValueError, match=f"Pass `{patch.feature_mask}`"):
        hf_tokcomp.compress_audio(*args, inputs["input_features"])
    with pytest.raises(ValueError, match="90 mel frames"):
        hf_tokcomp.compress_audio(*args, inputs["input_features"][..., :90], inputs[patch.feature_mask][:, :90])
