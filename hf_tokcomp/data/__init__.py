"""Loading of recordings with their texts from tables, folders and the Hub, for training and evaluation."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .examples import Examples, load_examples

__all__ = ["Examples", "load_examples"]


def __getattr__(name: str) -> Any:
    # Imported lazily: importing `datasets` takes a second, and checking whether a file exists does not need it.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import examples

    return getattr(examples, name)
