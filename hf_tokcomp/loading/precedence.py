"""What a checkpoint says of compression, which of several says counts, and putting it on the loaded model."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from ..config.config import CompressionConfig
from ..config.files import CONFIG_KEY, is_ours
from ..config.registry import get_method
from ..errors import CompressionConfigError, CompressorWeightsError
from ..models.instance import active_config, learned_weights
from ..patching.patch import patch, unpatch
from .stored_files import Where
from .weights import checkpoint_weights, load_weights

logger = logging.getLogger(__name__)


class NotGiven:
    """Tells a missing keyword from ``compression=None``, which turns a stored config off."""

    def __repr__(self) -> str:
        return "not given"


NOT_GIVEN = NotGiven()
GIVEN: ContextVar[Any] = ContextVar("hf_tokcomp_given", default=None)
"""The compression (a config, None or `NOT_GIVEN`) of the `from_pretrained` that is running, in a tuple."""
WEIGHTS_FOLLOW: ContextVar[bool] = ContextVar("hf_tokcomp_weights_follow", default=False)
"""Whether an adapter that is loaded next brings the compressor's weights."""


@dataclass
class Checkpoint:
    """Where a whole model was loaded from.

    Args:
        name: folder or Hub id.
        where: keywords for the Hub.
        variant: as `from_pretrained` takes it.
        compression: what its ``config.json`` says.
    """

    name: str
    where: Where = field(default_factory=dict, repr=False)  # a token may be among them
    variant: str | None = None
    compression: CompressionConfig | None = None


def stored_config(model: Any, overruled: bool = False) -> CompressionConfig | None:
    """The config that a model's ``config.json`` carries; None if there is none of ours.

    Args:
        model: a model.
        overruled: a keyword takes its place; see `read_stored`.
    """
    values = getattr(getattr(model, "config", None), CONFIG_KEY, None)
    if not is_ours(values):
        return None
    return read_stored("checkpoint's", functools.partial(CompressionConfig.from_dict, values), overruled)


def read_stored(
    whose: str, read: Callable[[], CompressionConfig | None], overruled: bool = False
) -> CompressionConfig | None:
    """A stored config; None with a warning where it cannot be read, and another takes its place anyway.

    Args:
        whose: for the warning.
        read: reads it.
        overruled: whether another one counts.

    Raises:
        CompressionConfigError: it cannot be read, and is the one that would count.
    """
    try:
        return read()
    except CompressionConfigError as error:
        if not overruled:
            raise
        logger.warning("The %s compression cannot be read, and another one was asked for: %s", whose, error)
        return None


def choose(
    given: Any,
    active: CompressionConfig | None,
    adapter: CompressionConfig | None,
    checkpoint: CompressionConfig | None,
) -> CompressionConfig | None:
    """The compression that counts: the given one, the model's, the adapter's, the checkpoint's, in this order.

    A warning names the two where they differ.

    Args:
        given: a config, None for no compression, or `NOT_GIVEN`.
        active: what the model is patched with.
        adapter: what an adapter was trained under.
        checkpoint: what the checkpoint of the model says.
    """
    said = {"model's": active, "adapter's": adapter, "checkpoint's": checkpoint}
    found = {whose: config for whose, config in said.items() if config is not None}
    if given is None:
        if adapter is not None:
            logger.warning("The adapter was trained under %s and is used without, as asked.", adapter.to_dict())
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
    """Patch a model with the compression that counts, and give the compressor what it has learned.

    Args:
        model: a transformers model.
        wanted: None for no compression, whatever the checkpoint says.
        checkpoint: where the model was loaded from just now; None for a model that is in use already.
        weights_follow: an adapter brings the compressor's weights.

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
        logger.warning("The checkpoint's trained audio compressor is left out, as asked by compression=None.")


def _learns(config: CompressionConfig | None) -> bool:
    return config is not None and get_method(config.method).learns
