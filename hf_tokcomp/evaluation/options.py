"""The options of a multiple choice question: as tables write them, and as answers name them."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from .task import letter


def options(value: Any) -> tuple[str, ...]:
    """The options of a question, given as a list, as JSON or as Python writes a list.

    Raises:
        ValueError: they cannot be read, are fewer than two, or one has no letter or digit to look for.
    """
    if isinstance(value, str):
        for read in (json.loads, ast.literal_eval):
            try:
                value = read(value)
                break
            except (ValueError, SyntaxError):
                continue
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, str) or not isinstance(value, list | tuple | np.ndarray) or len(value) < 2:
        raise ValueError(f"the choices are {str(value)[:80]!r}, no list of options")
    found = tuple(str(option).strip() for option in value)
    empty = [option for option in found if not re.search(r"\w", option)]
    if empty:
        raise ValueError(f"the choice {empty[0]!r} has no letter or digit")
    return found


def chosen(answer: str, choices: Sequence[str]) -> str:
    """The option that a table's answer names: by its words, or by its letter.

    Raises:
        ValueError: it names none.
    """
    if answer in choices:
        return answer
    alike = [choice for choice in choices if " ".join(choice.split()).casefold() == " ".join(answer.split()).casefold()]
    if alike:
        return alike[0]
    for place, choice in enumerate(choices):
        name = letter(place)
        if answer.strip("(). ") == name or answer.startswith((f"({name}) ", f"{name}. ", f"{name}) ")):
            return choice
    raise ValueError(f"the answer {answer!r} is none of the choices {', '.join(choices)}")


def without_letter(text: str, choices: Sequence[str]) -> str:
    """What a model wrote, without the letter that we gave the option: "(B) rain" is "rain", and "B." the option itself.

    MMAU's rule compares words, and would take the letter A for one.
    """
    names = "|".join(letter(place) for place in range(len(choices)))
    found = re.match(rf"\s*(?:\(({names})\)|({names})[.):])\s*|\s*({names})\s*$", text)
    if found is None:
        return text
    rest = text[found.end() :].strip()
    place = [letter(place) for place in range(len(choices))].index(next(filter(None, found.groups())))
    return rest or choices[place]
