"""Workloads for the methods: tokens like those of an encoder, and the other inputs a method needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from hf_tokcomp.config.encoder_options import EncoderOptions
from hf_tokcomp.models.registry import supported_models
from hf_tokcomp.models.windows import Windows
from hf_tokcomp.ops.audio_tokens import PER_TOKEN, AudioTokens, FirstLayer


@dataclass(frozen=True)
class Size:
    """Sizes of the models; the defaults are whisper-large-v3's encoder, as in Qwen2-Audio and Audio Flamingo 3.

    Args:
        layers: number of encoder layers.
        width: width of its states, and therefore of an audio token.
        heads: number of its attention heads.
        ffn: inner width of its feed-forward layers.
        mel_bins: mel bins of its input.
        positions: positions of a window at 50 Hz; a token spans two of them.
        hidden: width of the language model (Qwen2-Audio's).
        text_heads: attention heads of the language model.
        words: number of words in the user's question.
    """

    layers: int = 32
    width: int = 1280
    heads: int = 20
    ffn: int = 5120
    mel_bins: int = 128
    positions: int = 1500
    hidden: int = 4096
    text_heads: int = 32
    words: int = 20

    @property
    def window_seconds(self) -> float:
        return self.positions / 50

    @property
    def window_tokens(self) -> int:
        return self.positions // 2

    def windows(self, seconds: float) -> int:
        """Number of windows of an audio, counting a partial last one as full."""
        return max(1, math.ceil(seconds / self.window_seconds))


class Workload:
    """A batch of equally long audios, as output by an encoder.

    Args:
        size: sizes of the models.
        windows: number of windows per audio.
        audios: number of audios in the batch.
        device: the device of the tensors.
        dtype: dtype of the encoder.
    """

    def __init__(self, size: Size, windows: int, audios: int, device: torch.device, dtype: torch.dtype) -> None:
        self.size, self.audios, self.windows = size, audios, windows
        self.device, self.dtype = device, dtype
        self.tokens = windows * size.window_tokens
        self.seconds = windows * size.window_seconds
        self.features = self._draw(size.window_tokens, seed=0, offset=1.0)

    def _draw(self, steps: int, seed: int, offset: float = 0.0) -> Tensor:
        states = draw_states(self.audios * self.windows, steps, self.size.width, seed, offset)
        return states.to(self.device, self.dtype)

    @cached_property
    def _model(self) -> Any:
        """A stand-in for the model, with an encoder that has already run, so that it costs nothing."""
        size = self.size
        attention = nn.Module()
        attention.q_proj = _Ready(1.5 * self._draw(size.positions, seed=1))
        attention.k_proj = _Ready(1.5 * self._draw(size.positions, seed=2))
        head_dim = size.width // size.heads
        for name, value in {"num_heads": size.heads, "head_dim": head_dim, "scaling": head_dim**-0.5}.items():
            setattr(attention, name, value)
        return SimpleNamespace(model=SimpleNamespace(audio_tower=_Tower(attention)))

    @cached_property
    def _projector(self) -> Any:
        projector = nn.Linear(self.size.width, self.size.hidden, device=self.device, dtype=self.dtype)
        return SimpleNamespace(model=SimpleNamespace(multi_modal_projector=projector))

    @cached_property
    def _text(self) -> dict[str, Any]:
        """The question and the first layer: the model has them anyway, so they are created outside the timed code."""
        shape = (self.size.hidden, self.size.hidden)
        query, key = (torch.randn(shape, device=self.device, dtype=self.dtype) for _ in range(2))
        words = torch.randn(self.audios, self.size.words, self.size.hidden, device=self.device, dtype=self.dtype)
        return {"query": words, "first_layer": FirstLayer(query, key, self.size.text_heads, self.size.text_heads)}

    def prepare(self, needs: frozenset[str]) -> None:
        """Draw the inputs of `supply`, outside the timed code."""
        if needs & set(PER_TOKEN) - {"projected"}:
            _ = self._model
        if "projected" in needs:
            _ = self._projector
        if needs & {"query", "first_layer"}:
            _ = self._text

    def supply(self, needs: frozenset[str]) -> AudioTokens:
        """The tokens with what a method needs, computed from recorded projections as in a patched model.

        Raises:
            ValueError: no patch provides it.
        """
        fields: dict[str, Any] = {}
        per_token = needs & set(PER_TOKEN) - {"projected"}
        if per_token:
            frames = [2 * self.size.positions] * len(self.features)
            mask = torch.ones(len(frames), frames[0], dtype=torch.long, device=self.device)
            # This model's patch calls the encoder in the simplest way; all read the same from the last layer.
            whole = EncoderOptions(skip_padding=False)
            windows = Windows(self.features, frames, mask, [0] * len(frames))
            encoded = supported_models()["audioflamingo3"].encode(self._model, windows, needs, whole)
            fields = {name: getattr(encoded, name, None) for name in per_token}
        if "projected" in needs:
            fields["projected"] = supported_models()["qwen2_audio"].project(self._projector, self.features)
        fields = {name: self._whole(value) for name, value in fields.items() if value is not None}
        if needs & {"query", "first_layer"}:
            fields |= {name: value for name, value in self._text.items() if name in needs}
        if missing := sorted(needs - set(fields) - {"query_lengths"}):
            raise ValueError(f"no patch supplies {', '.join(missing)}")
        counts, rate = [self.tokens] * self.audios, supported_models()["qwen2_audio"].frame_rate
        return AudioTokens(
            self._whole(self.features), torch.tensor(counts), counts=list(counts), frame_rate=rate, **fields
        )

    def _whole(self, value: Tensor) -> Tensor:
        return value.view(self.audios, self.tokens, *value.shape[2:])


def draw_states(windows: int, steps: int, width: int, seed: int, offset: float = 0.0) -> Tensor:
    """``(windows, steps, width)`` that resemble encoder states: neighbours are similar, some segments repeat.

    An AR(1) process over time (correlation 0.9) around a common vector; in every window, a sixth repeats one token, and
    a tenth is silence, which is the same in all windows.
    """
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(windows, steps, width, generator=generator)
    for step in range(1, steps):
        states[:, step].mul_(math.sqrt(1 - 0.9**2)).add_(states[:, step - 1], alpha=0.9)
    silence, common = torch.randn(2, width, generator=generator)
    for window in states:
        for share, value in ((6, None), (10, silence)):
            start = int(torch.randint(steps, (1,), generator=generator))
            window[start : start + steps // share] = window[start].clone() if value is None else value
    return states.add_(common, alpha=offset)


class _Ready(nn.Module):
    """A projection with a precomputed result."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states

    def forward(self) -> Tensor:
        return self.states


class _Tower(nn.Module):
    """An encoder that has already run: it calls the projections of its last layer, so that they can be recorded."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        layer = nn.Module()
        layer.self_attn = attention
        self.layers = nn.ModuleList([layer])

    def forward(self, features: Tensor, **_: Any) -> Any:
        attention: Any = self.layers[-1].self_attn
        attention.q_proj()
        attention.k_proj()
        return SimpleNamespace(last_hidden_state=features)
