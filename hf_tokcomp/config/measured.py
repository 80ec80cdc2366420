"""What pretrained weights showed of the methods: words written right by Whisper tiny.en, without training.

The numbers are in ``measured.json``, which ``python -m recipes.real_weights --summary`` writes; docs/real-weights.md
has all of them, with intervals.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .notation import ratio_name

FILE = Path(__file__).with_name("measured.json")


@functools.cache
def measured() -> Mapping[str, Any]:
    """``model``, ``data`` and ``ratios``; by tokens a second ``all`` in % and by method ``words_right``."""
    found: Mapping[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def words_right(method: str) -> str | None:
    """What was measured of a method and of its options, in a sentence; None for one that was not measured."""
    found = measured()
    rates: Mapping[str, Any] = found["rates"]
    names = dict.fromkeys(name for values in rates.values() for name in values["words_right"])
    own = [name for name in names if name.partition(":")[0] == method]
    if not own:
        return None
    ratios = ", ".join(map(ratio_name, found["ratios"]))
    head = f"words written right in %, {found['model']} on {found['data']}, untrained, with {ratios} of the tokens"
    said = []
    for name in own:
        options = name.partition(":")[2]
        numbers = [
            f"{', '.join(f'{value:.1f}' for value in values['words_right'][name])} at {rate} tokens a second"
            + ("" if options else f" (with all {values['all']:.1f})")
            for rate, values in rates.items()
        ]
        said.append((f"with `{options}` " if options else "") + " and ".join(numbers))
    return f"{head}: {'; '.join(said)}."
