"""The results of `hf-tokcomp compare` by cell, as tests look at them: a method, a ratio and a kind of positions."""

from __future__ import annotations

from typing import Any

Cell = tuple[str, float | None, str | None]


def cells(values: dict[str, Any]) -> dict[Cell, dict[str, Any]]:
    """Scores, configs and answers of every cell; texts and counts are lists per seed of lists per recording."""
    found: dict[Cell, dict[str, Any]] = {}
    for key, run in values["runs"].items():
        given = [each for each in values["answers"] if each["run"] == key]
        cell = found.setdefault((run["method"], run["ratio"], run["positions"]), {"configs": [], "runs": []})
        cell["configs"].append(run["config"])
        cell["runs"].append(key)
        for name in ("text", "tokens_before", "tokens_after", "tokens_asked"):
            cell.setdefault(name, []).append([each.get(name) for each in given])
    for score in values["scores"]:
        cell = found[score["method"], score["ratio"], score["positions"]]
        name = {"wer_plain": "wer"}.get(score["metric"], score["metric"])
        cell[name], cell[f"{name}_by_seed"] = score["value"], score["by_seed"]
        cell |= {"kept": score["kept"], "asked": score["asked"]}
    return found


def texts(values: dict[str, Any]) -> list[list[list[str]]]:
    """The texts alone, cell by cell."""
    return [cell["text"] for cell in cells(values).values()]
