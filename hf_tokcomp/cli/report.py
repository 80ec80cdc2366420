"""Terminal output: short descriptions of configs, and the results of `hf-tokcomp compare` as tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..config.notation import ratio_name
from ..messages import how_asked, shortened
from ..reporting.console import print_table

SHIPPED = "the recordings that ship with hf_tokcomp"

if TYPE_CHECKING:
    from ..config.config import CompressionConfig
    from ..evaluation.asked import Asked
    from ..evaluation.evaluation import Measured
    from ..evaluation.journal import Given, Key
    from ..evaluation.plan import Run
    from ..evaluation.score import Score
    from ..inference.recordings import Recording


def asked_with(prompts: Iterable[str]) -> str:
    """The prompt on one line, or a note that there are several."""
    found = list(dict.fromkeys(prompts))
    return how_asked(found[0]) if len(found) == 1 else f"asked {len(found)} prompts of their own"


def of(dataset: str) -> str:
    """The text that follows "3 recordings"."""
    from ..cards.results import UNNAMED

    return {SHIPPED: " that ship with hf_tokcomp", UNNAMED: ""}.get(dataset, f" of {dataset}")


TITLES = {
    "wer_plain": "Word error rate in %, by fraction of tokens kept",
    "exact_match": "Recordings read without an error, in %",
    "asr_bleu": "ASR-BLEU of the speech, by fraction of tokens kept",
    "bleu": "BLEU of the text",
}
"""The titles of the tables, by metric."""


def print_scores(scores: Sequence[Score], asked: Asked) -> None:
    """Print the task's metrics, and tokens kept and budgeted: a row per method, a column per ratio."""
    from ..evaluation.tables import ratio_columns

    data = f"{len(asked.items.items)} recordings{of(asked.task.title)}, {asked_with(asked.prompts)}"
    ratios = ratio_columns(scores)
    names = ["own budget" if ratio is None else ratio_name(ratio) for ratio in ratios]
    metrics = asked.task.metrics
    for metric, key, title in (
        *((metric, "value", TITLES[metric]) for metric in metrics),
        (metrics[0], "kept", "Audio tokens really kept / asked for, in %, mean over recordings"),
    ):
        rows: dict[tuple[str, ...], dict[float | None, str]] = {}
        for score in scores:
            if score.metric != metric:
                continue
            # The number of tokens kept does not depend on the kind of positions.
            head = (score.method,) if key == "kept" else (score.method, score.positions or "-")
            wanted = "" if math.isnan(score.asked) or key != "kept" else f"/{100 * score.asked:.1f}"
            value = 100 * score.kept if key == "kept" else score.value
            rows.setdefault(head, {})[score.ratio] = f"{value:.1f}{wanted}"
        lines = [(*head, *(row.get(ratio, "") for ratio in ratios)) for head, row in rows.items()]
        columns = ("method", *(("positions",) if key != "kept" else ()), *names)
        print_table(columns, lines, title=f"{title}: {data}", right=names)
        print()


def print_texts(
    asked: Asked, recordings: Sequence[Recording], runs: Sequence[Run], answers: Mapping[Key, Given]
) -> None:
    """Print the texts side by side, recording by recording."""
    several = len({run.seed for run in runs} - {None}) > 1
    whole = " but by long_audio=windows" if any(run.config.long_audio == "windows" for run in runs) else ""
    for item, recording in zip(asked.items.items, recordings, strict=True):
        rows = []
        if recording.truth is not None:
            rows.append(("truth", "", "", "", "", recording.truth))
        for run in runs:
            given = answers[asked.task.name, item.id, run.key]
            name = run.method if run.seed is None or not several else f"{run.method}, seed {run.seed}"
            wanted = "-" if given.tokens_asked is None else str(given.tokens_asked)
            ratio = "-" if run.ratio is None else ratio_name(run.ratio)
            rows.append((name, ratio, run.positions or "-", str(given.tokens_after), wanted, given.text))
            if given.transcript is not None:
                rows.append(("", "", "", "", "heard", given.transcript))
        dropped = f", the last {recording.dropped:.1f} s not read{whole}" if recording.dropped else ""
        length = f"{recording.seconds:.1f} s{dropped}"
        title = f"{shortened(recording.name)}  ({length})  {recording.prompt}"
        columns = ("method", "ratio", "positions", "tokens", "asked", "text")
        print_table(columns, rows, title=title, right=("ratio", "tokens", "asked"))
        print()


def print_notes(measured: Measured, asked: Asked) -> None:
    """Print the notes needed to interpret the tables."""
    from ..evaluation.failing import failures
    from ..evaluation.metrics.texts import NORMALISATION

    for text in failures(measured.scores, [asked]):
        print(f"BEWARE. {text}")
    values = measured.values
    machine = values["sessions"][-1]
    print(f"Model {values['model']}, {machine['device']}, {values['dtype']}.")
    known = sum(bool(item.references) for item in asked.items.items)
    if known and asked.transcriber is not None:
        heard = asked.transcriber.settings()
        print(
            f"BLEU is that of {known} recordings; speech was written down by {heard['asr_model']} in "
            f"{heard['language']!r}, and compared as Whisper's normaliser writes texts."
        )
    elif known:
        print(f"Errors are those in {known} recordings; texts and truths are compared {NORMALISATION}.")
    print("At 1 every method equals `none`, so that alone is read (and what reduces the encoder's work).")
    seeds = {run["seed"] for run in values["runs"].values()} - {None}
    if len(seeds) > 1:
        print(f"Methods that draw, such as `random`, are the mean over {len(seeds)} seeds.")
    for method, reason in values["measured_by"]["left_out"].items():
        print(f"Left out: {method}: {reason}.".replace("..", "."))


def settings(config: CompressionConfig | None) -> dict[str, Any]:
    """A config as a user would write it, without versions; the method `none` for no config."""
    if config is None:
        return {"method": "none"}
    return {name: value for name, value in config.to_dict().items() if "version" not in name}


def describe(config: CompressionConfig | None) -> str:
    """A config on one line: ``ltbm, retention_ratio 0.25, window 8, positions original``."""
    values = settings(config)
    method = values.pop("method")
    if method == "none":
        values.pop("positions", None)  # irrelevant if no token is removed
    return ", ".join([method, *(f"{name} {value}" for name, value in values.items())])
