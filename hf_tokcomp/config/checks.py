"""FieldChecks: a config's fields are checked by their annotations, and by what `option` says of them.

A field annotated with ``bool``, ``int``, ``float``, ``str`` or a ``Literal``, or with several of them, ``| None``
included, takes such values and no others. What has any other annotation is left to ``__post_init__``.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
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
    """A field of a config, with what is to be known of it, as `dataclasses.field` makes one.

    Args:
        default: its default.
        help: what it is, in a few words; `hf-tokcomp methods` and the docstring of the config show it.
        above: numbers must be larger than this.
        at_least: the smallest number.
        at_most: the largest number. Where it is not given, integers stay below 2^53, where every JSON reader is exact.
        needs: what a method looks at beside the features, by the option's value, see
            `hf_tokcomp.compressors.base.AudioTokenCompressor.requires`.
        compare: whether configs that differ in it alone are different.
    """
    given = {"help": help, "above": above, "at_least": at_least, "at_most": at_most, "needs": needs}
    metadata = {key: value for key, value in given.items() if value is not None}
    field: T = dataclasses.field(default=default, metadata=metadata, compare=compare)
    return field


class FieldChecks:
    """Base class of configs: checks of one field each, and a docstring that lists the options."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        fields = ((name, value) for name, value in vars(cls).items() if isinstance(value, dataclasses.Field))
        texts = [f"{name}: {text}." for name, value in fields if (text := value.metadata.get("help"))]
        if texts and cls.__doc__:
            lines = [textwrap.fill(text, 116, initial_indent="    ", subsequent_indent=" " * 8) for text in texts]
            before, raises, errors = inspect.cleandoc(cls.__doc__).partition("\nRaises:")
            cls.__doc__ = "\n".join([before.rstrip(), "", "Args:", *lines]) + (f"\n{raises}{errors}" if raises else "")

    def check_fields(self) -> None:
        """Raise unless every field has a value of its annotation, within the limits of its `option`.

        Raises:
            CompressionConfigError: a field has not; the message names it, its value, and what would be right.
            TypeError: an annotation names what is not in the module of its class, or limits are none of a number's.
        """
        cls: Any = type(self)
        for name, kinds, limits in _demands(cls):
            value = getattr(self, name)
            if not any(_fits(value, kind, limits) for kind in kinds):
                raise CompressionConfigError(f"{name}={shown(value)} must be {_said_of(kinds, limits, value)}.")


def needed_by(config: Any) -> frozenset[str]:
    """What the values of a config's options make a method look at beside the features."""
    names = [field.name for field in dataclasses.fields(config)]
    needs = ((getattr(config, name), metadata_of(type(config), name).get("needs")) for name in names)
    return frozenset().union(*(by_value.get(value, ()) for value, by_value in needs if by_value))


def metadata_of(cls: type, name: str) -> dict[str, Any]:
    """What `option` says of a field: its class's words before those of the bases, where only the default is new."""
    fields = (vars(base).get("__dataclass_fields__", {}).get(name) for base in reversed(cls.__mro__))
    return {key: value for field in fields if field is not None for key, value in field.metadata.items()}


def values_of(cls: type, name: str) -> str:
    """What a field takes, in words; empty where `check_fields` cannot tell."""
    kinds = kinds_of(annotations_of(cls)[name])
    if not all(_is_plain(kind) for kind in kinds):
        return ""
    return _said_of(kinds, metadata_of(cls, name), None) + (" or none" if types.NoneType in kinds else "")


def kinds_of(annotation: Any) -> list[Any]:
    """The members of a union; of anything else the list of it alone."""
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return list(typing.get_args(annotation)) if union else [annotation]


@functools.cache
def annotations_of(cls: Any) -> dict[str, Any]:
    """A class's annotations and those of its bases, as objects.

    Raises:
        TypeError: one names what is not in the module of its class.
    """
    try:
        return typing.get_type_hints(cls)
    except NameError as error:
        raise TypeError(
            f"The options of {cls.__name__} cannot be checked: {error}; import it in its module."
        ) from error


@functools.cache
def _demands(cls: Any) -> list[tuple[str, list[Any], Mapping[str, Any]]]:
    """Name, kinds and limits of every field that can be checked."""
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
    """Whether the value is of that kind and within the limits. True is no number here."""
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
    """What a value must be, other than None."""
    return " or ".join(_said(kind, limits, value) for kind in kinds if kind is not types.NoneType)


def _said(kind: Any, limits: Mapping[str, Any], value: Any) -> str:
    """What a value of that kind must be."""
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
