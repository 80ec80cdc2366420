"""`hf-tokcomp serve`: start vLLM's server for a model under a compression."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .command import Command
from .groups import OUTPUT, READ, RUNNING
from .options import ConfigOption, PositionsOption, RatioOption, StoredCompressionOption, one_compression

if TYPE_CHECKING:
    from ..serving.vllm.plan import Plan

PASSED_ON = "hf_tokcomp.passed_on"
"""Key of the arguments after ``--`` in a context's `meta`."""


class PassesOn(Command):
    """A command that hands what follows ``--`` to another program."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what stands before ``--``."""
        at = args.index("--") if "--" in args else len(args)
        ctx.meta[PASSED_ON] = args[at + 1 :]
        return super().parse_args(ctx, args[:at])

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words of the usage line."""
        return [*super().collect_usage_pieces(ctx), "[-- ARGUMENTS OF VLLM]"]


def serve(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            rich_help_panel=READ,
            help="Folder or Hub id of a model. Default: the small one that ships with the package.",
        ),
    ] = None,
    compression: StoredCompressionOption = None,
    retention_ratio: RatioOption = None,
    positions: PositionsOption = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            metavar="FOLDER",
            rich_help_panel=OUTPUT,
            help="Export the model into this folder, as export-vllm does, and serve that. Default: only a model that "
            "vLLM cannot read as it is, such as the shipped one, is exported, into hf_tokcomp/vllm below HF_HOME.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", rich_help_panel=RUNNING, help="Print the command, and start nothing.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Print the command that serves a model under a compression in vLLM, and run it.

    What follows -- is handed to vLLM, for example -- --port 8001 --dtype float32.
    """
    from ..inference.recordings import find_model
    from ..reporting.console import quiet_transformers
    from ..serving.vllm.command import cache_folder, is_installed, server_command
    from ..serving.vllm.exporting import is_exported, write
    from ..serving.vllm.plan import make_plan
    from ..serving.vllm.source import open_source

    quiet_transformers()
    source = open_source(find_model(None) if model is None else model)
    plan = make_plan(source, one_compression(compression, retention_ratio, positions).changed(source.stored))
    if not (dry_run or is_installed()):
        raise ImportError(
            'vLLM is not installed here: pip install "hf-tokcomp[serving]", in an environment of its own; '
            "docs/serving.md says how, also without a GPU. --dry-run prints the command without it."
        )
    if folder is None and plan.must_be_exported:
        folder = cache_folder(plan)
    if folder is not None and not is_exported(plan, folder):
        print(shlex.join(_export_command(plan, folder)))
        if not dry_run:
            write(plan, folder)
    command = server_command(plan, folder, context.meta[PASSED_ON])
    print(shlex.join(command), flush=True)
    if not dry_run:
        _become(command)


def _export_command(plan: Plan, folder: Path) -> Sequence[str]:
    """What `export-vllm` is called with for the same folder."""
    name = plan.source.name if plan.source.revision is None else f"{plan.source.name}@{plan.source.revision}"
    return ["hf-tokcomp", "export-vllm", name, str(folder), "--compression", json.dumps(plan.config.to_dict())]


def _become(command: Sequence[str]) -> None:
    """Replace this process, so that signals and the exit status are the server's own."""
    sys.stderr.flush()
    os.execvp(command[0], list(command))
