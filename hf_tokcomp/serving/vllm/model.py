"""What every served model shares: tower and projector are upstream's, and the tokens between them are compressed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor
from vllm.model_executor.models.utils import AutoWeightsLoader, WeightsMapper

from ...compressors.base import AudioTokenCompressor
from ...generation.audio import compress_audio
from .positions import OriginalPositions, let_the_cpu_correct_positions, with_places
from .served import Served

let_the_cpu_correct_positions()  # vLLM imports this before it loads a model

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
            dim = int(self.config.audio_config.hidden_size)
            self.audio_compressor = AudioTokenCompressor.from_config(config, dim).eval()
        if model_config.multimodal_config.get_limit_per_prompt("audio"):
            patch.check_encoder(patch.around(self.audio_tower, self.multi_modal_projector), config.encoder)

    def _use_upstreams_tower(self) -> None:
        """Replace vLLM's audio tower where it is not transformers' own."""

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Load a checkpoint, with the weights of a compressor that learns."""
        loaded: set[str] = AutoWeightsLoader(self).load_weights(weights, mapper=self.hf_to_vllm_mapper)
        return loaded

    def compressed(self, features: Tensor, mask: Tensor, windows: Sequence[int] | None = None) -> tuple[Tensor, ...]:
        """The compressed audio of a batch of requests, each ``(slots, hidden)``, with places for original positions.

        Args:
            features: ``(windows, mel bins, frames)``.
            mask: ``(windows, frames)``.
            windows: number of windows of each audio; None if every window is an audio.
        """
        slots, record = compress_audio(
            self.served.patch,
            self.audio_compressor,
            self.audio_tower,
            self.multi_modal_projector,
            features,
            mask,
            windows,
        )
        if self.served.config.positions == "contiguous" or record.positions is None:
            return tuple(slots)
        places = [record.positions[row, : len(each)] for row, each in enumerate(slots)]
        return tuple(with_places(*each) for each in zip(slots, places, strict=True))
