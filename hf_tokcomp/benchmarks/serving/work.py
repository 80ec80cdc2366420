"""The operations of a request, counted on a model without weights, however large it is."""

from __future__ import annotations

from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ...config.encoder_options import EncoderOptions
from ...models.base import ModelPatch
from ...models.cache_names import CACHE, cache_of
from ...models.encoder.reuse import encode
from ...models.windows import AudioInputs, Windows
from ..speed.operations import counting
from .bounds import WORK


class Weightless:
    """A model of which only the shapes exist: calls take no memory, and their operations can be counted.

    Args:
        config: the model's transformers config.
        patch: its patch.
    """

    def __init__(self, config: Any, patch: ModelPatch) -> None:
        import transformers

        self.patch, self._mode = patch, FakeTensorMode()
        self.hidden = int(config.get_text_config().hidden_size)
        with self._mode:
            auto: Any = getattr(transformers, patch.auto_classes[0])
            self.model = patch.inner(auto.from_config(config, dtype=torch.bfloat16)).eval()

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(weight.numel() for weight in self.model.parameters())

    @torch.inference_mode()
    def operations(
        self, audio: AudioInputs, slots: int, prompt: int, new_tokens: int, options: EncoderOptions
    ) -> dict[str, float]:
        """Operations of a request by part, see `WORK`; the compressor's own are left out.

        Args:
            audio: its audio, as `ModelPatch.audio_inputs` reads it from the model's inputs.
            slots: audio tokens that reach the projector.
            prompt: tokens of the whole prompt.
            new_tokens: tokens of the answer.
            options: what the compression asks of the encoder.
        """
        frames = [int(n) for n in audio.frames.tolist()]
        features = audio.features.to(torch.bfloat16)
        with self._mode:
            mask = None if audio.mask is None else self._mode.from_tensor(audio.mask)
            windows = Windows(self._mode.from_tensor(features), frames, mask, list(range(len(frames))))
            with counting() as encoder:
                states = encode(self.model, self.patch, windows, frozenset(), options).features
            with counting() as projector:
                self.patch.project(self.model, states.new_empty(1, slots, states.shape[-1]))
            with counting() as prefill:
                cache = self._read(prompt)
            first, second = (self._step(cache) for _ in range(2))
        # Every step reads one more token than the one before; the first token comes from the prefill.
        steps = new_tokens - 1
        decode = steps * first + (second - first) * steps * (steps - 1) / 2
        counted = (encoder.get_total_flops(), projector.get_total_flops(), prefill.get_total_flops(), decode)
        return dict(zip(WORK, map(float, counted), strict=True))

    def _read(self, tokens: int, **given: Any) -> Any:
        """The language model and its head, which an engine runs on the last column only; the cache."""
        embeddings = torch.empty(1, tokens, self.hidden, dtype=torch.bfloat16)
        output = self.patch.language_model(self.model)(inputs_embeds=embeddings, use_cache=True, **given)
        self.model.get_output_embeddings()(output.last_hidden_state[:, -1:])
        return cache_of(output)

    def _step(self, cache: Any) -> int:
        with counting() as step:
            self._read(1, **{CACHE: cache})
        return int(step.get_total_flops())
