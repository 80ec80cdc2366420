"""A feature extractor that returns the mask of its features, where upstream's does so on request only."""

from __future__ import annotations

import functools
from typing import Any


class _Masking:
    """To mix into a feature extractor's class."""

    def __call__(self, *args: Any, return_attention_mask: bool | None = None, **kwargs: Any) -> Any:
        wanted = True if return_attention_mask is None else return_attention_mask
        return super().__call__(*args, return_attention_mask=wanted, **kwargs)  # type: ignore[misc]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _revived, (type(self).__mro__[2], self.__dict__)


@functools.cache
def _masking(base: type) -> type:
    # Of the same name, under which upstream stores it.
    return type(base.__name__, (_Masking, base), {"__doc__": base.__doc__, "__module__": base.__module__})


def _revived(base: type, values: dict[str, Any]) -> Any:
    made: Any = object.__new__(_masking(base))
    made.__dict__.update(values)
    return made


def return_mask(extractor: Any, returned: bool) -> None:
    """Let an extractor return the mask unless it is called with ``return_attention_mask=False``, or undo that."""
    kind: Any = type(extractor)
    if issubclass(kind, _Masking) != returned:
        # Python looks up a call on the class, so it cannot be replaced on the instance, as other methods are.
        extractor.__class__ = _masking(kind) if returned else kind.__mro__[2]
