"""Prompter: features and prompts for a model without a processor, as its processor and chat template would make them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ...audio import Samples
from ...model_patch import ModelPatch

SYSTEM = (151644, 8948, 198, 2610, 525, 264, 10950, 17847, 13, 151645, 198)
"""<|im_start|>system, You are a helpful assistant., <|im_end|>, in the vocabulary that both models have."""
USER, ASSISTANT, END = (151644, 872, 198), (151644, 77091, 198), (151645, 198)
QUESTION = tuple(range(1000, 1008))
"""As many ids as a short question has; which ones does not matter."""
LONGEST_SECONDS = 600.0
"""Of an audio, where a model takes several windows."""


class Prompter:
    """From sounds to a model's inputs.

    Args:
        model: with the sizes of its encoder and the id of its placeholder.
        patch: what is known of it.
    """

    def __init__(self, model: Any, patch: ModelPatch) -> None:
        from transformers import WhisperFeatureExtractor

        self.patch, self.audio_token = patch, patch.audio_token_id(model)
        self.pad_token = int(model.config.get_text_config().pad_token_id)
        self.window_seconds = patch.window_frames(model) / 100
        self.longest_seconds = LONGEST_SECONDS if patch.audio_spans_windows else self.window_seconds
        bins = model.config.audio_config.num_mel_bins
        self.extractor: Any = WhisperFeatureExtractor(feature_size=bins, chunk_length=round(self.window_seconds))
        self.rate = int(self.extractor.sampling_rate)
        vocabulary = int(model.config.get_text_config().vocab_size)
        self.before, self.behind = (*SYSTEM, *USER), (*QUESTION, *END, *ASSISTANT)
        if vocabulary <= max(*self.before, *self.behind):  # a toy model's
            self.before, self.behind = (tuple(self.pad_token + 1 for _ in part) for part in (self.before, self.behind))

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
            self.patch.feature_mask: made["attention_mask"],
        }

    def _prompt(self, tokens: int) -> list[int]:
        return [*self.before, *[self.audio_token] * tokens, *self.behind]
