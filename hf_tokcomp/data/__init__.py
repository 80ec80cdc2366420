"""Recordings with their texts, from tables, folders and the Hub, to train on or to measure with."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .examples import Examples, load_examples

__all__ = ["Examples", "load_examples"]


def __getattr__(name: str) -> Any:
    # Imported when asked for: `datasets` takes a second, and whether a file is there needs none of it.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import examples

    return getattr(examples, name)
