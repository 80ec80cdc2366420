"""The base patches for an Omni model: of its thinker, and of the composite of thinker, talker and vocoder.

Upstream's `generate` of the composite feeds the talker the thinker's hidden states of the prompt along with the
prompt's ids, so it gets the short ids and their mask, and the thinker inside it the short embeddings and positions.
With audio and text alone, the three rows of position ids are equal, so one row is enough; images and videos, whose rows
differ, are refused.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ...models.base import ModelPatch, relying_on


class OmniThinkerPatch(ModelPatch):
    """What the thinkers have in common: their keywords, and what cannot stand beside audio."""

    auto_classes = ("AutoModelForImageTextToText", "AutoModelForMultimodalLM")
    since: ClassVar[str | None] = "5.23.0"
    packages = ("torchvision", "pillow")
    feature_mask: ClassVar[str | None] = "feature_attention_mask"
    beside_features = ("audio_feature_lengths",)
    refuses = ("pixel_values", "pixel_values_videos", "mm_encoder_outputs")
    audio_spans_windows = False
    long_audio = "itself"
    relies_on = relying_on("input_features", "feature_attention_mask")


class OmniPatch(OmniThinkerPatch):
    """The composite; a subclass also derives from the patch of its thinker, which all other members are given."""

    auto_classes = ("AutoModelForMultimodalLM", "AutoModelForTextToWaveform")
    text_options = 'generation_mode="text", thinker_max_new_tokens={count}'
    relies_on: ClassVar[dict[str, tuple[str, ...]]] = {"generate": ("input_ids", "speaker", "kwargs")}
    speech_rate = 24_000

    def inner(self, model: Any) -> Any:
        return getattr(model, "thinker", model)

    def composite_call(self, model: Any, call: dict[str, Any]) -> dict[str, Any]:
        own = ("inputs_embeds", "position_ids")
        return {f"thinker_{name}" if name in own else name: value for name, value in call.items()}
