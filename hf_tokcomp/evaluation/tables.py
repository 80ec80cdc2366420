"""Format scores as tables, laid out as in the papers: a row per method, a column per ratio; Markdown and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from ..config.notation import ratio_name
from .asked import Asked
from .failing import failures
from .published import Published
from .score import Score

NAMES = {
    "wer": "word error rate in %",
    "wer_plain": "word error rate in %",
    "words_right": "words of the reference written right, in %",
    "exact_match": "exactly right, in %",
    "accuracy": "accuracy in %",
    "cider": "CIDEr-D",
    "rouge_l": "ROUGE-L",
    "bleu_4": "BLEU-4",
    "bleu": "BLEU",
    "asr_bleu": "ASR-BLEU",
}
LOWER_IS_BETTER = frozenset({"wer", "wer_plain"})
OUT_OF_ONE = frozenset({"cider", "rouge_l", "bleu_4"})
"""Metrics with values around 1 or below, which are shown with an additional digit."""


def report(
    scores: Sequence[Score],
    asked: Sequence[Asked],
    model: str,
    measured_by: Mapping[str, Any],
    published: Sequence[Published] = (),
) -> str:
    """The tables together with notes needed to interpret them.

    Args:
        scores: the scores of one model.
        asked: the tasks.
        model: its name.
        measured_by: settings of the metrics and intervals.
        published: the papers' numbers for this model.
    """
    lines = []
    whole = " (all of them with long_audio=windows)" if any("long_audio" in score.method for score in scores) else ""
    for each in asked:
        part = f" ({each.items.part})" if each.items.part else ""
        line = f"- {each.task.title}: {len(each.items.items)} items of {each.items.dataset}{part}"
        line += f", {each.items.skipped} rows left out" if each.items.skipped else ""
        line += f", {each.cut} recordings heard to the model's limit only{whole}" if each.cut else ""
        if each.task.kind == "multiple_choice":
            line += f", options by {str(measured_by['choice_scoring']).replace('_', ' ')}"
        if each.transcriber is not None:
            heard = each.transcriber.settings()
            line += f", answers spoken, and written down by {heard['asr_model']} in {heard['language']!r}"
        tokenizers = {by["tokenizer"] for by in measured_by["metrics"][each.task.name].values() if "tokenizer" in by}
        line += "".join(f", tokenizer {name}" for name in sorted(tokenizers))
        lines.append(f"{line}. {each.task.note}".rstrip())
    lines.append("- In parentheses, 95 % intervals over recordings." + (PAPERS if published else ""))
    titles = {each.task.name: each.task.title for each in asked}
    tables = markdown(scores, published, titles, {each.task.name: _data(each) for each in asked})
    loud = "".join(f"**Beware. {text}**\n\n" for text in failures(scores, asked))
    return f"Model: {model}\n\n{loud}{tables}\n\n" + "\n".join([*lines, *_differently_kept(scores), *_cut_off(scores)])


PAPERS = (
    " In brackets, what the paper reports for this model, method and ratio; its prompts, and its version of MMAU, may"
    " be others."
)


def _data(asked: Asked) -> str:
    """The data and the prompt, for the heading of a table."""
    return f" of {asked.items.dataset}, {asked.how()}"


def _differently_kept(scores: Sequence[Score]) -> list[str]:
    """Methods whose retained fraction differs from the requested ratio by more than one percentage point."""
    found: dict[str, dict[float, float]] = {}
    for each in scores:
        if each.ratio is not None and abs(each.kept - each.ratio) > 0.01:
            found.setdefault(each.method, {})[each.ratio] = each.kept
    shares = {
        method: ", ".join(f"{100 * kept:.0f} % at {ratio_name(ratio)}" for ratio, kept in kept_at.items())
        for method, kept_at in found.items()
    }
    return [f"- `{method}` kept {text}." for method, text in shares.items()]


def _cut_off(scores: Sequence[Score]) -> list[str]:
    """Tasks in which some answers were cut off."""
    worst: dict[str, Score] = {}
    for each in scores:
        if each.unfinished > worst.get(each.task, each).unfinished or each.task not in worst:
            worst[each.task] = each
    return [
        f"- {each.task}: up to {100 * each.unfinished:.0f} % of the answers (`{each.method}`) were cut off at the "
        "greatest length."
        for each in worst.values()
        if each.unfinished > 0
    ]


def markdown(
    scores: Sequence[Score],
    published: Sequence[Published] = (),
    titles: Mapping[str, str] = {},
    data: Mapping[str, str] = {},
) -> str:
    """All tables, one below the other.

    A cell contains the value and its 95 % interval and, in brackets, the corresponding number from a paper.

    Args:
        scores: the scores of one model.
        published: the papers' numbers for this model.
        titles: titles of the tasks, by name.
        data: the text that follows the number of items in a heading, by task name.
    """
    parts = []
    for task, subset, metric in dict.fromkeys((each.task, each.subset, each.metric) for each in scores):
        chosen = [each for each in scores if (each.task, each.subset, each.metric) == (task, subset, metric)]
        better = "lower" if metric in LOWER_IS_BETTER else "higher"
        title = (titles or {}).get(task, task) + (f", {subset}" if subset else "")
        heading = f"**{title}**: {NAMES.get(metric, metric)}, {better} is better, {chosen[0].items} items"
        heading += data.get(task, "")
        parts.append(f"{heading}\n\n{_table(chosen, published)}")
    return "\n\n".join(parts)


def _table(scores: Sequence[Score], published: Sequence[Published]) -> str:
    ratios = ratio_columns(scores)
    several = len({each.positions for each in scores} - {None}) > 1
    names = ["own budget" if ratio is None else ratio_name(ratio) for ratio in ratios]
    lines = [
        ["method", *(["positions"] if several else []), *names],
        ["---"] * (1 + several + len(ratios)),
    ]
    for method, positions in dict.fromkeys((each.method, each.positions) for each in scores):
        row = {each.ratio: each for each in scores if (each.method, each.positions) == (method, positions)}
        cells = [_cell(row[ratio], published) if ratio in row else "" for ratio in ratios]
        lines.append([f"`{method}`", *([positions or "-"] if several else []), *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def ratio_columns(scores: Sequence[Score]) -> list[float | None]:
    """The ratios in descending order; None, for other kinds of budgets, comes last."""
    found = {each.ratio for each in scores}
    return [*sorted((ratio for ratio in found if ratio is not None), reverse=True), *([None] if None in found else [])]


def _cell(score: Score, published: Sequence[Published]) -> str:
    digits = 2 if score.metric in OUT_OF_ONE else 1
    theirs = [f"{each.value:.{digits}f}, {each.paper}" for each in published if each.fits(score)]
    paper = f" [{'; '.join(theirs)}]" if theirs else ""
    if math.isnan(score.low):  # there is no interval over a single recording
        return f"{score.value:.{digits}f}{paper}"
    return f"{score.value:.{digits}f} ({score.low:.{digits}f} to {score.high:.{digits}f}){paper}"


def as_csv(scores: Sequence[Score]) -> str:
    """One line per score, with all of its fields."""
    text = io.StringIO()
    names = [field.name for field in fields(Score)]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for each in scores:
        values = asdict(each)
        writer.writerow(values | {"by_seed": " ".join(f"{value:.6g}" for value in each.by_seed)})
    return text.getvalue()
