"""One table of methods: the key of a config, its config class and its compressor class."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..errors import CompressionConfigError
from ..messages import shown

if TYPE_CHECKING:
    from ..compressors.base import AudioTokenCompressor
    from .config import CompressionConfig

CompressorType = TypeVar("CompressorType", bound="type[AudioTokenCompressor[Any]]")


class Method(NamedTuple):
    """What the registry knows of a method."""

    name: str
    config_class: type[CompressionConfig]
    compressor_class: type[AudioTokenCompressor[Any]]

    @property
    def idea(self) -> str:
        """The first line of the compressor's docstring."""
        return (self.compressor_class.__doc__ or "").strip().splitlines()[0]

    @property
    def family(self) -> str:
        """What it does with the tokens it does not keep: pooling, sampling, pruning, merging, hybrid, learned."""
        return self.compressor_class.family

    @property
    def source(self) -> str:
        """The paper it comes from; empty for one without."""
        return self.compressor_class.source

    @property
    def needs(self) -> frozenset[str]:
        """What it looks at beside the features, with its default options."""
        config = self.default_config
        if config is None or self.learns:
            return self.compressor_class.requires
        return self.compressor_class(config).requires

    @property
    def learns(self) -> bool:
        """Whether it has weights, which begin newly initialized."""
        return self.compressor_class.learns

    @property
    def deterministic_length(self) -> bool:
        """Whether the count follows from the audio's length alone, with its default options."""
        config = self.default_config
        return config is None or config.deterministic_length

    @property
    def default_config(self) -> CompressionConfig | None:
        """The config with all defaults; None where an option must be given."""
        try:
            return self.config_class()
        except CompressionConfigError:
            return None


_METHODS: dict[str, Method] = {}


def register_compressor(config_class: type[CompressionConfig]) -> Callable[[CompressorType], CompressorType]:
    """Register a compressor under the ``method`` of its config class.

    Args:
        config_class: a dataclass derived from `CompressionConfig` whose field ``method`` has the key as its default.

    Raises:
        TypeError: the classes do not derive from `CompressionConfig` and `AudioTokenCompressor`.
        ValueError: the key is empty, or another method has it.
    """

    def register(compressor_class: CompressorType) -> CompressorType:
        from ..compressors.base import AudioTokenCompressor
        from .config import CompressionConfig

        if not (isinstance(config_class, type) and issubclass(config_class, CompressionConfig)):
            raise TypeError(f"{config_class!r} must derive from CompressionConfig to be registered.")
        if not (isinstance(compressor_class, type) and issubclass(compressor_class, AudioTokenCompressor)):
            raise TypeError(f"{compressor_class!r} must derive from AudioTokenCompressor to be registered.")
        name = config_class.method
        if not isinstance(name, str) or not name:
            raise ValueError(f"Give {config_class.__name__} a field `method: str` whose default is the method's key.")
        if name in _METHODS:
            raise ValueError(
                f"The method {name!r} is already registered by {_METHODS[name].compressor_class.__name__}; "
                "choose another key."
            )
        _METHODS[name] = Method(name, config_class, compressor_class)
        return compressor_class

    return register


def methods() -> dict[str, Method]:
    """Every registered method by its key, in order of registration."""
    return dict(_METHODS)


def get_method(name: object) -> Method:
    """The registered method with this key.

    Raises:
        CompressionConfigError: there is none; the message names the closest key and how to register one.
    """
    if isinstance(name, str) and name in _METHODS:
        return _METHODS[name]
    raise CompressionConfigError(
        f"Unknown compression method {shown(name)}{did_you_mean(name, _METHODS)} Known methods: {', '.join(_METHODS)}. "
        "Your own is registered with @hf_tokcomp.register_compressor."
    )


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """``": did you mean 'x'?"``, or a full stop where nothing is close."""
    text = name if isinstance(name, str) else ""
    close = difflib.get_close_matches(text[:100], list(known), n=1, cutoff=0.5)
    return f": did you mean {close[0]!r}?" if close else "."
