"""EncoderClock: the time of the encoder itself, with upstream's classes and random weights."""

from __future__ import annotations

import time
from typing import Any

import torch

from hf_tokcomp.inference.timing import wait_for

from .workload import Size

AT_ONCE = 16
"""Number of windows encoded together on a GPU."""


class EncoderClock:
    """Times the audio encoder: all of it on a GPU, one layer on a CPU, where the whole would take minutes.

    Args:
        size: sizes of the encoder.
        device: the device it runs on.
        dtype: dtype of its weights.
    """

    def __init__(self, size: Size, device: torch.device, dtype: torch.dtype) -> None:
        from transformers import Qwen2AudioEncoderConfig
        from transformers.models.qwen2_audio.modeling_qwen2_audio import Qwen2AudioEncoder

        self.size, self.device = size, device
        self.whole = device.type != "cpu"
        config = Qwen2AudioEncoderConfig(
            num_mel_bins=size.mel_bins,
            encoder_layers=size.layers if self.whole else 1,
            encoder_attention_heads=size.heads,
            encoder_ffn_dim=size.ffn,
            d_model=size.width,
            max_source_positions=size.positions,
        )
        config._attn_implementation = "sdpa"
        self.encoder: Any = Qwen2AudioEncoder(config).to(device, dtype).eval()
        self.mel = torch.randn(AT_ONCE if self.whole else 1, size.mel_bins, 2 * size.positions).to(device, dtype)
        self.states = torch.randn(1, size.positions, size.width).to(device, dtype)

    @property
    def how(self) -> str:
        """How the time is obtained, in one sentence."""
        if self.whole:
            return f"The encoder's time is measured whole, {AT_ONCE} windows at once."
        return (
            "The encoder's time is that of one window through the convolutions and one layer, plus "
            f"{self.size.layers - 1} times that of the layer, times the number of windows."
        )

    @torch.inference_mode()
    def seconds(self, windows: int) -> float:
        """Seconds to encode this many windows."""
        if not self.whole:
            one = self._time(lambda: self.encoder(self.mel))
            layer = self._time(lambda: self.encoder.layers[0](self.states, None))
            return scale_up(one, layer, self.size.layers, windows)
        parts = [min(AT_ONCE, windows - start) for start in range(0, windows, AT_ONCE)]
        return self._time(lambda: [self.encoder(self.mel[:count]) for count in parts])

    def _time(self, call: Any) -> float:
        wait_for(self.device)
        start = time.perf_counter()
        call()
        wait_for(self.device)
        return time.perf_counter() - start


def scale_up(one: float, layer: float, layers: int, windows: int) -> float:
    """Seconds of the whole encoder.

    Args:
        one: seconds for one window through an encoder with one layer.
        layer: seconds for one window through a layer.
        layers: number of layers of the encoder.
        windows: number of windows to encode.
    """
    return windows * (one + (layers - 1) * layer)
