"""`export`: write a folder that vLLM serves under a compression, and that transformers reads without one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from safetensors import SafetensorError

from ...config.notation import Compression
from ...hub.ids import MODEL_CONFIG_NAME
from ...hub.whole_files import check_new, whole_folder, write_whole
from ...sharing.packed_folder import json_bytes
from .plan import Plan, make_plan
from .source import files_beside, weights_in


def export(
    model: str | os.PathLike[str], folder: str | os.PathLike[str], compression: Compression | None = None
) -> Path:
    """Write a model into a folder that vLLM serves under a compression without further settings. Needs no vLLM.

    The folder's ``config.json`` names the plug-in's architecture and the compression. Its weights are hard links to
    the model's own, or symbolic links where the folder is on another file system; they are written anew only where
    vLLM needs them otherwise: names as transformers 5.19 saves them, weights of a compressor that is not used, or
    attention heads of a width that vLLM's build for CPUs does not take, which are doubled with zeros. All other files
    are copied. In transformers, the folder is the model without compression, and ``compression=folder`` adds it.

    With ``positions="original"``, vLLM must also be started with ``video_pruning_rate``, see `engine_args`.

    Args:
        model: a folder or Hub id, ``user/repo`` or ``user/repo@revision``.
        folder: a new or empty folder. It is written whole or not at all.
        compression: what `patch` takes; None for the one stored with the model.

    Returns:
        The folder.

    Raises:
        CompressionConfigError: there is no compression, or it is invalid, or vLLM cannot serve it.
        UnsupportedModelError: the model is not served in vLLM, or is an adapter.
        CompressorWeightsError: the compressor learns, and the model has no weights for it.
        FileExistsError: the folder holds files.
        OSError: there is no such model, the Hub cannot be reached, or the folder cannot be written.

    Example:
        >>> from hf_tokcomp.checkpoints import SMALL_MODEL
        >>> from hf_tokcomp.serving.vllm import export
        >>> folder = export(SMALL_MODEL, "served", {"method": "ltbm", "retention_ratio": 0.25})
        >>> hf_tokcomp.CompressionConfig.from_pretrained(folder).method
        'ltbm'
    """
    return write(make_plan(model, compression), folder)


def write(plan: Plan, folder: str | os.PathLike[str]) -> Path:
    """Write the folder of a plan, as `export` does."""
    check_new(folder)  # before a download
    files = plan.source.files()
    weights, beside = weights_in(files), files_beside(files)
    with whole_folder(folder) as part:
        for file in beside:
            shutil.copyfile(file, part / file.name)
        write_whole(part / MODEL_CONFIG_NAME, json_bytes(plan.file_values()))
        plan.config.save_pretrained(part)
        try:
            plan.rewriting.write(weights, part)
        except SafetensorError as error:
            raise OSError(f"The weights of {plan.source.name} could not be rewritten: {error}") from error
    return Path(folder)


def is_exported(plan: Plan, folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is what `write` would make of a plan, and not older than the model's weights."""
    file = Path(folder, MODEL_CONFIG_NAME)
    if not file.is_file() or file.read_bytes() != json_bytes(plan.file_values()):
        return False
    weights = weights_in(plan.source.files()).files
    return max(each.stat().st_mtime_ns for each in weights) <= file.stat().st_mtime_ns
