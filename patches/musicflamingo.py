"""Music Flamingo and Audio Flamingo Next: Audio Flamingo 3 with a rotary time embedding, up to 20 minutes.

After the encoder, states are rotated by the index of their window and by their time within the audio; they are
compressed in the form the projector would read. The rotation is that of a full window, however short the sound.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..config.encoder_options import EncoderOptions
from ..models.base import EncodedWindows, ModelPatch
from ..models.windows import Windows
from .audioflamingo3 import AudioFlamingo3Patch


class MusicFlamingoPatch(AudioFlamingo3Patch):
    """`MusicFlamingoForConditionalGeneration`."""

    model_type = "musicflamingo"
    model_classes = ("MusicFlamingoForConditionalGeneration",)
    processor_class = "MusicFlamingoProcessor"

    def around(self, audio_tower: nn.Module, projector: nn.Module) -> Any:
        return ModelPatch.around(self, audio_tower, projector)  # the rotation is a module of its own

    def encode(self, model: Any, windows: Windows, needs: frozenset[str], options: EncoderOptions) -> EncodedWindows:
        from transformers.models.musicflamingo.modeling_musicflamingo import apply_rotary_time_emb

        encoded = super().encode(model, windows, needs, options)
        states, full = encoded.features, self.window_tokens(self.window_frames(model))
        step = model.config.audio_frame_step * 4  # mel frames per token
        numbers = torch.tensor(windows.numbers, device=states.device)
        times = numbers[:, None] * full * step + torch.arange(full, device=states.device, dtype=torch.float32) * step
        cos, sin = (part[:, : states.shape[1]] for part in model.model.pos_emb(times, seq_len=full))
        encoded.features = apply_rotary_time_emb(states, cos, sin)
        return encoded


PATCH = MusicFlamingoPatch()
