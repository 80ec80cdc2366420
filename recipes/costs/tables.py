"""The report of the method benchmark as tables, for the terminal and for a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hf_tokcomp.config.notation import ratio_name
from hf_tokcomp.reporting.pages import (
    NOTHING,
    Table,
    as_markdown,
    machine_line,
    mebibytes,
    number,
    percent,
    workload_name,
)

BEGIN = "<!-- begin: written by python -m recipes.costs --markdown -->"


def tables(report: dict[str, Any], all_ratios: bool = True) -> list[Table]:
    """Shares, memory, growth, and a table of parts per workload, at all ratios or only at the middle one."""
    rows = [row for row in report["rows"] if row["chunk_seconds"] is None]
    cells = sorted(((seconds, audios) for seconds, audios in report["workloads"]), key=lambda cell: cell[::-1])
    ratios = " / ".join(ratio_name(ratio) for ratio in _ratios(report))
    found = [
        _by_workload(f"Time in % of the encoder's, at {ratios}", rows, cells, lambda row: percent(row["share"])),
        _by_workload(f"Peak extra memory in MiB, at {ratios}", rows, cells, lambda row: mebibytes(row["peak_bytes"])),
    ]
    middle = sorted(_ratios(report))[len(_ratios(report)) // 2]
    for cell in cells:
        of_cell = [row for row in rows if (row["seconds"], row["batch_size"]) == cell]
        if not of_cell:
            continue
        wanted = [row for row in of_cell if all_ratios or row["retention_ratio"] in (middle, None)]
        encoder = number(1e3 * of_cell[0]["encoder"]["median"])
        at = "" if all_ratios else f" at {ratio_name(middle)}"
        found.append(
            Table(
                f"Milliseconds{at}, {workload_name(*cell)} (the encoder: {encoder})",
                ("method", "ratio", "supply", "assign", "apply", "total", "fastest", "slowest", "% of encoder"),
                [_parts(row) for row in wanted],
            )
        )
    if report["growth"]:
        found.append(_growth(report))
    return found


def _ratios(report: dict[str, Any]) -> list[float]:
    return list(report["plan"]["ratios"])


def _by_workload(title: str, rows: list[dict[str, Any]], cells: Sequence[tuple[float, int]], show: Any) -> Table:
    names = list(dict.fromkeys(row["method"] for row in rows))
    lines = []
    for name in names:
        line = [name]
        for cell in cells:
            own = [row for row in rows if row["method"] == name and (row["seconds"], row["batch_size"]) == cell]
            line.append(" / ".join(show(row) for row in own) or NOTHING)
        lines.append(line)
    return Table(title, ("method", *(workload_name(*cell) for cell in cells)), lines)


def _parts(row: dict[str, Any]) -> list[str]:
    parts = [NOTHING if row[part] is None else number(1e3 * row[part]["median"]) for part in ("supply", "assign")]
    parts += [number(1e3 * row[part]["median"]) for part in ("apply", "total")]
    parts += [number(1e3 * row["total"][end]) for end in ("low", "high")]
    ratio = row["retention_ratio"]
    return [row["method"], NOTHING if ratio is None else ratio_name(ratio), *parts, percent(row["share"])]


def _growth(report: dict[str, Any]) -> Table:
    lines = []
    for entry in report["growth"]:
        chunked = [percent(cell["share"]) for cell in entry["chunked"]]
        exponents = (entry["exponent"], entry["own_exponent"], entry["encoder_exponent"])
        grows = "yes" if entry["faster"] else "no"
        lines.append([entry["method"], *(f"{p:.2f}" for p in exponents), grows, " / ".join(chunked) or NOTHING])
    rows = [row for row in report["rows"] if row["method"] == report["growth"][0]["method"]]
    lengths = sorted({row["seconds"] for row in rows if row["batch_size"] == min(report["plan"]["batch_sizes"])})
    spans = ", ".join(workload_name(seconds, 1) for seconds in lengths)
    columns = ("method", "all of it", "assign and apply", "encoder", "faster than the encoder", "in chunks of 30 s, %")
    return Table(f"Growth with the audio's length N as N^p: p over {spans}", columns, lines)


def notes(report: dict[str, Any]) -> list[str]:
    """Notes on the tables: machine, versions, how the encoder was timed, and what is missing."""
    lines = [machine_line(report["machine"], report["plan"]["dtype"]), report["encoder"]]
    return lines + [f"Left out: {entry['method']}: {entry['reason']}." for entry in report["left_out"]]


def markdown(report: dict[str, Any]) -> str:
    """The tables and notes for a page, with the parts at only one ratio."""
    return as_markdown(tables(report, all_ratios=False), notes(report))
