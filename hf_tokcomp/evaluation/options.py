"""Parse the options of multiple choice questions from tables, and match answers to them."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from .task import letter


def options(value: Any) -> tuple[str, ...]:
    """The options of a question, given as a list, as JSON or as a Python list literal.

    Raises:
        ValueError: they cannot be parsed, there are fewer than two, or one contains no letter or digit.
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
    """The option that an answer in a table refers to, by its words or by its letter.

    Raises:
        ValueError: it matches no option.
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
    """The model's answer without the option letter: "(B) rain" becomes "rain", and "B." becomes the option itself.

    MMAU's rule compares words and would take the letter A for a word.
    """
    names = "|".join(letter(place) for place in range(len(choices)))
    found = re.match(rf"\s*(?:\(({names})\)|({names})[.):])\s*|\s*({names})\s*$", text)
    if found is None:
        return text
    rest = text[found.end() :].strip()
    place = [letter(place) for place in range(len(choices))].index(next(filter(None, found.groups())))
    return rest or choices[place]
