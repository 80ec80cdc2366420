"""What every served model shares: tower and projector are upstream's, and the tokens between them are compressed."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

from torch import Tensor
from vllm.model_executor.models.utils import AutoWeightsLoader, WeightsMapper

from ...compressors.base import AudioTokenCompressor
from ...config.config import CompressionConfig
from ...generation.audio import compress_audio
from .positions import OriginalPositions, with_places
from .processing import BUDGET, WINDOWS
from .served import Served
from .wrapped import wrap_vllm

wrap_vllm()  # vLLM imports this module before it loads a model

NAMES = WeightsMapper(
    orig_to_new_prefix={
        "model.audio_tower.": "audio_tower.",
        "model.multi_modal_projector.": "multi_modal_projector.",
        "model.language_model.": "language_model.model.",
        "language_model.model.model.": "language_model.model.",  # as transformers 5.19 saves Qwen2-Audio
        "lm_head.": "language_model.lm_head.",
    }
)
"""From transformers' names of weights, and of adapters, to vLLM's."""


class CompressedAudioModel(OriginalPositions):
    """Put before vLLM's class of a model."""

    hf_to_vllm_mapper = NAMES
    audio_tower: Any
    multi_modal_projector: Any
    config: Any

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)  # type: ignore[call-arg]
        model_config = vllm_config.model_config
        self.served = Served.of(model_config)
        config, patch = self.served.config, self.served.patch
        self.audio_token_id = patch.audio_token_id(self)
        with self._mark_tower_model(vllm_config, "audio"):  # type: ignore[attr-defined]
            self._use_upstreams_tower()
            parts = patch.around(self.audio_tower, self.projector)
            self.audio_compressor = AudioTokenCompressor.from_config(config, patch.feature_dim(parts)).eval()
        if model_config.multimodal_config.get_limit_per_prompt("audio"):
            patch.check_encoder(parts, config.encoder)

    def _use_upstreams_tower(self) -> None:
        """Replace vLLM's audio tower where it is not transformers' own."""

    @property
    def projector(self) -> Any:
        """What maps encoder space to the language model's."""
        return self.multi_modal_projector

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Load a checkpoint, with the weights of a compressor that learns."""
        loaded: set[str] = AutoWeightsLoader(self).load_weights(weights, mapper=self.hf_to_vllm_mapper)
        return loaded

    def _parse_and_validate_audio_input(self, **kwargs: Any) -> Any:
        ours = {name: kwargs[name] for name in (BUDGET, WINDOWS) if name in kwargs}
        audio_input = super()._parse_and_validate_audio_input(**kwargs)  # type: ignore[misc]
        for name, value in ours.items():
            setattr(audio_input, name, value)
        return audio_input

    def compressed(
        self, features: Tensor, mask: Tensor | None, windows: Sequence[int] | None = None, *, budgets: Tensor
    ) -> tuple[Tensor, ...]:
        """The compressed audio of a batch of requests, each ``(slots, hidden)``, with places for original positions.

        Args:
            features: ``(windows, mel bins, frames)``.
            mask: ``(windows, frames)``; None for a model that takes none.
            windows: number of windows of each audio; None if every window is an audio.
            budgets: ``(audios, 3)``, of each audio what `budget_of` gives.
        """
        numbers = [1] * len(features) if windows is None else [int(n) for n in windows]
        ends = list(accumulate(numbers))
        of_budget: dict[str, list[int]] = {}
        rows = budgets.tolist()
        for audio, row in enumerate(rows):
            of_budget.setdefault(str(row), []).append(audio)
        found: list[Tensor] = [features] * len(numbers)
        for audios in of_budget.values():
            used = [window for audio in audios for window in range(ends[audio] - numbers[audio], ends[audio])]
            given = (features, mask) if len(of_budget) == 1 else (features[used], None if mask is None else mask[used])
            several = None if windows is None else [numbers[audio] for audio in audios]
            for audio, slots in zip(audios, self._compressed_alike(rows[audios[0]], *given, several), strict=True):
                found[audio] = slots
        return tuple(found)

    def _compressed_alike(
        self, budget: Sequence[float], features: Tensor, mask: Tensor | None, windows: Sequence[int] | None
    ) -> list[Tensor]:
        """`compressed`, for audios of one budget."""
        config = self.served.with_budget(budget)
        compressor = self.audio_compressor if config is self.served.config else _compressor_of(config)
        slots, record = compress_audio(
            self.served.patch,
            compressor,
            self.audio_tower,
            self.projector,
            features,
            mask,
            windows,
        )
        if config.positions == "contiguous" or record.positions is None:
            return slots
        places = [record.positions[row, : len(each)] for row, each in enumerate(slots)]
        return [with_places(*each) for each in zip(slots, places, strict=True)]


@functools.lru_cache(maxsize=64)
def _compressor_of(config: CompressionConfig) -> AudioTokenCompressor[Any]:
    """The compressor of a request; it has no weights."""
    return AudioTokenCompressor.from_config(config).eval()
