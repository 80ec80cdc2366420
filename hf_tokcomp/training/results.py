"""What a fine-tuning leaves behind beside the adapter: how it came about, and what was measured."""

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
"""What is measured in %."""
RUN_NAME = "finetune.json"
KINDS = {"metrics": "after", "before": "before", "uncompressed": "uncompressed"}
"""Keys of ``metrics.json``, which are those of `hf_tokcomp.cards.read_measurements`, by what was measured when."""


def effective_prompt(examples: Examples, options: FinetuneArguments) -> str | None:
    """What is asked about every row; None where that differs from row to row.

    Args:
        examples: rows, of which each may have a prompt of its own.
        options: say what the others are asked.
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
    """``finetune.json``: arguments, prompt (null where rows differ in it), versions, rows, and all that was logged.

    Args:
        folder: where it goes.
        options: of the run.
        prompt: what all rows were asked, see `effective_prompt`.
        trainer: after the training; its own arguments are written without tokens.
        train: what it was trained on.
        held_out: what it was measured on, if anything.
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
    """``metrics.json``, and the same for the card.

    Args:
        folder: where it goes.
        options: of the run.
        trainer: after the training.
        measured: numbers by name, ``before`` and ``after``, perhaps ``uncompressed``.
        held_out: what they are of.
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
