"""`hf-tokcomp demo`: run the shipped model on the shipped recordings with all tokens, half and a quarter of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .completion import complete_compression
from .groups import COMPRESSION
from .options import Positions, one_compression
from .reader import open_reader

METHOD = "ltbm"
STEPS = (("all", 1.0), ("half", 0.5), ("a quarter", 0.25))


def demo(
    compression: Annotated[
        list[str] | None,
        typer.Option(
            "--compression",
            metavar="METHOD",
            rich_help_panel=COMPRESSION,
            autocompletion=complete_compression,
            help="How to compress, as for `run`. Default: ltbm.",
        ),
    ] = None,
    positions: Annotated[
        Positions,
        typer.Option(
            "--positions",
            rich_help_panel=COMPRESSION,
            help="Positions of the tokens that are kept: renumbered, or as in the full prompt.",
        ),
    ] = "original",
) -> None:
    """Show what the shipped model reads from all, half and a quarter of the audio tokens, beside the reference."""
    import torch

    from ..config.config import CompressionConfig
    from ..inference.recordings import find_entries, find_model, load_recordings

    method = (compression or [METHOD])[0]
    asked = one_compression(compression or [METHOD], None, positions)
    configs: list[CompressionConfig | None] = [None]
    configs += [asked._replace(retention_ratio=ratio).changed() for _, ratio in STEPS[1:]]
    name = find_model(None)
    reader = open_reader(name)
    recordings = load_recordings(find_entries(None, None), None, reader).recordings
    reader.load_model(device="cpu")
    torch.set_num_threads(1)  # more threads do not help a model this small, and contend on a busy machine
    for config in configs:  # warm-up: the first call bears one-time costs
        reader.read(reader.prepare(recordings[:1], config), config)

    print(f"A small model reads {len(recordings)} recordings; compression {method}, positions {positions}.")
    for recording in recordings:
        print(f"\n{Path(recording.name).name}, {recording.seconds:.1f} s of audio. {recording.prompt}")
        print(f"  {'truth':<10} {'':<24} {'':>8}  {recording.truth}", flush=True)
        for (label, _), config in zip(STEPS, configs, strict=True):
            (reading,), seconds = reader.read(reader.prepare([recording], config), config)
            text = _marked(reading.text, recording.truth)
            print(f"  {label:<10} {reading.counts:<24} {seconds.total:>6.3f} s  {text}", flush=True)
    print(
        "\nTokens are audio tokens. Seconds are from samples to text, on one CPU thread,\n"
        "with a model so small that there is little time to save. `hf-tokcomp run --model`\n"
        "reads with yours, `hf-tokcomp compare` compares all methods."
    )


def _marked(text: str, truth: str | None) -> str:
    """The text, with the number of wrong words."""
    from ..evaluation.metrics.texts import plain, word_counts

    counts = word_counts(plain(truth or ""), plain(text))
    return text if not counts.errors else f"{text}  ({counts.errors} of {counts.words} words wrong)"
