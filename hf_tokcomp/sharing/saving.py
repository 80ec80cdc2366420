"""Saving the config next to an adapter, which has no `config.json` to hold it, unlike a full model."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..config.files import CONFIG_NAME
from ..models.instance import bound_once, original, patch_of

logger = logging.getLogger(__name__)


@bound_once
def save_pretrained(model: Any, *args: Any, **kwargs: Any) -> Any:
    """A patched model's `save_pretrained`: if only an adapter is written, the config is saved next to it.

    For a full model, the files that upstream omits are added.
    """
    own = original(model, "save_pretrained")
    compressor = getattr(model, "audio_compressor", None)
    given = arguments(own, args, kwargs)
    if compressor is not None and _writes(given):  # first, since it may push the folder to the Hub
        if getattr(model, "_hf_peft_config_loaded", False):
            compressor.config.save_pretrained(given["save_directory"])
        else:
            patch_of(model).save_beside(model, Path(given["save_directory"]))
    return own(*args, **kwargs)


def save_adapters(own: Callable[..., Any], peft_model: Any, *args: Any, **kwargs: Any) -> Any:
    """`PeftModel.save_pretrained`, with a compressed model's config next to every ``adapter_config.json``."""
    done = own(*args, **kwargs)
    given = arguments(own, args, kwargs)
    if not _writes(given):
        return done
    names = given.get("selected_adapters") or list(peft_model.peft_config)
    compressor = getattr(peft_model.get_base_model(), "audio_compressor", None)
    for name in names:
        folder = Path(given["save_directory"], "" if name == "default" else name)
        if compressor is not None:
            compressor.config.save_pretrained(folder)
            _warn_of_left_out_weights(compressor, name)
        elif (folder / CONFIG_NAME).is_file():
            logger.warning(
                "%s is from an earlier adapter: this one was saved from a model without compression. Remove the file, "
                "or the adapter will be loaded with compression.",
                folder / CONFIG_NAME,
            )
    return done


def _warn_of_left_out_weights(compressor: Any, name: str) -> None:
    kept = name in getattr(compressor, "modules_to_save", ())
    if not kept and any(p.requires_grad and "lora_" not in n for n, p in compressor.named_parameters()):
        logger.warning(
            "The audio compressor is being trained, but adapter %r does not hold its weights: create it with "
            "modules_to_save=['audio_compressor'].",
            name,
        )


def _writes(given: dict[str, Any]) -> bool:
    return bool(given.get("is_main_process", True)) and not os.path.isfile(given["save_directory"])


def arguments(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name."""
    given = dict(inspect.signature(function).bind(*args, **kwargs).arguments)
    rest: dict[str, Any] = given.pop("kwargs", {})
    return rest | given
