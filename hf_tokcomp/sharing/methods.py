"""The `push_to_hub` methods of compressed and PEFT models: like upstream's, but with a card that explains their use.

Upstream's overwrites the card written by `save_pretrained` with a template. These accept upstream's arguments and the
keywords of `hf_tokcomp.push_to_hub`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..models.instance import bound_once, original
from .push import push_to_hub


@bound_once
def push_model(model: Any, *args: Any, **options: Any) -> Any:
    """A patched model's `push_to_hub`."""
    own = original(model, "push_to_hub")
    return _push(own, model, model, args, options)


def push_adapter(own: Callable[..., Any], peft_model: Any, *args: Any, **options: Any) -> Any:
    """`PeftModel.push_to_hub`."""
    return _push(own, peft_model, peft_model.get_base_model(), args, options)


def _push(own: Callable[..., Any], model: Any, inner: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    if getattr(inner, "audio_compressor", None) is None:
        return own(*args, **options)
    return push_to_hub(model, *args, local_base=True, **options)
