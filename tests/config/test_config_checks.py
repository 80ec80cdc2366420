"""What annotations and `option` say of a field holds, also for the config of a method of one's own."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from drawn import CLASSES, SHARED

from hf_tokcomp import CompressionConfig, CompressionConfigError
from hf_tokcomp.config.checks import FieldChecks, metadata_of, needed_by, option

Colour = Literal["red", "blue"]


@dataclass(frozen=True, kw_only=True)
class Options(FieldChecks):
    """Options of every kind."""

    flag: bool = False
    number: float = 1.5
    whole: int = 3
    text: str = "x"
    colour: Colour = option("red", help="its colour", needs={"blue": {"keys"}})
    share: float = option(0.5, help="a share", above=0, at_most=1)
    least: float = option(1.0, help="a number", at_least=-2)
    size: int = option(4, help="a size", at_least=1, at_most=16)
    some: int | None = option(None, help="a count, or none", at_least=0)
    count: int | Literal["all"] = option(2, help="a count, or all", above=1)
    two: Literal[1, 2] = 1
    free: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self.check_fields()


@dataclass(frozen=True, kw_only=True)
class Derived(Options):
    """Another default, and one more option."""

    size: int = 5
    more: int = option(0, help="one more")


GOOD: dict[str, list[Any]] = {
    "flag": [True, False],
    "number": [0, -1, 2.5, 1e308],
    "whole": [-5, 2**53 - 1, -(2**53) + 1],
    "text": ["", "long"],
    "colour": ["blue"],
    "share": [1, 5e-324],
    "least": [-2, 1e300],
    "size": [1, 16],
    "some": [None, 0, 7],
    "count": [2, "all"],
    "two": [1, 2],
    "free": [(), [1], None],
}
BAD: dict[str, tuple[str, list[Any]]] = {
    "flag": ("true or false", [0, 1, None, "true"]),
    "number": ("a finite number", [None, True, "1", math.nan, math.inf, -math.inf, 10**400, -(10**400)]),
    "whole": ("an integer", [None, True, 1.0, "1", math.nan, 2**53, -(2**53)]),
    "text": ("a text", [None, 1, b"x"]),
    "colour": (r"one of \('red', 'blue'\)", [None, "green", ["red"], 1, True]),
    "share": ("a finite number > 0 and at most 1", [0, 1.0001, math.nan, None, True]),
    "least": ("a finite number >= -2", [-2.1, math.inf, math.nan, -math.inf]),
    "size": ("an integer of at least 1 and at most 16", [0, 17, 4.0, True, None, 10**400]),
    "some": ("an integer of at least 0", [-1, 0.5, False, "none"]),
    "count": ("an integer of more than 1 or 'all'", [1, "some", None, True, 2.5]),
    "two": (r"one of \(1, 2\)", [True, 0, "1"]),
}


@pytest.mark.parametrize("cls", [Options, Derived])
def test_a_field_takes_what_it_says_and_nothing_else(cls: Any) -> None:
    for name, values in GOOD.items():
        for value in values:
            assert getattr(cls(**{name: value}), name) == value
    assert set(BAD) | {"free"} == set(GOOD)
    for name, (wanted, values) in BAD.items():
        for value in values:
            with pytest.raises(CompressionConfigError, match=f"^{name}=.* must be {wanted}"):
                cls(**{name: value})
    with pytest.raises(CompressionConfigError, match=r"whole=9007199254740992 must be an integer below 2\^53\."):
        cls(whole=2**53)


def test_a_config_of_ones_own_is_checked_without_a_word() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Own(CompressionConfig):
        method: str = "own"
        power: float = 2.0
        max_tokens: int | None = 9

    assert (Own(power=1).power, Own().max_tokens) == (1, 9)
    with pytest.raises(CompressionConfigError, match="power='2' must be a finite number"):
        Own(power="2")  # type: ignore[arg-type]
    with pytest.raises(CompressionConfigError, match="max_tokens=0 must be an integer of at least 1"):
        Own(max_tokens=0)  # the limit of the base class, though the default is another one


def test_what_could_not_be_checked_is_said() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Limited(FieldChecks):
        odd: Any = option(1, help="a number of some kind", at_least=1)

    @dataclass(frozen=True, kw_only=True)
    class Unknown(FieldChecks):
        odd: Missing = 1  # type: ignore[name-defined] # noqa: F821

    with pytest.raises(TypeError, match=r"Limited\.odd has limits, so it must be annotated as int or float"):
        Limited().check_fields()
    with pytest.raises(TypeError, match=r"options of Unknown cannot be checked: .*Missing.* import that name"):
        Unknown().check_fields()


def test_docstrings_list_the_options() -> None:
    assert "\nArgs:\n    colour: its colour.\n    share: a share.\n" in (Options.__doc__ or "")
    assert Derived.__doc__ == "Another default, and one more option.\n\nArgs:\n    more: one more."
    assert metadata_of(Derived, "size") == {"help": "a size", "at_least": 1, "at_most": 16}


def test_needs_follow_the_options() -> None:
    assert needed_by(Options()) == frozenset()
    assert needed_by(Derived(colour="blue")) == {"keys"}


@pytest.mark.parametrize("cls", [CompressionConfig, *CLASSES])
def test_every_option_of_every_method_says_what_it_is(cls: type[CompressionConfig]) -> None:
    for name in (field.name for field in dataclasses.fields(cls)):
        if name != "method":
            said = metadata_of(cls, name).get("help", "")
            assert 5 < len(said) < 400, f"write {name} of {cls.__name__} as option(..., help=...)"
            assert not said.endswith(".")
            if name not in SHARED or cls is CompressionConfig:
                assert f"\n    {name}: " in (cls.__doc__ or "")
