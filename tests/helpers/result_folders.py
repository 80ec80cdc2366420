"""What an evaluation leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def results_in(folder: Path) -> dict[str, Any]:
    """The results that an evaluation has written."""
    found: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return found
