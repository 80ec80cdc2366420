"""Turns examples into tensors: masked features, token ids, and the location of the answer in them."""

from functools import lru_cache

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast, Qwen2AudioProcessor

from hf_tokcomp.checkpoints.test_sets.prompts import AUDIO_TOKEN, END_OF_TURN

from . import augment
from .data import Example, ExampleMaker
from .features import LogMel


class Batcher:
    """Draws batches of examples from `maker` and turns them into tensors."""

    def __init__(self, processor: Qwen2AudioProcessor, maker: ExampleMaker) -> None:
        self.maker, self.mel = maker, LogMel(processor.feature_extractor)
        self.tokenizer: PreTrainedTokenizerFast = processor.tokenizer
        self.audio_id = self.tokenizer.convert_tokens_to_ids(AUDIO_TOKEN)
        self.end_id = self.tokenizer.convert_tokens_to_ids(END_OF_TURN)
        self.ids = lru_cache(maxsize=4096)(self._ids)

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def batches(self, size: int, longest: int, sounds: float, questions: float) -> list[list[Example]]:
        """Four batches at once, each with examples of similar length, so that there is little padding."""
        drawn = [self.maker.draw(longest, sounds, questions) for _ in range(4 * size)]
        examples = sorted(drawn, key=lambda example: example.samples)
        groups = [examples[start : start + size] for start in range(0, 4 * size, size)]
        return [groups[i] for i in self.maker.rng.permutation(4)]

    def features(self, examples: list[Example]) -> tuple[Tensor, Tensor]:
        """Masked log-mel features `(audios, bins, frames)` and the number of real frames `(audios,)`."""
        rng = self.maker.rng
        owners = [e for e in examples for _ in e.audios]
        flat = torch.ones(self.mel.filters.shape[0])
        gains = [augment.equaliser(rng, len(flat)) if rng.random() < 0.6 else flat for _ in owners]
        features, frames = self.mel([a for e in examples for a in e.audios], torch.stack(gains))
        for row, length, owner in zip(features, frames.tolist(), owners, strict=True):
            if owner.sounds:
                augment.mask_features(rng, row, length, longest=50, widest=14)
            else:
                augment.mask_features(rng, row, length, longest=6, widest=10)
        return features, frames

    def texts(self, examples: list[Example], counts: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Token ids `(texts, length)`, masks of the prompt and of positions whose next token is part of the answer,
        and those next tokens, concatenated."""
        remaining = iter(counts.tolist())
        rows, starts = [], []
        for example in examples:
            row: list[int] = []
            for token in self.ids(example.request):
                row += [token] * (next(remaining) if token == self.audio_id else 1)
            starts.append(len(row))
            rows.append([*row, *self.ids(example.answer), self.end_id])
        ids = torch.full((len(rows), max(map(len, rows))), self.end_id)
        asked, predicting = torch.zeros(ids.shape, dtype=torch.bool), torch.zeros(ids.shape, dtype=torch.bool)
        for number, (row, start) in enumerate(zip(rows, starts, strict=True)):
            ids[number, : len(row)] = torch.tensor(row)
            asked[number, :start] = True
            predicting[number, start - 1 : len(row) - 1] = True
        return ids, asked, predicting, ids.roll(-1, dims=1)[predicting]
