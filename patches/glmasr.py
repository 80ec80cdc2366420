"""GLM-ASR: one audio per prompt, up to 655 s, split by the processor into windows of 30 s.

The encoder applies partial rotary embeddings to queries and keys, and does not mask padding: the silence that fills a
window is encoded and attended to like sound. Four of its positions, 50 per second, are concatenated into a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..models.base import ModelPatch, relying_on
from .whisper_encoder.joined import JoinedPositionsPatch


class GlmAsrPatch(JoinedPositionsPatch):
    """`GlmAsrForConditionalGeneration`."""

    model_type = "glmasr"
    model_classes = ("GlmAsrForConditionalGeneration",)
    auto_classes = ("AutoModelForMultimodalLM", "AutoModelForPreTraining", "AutoModelForSeq2SeqLM")
    processor_class = "GlmAsrProcessor"
    feature_mask = "input_features_mask"
    audio_spans_windows = True
    long_audio = "itself"
    several_audios = False
    last_norm = "norm"
    prompt = "<|pad|>{text}"
    lora_targets = JoinedPositionsPatch.lora_targets | {
        "audio_tower": r".*\.audio_tower\..*\.(q_proj|k_proj|v_proj|o_proj|fc1|fc2)"
    }
    relies_on = relying_on("input_features", "input_features_mask", "logits_to_keep")

    def check_call(self, model: Any, call: Mapping[str, Any]) -> None:
        ModelPatch.check_call(self, model, call)
        width = call[self.features].shape[-1]
        if (width + 1) // 2 % self.positions_per_token:
            raise ValueError(
                f"Windows of {width} mel frames do not make whole tokens. Give the processor `padding` for the text "
                "only, as `text_kwargs={'padding': True}`."
            )

    def as_scored(self, model: Any, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        from transformers.models.glmasr.modeling_glmasr import apply_rotary_pos_emb

        tower = self.tower(model)
        layer, place = tower.layers[-1].self_attn, torch.arange(query.shape[1], device=query.device)[None]
        heads = [states.unflatten(-1, (-1, layer.head_dim)) for states in (query, key)]
        query, key = apply_rotary_pos_emb(*heads, *tower.rotary_emb(query, place), unsqueeze_dim=2)
        return query.flatten(2), key.repeat_interleave(layer.num_key_value_groups, 2).flatten(2)


PATCH = GlmAsrPatch()
