"""`hf-tokcomp finetune`: LoRA fine-tuning under compression, with every argument of transformers' own Trainer."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from ..messages import quoted
from ..reporting.console import print_table
from .interrupted import keeping, same_command
from .options import change_compression, parse_compression

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from ..training.arguments import FinetuneArguments

SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""For typer: the arguments go to transformers' own parser."""


def finetune(context: typer.Context) -> None:
    """Fine-tune a model under compression with LoRA."""
    options, args = parse(context.args)
    if options is None or args is None:
        return
    config = change_compression(parse_compression(options.compression), options.retention_ratio, options.positions)
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
    """The arguments of a command line, perhaps with a YAML file before them, which flags override.

    Returns:
        None and None where help was asked for and printed.

    Raises:
        typer.BadParameter: an argument that is unknown, or a value that it cannot have.
        ValueError: they contradict each other.
        FileNotFoundError: there is no such YAML file.
    """
    from transformers import HfArgumentParser, TrainingArguments

    from ..training.arguments import FinetuneArguments

    class Parser(HfArgumentParser):  # type: ignore[misc]
        def error(self, message: str) -> NoReturn:
            raise typer.BadParameter(message)

    def parser(*kinds: Any) -> Any:
        usage = "hf-tokcomp finetune [FILE.yaml] --dataset DATA --output-dir FOLDER [...]"
        return Parser(kinds, usage=usage, allow_abbrev=False, add_help=False)

    given = list(arguments)
    if "--help-all" in given:
        print(parser(FinetuneArguments, TrainingArguments).format_help())
        return None, None
    if "--help" in given or "-h" in given:
        print(parser(FinetuneArguments).format_help())
        print(
            "And every argument of transformers.TrainingArguments, such as --num-train-epochs: --help-all lists them."
        )
        return None, None
    whole = parser(FinetuneArguments, TrainingArguments)
    if given and not given[0].startswith("-"):
        file = Path(given.pop(0))
        whole.set_defaults(**_typed(whole, file, _read_yaml(file, (FinetuneArguments, TrainingArguments))))
    own, training, unknown = whole.parse_args_into_dataclasses(
        given, return_remaining_strings=True, look_for_args_file=False
    )
    if unknown:
        if not unknown[0].startswith("-"):
            raise typer.BadParameter(f"{unknown[0]!r} belongs to no argument; a YAML file comes before all flags")
        raise typer.BadParameter(_suggested(unknown[0], (FinetuneArguments, TrainingArguments)))
    if whole.parse_args(given).output_dir is None:  # which TrainingArguments would make up
        raise ValueError("--output-dir is missing: the folder for the adapter.")
    _check(own, training)
    return own, training


def _read_yaml(file: Path, kinds: Sequence[Any]) -> dict[str, Any]:
    import yaml

    if not file.is_file():
        raise FileNotFoundError(f"There is no file {file} with arguments.")
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{file} must hold names and values, such as `learning_rate: 1.0e-4`.")
    names = {field.name for kind in kinds for field in dataclasses.fields(kind)}
    for name in values:
        if name not in names:
            raise ValueError(f"{file}: {_suggested(str(name), kinds)}")
    if isinstance(values.get("compression"), dict | list):  # as JSON on the command line
        values["compression"] = json.dumps(values["compression"])
    return values


def _typed(parser: Any, file: Path, values: dict[str, Any]) -> dict[str, Any]:
    """The values of a YAML file, read and checked as those of flags are.

    What no flag can say (null, dicts, lists where a flag takes one word) stays as it is, for transformers to check.

    Raises:
        ValueError: an argument cannot have its value; the file is named.
    """
    several = {action.dest for action in parser._actions if action.nargs in ("+", "*")}
    flags: list[str] = []
    typed = []
    for name, value in values.items():
        if value is None or isinstance(value, dict) or (isinstance(value, list) and name not in several):
            continue
        typed.append(name)
        if isinstance(value, list):
            flags += [f"--{name}", *map(_as_flag, value)]
        else:
            flags.append(f"--{name}={_as_flag(value)}")
    try:
        read = parser.parse_args(flags)
    except typer.BadParameter as error:
        raise ValueError(f"{file}: {error.message}") from error
    return values | {name: getattr(read, name) for name in typed}


def _as_flag(value: Any) -> str:
    """A value as one word of a command line; transformers' parser reads booleans as true and false."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _suggested(name: str, kinds: Sequence[Any]) -> str:
    from ..messages import did_you_mean

    known = [field.name for kind in kinds for field in dataclasses.fields(kind)]
    flag = name.lstrip("-").partition("=")[0].replace("-", "_")
    return f"there is no argument {name}{did_you_mean(flag, known)}"


def _check(options: FinetuneArguments, args: TrainingArguments) -> None:
    if args.push_to_hub:
        raise ValueError("--push-to-hub would overwrite the card; use --push, with --hub-model-id.")
    if options.push and args.hub_model_id is None:
        raise ValueError("--push needs --hub-model-id USER/NAME.")
    options.check()
    if options.push:
        _check_push(options, args)


def _check_push(options: FinetuneArguments, args: TrainingArguments) -> None:
    """Raise for what a push would refuse, before hours of training."""
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
    """What is there of a training that was interrupted, and how to go on."""
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
        rows = [(name, *(f"{values[kind][name]:.4g}" for kind in kinds)) for name in values["metrics"]]
        rows_read = json.loads((folder / RUN_NAME).read_text(encoding="utf-8"))["rows"]["held_out"]
        asked = f"asked {quoted(values['prompt'])}" if "prompt" in values else "each asked its own prompt"
        print(f"\n{rows_read} items of {values['dataset']}, {asked}")
        print_table(("", *(names.get(kind, kind) for kind in kinds)), rows, right=[names.get(k, k) for k in kinds])
    print(f"\nThe adapter is in {folder}. Load it: hf_tokcomp.load_adapter({str(folder)!r})")
