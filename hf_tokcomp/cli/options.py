"""Options shared by several commands, with the same spelling in all of them, and the parsing of their values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeVar, cast, get_args

import typer

from ..reporting.options import parse_columns, parse_list, parse_ratios
from .completion import complete_compression, complete_compressions, complete_positions
from .groups import COMPRESSION, GENERATION, OUTPUT, READ, RUNNING

if TYPE_CHECKING:
    from ..config.config import CompressionConfig

__all__ = [
    "AudioArgument",
    "ColumnsOption",
    "CompressionOption",
    "ConfigOption",
    "DatasetOption",
    "DeviceOption",
    "Dtype",
    "DtypeOption",
    "JsonOption",
    "MaxNewTokensOption",
    "ModelOption",
    "OnError",
    "OnErrorOption",
    "Positions",
    "PositionsOption",
    "PromptOption",
    "RatioOption",
    "SplitOption",
    "StoredCompressionOption",
    "change_compression",
    "compression_option",
    "compressions_option",
    "one_compression",
    "parse_columns",
    "parse_compression",
    "positions_of",
    "positions_option",
    "ratios_of",
    "ratios_option",
    "the_one",
]

T = TypeVar("T")
Positions = Literal["contiguous", "original"]
OnError = Literal["stop", "skip"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]

NAMES = "METHOD|JSON|FOLDER|HUB_ID"
WRITTEN = (
    "a METHOD, with options as in ltbm:window=4, or several in a row as in ltbm+top_k; JSON such as "
    """'{"method": "ltbm", "window": 4}'; or a folder or Hub id with a compression_config.json"""
)
RATIO = "above 0 and at most 1, such as 0.25 or 1/4"
WHERE = "Positions of the tokens that are kept: contiguous (renumbered) or original (as in the full prompt)"


def compression_option(default: str) -> Any:
    """``--compression`` for a command that takes one; its help names the default."""
    return typer.Option(
        "--compression",
        metavar=NAMES,
        rich_help_panel=COMPRESSION,
        autocompletion=complete_compression,
        help=f"How to compress: {WRITTEN}. Default: {default}.",
    )


AudioArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="AUDIO",
        rich_help_panel=READ,
        help="Audio files, URLs, or folders of recordings. Default: the recordings that ship with the package.",
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        rich_help_panel=READ,
        help="Folder or Hub id of a model. Default: the small one that ships with the package.",
    ),
]
PromptOption = Annotated[
    str | None,
    typer.Option(
        "--prompt",
        metavar="TEXT",
        rich_help_panel=READ,
        help="The question. If it contains the model's audio placeholder, it is the whole prompt, and no chat template "
        "is used. Default: the one stored with the model (prompt.json, which `finetune` writes), else 'Please describe "
        "the audio in detail.'",
    ),
]
DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="TABLE|FOLDER|HUB_ID",
        rich_help_panel=READ,
        help="Recordings, optionally with reference texts and prompts: a .jsonl, .json, .csv, .tsv or .parquet table "
        "with the columns audio (paths are relative to the table), text and prompt; a folder with such a table, one "
        "saved by `datasets`, or one of recordings only; or a data set on the Hub.",
    ),
]
SplitOption = Annotated[
    str | None,
    typer.Option(
        "--split",
        metavar="NAME",
        rich_help_panel=READ,
        help="Split of the --dataset, if it has several. Default: train.",
    ),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="ROLE:NAME,...",
        rich_help_panel=READ,
        help="Names of the --dataset's columns of audio, text and question, if they are unusual.",
    ),
]
CompressionOption = Annotated[list[str] | None, compression_option("the one stored with the model, or none")]
StoredCompressionOption = Annotated[list[str] | None, compression_option("the one stored with the model")]
RatioOption = Annotated[
    str | None,
    typer.Option(
        "--retention-ratio",
        metavar="R",
        rich_help_panel=COMPRESSION,
        help=f"Fraction of the audio tokens to keep, {RATIO}. Default: the compression's own budget.",
    ),
]
PositionsOption = Annotated[
    str | None,
    typer.Option(
        "--positions",
        metavar="P",
        rich_help_panel=COMPRESSION,
        autocompletion=complete_positions,
        help=f"{WHERE}. Default: the compression's own.",
    ),
]
MaxNewTokensOption = Annotated[
    int | None,
    typer.Option(
        "--max-new-tokens",
        metavar="N",
        min=1,
        rich_help_panel=GENERATION,
        help="Maximum number of tokens to generate. Default: the model's own limit, or 128.",
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE.yaml",
        rich_help_panel=RUNNING,
        help="Read options from a file, with their names as keys. The command line takes precedence.",
    ),
]


def compressions_option(default: str) -> Any:
    """``--compression`` for a command that takes several; its help names the default."""
    return typer.Option(
        "--compression",
        metavar=NAMES,
        rich_help_panel=COMPRESSION,
        autocompletion=complete_compressions,
        help=f"How to compress; can be repeated: {WRITTEN}. `all` stands for every method that needs no training. "
        f"Default: {default}.",
    )


def ratios_option(default: str) -> Any:
    """``--retention-ratio`` for such a command."""
    return typer.Option(
        "--retention-ratio",
        metavar="R,R,...",
        rich_help_panel=COMPRESSION,
        help=f"Fractions of the audio tokens to keep, {RATIO}. Default: {default}.",
    )


def positions_option(default: str) -> Any:
    """``--positions`` for such a command."""
    return typer.Option(
        "--positions",
        metavar="P,P",
        rich_help_panel=COMPRESSION,
        autocompletion=complete_positions,
        help=f"{WHERE}, or both. Default: {default}.",
    )


def _check_device(name: str) -> str:
    from ..inference.devices import check_device

    return check_device(name)


DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="DEVICE",
        rich_help_panel=RUNNING,
        callback=_check_device,  # before anything is loaded
        help="auto (GPUs if there are any, else the CPU), cpu, cuda:0, ...",
    ),
]
DtypeOption = Annotated[
    Dtype, typer.Option("--dtype", rich_help_panel=RUNNING, help="Precision; auto is that of the checkpoint.")
]
OnErrorOption = Annotated[
    OnError,
    typer.Option(
        "--on-error",
        rich_help_panel=RUNNING,
        help="What to do about a recording that cannot be read: stop before reading any, or skip it and report it at "
        "the end. The exit status is then 0, unless none is left.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", rich_help_panel=OUTPUT, help="Print JSON.")]


class One(NamedTuple):
    """The compression of a command that takes a single one, and the changes to apply to it."""

    config: CompressionConfig | None
    retention_ratio: float | None
    positions: Positions | None

    def changed(self, stored: CompressionConfig | None = None) -> CompressionConfig | None:
        """The compression, or else the stored one, with the changes applied."""
        return change_compression(self.config or stored, self.retention_ratio, self.positions)


def one_compression(compression: Sequence[str] | None, retention_ratio: str | None, positions: str | None) -> One:
    """Parse ``--compression``, ``--retention-ratio`` and ``--positions`` for a command that takes one of each.

    Raises:
        CompressionConfigError: there is no such compression.
        ValueError: several values are given for one option.
    """
    name = the_one("--compression", compression or ())
    ratio = the_one("--retention-ratio", ratios_of(retention_ratio))
    kind = the_one("--positions", positions_of(positions))
    return One(parse_compression(name), ratio, kind)


def the_one(option: str, values: Sequence[T]) -> T | None:
    """The only value of an option; None if it was not given.

    Raises:
        ValueError: there are several values.
    """
    if len(values) > 1 or "all" in values:
        raise ValueError(f"{option}: this command takes one. `hf-tokcomp compare` and `hf-tokcomp eval` take several.")
    return values[0] if values else None


def ratios_of(text: str | None) -> list[float]:
    """The ratios in ``--retention-ratio``; empty for None.

    Raises:
        ValueError: a ratio is not a number.
    """
    return [] if text is None else parse_ratios(text)


def positions_of(text: str | None) -> list[Positions]:
    """The kinds in ``--positions``; empty for None.

    Raises:
        ValueError: there is no such kind.
    """
    found = [] if text is None else parse_list(text, "--positions", str, get_args(Positions))
    return cast("list[Positions]", found)


def parse_compression(text: str | None) -> CompressionConfig | None:
    """The config given by ``--compression``, see `hf_tokcomp.config.notation.parse_config`; None for None."""
    from ..config.notation import parse_config

    return None if text is None else parse_config(text)


def change_compression(
    config: CompressionConfig | None, retention_ratio: float | None, positions: Positions | None
) -> CompressionConfig | None:
    """The config with ``--retention-ratio`` and ``--positions`` applied.

    Raises:
        ValueError: there is no method to change.
    """
    given: dict[str, Any] = {"retention_ratio": retention_ratio, "positions": positions}
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        return config
    if config is None:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in changes)
        raise ValueError(f"{names}: of which method? Add --compression METHOD, one of `hf-tokcomp methods`.")
    return config.replace(**changes)
