"""The tables of the benchmark on real weights, for the terminal and for docs/real-weights.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hf_tokcomp.config.notation import ratio_name
from hf_tokcomp.evaluation.plan import ALL
from hf_tokcomp.evaluation.score import Score, as_scores
from hf_tokcomp.evaluation.tables import markdown
from hf_tokcomp.reporting.pages import NOTHING, Table, as_markdown

from .equal_counts import AS_MANY
from .measuring import COUNTED

BEGIN = "<!-- begin: written by python -m recipes.real_weights --markdown -->"
TASK = "librispeech"
SUMMARISED = "tiny.en"


def page(reports: Sequence[Mapping[str, Any]]) -> str:
    """All tables, model by model and rate by rate."""
    return "\n\n".join(f"### {_name(report)}\n\n{_about(report)}\n\n{_tables(report)}" for report in reports)


def summary(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What `hf_tokcomp.config.measured` has of the smallest model: words right in %, by rate, method and ratio."""
    own = [report for report in reports if report["model"] == SUMMARISED]
    ratios = [1 / 2, 1 / 4, 1 / 10]
    rates = {}
    for report in own:
        cells: dict[str, dict[float, float]] = {}
        for score in as_scores(report["scores"]):
            if score.metric == "words_right" and score.ratio is not None and AS_MANY not in score.method:
                cells.setdefault(score.method, {})[score.ratio] = round(score.value, 1)
        rates[str(report["rate"])] = {
            "all": cells[COUNTED][1],
            "words_right": {
                method: [row[ratio] for ratio in ratios] for method, row in sorted(cells.items()) if method != "none"
            },
        }
    return {
        "model": f"openai/whisper-{SUMMARISED}",
        "data": f"{own[0]['items']} utterances of LibriSpeech's test-other",
        "ratios": ratios,
        "rates": rates,
    }


def _name(report: Mapping[str, Any]) -> str:
    return f"whisper-{report['model']}, {report['rate']} tokens a second"


def _about(report: Mapping[str, Any]) -> str:
    session = report["sessions"][-1]
    return (
        f"{report['items']} utterances of {report['seconds']:g} s together, {report['tokens']:,} tokens; 1 is all of "
        f"them. transformers {session['transformers']}, torch {session['torch']}, {session['device']}, float32."
    )


def _tables(report: Mapping[str, Any]) -> str:
    scores = [each for each in as_scores(report["scores"]) if AS_MANY not in each.method]
    tables = [_ends(scores)]
    for metric, what in (("wer", "Word errors"), ("words_right", "Words right")):
        found = [each for each in report["differences"] if each["metric"] == metric]
        own = [each for each in found if each["other"] == ALL and AS_MANY not in each["method"]]
        between = [each for each in found if each["other"] != ALL]
        title = f"{what}, in points: more than with all tokens, on the same utterances"
        tables.append(_of_differences(title, own, lambda each: str(each["method"])))
        title = f"{what}, in points: more of the first method than of the second, on the same utterances"
        tables.append(_of_differences(title, between, lambda each: f"{each['method']} - {_shown(each['other'])}"))
    return f"{markdown(scores, titles={TASK: _name(report)})}\n\n{as_markdown(tables, (), level=4)}"


def _shown(method: str) -> str:
    name, as_many, other = method.partition(AS_MANY)
    return f"{name} with as many tokens as {other}" if as_many else name


def _of_differences(title: str, found: Sequence[Mapping[str, Any]], label: Callable[[Mapping[str, Any]], str]) -> Table:
    cells = {
        (label(each), each["ratio"]): f"{each['value']:+.1f} ({each['low']:+.1f} to {each['high']:+.1f})"
        for each in found
    }
    return _table(title, cells)


def _ends(scores: Sequence[Score]) -> Table:
    """Tokens of the sound that were kept, and answers that were cut off since they did not end."""
    cells = {
        (each.method, each.ratio): f"{100 * each.kept:.1f} / {100 * each.unfinished:.0f}"
        for each in scores
        if each.metric == "wer"
    }
    return _table("Tokens of the sound really kept / answers that ran on to the limit of 200 tokens, in %", cells)


def _table(title: str, cells: Mapping[tuple[str, Any], str]) -> Table:
    """A row per label, a column per ratio."""
    ratios = sorted({ratio for _, ratio in cells}, reverse=True)
    labels = dict.fromkeys(label for label, _ in cells)
    rows = [[label, *(cells.get((label, ratio), NOTHING) for ratio in ratios)] for label in labels]
    return Table(title, ["method", *map(ratio_name, ratios)], rows)
