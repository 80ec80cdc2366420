"""Listener and Prompter: features and prompts for a model without a processor, as a processor would make them."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch

from ...audio.loading import Samples
from ...models.base import ModelPatch

SYSTEM = (151644, 8948, 198, 2610, 525, 264, 10950, 17847, 13, 151645, 198)
"""<|im_start|>system, You are a helpful assistant., <|im_end|>, in the vocabulary of both models."""
USER, ASSISTANT, END = (151644, 872, 198), (151644, 77091, 198), (151645, 198)
QUESTION = tuple(range(1000, 1008))
"""As many ids as in a short question; their values do not matter."""
POSITIONS_PER_SECOND = 50
"""Positions per second of a Whisper-type encoder."""
LONGEST_SECONDS = 600.0
"""Maximum length of an audio for models that take several windows."""


class Listener:
    """Converts sounds to the inputs of a model that reads no prompt.

    Args:
        config: config of the model, with the sizes of its encoder.
        patch: the patch of the model.
    """

    def __init__(self, config: Any, patch: ModelPatch) -> None:
        from transformers import WhisperFeatureExtractor

        audio = getattr(config, "audio_config", config)
        self.patch = patch
        self.window_seconds = audio.max_source_positions / POSITIONS_PER_SECOND
        self.longest_seconds = LONGEST_SECONDS if patch.audio_spans_windows else self.window_seconds
        seconds = round(self.window_seconds)
        self.extractor: Any = WhisperFeatureExtractor(feature_size=audio.num_mel_bins, chunk_length=seconds)
        self.rate = int(self.extractor.sampling_rate)

    def __call__(self, sounds: Sequence[Samples]) -> dict[str, Any]:
        """A window for each sound."""
        return self.windows(sounds)

    def windows(self, windows: Sequence[Samples]) -> dict[str, Any]:
        """The features of windows, and which of their frames are sound."""
        made = self.extractor(list(windows), sampling_rate=self.rate, return_attention_mask=True, return_tensors="pt")
        return {"input_features": made["input_features"], str(self.patch.feature_mask): made["attention_mask"]}


class Prompter(Listener):
    """Converts sounds to a model's inputs, with a prompt for each.

    Args:
        config: config of the model, with the sizes of its encoder and the id of its placeholder.
        patch: the patch of the model.
    """

    def __init__(self, config: Any, patch: ModelPatch) -> None:
        super().__init__(config, patch)
        text = config.get_text_config()
        self.audio_token = patch.audio_token_id(SimpleNamespace(config=config))
        self.pad_token = int(text.pad_token_id)
        vocabulary = int(text.vocab_size)
        self.before, self.behind = [*SYSTEM, *USER], [*QUESTION, *END, *ASSISTANT]
        if vocabulary <= max(self.before + self.behind):  # of a toy model
            self.before, self.behind = ([self.pad_token + 1] * len(part) for part in (self.before, self.behind))

    def __call__(self, sounds: Sequence[Samples]) -> dict[str, Any]:
        """One prompt for each sound, padded on the left."""
        size = round(self.window_seconds * self.rate)
        windows = [[sound[start : start + size] for start in range(0, len(sound), size)] for sound in sounds]
        made = self.windows([window for of_one in windows for window in of_one])
        frames = made[str(self.patch.feature_mask)].sum(-1).tolist()
        tokens = iter(map(self.patch.window_tokens, frames))
        prompts = [self._prompt(sum(next(tokens) for _ in of_one)) for of_one in windows]
        longest = max(map(len, prompts))
        ids = [[self.pad_token] * (longest - len(prompt)) + prompt for prompt in prompts]
        mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask), **made}

    def _prompt(self, tokens: int) -> list[int]:
        return [*self.before, *[self.audio_token] * tokens, *self.behind]
