"""Wrong input is met with an error that names the fix, before anything has changed."""

from __future__ import annotations

import warnings

import pytest
import tiny
import torch

import hf_tokcomp
from hf_tokcomp.models import registry as models
from hf_tokcomp.models import versions


@pytest.fixture
def patched(model):
    return hf_tokcomp.patch(model, {"method": "top_k", "retention_ratio": 0.4})


def calls(model):
    return [lambda **kw: model(**kw), lambda **kw: model.generate(**kw, max_new_tokens=2)]


def test_unsupported_models(kind):
    for thing in (torch.nn.Linear(2, 2), tiny.model(kind).model.language_model, tiny.model(kind).model.audio_tower, 3):
        with pytest.raises(hf_tokcomp.UnsupportedModelError, match="Supported: qwen2_audio"):
            hf_tokcomp.patch(thing, "ltbm")


def test_a_model_without_head_names_those_with_one(kind):
    with pytest.raises(hf_tokcomp.UnsupportedModelError, match="ForConditionalGeneration"):
        hf_tokcomp.patch(tiny.model(kind).model, "ltbm")


def test_nothing_changes_before_the_checks_are_done(kind, model):
    before = dict(model.__dict__), model.config.to_dict()
    for bad in ("ltmb", {"method": "ltbm", "windows": 3}, {"method": "ltbm", "retention_ratio": float("nan")}):
        with pytest.raises(hf_tokcomp.CompressionConfigError):
            hf_tokcomp.patch(model, bad)
    assert (dict(model.__dict__), model.config.to_dict()) == before


def test_placeholders_that_do_not_match_the_audio(kind, patched):
    inputs = dict(tiny.inputs(kind, [0.9, 0.5]))
    extra = torch.full((2, 1), patched.config.audio_token_id)
    inputs["input_ids"] = torch.cat([extra, inputs["input_ids"]], 1)
    inputs["attention_mask"] = torch.cat([torch.ones_like(extra), inputs["attention_mask"]], 1)
    for call in calls(patched):
        with pytest.raises(hf_tokcomp.PlaceholderMismatchError, match=r"36 audio placeholders .*makes 34"):
            call(**inputs)


def test_right_total_but_wrong_prompts(kind, patched):
    """Two prompts swapped: the totals fit, the counts per prompt do not."""
    inputs = dict(tiny.inputs(kind, [0.9, 0.5]))
    inputs["input_features"] = inputs["input_features"].flip(0)
    mask = "feature_attention_mask" if kind == "qwen2_audio" else "input_features_mask"
    inputs[mask] = inputs[mask].flip(0)
    for call in calls(patched):
        with pytest.raises(hf_tokcomp.PlaceholderMismatchError, match="per prompt"):
            call(**inputs)


def test_the_legacy_prompt_of_qwen2_audio():
    """One placeholder per audio: upstream expands it in the model, which we refuse rather than guess."""
    model = hf_tokcomp.patch(tiny.model("qwen2_audio"), "ltbm")
    inputs = dict(tiny.inputs("qwen2_audio", [0.9]))
    inputs["input_ids"] = torch.tensor([[9, model.config.audio_token_id, 10]])
    inputs["attention_mask"] = torch.ones(1, 3, dtype=torch.long)
    with pytest.raises(hf_tokcomp.PlaceholderMismatchError, match="legacy"):
        model(**inputs)


def test_audio_without_its_mask(kind, patched):
    inputs = {k: v for k, v in tiny.inputs(kind, [0.9]).items() if "feature" not in k or k == "input_features"}
    for call in calls(patched):
        with pytest.raises(ValueError, match="as the processor returns it"):
            call(**inputs)


def test_windows_cut_short_by_padding(patched, kind):
    """`padding=True` reaches Audio Flamingo 3's windows too; upstream then fails inside its encoder."""
    inputs = dict(tiny.inputs(kind, [0.5]))
    mask = "feature_attention_mask" if kind == "qwen2_audio" else "input_features_mask"
    inputs["input_features"], inputs[mask] = inputs["input_features"][..., :50], inputs[mask][:, :50]
    for call in calls(patched):
        with pytest.raises(ValueError, match=r"50 mel frames.*takes 100.*text_kwargs"):
            call(**inputs)


def test_a_mask_per_query(kind, patched):
    inputs = dict(tiny.inputs(kind, [0.9]))
    inputs["attention_mask"] = torch.ones(1, 1, 4, 4)
    with pytest.raises(ValueError, match="attention_mask"):
        patched(**inputs)


def test_positions_of_another_shape(kind, patched):
    with pytest.raises(ValueError, match="position_ids must be"):
        patched(**tiny.inputs(kind, [0.9]), position_ids=torch.arange(3)[None])


def test_logits_to_keep(kind, patched):
    if kind == "qwen2_audio":
        pytest.skip("Qwen2-Audio has no logits_to_keep")
    inputs = tiny.inputs(kind, [0.9])
    assert patched(**inputs, logits_to_keep=2).logits.shape[1] == 2
    with pytest.raises(ValueError, match="logits_to_keep"):
        patched(**inputs, logits_to_keep=torch.tensor([1, 2]))


def test_shift_labels(kind, patched):
    inputs = tiny.inputs(kind, [0.9])
    with pytest.raises(ValueError, match="shift_labels"):
        patched(**inputs, labels=inputs["input_ids"], shift_labels=inputs["input_ids"])


def test_settings_that_upstream_reads_from_ids_alone(kind, patched):
    inputs = tiny.inputs(kind, [0.9])
    for name, value in (("encoder_repetition_penalty", 1.3), ("encoder_no_repeat_ngram_size", 2)):
        with pytest.raises(ValueError, match=name):
            patched.generate(**inputs, max_new_tokens=2, **{name: value})


def test_ids_given_twice(kind, patched):
    inputs = tiny.inputs(kind, [0.9])
    with pytest.raises(ValueError, match="alongside"):
        patched.generate(inputs["input_ids"], **inputs, max_new_tokens=2)


def test_a_compressor_that_returns_the_wrong_count(kind, model):
    class Greedy(type(hf_tokcomp.AudioTokenCompressor.from_config(hf_tokcomp.CompressionConfig(method="stride")))):
        def assign_slots(self, tokens, counts):
            return super().assign_slots(tokens, [k + 1 for k in counts])

    hf_tokcomp.patch(model, "stride")
    model.audio_compressor = Greedy(model.audio_compressor.config)
    with pytest.raises(hf_tokcomp.CompressorOutputError, match=r"made .* but its config announces"):
        model(**tiny.inputs(kind, [0.9]))


def test_layerdrop_in_training_is_refused(kind, patched):
    patched.train()
    patched.model.audio_tower.layerdrop = 1.0
    with pytest.raises(RuntimeError, match="layerdrop"):
        patched(**tiny.inputs(kind, [0.9]))


def check_twice(*arguments):
    versions.check_transformers(*arguments)
    versions.check_transformers(*arguments)


class TestVersions:
    def patch_of(self, model):
        return models.patch_for_class(type(model))[1]

    def test_too_old(self, model):
        with pytest.raises(
            hf_tokcomp.UnsupportedVersionError, match=r"5\.16\.0 is older than 5\.17\.0.*pip install -U"
        ):
            versions.check_transformers(type(model), self.patch_of(model), "5.16.0")

    def test_tried(self, model):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for version in (versions.OLDEST_TRIED, versions.NEWEST_TRIED, None):
                versions.check_transformers(type(model), self.patch_of(model), version)

    def test_newer_warns_once(self, model, monkeypatch):
        monkeypatch.setattr(versions, "_warned", False)
        with pytest.warns(UserWarning, match=r"6\.1\.0 is newer than") as seen:
            check_twice(type(model), self.patch_of(model), "6.1.0")
        assert len(seen) == 1

    def test_newer_with_a_changed_signature(self, model, monkeypatch):
        def forward(self, input_ids=None, attention_mask=None):
            raise AssertionError

        changed = type("Changed", (type(model),), {"forward": forward})
        with pytest.raises(hf_tokcomp.UnsupportedVersionError, match=r"Changed\.forward: .*input_features.* gone"):
            versions.check_transformers(changed, self.patch_of(model), "6.1.0")


def test_a_model_type_cannot_be_registered_twice():
    with pytest.raises(ValueError, match="already has a patch"):
        hf_tokcomp.register_model("qwen2_audio", "somewhere")
