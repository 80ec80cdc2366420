"""The report of the decoding benchmark as tables, for the terminal and for a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...config.notation import ratio_name
from ...reporting.pages import NOTHING, Table, as_markdown, machine_line, mebibytes, number, percent, workload_name
from ..speed.tables import model_line

BEGIN = "<!-- begin: written by hf-tokcomp bench of a decoder --markdown{place} -->"
"""Start marker of the tables on a page; ``place`` is empty, or # and a name."""
TOKENS = (
    *("compression", "ratio", "tokens read", "cross cache, MiB a stream", "self cache, MiB a stream", "ms a token"),
    *("fastest", "slowest", "times none", "bound", "reached, %", "by operations", "MiB read a step"),
)


def tables(report: dict[str, Any]) -> list[Table]:
    """Two tables per length of audio and batch size become one for decoding each, and one per length before it."""
    found = []
    for seconds in report["plan"]["audio_seconds"]:
        own = [row for row in report["rows"] if row["seconds"] == seconds]
        for audios in dict.fromkeys(row["batch_size"] for row in own):
            rows = [row for row in own if row["batch_size"] == audios]
            found.append(Table(f"Decoding, {_where(report, seconds, audios)}", TOKENS, list(map(_decoding, rows))))
        if own:
            found.append(_first(own, _where(report, seconds, 1)))
    return found


def _where(report: dict[str, Any], seconds: float, audios: int) -> str:
    name = workload_name(seconds, audios)
    return name if not report["plan"]["ragged"] else name.replace("x ", "x up to ")


def _decoding(row: dict[str, Any]) -> list[str]:
    times = [number(1e3 * row["token"][which]) for which in ("median", "low", "high")]
    gained = [NOTHING if row["times_none"] is None else number(row["times_none"]), *[NOTHING] * 3]
    if row["bound"] is not None:
        allowed = row["bound"]
        gained[1:] = [number(allowed["times_none"]), percent(allowed["reached"]), number(allowed["operations"])]
    return [
        *_head(row),
        str(max(row["tokens_after"])),
        mebibytes(row["cross_bytes_per_stream"]),
        mebibytes(row["self_bytes_per_stream"]),
        *times,
        *gained,
        mebibytes(row["step"]["bytes"]),
    ]


def _first(rows: Sequence[dict[str, Any]], where: str) -> Table:
    """Up to the first token: what a window takes, then what each batch takes."""
    sizes = list(dict.fromkeys(row["batch_size"] for row in rows))
    columns = ["compression", "ratio", "encoder", "compressor", *(f"then a first token of {size}" for size in sizes)]
    by_name: dict[tuple[str, ...], dict[int, dict[str, Any]]] = {}
    for row in rows:
        by_name.setdefault(tuple(_head(row)), {})[row["batch_size"]] = row
    lines = []
    for head, own in by_name.items():
        window = [number(1e3 * next(iter(own.values()))[part]["median"]) for part in ("encoder", "compressor")]
        first = [number(1e3 * own[size]["first"]["median"]) if size in own else NOTHING for size in sizes]
        lines.append([*head, *window, *first])
    return Table(f"Milliseconds to the first token, {where}", columns, lines)


def _head(row: dict[str, Any]) -> list[str]:
    ratio = row["retention_ratio"]
    return [row["candidate"], NOTHING if ratio is None else ratio_name(ratio)]


def notes(report: dict[str, Any]) -> list[str]:
    """Machine, model, noise, what the bound is, and what is missing."""
    model, rows, rates = report["model"], report["rows"], report["rates"]
    lines = [machine_line(report["machine"], model["dtype"]), model_line(model)]
    if rows:
        fewest = min(row["rounds"] for row in rows)
        lines.append(
            f"Medians of at least {fewest} rounds of {report['plan']['new_tokens']} tokens, in turns. Times none: the "
            f"mean of both uncompressed models over the row, {_noise(report['noise'])}."
        )
        lines.append(_bound_line(rows, rates))
    for entry in report["left_out"]:
        where = workload_name(entry["seconds"], entry["batch_size"])
        lines.append(f"Left out: {entry['candidate']}, {where}: {entry['reason']}.")
    for method, reason in report.get("not_measured", {}).items():
        lines.append(f"Left out: {method}: {reason}.".replace("..", "."))
    return lines


def _noise(noise: Sequence[dict[str, Any]]) -> str:
    apart = [f"{percent(each['apart'])} % with {workload_name(each['seconds'], each['batch_size'])}" for each in noise]
    return f"which are apart by {', '.join(apart)}" if apart else "of which there is one"


def _bound_line(rows: Sequence[dict[str, Any]], rates: dict[str, float]) -> str:
    """What this device does in a second, and by what the steps are bound on it."""
    own = [row["step"]["operations_per_byte"] for row in rows]
    kinds = [row["bound"]["by"] for row in rows if row["bound"] is not None]
    by = " and ".join(dict.fromkeys(kinds)) or NOTHING
    return (
        f"The device reads {number(rates['bytes'] / 1e9)} GB/s and computes {number(rates['operations'] / 1e9)} G "
        f"operations/s, {number(rates['balance'])} in the time of a byte; the steps need {number(min(own))} to "
        f"{number(max(own))}. The bound is by {by}."
    )


def markdown(report: dict[str, Any], level: int = 3) -> str:
    """The tables and notes for a page, under headings of this level."""
    return as_markdown(tables(report), notes(report), level)
