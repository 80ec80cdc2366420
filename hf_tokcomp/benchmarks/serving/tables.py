"""The report of the serving benchmark as tables, for the terminal and for a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...config.notation import ratio_name
from ...reporting.pages import NOTHING, Table, as_markdown, machine_line, number, percent, workload_name

BEGIN = "<!-- begin: written by hf-tokcomp bench --engine vllm --markdown{place} -->"
"""Start marker of the tables on a page; ``place`` is empty, or # and a name."""
LATENCY = ("first token, ms", "99 % within", "answer, ms", "99 % within")
"""Columns of medians and 99th percentiles."""
AT_ONCE = (
    *("compression", "ratio", "audio tokens", "prompt", "blocks per request", "blocks", "at once", "bound"),
    *("G operations", "of none, %"),
)
FIXED = ("compression", "ratio", "requests/s", "audio s/s", "times none", "bound", *LATENCY)
ARRIVALS = ("compression", "ratio", "asked/s", "answered/s", "in time, %", *LATENCY)


def tables(report: dict[str, Any]) -> list[Table]:
    """Requests at once; throughput by concurrency; random arrivals."""
    rows = report["rows"]
    clip = workload_name(report["plan"]["audio_seconds"], 1)
    found = [_at_once(rows, clip)] if rows else []
    for clients in report["plan"]["concurrency"]:
        lines = [_fixed(row, one) for row in rows for one in row["fixed"] if one["concurrency"] == clients]
        if lines:
            found.append(Table(f"Throughput, {clients} at a time, clips of {clip}", FIXED, lines))
    for factor in report["plan"]["arrivals"]:
        lines = [_arrivals(row, one) for row in rows for one in row["arrivals"] if one["factor"] == factor]
        if lines:
            title = f"Random arrivals at {factor:g} times the capacity without compression, clips of {clip}"
            found.append(Table(title, ARRIVALS, lines))
    return found


def _at_once(rows: Sequence[dict[str, Any]], clip: str) -> Table:
    plain = sum(rows[0]["operations"].values())
    lines = []
    for row in rows:
        work = sum(row["operations"].values())
        names = ("audio_tokens", "prompt_tokens", "blocks_per_request", "kv_blocks")
        once = NOTHING if row["at_once"] is None else str(row["at_once"])
        counts = [*(str(row[name]) for name in names), once, str(row["at_once_bound"])]
        lines.append([*_head(row), *counts, number(work / 1e9), percent(work / plain)])
    return Table(f"Requests at once, and operations of each, clips of {clip}", AT_ONCE, lines)


def _fixed(row: dict[str, Any], one: dict[str, Any]) -> list[str]:
    values = (one["requests_per_second"], one["audio_seconds_per_second"], one["times_none"], row["bound"])
    return [*_head(row), *map(number, values), *_latency(one)]


def _arrivals(row: dict[str, Any], one: dict[str, Any]) -> list[str]:
    share = percent(one["in_time"] / one["requests"])
    return [*_head(row), number(one["rate"]), number(one["requests_per_second"]), share, *_latency(one)]


def _latency(one: dict[str, Any]) -> list[str]:
    return [number(1e3 * one[part][which]) for part in ("first_token", "end_to_end") for which in ("median", "p99")]


def _head(row: dict[str, Any]) -> list[str]:
    ratio = row["retention_ratio"]
    return [row["candidate"], NOTHING if ratio is None else ratio_name(ratio)]


def notes(report: dict[str, Any]) -> list[str]:
    """Machine, model, engine and how to read the tables."""
    rows, plan, model = report["rows"], report["plan"], report["model"]
    lines = []
    if rows:
        lines.append(machine_line(report["machine"], rows[0]["dtype"]))
    cut = "" if model["layers"] is None else f" Cut down to {model['layers']} layers in each stack."
    lines.append(
        f"{model['name']}: {number(model['parameters'] / 1e6)} million parameters; weights: {model['weights']}.{cut}"
    )
    if rows:
        lines.append(_engine_line(rows, plan))
    lines.append(
        f"{plan['requests']} requests in each measurement, of a clip each and answers of {plan['new_tokens']} tokens; "
        "prefix cache and cache of processed audio are off. Times are from the moment a request was due, in "
        "milliseconds, with the features, without HTTP."
    )
    lines.append(
        "At once: the most requests of one burst that ran together, with no preemption to their last token. Its bound: "
        "(blocks - 1) / blocks per request."
    )
    lines.append(
        "Times none: requests per second over the mean of both engines without compression. Its bound is that of the "
        "operations: encoder, projector, prefill and decoding, each as fast as before, the compressor free. More is "
        "possible where something else is in short supply, such as blocks."
    )
    if report["noise"]:
        apart = ", ".join(f"{percent(value)} % at {clients}" for clients, value in report["noise"].items())
        lines.append(f"The two engines without compression differ by {apart} at a time.")
    lines.append(
        "In time: share of the requests that had their answer when an idle server would have answered the last one."
    )
    for method, reason in report.get("not_measured", {}).items():
        lines.append(f"Left out: {method}: {reason}.".replace("..", "."))
    return lines


def _engine_line(rows: Sequence[dict[str, Any]], plan: dict[str, Any]) -> str:
    row = rows[0]
    names = ("block_size", "max_num_seqs", "max_num_batched_tokens", "max_model_len", "enforce_eager")
    said = ", ".join(f"{name} {row[name]}" for name in names)
    own = f" Given: {', '.join(f'{name}={value}' for name, value in plan['engine'].items())}." if plan["engine"] else ""
    limited = [each for each in rows if each["max_num_seqs"] < each["at_once_bound"]]
    bound = " Its max_num_seqs is below the bound of the blocks, and limits what runs at once." if limited else ""
    return f"vLLM's AsyncLLM in this process, the engine in another: {said}.{own}{bound}"


def markdown(report: dict[str, Any], level: int = 3) -> str:
    """The tables and notes for a page, under headings of this level."""
    return as_markdown(tables(report), notes(report), level)
