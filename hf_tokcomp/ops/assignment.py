"""Assignment: a map from N tokens to K slots, applied by one scatter-add or by copying."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .device import on_device


@dataclass(eq=False)
class Assignment:
    """Which token goes to which slot, with which coefficient.

    Args:
        slot: ``(audios, tokens)`` long, the token's slot, -1 for a dropped token and for padding. Slots are numbered in
            temporal order.
        weight: ``(audios, tokens)`` float, the token's coefficient in its slot.
        lengths: ``(audios,)`` long, slots per audio.
        width: the largest of ``lengths``, if the caller knows it; otherwise it is read from the device.
        position: ``(audios, width)`` long, each slot's position in original tokens, all distinct within an audio, 0
            beyond its slots. None for the floor of the members' mean index (pooling, segmentation, runs).
        one_each: whether no slot has more than one member, as in pruning; `apply` then copies instead of adding.

    Example:
        >>> pairs = hf_tokcomp.Assignment.mean(torch.tensor([[0, 0, 1, 1]]), lengths=torch.tensor([2]), width=2)
        >>> pairs.apply(torch.tensor([[[1.0], [3.0], [5.0], [7.0]]])).tolist()
        [[[2.0], [6.0]]]
    """

    slot: Tensor
    weight: Tensor
    lengths: Tensor
    width: int = None  # type: ignore[assignment]
    position: Tensor = None  # type: ignore[assignment]
    one_each: bool = False

    def __post_init__(self) -> None:
        if self.width is None:
            self.width = int(self.lengths.max()) if self.lengths.numel() else 0
        self.position_is_mean = self.position is None
        if self.position is None:
            self.position = self._mean_position()

    @classmethod
    def keep(cls, kept: Tensor, lengths: Tensor, width: int) -> Assignment:
        """Pruning: every True token of ``kept`` ``(audios, tokens)`` becomes its own slot, in temporal order."""
        slot = torch.where(kept, kept.cumsum(1) - 1, -1)
        return cls(slot, kept.float(), lengths, width, _only_member(slot, width).clamp(min=0), one_each=True)

    @classmethod
    def identity(cls, lengths: Tensor, tokens: int, width: int) -> Assignment:
        """Every token is its own slot."""
        return cls.keep(torch.arange(tokens, device=lengths.device) < lengths[:, None], lengths, width)

    @classmethod
    def mean(cls, slot: Tensor, lengths: Tensor, width: int, position: Tensor | None = None) -> Assignment:
        """Every slot is the plain mean of its members."""
        size = _per_slot(torch.ones_like(slot, dtype=torch.float32), slot, width)
        weight = torch.where(slot >= 0, 1 / size.gather(1, slot.clamp(min=0)).clamp(min=1), 0.0)
        return cls(slot, weight, lengths, width, position)  # type: ignore[arg-type]

    def _mean_position(self) -> Tensor:
        ones = torch.ones_like(self.slot)
        size = _per_slot(ones, self.slot, self.width)
        index = torch.arange(self.slot.shape[1], device=self.slot.device)
        return _per_slot(ones * index, self.slot, self.width) // size.clamp(min=1)

    def apply(self, features: Tensor) -> Tensor:
        """The compressed features, ``(audios, tokens, dim)`` to ``(audios, width, dim)``; padding slots are zero.

        Sums are taken in float32 and returned in the dtype of ``features``; gradients flow to the features.
        """
        if self.one_each:
            return self._copy(features)
        wide = torch.promote_types(features.dtype, torch.float32)
        value = features.to(wide) * self.weight[..., None].to(wide)
        return sum_per_slot(value, self.slot, self.width).to(features.dtype)

    def _copy(self, features: Tensor) -> Tensor:
        audios, tokens, dim = features.shape
        member = _only_member(self.slot, self.width)
        known = member.clamp(min=0)
        row = known + torch.arange(audios, device=features.device)[:, None] * tokens
        out = features.flatten(0, 1).index_select(0, row.flatten()).view(audios, self.width, dim)
        weight = self.weight.gather(1, known)[..., None]
        # In place if that keeps the dtype: allocating costs more than multiplying.
        out = out.mul_(weight) if out.dtype == weight.dtype else out * weight
        return out.masked_fill_((member < 0)[..., None], 0).to(features.dtype)

    def compose(self, other: Assignment) -> Assignment:
        """First this assignment, then ``other`` on its slots."""
        inner = self.slot.clamp(min=0)
        slot = torch.where(self.slot >= 0, other.slot.gather(1, inner), -1)
        weight = torch.where(slot >= 0, self.weight * other.weight.gather(1, inner), 0.0)
        # Members are original tokens, so a mean index is recomputed over them. A merge destination, and a slot that
        # nothing joins, keep their position.
        real = torch.arange(other.width, device=slot.device) < other.lengths[:, None]
        position = torch.where(real, self.position.gather(1, other.position), 0)
        if other.position_is_mean and other.width:
            joined = Assignment(slot, weight, other.lengths, other.width).position
            alone = _per_slot(torch.ones_like(other.slot), other.slot, other.width) == 1
            last = torch.maximum(self.position.amax(1), joined.amax(1))
            position, rank = _settle(torch.where(alone, position, joined), real, last)
            slot = torch.where(slot >= 0, rank.gather(1, slot.clamp(min=0)), -1)
        return Assignment(slot, weight, other.lengths, other.width, position, self.one_each and other.one_each)

    def token_times(self, frame_rate: float) -> Tensor:
        """``(audios, width, 2)`` seconds: begin of each slot's first member and end of its last one."""
        index = torch.arange(self.slot.shape[1], device=self.slot.device).expand_as(self.slot)
        target = torch.where(self.slot >= 0, self.slot, self.width)
        span = torch.zeros(*self.slot.shape[:1], self.width + 1, device=self.slot.device, dtype=torch.long)
        first = span.scatter_reduce(1, target, index, "amin", include_self=False)
        last = span.scatter_reduce(1, target, index + 1, "amax", include_self=False)
        return torch.stack([first, last], dim=-1)[:, : self.width] / frame_rate

    def scatter_rows(self, rows: list[int], into: Assignment) -> Assignment:
        """``into``, an identity, with its audios ``rows`` replaced by this assignment's, which may be narrower."""
        index = on_device(rows, self.slot.device)
        slot, weight = into.slot.clone(), into.weight.clone()
        slot[index], weight[index] = -1, 0.0
        slot[index, : self.slot.shape[1]] = self.slot
        weight[index, : self.weight.shape[1]] = self.weight
        width = max(into.width, self.width)
        position = None  # a token that is its own slot is also its own mean
        if not self.position_is_mean:
            position = torch.nn.functional.pad(into.position, (0, width - into.width))
            position[index] = torch.nn.functional.pad(self.position, (0, width - self.width))
        lengths = into.lengths.clone()
        lengths[index] = self.lengths
        one_each = self.one_each and into.one_each
        return Assignment(slot, weight, lengths, width, position, one_each)  # type: ignore[arg-type]


def sum_per_slot(value: Tensor, slot: Tensor, width: int) -> Tensor:
    """``(audios, tokens, dim)`` to ``(audios, width, dim)``: the sum over the members of every slot, in order.

    Args:
        value: the values to sum.
        slot: ``(audios, tokens)`` each token's slot; -1 for a token without one.
        width: number of slots.
    """
    audios, _, dim = value.shape
    # Such tokens go to an extra slot, which is cut off: no boolean indexing, so no synchronisation. All audios are
    # in one flat list, for which scatter-add is faster than for a batch.
    start = torch.arange(audios, device=value.device)[:, None] * (width + 1)
    target = (torch.where(slot >= 0, slot, width) + start).flatten()
    out = value.new_zeros(audios * (width + 1), dim)
    out.scatter_add_(0, target[:, None].expand(-1, dim), value.flatten(0, 1))
    return out.view(audios, width + 1, dim)[:, :width]


def _per_slot(value: Tensor, slot: Tensor, width: int) -> Tensor:
    """``(audios, width)``: the sum of ``value`` over the members of every slot."""
    target = torch.where(slot >= 0, slot, width)
    return value.new_zeros(slot.shape[0], width + 1).scatter_add(1, target, value)[:, :width]


def _settle(position: Tensor, real: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Sort slots pooled from scattered members into temporal order, at distinct positions.

    Two such slots may have the same mean index, or be out of order. The later one moves to the next free position, or
    both move back if there is none (our reading).

    Args:
        position: ``(audios, slots)``.
        real: ``(audios, slots)`` bool, False for padding.
        last: ``(audios,)`` the last available position.

    Returns:
        The positions in order, and each slot's place in that order, both ``(audios, slots)``.
    """
    order = torch.where(real, position, torch.iinfo(torch.long).max).argsort(dim=1, stable=True)
    index = torch.arange(position.shape[1], device=position.device).expand_as(position)
    rank = torch.empty_like(order).scatter_(1, order, index)
    room = last[:, None] + 1 - real.sum(1, keepdim=True)
    position = torch.minimum((position.gather(1, order) - index).cummax(1).values, room) + index
    return torch.where(real, position, 0), rank


def _only_member(slot: Tensor, width: int) -> Tensor:
    """``(audios, width)``: the token in every slot, if none has two; -1 for an empty slot."""
    index = torch.arange(slot.shape[1], device=slot.device).expand_as(slot)
    target = torch.where(slot >= 0, slot, width)
    member = torch.full((slot.shape[0], width + 1), -1, device=slot.device)
    return member.scatter_(1, target, index)[:, :width]
