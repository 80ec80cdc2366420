"""Options that several commands share, and the compression they name."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from ..config import CompressionConfig

Positions = Literal["contiguous", "original"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]

AudioArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="AUDIO", help="Audio files or addresses. Default: the recordings that ship with it."),
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
        "used. Default: 'Transcribe the digits.' for the shipped model, else 'Please describe the audio in detail.'",
    ),
]
ManifestOption = Annotated[
    Path | None,
    typer.Option(
        "--manifest",
        metavar="FILE.jsonl",
        help='Recordings with their truth, one per line: {"audio": path relative to the file, "text": truth, '
        '"prompt": optional}.',
    ),
]
MaxNewTokensOption = Annotated[
    int | None,
    typer.Option(
        "--max-new-tokens", metavar="N", min=1, help="Most tokens to write. Default: the model's own limit, or 128."
    ),
]
DeviceOption = Annotated[
    str, typer.Option("--device", metavar="DEVICE", help="auto (the GPUs there are, else the CPU), cpu, cuda:0, ...")
]
DtypeOption = Annotated[Dtype, typer.Option("--dtype", help="Precision; auto is the checkpoint's.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def parse_compression(text: str | None) -> CompressionConfig | None:
    """The config that ``--compression`` names: a method, a JSON object or list of them, a folder or file, or a Hub id.

    Raises:
        CompressionConfigError: it names none; the closest method is in the message.
        ValueError: it looks like JSON and is not.
    """
    from ..patching import resolve_compression

    if text is None:
        return None
    if not text.lstrip().startswith(("{", "[")):
        return resolve_compression(text)
    try:
        values: Any = json.loads(text)
    except ValueError as error:
        raise ValueError(f"--compression is not valid JSON: {error}. Given: {text}") from error
    return resolve_compression(values)


def config_at(name: str, ratio: float) -> CompressionConfig:
    """What a user may write for a method in a list, at a retention ratio.

    Args:
        name: a method's key; with options as ``ltbm:window=4:similarity=keys``; several as ``ltbm+top_k``, which share
            the ratio, each keeping the same fraction of what it gets.
        ratio: fraction of tokens that is left at the end.

    Raises:
        CompressionConfigError: no such method or option, or it takes no ratio.
    """
    from ..config import CompressionConfig
    from ..model_patch import ModelPatch

    parts = [_method_with_options(part) for part in name.split("+")]
    if len(parts) == 1:
        return CompressionConfig.from_dict(parts[0] | {"retention_ratio": ratio})
    each = ratio ** (1 / len(parts))
    stages = [part | {"retention_ratio": each} for part in parts[:-1]]
    # A rate counts from the whole audio, so that rounding in the stages before does not miss the ratio.
    stages.append(parts[-1] | {"tokens_per_second": ratio * ModelPatch.frame_rate})
    return CompressionConfig.from_dict({"method": "compose", "stages": stages})


def _method_with_options(text: str) -> dict[str, Any]:
    method, *options = (part.strip() for part in text.split(":"))
    values: dict[str, Any] = {"method": method}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise ValueError(f"{text!r}: write an option as {key}=value.")
        try:
            values[key] = json.loads(value)
        except ValueError:
            values[key] = value
    return values


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


def parse_list(text: str, option: str, kind: Callable[[str], Any], allowed: Sequence[str] = ()) -> list[Any]:
    """The values of a list with commas.

    Raises:
        ValueError: it is empty, or a value is not of the kind.
    """
    values = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            value = kind(part)
        except (ValueError, ZeroDivisionError):
            raise ValueError(f"{option}: {part!r} is not a number.") from None
        if allowed and value not in allowed:
            raise ValueError(f"{option}: {part!r} is not one of {', '.join(allowed)}.")
        values.append(value)
    if not values:
        raise ValueError(f"{option} is empty.")
    return list(dict.fromkeys(values))
