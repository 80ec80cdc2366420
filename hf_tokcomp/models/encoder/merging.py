"""Merging between the encoder's layers, after ToMe (arXiv 2210.09461), implemented from the paper.

The paper: between layers, tokens alternate between two sets A and B. Each token in A is matched with the most similar
one in B by the cosine of the layer's keys, averaged over heads; the best edges merge into a size-weighted mean, the
same number in every layer. A token that stands for s others counts s times in attention: log s is added to its scores.

Our choices: the merged tokens are the encoder's positions, 50 per second. The paper merges between attention and MLP;
here layers are unchanged, and their outputs are merged after every layer except the last. The total number of merges is
a fraction of a window's positions, spread evenly over the layers, so it depends on neither the batch nor the depth.
After the last layer, every position gets back the state of the position it was merged into: the time scale is kept, and
the budget alone decides how many tokens reach the language model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...ops.assignment import sum_per_slot
from ...ops.device import on_device
from ...ops.merging import one_round


def positions_left(positions: int, fraction: float, rounds: int) -> list[int]:
    """Number of a window's positions left after each round.

    Args:
        positions: number of valid positions in the window.
        fraction: fraction of them to merge in total. A round merges at most half of the remaining positions, so a few
            rounds may not reach it.
        rounds: number of rounds.
    """
    merged, left, found = int(positions * fraction + 0.5), positions, []
    for number in range(1, rounds + 1):
        left = max(positions - merged * number // rounds, left - left // 2)
        found.append(left)
    return found


@dataclass(eq=False)
class MergedPositions:
    """The positions of each window left between two layers.

    Args:
        left: number of positions left in each window.
        size: ``(windows, width)`` float32, number of original positions each one stands for.
        place: ``(windows, positions)`` long, index of the position each original one was merged into.
    """

    left: list[int]
    size: Tensor
    place: Tensor

    @classmethod
    def separate(cls, left: list[int], width: int, device: torch.device) -> MergedPositions:
        """The initial state, with nothing merged."""
        place = torch.arange(width, device=device).expand(len(left), width)
        return cls(list(left), torch.ones(len(left), width, device=device), place)

    def merge(self, states: Tensor, keys: Tensor, left: list[int]) -> Tensor:
        """Run one round of merging.

        Args:
            states: ``(windows, width, dim)``; gradients flow through.
            keys: ``(windows, width, head_dim)``, compared to find similar positions.
            left: number of positions to leave in each window.

        Returns:
            ``(windows, new width, dim)`` in the dtype of ``states``.
        """
        if left == self.left:
            return states
        with torch.no_grad():
            joined = one_round(keys, self.left, left).to(states.device)
            size, width = self.size.to(states.device)[..., None], max(left)
            total = sum_per_slot(size, joined, width)
            weight = size / total.gather(1, joined.clamp(min=0)[..., None]).clamp(min=1)
            self.place = joined.clamp(min=0).gather(1, self.place.to(states.device))
            self.left, self.size = left, total[..., 0]
        wide = torch.promote_types(states.dtype, torch.float32)
        return sum_per_slot(states.to(wide) * weight.to(wide), joined, width).to(states.dtype)

    def mask(self, dtype: torch.dtype) -> Tensor:
        """``(windows, 1, 1, width)``, added to attention scores: log size, or the dtype's minimum for padding."""
        real = torch.arange(self.size.shape[1], device=self.size.device) < self._lengths()[:, None]
        scores = torch.where(real, self.size.clamp(min=1).log(), torch.finfo(dtype).min)
        return scores[:, None, None].to(dtype)

    def _lengths(self) -> Tensor:
        # Attention over padding alone is undefined, so a window without sound gets one position, which is never read.
        return on_device([max(1, n) for n in self.left], self.size.device)


def restored(states: Tensor, place: Tensor) -> Tensor:
    """Map ``(windows, width, dim)`` to ``(windows, positions, dim)``: each position gets the state it was merged into.

    Args:
        states: states of the positions left.
        place: ``(windows, positions)``, index of the position each original one was merged into.
    """
    place = place.to(states.device)
    return states.gather(1, place[..., None].expand(*place.shape, states.shape[2]))
