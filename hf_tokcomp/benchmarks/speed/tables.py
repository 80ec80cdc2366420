"""The report of the speed benchmark as tables, for the terminal and for a page."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from ...config.notation import ratio_name
from ...reporting.pages import NOTHING, Table, as_markdown, machine_line, mebibytes, number, percent, workload_name

BEGIN = "<!-- begin: written by hf-tokcomp bench --markdown{place} -->"
"""Start marker of the tables on a page; ``place`` is empty, or # and a name."""
MANY = 3
"""Number of audio lengths from which tables are organised by length."""
PARTS = ("features", "encoder", "compressor", "projector", "prefill")


def tables(report: dict[str, Any]) -> list[Table]:
    """Two tables per workload, phases and bound; one of clips together and one by one; one of growth.

    With three or more lengths, tables by length replace those by workload.
    """
    many = len({seconds for seconds, _ in report["workloads"]}) >= MANY
    found = _by_length(report) if many and report["rows"] else []
    for seconds, audios in report["workloads"]:
        rows = [row for row in report["rows"] if (row["seconds"], row["batch_size"]) == (seconds, audios)]
        together = [row for row in rows if row["way"] == "batch"]
        ragged = "up to " if rows and len(set(rows[0]["lengths"])) > 1 else ""
        where = workload_name(seconds, audios).replace("x ", f"x {ragged}")
        if together and not many:
            found += [_phases(where, together), _bounds(where, together)]
        if len(together) < len(rows):
            found.append(_ways(where, rows, report["plan"]["new_tokens"]))
    if report["growth"]:
        found.append(_growth(report["growth"]))
    return found


def _phases(where: str, rows: Sequence[dict[str, Any]]) -> Table:
    columns = ("compression", "ratio", "audio tokens", *PARTS, "sum", "total", "fastest", "slowest", "per token after")
    lines = []
    for row in rows:
        parts = [_milliseconds(row[part]["median"]) for part in PARTS]
        ends = [_milliseconds(row["total"][end]) for end in ("median", "low", "high")]
        step = NOTHING if row["decode"] is None else _milliseconds(row["decode"]["median"])
        lines.append([*_head(row), _tokens(row), *parts, _milliseconds(row["phase_sum"]), *ends, step])
    return Table(f"Milliseconds to the first token, {where}", columns, lines)


def _bounds(where: str, rows: Sequence[dict[str, Any]]) -> Table:
    columns = (
        *("compression", "ratio", "speed-up", "bound", "reached, %", "bound with floor", "reached of it, %"),
        *("peak MiB", "cache MiB"),
    )
    lines = []
    for row in rows:
        speedup = NOTHING if row["speedup"] is None else number(row["speedup"])
        allowed = [NOTHING] * 4
        if row["bound"] is not None:
            allowed[:2] = [number(row["bound"]["speedup"]), percent(row["reached"])]
            if row["bound"]["floor_speedup"] is not None:
                allowed[2:] = [number(row["bound"]["floor_speedup"]), percent(row["reached_above_floor"])]
        lines.append([*_head(row), speedup, *allowed, mebibytes(row["peak_bytes"]), mebibytes(row["cache_bytes"])])
    return Table(f"Speed-up to the first token, its bound, and memory, {where}", columns, lines)


def _ways(where: str, rows: Sequence[dict[str, Any]], new_tokens: int) -> Table:
    columns = ("compression", "ratio", "clips", "first tokens", f"all {new_tokens} tokens", "encoder", "peak MiB")
    lines = []
    for row in sorted(rows, key=lambda row: (row["candidate"], -(row["retention_ratio"] or 1))):
        times = [_milliseconds(row[name]["median"]) for name in ("total", "whole", "encoder")]
        way = "together" if row["way"] == "batch" else row["way"]
        lines.append([*_head(row), way, *times, mebibytes(row["peak_bytes"])])
    return Table(f"Milliseconds for all clips, together and one by one, {where}", columns, lines)


def _by_length(report: dict[str, Any]) -> list[Table]:
    """Tables with one column per workload."""
    rows = [row for row in report["rows"] if row["way"] == "batch"]
    workloads = [(seconds, audios) for seconds, audios in report["workloads"]]
    shown: dict[str, Callable[[dict[str, Any]], str]] = {
        "Milliseconds to the first token": lambda row: _milliseconds(row["total"]["median"]),
        "of these, in the encoder": lambda row: _milliseconds(row["encoder"]["median"]),
        "of these, in the compressor": lambda row: _milliseconds(row["compressor"]["median"]),
        "of these, in the prefill": lambda row: _milliseconds(row["prefill"]["median"]),
        "Milliseconds per token after the first": lambda row: (
            NOTHING if row["decode"] is None else _milliseconds(row["decode"]["median"])
        ),
        "Share of the bound's speed-up, %": lambda row: NOTHING if row["bound"] is None else percent(row["reached"]),
        "Peak memory beside the weights, MiB": lambda row: mebibytes(row["peak_bytes"]),
        "Key-value cache, MiB": lambda row: mebibytes(row["cache_bytes"]),
    }
    names = list(dict.fromkeys(tuple(_head(row)) for row in rows))
    columns = ("compression", "ratio", *(workload_name(*workload) for workload in workloads))
    found = []
    for title, show in shown.items():
        cells = {(*_head(row), row["seconds"], row["batch_size"]): show(row) for row in rows}
        lines = [[*name, *(cells.get((*name, *workload), NOTHING) for workload in workloads)] for name in names]
        found.append(Table(title, columns, lines))
    return found


def _growth(entries: Sequence[dict[str, Any]]) -> Table:
    columns = ("compression", "ratio", "first token", "encoder", "prefill", "peak", "key-value cache")
    names = ("total", "encoder", "prefill", "peak_bytes", "cache_bytes")
    lines = [[*_head(entry), *(f"{entry[name]:.2f}" for name in names)] for entry in entries]
    lengths = ", ".join(workload_name(seconds, 1) for seconds in entries[0]["seconds"])
    return Table(f"Growth with the audio's length N as N^p: p over {lengths}", columns, lines)


def _head(row: dict[str, Any]) -> list[str]:
    ratio = row["retention_ratio"]
    return [row["candidate"], NOTHING if ratio is None else ratio_name(ratio)]


def _tokens(row: dict[str, Any]) -> str:
    return str(max(row["tokens_after"]))


def _milliseconds(seconds: float) -> str:
    return number(1e3 * seconds)


def notes(report: dict[str, Any]) -> list[str]:
    """Notes on the tables: machine, model, the difference between sums and totals, and what is missing."""
    model, rows = report["model"], report["rows"]
    lines = [machine_line(report["machine"], model["dtype"]), model_line(model)]
    if rows:
        away = sorted(abs(row["phase_sum"] / row["total"]["median"] - 1) for row in rows)
        fewest = min(row["rounds"] for row in rows)
        lines.append(
            f"Medians of at least {fewest} rounds. The phases' sum and the total come from separate calls and differ "
            f"by {percent(statistics.median(away))} % in the median, by {percent(away[-1])} % at most."
        )
    for entry in report["left_out"]:
        where = workload_name(entry["seconds"], entry["batch_size"])
        lines.append(f"Left out: {entry['candidate']}, {where}: {entry['reason']}.")
    for method, reason in report.get("not_measured", {}).items():
        lines.append(f"Left out: {method}: {reason}.".replace("..", "."))
    return lines


def model_line(model: dict[str, Any]) -> str:
    """A measured model in one line: its name, size and weights."""
    size = f"{number(model['parameters'] / 1e6)} million parameters, {mebibytes(model['weight_bytes'])} MiB"
    layers = model["layers"]
    cut = "" if layers is None else f" Cut down to {layers} {'layer' if layers == 1 else 'layers'} in each stack."
    return f"{model['name']}: {size}; weights: {model['weights']}.{cut}"


def markdown(report: dict[str, Any], level: int = 3) -> str:
    """The tables and notes for a page, under headings of this level."""
    return as_markdown(tables(report), notes(report), level)
