"""Single steps of decoding within a call of `generate`, which runs unchanged: hooks see what each step does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ...models.cache_names import cache_of
from ..speed.clips import cache_bytes


@contextmanager
def at_every_token(head: nn.Module, meter: Callable[[], float]) -> Iterator[list[float]]:
    """Within the ``with`` block, read the meter whenever the head has the scores of a token."""
    readings: list[float] = []
    handle = head.register_forward_hook(lambda *_: readings.append(meter()))
    try:
        yield readings
    finally:
        handle.remove()


@dataclass
class Held:
    """What the last step of a call read besides its own token.

    Args:
        weight_bytes: bytes of the weights of all modules that ran in it, each once. Tables of which a step looks up a
            row are not among them, unless the head is the same table.
        cross_bytes: bytes of the cached keys and values of the encoder's output, of all streams.
        self_bytes: bytes of those of the text, of all streams.
    """

    weight_bytes: int = 0
    cross_bytes: int = 0
    self_bytes: int = 0
    _ran: dict[int, int] = field(default_factory=dict)


@contextmanager
def held(model: nn.Module, decoder: nn.Module, head: nn.Module) -> Iterator[Held]:
    """Within the ``with`` block, note what each step of decoding reads; afterwards it is that of the last one.

    Args:
        model: the model, whose modules are watched.
        decoder: what returns the cache of cross-attention and self-attention.
        head: what ends a step.
    """
    seen = Held()

    def ran(module: nn.Module, *_: Any) -> None:
        seen._ran |= {id(weight): weight.nbytes for weight in module.parameters(recurse=False)}

    def decoded(_: nn.Module, __: Any, output: Any) -> None:
        cache: Any = cache_of(output)
        if cache is not None:  # a model may decode without one to find out a language
            seen.cross_bytes = cache_bytes(cache.cross_attention_cache)
            seen.self_bytes = cache_bytes(cache.self_attention_cache)

    def ended(*_: Any) -> None:
        seen.weight_bytes, seen._ran = sum(seen._ran.values()), {}

    with ExitStack() as stack:
        for module in model.modules():
            if not isinstance(module, nn.Embedding):
                stack.callback(module.register_forward_hook(ran).remove)
        stack.callback(decoder.register_forward_hook(decoded).remove)
        stack.callback(head.register_forward_hook(ended).remove)
        yield seen
