"""Merging between the encoder's layers, after ToMe (arXiv 2210.09461), derived anew from the paper.

The paper: between layers, tokens alternate between two sets A and B; every a finds its most similar b, by the cosine of
the layer's keys, averaged over heads; the best edges merge into a mean weighted by size, as many in every layer; and a
token that stands for s others counts s times in attention, log s being added to its scores.

Our readings: it is the encoder's positions that merge, 50 per second. The paper merges between attention and MLP; here
a layer stays as it is, and what it leaves is merged, after every layer but the last. How many merge in all is a share
of a window's positions, spread evenly, so that it depends neither on the batch nor on the depth. Behind the last layer
every position gets back the state of what it was merged into: time keeps its scale, and how many tokens reach the
language model stays the business of the budget.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...ops.assignment import sum_per_slot
from ...ops.device import on_device
from ...ops.merging import one_round


def positions_left(positions: int, fraction: float, rounds: int) -> list[int]:
    """How many of a window's positions are left after each round.

    Args:
        positions: valid positions of the window.
        fraction: share of them that merges in all. A round merges half of what is there at most, so few rounds may not
            reach it.
        rounds: how often there is merging.
    """
    merged, left, found = int(positions * fraction + 0.5), positions, []
    for number in range(1, rounds + 1):
        left = max(positions - merged * number // rounds, left - left // 2)
        found.append(left)
    return found


@dataclass(eq=False)
class MergedPositions:
    """The positions of each window that are left between two layers.

    Args:
        left: how many there are in each window.
        size: ``(windows, width)`` float32, how many original positions each stands for.
        place: ``(windows, positions)`` long, where each original position went.
    """

    left: list[int]
    size: Tensor
    place: Tensor

    @classmethod
    def separate(cls, left: list[int], width: int, device: torch.device) -> MergedPositions:
        """Nothing is merged yet."""
        place = torch.arange(width, device=device).expand(len(left), width)
        return cls(list(left), torch.ones(len(left), width, device=device), place)

    def merge(self, states: Tensor, keys: Tensor, left: list[int]) -> Tensor:
        """One round.

        Args:
            states: ``(windows, width, dim)``; gradients flow through.
            keys: ``(windows, width, head_dim)``, what is compared.
            left: how many shall be left in each window.

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
        """``(windows, 1, 1, width)`` what is added to attention scores: log size, and next to nothing for padding."""
        real = torch.arange(self.size.shape[1], device=self.size.device) < self._lengths()[:, None]
        scores = torch.where(real, self.size.clamp(min=1).log(), torch.finfo(dtype).min)
        return scores[:, None, None].to(dtype)

    def _lengths(self) -> Tensor:
        # Attention over padding alone has no answer; a window without sound has one position that nobody reads.
        return on_device([max(1, n) for n in self.left], self.size.device)


def restored(states: Tensor, place: Tensor) -> Tensor:
    """``(windows, width, dim)`` to ``(windows, positions, dim)``: each position as what it was merged into.

    Args:
        states: of what is left.
        place: ``(windows, positions)`` where each position went.
    """
    place = place.to(states.device)
    return states.gather(1, place[..., None].expand(*place.shape, states.shape[2]))
