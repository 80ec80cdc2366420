"""Shortening a prompt: placeholders, attention mask, labels and positions are reduced to the slots that are left.

A slot takes the place of the placeholder at its position, so the whole shortening is a single gather of columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..config.config import Positions
from ..ops.device import on_device
from ..ops.record import CompressedAudio
from .layout import AudioLayout


@dataclass(frozen=True, eq=False)
class PromptFacts:
    """Facts from a prompt's ids and masks. Lists are read from the device in one transfer, before any computation.

    Args:
        placeholder: ``(batch, prompt)`` bool, True for audio placeholders.
        unmasked: ``(batch, prompt)`` bool, True for columns the attention mask keeps; None if there is no mask.
        placeholders: number of audio placeholders in each prompt.
        spans: first unmasked column and one past the last of each prompt.
        runs: the row and length of each run of placeholders; None if not requested.
        frames: number of valid frames in each window.
        restarts: whether the given positions restart within a row, as those of packed samples do.
    """

    placeholder: Tensor
    unmasked: Tensor | None
    placeholders: list[int]
    spans: list[tuple[int, int]]
    runs: list[tuple[int, int]] | None
    frames: list[int]
    restarts: bool


def read_facts(
    input_ids: Tensor,
    attention_mask: Tensor | None,
    frames: Tensor,
    audio_token: int,
    position_ids: Tensor | None = None,
    runs: bool = False,
) -> PromptFacts:
    """Read the facts from ids and mask ``(batch, prompt)`` and the windows' frames ``(windows,)``.

    Runs of placeholders are read only if requested, since their number is known only on the device.
    """
    batch, width = input_ids.shape
    device = input_ids.device
    placeholder = input_ids == audio_token
    unmasked = None if attention_mask is None else attention_mask.to(device).ne(0)
    if unmasked is None:
        first = torch.zeros(batch, dtype=torch.long, device=device)
        end = first + width
    else:
        # Masked placeholders stay in the span: their features exist and must not go to other columns.
        valid = (unmasked | placeholder).long()
        some = valid.amax(1)
        first = valid.argmax(1) * some
        end = (width - valid.flip(1).argmax(1)) * some
    restarts = torch.zeros(1, device=device)
    if position_ids is not None:
        falls = (position_ids.diff(dim=-1) < 0).to(device)
        if unmasked is not None and unmasked.shape[-1] == width == position_ids.shape[-1]:
            falls = falls & unmasked[:, 1:] & unmasked[:, :-1]  # at the edge of padding a drop means nothing
        restarts = falls.any().view(1)
    numbers = [placeholder.sum(1), first, end, frames.to(device), restarts]
    *values, restarted = torch.cat([n.long() for n in numbers]).tolist()
    spans = list(zip(values[batch : 2 * batch], values[2 * batch : 3 * batch], strict=True))
    found = [(row, stop - start) for row, start, stop in runs_of(placeholder)] if runs else None
    return PromptFacts(placeholder, unmasked, values[:batch], spans, found, values[3 * batch :], bool(restarted))


def runs_of(placeholder: Tensor) -> list[tuple[int, int, int]]:
    """Row, first column and one past the last of every run of True in ``(batch, prompt)``, in order."""
    edges = torch.nn.functional.pad(placeholder.int(), (1, 1)).diff(dim=1)
    begins, ends = (edges == 1).nonzero().tolist(), (edges == -1).nonzero().tolist()
    return [(row, begin, end) for (row, begin), (_, end) in zip(begins, ends, strict=True)]


@dataclass(eq=False)
class ShortPrompt:
    """A prompt whose audio placeholders are those of the compressed audio.

    Args:
        user_ids: ``(batch, prompt)`` the user's ids.
        input_ids: ``(batch, short)``.
        attention_mask: ``(batch, short)`` long.
        position_ids: ``(batch, short)`` long.
        labels: ``(batch, short)`` or None.
        columns: ``(batch, short)`` each column's index in the user's prompt, -1 for padding.
        is_audio: ``(batch, short)`` bool, True where the compressed features go, in the order of the audios.
        next_position: ``(batch,)`` position id of the first token after the prompt.
    """

    user_ids: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    position_ids: Tensor
    labels: Tensor | None
    columns: Tensor
    is_audio: Tensor
    next_position: Tensor

    def take(self, values: Tensor, fill: float) -> Tensor:
        """Select from values per column ``(batch, prompt, ...)`` those of the kept columns; padding gets ``fill``."""
        columns = self.columns.to(values.device)
        row = torch.arange(len(columns), device=values.device)[:, None]
        taken = values[row, columns.clamp(min=0)]
        return taken.masked_fill((columns < 0).view(*columns.shape, *[1] * (values.dim() - 2)), fill)


def shorten(
    input_ids: Tensor,
    position_ids: Tensor | None,
    labels: Tensor | None,
    *,
    facts: PromptFacts,
    layout: AudioLayout,
    audio: CompressedAudio,
    pad_token: int,
    positions: Positions,
    generating: bool = False,
) -> ShortPrompt:
    """Drop the placeholders that no slot stands for.

    Args:
        input_ids: ``(batch, prompt)``.
        position_ids: ``(batch, prompt)`` the user's own, or None for the default ones.
        labels: ``(batch, prompt)`` or None.
        facts: the facts from these ids and their mask.
        layout: the batch's audios.
        audio: the compressed audios.
        pad_token: id for padding columns.
        positions: which position ids the kept tokens get.
        generating: whether the call comes from `generate`. If so, padding goes to the left, and default positions
            follow the mask, as in upstream's `generate`; otherwise padding goes to the side the prompt was padded on
            (left if it was not), and default positions count all columns, as in upstream's `forward`.
    """
    device = input_ids.device
    batch, width = input_ids.shape
    placeholder, unmasked = facts.placeholder, facts.unmasked
    column = torch.arange(width, device=device)
    rank = (placeholder.flatten().cumsum(0) - 1).view_as(input_ids).clamp(min=0)
    if layout.already_short:
        dropped = torch.zeros_like(placeholder)
    else:
        kept = _kept_placeholders(layout.tokens, audio).to(device)
        dropped = placeholder & ~kept[rank] if kept.numel() else torch.zeros_like(placeholder)
    spans = on_device(facts.spans, device).view(batch, 2)
    inside = (column >= spans[:, :1]) & (column < spans[:, 1:])

    order, short = _columns(
        inside & ~dropped, _short_lengths(facts, layout, audio), generating or _was_padded_left(facts, width)
    )
    real = short >= 0
    safe = order.clamp(min=0)

    mask = torch.ones_like(input_ids) if unmasked is None else unmasked.long()
    base, counts = _base_positions(mask, position_ids, generating)
    end = base.gather(1, (spans[:, 1:] - 1).clamp(min=0)).squeeze(1) + 1
    full = base
    if layout.already_short and positions == "original":
        stretch, total = _stretch(placeholder, rank, layout.tokens, audio)
        full, end = base + stretch, end + total
    elif not layout.already_short and positions == "contiguous":
        gone = (dropped & counts).cumsum(1)
        full, end = base - gone, end - gone[:, -1]
    return ShortPrompt(
        user_ids=input_ids,
        input_ids=torch.where(real, input_ids.gather(1, safe), pad_token),
        attention_mask=torch.where(real, mask.gather(1, safe), 0),
        position_ids=torch.where(real, full.gather(1, safe), 0),
        labels=None if labels is None else torch.where(real, labels.to(device).gather(1, safe), -100),
        columns=short,
        is_audio=real & placeholder.gather(1, safe),
        next_position=end,
    )


def _kept_placeholders(tokens: list[int], audio: CompressedAudio) -> Tensor:
    """``(placeholders,)`` bool over all audios, concatenated: True for placeholders that slots take."""
    total = sum(tokens)
    device = audio.positions.device
    starts = on_device([0, *tokens], device)[:-1].cumsum(0)
    slot = torch.arange(audio.positions.shape[1], device=device)
    taken = slot < on_device(audio.counts, device)[:, None]
    place = torch.where(taken, audio.positions + starts[:, None], total)
    return torch.zeros(total + 1, dtype=torch.bool, device=device).index_fill(0, place.flatten(), True)[:total]


def _short_lengths(facts: PromptFacts, layout: AudioLayout, audio: CompressedAudio) -> list[int]:
    lengths = [end - first for first, end in facts.spans]
    if not layout.already_short:
        for row, before, after in zip(layout.rows, layout.tokens, audio.counts, strict=True):
            lengths[row] -= before - after
    return lengths


def _was_padded_left(facts: PromptFacts, width: int) -> bool:
    return any(first > 0 for first, _ in facts.spans) or all(end == width for _, end in facts.spans)


def _columns(kept: Tensor, lengths: list[int], pad_left: bool) -> tuple[Tensor, Tensor]:
    """The kept columns of each row in order ``(batch, short)``, padded on one side, and the same with -1 as padding."""
    short = max(lengths, default=0)
    first = (~kept if not pad_left else kept).to(torch.uint8).argsort(dim=1, stable=True)
    order = first[:, kept.shape[1] - short :] if pad_left else first[:, :short]
    return order, torch.where(kept.gather(1, order), order, -1)


def _base_positions(mask: Tensor, position_ids: Tensor | None, generating: bool) -> tuple[Tensor, Tensor]:
    """Each column's position in the full prompt, and whether it advances the position, both ``(batch, prompt)``."""
    if position_ids is not None:
        if position_ids.dim() != 2 or position_ids.shape[1] != mask.shape[1]:
            raise ValueError(f"position_ids must be (batch, {mask.shape[1]}), got {tuple(position_ids.shape)}.")
        return position_ids.to(mask.device).expand_as(mask), mask.bool()
    if generating:
        return (mask.cumsum(1) - 1).clamp(min=0), mask.bool()
    return torch.arange(mask.shape[1], device=mask.device).expand_as(mask), torch.ones_like(mask, dtype=torch.bool)


def _stretch(placeholder: Tensor, rank: Tensor, tokens: list[int], audio: CompressedAudio) -> tuple[Tensor, Tensor]:
    """For already short prompts: each column's offset from its place in the full prompt, and each row's total."""
    device = audio.positions.device
    slot = torch.arange(audio.positions.shape[1], device=device)
    ahead = audio.positions - slot  # how much later a slot is within its audio than among the slots
    step = ahead.diff(dim=1, prepend=torch.zeros_like(ahead[:, :1]))
    counts = on_device(audio.counts, device)[:, None]
    rest = on_device(tokens, device)[:, None] - counts - ahead
    rest = torch.where(slot == counts - 1, rest, 0)  # tokens an audio lost after its last slot shift the text after it
    flat = torch.cat([torch.arange(k, device=device) + i * slot.numel() for i, k in enumerate(audio.counts)])
    on_column = [torch.where(placeholder, v.flatten()[flat].to(rank.device)[rank], 0) for v in (step, rest)]
    stretch = on_column[0].cumsum(1) + on_column[1].cumsum(1) - on_column[1]
    return stretch, sum(on_column).sum(1)  # type: ignore[union-attr]
