"""Formatting values and names for messages, shortened to fit on a screen; and "did you mean"."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable

_short = reprlib.Repr()
_short.maxlevel = 4
_short.maxstring = _short.maxother = 200
_short.maxdict = _short.maxlist = _short.maxtuple = 12


def shown(value: object) -> str:
    """A shortened ``repr``: both ends of a long text, the beginning of a long list."""
    try:
        return _short.repr(value)
    except (ValueError, RecursionError):  # Python does not format integers of thousands of digits
        return f"<{type(value).__name__}>"


def shortened(text: str, most: int = 160) -> str:
    """A text, or both ends of a long one: for names, paths and addresses in messages."""
    if len(text) <= most:
        return text
    half = (most - 3) // 2
    return f"{text[:half]}...{text[-half:]}"


def quoted(text: str, most: int = 160) -> str:
    """A user's text on one line, in quotation marks."""
    return f"“{shortened(' '.join(text.split()), most)}”"


def several(names: Iterable[object], most: int = 30) -> str:
    """Comma-separated names, each shortened; only the first ones of very many."""
    words = [shortened(str(name), 60) for name in names]
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """``": did you mean 'x'?"``, or a full stop if nothing is close."""
    text = name if isinstance(name, str) else ""
    close = difflib.get_close_matches(text[:100], list(known), n=1, cutoff=0.5)
    return f": did you mean {close[0]!r}?" if close else "."


def how_asked(prompt: str, most: int = 160) -> str:
    """How a model was asked, in a heading; a longer prompt is shortened to this length."""
    return f"asked {quoted(prompt, most)}" if prompt else "without a prompt"
