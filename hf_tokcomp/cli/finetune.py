"""`hf-tokcomp finetune`: LoRA fine-tuning under compression, with every argument of transformers' own Trainer."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..messages import quoted
from ..reporting.console import print_table
from .finetune_arguments import read_arguments
from .interrupted import keeping, same_command
from .options import change_compression, parse_compression, the_one

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from ..training.arguments import FinetuneArguments

SHARES = ("tokens_kept",)
"""Metrics that ``metrics.json`` stores as fractions; they are shown in %, like those already stored in %."""
SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""Typer settings: all arguments are passed on to transformers' own parser."""


def finetune(context: typer.Context) -> None:
    """Fine-tune a model under compression with LoRA."""
    options, args = parse(context.args)
    if options is None or args is None:
        return
    name = the_one("--compression", [] if options.compression is None else [options.compression])
    config = change_compression(parse_compression(name), options.retention_ratio, options.positions)
    with keeping(lambda: _kept(args)):
        folder = _run(options, args, config)
    if args.process_index == 0:
        _print_results(folder)
    if options.push and args.process_index == 0:
        from ..sharing.push import push_to_hub

        try:
            commit = push_to_hub(
                folder,
                args.hub_model_id,
                base_model=options.base_model,
                license=options.license,
                metrics=_metrics_file(folder),
                token=args.hub_token,
                private=args.hub_private_repo,
                revision=args.hub_revision,
                overwrite_card=False,
            )
        except (OSError, ValueError, TypeError) as error:
            raise RuntimeError(
                f"The adapter is in {folder}, whole, but was not pushed: {error} Push it without training again: "
                f"{_push_command(folder, options, args)}"
            ) from error
        print(f"\nPushed: {commit}")


def parse(arguments: Sequence[str]) -> tuple[FinetuneArguments | None, TrainingArguments | None]:
    """Parse and check the arguments of a command line; returns None and None if help was requested and printed.

    Raises:
        whatever `read_arguments` raises, and ValueError if the arguments contradict each other.
    """
    options, args = read_arguments(arguments)
    if options is not None and args is not None:
        _check(options, args)
    return options, args


def _check(options: FinetuneArguments, args: TrainingArguments) -> None:
    if args.push_to_hub:
        raise ValueError("--push-to-hub would overwrite the card; use --push, with --hub-model-id.")
    if options.push and args.hub_model_id is None:
        raise ValueError("--push needs --hub-model-id USER/NAME.")
    options.check()
    if options.push:
        _check_push(options, args)


def _check_push(options: FinetuneArguments, args: TrainingArguments) -> None:
    """Raise any error that would prevent a push, before hours of training."""
    from ..cards.names import check_repo_id
    from ..hub.ids import check_token, split_revision
    from ..sharing.packed_folder import adapter_base

    check_repo_id(str(args.hub_model_id))
    check_token(args.hub_token)
    named = None if options.base_model is None else split_revision(options.base_model)[0]
    adapter_base({"base_model_name_or_path": options.model_name}, named, None, local_base=False)


def _push_command(folder: Path, options: FinetuneArguments, args: TrainingArguments) -> str:
    given = {"--folder": folder, "--base-model": options.base_model, "--metrics": _metrics_file(folder)}
    flags = [str(part) for name, value in given.items() if value is not None for part in (name, value)]
    return shlex.join(["hf-tokcomp", "push", str(args.hub_model_id), *flags])


def _run(options: FinetuneArguments, args: TrainingArguments, config: Any) -> Path:
    from ..inference.recordings import find_model
    from ..reporting.console import quiet_transformers
    from ..training.finetune import finetune as run

    quiet_transformers()
    options.model = find_model(options.model)
    return run(options, args, config)


def _kept(args: TrainingArguments) -> str:
    """A message about what an interrupted training has saved, and how to resume it."""
    from ..training.finetune import _last_whole_checkpoint

    folder = Path(str(args.output_dir))
    checkpoint = _last_whole_checkpoint(folder)
    if checkpoint is not None:
        command = same_command("--resume-from-checkpoint", "last", processes=args.world_size)
        return f"{checkpoint} is whole: go on from it with {command}"
    if (folder / "adapter_config.json").is_file():
        return f"The adapter is in {folder}; what was still to be measured is not."
    return "No checkpoint was saved yet, so nothing is kept."


def _metrics_file(folder: Path) -> Path | None:
    from ..training.results import METRICS_NAME

    return folder / METRICS_NAME if (folder / METRICS_NAME).is_file() else None


def _print_results(folder: Path) -> None:
    from ..training.results import RUN_NAME

    file = _metrics_file(folder)
    if file is not None:
        values = json.loads(file.read_text(encoding="utf-8"))
        kinds = [kind for kind in ("uncompressed", "before", "metrics") if kind in values]
        names = {"metrics": "after"}
        units = values.get("units", {})
        rows = [row_of(name, [values[kind][name] for kind in kinds], units.get(name, "")) for name in values["metrics"]]
        rows_read = json.loads((folder / RUN_NAME).read_text(encoding="utf-8"))["rows"]["held_out"]
        asked = f"asked {quoted(values['prompt'])}" if "prompt" in values else "each asked its own prompt"
        print(f"\n{rows_read} items of {values['dataset']}, {asked}")
        print_table(("", *(names.get(kind, kind) for kind in kinds)), rows, right=[names.get(k, k) for k in kinds])
    print(f"\nThe adapter is in {folder}. Load it: hf_tokcomp.load_adapter({str(folder)!r})")


def row_of(name: str, values: Sequence[float], unit: str) -> tuple[str, ...]:
    """A table row for a metric: its name, with its unit, and its values."""
    if name in SHARES:
        values, unit = [100 * value for value in values], "%"
    if unit:
        return (f"{name}, {unit}", *(f"{value:.1f}" for value in values))
    return (name, *(f"{value:.4g}" for value in values))
