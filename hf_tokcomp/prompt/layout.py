"""Which audio belongs to which placeholders: by counts, never by runs of equal ids.

A batch comes with mel windows and with prompts that hold placeholders. Two kinds of models exist: several audios per
prompt with one window each, and one audio per prompt with several windows each. In the second kind a window with fewer
than all its frames ends its audio, and full windows group from left to right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import PlaceholderMismatchError

OutputLength = Callable[[int], int]


@dataclass(frozen=True)
class AudioLayout:
    """The audios of a batch, in the order of their placeholders.

    Args:
        tokens: tokens of each audio before compression.
        first_window: index of each audio's first window.
        rows: the prompt each audio belongs to.
        already_short: whether the prompt's placeholders are those of the compressed audio.
    """

    tokens: list[int]
    first_window: list[int]
    rows: list[int]
    already_short: bool


def match_single_windows(
    placeholders: Sequence[int],
    window_tokens: Sequence[int],
    output_length: OutputLength | None,
    written: Sequence[int] | None = None,
) -> AudioLayout:
    """Every window is an audio; a prompt takes the next audios until its placeholders are used up.

    Args:
        placeholders: placeholders of each prompt.
        window_tokens: tokens of each window.
        output_length: tokens after compression, for prompts that a patched processor has already shortened; None
            where only the content can tell.
        written: placeholders that a patched processor wrote for each audio. Without its word a prompt is never taken
            for a shortened one: it may as well have been cut off.

    Raises:
        PlaceholderMismatchError: the counts do not fit.
    """
    full = list(window_tokens)
    short = None if output_length is None else [output_length(n) for n in full]
    candidates = [full]
    if short is not None and written is not None and list(written) == short:
        candidates.append(short)
    for already_short, expected in enumerate(candidates):
        rows = _take_in_turn(placeholders, expected)
        if rows is not None:
            return AudioLayout(full, list(range(len(full))), rows, bool(already_short))
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


def match_long_audios(
    placeholders: Sequence[int],
    window_tokens: Sequence[int],
    window_is_full: Sequence[bool],
    output_length: OutputLength | None,
    windows_per_audio: Sequence[int] | None = None,
    written: Sequence[int] | None = None,
) -> AudioLayout:
    """Every prompt with placeholders has one audio, of one or more consecutive windows.

    Args:
        placeholders: placeholders of each prompt.
        window_tokens: tokens of each window.
        window_is_full: whether a window has all its frames, so that its audio may go on in the next one.
        output_length: as in `match_single_windows`.
        windows_per_audio: windows of each audio where the caller knows (a patched processor says so).
        written: as in `match_single_windows`.

    Raises:
        PlaceholderMismatchError: no grouping of the windows fits, or several do.
    """
    rows = [row for row, count in enumerate(placeholders) if count > 0]
    # Windows too short for a token carry nothing, but they still end their audio.
    solid = [i for i, n in enumerate(window_tokens) if n > 0]
    may_go_on = [
        window_is_full[i] and i + 1 < len(window_tokens) and window_tokens[i + 1] > 0 for i in range(len(window_tokens))
    ]
    counts = [window_tokens[i] for i in solid]
    goes_on = [may_go_on[i] for i in solid]
    wanted = [placeholders[row] for row in rows]
    lengths: list[OutputLength] = [lambda n: n]
    if output_length is not None and written is not None and [n for n in written if n > 0] == wanted:
        lengths.append(output_length)
    for already_short, length in enumerate(lengths):
        if windows_per_audio is None:
            fitting = _groupings(wanted, counts, goes_on, length)
        else:
            given = _given_groups(window_tokens, windows_per_audio)
            fitting = [given] if [length(sum(counts[a:b])) for a, b in given] == wanted else []
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
    """Up to two ways to cut the windows into consecutive audios with these counts."""
    # ways[i] are groupings of windows 0..i-1 into the audios done so far; two are enough to know it is ambiguous.
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


def _given_groups(window_tokens: Sequence[int], windows_per_audio: Sequence[int]) -> Grouping:
    if sum(windows_per_audio) != len(window_tokens):
        raise PlaceholderMismatchError(
            f"`audio_windows` names {sum(windows_per_audio)} windows, but the batch has {len(window_tokens)}."
        )
    groups: Grouping = []
    window = solid = 0
    for number in windows_per_audio:
        size = sum(n > 0 for n in window_tokens[window : window + number])
        if size:
            groups.append((solid, solid + size))
        window, solid = window + number, solid + size
    return groups


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
