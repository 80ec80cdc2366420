"""Changing a model or processor on its instance, never on its class, and taking it back exactly.

A replacement is a `BoundFunction`. What stood in the instance's `__dict__` before (accelerate keeps a `forward` there)
is saved and put back. Hooks that came after us stay; our functions then pass through.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MethodType
from typing import Any

import torch
from transformers import PreTrainedModel, ProcessorMixin

from ..config.config import CompressionConfig
from ..config.files import CONFIG_KEY
from ..errors import UnsupportedModelError
from .base import ModelPatch
from .registry import how_to_add, load_patch

_STATE = "_hf_tokcomp_state"
MODEL = "_hf_tokcomp_model"
"""Name under which a patched model's backbone, the model without its head, has the model."""


class BoundFunction:
    """One of our module-level functions, bound to an instance in whose `__dict__` it stands before a method.

    Unlike a bound method it survives pickle and deepcopy together with what the instance holds. It shows the method's
    signature, by which `generate` validates keywords and `Trainer` keeps columns, but leads nobody to the method
    itself: what unwraps a `forward` by following ``__wrapped__`` (accelerate's `unwrap_model`) ends here, and may bind
    it once more, as `types.MethodType(forward, model)`, without losing us.

    Args:
        function: takes the instance first.
        instance: the model or processor.
        method: the method it stands before, as the class has it.
    """

    def __init__(self, function: Callable[..., Any], instance: Any, method: Callable[..., Any]) -> None:
        self.function = function
        self.instance = instance
        self.__name__, self.__qualname__ = method.__name__, method.__qualname__
        self.__doc__ = method.__doc__
        signature = inspect.signature(method)
        # Annotations do not all pickle.
        parameters = [p.replace(annotation=p.empty) for p in list(signature.parameters.values())[1:]]
        self.__signature__ = signature.replace(parameters=parameters, return_annotation=signature.empty)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if args and args[0] is self.instance:
            args = args[1:]  # somebody bound us once more
        return self.function(self.instance, *args, **kwargs)

    def stands_as(self, value: Any) -> bool:
        """Whether this value is this very function, perhaps bound once more."""
        return value is self or (isinstance(value, MethodType) and value.__func__ is self)


_HOOKED = {"forward": "_old_forward"}
"""Where accelerate keeps the method that the hook in its place calls. What adds or removes hooks looks there and never
at the place itself, so a replacement stands there, too."""


class _Missing:
    """Marks a name that the instance's `__dict__` did not have; pickles as itself."""

    def __reduce__(self) -> str:
        return "MISSING"


MISSING = _Missing()


@dataclass(eq=False)
class InstanceState:
    """What was replaced on an instance.

    Args:
        patch_module: dotted name of the module that holds the model's patch.
        saved: what stood in ``__dict__`` under each name, or `MISSING`.
        placed: what we put there.
        config_before: what the model's config had under our key, or `MISSING`.
    """

    patch_module: str
    saved: dict[str, Any] = field(default_factory=dict)
    placed: dict[str, Any] = field(default_factory=dict)
    config_before: Any = MISSING


def state_of(instance: Any) -> InstanceState | None:
    """What was replaced on this instance; None if nothing was."""
    state: InstanceState | None = instance.__dict__.get(_STATE)
    return state


def patch_of(model: Any) -> ModelPatch:
    """What is known of a patched model."""
    state = state_of(model)
    if state is None:
        raise RuntimeError("This model is not patched; call hf_tokcomp.patch(model, ...) first.")
    return load_patch(state.patch_module)


def original(model: Any, name: str) -> Callable[..., Any]:
    """The method that ours stands before: the instance's own earlier one, or the class's."""
    state = state_of(model)
    saved: Any = MISSING
    if state is not None:
        saved = state.saved.get(name if name in state.placed else _HOOKED.get(name, name), MISSING)
    function: Callable[..., Any] = functools.partial(getattr(type(model), name), model)
    return function if saved is MISSING else saved


def replace(
    instance: Any, patch_module: str, functions: Mapping[str, Callable[..., Any]], values: Mapping[str, Any]
) -> InstanceState:
    """Put functions (bound to the instance) and plain values into the instance's `__dict__`."""
    before = state_of(instance) or InstanceState(patch_module)
    placed = dict(values)
    for name, function in functions.items():
        slot = _HOOKED[name] if _HOOKED.get(name) in instance.__dict__ else name
        if instance.__dict__.get(slot) is None or not {name, slot} & before.placed.keys():
            placed[slot] = BoundFunction(function, instance, getattr(type(instance), name))
        # Else ours is still there, under somebody's hook.
    saved = {name: instance.__dict__.get(name, MISSING) for name in placed}
    instance.__dict__.update(placed)
    # A new state each time: a shallow copy of the instance has the same one, and must keep it.
    state = InstanceState(patch_module, before.saved | saved, before.placed | placed)
    instance.__dict__[_STATE] = state
    return state


def restore(instance: Any) -> None:
    """Put back what `replace` found; whatever came on top of it since stays."""
    state = state_of(instance)
    if state is None:
        return
    left = InstanceState(state.patch_module)
    for slot, ours in state.placed.items():
        saved, name = state.saved[slot], slot
        if slot in _HOOKED.values() and slot not in instance.__dict__:
            name = next(n for n, s in _HOOKED.items() if s == slot)  # the hook was removed, and ours took its place
        there = instance.__dict__.get(name, MISSING)
        if there is not ours and not (isinstance(ours, BoundFunction) and ours.stands_as(there)):
            # Somebody's hook holds our function and will go on calling it: it passes through from now on.
            left.placed[name], left.saved[name] = ours, saved
        elif saved is MISSING:
            del instance.__dict__[name]
        else:
            instance.__dict__[name] = saved
    if left.placed:
        instance.__dict__[_STATE] = left
    else:
        del instance.__dict__[_STATE]


def belongs_to_another(instance: Any) -> bool:
    """Whether our functions on this instance are bound to another one: it is a shallow copy of that."""
    state = state_of(instance)
    placed = () if state is None else state.placed.values()
    return any(isinstance(value, BoundFunction) and value.instance is not instance for value in placed)


def unwrap(model: Any) -> Any:
    """The transformers model inside PEFT, DDP, FSDP or a compiled module; a processor is its own."""
    seen = model
    while not isinstance(seen, PreTrainedModel | ProcessorMixin):
        if hasattr(seen, "get_base_model"):
            seen = seen.get_base_model()
        elif hasattr(getattr(seen, "base_model", None), "model"):
            seen = seen.base_model.model  # PEFT's mixed model, which has no method for it
        elif hasattr(seen, "_orig_mod"):
            seen = seen._orig_mod
        elif hasattr(seen, "module"):
            seen = seen.module
        else:
            raise UnsupportedModelError(f"{type(model).__name__} is not supported. {how_to_add()}")
    return seen


def learned_weights(model_or_processor: Any) -> dict[str, torch.Tensor]:
    """The weights of a patched model's compressor by name; empty for a method that learns nothing."""
    if isinstance(model_or_processor, ProcessorMixin):
        return {}
    compressor = getattr(unwrap(model_or_processor), "audio_compressor", None)
    # Where PEFT trains a copy, this is what it is a copy of.
    compressor = getattr(compressor, "original_module", compressor)
    return {} if compressor is None else dict(compressor.state_dict())


def active_config(model_or_processor: Any) -> CompressionConfig | None:
    """The config that a model or processor is patched with; None if it is not patched."""
    if isinstance(model_or_processor, ProcessorMixin):
        state = state_of(model_or_processor)
        return None if state is None else state.placed[CONFIG_KEY]
    compressor = getattr(unwrap(model_or_processor), "audio_compressor", None)
    return None if compressor is None else compressor.config
