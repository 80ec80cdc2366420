"""The kinds of tasks and their default prompts: one list for `eval`, `finetune` and metrics."""

from __future__ import annotations

import logging
from typing import Literal, get_args

from ..messages import did_you_mean

logger = logging.getLogger(__name__)

Kind = Literal["asr", "translation", "captioning", "question_answering", "multiple_choice"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ALIASES: dict[str, Kind] = {"qa": "question_answering", "choice": "multiple_choice"}
"""Earlier names of two of them."""
PROMPTS: dict[str, str] = {
    "asr": "Transcribe the input speech.",
    "translation": "Translate the input speech.",
    "captioning": "Please describe the audio in detail.",
    "question_answering": "",
    "multiple_choice": "",
}
"""Default prompts if neither the data nor the model nor the user provides one; "" if only the data can."""


def kind_named(name: str) -> Kind:
    """The kind with this name; earlier names work too, with a hint about the current one.

    Raises:
        ValueError: there is no such kind; the message names the closest.
    """
    if name in ALIASES:
        logger.warning("The task %s is called %s now; the old name goes on working.", name, ALIASES[name])
        return ALIASES[name]
    if name not in KINDS:
        meant = did_you_mean(name, KINDS).removesuffix(".")
        raise ValueError(f"There is no task {name!r}{meant}; there are {', '.join(KINDS)}.")
    return name
