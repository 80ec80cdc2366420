"""Losses on the encoder alone, used in training and then thrown away."""

import torch
from torch import Tensor, nn

from .data import Example
from .sources import DIGITS, SAMPLE_RATE, SOUNDS

SAMPLES_PER_TOKEN = SAMPLE_RATE // 25


class AuxiliaryHeads(nn.Module):
    """Two heads on the encoder, for training only: CTC over digits and a classifier of each sound's mean state.

    Without them the encoder learns nothing until the language model has learned to listen to it.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.digits = nn.Linear(width, len(DIGITS) + 1)
        self.sounds = nn.Linear(width, len(SOUNDS))

    def forward(self, states: Tensor, counts: Tensor, examples: list[Example]) -> Tensor:
        targets = [torch.tensor(d, dtype=torch.long) + 1 for e in examples for d in e.digits]
        speech = [i for i, target in enumerate(targets) if len(target)]
        owners = [e for e in examples for _ in e.audios]
        heard = [(i, *sound) for i, owner in enumerate(owners) for sound in owner.sounds]
        loss = states.new_zeros(())
        if speech:
            log_probabilities = self.digits(states[speech]).float().log_softmax(-1).transpose(0, 1)
            wanted = [targets[i] for i in speech]
            lengths = torch.tensor([len(t) for t in wanted])
            loss = loss + len(speech) / len(owners) * nn.functional.ctc_loss(
                log_probabilities, torch.cat(wanted), counts[speech], lengths, zero_infinity=True
            )
        if heard:
            rows, classes, starts, ends = (torch.tensor(column) for column in zip(*heard, strict=True))
            tokens = torch.arange(states.shape[1])
            inside = (tokens >= starts[:, None] // SAMPLES_PER_TOKEN) & (tokens < ends[:, None] // SAMPLES_PER_TOKEN)
            means = (states[rows] * inside[..., None]).sum(1) / inside.sum(1, keepdim=True).clamp(min=1)
            share = sum(bool(owner.sounds) for owner in owners) / len(owners)
            loss = loss + share * nn.functional.cross_entropy(self.sounds(means).float(), classes)
        return loss
