"""Losses on the encoder alone, used in training and then thrown away."""

import torch
from torch import Tensor, nn

from .data import Example
from .sources import DIGITS, SOUNDS


class AuxiliaryHeads(nn.Module):
    """Two heads on the encoder, for training only: CTC over digits and a classifier of the mean state.

    Without them the encoder learns nothing until the language model has learned to listen to it.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.digits = nn.Linear(width, len(DIGITS) + 1)
        self.sounds = nn.Linear(width, len(SOUNDS))

    def forward(self, states: Tensor, counts: Tensor, examples: list[Example]) -> Tensor:
        targets = [torch.tensor(d, dtype=torch.long) + 1 for e in examples for d in e.digits]
        speech = [i for i, target in enumerate(targets) if len(target)]
        owners = [e.sound for e in examples for _ in e.audios]
        sounds = [i for i, sound in enumerate(owners) if sound >= 0]
        loss = states.new_zeros(())
        if speech:
            log_probabilities = self.digits(states[speech]).float().log_softmax(-1).transpose(0, 1)
            wanted = [targets[i] for i in speech]
            lengths = torch.tensor([len(t) for t in wanted])
            loss = loss + len(speech) / len(owners) * nn.functional.ctc_loss(
                log_probabilities, torch.cat(wanted), counts[speech], lengths, zero_infinity=True
            )
        if sounds:
            real = torch.arange(states.shape[1]) < counts[sounds][:, None]
            means = (states[sounds] * real[..., None]).sum(1) / counts[sounds][:, None]
            classes = torch.tensor([owners[i] for i in sounds])
            loss = loss + len(sounds) / len(owners) * nn.functional.cross_entropy(self.sounds(means).float(), classes)
        return loss
