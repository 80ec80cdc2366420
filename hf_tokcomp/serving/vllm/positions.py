"""``positions="original"`` in vLLM: where kept tokens are is known after the encoder, and placed before decoding.

vLLM lets a model that prunes video correct the positions of its M-RoPE once the encoder has run. We use the same, with
three positions per token of which rotary embeddings read the first (`sections_of`):

    0  the position: of a text token from the start, of an audio token once its audio was encoded
    1  where the token's audio begins, so that correcting twice (after a preemption) gives the same
    2  the last position of the full prompt, from which decoding goes on

Each slot's place within its audio travels as extra columns of its embedding, as digits: bfloat16 holds integers up to
256 only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .served import Served

BASE = 128
DIGITS = 3
"""Enough for an audio of 2 million tokens."""
CHANNELS = 3


def with_places(slots: Tensor, places: Tensor) -> Tensor:
    """``(slots, hidden + DIGITS)``: embeddings ``(slots, hidden)`` beside their places ``(slots,)``."""
    digits = [places // BASE**power % BASE for power in range(DIGITS)]
    return torch.cat([slots, torch.stack(digits, -1).to(slots)], -1)


def places_of(embeddings: Tensor) -> Tensor:
    """``(slots,)`` long: the places that `with_places` put beside the embeddings."""
    weights = torch.tensor([BASE**power for power in range(DIGITS)], device=embeddings.device)
    return (embeddings[:, -DIGITS:].round().long() * weights).sum(-1)


def first_positions(length: int, audios: Sequence[tuple[int, int, int]]) -> tuple[Tensor, int]:
    """The positions of a prompt before its audio is encoded, and what vLLM adds to a later token's index.

    Args:
        length: tokens of the short prompt.
        audios: of each audio its first token in the prompt, its tokens there, and its tokens before compression.
    """
    positions = torch.arange(length).repeat(CHANNELS, 1)
    gone = 0
    for begin, left, full in sorted(audios):
        positions[:2, begin : begin + left] = begin + gone
        gone += full - left
        positions[:2, begin + left :] = torch.arange(begin + left, length) + gone
    positions[2] = max(0, length + gone - 1)
    return positions, gone


def corrected(positions: Tensor, is_audio: Tensor, computed: int, places: Sequence[Tensor]) -> tuple[Tensor, int]:
    """The positions with those of the audio tokens that are about to be read.

    Args:
        positions: ``(3, prompt)``, as `first_positions` or an earlier call returned them.
        is_audio: ``(prompt,)`` bool, True for placeholders.
        computed: number of tokens that are in the cache already.
        places: of each audio, or stretch of one, the places of its slots, in order.
    """
    positions = positions.clone()
    if places:
        where = is_audio[computed:].nonzero().flatten() + computed
        all_places = torch.cat(list(places)).to(positions)
        where = where[: len(all_places)]
        positions[0, where] = positions[1, where] + all_places
    end = int(positions[2, 0]) + 1 if positions.shape[1] else 0
    return positions, end - positions.shape[1]


class OriginalPositions:
    """What a model of vLLM with compressed audio adds, so that it may have original positions.

    The model has ``served`` and ``audio_token_id``.
    """

    served: Served
    audio_token_id: int

    supports_mrope = True
    supports_multimodal_pruning = True
    supported_video_pruning_methods = ("evs",)

    def get_mrope_input_positions(self, input_tokens: list[int], mm_features: list[Any]) -> tuple[Tensor, int]:
        """The positions of a new prompt ``(3, prompt)``, and what is added to a later token's index."""
        if self.served.config.positions == "contiguous":
            return torch.arange(len(input_tokens)).repeat(CHANNELS, 1), 0
        audios = []
        for feature in mm_features:
            place = feature.mm_position
            audios.append((place.offset, place.length, int(feature.data[FULL_TOKENS].data)))
        return first_positions(len(input_tokens), audios)

    def recompute_mrope_positions(
        self,
        input_ids: list[int] | Tensor,
        multimodal_embeddings: Sequence[Tensor],
        mrope_positions: Tensor,
        num_computed_tokens: int,
    ) -> tuple[list[Tensor], Tensor, int]:
        """The embeddings without their places, and the positions with them."""
        if self.served.config.positions == "contiguous":
            return list(multimodal_embeddings), mrope_positions, 0
        is_audio = torch.as_tensor(input_ids, device=mrope_positions.device) == self.audio_token_id
        places = [places_of(each) for each in multimodal_embeddings]
        positions, delta = corrected(mrope_positions, is_audio, num_computed_tokens, places)
        return [each[:, :-DIGITS] for each in multimodal_embeddings], positions, delta


FULL_TOKENS = "audio_full_tokens"
"""Field of an audio's processed data: its tokens before compression. vLLM keeps it when the audio itself is cached."""
