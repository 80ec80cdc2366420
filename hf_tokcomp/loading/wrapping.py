"""Wrapping a method of another library's class, undoably and without importing the library."""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import inspect
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from ..models.instance import MISSING

_WRAPPED: dict[tuple[type, str], Any] = {}
"""The previous value in the class's own ``__dict__``, or `MISSING` if the method is inherited."""
_WAITING: list[_WhenImported] = []


def wrap(owner: type, name: str, function: Callable[..., Any]) -> None:
    """Call ``function(own, self_or_class, *args, **kwargs)`` instead of a method; ``own`` is the bound method.

    Wrapping a method again has no effect.
    """
    if (owner, name) in _WRAPPED:
        return
    found = inspect.getattr_static(owner, name)
    own = found.__func__ if isinstance(found, classmethod) else found

    @functools.wraps(own)
    def wrapped(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return function(functools.partial(own, self), self, *args, **kwargs)

    _WRAPPED[owner, name] = owner.__dict__.get(name, MISSING)
    setattr(owner, name, classmethod(wrapped) if isinstance(found, classmethod) else wrapped)


def unwrap_all() -> None:
    """Restore every method, and stop waiting for imports."""
    while _WAITING:
        _WAITING.pop().stop()
    while _WRAPPED:
        (owner, name), found = _WRAPPED.popitem()
        if found is MISSING:
            delattr(owner, name)
        else:
            setattr(owner, name, found)


def when_imported(module: str, then: Callable[[ModuleType], None]) -> None:
    """Call ``then`` with this module: now if it is already imported, otherwise right after its import."""
    loaded = sys.modules.get(module)
    if loaded is not None:
        then(loaded)
    elif not any(waiting.module == module for waiting in _WAITING):
        _WAITING.append(_WhenImported(module, then))


class _WhenImported(importlib.abc.MetaPathFinder):
    """Finds one module through the other finders, and calls a function once it is imported."""

    def __init__(self, module: str, then: Callable[[ModuleType], None]) -> None:
        self.module, self._then = module, then
        sys.meta_path.insert(0, self)

    def stop(self) -> None:
        """Stop waiting."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.module:
            return None
        others = (finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec"))
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = functools.partial(  # type: ignore[method-assign]
                self._execute, spec.loader.exec_module
            )
        return spec

    def _execute(self, own: Callable[[ModuleType], None], module: ModuleType) -> None:
        own(module)
        if self in _WAITING:  # not undone in the meantime
            _WAITING.remove(self)
            self.stop()
            self._then(module)
