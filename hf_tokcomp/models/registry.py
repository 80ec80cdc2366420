"""The table of supported models: model type to the dotted name of its patch, loaded when it is needed."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from ..errors import UnsupportedModelError
from .base import ModelPatch

PATCHES = {
    "qwen2_audio": "hf_tokcomp.patches.qwen2_audio",
    "audioflamingo3": "hf_tokcomp.patches.audioflamingo3",
    "musicflamingo": "hf_tokcomp.patches.musicflamingo",
    "voxtral": "hf_tokcomp.patches.voxtral",
    "glmasr": "hf_tokcomp.patches.glmasr",
    "granite_speech": "hf_tokcomp.patches.granite_speech",
}


def load_patch(patch_module: str) -> ModelPatch:
    """The patch in this module; patches are loaded by name, when a model needs them."""
    patch: ModelPatch = importlib.import_module(patch_module).PATCH
    return patch


def register_model(model_type: str, patch_module: str) -> None:
    """Add a model: ``patch_module`` is the dotted name of a module with a `ModelPatch` instance named ``PATCH``.

    Raises:
        ValueError: the model type has a patch already.
    """
    if model_type in PATCHES:
        raise ValueError(f"{model_type!r} already has a patch, {PATCHES[model_type]}.")
    PATCHES[model_type] = patch_module


def supported_models() -> dict[str, ModelPatch]:
    """Every supported model type with its patch."""
    _require_patches()
    return {model_type: load_patch(name) for model_type, name in PATCHES.items()}


def patch_for_class(model_class: type) -> tuple[str, ModelPatch]:
    """The patch of a model class, with the name of its module.

    Raises:
        UnsupportedModelError: there is none; the message lists the supported models and says how to add one.
    """
    _require_patches()
    config_class = getattr(model_class, "config_class", None) or getattr(model_class, "config", None)
    model_type = getattr(config_class, "model_type", None)
    names = {base.__name__ for base in model_class.__mro__}
    if model_type in PATCHES:
        patch = load_patch(PATCHES[model_type])
        if names & set(patch.model_classes):
            return PATCHES[model_type], patch
        raise UnsupportedModelError(
            f"{model_class.__name__} has no language-model head to compress for. Use "
            f"{' or '.join(patch.model_classes)}, or an Auto class with a head that resolves to it: "
            f"{', '.join(auto_classes(patch))}."
        )
    raise UnsupportedModelError(f"{model_class.__name__} is not supported. {how_to_add()}")


def patch_for_processor(processor: Any) -> tuple[str, ModelPatch]:
    """The patch of a processor, with the name of its module.

    Raises:
        UnsupportedModelError: there is none.
    """
    _require_patches()
    names = {base.__name__ for base in type(processor).__mro__}
    for module in PATCHES.values():
        patch = load_patch(module)
        if patch.processor_class in names:
            return module, patch
    raise UnsupportedModelError(f"{type(processor).__name__} is not supported. {how_to_add()}")


def auto_classes(patch: ModelPatch) -> list[str]:
    """Names of the Auto classes that resolve to a class of this patch."""
    return list(patch.auto_classes) or resolving_to(patch)


def resolving_to(patch: ModelPatch) -> list[str]:
    """What transformers says of it."""
    from transformers.models.auto import modeling_auto

    found = []
    for name, auto_class in vars(modeling_auto).items():
        mapping = getattr(getattr(auto_class, "_model_mapping", None), "_model_mapping", None)
        if (
            name.startswith("AutoModel")
            and mapping is not None
            and mapping.get(patch.model_type) in patch.model_classes
        ):
            found.append(name)
    return sorted(found)


def how_to_add() -> str:
    """What to tell somebody whose model has no patch."""
    listed = ", ".join(f"{t} ({load_patch(m).model_classes[0]})" for t, m in PATCHES.items())
    return (
        f"Supported: {listed}. To add a model, write a ModelPatch and name it with "
        "hf_tokcomp.register_model(model_type, module)."
    )


def _require_patches() -> None:
    if importlib.util.find_spec("hf_tokcomp.patches") is None:
        raise ImportError(
            "hf_tokcomp.patches is not installed: this is a bare checkout. Run `pip install -e .` in its top folder."
        )
