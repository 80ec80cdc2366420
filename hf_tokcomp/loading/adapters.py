"""Loading adapters together with the compression they were trained under, which is applied first.

`PreTrainedModel.load_adapter` (which `from_pretrained` calls for an adapter's folder), `PeftModel.from_pretrained` and
`PeftModel.load_adapter` are wrapped and share one path, see `hf_tokcomp.loading.precedence.choose`.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import transformers

from ..config.notation import Compression, resolve_compression
from ..errors import UnsupportedModelError
from ..hub.ids import split_revision
from ..messages import shown
from ..models.instance import active_config, unwrap
from ..models.registry import auto_classes, find_patch, how_to_add, part_in
from ..patching.patch import way_back
from ..sharing.saving import arguments
from .adapter_files import StoredAdapter, given_adapter, read_adapter
from .precedence import GIVEN, NOT_GIVEN, WEIGHTS_FOLLOW, Checkpoint, NotGiven, checkpoint_config, choose, put_on
from .stored_files import Where, hub_options, pick_where
from .weights import compressor_key

logger = logging.getLogger(__name__)

_INSIDE: ContextVar[bool] = ContextVar("hf_tokcomp_inside", default=False)
"""Whether one of the wrapped methods is running, since they call each other."""


def load_adapter(
    adapter: str | os.PathLike[str],
    *,
    base: str | os.PathLike[str] | None = None,
    compression: Compression | NotGiven | None = NOT_GIVEN,
    is_trainable: bool = False,
    revision: str | None = None,
    subfolder: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    **kwargs: Any,
) -> Any:
    """Load an adapter with its base model, under the compression it was trained under.

    Args:
        adapter: folder or Hub id, ``user/repo`` or ``user/repo@revision``.
        base: folder or Hub id of the base model; by default the one in ``adapter_config.json``, with its revision.
        compression: replaces the adapter's own; None for no compression.
        is_trainable: whether to continue training the adapter.
        revision: revision of the adapter.
        subfolder: subfolder of the adapter.
        token, cache_dir, local_files_only: for both the adapter and the base model.
        kwargs: for the base model's ``from_pretrained``, such as ``dtype`` and ``device_map``.

    Returns:
        The `peft.PeftModel`, patched.

    Raises:
        FileNotFoundError: there is no adapter.
        UnsupportedModelError: there is no patch for the base model.
        CompressorWeightsError: a compressor's stored weights do not fit, or there is no compressor.
        CompressionConfigError: the compression is invalid.

    Example:
        >>> from peft import get_peft_model
        >>> from hf_tokcomp.training import lora_config
        >>> model = hf_tokcomp.patch(model, "average_pooling")
        >>> get_peft_model(model, lora_config(model)).save_pretrained("my-adapter")  # after training
        >>> adapted = hf_tokcomp.load_adapter("my-adapter")
        >>> hf_tokcomp.active_config(adapted).method
        'average_pooling'
    """
    from peft import PeftModel

    if not os.path.isdir(adapter):
        adapter, named = split_revision(os.fspath(adapter))
        revision = revision or named
    both = pick_where({"token": token, "cache_dir": cache_dir, "local_files_only": local_files_only})
    where = pick_where(both, {"revision": revision, "subfolder": subfolder})
    given = _resolved(compression, adapter, where)
    stored = read_adapter(adapter, where, overruled=given is not NOT_GIVEN)
    if stored is None:
        raise FileNotFoundError(f"There is no adapter_config.json in {adapter}: it is not an adapter.")
    name = base or stored.base
    if not name:
        raise ValueError(f"The adapter {adapter} does not name its base model; pass it as base=...")
    of_base = pick_where(both, {"revision": None if base else stored.base_revision})
    # Neither the class named by the adapter nor AutoConfig, which offers to run code from the repository.
    values = transformers.PretrainedConfig.get_config_dict(name, **of_base)[0]
    model_type = values.get("model_type")
    known = find_patch(model_type)
    part = part_in(values)
    if part is not None and stored.is_of_a_model_without(part[0]):
        known = part[1]
    if known is None:
        raise UnsupportedModelError(
            f"{name} is of type {shown(model_type)}, which is not supported. {how_to_add(values)}"
        )
    # An Auto class would make the whole of what is to be the part.
    model_class = getattr(transformers, known.model_classes[0] if part else auto_classes(known)[0])
    if given is NOT_GIVEN and stored.compression is not None:
        given = stored.compression
    follows = WEIGHTS_FOLLOW.set(stored.whole)
    try:
        model = model_class.from_pretrained(name, compression=given, **of_base, **kwargs)
    finally:
        WEIGHTS_FOLLOW.reset(follows)
    keyword: Any = NOT_GIVEN if given is not None else None
    return PeftModel.from_pretrained(model, adapter, is_trainable=is_trainable, compression=keyword, **where)


def into_model(own: Callable[..., Any], model: Any, *args: Any, compression: Any = NOT_GIVEN, **kwargs: Any) -> Any:
    """`PreTrainedModel.load_adapter`, with the keyword ``compression=``."""
    given = arguments(own, args, kwargs)
    load_config = given.get("load_config")
    base_where = getattr(load_config, "download_kwargs", None) or {}
    checkpoint = None
    running = GIVEN.get()
    if running is not None:  # called by `from_pretrained`: the base model has just been loaded
        compression = running[0]
        of_base = pick_where(base_where)
        base = checkpoint_config(model, model.name_or_path, of_base, overruled=compression is not NOT_GIVEN)
        checkpoint = Checkpoint(model.name_or_path, of_base, compression=base)
    name = given.get("peft_model_id") or getattr(load_config, "pretrained_model_name_or_path", None)
    where = pick_where(base_where, given.get("adapter_kwargs") or {}, given)

    def adapter(overruled: bool) -> StoredAdapter | None:
        if name is None or given.get("adapter_state_dict") is not None:
            return given_adapter(given.get("peft_config"), given.get("adapter_state_dict"))
        return read_adapter(name, where, overruled)

    def finish(stored: StoredAdapter, info: Any) -> None:
        _load_what_is_left(model, stored, given.get("adapter_name") or "default", info)

    own = functools.partial(own, *args, **kwargs)
    return _compressed_first(own, model, _resolved(compression, name, where), adapter, checkpoint, finish)


def into_peft(own: Callable[..., Any], self: Any, *args: Any, compression: Any = NOT_GIVEN, **kwargs: Any) -> Any:
    """`PeftModel.from_pretrained` and `PeftModel.load_adapter`, with the keyword ``compression=``."""
    given = arguments(own, args, kwargs)
    name, where = given["model_id"], pick_where(given)
    own = functools.partial(own, *args, **kwargs)
    adapter = functools.partial(read_adapter, name, where)
    return _compressed_first(own, given.get("model", self), _resolved(compression, name, where), adapter)


def _compressed_first(
    own: Callable[[], Any],
    model: Any,
    given: Any,
    adapter: Callable[[bool], StoredAdapter | None],
    checkpoint: Checkpoint | None = None,
    finish: Callable[[StoredAdapter, Any], None] = lambda *_: None,
) -> Any:
    if _INSIDE.get():
        return own()
    inner = _compressible(model)
    if inner is None:
        if given is not NOT_GIVEN and given is not None:
            raise UnsupportedModelError(f"{type(model).__name__} is not supported. {how_to_add()}")
        return own()
    active = active_config(inner)
    stored = adapter(given is not NOT_GIVEN or active is not None) or StoredAdapter("")
    base = None if checkpoint is None else checkpoint.compression
    wanted = choose(given, active, stored.compression, base)
    back = way_back(inner)
    inside = _INSIDE.set(True)
    try:
        put_on(inner, wanted, checkpoint, weights_follow=stored.whole)
        if given is not None:
            stored.check(getattr(inner, "audio_compressor", None))
        elif stored.needs_compressor:
            logger.warning("The adapter's audio compressor weights are ignored because of compression=None.")
        done = own()
        finish(stored, done)
        return done
    except BaseException:
        back()
        raise
    finally:
        _INSIDE.reset(inside)


def _load_what_is_left(model: Any, stored: StoredAdapter, adapter_name: str, info: Any) -> None:
    """Older transformers (5.17) treat ``modules_to_save`` as unexpected keys."""
    unexpected: set[str] = getattr(info, "unexpected_keys", set())
    left = {key for key in unexpected if compressor_key(key) is not None}
    copies = getattr(getattr(model, "audio_compressor", None), "modules_to_save", {})
    if stored.whole and left and adapter_name in copies:
        stored.load(copies[adapter_name])
        unexpected -= left
        info.missing_keys -= {key for key in info.missing_keys if compressor_key(key) is not None}


def _resolved(compression: Any, name: Any, where: Where) -> Any:
    if compression is None or compression is NOT_GIVEN:
        return compression
    return resolve_compression(compression, **hub_options(compression, name, where))


def _compressible(model: Any) -> Any:
    """The wrapped transformers model if its type is supported, or None; its class is checked later."""
    try:
        inner = unwrap(model)
    except UnsupportedModelError:
        return None
    return inner if find_patch(getattr(inner.config, "model_type", None)) else None
