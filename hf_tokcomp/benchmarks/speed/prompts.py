"""Prompter: features and prompts for a model without a processor, as a processor and chat template would make them."""

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


class Prompter:
    """Converts sounds to a model's inputs.

    Args:
        config: config of the model, with the sizes of its encoder and the id of its placeholder.
        patch: the patch of the model.
    """

    def __init__(self, config: Any, patch: ModelPatch) -> None:
        from transformers import WhisperFeatureExtractor

        audio, text = config.audio_config, config.get_text_config()
        self.patch, self.audio_token = patch, patch.audio_token_id(SimpleNamespace(config=config))
        self.pad_token = int(text.pad_token_id)
        self.window_seconds = audio.max_source_positions / POSITIONS_PER_SECOND
        self.longest_seconds = LONGEST_SECONDS if patch.audio_spans_windows else self.window_seconds
        seconds = round(self.window_seconds)
        self.extractor: Any = WhisperFeatureExtractor(feature_size=audio.num_mel_bins, chunk_length=seconds)
        self.rate = int(self.extractor.sampling_rate)
        vocabulary = int(text.vocab_size)
        self.before, self.behind = [*SYSTEM, *USER], [*QUESTION, *END, *ASSISTANT]
        if vocabulary <= max(self.before + self.behind):  # of a toy model
            self.before, self.behind = ([self.pad_token + 1] * len(part) for part in (self.before, self.behind))

    def __call__(self, sounds: Sequence[Samples]) -> dict[str, Any]:
        """One prompt for each sound, padded on the left."""
        size = round(self.window_seconds * self.rate)
        windows = [[sound[start : start + size] for start in range(0, len(sound), size)] for sound in sounds]
        made = self.extractor(
            [window for of_one in windows for window in of_one],
            sampling_rate=self.rate,
            return_attention_mask=True,
            return_tensors="pt",
        )
        tokens = iter([self.patch.window_tokens(frames) for frames in made["attention_mask"].sum(-1).tolist()])
        prompts = [self._prompt(sum(next(tokens) for _ in of_one)) for of_one in windows]
        longest = max(map(len, prompts))
        ids = [[self.pad_token] * (longest - len(prompt)) + prompt for prompt in prompts]
        mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        return {
            "input_ids": torch.tensor(ids),
            "attention_mask": torch.tensor(mask),
            "input_features": made["input_features"],
            str(self.patch.feature_mask): made["attention_mask"],
        }

    def _prompt(self, tokens: int) -> list[int]:
        return [*self.before, *[self.audio_token] * tokens, *self.behind]
