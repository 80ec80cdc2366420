"""Plug-in for lmms-eval: compressed models for its ``--model``, and captioning tasks for its ``--include_path``.

lmms-eval finds the models through the entry point group ``lmms_eval.models`` (`hf_tokcomp_plugins`). There is no such
group for tasks, so their folder is given on the command line: ``python -m hf_tokcomp.lmms_eval_plugin`` prints it.
Nothing here imports lmms-eval until lmms-eval itself loads it.
"""

from __future__ import annotations

from pathlib import Path

from hf_tokcomp_plugins import LMMS_EVAL_MODELS as MODELS
from hf_tokcomp_plugins import lmms_eval_models as manifests

__all__ = ["MODELS", "TASKS", "manifests"]

TASKS: Path = Path(__file__).resolve().parent / "tasks"
"""The folder of the tasks, for ``--include_path``."""
