"""Options that several commands share, and the compression they name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from ..config.config import CompressionConfig

Positions = Literal["contiguous", "original"]
OnError = Literal["stop", "skip"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]

AudioArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="AUDIO",
        help="Audio files, addresses, or folders, for all recordings in them. Default: the recordings that ship with "
        "it.",
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="NAME", help="Folder or Hub id of a model. Default: the small one that ships with it."
    ),
]
PromptOption = Annotated[
    str | None,
    typer.Option(
        "--prompt",
        metavar="TEXT",
        help="What to ask. With the model's audio placeholder in it, it is the whole prompt and no chat template is "
        "used. Default: what comes with the model (prompt.json, as `finetune` writes it), else 'Please describe the "
        "audio in detail.'",
    ),
]
ManifestOption = Annotated[
    str | None,
    typer.Option(
        "--manifest",
        "--dataset",
        metavar="TABLE|FOLDER|HUB_ID",
        help="Recordings, perhaps with their truth and a prompt of their own: a .jsonl, .json, .csv, .tsv or .parquet "
        "table with the columns audio (paths begin at the table), text and prompt; a folder with such a table, or that "
        "`datasets` saved, or of recordings alone; or a data set on the Hub.",
    ),
]
SplitOption = Annotated[
    str | None,
    typer.Option("--split", metavar="NAME", help="Which part of the --manifest, where it has parts. Default: train."),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="ROLE:NAME,...",
        help="Columns of audio, text and question in the --manifest, where theirs are no usual names.",
    ),
]
MaxNewTokensOption = Annotated[
    int | None,
    typer.Option(
        "--max-new-tokens", metavar="N", min=1, help="Most tokens to write. Default: the model's own limit, or 128."
    ),
]


def _check_device(name: str) -> str:
    from ..inference.devices import check_device

    return check_device(name)


DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="DEVICE",
        callback=_check_device,  # before anything is loaded
        help="auto (the GPUs there are, else the CPU), cpu, cuda:0, ...",
    ),
]
DtypeOption = Annotated[Dtype, typer.Option("--dtype", help="Precision; auto is the checkpoint's.")]
OnErrorOption = Annotated[
    OnError,
    typer.Option(
        "--on-error",
        help="Where a recording cannot be read: stop before any is, or skip it and name it at the end. If none is "
        "left that is an error, too; else the exit status is 0.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def parse_compression(text: str | None) -> CompressionConfig | None:
    """The config that ``--compression`` names, see `hf_tokcomp.config.notation.parse_config`; None for None."""
    from ..config.notation import parse_config

    return None if text is None else parse_config(text)


def change_compression(
    config: CompressionConfig | None, retention_ratio: float | None, positions: Positions | None
) -> CompressionConfig | None:
    """The config with the changes of ``--retention-ratio`` and ``--positions``.

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


def parse_columns(text: str | None) -> Mapping[str, str]:
    """``audio:context,text:answer`` as names by role; none for None.

    Raises:
        ValueError: it is not written so.
    """
    found: dict[str, str] = {}
    for part in () if text is None else text.split(","):
        role, colon, name = part.strip().partition(":")
        if not colon or not name:
            raise ValueError(f"--columns: {part!r} is not ROLE:NAME.")
        found[role] = name
    return found
