"""`hf-tokcomp export-vllm`: write a folder that vLLM serves under a compression."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from .groups import OUTPUT, READ
from .options import ConfigOption, PositionsOption, RatioOption, StoredCompressionOption, one_compression


def export_vllm(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", rich_help_panel=READ, help="Folder or Hub id of a model; not an adapter.")
    ],
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", rich_help_panel=OUTPUT, help="A new or empty folder to write.")
    ],
    compression: StoredCompressionOption = None,
    retention_ratio: RatioOption = None,
    positions: PositionsOption = None,
    config: ConfigOption = None,
) -> None:
    """Write a folder that vLLM serves under a compression, with no other settings.

    Weights are linked, not copied. transformers reads the folder as the model without compression. vLLM need not be
    installed here.
    """
    from ..reporting.console import quiet_transformers
    from ..serving.vllm.command import server_command
    from ..serving.vllm.exporting import write
    from ..serving.vllm.plan import make_plan
    from ..serving.vllm.source import open_source
    from .report import describe

    quiet_transformers()
    source = open_source(model)
    plan = make_plan(source, one_compression(compression, retention_ratio, positions).changed(source.stored))
    write(plan, folder)
    print(f"Wrote {folder}: {model}, {describe(plan.config)}.")
    print(f"Serve it: {shlex.join(server_command(plan, folder))}")
