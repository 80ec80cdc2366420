"""Plug-in for lmms-eval: compressed models for its ``--model``, and captioning tasks for its ``--include_path``.

lmms-eval finds the models by the entry-point group ``lmms_eval.models``. It has none for tasks, so their folder is
named on the command line: ``python -m hf_tokcomp.lmms_eval_plugin`` prints it. Nothing here imports lmms-eval before
lmms-eval itself asks for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["MODELS", "TASKS", "manifests"]

TASKS: Path = Path(__file__).resolve().parent / "tasks"
"""The folder of the tasks, for ``--include_path``."""

MODELS: dict[str, str] = {
    "hf_tokcomp": "CompressedAudioModel",
    "hf_tokcomp_qwen2_audio": "CompressedQwen2Audio",
    "hf_tokcomp_audio_flamingo_3": "CompressedAudioFlamingo3",
}
"""lmms-eval's name of every model, and its class in `hf_tokcomp.lmms_eval_plugin.model`."""


def manifests() -> list[Any]:
    """What lmms-eval's registry is told: one `ModelManifest` per model."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return [
        ModelManifest(model_id=name, simple_class_path=f"{__name__}.model.{class_name}")
        for name, class_name in MODELS.items()
    ]
