"""Measure the effect of compression: benchmarks, sweeps over methods and ratios, metrics with intervals, tables."""

from importlib import import_module
from typing import Any

__all__ = ["Dataset", "Item", "Speech", "Task", "evaluate", "read_scores", "register_task"]

_HERE = {
    "Dataset": "items",
    "Item": "task",
    "Speech": "speech",
    "Task": "task",
    "evaluate": "evaluation",
    "read_scores": "score",
    "register_task": "tasks",
}


def __getattr__(name: str) -> Any:
    # Imported lazily: `datasets` and `peft` take seconds, and planning a sweep needs neither.
    if name not in _HERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HERE[name]}", __name__), name)
