"""The table of methods: key, config class and compressor class."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..errors import CompressionConfigError
from ..messages import did_you_mean, shown
from .entry_points import Brought


class Method(NamedTuple):
    """An entry of the table of methods.

    Args:
        name: its key.
        config_class: its `CompressionConfig`.
        compressor_class: its `AudioTokenCompressor`.
    """

    name: str
    config_class: type[Any]
    compressor_class: type[Any]

    @property
    def idea(self) -> str:
        """The first line of the compressor's docstring."""
        return (self.compressor_class.__doc__ or "").strip().splitlines()[0]

    @property
    def family(self) -> str:
        """Its family: pooling, sampling, pruning, merging, hybrid or learned."""
        return str(self.compressor_class.family)

    @property
    def source(self) -> str:
        """The paper it comes from; empty if there is none."""
        return str(self.compressor_class.source)

    @property
    def needs(self) -> frozenset[str]:
        """The inputs it needs besides the features, with its default options."""
        return self.needs_of(self.default_config)

    def needs_of(self, config: Any) -> frozenset[str]:
        """The inputs it needs besides the features, with the options of this config; None for those of the class."""
        if config is None or self.learns:
            return frozenset(self.compressor_class.requires)
        return frozenset(self.compressor_class(config).requires)

    @property
    def learns(self) -> bool:
        """Whether it has weights to train."""
        return bool(self.compressor_class.learns)

    @property
    def deterministic_length(self) -> bool:
        """Whether the count depends only on the audio's length, with its default options."""
        config = self.default_config
        return config is None or bool(config.deterministic_length)

    @property
    def default_config(self) -> Any:
        """The config with all defaults; None if an option is required."""
        try:
            return self.config_class()
        except CompressionConfigError:
            return None


_METHODS: dict[str, Method] = {}
BROUGHT = Brought(
    "hf_tokcomp.compressors", "method", load=lambda point: point.load(), is_there=lambda name: name in _METHODS
)
"""Those of other packages: an entry point is named as the method, and loading it registers that."""


def add_method(method: Method) -> None:
    """Add a method to the table, as `hf_tokcomp.register_compressor` does.

    Raises:
        ValueError: the key is taken.
    """
    if method.name in _METHODS:
        raise ValueError(
            f"The method {method.name!r} is already registered by "
            f"{_METHODS[method.name].compressor_class.__name__}; choose another key."
        )
    _METHODS[method.name] = method


def methods() -> dict[str, Method]:
    """Every method by its key, in order of registration; those of other installed packages come last.

    Example:
        >>> hf_tokcomp.methods()["ltbm"].idea
        'Merges the most similar tokens within a temporal window.'
    """
    BROUGHT.bring()
    return dict(_METHODS)


def find_method(name: object) -> Method | None:
    """The method with this key, registered already or brought by an entry point of that name; None without one."""
    if not isinstance(name, str):
        return None
    if name not in _METHODS:
        BROUGHT.bring(name)
    return _METHODS.get(name)


def get_method(name: object) -> Method:
    """The method with this key.

    Raises:
        CompressionConfigError: unknown method; the message names the closest one and how to register one.
    """
    found = find_method(name)
    if found is not None:
        return found
    BROUGHT.bring()
    if isinstance(name, str) and name in _METHODS:  # of a package that names its entry point otherwise
        return _METHODS[name]
    raise CompressionConfigError(
        f"Unknown compression method {shown(name)}{did_you_mean(name, _METHODS)} Known methods: {', '.join(_METHODS)}. "
        "Register your own with @hf_tokcomp.register_compressor."
    )
