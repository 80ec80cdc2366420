"""Options of `hf-tokcomp bench` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .groups import MEASURING, OUTPUT, READ, RUNNING
from .options import compressions_option, ratios_option

METHODS = ("segmentwise_top_k", "average_pooling")
RATIOS = "1/2,1/4,1/10"
NEW_TOKENS = {"transformers": 16, "vllm": 64}
"""Default length of an answer, by engine."""

Engine = Literal["transformers", "vllm"]
EngineOption = Annotated[
    Engine,
    typer.Option(
        "--engine",
        rich_help_panel=RUNNING,
        help="What runs the model: transformers, phase by phase; or vllm, as a server under load. docs/serving.md.",
    ),
]
RandomWeightsOption = Annotated[
    str | None,
    typer.Option(
        "--random-weights",
        metavar="NAME",
        rich_help_panel=READ,
        help="Instead of a model: the whole of qwen2-audio-7b, audio-flamingo-3, whisper-tiny.en, whisper-base, "
        "whisper-large-v3-turbo or whisper-large-v3 with random weights, made from sizes that ship with the package. "
        "Nothing is downloaded.",
    ),
]
LayersOption = Annotated[
    int | None,
    typer.Option(
        "--layers",
        metavar="N",
        min=1,
        rich_help_panel=READ,
        help="With --random-weights or --full-size: keep N layers of the encoder and of the language model or "
        "decoder, for a small machine.",
    ),
]
CompressionsOption = Annotated[
    list[str] | None,
    compressions_option(
        f"{' and '.join(METHODS)}, of which vllm serves the first; `none` measures what the patch itself costs"
    ),
]
RatiosOption = Annotated[
    str | None,
    ratios_option(f"each compression's own budget; of the default compressions {RATIOS}"),
]
AudioSecondsOption = Annotated[
    str | None,
    typer.Option(
        "--audio-seconds",
        metavar="S,S,...",
        rich_help_panel=MEASURING,
        help="Lengths of the clips; one with --engine vllm. Default: the encoder's window.",
    ),
]
BatchSizeOption = Annotated[
    str | None,
    typer.Option(
        "--batch-size",
        metavar="N,N,...",
        rich_help_panel=MEASURING,
        help="Clips per batch. Default: 1; of a model that reads no prompt 1,8,16.",
    ),
]
RaggedOption = Annotated[
    bool,
    typer.Option(
        "--ragged",
        rich_help_panel=MEASURING,
        help="Let the clips of a batch differ in length, up to --audio-seconds.",
    ),
]
OneByOneOption = Annotated[
    bool,
    typer.Option("--one-by-one", rich_help_panel=MEASURING, help="Also measure one call per clip."),
]
RivalsOption = Annotated[
    bool,
    typer.Option(
        "--rivals",
        rich_help_panel=MEASURING,
        help="Also measure the usual way: pruning by the scores of eager attention, one clip at a time.",
    ),
]
NewTokensOption = Annotated[
    int | None,
    typer.Option(
        "--new-tokens",
        metavar="N",
        min=1,
        rich_help_panel=MEASURING,
        help="Tokens to generate, always exactly as many. Default: "
        f"{NEW_TOKENS['transformers']}, with --engine vllm {NEW_TOKENS['vllm']}.",
    ),
]
RoundsOption = Annotated[
    int,
    typer.Option(
        "--rounds",
        metavar="N",
        min=1,
        rich_help_panel=MEASURING,
        help="Minimum number of rounds.",
    ),
]
SecondsOption = Annotated[
    float,
    typer.Option(
        "--seconds",
        min=0,
        rich_help_panel=MEASURING,
        help="Minimum time to measure each length and batch size for.",
    ),
]
LimitOption = Annotated[
    float,
    typer.Option(
        "--limit",
        metavar="SECONDS",
        min=0,
        rich_help_panel=MEASURING,
        help="Skip cases in which a single call takes longer.",
    ),
]
RequestsOption = Annotated[
    int,
    typer.Option(
        "--requests",
        metavar="N",
        min=1,
        rich_help_panel=MEASURING,
        help="With --engine vllm: requests in each measurement.",
    ),
]
ConcurrencyOption = Annotated[
    str,
    typer.Option(
        "--concurrency",
        metavar="N,N,...",
        rich_help_panel=MEASURING,
        help="With --engine vllm: requests at a time.",
    ),
]
ArrivalsOption = Annotated[
    str,
    typer.Option(
        "--arrivals",
        metavar="F,F,...",
        rich_help_panel=MEASURING,
        help="With --engine vllm: rates at which requests arrive at random, as multiples of what the uncompressed "
        "server answers at the highest --concurrency.",
    ),
]
KVBlocksOption = Annotated[
    int | None,
    typer.Option(
        "--kv-blocks",
        metavar="N",
        min=2,
        rich_help_panel=MEASURING,
        help="With --engine vllm: blocks of its key-value cache. Default: as many as it finds room for.",
    ),
]
EngineArgsOption = Annotated[
    str | None,
    typer.Option(
        "--engine-args",
        metavar="JSON",
        rich_help_panel=RUNNING,
        help="With --engine vllm: more keywords of its engine, such as "
        """'{"max_num_seqs": 64, "gpu_memory_utilization": 0.8}'.""",
    ),
]
ReportOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="FILE",
        rich_help_panel=OUTPUT,
        help="Also write the JSON to a file, which is updated as measurements come in.",
    ),
]
PictureOption = Annotated[
    Path | None,
    typer.Option(
        "--plot",
        metavar="FILE",
        rich_help_panel=OUTPUT,
        help="Plot the result into a .png, .pdf or .svg file; needs matplotlib.",
    ),
]
MarkdownOption = Annotated[
    str | None,
    typer.Option(
        "--markdown",
        metavar="PAGE[#PLACE]",
        rich_help_panel=OUTPUT,
        help="Write the tables between the page's markers, or between those of this name if there are several.",
    ),
]
FullSizeOption = Annotated[
    Path | None,
    typer.Option(
        "--full-size",
        metavar="FOLDER",
        rich_help_panel=MEASURING,
        help="Measure both public models at full size, with random weights, and write reports, tables and pictures "
        "to the folder. What is there already is not measured again. Goes with --layers, --device, --dtype and "
        "--markdown only; needs matplotlib.",
    ),
]
