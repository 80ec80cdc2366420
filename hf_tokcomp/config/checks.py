"""FieldChecks: checks a config's fields against their annotations and the limits of `option`.

A field annotated with ``bool``, ``int``, ``float``, ``str`` or a ``Literal``, or a union of these (also with ``None``),
accepts only such values. Fields with other annotations are left to ``__post_init__``.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import re
import sys
import textwrap
import types
import typing
from collections.abc import Collection, Mapping
from typing import Any, Literal, TypeVar

from ..errors import CompressionConfigError
from ..messages import shown

T = TypeVar("T")
LIMITS = {"above", "at_least", "at_most"}


def known_rate(frame_rate: float | None, who: str) -> float:
    """A model's tokens per second.

    Args:
        frame_rate: as it was given.
        who: the option that counts by time.

    Raises:
        ValueError: it was not given.
    """
    if frame_rate is None:
        raise ValueError(f"{who} counts by time: say how many tokens per second the model makes, as frame_rate=...")
    return frame_rate


def option(
    default: T,
    *,
    help: str,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    needs: Mapping[str, Collection[str]] | None = None,
    compare: bool = True,
) -> T:
    """Define a field of a config, with its help and limits, like `dataclasses.field`.

    Args:
        default: its default.
        help: a short description, shown by `hf-tokcomp methods` and in the config's docstring.
        above: numbers must be larger than this.
        at_least: the smallest number.
        at_most: the largest number. By default, integers are below 2^53, where every JSON reader is exact.
        needs: the method's inputs besides the features, by the option's value, see
            `hf_tokcomp.compressors.base.AudioTokenCompressor.requires`.
        compare: whether configs that differ only in this field are unequal.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True, kw_only=True)
        ... class LoudestConfig(hf_tokcomp.CompressionConfig):
        ...     method: str = "loudest"
        ...     power: float = hf_tokcomp.option(2.0, above=0, help="of the norm")
    """
    given = {"help": help, "above": above, "at_least": at_least, "at_most": at_most, "needs": needs}
    metadata = {key: value for key, value in given.items() if value is not None}
    field: T = dataclasses.field(default=default, metadata=metadata, compare=compare)
    return field


class FieldChecks:
    """Base class of configs: checks every field, and lists the options in the docstring."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        fields = ((name, value) for name, value in vars(cls).items() if isinstance(value, dataclasses.Field))
        texts = [f"{name}: {text}." for name, value in fields if (text := value.metadata.get("help"))]
        if texts and cls.__doc__:
            lines = [textwrap.fill(text, 116, initial_indent="    ", subsequent_indent=" " * 8) for text in texts]
            text, *rest = re.split(r"\n(?=(?:Raises|Example):\n)", inspect.cleandoc(cls.__doc__), maxsplit=1)
            cls.__doc__ = "\n".join([text.rstrip(), "", "Args:", *lines, *(f"\n{part}" for part in rest)])

    def check_fields(self) -> None:
        """Raise unless every field's value matches its annotation and is within the limits of its `option`.

        Raises:
            CompressionConfigError: a value is invalid; the message says what would be valid.
            TypeError: an annotation cannot be resolved in its class's module, or a field that is not a number has
                limits.

        Example:
            >>> hf_tokcomp.CompressionConfig(method="ltbm").check_fields()  # which every config does when it is created
        """
        cls: Any = type(self)
        for name, kinds, limits in _demands(cls):
            value = getattr(self, name)
            if not any(_fits(value, kind, limits) for kind in kinds):
                raise CompressionConfigError(f"{name}={shown(value)} must be {_said_of(kinds, limits, value)}.")


def needed_by(config: Any) -> frozenset[str]:
    """The inputs besides the features that a config's option values require."""
    names = [field.name for field in dataclasses.fields(config)]
    needs = ((getattr(config, name), metadata_of(type(config), name).get("needs")) for name in names)
    return frozenset().union(*(by_value.get(value, ()) for value, by_value in needs if by_value))


def metadata_of(cls: type, name: str) -> dict[str, Any]:
    """The metadata of a field; a subclass's entries override those of its bases."""
    fields = (vars(base).get("__dataclass_fields__", {}).get(name) for base in reversed(cls.__mro__))
    return {key: value for field in fields if field is not None for key, value in field.metadata.items()}


def values_of(cls: type, name: str) -> str:
    """A description of a field's valid values; empty for fields that `check_fields` does not check."""
    kinds = kinds_of(annotations_of(cls)[name])
    if not all(_is_plain(kind) for kind in kinds):
        return ""
    return _said_of(kinds, metadata_of(cls, name), None) + (" or none" if types.NoneType in kinds else "")


def kinds_of(annotation: Any) -> list[Any]:
    """The members of a union; for any other annotation, a list with only itself."""
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return list(typing.get_args(annotation)) if union else [annotation]


@functools.cache
def annotations_of(cls: Any) -> dict[str, Any]:
    """The resolved annotations of a class and its bases.

    Raises:
        TypeError: one of them cannot be resolved in its class's module.
    """
    try:
        return typing.get_type_hints(cls)
    except NameError as error:
        raise TypeError(
            f"The options of {cls.__name__} cannot be checked: {error}; import that name in the class's module."
        ) from error


@functools.cache
def _demands(cls: Any) -> list[tuple[str, list[Any], Mapping[str, Any]]]:
    """Name, kinds and limits of every checkable field."""
    kinds = {field.name: kinds_of(annotations_of(cls)[field.name]) for field in dataclasses.fields(cls)}
    demands: list[tuple[str, list[Any], Mapping[str, Any]]] = []
    for name, members in kinds.items():
        limits = metadata_of(cls, name)
        checked = all(_is_plain(kind) for kind in members)
        if LIMITS & set(limits) and not (checked and {int, float} & set(members)):
            raise TypeError(f"{cls.__name__}.{name} has limits, so it must be annotated as int or float.")
        if checked:
            demands.append((name, members, limits))
    return demands


def _is_plain(kind: Any) -> bool:
    return kind in (bool, int, float, str, types.NoneType) or typing.get_origin(kind) is Literal


def _fits(value: Any, kind: Any, limits: Mapping[str, Any]) -> bool:
    """Whether the value is of that kind and within the limits. Booleans are not numbers here."""
    if typing.get_origin(kind) is Literal:
        return any(_is_same(value, choice) for choice in typing.get_args(kind))
    if kind not in (int, float):
        return isinstance(value, kind)
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        return False
    largest = 2**53 - 1 if kind is int else sys.float_info.max
    least, most = limits.get("at_least", -largest), limits.get("at_most", largest)
    return bool(least <= value <= most and limits.get("above", -math.inf) < value)  # NaN fails every comparison


def _is_same(value: Any, choice: Any) -> bool:
    return isinstance(value, type(choice)) and isinstance(value, bool) == isinstance(choice, bool) and value == choice


def _said_of(kinds: list[Any], limits: Mapping[str, Any], value: Any) -> str:
    """A description of the valid values, other than None."""
    return " or ".join(_said(kind, limits, value) for kind in kinds if kind is not types.NoneType)


def _said(kind: Any, limits: Mapping[str, Any], value: Any) -> str:
    """A description of the valid values of one kind."""
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        return f"one of {choices}" if len(choices) > 1 else repr(choices[0])
    if kind is bool:
        return "true or false"
    if kind is str:
        return "a text"
    return _integer(limits, value) if kind is int else _number(limits)


def _integer(limits: Mapping[str, Any], value: Any) -> str:
    words = {"above": "more than", "at_least": "at least", "at_most": "at most"}
    bounds = [f"{word} {limits[name]}" for name, word in words.items() if name in limits]
    said = f"an integer of {' and '.join(bounds)}" if bounds else "an integer"
    huge = isinstance(value, int) and value >= 2**53 and "at_most" not in limits
    return said + (" and" * bool(bounds) + " below 2^53" if huge else "")


def _number(limits: Mapping[str, Any]) -> str:
    words = {"above": ">", "at_least": ">=", "at_most": "at most"}
    bounds = [f"{word} {limits[name]:g}" for name, word in words.items() if name in limits]
    return f"a finite number {' and '.join(bounds)}".rstrip()
