"""`hf-tokcomp plot`: a picture of what methods do to a recording."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer

from ..reporting.console import complain
from .options import (
    ColumnsOption,
    DeviceOption,
    DtypeOption,
    ManifestOption,
    MaxNewTokensOption,
    ModelOption,
    Positions,
    PromptOption,
    SplitOption,
    change_compression,
    parse_columns,
    parse_compression,
)
from .reader import open_reader

METHODS = ("segmentwise_top_k", "average_pooling", "ltbm")


def plot(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The picture: a .png, .pdf or .svg file.")
    ],
    audio: Annotated[
        str | None,
        typer.Argument(
            metavar="AUDIO",
            help="Audio file, address, or folder, for its first recording. Default: the first of --manifest, or the "
            "first that ships with it.",
        ),
    ] = None,
    compression: Annotated[
        list[str] | None,
        typer.Option(
            "--compression",
            metavar="METHOD|JSON|FOLDER|HUB_ID",
            help="How to compress, as for `run`; once for every method to compare. Default: "
            f"{', '.join(METHODS)}. Their own budget is half of the tokens.",
        ),
    ] = None,
    retention_ratio: Annotated[
        float | None,
        typer.Option("--retention-ratio", metavar="R", help="Fraction of the audio tokens to keep, for all methods."),
    ] = None,
    positions: Annotated[
        Positions | None,
        typer.Option("--positions", help="Where the model believes the kept tokens to be: renumbered, or in place."),
    ] = None,
    model: ModelOption = None,
    prompt: PromptOption = None,
    manifest: ManifestOption = None,
    split: SplitOption = None,
    columns: ColumnsOption = None,
    text: Annotated[bool, typer.Option("--text/--no-text", help="Let the model answer under each compression.")] = True,
    attention: Annotated[
        bool | None,
        typer.Option(
            "--attention/--no-attention",
            help="Draw the attention that tokens receive, for all methods or none. Default: for those that go by it.",
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
    from ..plotting import check_path, plot_compression, read_panels, save
    from ..plotting.reading import spectrogram_of

    check_path(output)
    configs = []
    for given in compression or METHODS:
        config = parse_compression(given)
        if config is not None:
            ratio = retention_ratio if config.accepts_budget else None  # `none` beside others keeps all tokens
            configs.append(change_compression(config, ratio, positions) or config)
    name = find_model(model)
    entries = find_entries(None if audio is None else [audio], manifest, split, parse_columns(columns), most=1)
    reader = open_reader(name)
    (recording,) = load_recordings(entries, prompt, reader).recordings
    reader.load_model(device, dtype)
    inputs = reader.prepare([recording]).inputs
    panels = read_panels(
        reader.model,
        reader.processor,
        inputs,
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
    if any("missing from font" in str(warning.message) for warning in seen):  # one for every letter
        complain("warning", "no installed font has some of the letters; the picture has boxes in their place")
    methods = f"{len(panels)} methods" if len(panels) > 1 else panels[0].name
    first = f"the first {recording.seconds - recording.dropped:.1f} s of " if recording.dropped else ""
    print(f"Wrote {output}: {methods} on {first}{recording.seconds:.1f} s of audio.")
