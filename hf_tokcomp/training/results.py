"""The files that fine-tuning writes next to the adapter: the record of the run and its metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import transformers

from .._version import __version__
from ..cards.names import hub_id
from ..cards.results import Measurement, Score
from ..data import Examples
from ..evaluation.metrics.texts import NORMALISATION
from ..hub.ids import split_revision
from ..hub.whole_files import write_whole
from ..models.instance import active_config
from .arguments import FinetuneArguments

METRICS_NAME = "metrics.json"
PERCENT = ("wer", "exact_match", "accuracy")
"""Metrics in %."""
RUN_NAME = "finetune.json"
KINDS = {"metrics": "after", "before": "before", "uncompressed": "uncompressed"}
"""Keys of ``metrics.json``, as `hf_tokcomp.cards.read_measurements` expects them, and the measurement each holds."""


def effective_prompt(examples: Examples, options: FinetuneArguments) -> str | None:
    """The prompt of all rows; None if it differs between rows.

    Args:
        examples: rows, each possibly with its own prompt.
        options: provide the prompt of the other rows.
    """
    rows = examples.dataset
    own = rows["prompt"] if "prompt" in getattr(rows, "column_names", ()) else [None]
    asked = {prompt or options.instruction() for prompt in own}
    return asked.pop() if len(asked) == 1 else None


def write_run(
    folder: Path,
    options: FinetuneArguments,
    prompt: str | None,
    trainer: Any,
    train: Examples,
    held_out: Examples | None,
) -> None:
    """Write ``finetune.json``: arguments, prompt (null if it differs between rows), versions, row counts and the log.

    Args:
        folder: the output folder.
        options: the options of the run.
        prompt: the prompt of all rows, see `effective_prompt`.
        trainer: the trainer after training; its arguments are written without tokens.
        train: the training data.
        held_out: the held-out data, if any.
    """
    config = active_config(trainer.model)
    rows = {"train": len(train.dataset), "skipped": len(train.skipped)}
    if held_out is not None:
        rows |= {"held_out": len(held_out.dataset), "held_out_skipped": len(held_out.skipped)}
    run = {
        "arguments": vars(options),
        "prompt": prompt,
        "training_arguments": trainer.args.to_dict(),
        "compression": None if config is None else config.to_dict(),
        "steps": trainer.state.global_step,
        "epochs": trainer.state.epoch,
        "seed": trainer.args.seed,
        "rows": rows,
        "processes": trainer.args.world_size,
        "versions": {"hf_tokcomp": __version__, "transformers": transformers.__version__},
        "log": trainer.state.log_history,
    }
    _write_json(folder / RUN_NAME, run)


def write_metrics(
    folder: Path,
    options: FinetuneArguments,
    trainer: Any,
    measured: dict[str, dict[str, float]],
    held_out: Examples,
) -> Measurement:
    """Write ``metrics.json``, and return the same numbers for the card.

    Args:
        folder: the output folder.
        options: the options of the run.
        trainer: the trainer after training.
        measured: values by metric name under ``before``, ``after`` and possibly ``uncompressed``.
        held_out: the data they were measured on.
    """
    given = options.eval_dataset or options.dataset
    on_hub = hub_id(split_revision(given)[0])
    name = Path(on_hub or given).absolute()
    args = trainer.args
    note = (
        f"{len(held_out.dataset)} recordings, greedy; before is the model under this compression without training. "
        f"Trained for {trainer.state.global_step} steps of {args.train_batch_size * args.world_size} rows times "
        f"{args.gradient_accumulation_steps}, seed {args.seed}."
    )
    if options.task in ("asr", "question_answering", "multiple_choice"):
        note += f" Texts and truths are compared {NORMALISATION}."
    about = {"dataset": name.parent.name if name.stem == "manifest" else name.name, "note": note}
    if on_hub is not None:
        about["dataset_id"] = on_hub
    asked = effective_prompt(held_out, options)
    if asked is not None:
        about["prompt"] = asked
    if options.eval_split:
        about["split"] = options.eval_split
    numbers = {key: measured.get(which, {}) for key, which in KINDS.items()}
    units = {name: "%" for name in numbers["metrics"] if name in PERCENT}
    written: dict[str, Any] = {**about, "units": units, **numbers}
    _write_json(folder / METRICS_NAME, {key: values for key, values in written.items() if values})
    scores = [
        Score(key, value, numbers["uncompressed"].get(key), numbers["before"].get(key), units.get(key, ""))
        for key, value in numbers["metrics"].items()
    ]
    return Measurement(scores=tuple(scores), **about)


def _write_json(file: Path, values: Any) -> None:
    write_whole(file, json.dumps(values, indent=2, default=str, ensure_ascii=False) + "\n")
