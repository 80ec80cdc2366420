"""Earlier spellings of options: they still work, with a hint about the current spelling, but are not in `--help`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..reporting.console import complain
from ..reporting.options import parse_list


@dataclass(frozen=True)
class Old:
    """An earlier spelling.

    Args:
        now: maps its value to the current arguments; for a flag, the value is "".
        flag: whether it takes no value.
    """

    now: Callable[[str], list[str]]
    flag: bool = False


def renamed(name: str) -> Old:
    """An earlier spelling of which only the name has changed."""
    return Old(lambda value: [name, value])


def _methods(value: str) -> list[str]:
    """The list in ``compare --methods``, whose members cannot contain commas."""
    return [word for name in parse_list(value, "--methods", str) for word in ("--compression", name)]


DATASET = {"--manifest": renamed("--dataset")}
SKIP_BAD = {"--skip-bad": Old(lambda value: ["--on-error", "skip"], flag=True)}
OLD: dict[str, Mapping[str, Old]] = {
    "run": DATASET,
    "plot": DATASET,
    "compare": {**DATASET, "--methods": Old(_methods), "--ratios": renamed("--retention-ratio")},
    "eval": SKIP_BAD,
    "demo": {"--method": renamed("--compression")},
}
"""Earlier spellings by command, except for `finetune`, whose arguments are read by transformers' parser."""


def modern(args: Sequence[str], old: Mapping[str, Old], valued: Collection[str], quiet: bool = False) -> list[str]:
    """Replace earlier spellings in a command line by the current ones, with a hint on stderr.

    Args:
        args: the command line.
        old: the earlier spellings.
        valued: the current options that take a value; the value itself may look like an option.
        quiet: whether to omit the hint, as during shell completion.

    Raises:
        ValueError: a value cannot be translated.
    """
    found: list[str] = []
    hints: dict[str, str] = {}
    rest = iter(args)
    for arg in rest:
        name, equals, value = arg.partition("=")
        if arg == "--":
            found += [arg, *rest]
        elif name in old:
            words = _translated(old[name], name, value if equals else None, rest)
            found += words
            hints.setdefault(name, shlex.join(words))
        else:
            found.append(arg)
            if arg in valued:
                found += _next(rest)
    if hints and not quiet:
        hint_at(hints)
    return found


def hint_at(hints: Mapping[str, str]) -> None:
    """Print the current form of earlier spellings, in one line."""
    complain("hint", "; ".join(f"{old} is now {now}" for old, now in hints.items()))


def _translated(old: Old, name: str, value: str | None, rest: Iterator[str]) -> list[str]:
    if old.flag:
        return old.now("")
    if value is not None:
        return old.now(value)
    following = _next(rest)
    return old.now(following[0]) if following else [old.now("-")[0]]  # the new option then lacks its value


def _next(rest: Iterator[str]) -> list[str]:
    """The next argument, if there is one."""
    return [arg for arg in [next(rest, None)] if arg is not None]
