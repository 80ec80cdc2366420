"""Granite Speech: several audios per prompt, of any length, at 10 tokens per second.

A Q-Former turns 15 encoder positions into three tokens, which are compressed before the linear layer that follows.
Features are ``(audios, time, bins)``, and the mask counts tokens. Checkpoints include an adapter, which upstream's
`generate` enables for audio and disables for text. The loss ignores `num_items_in_batch`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor
from torch.nn.functional import pad

from ..config.encoder_options import EncoderOptions
from ..models.base import LANGUAGE_MODEL, EncodedWindows, ModelPatch, Parts, Shortened, relying_on
from ..models.encoder.scores import READ
from ..models.windows import AudioInputs, Windows
from ..ops.audio_tokens import NEEDS


class GraniteSpeechPatch(ModelPatch):
    """`GraniteSpeechForConditionalGeneration`."""

    model_type = "granite_speech"
    model_classes = ("GraniteSpeechForConditionalGeneration",)
    auto_classes = ("AutoModelForMultimodalLM", "AutoModelForSeq2SeqLM", "AutoModelForSpeechSeq2Seq")
    processor_class = "GraniteSpeechProcessor"
    extractor = "audio_processor"
    feature_mask = "input_features_mask"
    audio_spans_windows = False
    long_audio = "itself"
    cuts_longer = False
    frame_rate = 10.0
    supplies = NEEDS - READ
    unsupplied = "its encoder's attention goes by relative positions, and a Q-Former stands between it and the tokens"
    loss_counts_items = False
    prompt = "<|audio|>{text}"
    turns_are_text = True
    packages = ("torchaudio",)
    lora_targets: ClassVar[dict[str, str]] = {
        "language_model": LANGUAGE_MODEL,
        "projector": r".*\.projector\.linear",
        "audio_tower": r".*\.encoder\.layers\..*\.(to_q|to_kv|to_out|up_proj|down_proj)",
    }
    relies_on = relying_on("input_features", "input_features_mask", "logits_to_keep")

    def audio_inputs(self, call: Mapping[str, Any]) -> AudioInputs:
        return replace(super().audio_inputs(call), counts_tokens=True)

    @contextmanager
    def generating(self, model: Any, prompt: Shortened | None) -> Iterator[None]:
        model.disable_adapters = model.enable_adapters  # the features are gone, but the prompt still has audio
        try:
            yield
        finally:
            del model.disable_adapters

    def window_tokens(self, frames: int) -> int:
        return ((frames + 1) // 2 + 14) // 15 * 3

    def feature_dim(self, model: Any) -> int:
        return int(model.config.projector_config.hidden_size)

    def encode(self, model: Any, windows: Windows, needs: frozenset[str], options: EncoderOptions) -> EncodedWindows:
        projector = model.model.projector
        states = model.model.encoder(windows.features.to(model.dtype), return_dict=True).last_hidden_state
        states = pad(states, (0, 0, 0, -states.shape[1] % projector.window_size))
        blocks = states.reshape(-1, projector.window_size, states.shape[2])
        tokens = projector.qformer(query_embeds=projector.query, encoder_hidden_states=blocks).last_hidden_state
        return EncodedWindows(tokens.reshape(len(windows), -1, tokens.shape[2]))

    def project(self, model: Any, features: Tensor) -> Tensor:
        return model.model.projector.linear(features)  # type: ignore[no-any-return]

    def parts(self, model: Any) -> Parts:
        encoder, projector, head = model.model.encoder, model.model.projector, model.get_output_embeddings()
        return Parts(encoder.input_linear, projector.qformer, encoder.layers[-1].attn, projector.linear, head)

    def log_mel(self, features: Tensor) -> Tensor:
        return features.unflatten(2, (2, -1)).flatten(1, 2).transpose(1, 2)  # frames were stacked two by two

    def longest_audio(self, processor: Any) -> float:
        return 12000.0  # this fills its context


PATCH = GraniteSpeechPatch()
