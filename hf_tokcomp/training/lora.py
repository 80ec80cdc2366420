"""LoRA for a supported model: which layers, as its patch says, and the compressor where that learns."""

from __future__ import annotations

from typing import Any

from ..models.instance import learned_weights, unwrap
from ..models.registry import patch_for_class

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
        model: a supported model, patched already if its compressor has weights to learn, which then go into
            ``modules_to_save``.
        language_model: adapt the linear layers of the language model (arXiv 2511.20973 does; which of them it adapts,
            and its rank, are not known: all, and 16, are ours).
        projector: adapt the projector.
        audio_tower: adapt the audio encoder.
        r: rank.
        lora_alpha: scale, over the rank.
        lora_dropout: dropout before the adapter.
        options: more of `peft.LoraConfig`. ``target_modules`` takes the place of the three parts.

    Raises:
        UnsupportedModelError: there is no patch for the model.
        ValueError: nothing is left to train.

    Example:
        >>> from hf_tokcomp.training import lora_config
        >>> lora_config(model, projector=True, r=32).r
        32
    """
    from peft import LoraConfig

    inner = unwrap(model)
    patch = patch_for_class(type(inner))[1]
    wanted = {"language_model": language_model, "projector": projector, "audio_tower": audio_tower}
    parts = [patch.lora_targets[name] for name, adapted in wanted.items() if adapted]
    learns = bool(learned_weights(inner))
    if "target_modules" not in options:
        if not parts:
            raise ValueError("LoRA needs a part to adapt: language_model, projector or audio_tower.")
        options["target_modules"] = "|".join(f"({part})" for part in parts)
    if learns:
        options["modules_to_save"] = sorted({*(options.get("modules_to_save") or ()), COMPRESSOR})
    return LoraConfig(r=r, lora_alpha=lora_alpha, lora_dropout=lora_dropout, task_type="CAUSAL_LM", **options)
