"""The keyword `compression=` of `from_pretrained`, and the config stored in `config.json`.

Two classmethods are wrapped, `PreTrainedModel.from_pretrained` and `ProcessorMixin.from_pretrained`: the concrete
classes, the Auto classes with a head and `device_map` all go through them. Without the keyword and without a stored
config their behaviour is untouched. `install` is idempotent and `uninstall` takes it back.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from typing import Any

from transformers import PreTrainedModel, ProcessorMixin

from .config import CompressionConfig
from .config_files import CONFIG_KEY, is_ours
from .models import patch_for_class
from .patching import patch, resolve_compression
from .versions import check_transformers

logger = logging.getLogger(__name__)

HUB_KEYWORDS = ("token", "cache_dir", "local_files_only", "force_download")


class _NotGiven:
    """Tells a missing keyword from ``compression=None``, which turns a stored config off."""

    def __repr__(self) -> str:
        return "not given"


NOT_GIVEN = _NotGiven()
_ORIGINALS: dict[type, Any] = {}


def install() -> None:
    """Teach `from_pretrained` of models and processors the keyword ``compression=``."""
    for owner, loader in ((PreTrainedModel, _load_model), (ProcessorMixin, _load_processor)):
        if owner not in _ORIGINALS:
            _ORIGINALS[owner] = owner.__dict__["from_pretrained"]
            owner.from_pretrained = classmethod(_wrapped(_ORIGINALS[owner].__func__, loader))


def uninstall() -> None:
    """Take the keyword away again."""
    while _ORIGINALS:
        owner, own = _ORIGINALS.popitem()
        owner.from_pretrained = own  # type: ignore[attr-defined]


def _wrapped(own: Callable[..., Any], loader: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(own)
    def from_pretrained(cls: Any, *args: Any, compression: Any = NOT_GIVEN, **kwargs: Any) -> Any:
        return loader(functools.partial(own, cls), cls, compression, args, kwargs)

    return from_pretrained


def _load_model(own: Callable[..., Any], cls: Any, compression: Any, args: Any, kwargs: Any) -> Any:
    config = None
    if compression is not NOT_GIVEN and compression is not None:
        # Before a single weight is read: a typo should not cost a download.
        config = resolve_compression(compression, **hub_options(compression, args, kwargs))
        check_transformers(cls, patch_for_class(cls)[1])
    loaded = own(*args, **kwargs)
    model = loaded[0] if isinstance(loaded, tuple) else loaded  # output_loading_info=True
    stored = stored_config(model)
    if compression is None:
        if stored is not None:
            delattr(model.config, CONFIG_KEY)
    elif config is not None:
        if stored is not None and stored != config:
            logger.warning(
                "The checkpoint's compression %s is replaced by the given %s.", stored.to_dict(), config.to_dict()
            )
        patch(model, config)
    elif stored is not None:
        patch(model, stored)
    return loaded


def _load_processor(own: Callable[..., Any], cls: Any, compression: Any, args: Any, kwargs: Any) -> Any:
    config = None
    if compression is not NOT_GIVEN and compression is not None:
        config = resolve_compression(compression, **hub_options(compression, args, kwargs))
    loaded = own(*args, **kwargs)
    processor = loaded[0] if isinstance(loaded, tuple) else loaded
    if config is not None:
        patch(processor, config)
    return loaded


def hub_options(compression: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """The keywords of `from_pretrained` that hold for the compression config's repository, too.

    ``revision`` is the base's alone, unless the config comes from that very repository; else ``"user/repo@revision"``
    names the config's.
    """
    options = {name: kwargs[name] for name in HUB_KEYWORDS if kwargs.get(name) is not None}
    base = args[0] if args else kwargs.get("pretrained_model_name_or_path")
    if isinstance(compression, str | os.PathLike) and os.fspath(compression) == str(base):
        options |= {name: kwargs[name] for name in ("revision", "subfolder") if kwargs.get(name)}
    return options


def stored_config(model: Any) -> CompressionConfig | None:
    """The config that a model's ``config.json`` carries; None if there is none of ours."""
    values = getattr(getattr(model, "config", None), CONFIG_KEY, None)
    return CompressionConfig.from_dict(values) if values is not None and is_ours(values) else None
