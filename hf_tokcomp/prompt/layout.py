"""Matching audios to placeholders: by counts, and by marks only if a model always has them.

A batch consists of windows and of prompts that hold placeholders. An audio has one or several windows; if several, a
window that is not full ends its audio, and full windows are grouped from left to right. A prompt has one or several
audios; if several that may span windows, their placeholders form runs separated by marks. For every model, the caller
may pass the number of windows per audio if it is known, as it is from a patched processor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from ..errors import PlaceholderMismatchError

OutputLength = Callable[[int], int]


@dataclass(frozen=True)
class AudioLayout:
    """The audios of a batch, in the order of their placeholders.

    Args:
        tokens: number of tokens of each audio before compression.
        first_window: index of each audio's first window.
        rows: index of the prompt that each audio belongs to.
        already_short: whether the prompt's placeholders are those of the compressed audio.
    """

    tokens: list[int]
    first_window: list[int]
    rows: list[int]
    already_short: bool

    def numbers(self, windows: int) -> list[int]:
        """The index of each of this many windows within its audio, from 0."""
        begins = set(self.first_window)
        found: list[int] = []
        for window in range(windows):
            found.append(0 if window in begins or not found else found[-1] + 1)
        return found


def match_audios(
    placeholders: Sequence[int],
    window_tokens: Sequence[int],
    output_length: OutputLength | None,
    *,
    window_is_full: Sequence[bool] | None = None,
    runs: Sequence[tuple[int, int]] | None = None,
    windows_per_audio: Sequence[int] | None = None,
    written: Sequence[int] | None = None,
) -> AudioLayout:
    """Find the audios of a batch; each prompt takes the next ones until its placeholders are used up.

    Args:
        placeholders: number of placeholders in each prompt.
        window_tokens: number of tokens of each window.
        output_length: number of tokens after compression, for prompts that a patched processor has already shortened;
            None if it depends on the content.
        window_is_full: whether each window is full, so that its audio may continue in the next one; None if every
            window is an audio.
        runs: the row and length of each run of placeholders, if every run is an audio; None if the placeholders of a
            row belong to one audio or may be taken in order.
        windows_per_audio: number of windows of each audio, if the caller knows (from a patched processor).
        written: number of placeholders that a patched processor wrote for each audio. Without it, a prompt is never
            assumed to be shortened, since it may just as well have been truncated.

    Raises:
        PlaceholderMismatchError: the counts do not match, or match in several ways.
    """
    if windows_per_audio is None and window_is_full is not None:
        return _group(placeholders, window_tokens, window_is_full, runs, output_length, written)
    numbers = [1] * len(window_tokens) if windows_per_audio is None else windows_per_audio
    if sum(numbers) != len(window_tokens):
        raise PlaceholderMismatchError(
            f"`audio_windows` names {sum(numbers)} windows, but the batch has {len(window_tokens)}."
        )
    ends = list(accumulate(numbers))
    first = [end - number for end, number in zip(ends, numbers, strict=True)]
    full = [sum(window_tokens[begin:end]) for begin, end in zip(first, ends, strict=True)]
    short = None if output_length is None else [output_length(n) for n in full]
    candidates = [full]
    if short is not None and written is not None and list(written) == short:
        candidates.append(short)
    for already_short, expected in enumerate(candidates):
        rows = _take_in_turn(placeholders, expected)
        if rows is not None:
            return AudioLayout(full, first, rows, bool(already_short))
    raise _mismatch(placeholders, full, short, written)


def _take_in_turn(placeholders: Sequence[int], expected: Sequence[int]) -> list[int] | None:
    rows: list[int] = []
    audio = 0
    for row, count in enumerate(placeholders):
        while count > 0 and audio < len(expected):
            count -= expected[audio]
            rows.append(row)
            audio += 1
        if count != 0:
            return None
    if any(expected[audio:]):
        return None
    return rows + [len(placeholders) - 1] * (len(expected) - audio)  # audios too short for a single token


def _group(
    placeholders: Sequence[int],
    window_tokens: Sequence[int],
    window_is_full: Sequence[bool],
    runs: Sequence[tuple[int, int]] | None,
    output_length: OutputLength | None,
    written: Sequence[int] | None,
) -> AudioLayout:
    """Find the audios if every prompt, or every run, has one audio of one or more consecutive windows."""
    parts = [(row, count) for row, count in enumerate(placeholders) if count > 0] if runs is None else runs
    rows = [row for row, _ in parts]
    # Windows too short for a token contribute nothing, but they still end their audio.
    solid = [i for i, n in enumerate(window_tokens) if n > 0]
    may_go_on = [
        window_is_full[i] and i + 1 < len(window_tokens) and window_tokens[i + 1] > 0 for i in range(len(window_tokens))
    ]
    counts = [window_tokens[i] for i in solid]
    goes_on = [may_go_on[i] for i in solid]
    wanted = [count for _, count in parts]
    lengths: list[OutputLength] = [lambda n: n]
    if output_length is not None and written is not None and [n for n in written if n > 0] == wanted:
        lengths.append(output_length)
    for already_short, length in enumerate(lengths):
        fitting = _groupings(wanted, counts, goes_on, length)
        if len(fitting) > 1:
            raise PlaceholderMismatchError(
                f"The {len(counts)} audio windows can be grouped in several ways to fit {list(placeholders)} "
                "placeholders. Pass `audio_windows` (windows per audio), as a patched processor returns it "
                "(with Trainer: remove_unused_columns=False)."
            )
        if fitting:
            first = [solid[a] for a, _ in fitting[0]]
            return AudioLayout([sum(counts[a:b]) for a, b in fitting[0]], first, rows, bool(already_short))
    short = None if output_length is None else [output_length(sum(counts))]
    raise _mismatch(placeholders, counts, short, written)


Grouping = list[tuple[int, int]]


def _groupings(wanted: list[int], counts: list[int], goes_on: list[bool], length: OutputLength) -> list[Grouping]:
    """Up to two ways to split the windows into consecutive audios with these counts."""
    # ways[i] holds groupings of windows 0..i-1 into the audios so far; two are enough to show an ambiguity.
    ways: dict[int, list[Grouping]] = {0: [[]]}
    for count in wanted:
        following: dict[int, list[Grouping]] = {}
        for start, groupings in ways.items():
            total = 0
            for end in range(start, len(counts)):
                total += counts[end]
                if length(total) == count:
                    found = following.setdefault(end + 1, [])
                    found.extend([*g, (start, end + 1)] for g in groupings)
                    del found[2:]
                if not goes_on[end]:
                    break
        ways = following
    return ways.get(len(counts), [])


def _mismatch(
    placeholders: Sequence[int], full: Sequence[int], short: Sequence[int] | None, written: Sequence[int] | None
) -> PlaceholderMismatchError:
    there = sum(placeholders)
    makes = str(sum(full)) if short is None else f"{sum(full)}, compressed {sum(short)}"
    advice = ""
    if there < sum(full if written is None else written):
        advice = (
            "Was it truncated? Then it was cut through its audio: leave out `truncation`, or raise the length at which "
            "it cuts (`max_length`, or a trainer's `cutoff_len`) above the whole prompt's. Otherwise: "
        )
    advice += (
        "Make prompt and audio with one processor call; a patched processor must have the model's config; one "
        "placeholder per audio (the legacy form) must be expanded by the processor."
    )
    if written is None and short is not None and there == sum(short):
        advice += (
            " If a patched processor shortened the prompt, pass its `audio_placeholders` on (with Trainer: "
            "remove_unused_columns=False)."
        )
    return PlaceholderMismatchError(
        f"The prompts hold {there} audio placeholders ({list(placeholders)} per prompt), but the audio makes {makes}. "
        f"{advice}"
    )
