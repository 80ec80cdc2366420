"""Parsing of ``--model_args``: the compression, and values that arrive as text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..config.config import CompressionConfig
from ..config.notation import parse_config, resolve_compression
from ..messages import did_you_mean


def chosen_compression(
    compression: Any,
    retention_ratio: float | None,
    positions: str | None,
    stored: CompressionConfig | None,
) -> CompressionConfig | None:
    """The config requested by the model arguments.

    Args:
        compression: a method key, JSON, a folder or a Hub id; None for the checkpoint's own.
        retention_ratio: fraction of the audio tokens to keep, overriding the config's budget.
        positions: ``"contiguous"`` or ``"original"``, overriding the config's.
        stored: the config of the checkpoint or adapter itself.

    Returns:
        The config; None if neither the arguments nor the checkpoint have one.

    Raises:
        CompressionConfigError: the compression is unknown or contradictory.
        ValueError: it looks like JSON but is invalid, or there is no method to modify.
    """
    config = stored
    if compression is not None:
        config = parse_config(compression) if isinstance(compression, str) else resolve_compression(compression)
    given = {"retention_ratio": retention_ratio, "positions": positions}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if not changes:
        return config
    if config is None:
        raise ValueError(
            f"{' and '.join(changes)} given without a method; add compression=METHOD, see `hf-tokcomp methods`."
        )
    return config.replace(**changes)


def whole_number(name: str, value: object) -> int:
    """A count above 0, which lmms-eval passes as text.

    Raises:
        ValueError: the value is not such a count.
    """
    text = str(value)
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{name} must be a whole number above 0, not {text!r}.")
    return int(text)


def refuse_unknown(unknown: Iterable[str], known: Iterable[str], kind: str = "model argument") -> None:
    """Raise for the first unknown name.

    Raises:
        ValueError: there is one; the message lists the known names.
    """
    known = sorted(known)
    for name in unknown:
        if name in known:
            continue
        raise ValueError(f"Unknown {kind} {name!r}{did_you_mean(name, known)} Known: {', '.join(known)}.")
