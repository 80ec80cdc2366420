"""What differs between models that read audio in a prompt and those whose decoder attends to the encoder.

Which functions of this room take the place of which methods, and how the audio of a call is compressed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from ..models.announced import Announced
from ..models.base import ModelPatch
from ..models.cross_attending import CrossAttendingPatch
from ..models.instance import patch_of
from . import cross_attention
from .forward import backbone_forward, forward, forward_of_part
from .generate import generate, prepare_inputs_for_generation
from .prefill import compress_prompt

Functions = Mapping[str, Callable[..., Any]]


def for_model(patch: ModelPatch) -> Functions:
    """Of a model that is no composite."""
    return for_part() if patch.reads_prompts else {"generate": cross_attention.generate}


def for_composite() -> Functions:
    """Of a composite, whose part gets `for_part`."""
    return {"forward": forward_of_part, "generate": generate}


def for_part() -> Functions:
    """Of a model that reads audio in its prompt, or a composite's part that does."""
    return {
        "forward": forward,
        "prepare_inputs_for_generation": prepare_inputs_for_generation,
        "generate": generate,
    }


def for_modules(patch: ModelPatch, model: Any) -> list[tuple[nn.Module, Functions]]:
    """Of the modules in the model."""
    backbone = patch.backbone(model)
    found: list[tuple[nn.Module, Functions]] = []
    if not isinstance(patch, CrossAttendingPatch):
        return found if backbone is None else [(backbone, {"forward": backbone_forward})]
    if backbone is not None:
        found.append((backbone, {"forward": cross_attention.backbone_forward}))
    found.append((patch.encoder(model), {"forward": cross_attention.encoder_forward}))
    return found + [(each, {"forward": cross_attention.attention_forward}) for each in patch.cross_attentions(model)]


def compress_call(model: Any, inputs: dict[str, Any]) -> None:
    """Compress the audio of a call and store the record, without decoding.

    Args:
        model: a patched model, or a patched composite's part.
        inputs: what the processor returned.
    """
    patch = patch_of(model)
    if isinstance(patch, CrossAttendingPatch):
        mask = inputs.get(str(patch.feature_mask))
        patch.encoder(model)(inputs[patch.features], **{} if mask is None else {str(patch.feature_mask): mask})
    else:
        compress_prompt(model, patch, inputs, Announced.taken_from(inputs))
