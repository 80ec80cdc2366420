"""Voxtral: several audios per prompt, each split into windows of 30 s, padded with silence that is encoded like sound.

There is no mask: a window always gives 375 tokens, 12.5 per second, each of four concatenated encoder positions. Marks
separate the audios of a prompt. The processor writes ids, using mistral-common (the extra ``voxtral``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..models.base import relying_on
from ..models.conversation import conversations
from .whisper_encoder.joined import JoinedPositionsPatch


class VoxtralPatch(JoinedPositionsPatch):
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
    long_audio = "itself"
    cuts_longer = False
    prompt = "[AUDIO]{text}"
    packages = ("mistral-common[audio]",)
    relies_on = relying_on("input_features", "logits_to_keep")

    def longest_audio(self, processor: Any) -> float:
        return 2400.0  # 40 minutes; more does not fit in its context

    def process(
        self, processor: Any, prompts: Sequence[str], samples: Sequence[Any], rate: int, padding_side: str = "left"
    ) -> Any:
        processor.tokenizer.padding_side = padding_side
        return processor.apply_chat_template(conversations(prompts, samples, processor.audio_token, rate))


PATCH = VoxtralPatch()
