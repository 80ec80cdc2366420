"""Qwen3-ASR: speech recognition, one audio per prompt, of any length; the model was designed for up to 20 minutes."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import pad

from ..models.audio_parts import AudioParts
from ..models.base import relying_on
from ..models.windows import Windows
from .qwen3.encoder import CHUNK, Qwen3EncoderPatch


class Qwen3ASRPatch(Qwen3EncoderPatch):
    """`Qwen3ASRForConditionalGeneration`."""

    model_type = "qwen3_asr"
    model_classes = ("Qwen3ASRForConditionalGeneration",)
    auto_classes = (
        "AutoModelForMultimodalLM",
        "AutoModelForPreTraining",
        "AutoModelForSeq2SeqLM",
        "AutoModelForSpeechSeq2Seq",
    )
    processor_class = "Qwen3ASRProcessor"
    feature_mask = "input_features_mask"
    several_audios = False
    relies_on = relying_on("input_features", "input_features_mask", "logits_to_keep")

    def longest_audio(self, processor: Any) -> float:
        return 1200.0

    def around(self, audio_tower: nn.Module, projector: nn.Module) -> Any:
        return AudioParts(audio_tower, projector)

    def run_encoder(self, model: Any, windows: Windows) -> None:
        # It convolves whole chunks, even those that are all padding.
        width = max(1, -(-max(windows.frames) // CHUNK)) * CHUNK
        more = (0, width - windows.features.shape[-1])  # or less
        mask = None if windows.mask is None else pad(windows.mask, more)
        model.model.audio_tower(pad(windows.features, more), input_features_mask=mask)

    def projector(self, model: Any) -> nn.Module:
        return model.model.multi_modal_projector  # type: ignore[no-any-return]

    def project(self, model: Any, features: Tensor) -> Tensor:
        return model.model.multi_modal_projector(features)  # type: ignore[no-any-return]


PATCH = Qwen3ASRPatch()
