"""`hf-tokcomp plot`: plot what methods do to a recording."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..reporting.console import complain
from .groups import OUTPUT, READ
from .options import (
    ColumnsOption,
    DatasetOption,
    DeviceOption,
    DtypeOption,
    MaxNewTokensOption,
    ModelOption,
    Positions,
    PromptOption,
    SplitOption,
    change_compression,
    compressions_option,
    parse_columns,
    parse_compression,
    positions_of,
    positions_option,
    ratios_of,
    ratios_option,
)
from .reader import open_reader

if TYPE_CHECKING:
    from ..config.config import CompressionConfig

NOTHING: tuple[Any, ...] = (None,)
METHODS = ("segmentwise_top_k", "average_pooling", "ltbm")


def plot(
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", rich_help_panel=OUTPUT, help="The picture: a .png, .pdf or .svg file."
        ),
    ],
    audio: Annotated[
        str | None,
        typer.Argument(
            metavar="AUDIO",
            rich_help_panel=READ,
            help="Audio file, URL, or folder (its first recording is used). Default: the first of --dataset, or the "
            "first that ships with it.",
        ),
    ] = None,
    compression: Annotated[list[str] | None, compressions_option("segmentwise_top_k, average_pooling and ltbm")] = None,
    retention_ratio: Annotated[
        str | None, ratios_option("each compression's own budget, which for those is half of the tokens")
    ] = None,
    positions: Annotated[str | None, positions_option("each compression's own")] = None,
    model: ModelOption = None,
    prompt: PromptOption = None,
    dataset: DatasetOption = None,
    split: SplitOption = None,
    columns: ColumnsOption = None,
    text: Annotated[
        bool,
        typer.Option(
            "--text/--no-text", rich_help_panel=OUTPUT, help="Show the model's answer under each compression."
        ),
    ] = True,
    attention: Annotated[
        bool | None,
        typer.Option(
            "--attention/--no-attention",
            rich_help_panel=OUTPUT,
            help="Draw the attention that tokens receive, for all methods or none. Default: for those that use it.",
        ),
    ] = None,
    max_new_tokens: MaxNewTokensOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
) -> None:
    """Draw a recording's spectrogram, and below it which tokens each method keeps, drops and merges.
    Needs matplotlib: pip install 'hf-tokcomp[plot]'.
    """
    from ..inference.recordings import find_entries, find_model, load_recordings
    from ..plotting import check_path, plot_compression, save
    from ..plotting.reading import read_each, spectrogram_of

    check_path(output)
    configs = configs_of(compression or METHODS, ratios_of(retention_ratio), positions_of(positions))
    name = find_model(model)
    entries = find_entries(None if audio is None else [audio], dataset, split, parse_columns(columns), most=1)
    reader = open_reader(name)
    most = next((config for config in configs if config.long_audio == "windows"), None)
    (recording,) = load_recordings(entries, prompt, reader, compression=most).recordings
    reader.load_model(device, dtype)
    panels, inputs = read_each(
        reader.model,
        reader.processor,
        lambda config: reader.prepare([recording], config).inputs,
        configs,
        text=text,
        attention=attention,
        max_new_tokens=max_new_tokens,
    )
    truth = "" if recording.truth is None else f"  Truth: “{recording.truth}”"
    with warnings.catch_warnings(record=True) as seen:
        figure = plot_compression(
            spectrogram_of(reader.processor, reader.patch, inputs, recording.seconds),
            panels,
            title=recording.title,
            subtitle=recording.prompt + truth if text else None,
            frame_rate=reader.patch.frame_rate,
        )
        save(figure, output)
    if any("missing from font" in str(warning.message) for warning in seen):  # one warning per letter
        complain("warning", "no installed font has some of the letters; the picture has boxes in their place")
    methods = f"{len(panels)} methods" if len(panels) > 1 else panels[0].name
    first = f"the first {recording.seconds - recording.dropped:.1f} s of " if recording.dropped else ""
    print(f"Wrote {output}: {methods} on {first}{recording.seconds:.1f} s of audio.")


def configs_of(
    compressions: Sequence[str], ratios: Sequence[float], kinds: Sequence[Positions]
) -> list[CompressionConfig]:
    """The configs to draw: every compression at every given ratio and with every given kind of positions."""
    found = []
    for given in compressions:
        config = parse_compression(given)
        if config is not None:
            budgets = ratios if config.accepts_budget else ()  # `none` keeps all tokens, whatever the ratios
            for ratio, kind in itertools.product(budgets or NOTHING, kinds or NOTHING):
                found.append(change_compression(config, ratio, kind) or config)
    return found
