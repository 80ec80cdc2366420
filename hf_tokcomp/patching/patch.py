"""patch, unpatch, compressed: adding an AudioTokenCompressor to a model or processor, and removing it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from transformers import ProcessorMixin

from ..compressors.base import AudioTokenCompressor
from ..config.config import CompressionConfig
from ..config.files import CONFIG_KEY, is_ours
from ..config.notation import Compression, resolve_compression
from ..config.registry import get_method, methods
from ..errors import CompressionConfigError
from ..generation.replaced import for_composite, for_model, for_modules, for_part
from ..models.base import ModelPatch
from ..models.instance import (
    COMPOSITE,
    MISSING,
    MODEL,
    active_config,
    belongs_to_another,
    learned_weights,
    patch_for_model,
    patch_of,
    replace,
    restore,
    state_of,
    unwrap,
)
from ..models.registry import patch_for_processor
from ..models.versions import check_transformers
from ..ops.record import note, noted
from ..sharing.methods import push_model
from ..sharing.saving import save_pretrained
from .processor import patch_processor, restore_processor

Target = TypeVar("Target")

logger = logging.getLogger(__name__)


def patch(model_or_processor: Target, compression: Compression) -> Target:
    """Compress the audio tokens of a model, or make a processor write prompts of the compressed length.

    Args:
        model_or_processor: a supported model (also inside PEFT, DDP or a compiled module) or its processor. Only
            this instance is changed, in place. An earlier patch is replaced; its compressor and learned weights are
            kept if the configs differ only in the budget and `positions`.
        compression: a method's key, a dict, a list of them (`compose`), a `CompressionConfig`, a local folder or a Hub
            id, ``user/repo`` or ``user/repo@revision``.

    Returns:
        The same object.

    Raises:
        UnsupportedModelError: there is no patch for it; the supported models are listed.
        UnsupportedVersionError: the installed transformers cannot be patched.
        CompressionConfigError: the compression is invalid. In all of these cases nothing is changed.

    Example:
        >>> model = hf_tokcomp.patch(model, {"method": "ltbm", "retention_ratio": 0.25, "positions": "original"})
        >>> answer = model.generate(**inputs)
        >>> model.audio_compressor.last.tokens_after
        [32]
    """
    config = resolve_compression(compression)
    before = active_config(model_or_processor)
    learned = before is not None and learned_weights(model_or_processor)
    _patch(model_or_processor, config)
    if learned and before is not None and not config.has_weights_of(before):
        logger.warning(
            "This model had a trained %r compressor; patching it again discarded its weights.", before.method
        )
    return model_or_processor


def _patch(model_or_processor: Any, config: CompressionConfig, compressor: Any = None) -> None:
    """Patch, with an earlier compressor of the model if given."""
    if isinstance(model_or_processor, ProcessorMixin):
        module, model_patch = patch_for_processor(model_or_processor)
        model_patch.check_config(config)
        # With windows, the processor has something to do all the same: it makes them.
        if model_patch.reads_prompts and not config.deterministic_length and config.long_audio == "cut":
            raise CompressionConfigError(
                f"The count of {config.method!r} depends on the content, so a processor cannot know it in advance; "
                "patch only the model."
            )
        unpatch(model_or_processor)
        patch_processor(model_or_processor, module, model_patch, config)
        return
    model = unwrap(model_or_processor)
    module, model_patch = patch_for_model(model)
    _refuse_shared(model)
    check_transformers(type(model), model_patch)
    model_patch.check_config(config)
    inner = model_patch.inner(model)
    model_patch.check_encoder(inner, config.encoder)
    compressor = getattr(model, "audio_compressor", None) if compressor is None else compressor
    if compressor is not None and _may_stay(compressor.config, config):
        _set_config(compressor, config)
        note(compressor, None)
    else:
        compressor = AudioTokenCompressor.from_config(config, model_patch.feature_dim(inner)).train(model.training)
        _check_supplied(model_patch, compressor)
        if model.device.type != "meta":
            compressor.to(model.device, model.dtype)
    unpatch(model)
    before = model.config.__dict__.get(CONFIG_KEY, MISSING)
    if not model_patch.reads_prompts and config.positions == "original":
        logger.warning(
            "positions='original' has no effect on %r: its decoder attends to the audio, which has no positions there.",
            model_patch.model_type,
        )
    own = {"save_pretrained": save_pretrained, "push_to_hub": push_model}
    functions = for_model(model_patch) if inner is model else for_composite()
    state = replace(model, module, {**functions, **own}, {}, forward=type(inner).forward)
    model.audio_compressor = compressor
    if inner is not model:
        if state_of(inner) is not None:
            unpatch(inner)
        replace(inner, module, for_part(), {COMPOSITE: model})
        # In its `__dict__` alone: a second module of that name would be saved twice.
        inner.__dict__["audio_compressor"] = compressor
    for inside, functions in for_modules(model_patch, inner):
        replace(inside, module, functions, {MODEL: inner})
    # A foreign value under this key is restored later; a config of ours was only stored, and is replaced.
    state.config_before = MISSING if is_ours(before) else before
    setattr(model.config, CONFIG_KEY, config.to_dict())


def _check_supplied(model_patch: ModelPatch, compressor: AudioTokenCompressor[Any]) -> None:
    """Raise if a method needs what the model's patch cannot give it."""
    missing = sorted(compressor.requires - model_patch.supplies)
    if missing:
        fits = [name for name, method in methods().items() if method.needs <= model_patch.supplies]
        raise CompressionConfigError(
            f"{compressor.config.method!r} goes by {' and '.join(missing)}, which {model_patch.model_type!r} does not "
            f"give: {model_patch.unsupplied}. Methods that work there: {', '.join(fits)}."
        )


def _refuse_shared(model: Any) -> None:
    """Raise if a model shares its modules with another, patched one, since any change would affect both."""
    if COMPOSITE in model.__dict__:
        whole = type(model.__dict__[COMPOSITE]).__name__
        raise ValueError(f"This model is part of a {whole} that is patched. Patch or unpatch that one.")
    if belongs_to_another(model) or (state_of(model) is None and hasattr(model, "audio_compressor")):
        raise ValueError(
            "This model is a shallow copy (copy.copy) and shares its modules with a patched one. Patch or unpatch "
            "that one, or use copy.deepcopy for a copy with its own modules."
        )


def _may_stay(before: CompressionConfig, config: CompressionConfig) -> bool:
    return before == config or (get_method(config.method).learns and before.has_weights_of(config))


def _set_config(compressor: Any, config: CompressionConfig) -> None:
    """Set another budget for the same weights, also in copies of the compressor that PEFT trains."""
    for module in compressor.modules():
        if isinstance(module, AudioTokenCompressor) and module.config.method == config.method:
            module.config = config


def unpatch(model_or_processor: Target) -> Target:
    """Undo `patch` exactly; does nothing if there is no patch.

    Returns:
        The same object.

    Example:
        >>> model = hf_tokcomp.patch(model, "ltbm")
        >>> hf_tokcomp.active_config(hf_tokcomp.unpatch(model)) is None
        True
    """
    if isinstance(model_or_processor, ProcessorMixin):
        restore_processor(model_or_processor)
        return model_or_processor
    model = unwrap(model_or_processor)
    _refuse_shared(model)
    if getattr(model, "audio_compressor", None) is not None:
        inner = patch_of(model).inner(model)
        for inside, _ in for_modules(patch_of(model), inner):
            restore(inside)
        if inner is not model:
            restore(inner)
            inner.__dict__.pop("audio_compressor", None)
        del model.audio_compressor
        model.config.__dict__.pop(CONFIG_KEY, None)
        state = state_of(model)
        if state is not None and state.config_before is not MISSING:
            setattr(model.config, CONFIG_KEY, state.config_before)
    restore(model)
    return model_or_processor


class _Block:
    """An active ``with`` block, with the function that restores the earlier state."""

    def __init__(self, back: Callable[[], None]) -> None:
        self.back = back


_BLOCKS: WeakKeyDictionary[Any, list[_Block]] = WeakKeyDictionary()
"""The active blocks of each model or processor, in the order they were entered."""


@contextmanager
def compressed(model: Target, compression: Compression) -> Iterator[Target]:
    """Patch a model or processor within a ``with`` block; the earlier state is always restored afterwards.

    Blocks on one model may be left in any order: the most recently entered active block determines the compression.

    Raises:
        what `patch` raises.

    Example:
        >>> with hf_tokcomp.compressed(model, "average_pooling"):
        ...     answer = model.generate(**inputs)
        >>> hf_tokcomp.active_config(model) is None
        True
    """
    config = resolve_compression(compression)
    block = _Block(way_back(model))
    _patch(model, config)
    blocks = _BLOCKS.setdefault(unwrap(model), [])
    blocks.append(block)
    try:
        yield model
    finally:
        place = blocks.index(block)
        del blocks[place]
        if place < len(blocks):
            blocks[place].back = block.back  # entered within this block, and left after it
        else:
            block.back()


def way_back(model_or_processor: Any) -> Callable[[], None]:
    """A function that restores the current compression, with the same compressor, since it may have learned weights."""
    before = active_config(model_or_processor)
    if before is None:
        return lambda: unpatch(model_or_processor) and None
    if isinstance(model_or_processor, ProcessorMixin):
        return lambda: _patch(model_or_processor, before)
    model = unwrap(model_or_processor)
    compressor, last = model.audio_compressor, noted(model.audio_compressor)

    def back() -> None:
        _patch(model, before, compressor)
        note(compressor, last)

    return back


def set_config(model: Any, config: CompressionConfig) -> None:
    """Give a patched model's compressor another config of the same method; its learned weights are kept.

    ``config.json`` still has the config that the model was patched with.

    Raises:
        ValueError: the model is not patched, or is patched with another method.
    """
    compressor = getattr(unwrap(model), "audio_compressor", None)
    if compressor is None or compressor.config.method != config.method:
        raise ValueError(f"The model is not patched with {config.method!r}; use hf_tokcomp.patch.")
    _set_config(compressor, config)
