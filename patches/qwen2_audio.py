"""Qwen2-Audio: several audios per prompt, each up to 30 s; or longer, in windows of 30 s with ``long_audio="windows"``.

FastLongSpeech (arXiv 2507.14815) shows that it makes use of long audio that was encoded in windows of 30 s.

Upstream encodes inline in `Qwen2AudioModel.forward`, so the encoder call is repeated here with the same padding mask.
Its `forward` takes `**kwargs`, but its loss ignores `num_items_in_batch`, so Trainer multiplies loss and gradients by
the number of accumulation steps; `loss_counts_items = False` corrects this.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..models.base import relying_on
from .whisper_encoder.encoder import WhisperEncoderPatch


class Qwen2AudioPatch(WhisperEncoderPatch):
    """`Qwen2AudioForConditionalGeneration`."""

    model_type = "qwen2_audio"
    model_classes = ("Qwen2AudioForConditionalGeneration",)
    auto_classes = ("AutoModelForMultimodalLM", "AutoModelForPreTraining", "AutoModelForSeq2SeqLM")
    processor_class = "Qwen2AudioProcessor"
    feature_mask = "feature_attention_mask"
    audio_spans_windows = False
    long_audio = "windows"
    loss_counts_items = False
    prompt = "<|audio_bos|><|AUDIO|><|audio_eos|>{text}"
    relies_on = relying_on("input_features", "feature_attention_mask")

    def run_encoder(self, model: Any, features: Tensor, mask: Tensor | None) -> Tensor:
        from transformers.masking_utils import (
            create_bidirectional_mask,  # takes a second, as in whisper_encoder/forward.py
        )

        tower = self.tower(model)
        features, mask = features.to(tower.device), torch.as_tensor(mask, device=tower.device)
        positions, _ = tower._get_feat_extract_output_lengths(mask.sum(-1))
        width = (features.shape[-1] - 2) // 2 + 1
        padding = (torch.arange(width, device=positions.device) < positions[:, None]).long()
        dtype = model.get_input_embeddings().weight.dtype
        attention_mask = create_bidirectional_mask(
            config=tower.config,
            inputs_embeds=torch.zeros(len(features), width, 1, dtype=dtype, device=features.device),
            attention_mask=padding,
        )
        return tower(features, attention_mask=attention_mask).last_hidden_state  # type: ignore[no-any-return]


PATCH = Qwen2AudioPatch()
