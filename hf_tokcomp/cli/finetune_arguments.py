"""The arguments of `hf-tokcomp finetune`: its own and those of transformers' Trainer, optionally from a YAML file."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from .config_file import FLAG, read_yaml
from .epilogs import EXAMPLES
from .groups import COMPRESSION, GENERATION, READ, RUNNING, SHARE, TRAINING
from .imported import import_modules
from .options import the_one
from .spellings import hint_at

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from ..training.arguments import FinetuneArguments

OLD = {
    "audio_column": "columns audio:{}",
    "text_column": "columns text:{}",
    "prompt_column": "columns question:{}",
    "skip_bad": "on-error skip",
}
"""Earlier spellings, which `FinetuneArguments` still accepts, and the current ones."""
FIELDS = {
    READ: (
        *("model", "model_revision", "task", "prompt", "dataset", "dataset_config", "split", "columns"),
        *("max_train_samples", "eval_dataset", "eval_split", "max_eval_samples", "long_audio"),
    ),
    COMPRESSION: ("compression", "retention_ratio", "positions", "ratios", "curriculum"),
    TRAINING: ("adapt", "lora_r", "lora_alpha", "lora_dropout", "load_in_4bit", "load_in_8bit"),
    GENERATION: ("max_new_tokens", "evaluate_uncompressed"),
    SHARE: ("push", "base_model", "license"),
    RUNNING: ("on_error", "no_check", "dtype", "config", "import"),
}
"""The groups in `--help`, and the arguments in each."""
TRAINERS = "transformers.TrainingArguments"
USAGE = "hf-tokcomp finetune [--config FILE.yaml] --dataset DATA --output-dir FOLDER [...]"
TRAINER = "And every argument of transformers.TrainingArguments, such as --num-train-epochs: --help-all lists them."


def read_arguments(arguments: Sequence[str]) -> tuple[FinetuneArguments | None, TrainingArguments | None]:
    """Read the arguments of a command line, optionally with a YAML file, which flags override.

    Returns:
        The arguments, or None and None if help was requested and printed.

    Raises:
        typer.BadParameter: an argument is unknown or has an invalid value.
        ValueError: the arguments contradict each other.
        FileNotFoundError: the YAML file does not exist.
    """
    from transformers import TrainingArguments

    from ..training.arguments import FinetuneArguments

    given = list(arguments)
    if "--help-all" in given or "--help" in given or "-h" in given:
        print(_help("--help-all" in given))
        return None, None
    kinds = (FinetuneArguments, TrainingArguments)
    whole = _parser(*kinds)
    file, given = _file(given)
    hints = {}
    if file is not None:
        values = _read(file, kinds)
        whole.set_defaults(**_typed(whole, file, values))
        hints = {name: OLD[name].format(values[name]).replace(" ", ": ", 1) for name in OLD if name in values}
    given = _spread(given)
    # argparse would silently take the last of several.
    the_one("--compression", [arg for arg in given if arg.partition("=")[0] == "--compression"])
    own, training, unknown = whole.parse_args_into_dataclasses(
        given, return_remaining_strings=True, look_for_args_file=False
    )
    if unknown:
        if not unknown[0].startswith("-"):
            raise typer.BadParameter(f"{unknown[0]!r} belongs to no argument; a YAML file comes before all flags")
        raise typer.BadParameter(_suggested(unknown[0], kinds))
    if whole.parse_args(given).output_dir is None:  # TrainingArguments would choose a default
        raise ValueError("--output-dir is missing: the folder for the adapter.")
    flags = {arg.partition("=")[0].lstrip("-").replace("-", "_") for arg in given if arg.startswith("--")}
    for name in (name for name in OLD if name in flags):
        hints[f"--{name.replace('_', '-')}"] = f"--{OLD[name]}".format(getattr(own, name))
    if hints:
        hint_at(hints)
    return own, training


def _parser(*kinds: Any) -> Any:
    """Transformers' parser, with errors raised as typer's."""
    from transformers import HfArgumentParser

    class Parser(HfArgumentParser):  # type: ignore[misc]
        def error(self, message: str) -> NoReturn:
            raise typer.BadParameter(message)

    return Parser(kinds, usage=USAGE, allow_abbrev=False, add_help=False)


def _help(everything: bool) -> str:
    """The help text, grouped like that of the other commands, without earlier spellings or those with underscores."""
    from transformers import TrainingArguments

    from ..training.arguments import FinetuneArguments

    parser = _parser(FinetuneArguments, TrainingArguments) if everything else _parser(FinetuneArguments)
    parser.add_argument(FLAG, metavar="FILE.yaml", help="Arguments from a file; flags override them.")
    parser.add_argument("--import", metavar="MODULE", help="Import this first: a module or .py file with methods.")
    titles = {name: title for title, names in FIELDS.items() for name in names}
    groups: dict[str, list[Any]] = {title: [] for title in (*FIELDS, TRAINERS)}
    for action in parser._actions:
        action.option_strings = [name for name in action.option_strings if "_" not in name]
        if action.dest not in OLD:
            groups[titles.get(action.dest, TRAINERS)].append(action)
    formatter = parser._get_formatter()
    formatter.add_usage(USAGE, [], [])
    for title, actions in groups.items():
        formatter.start_section(title)
        formatter.add_arguments(actions)
        formatter.end_section()
    lines = [formatter.format_help(), *([] if everything else [TRAINER, ""]), "Examples:"]
    return "\n".join([*lines, textwrap.indent("\n".join(EXAMPLES["finetune"]), "  ")])


def _file(given: Sequence[str]) -> tuple[Path | None, list[str]]:
    """The YAML file, given before all flags or with ``--config``, and the other arguments.

    Raises:
        typer.BadParameter: two files are given.
    """
    files: list[str] = []
    others: list[str] = []
    rest = iter(given)
    for place, arg in enumerate(rest):
        if place == 0 and not arg.startswith("-"):
            files.append(arg)
        elif arg == FLAG or arg.startswith(f"{FLAG}="):
            files.append(arg.partition("=")[2] or next(rest, ""))
        else:
            others.append(arg)
    if len(files) > 1:
        raise typer.BadParameter(f"there is one YAML file, not {len(files)}: {', '.join(files)}")
    return (Path(files[0]) if files else None), others


def _spread(given: Sequence[str]) -> list[str]:
    """Rewrite ``--ratios 1/2,1/4`` as ``--ratios 1/2 1/4``, the list format of transformers' parser."""
    return list(_spread_words(given))


def _spread_words(given: Sequence[str]) -> Iterator[str]:
    inside = False
    for arg in given:
        name, equals, value = arg.partition("=")
        if arg.startswith("--"):
            inside = name == "--ratios"
            yield from [name, *value.split(",")] if inside and equals else [arg]
        else:
            yield from arg.split(",") if inside else [arg]


def _read(file: Path, kinds: Sequence[Any]) -> dict[str, Any]:
    values = read_yaml(file)
    names = {field.name for kind in kinds for field in dataclasses.fields(kind)}
    modules = values.pop("import", None)
    if modules is not None:
        import_modules([modules] if isinstance(modules, str) else modules)
    for name in values:
        if name not in names:
            raise ValueError(f"{file}: {_suggested(str(name), kinds)}")
    if isinstance(values.get("compression"), dict | list):  # like JSON on the command line
        values["compression"] = json.dumps(values["compression"])
    return values


def _typed(parser: Any, file: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Parse and check the values in a YAML file like those of flags.

    Values that no flag can express (null, dicts, lists for a flag that takes one word) are left for transformers to
    check.

    Raises:
        ValueError: an argument has an invalid value; the message names the file.
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
        read = parser.parse_args(_spread(flags))
    except typer.BadParameter as error:
        raise ValueError(f"{file}: {error.message}") from error
    return {**values, **{name: getattr(read, name) for name in typed}}


def _as_flag(value: Any) -> str:
    """A value as a single command line word; transformers' parser reads booleans as true and false."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _suggested(name: str, kinds: Sequence[Any]) -> str:
    from ..messages import did_you_mean

    known = [field.name for kind in kinds for field in dataclasses.fields(kind)]
    flag = name.lstrip("-").partition("=")[0].replace("-", "_")
    return f"there is no argument {name}{did_you_mean(flag, known)}"
