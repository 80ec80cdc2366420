"""LoRA for a supported model: the layers named by its patch, and the compressor if it is trainable."""

from __future__ import annotations

import re
from typing import Any

from ..models.instance import COMPOSITE, learned_weights, patch_for_model, unwrap

COMPRESSOR = "audio_compressor"


def lora_config(
    model: Any,
    *,
    language_model: bool = True,
    projector: bool = False,
    audio_tower: bool = False,
    r: int = 16,
    lora_alpha: int = 32,
    lora_dropout: float = 0.05,
    **options: Any,
) -> Any:
    """A `peft.LoraConfig` for a model.

    Args:
        model: a supported model; it must already be patched if its compressor has trainable weights, which then go
            into ``modules_to_save``.
        language_model: adapt the linear layers of the language model (as arXiv 2511.20973 does; it does not report
            which of them, nor the rank: all of them and rank 16 are our choice).
        projector: adapt the projector.
        audio_tower: adapt the audio encoder.
        r: rank.
        lora_alpha: scale, divided by the rank.
        lora_dropout: dropout before the adapter.
        options: further arguments of `peft.LoraConfig`. ``target_modules`` replaces the three parts.

    Raises:
        UnsupportedModelError: there is no patch for the model.
        ValueError: nothing is selected for training, or the trainable compressor belongs to a composite of which the
            model is a part.

    Example:
        >>> from hf_tokcomp.training import lora_config
        >>> lora_config(model, projector=True, r=32).r
        32
    """
    from peft import LoraConfig

    inner = unwrap(model)
    patch = patch_for_model(inner)[1]
    wanted = {"language_model": language_model, "projector": projector, "audio_tower": audio_tower}
    parts = [patch.lora_targets[name] for name, adapted in wanted.items() if adapted]
    learns = bool(learned_weights(inner))
    if learns and COMPOSITE in inner.__dict__:
        whole = type(inner.__dict__[COMPOSITE]).__name__
        raise ValueError(f"The compressor is that of the {whole}, of which this model is a part: adapt the whole.")
    if "target_modules" not in options:
        if not parts:
            raise ValueError("LoRA needs a part to adapt: language_model, projector or audio_tower.")
        options["target_modules"] = _targets(inner, "|".join(f"({part})" for part in parts))
    if learns:
        options["modules_to_save"] = sorted({*(options.get("modules_to_save") or ()), COMPRESSOR})
    # PEFT's wrapper of that kind passes ids on under a name that encoder-decoders do not know.
    kind = "CAUSAL_LM" if patch.reads_prompts else None
    return LoraConfig(r=r, lora_alpha=lora_alpha, lora_dropout=lora_dropout, task_type=kind, **options)


def _targets(model: Any, expression: str) -> str | list[str]:
    """The expression, or the layers that it names.

    For a mixture of experts PEFT replaces an expression by the last parts of the names that it finds, which layers of
    other parts also have.
    """
    if getattr(model.config.get_text_config(), "num_experts", None) is None:
        return expression
    return [name for name, _ in model.named_modules() if re.fullmatch(expression, name)]
