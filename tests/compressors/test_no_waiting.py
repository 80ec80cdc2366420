"""Compressing asks the device nothing: every question is a wait, and while the host waits no work is queued.

On the meta device there is nothing to read, so whoever asks for a value fails.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from drawn import DETERMINISTIC, MAPS

from hf_tokcomp import AudioTokenCompressor, AudioTokens, CompressionConfig
from hf_tokcomp.ops.audio_tokens import FirstLayer

WAITS = {
    "compose": "its first stage here is ltbm",
    "ltbm": "how many edges the window leaves is read once a round",
    "sa_map": "how many groups there are is read once, which spares stage 2 steps over all tokens",
}
"""Methods that ask, and what for."""
SHAPES = [[30, 30], [30, 17, 1], [1], [2, 2]]


def empty(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta")


def drawn(counts: list[int]) -> AudioTokens:
    """Tokens of which nothing but the shapes is known."""
    audios, tokens = len(counts), max(counts)
    scores = ("attention", "attention_max", "attention_peak", "attention_self")
    return AudioTokens(
        empty(audios, tokens, 8),
        torch.tensor(counts),
        **{name: empty(audios, tokens) for name in scores},
        keys=empty(audios, tokens, 4),
        query=empty(audios, 3, 8),
        projected=empty(audios, tokens, 8),
        first_layer=FirstLayer(query=empty(8, 8), key=empty(8, 8), heads=2, key_heads=2),
        counts=counts,
        frame_rate=25.0,
    )


def compress(counts: list[int], **options: Any) -> None:
    compressor = AudioTokenCompressor.from_config(CompressionConfig(**options), 8).to("meta")
    compressor(drawn(counts))


@pytest.fixture(autouse=True)
def no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is none for the meta device."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())


def options_of(name: str) -> dict[str, Any]:
    return {"method": name, "stages": ["ltbm", "top_k"]} if name == "compose" else {"method": name}


@pytest.mark.parametrize("counts", SHAPES, ids=str)
@pytest.mark.parametrize("name", [name for name in DETERMINISTIC if name not in WAITS])
def test_nothing_is_asked(name: str, counts: list[int]) -> None:
    compress(counts, **options_of(name))


@pytest.mark.parametrize("name", sorted(WAITS))
def test_what_asks_is_known(name: str) -> None:
    with pytest.raises((NotImplementedError, RuntimeError), match="meta"):
        compress([30, 17], **options_of(name))


@pytest.mark.parametrize("name", [name for name in MAPS if name in DETERMINISTIC and name not in WAITS])
def test_chunks_ask_nothing(name: str) -> None:
    options = options_of(name) | {"chunk_seconds": 0.4}
    try:
        CompressionConfig(**options)
    except ValueError:
        pytest.skip(f"{name} does not work in chunks")
    compress([30, 17, 1], **options)


def test_a_budget_by_content_asks_once() -> None:
    with pytest.raises(NotImplementedError, match="meta"):
        compress([30, 17], method="average_pooling", chunk_seconds=0.4, allocation="content")
