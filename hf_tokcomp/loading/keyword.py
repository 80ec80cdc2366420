"""The keyword `compression=` of the loading methods of transformers and PEFT.

This wraps `from_pretrained` of `PreTrainedModel` (which concrete classes, Auto classes with a head and `device_map` all
use) and `ProcessorMixin`, and for adapters `PreTrainedModel.load_adapter` and PeftModel's `from_pretrained`,
`load_adapter`, `save_pretrained` and `push_to_hub`. Without the keyword and without a stored config their behaviour is
unchanged. `install` is idempotent and `uninstall` undoes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

from transformers import PretrainedConfig, PreTrainedModel, ProcessorMixin

from ..config.notation import resolve_compression
from ..errors import UnsupportedModelError
from ..models.base import ModelPatch
from ..models.instance import active_config
from ..models.registry import find_patch, how_to_add, part_in, patch_for_class
from ..models.versions import check_transformers
from ..patching.patch import patch
from ..sharing.methods import push_adapter
from ..sharing.saving import save_adapters
from .adapters import into_model, into_peft
from .precedence import GIVEN, NOT_GIVEN, WEIGHTS_FOLLOW, Checkpoint, checkpoint_config, choose, put_on
from .stored_files import hub_options, pick_where
from .weights import compressor_key
from .wrapping import unwrap_all, when_imported, wrap


def install() -> None:
    """Add the keyword ``compression=`` to `from_pretrained` and `load_adapter`, and to PEFT's once it is imported.

    Example:
        >>> hf_tokcomp.install()  # `import hf_tokcomp` has done it already
        >>> from transformers import Qwen2AudioForConditionalGeneration
        >>> from hf_tokcomp.checkpoints import SMALL_MODEL
        >>> model = Qwen2AudioForConditionalGeneration.from_pretrained(SMALL_MODEL, compression="ltbm")
        >>> hf_tokcomp.active_config(model).method
        'ltbm'
    """
    wrap(PreTrainedModel, "from_pretrained", _load_model)
    wrap(PreTrainedModel, "load_adapter", into_model)
    wrap(ProcessorMixin, "from_pretrained", _load_processor)
    when_imported("peft.peft_model", _install_peft)


def _install_peft(peft_model: ModuleType) -> None:
    wrap(peft_model.PeftModel, "from_pretrained", into_peft)
    wrap(peft_model.PeftModel, "load_adapter", into_peft)
    wrap(peft_model.PeftModel, "save_pretrained", save_adapters)
    wrap(peft_model.PeftModel, "push_to_hub", push_adapter)


def uninstall() -> None:
    """Remove the keyword again.

    Example:
        >>> hf_tokcomp.uninstall()  # from_pretrained is transformers' own again
        >>> hf_tokcomp.install()
    """
    unwrap_all()


def _load_model(own: Callable[..., Any], cls: Any, *args: Any, compression: Any = NOT_GIVEN, **kwargs: Any) -> Any:
    given = compression
    if compression is not NOT_GIVEN and compression is not None:
        # Before any weight is read, so that a typo costs no download.
        given = resolve_compression(compression, **hub_options(compression, _name(args, kwargs), kwargs))
        check_transformers(cls, _patch_for(cls, _name(args, kwargs), kwargs))
    running = GIVEN.set((given,))
    try:
        loaded = own(*args, **kwargs)
    finally:
        GIVEN.reset(running)
    model = loaded[0] if isinstance(loaded, tuple) else loaded  # output_loading_info=True
    if active_config(model) is not None:
        return loaded  # an adapter was loaded, which took care of it
    name, where = os.fspath(_name(args, kwargs) or ""), pick_where(kwargs)
    stored = checkpoint_config(model, name, where, overruled=given is not NOT_GIVEN)
    if stored is None and given is NOT_GIVEN:
        return loaded
    checkpoint = Checkpoint(name, where, kwargs.get("variant"), stored)
    put_on(model, choose(given, None, None, stored), checkpoint, WEIGHTS_FOLLOW.get())
    if isinstance(loaded, tuple) and active_config(model) is not None:
        unexpected = loaded[1].get("unexpected_keys", ())
        loaded[1]["unexpected_keys"] = type(unexpected)(key for key in unexpected if compressor_key(key) is None)
    return loaded


def _patch_for(cls: type, name: Any, kwargs: dict[str, Any]) -> ModelPatch:
    """The patch of a class that is about to be loaded.

    Raises:
        UnsupportedModelError: there is none; if the checkpoint's config names a part that has one, the message says so.
    """
    try:
        return patch_for_class(cls)[1]
    except UnsupportedModelError as error:
        try:
            values = PretrainedConfig.get_config_dict(name, **pick_where(kwargs))[0]
        except OSError:
            raise error from None
        if part_in(values) is None or find_patch(values.get("model_type")) is not None:
            raise
        raise UnsupportedModelError(f"{cls.__name__} is not supported. {how_to_add(values)}") from None


def _load_processor(own: Callable[..., Any], cls: Any, *args: Any, compression: Any = NOT_GIVEN, **kwargs: Any) -> Any:
    config = None
    if compression is not NOT_GIVEN and compression is not None:
        config = resolve_compression(compression, **hub_options(compression, _name(args, kwargs), kwargs))
    loaded = own(*args, **kwargs)
    processor = loaded[0] if isinstance(loaded, tuple) else loaded
    if config is not None:
        patch(processor, config)
    return loaded


def _name(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0] if args else kwargs.get("pretrained_model_name_or_path")
