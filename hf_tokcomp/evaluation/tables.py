"""The scores as tables in the papers' layout: a row per method, a column per share of tokens; Markdown and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from fractions import Fraction

from .published import Published
from .scores import Score

NAMES = {
    "wer": "word error rate in %",
    "wer_plain": "word error rate in %",
    "exact_match": "exactly right, in %",
    "accuracy": "accuracy in %",
    "cider": "CIDEr-D",
    "rouge_l": "ROUGE-L",
    "bleu_4": "BLEU-4",
    "bleu": "BLEU",
}
LOWER_IS_BETTER = frozenset({"wer", "wer_plain"})
OUT_OF_ONE = frozenset({"cider", "rouge_l", "bleu_4"})
"""Metrics with values around 1 or below, which need another digit."""


def markdown(scores: Sequence[Score], published: Sequence[Published] = (), titles: Mapping[str, str] = {}) -> str:
    """All tables one below the other.

    A cell has the value and its 95 % interval; in brackets, what a paper reports for the same.

    Args:
        scores: of one model.
        published: the papers' numbers for this model.
        titles: of the tasks, by name.
    """
    parts = []
    for task, subset, metric in dict.fromkeys((each.task, each.subset, each.metric) for each in scores):
        chosen = [each for each in scores if (each.task, each.subset, each.metric) == (task, subset, metric)]
        better = "lower" if metric in LOWER_IS_BETTER else "higher"
        title = (titles or {}).get(task, task) + (f", {subset}" if subset else "")
        heading = f"**{title}**: {NAMES.get(metric, metric)}, {better} is better, {chosen[0].items} items"
        parts.append(f"{heading}\n\n{_table(chosen, published)}")
    return "\n\n".join(parts)


def _table(scores: Sequence[Score], published: Sequence[Published]) -> str:
    ratios = ratio_columns(scores)
    several = len({each.positions for each in scores} - {None}) > 1
    lines = [
        ["method", *(["positions"] if several else []), *(_ratio_name(ratio) for ratio in ratios)],
        ["---"] * (1 + several + len(ratios)),
    ]
    for method, positions in dict.fromkeys((each.method, each.positions) for each in scores):
        row = {each.ratio: each for each in scores if (each.method, each.positions) == (method, positions)}
        cells = [_cell(row[ratio], published) if ratio in row else "" for ratio in ratios]
        lines.append([f"`{method}`", *([positions or "-"] if several else []), *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def ratio_columns(scores: Sequence[Score]) -> list[float | None]:
    """The ratios from all tokens to few; what has another budget than a ratio comes last."""
    found = {each.ratio for each in scores}
    return [*sorted((ratio for ratio in found if ratio is not None), reverse=True), *([None] if None in found else [])]


def _ratio_name(ratio: float | None) -> str:
    if ratio is None:
        return "own budget"
    fraction = Fraction(ratio).limit_denominator(100)
    return str(fraction) if fraction.numerator == 1 and abs(float(fraction) - ratio) < 1e-6 else f"{ratio:g}"


def _cell(score: Score, published: Sequence[Published]) -> str:
    digits = 2 if score.metric in OUT_OF_ONE else 1
    theirs = [f"{each.value:.{digits}f}, {each.paper}" for each in published if each.fits(score)]
    paper = f" [{'; '.join(theirs)}]" if theirs else ""
    if math.isnan(score.low):  # one recording says nothing of others
        return f"{score.value:.{digits}f}{paper}"
    return f"{score.value:.{digits}f} ({score.low:.{digits}f} to {score.high:.{digits}f}){paper}"


def as_csv(scores: Sequence[Score]) -> str:
    """Every score as a line, with everything that is known of it."""
    text = io.StringIO()
    names = [field.name for field in fields(Score)]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for each in scores:
        values = asdict(each)
        writer.writerow(values | {"by_seed": " ".join(f"{value:.6g}" for value in each.by_seed)})
    return text.getvalue()
