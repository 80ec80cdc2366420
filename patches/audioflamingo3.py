"""Audio Flamingo 3: one audio per prompt, up to 10 minutes, split by the processor into windows of 30 s."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..models.base import relying_on
from .whisper_encoder.encoder import WhisperEncoderPatch


class AudioFlamingo3Patch(WhisperEncoderPatch):
    """`AudioFlamingo3ForConditionalGeneration`."""

    model_type = "audioflamingo3"
    model_classes = ("AudioFlamingo3ForConditionalGeneration",)
    auto_classes = ("AutoModelForPreTraining", "AutoModelForSeq2SeqLM")
    processor_class = "AudioFlamingo3Processor"
    feature_mask = "input_features_mask"
    audio_spans_windows = True
    long_audio = "itself"
    several_audios = False
    prompt = "{text}<sound>"
    relies_on = relying_on("input_features", "input_features_mask", "logits_to_keep")

    def run_encoder(self, model: Any, features: Tensor, mask: Tensor | None) -> Tensor:
        tower = self.tower(model)
        output = tower(features, input_features_mask=mask, return_dict=True)
        return output.last_hidden_state  # type: ignore[no-any-return]


PATCH = AudioFlamingo3Patch()
