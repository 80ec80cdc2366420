"""The report of the methods' benchmark as tables, for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..cli.output import print_table
from ..notation import ratio_name

BEGIN = "<!-- begin: written by python -m hf_tokcomp.benchmarks.methods --markdown -->"
END = "<!-- end -->"
NOTHING = "-"


class Table(NamedTuple):
    """A title, headings and cells; all columns but the first are numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(report: dict[str, Any], all_ratios: bool = True) -> list[Table]:
    """Shares, memory, growth, and a table of parts per workload: at all ratios, or at the one in the middle."""
    rows = [row for row in report["rows"] if row["chunk_seconds"] is None]
    cells = sorted(((seconds, audios) for seconds, audios in report["workloads"]), key=lambda cell: cell[::-1])
    ratios = " / ".join(ratio_name(ratio) for ratio in _ratios(report))
    found = [
        _by_workload(f"Time in % of the encoder's, at {ratios}", rows, cells, lambda row: percent(row["share"])),
        _by_workload(
            f"Peak extra memory in MiB, at {ratios}", rows, cells, lambda row: number(row["peak_bytes"] / 2**20)
        ),
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
                f"Milliseconds{at}, {_workload(cell)} (the encoder: {encoder})",
                ("method", "ratio", "supply", "assign", "apply", "total", "fastest", "slowest", "% of encoder"),
                [_parts(row) for row in wanted],
            )
        )
    if report["growth"]:
        found.append(_growth(report))
    return found


def _ratios(report: dict[str, Any]) -> list[float]:
    return list(report["plan"]["ratios"])


def _workload(cell: tuple[float, int]) -> str:
    seconds, audios = cell
    length = f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"
    return length if audios == 1 else f"{audios} x {length}"


def _by_workload(title: str, rows: list[dict[str, Any]], cells: Sequence[tuple[float, int]], show: Any) -> Table:
    names = list(dict.fromkeys(row["method"] for row in rows))
    lines = []
    for name in names:
        line = [name]
        for cell in cells:
            own = [row for row in rows if row["method"] == name and (row["seconds"], row["batch_size"]) == cell]
            line.append(" / ".join(show(row) for row in own) or NOTHING)
        lines.append(line)
    return Table(title, ("method", *map(_workload, cells)), lines)


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
    spans = ", ".join(_workload((seconds, 1)) for seconds in lengths)
    columns = ("method", "all of it", "assign and apply", "encoder", "faster than the encoder", "in chunks of 30 s, %")
    return Table(f"Growth with the audio's length N as N^p: p over {spans}", columns, lines)


def number(value: float) -> str:
    """Three digits at most, or all before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def percent(share: float) -> str:
    """A share of one in %, without the sign."""
    return "<0.001" if 0 < share < 1e-5 else f"{100 * share:.2g}" if share < 0.1 else f"{100 * share:.0f}"


def notes(report: dict[str, Any]) -> list[str]:
    """What a reader of the tables must know: machine, versions, how the encoder was timed, what is missing."""
    facts, plan = report["machine"], report["plan"]
    made_by = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    processor = f"{facts['processor']}, {facts['cores']} cores, {facts['threads']} threads, {facts['memory_gib']} GiB"
    where = processor if facts["gpu"] is None else f"{facts['gpu']}; {processor}"
    load = "" if facts["load"] is None else f" Load at the start: {facts['load']}."
    lines = [f"{facts['date']}. {where}; {plan['dtype']}. {made_by}.{load}", report["encoder"]]
    return lines + [f"Left out: {entry['method']}: {entry['reason']}." for entry in report["left_out"]]


def show(report: dict[str, Any]) -> None:
    """Print all tables and notes."""
    for table in tables(report):
        print_table(table.columns, table.rows, title=table.title, right=table.columns[1:])
        print()
    for line in notes(report):
        print(line)


def markdown(report: dict[str, Any]) -> str:
    """The tables and notes for a page, with the parts at one ratio only."""
    blocks = ["\n".join(f"- {line}" for line in notes(report))]
    for table in tables(report, all_ratios=False):
        head = [f"### {table.title}", "", f"| {' | '.join(table.columns)} |"]
        rule = f"|---|{'---:|' * (len(table.columns) - 1)}"
        lines = [f"| `{row[0]}` | {' | '.join(row[1:])} |" for row in table.rows]
        blocks.append("\n".join([*head, rule, *lines]))
    return "\n\n".join(blocks)


def rewrite(page: Path, report: dict[str, Any]) -> None:
    """Replace what stands between the two markers of a page.

    Raises:
        ValueError: the page lacks a marker.
    """
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} has no place for the tables; put the lines {BEGIN!r} and {END!r} into it.")
    page.write_text(f"{before}{BEGIN}\n\n{markdown(report)}\n\n{END}{after}", encoding="utf-8")
