"""Models with random weights: the public models' sizes, made once, in place and in their own precision."""

from __future__ import annotations

import pytest
import torch
from toy_sizes import TOY_SIZES

from hf_tokcomp.benchmarks.speed.architectures import architectures, build, config_of, sizes_of
from hf_tokcomp.benchmarks.speed.prompts import Prompter
from hf_tokcomp.benchmarks.speed.sounds import draw_sound, lengths_of
from hf_tokcomp.models.registry import supported_models

META = torch.device("meta")
# As the files of their weights on the Hub say.
PARAMETERS = {
    "qwen2-audio-7b": 8_397_094_912,
    "audio-flamingo-3": 8_267_215_360,
    "whisper-tiny.en": 37_760_256,
    "whisper-base": 72_593_920,
    "whisper-large-v3-turbo": 808_878_080,
    "whisper-large-v3": 1_543_490_560,
}


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_the_sizes_are_those_of_the_public_models(name: str) -> None:
    model = build(config_of(sizes_of(name)), META, torch.bfloat16)
    assert sum(weight.numel() for weight in model.parameters()) == PARAMETERS[name]
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    assert supported_models()[model.config.model_type].window_frames(model) == 3000
    assert model.config._attn_implementation == "sdpa"


def test_every_architecture_says_where_it_is_from() -> None:
    assert set(architectures()) == set(PARAMETERS)
    assert set(architectures(reads_prompts=True)) == set(TOY_SIZES)
    for values in architectures().values():
        assert values["source"].startswith("https://huggingface.co/")


@pytest.mark.parametrize("name", sorted(TOY_SIZES))
def test_layers_are_cut_and_nothing_else(name: str) -> None:
    whole, cut = config_of(sizes_of(name)), config_of(sizes_of(name, 2))
    for part in ("audio_config", "text_config"):
        before, after = getattr(whole, part).to_dict(), getattr(cut, part).to_dict()
        changed = {key for key in before if before[key] != after[key]}
        assert getattr(cut, part).num_hidden_layers == 2
        assert changed <= {"num_hidden_layers", "encoder_layers", "layer_types"}


def test_layers_of_a_decoder_are_cut_too() -> None:
    cut = config_of(sizes_of("whisper-base", 2))
    assert (cut.encoder_layers, cut.decoder_layers) == (2, 2)
    with pytest.raises(ValueError, match="whisper-large-v3-turbo has 4 layers; keep 1 to 4"):
        sizes_of("whisper-large-v3-turbo", 5)


def test_what_there_is_not_is_said() -> None:
    with pytest.raises(ValueError, match="Available: audio-flamingo-3, qwen2-audio-7b"):
        sizes_of("whisper")
    with pytest.raises(ValueError, match="qwen2-audio-7b has 32 layers; keep 1 to 32"):
        sizes_of("qwen2-audio-7b", 33)


def test_weights_are_made_in_their_own_precision_and_leave_the_generator_alone() -> None:
    config = config_of(TOY_SIZES["audio-flamingo-3"])
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    made: list[torch.dtype] = []
    own = torch.nn.Linear.__init__

    def watched(self: torch.nn.Linear, *args: object, **kwargs: object) -> None:
        own(self, *args, **kwargs)  # type: ignore[arg-type]
        made.append(self.weight.dtype)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.Linear, "__init__", watched)
        first, second = (build(config, torch.device("cpu"), torch.bfloat16) for _ in range(2))
    assert set(made) == {torch.bfloat16}
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first.lm_head.weight, second.lm_head.weight)
    assert torch.isfinite(first.lm_head.weight).all()
    assert not first.training


@pytest.mark.parametrize("name", sorted(TOY_SIZES))
def test_prompts_have_a_placeholder_for_every_token(name: str) -> None:
    config = config_of(TOY_SIZES[name])
    patch = supported_models()[config.model_type]
    prompter = Prompter(config, patch)
    seconds = [0.5, 1.0] if not patch.audio_spans_windows else [0.5, 2.3]
    made = prompter([draw_sound(length, prompter.rate) for length in seconds])
    placeholders = (made["input_ids"] == config.audio_token_id).sum(1).tolist()
    assert placeholders == ([12, 25] if not patch.audio_spans_windows else [12, 57])
    assert made["input_features"].shape[0] == (2 if not patch.audio_spans_windows else 4)
    text = len(prompter.before) + len(prompter.behind)
    assert made["attention_mask"].sum(1).tolist() == [n + text for n in placeholders]
    assert made["attention_mask"][0, 0] == 0, "padded on the left, to generate"
    assert made["attention_mask"][:, -1].tolist() == [1, 1]


def test_sounds_have_their_lengths() -> None:
    assert lengths_of(8.0, 2, ragged=False) == [8.0, 8.0]
    assert sorted(lengths_of(8.0, 4, ragged=True)) == [2.0, 4.0, 6.0, 8.0]
    assert len(draw_sound(1.5, 16_000)) == 24_000
    assert (draw_sound(1.0, 16_000, 0) == draw_sound(1.0, 16_000, 0)).all()
    assert (draw_sound(1.0, 16_000, 0) != draw_sound(1.0, 16_000, 1)).any()
