"""Voxtral: several audios per prompt, each of windows of 30 s, padded with silence that is encoded like sound.

There is no mask: a window always makes 375 tokens, 12.5 a second, of four encoder positions each, joined one behind the
other. Marks part the audios of a prompt. The processor writes ids, by mistral-common (the extra ``voxtral``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..config.encoder_options import EncoderOptions
from ..models.base import ModelPatch, relying_on
from ..models.conversation import conversations
from .whisper.encoder import WhisperEncoderPatch


class VoxtralPatch(WhisperEncoderPatch):
    """`VoxtralForConditionalGeneration`."""

    model_type = "voxtral"
    model_classes = ("VoxtralForConditionalGeneration",)
    auto_classes = (
        "AutoModelForMultimodalLM",
        "AutoModelForPreTraining",
        "AutoModelForSeq2SeqLM",
        "AutoModelForSpeechSeq2Seq",
    )
    processor_class = "VoxtralProcessor"
    processor_calls = ("apply_chat_template", "apply_transcription_request")
    audio_spans_windows = True
    frame_rate = 12.5
    positions_per_token = 4
    chat = None
    prompt = "[AUDIO]{text}"
    relies_on = relying_on("input_features", "logits_to_keep")

    def feature_dim(self, model: Any) -> int:
        return int(model.config.audio_config.intermediate_size)  # upstream's name for four positions together

    def longest_audio(self, processor: Any) -> float:
        return 2400.0  # 40 minutes; more does not fit into its context

    def process(
        self, processor: Any, prompts: Sequence[str], samples: Sequence[Any], rate: int, padding_side: str = "left"
    ) -> Any:
        processor.tokenizer.padding_side = padding_side
        return processor.apply_chat_template(conversations(prompts, samples, processor.audio_token, rate))

    def check_encoder(self, model: Any, options: EncoderOptions) -> None:
        ModelPatch.check_encoder(self, model, options)

    def run_encoder(self, model: Any, features: Tensor, mask: Tensor | None) -> Tensor:
        states = model.model.audio_tower(features).last_hidden_state
        return states.reshape(len(features), -1, self.feature_dim(model))  # type: ignore[no-any-return]


PATCH = VoxtralPatch()
