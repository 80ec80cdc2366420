"""The registry of supported models: each model type with the dotted name of its patch, which is loaded when needed."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from types import MappingProxyType
from typing import Any

from ..config.entry_points import Brought
from ..errors import UnsupportedModelError
from .base import ModelPatch

PATCHES = {
    "qwen2_audio": "hf_tokcomp.patches.qwen2_audio",
    "audioflamingo3": "hf_tokcomp.patches.audioflamingo3",
    "musicflamingo": "hf_tokcomp.patches.musicflamingo",
    "voxtral": "hf_tokcomp.patches.voxtral",
    "glmasr": "hf_tokcomp.patches.glmasr",
    "qwen2_5_omni_thinker": "hf_tokcomp.patches.qwen2_5_omni_thinker",
    "qwen2_5_omni": "hf_tokcomp.patches.qwen2_5_omni",
    "qwen3_omni_moe_thinker": "hf_tokcomp.patches.qwen3_omni_moe_thinker",
    "qwen3_omni_moe": "hf_tokcomp.patches.qwen3_omni_moe",
    "qwen3_asr": "hf_tokcomp.patches.qwen3_asr",
    "granite_speech": "hf_tokcomp.patches.granite_speech",
    "whisper": "hf_tokcomp.patches.whisper",
}


def load_patch(patch_module: str) -> ModelPatch:
    """Import the patch from a module, where it is named ``PATCH`` unless given as ``module:name``."""
    module, _, name = patch_module.partition(":")
    patch: ModelPatch = getattr(importlib.import_module(module), name or "PATCH")
    return patch


def _bring(point: EntryPoint) -> None:
    """Register the model of another package's entry point, unless importing it has already done so.

    Raises:
        TypeError: it is not a patch.
    """
    point.load()
    if point.name not in PATCHES:
        where = point.module + (f":{point.attr}" if point.attr else "")
        if not isinstance(load_patch(where), ModelPatch):
            raise TypeError(f"{where} is no ModelPatch")
        register_model(point.name, where)


BROUGHT = Brought("hf_tokcomp.models", "model", load=_bring, is_there=lambda name: name in PATCHES)
"""Models of other packages: an entry point's name is the model type, and its value says where the patch is."""


def register_model(model_type: str, patch_module: str) -> None:
    """Add a model: ``patch_module`` is the dotted name of a module with a `ModelPatch` instance named ``PATCH``.

    For an instance with another name, pass ``module:name``.

    Raises:
        ValueError: the model type already has a patch.

    Example:
        >>> hf_tokcomp.register_model("my_audio_model", "my_package.my_patch")
    """
    if model_type in PATCHES:
        raise ValueError(f"{model_type!r} already has a patch, {PATCHES[model_type]}.")
    PATCHES[model_type] = patch_module


def supported_models() -> dict[str, ModelPatch]:
    """Every supported model type with its patch, including those of other installed packages.

    Example:
        >>> hf_tokcomp.supported_models()["qwen2_audio"].frame_rate
        25.0
    """
    _require_patches()
    BROUGHT.bring()
    return {model_type: load_patch(name) for model_type, name in PATCHES.items()}


def find_patch(model_type: object) -> ModelPatch | None:
    """The patch of a model type, already registered or from an entry point of that name; None if there is none."""
    _require_patches()
    if not isinstance(model_type, str):
        return None
    if model_type not in PATCHES:
        BROUGHT.bring(model_type)
    return load_patch(PATCHES[model_type]) if model_type in PATCHES else None


def patch_for_class(model_class: type) -> tuple[str, ModelPatch]:
    """The patch of a model class, and the name of its module.

    Raises:
        UnsupportedModelError: there is none; the message lists the supported models and says how to add one.
    """
    _require_patches()
    config_class = getattr(model_class, "config_class", None) or getattr(model_class, "config", None)
    model_type = getattr(config_class, "model_type", None)
    names = {base.__name__ for base in model_class.__mro__}
    patch = find_patch(model_type)
    if patch is not None:
        if names & set(patch.model_classes):
            return PATCHES[str(model_type)], patch
        raise UnsupportedModelError(
            f"{model_class.__name__} has no language-model head to compress for. Use "
            f"{' or '.join(patch.model_classes)}, or an Auto class with a head that resolves to it: "
            f"{', '.join(auto_classes(patch))}."
        )
    raise UnsupportedModelError(f"{model_class.__name__} is not supported. {how_to_add()}")


def patch_for_processor(processor: Any) -> tuple[str, ModelPatch]:
    """The patch of a processor, and the name of its module.

    Raises:
        UnsupportedModelError: there is none.
    """
    _require_patches()
    names = {base.__name__ for base in type(processor).__mro__}
    for brought in (False, True):  # other packages are searched only if none of ours fits
        if brought:
            BROUGHT.bring()
        for module in PATCHES.values():
            patch = load_patch(module)
            if patch.processor_class in names:
                return module, patch
    raise UnsupportedModelError(f"{type(processor).__name__} is not supported. {how_to_add()}")


def auto_classes(patch: ModelPatch) -> list[str]:
    """Names of the Auto classes that resolve to a class of this patch."""
    return list(patch.auto_classes) or resolving_to(patch)


def resolving_to(patch: ModelPatch) -> list[str]:
    """Look up in transformers the Auto classes that resolve to a class of this patch."""
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


def part_in(values: Mapping[str, Any]) -> tuple[str, ModelPatch] | None:
    """The first part of a composite that has a patch, by its ``config.json``: its name and its patch."""
    for name, part in values.items():
        patch = find_patch(part.get("model_type")) if isinstance(part, Mapping) else None
        if patch is not None:
            return name.removesuffix("_config"), patch
    return None


def how_to_add(values: Mapping[str, Any] = MappingProxyType({})) -> str:
    """The advice for a model that has no patch; ``values`` is its ``config.json``, if known."""
    part = part_in(values)
    if part is not None:
        name, patch = part
        return (
            f"Its {name} is: load it alone, as {patch.model_classes[0]}, or load the whole without a compression and "
            f"call hf_tokcomp.patch(model.{name}, ...)."
        )
    listed = ", ".join(f"{t} ({load_patch(m).model_classes[0]})" for t, m in PATCHES.items())
    return (
        f"Supported: {listed}. To add a model, write a ModelPatch and name it with "
        "hf_tokcomp.register_model(model_type, module)."
    )


def _require_patches() -> None:
    if importlib.util.find_spec("hf_tokcomp.patches") is None:
        raise ImportError(
            "hf_tokcomp.patches is not installed: this is a bare checkout. Run `pip install -e .` in its root folder."
        )
