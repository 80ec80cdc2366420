"""Assignments drawn by hand or by chance, and read back token by token."""

from __future__ import annotations

import numpy as np
import torch
from oracles import Slot
from torch import Tensor

from hf_tokcomp import Assignment


def read_slots(assignment: Assignment, row: int) -> list[Slot]:
    """One audio's slots, read off token by token."""
    slots = [Slot([], [], position) for position in assignment.position[row].tolist()[: int(assignment.lengths[row])]]
    given = zip(assignment.slot[row].tolist(), assignment.weight[row].tolist(), strict=True)
    for token, (slot, weight) in enumerate(given):
        if slot >= 0:
            slots[slot].members.append(token)
            slots[slot].weights.append(weight)
    return slots


def apply_by_loop(assignment: Assignment, features: Tensor) -> Tensor:
    """``(audios, width, dim)`` float64: the sum over members, one token at a time."""
    out = torch.zeros(features.shape[0], assignment.width, features.shape[2], dtype=torch.float64)
    for row in range(features.shape[0]):
        for k, slot in enumerate(read_slots(assignment, row)):
            for token, weight in zip(slot.members, slot.weights, strict=True):
                out[row, k] += weight * features[row, token].double()
    return out


def keep(*rows: str) -> Assignment:
    """Pruning, drawn: ``"x..x"`` keeps the first and the last of four."""
    kept = torch.tensor([[token == "x" for token in row] for row in rows])
    return Assignment.keep(kept, kept.sum(1), int(kept.sum(1).max()))


def mean(slots: list[list[int]], position: list[list[int]] | None = None) -> Assignment:
    slot = torch.tensor(slots)
    lengths = slot.amax(1) + 1
    return Assignment.mean(slot, lengths, int(lengths.max()), None if position is None else torch.tensor(position))


def random_assignment(rng: np.random.Generator, kind: str, lengths: list[int]) -> Assignment:
    """Each audio cut to about half: kept, averaged in runs, or merged into destinations anywhere."""
    width, wanted = max(lengths), [(n + 1) // 2 for n in lengths]
    slot = torch.full((len(lengths), width), -1)
    position = torch.zeros(len(lengths), max(wanted), dtype=torch.long)
    for row, (n, k) in enumerate(zip(lengths, wanted, strict=True)):
        chosen = sorted(rng.permutation(n)[:k].tolist())
        if kind == "mean":
            slot[row, :n] = torch.arange(n) * k // n
        else:
            if kind == "merge":
                slot[row, :n] = torch.from_numpy(rng.integers(k, size=n))
            slot[row, chosen] = torch.arange(k)
        position[row, :k] = torch.tensor(chosen)
    if kind == "keep":
        return Assignment.keep(slot >= 0, torch.tensor(wanted), max(wanted))
    return Assignment.mean(slot, torch.tensor(wanted), max(wanted), position if kind == "merge" else None)
