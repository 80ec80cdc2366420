"""Audios and configs for the tests of methods: ragged, drifting or full of ties, with all a method may ask for."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
import torch
from oracles import HIDDEN, KEY_WEIGHT, QUERY_WEIGHT, Audio
from torch import Tensor

from hf_tokcomp import AudioTokenCompressor, AudioTokens, CompressionConfig, methods
from hf_tokcomp.config.checks import annotations_of, kinds_of, metadata_of
from hf_tokcomp.ops.audio_tokens import FirstLayer

DIM = 8  # width of the features
METHODS = list(methods())
BUDGETED = [name for name, method in methods().items() if method.config_class.accepts_budget]
MAPS = [name for name, m in methods().items() if m.compressor_class.forward is AudioTokenCompressor.forward]
LEARNED = [name for name, method in methods().items() if method.learns]
CLASSES = [method.config_class for method in methods().values()]
SHARED = {field.name for field in dataclasses.fields(CompressionConfig)}
DETERMINISTIC = [name for name, method in methods().items() if method.deterministic_length]

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "cdpruner": [{"relevance": "query", "similarity": "keys"}],
    "sa_map": [{"threshold": 0.4}, {"threshold": -0.9}, {"threshold": 1.0}],
    "compose": [
        {"stages": [{"method": "global_merge"}, {"method": "average_pooling", "max_tokens": 4}]},
        {"stages": [{"method": "average_pooling"}, {"method": "segmentwise_top_k", "tokens_per_second": 5}]},
        {"stages": [{"method": "segmentwise_top_k"}, {"method": "top_k", "max_tokens": 5, "order": "attention"}]},
        {"stages": [{"method": "ltbm", "chunk_seconds": 0.4}, {"method": "stride"}, {"method": "global_merge"}]},
        {"stages": ["segmentation", {"method": "a_tome", "threshold": 0.5}]},
        {"stages": ["visionzip", "visionzip"]},
    ],
    "conv_resampler": [{"layers": 1, "kernel_size": 1}, {"kernel_size": 4}, {"layers": 3}],
    "query_resampler": [{"heads": 1, "head_dim": 3}, {"context": 0, "heads": 2}, {"context": 3, "heads": 3}],
    "a_tome": [{"threshold": 0.4}, {"threshold": -0.3, "similarity": "features"}],
    "global_merge": [{"chunk_seconds": 0.3}],
    "ltbm": [{"window": 1}, {"window": 2}, {"window": 3}, {"window": 1000}],
    "fastadasp": [{"chunk_seconds": 0.6}],
    "random": [{"seed": 1}, {"seed": 123456789}],
    "segmentwise_top_k": [
        *({"segments": segments} for segments in (1, 2, 3, 1000)),
        {"segment_seconds": 0.2, "remainder": "spread", "head_reduction": "max"},
    ],
    "segmentation": [{"min_duration": 0.16}, {"max_duration": 0.2}, {"min_duration": 0.3, "max_duration": 0.37}],
    "speechprune": [{"phase1_tokens": 20, "frame_seconds": 0.2}, {"chunk_seconds": 0.8}],
    "top_k": [{"allocation": "content", "chunk_seconds": 0.28}],
    "visionzip": [
        {"contextual_ratio": 0},
        {"contextual_ratio": 1.0, "contextual": "mean"},
        {"contextual_ratio": 30.0, "similarity": "features"},
    ],
}
"""Options worth a test beside the defaults, and beside those that `tried` finds by itself."""
REQUIRED: dict[str, dict[str, Any]] = {
    "compose": {
        "stages": [{"method": "ltbm", "retention_ratio": 0.6}, {"method": "average_pooling", "retention_ratio": 0.5}]
    }
}
"""Options without which there is no such config."""
BUDGETS = {"retention_ratio", "tokens_per_second", "max_tokens"}
INSTEAD = {name: set(method.config_class.instead_of_budget) for name, method in methods().items()}
"""Options that take the place of a budget."""


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """A search that never finds its next edge must fail, not hang; for the modules that import this."""

    def stop(*_: Any) -> None:
        raise TimeoutError("this should take milliseconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def tried(cls: type[CompressionConfig]) -> list[dict[str, Any]]:
    """Every other choice of the method's own options, the smallest integer, and a float within the range.

    So a new option is tested by what its field says. Where `VARIANTS` names a number, those there are enough.
    """
    named = set().union(*(options for options in VARIANTS.get(cls.method, [])))
    found: list[tuple[str, Any]] = []
    for field in dataclasses.fields(cls):
        if field.name in SHARED:
            continue
        limits = metadata_of(cls, field.name)
        for kind in kinds_of(annotations_of(cls)[field.name]):
            if kind is bool:
                found.append((field.name, not field.default))
            elif get_origin(kind) is Literal:
                found += [(field.name, choice) for choice in get_args(kind)]
            elif kind in (int, float) and field.name not in named:
                low = limits.get("at_least", limits.get("above", 0))
                middle = (low + limits["at_most"]) / 2 if "at_most" in limits else low + 1
                value = middle if kind is float else limits.get("at_least", low + 1)
                found.append((field.name, value + 1 if value == field.default and kind is int else value))
        found = [(name, value) for name, value in found if value != cls.__dataclass_fields__[name].default]
    return [{name: value} for name, value in found if {name: value} not in VARIANTS.get(cls.method, [])]


def variants() -> list[Any]:
    """Every registered method with its defaults, with what `tried` finds, and with every option above."""
    assert set(VARIANTS) <= set(METHODS), "an option of a method that is gone"
    return [
        (name, options)
        for name, method in methods().items()
        for options in [{}, *tried(method.config_class), *VARIANTS.get(name, [])]
    ]


def config(method: str, **values: Any) -> CompressionConfig:
    """The method's config; a budget is left out where the method or an option refuses one."""
    if method not in BUDGETED or INSTEAD.get(method, set()) & set(values):
        values = {k: v for k, v in values.items() if k not in BUDGETS}
    return CompressionConfig(method=method, **REQUIRED.get(method, {}) | values)


def compressor(method: str, **values: Any) -> AudioTokenCompressor[Any]:
    return trained(AudioTokenCompressor.from_config(config(method, **values), DIM))


def trained(module: Any, seed: int = 5) -> Any:
    """Random weights for a compressor that learns: before training, parts of it do nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in module.state_dict().values():
            value.copy_(torch.randn(value.shape, generator=generator) * 0.3)
    return module


def draw(rng: np.random.Generator, n: int, kind: str = "walk", dim: int = DIM) -> Audio:
    """An audio of `n` tokens: neighbours alike ("walk"), or a few vectors and scores over and over ("ties")."""

    def walk(width: int) -> np.ndarray:
        steps = rng.normal(size=(n, width))
        for before, here in pairwise(steps):
            here += 0.8 * before  # drawn back to zero, or late neighbours would all be alike
        return steps.astype(np.float32)

    if kind == "ties":
        # Unit vectors: every first cosine is exactly 0 or 1, and nothing cancels when they are averaged.
        features = np.eye(4, dim, dtype=np.float32)[rng.integers(4, size=n)]
        attention, *others = (rng.integers(1, 4, size=n).astype(np.float32) / 2 for _ in range(4))
        keys = np.eye(4, dtype=np.float32)[rng.integers(4, size=n)]
    else:
        features, keys = walk(dim), walk(4)
        attention, *others = (rng.gamma(1.0, size=n).astype(np.float32) for _ in range(4))
    # Questions of no, one or several words.
    query = rng.normal(size=(n % 4, HIDDEN)).astype(np.float32)
    return Audio(features, attention, keys, query, walk(HIDDEN), *others)


def batch(
    audios: list[Audio], padding: float = float("nan"), extra: int = 0, dtype: Any = torch.float32
) -> AudioTokens:
    """The audios side by side; what lies beyond an audio's tokens holds `padding`."""
    width = max((len(audio.features) for audio in audios), default=0) + extra

    def pad(name: str) -> Tensor:
        rows = [torch.from_numpy(getattr(audio, name)) for audio in audios]
        out = torch.full((len(rows), width, *rows[0].shape[1:]), padding)
        for i, row in enumerate(rows):
            out[i, : len(row)] = row
        return out

    words = [len(audio.query) for audio in audios]
    query = torch.full((len(audios), max(words, default=0), HIDDEN), padding)
    for row, audio in zip(query, audios, strict=True):
        row[: len(audio.query)] = torch.from_numpy(audio.query)
    return AudioTokens(
        features=pad("features").to(dtype),
        lengths=torch.tensor([len(audio.features) for audio in audios]),
        attention=pad("attention"),
        attention_max=pad("attention_max"),
        attention_peak=pad("attention_peak"),
        attention_self=pad("attention_self"),
        keys=pad("keys").to(dtype),
        query=query.to(dtype),
        query_lengths=torch.tensor(words),
        projected=pad("projected").to(dtype),
        first_layer=first_layer(),
        frame_rate=25.0,
    )


def first_layer() -> FirstLayer:
    """The oracles' first layer, as the library takes it: two query heads share a key head."""
    return FirstLayer(torch.from_numpy(QUERY_WEIGHT), torch.from_numpy(KEY_WEIGHT), heads=4, key_heads=2)


def changed(cls: type[CompressionConfig]) -> CompressionConfig:
    """A config with no field at its default, as far as its types tell."""
    skips = cls.__dataclass_fields__["skip_padding"].default
    values: dict[str, Any] = {"positions": "original", "skip_padding": not skips}
    if cls.method == "compose":
        return cls(stages=["stride", {"method": "ltbm", "window": 3}], **values)  # type: ignore[call-arg]
    if cls.accepts_budget:
        values["max_tokens"] = 7
    for field in dataclasses.fields(cls):
        if field.name not in SHARED and isinstance(field.default, bool):
            values[field.name] = not field.default
        elif field.name not in SHARED and isinstance(field.default, int):
            values[field.name] = field.default + 1
    return cls(**values)
