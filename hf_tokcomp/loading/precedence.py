"""The compression stored in a checkpoint, the precedence of several, and applying it to the loaded model."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from transformers import PretrainedConfig

from ..config.config import CompressionConfig
from ..config.files import CONFIG_KEY, is_ours
from ..config.registry import get_method
from ..errors import CompressionConfigError, CompressorWeightsError
from ..models.instance import active_config, learned_weights
from ..models.registry import find_patch
from ..patching.patch import patch, unpatch
from .stored_files import Where
from .weights import checkpoint_weights, load_weights

logger = logging.getLogger(__name__)


class NotGiven:
    """Distinguishes a missing keyword from ``compression=None``, which disables a stored config."""

    def __repr__(self) -> str:
        return "not given"


NOT_GIVEN = NotGiven()
GIVEN: ContextVar[Any] = ContextVar("hf_tokcomp_given", default=None)
"""The compression (a config, None or `NOT_GIVEN`) of the current `from_pretrained` call, in a tuple."""
WEIGHTS_FOLLOW: ContextVar[bool] = ContextVar("hf_tokcomp_weights_follow", default=False)
"""Whether an adapter with the compressor's weights is loaded next."""


@dataclass
class Checkpoint:
    """Where a whole model was loaded from.

    Args:
        name: folder or Hub id.
        where: keywords for the Hub.
        variant: as `from_pretrained` takes it.
        compression: the compression in its ``config.json``.
    """

    name: str
    where: Where = field(default_factory=dict, repr=False)  # it may contain a token
    variant: str | None = None
    compression: CompressionConfig | None = None


def stored_config(model_config: Any, overruled: bool = False) -> CompressionConfig | None:
    """The compression in a model's ``config.json``; None if there is none of ours.

    Args:
        model_config: the model's config, or the values of one.
        overruled: a keyword takes precedence; see `read_stored`.
    """
    values = (model_config if isinstance(model_config, dict) else vars(model_config)).get(CONFIG_KEY)
    if not is_ours(values):
        return None
    return read_stored("checkpoint's", functools.partial(CompressionConfig.from_dict, values), overruled)


def checkpoint_config(model: Any, name: str, where: Where, overruled: bool = False) -> CompressionConfig | None:
    """The compression in the ``config.json`` that a model was loaded from; None if there is none of ours.

    A part that is loaded from the checkpoint of its composite has the composite's.

    Args:
        model: the model that was loaded.
        name: folder or Hub id.
        where: keywords for the Hub.
        overruled: a keyword takes precedence; see `read_stored`.
    """
    found = stored_config(model.config, overruled)
    if found is not None or not name or find_patch(model.config.model_type) is None:
        return found
    values = PretrainedConfig.get_config_dict(name, **where)[0]
    if values.get("model_type") == model.config.model_type:
        return None
    return stored_config(values, overruled)


def read_stored(
    whose: str, read: Callable[[], CompressionConfig | None], overruled: bool = False
) -> CompressionConfig | None:
    """Read a stored config; None with a warning if it cannot be read but another one takes precedence.

    Args:
        whose: for the warning.
        read: reads it.
        overruled: whether another one takes precedence.

    Raises:
        CompressionConfigError: it cannot be read and no other one takes precedence.
    """
    try:
        return read()
    except CompressionConfigError as error:
        if not overruled:
            raise
        logger.warning(
            "The %s compression cannot be read and is ignored, since another one was requested: %s", whose, error
        )
        return None


def choose(
    given: Any,
    active: CompressionConfig | None,
    adapter: CompressionConfig | None,
    checkpoint: CompressionConfig | None,
) -> CompressionConfig | None:
    """The effective compression: the given one, the model's, the adapter's or the checkpoint's, in this order.

    If one replaces a different one, a warning names both.

    Args:
        given: a config, None for no compression, or `NOT_GIVEN`.
        active: the compression the model is patched with.
        adapter: the compression an adapter was trained under.
        checkpoint: the compression in the model's checkpoint.
    """
    said = {"model's": active, "adapter's": adapter, "checkpoint's": checkpoint}
    found = {whose: config for whose, config in said.items() if config is not None}
    if given is None:
        if adapter is not None:
            logger.warning("The adapter was trained under %s and is used without it, as requested.", adapter.to_dict())
        return None
    whose = "given"
    if given is NOT_GIVEN:
        if not found:
            return None
        whose, given = next(iter(found.items()))
    wanted: CompressionConfig = given
    for loser, config in found.items():
        if config != wanted:
            logger.warning(
                "The %s compression %s is replaced by the %s %s.", loser, config.to_dict(), whose, wanted.to_dict()
            )
    return wanted


def put_on(
    model: Any, wanted: CompressionConfig | None, checkpoint: Checkpoint | None = None, weights_follow: bool = False
) -> None:
    """Patch a model with the effective compression, and load the compressor's weights.

    Args:
        model: a transformers model.
        wanted: the effective compression; None for none.
        checkpoint: where the model was just loaded from; None for a model already in use.
        weights_follow: an adapter with the compressor's weights is loaded next.

    Raises:
        CompressorWeightsError: the checkpoint's weights do not fit.
        what `patch` raises.
    """
    if wanted is None:
        _take_off(model, checkpoint)
        return
    active = active_config(model)
    has_been = active is not None and active.has_weights_of(wanted)
    patch(model, wanted)
    stored = None if checkpoint is None else checkpoint.compression
    learns = bool(learned_weights(model))
    weights: dict[str, Any] = {}
    if checkpoint is not None and checkpoint.name and (learns or _learns(stored)):
        weights = checkpoint_weights(checkpoint.name, checkpoint.where, checkpoint.variant)
        try:
            if weights:
                load_weights(model.audio_compressor, weights, checkpoint.name)
        except CompressorWeightsError:
            if not weights_follow:
                raise
    if learns and not (weights or weights_follow or has_been):
        logger.warning(
            "No weights were found for the %r compressor: they are newly initialized. Train it before use.",
            wanted.method,
        )


def _take_off(model: Any, checkpoint: Checkpoint | None) -> None:
    unpatch(model)
    if is_ours(getattr(model.config, CONFIG_KEY, None)):
        delattr(model.config, CONFIG_KEY)
    if checkpoint is not None and _learns(checkpoint.compression):
        logger.warning("The checkpoint's trained audio compressor is ignored because of compression=None.")


def _learns(config: CompressionConfig | None) -> bool:
    return config is not None and get_method(config.method).learns
