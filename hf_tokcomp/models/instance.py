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
from typing import Any, Self

import torch
from transformers import PreTrainedModel, ProcessorMixin

from ..config.config import CompressionConfig
from ..config.files import CONFIG_KEY
from ..errors import UnsupportedModelError
from .base import ModelPatch
from .registry import how_to_add, load_patch

STATE = "_hf_tokcomp_state"
"""Name under which an instance has its `InstanceState`."""
MODEL = "_hf_tokcomp_model"
"""Name under which a patched model's backbone, the model without its head, has the model."""
COMPOSITE = "_hf_tokcomp_composite"
"""Name under which the part of a patched composite that reads audio has the name of the composite's class."""


class BoundFunction(functools.partial[Any]):
    """One of our module-level functions, bound to an instance in whose `__dict__` it stands before a method.

    Unlike a bound method it survives pickle and deepcopy together with what the instance holds. It shows the method's
    signature, by which `generate` validates keywords and `Trainer` keeps columns, but leads nobody to the method
    itself: what unwraps a `forward` by following ``__wrapped__`` (accelerate's `unwrap_model`) ends here, and may bind
    it once more, as `types.MethodType(forward, model)`, without losing us: see `bound_once`.

    It is a `functools.partial`, so that calling it runs no function of ours but the one that is bound.
    """

    @classmethod
    def before(cls, method: Callable[..., Any], function: Callable[..., Any], instance: Any) -> Self:
        """Bind a function.

        Args:
            method: the method it stands before, as the class has it.
            function: takes the instance first.
            instance: the model or processor.
        """
        bound = cls(function, instance)
        bound.__name__, bound.__qualname__ = method.__name__, method.__qualname__
        bound.__doc__ = method.__doc__
        signature = inspect.signature(method)
        # Annotations do not all pickle.
        parameters = [p.replace(annotation=p.empty) for p in list(signature.parameters.values())[1:]]
        bound.__signature__ = signature.replace(parameters=parameters, return_annotation=signature.empty)
        return bound

    __name__: str
    __qualname__: str
    __signature__: inspect.Signature

    @property
    def instance(self) -> Any:
        """What it is bound to."""
        return self.args[0]

    def stands_as(self, value: Any) -> bool:
        """Whether this value is this very function, perhaps bound once more."""
        return value is self or (isinstance(value, MethodType) and value.__func__ is self)


class HeldFunction(BoundFunction):
    """A `BoundFunction` that a copy of what it stands in leads to no copy of its instance.

    `ProcessorMixin.to_dict` copies every attribute, and would copy tokenizer and all; when the instance itself is
    copied, the copy's function is bound to the copy.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> HeldFunction:
        instance = memo.get(id(self.instance))
        if instance is None:
            return self
        return type(self).before(getattr(type(instance), self.__name__), self.func, instance)


def bound_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, called rightly also where somebody bound a `BoundFunction` of it once more.

    The instance then comes twice. Functions that run in every decoding step look for that themselves.
    """

    @functools.wraps(function)
    def called(instance: Any, /, *args: Any, **kwargs: Any) -> Any:
        return function(instance, *(args[1:] if args and args[0] is instance else args), **kwargs)

    return called


_HOOKED = {"forward": "_old_forward"}
"""Where accelerate keeps the method that the hook in its place calls. What adds or removes hooks looks there and never
at the place itself, so a replacement stands there, too."""
_METHODS = {slot: name for name, slot in _HOOKED.items()}


class _Missing:
    """Marks a name that the instance's `__dict__` did not have; pickles as itself."""

    def __reduce__(self) -> str:
        return "MISSING"


MISSING = _Missing()


@dataclass(eq=False)
class InstanceState:
    """What was replaced on an instance, and what is known of it.

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

    def __post_init__(self) -> None:
        self._find_patch()
        slots = sorted(self.placed, key=lambda slot: slot not in _METHODS)  # ours in its own place counts
        earlier = {_METHODS.get(slot, slot): self.saved[slot] for slot in slots}
        self.earlier = {name: function for name, function in earlier.items() if function is not MISSING}
        """What the instance itself had in the place of each method, by the method's name."""

    def _find_patch(self) -> None:
        self.patch = load_patch(self.patch_module)
        """What is known of the model, found once."""
        self.features, self.audio = self.patch.features, self.patch.audio_keywords
        """Keywords that are looked for in every decoding step."""

    def __getstate__(self) -> dict[str, Any]:
        return {k: value for k, value in self.__dict__.items() if k not in ("patch", "features", "audio")}

    def __setstate__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)
        self._find_patch()


def state_of(instance: Any) -> InstanceState | None:
    """What was replaced on this instance; None if nothing was."""
    state: InstanceState | None = instance.__dict__.get(STATE)
    return state


def patch_of(model: Any) -> ModelPatch:
    """What is known of a patched model."""
    state = state_of(model)
    if state is None:
        raise RuntimeError("This model is not patched; call hf_tokcomp.patch(model, ...) first.")
    return state.patch


def original(model: Any, name: str) -> Callable[..., Any]:
    """The method that ours stands before: the instance's own earlier one, or the class's.

    The class is asked at every call, since others replace its methods, too.
    """
    state = state_of(model)
    earlier = None if state is None else state.earlier.get(name)
    function: Callable[..., Any] = functools.partial(getattr(type(model), name), model)
    return function if earlier is None else earlier


def replace(
    instance: Any,
    patch_module: str,
    functions: Mapping[str, Callable[..., Any]],
    values: Mapping[str, Any],
    bound: type[BoundFunction] = BoundFunction,
) -> InstanceState:
    """Put functions (bound to the instance) and plain values into the instance's `__dict__`."""
    before = state_of(instance) or InstanceState(patch_module)
    placed = dict(values)
    for name, function in functions.items():
        slot = _HOOKED[name] if _HOOKED.get(name) in instance.__dict__ else name
        if instance.__dict__.get(slot) is None or not {name, slot} & before.placed.keys():
            placed[slot] = bound.before(getattr(type(instance), name), function, instance)
        # Else ours is still there, under somebody's hook.
    saved = {name: instance.__dict__.get(name, MISSING) for name in placed}
    instance.__dict__.update(placed)
    # A new state each time: a shallow copy of the instance has the same one, and must keep it.
    state = InstanceState(patch_module, before.saved | saved, before.placed | placed)
    instance.__dict__[STATE] = state
    return state


def restore(instance: Any) -> None:
    """Put back what `replace` found; whatever came on top of it since stays."""
    state = state_of(instance)
    if state is None:
        return
    left_placed: dict[str, Any] = {}
    left_saved: dict[str, Any] = {}
    for slot, ours in state.placed.items():
        saved, name = state.saved[slot], slot
        if slot in _METHODS and slot not in instance.__dict__:
            name = _METHODS[slot]  # the hook was removed, and ours took its place
        there = instance.__dict__.get(name, MISSING)
        if there is not ours and not (isinstance(ours, BoundFunction) and ours.stands_as(there)):
            # Somebody's hook holds our function and will go on calling it: it passes through from now on.
            left_placed[name], left_saved[name] = ours, saved
        elif saved is MISSING:
            del instance.__dict__[name]
        else:
            instance.__dict__[name] = saved
    if left_placed:
        instance.__dict__[STATE] = InstanceState(state.patch_module, left_saved, left_placed)
    else:
        del instance.__dict__[STATE]


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


def text_writer(model: Any) -> Any:
    """What to ask for text: a patched composite's part that writes it, with whatever adapters it has, or the model."""
    whole = unwrap(model)
    state = state_of(whole)
    part = whole if state is None else state.patch.inner(whole)
    return model if part is whole else part


def learned_weights(model_or_processor: Any) -> dict[str, torch.Tensor]:
    """The weights of a patched model's compressor by name; empty for a method that learns nothing."""
    if isinstance(model_or_processor, ProcessorMixin):
        return {}
    compressor = getattr(unwrap(model_or_processor), "audio_compressor", None)
    # Where PEFT trains a copy, this is what it is a copy of.
    compressor = getattr(compressor, "original_module", compressor)
    return {} if compressor is None else dict(compressor.state_dict())


def active_config(model_or_processor: Any) -> CompressionConfig | None:
    """The config that a model or processor is patched with; None if it is not patched.

    Example:
        >>> hf_tokcomp.active_config(model) is None
        True
        >>> hf_tokcomp.active_config(hf_tokcomp.patch(model, "ltbm")).retention_ratio
        0.5
    """
    if isinstance(model_or_processor, ProcessorMixin):
        state = state_of(model_or_processor)
        return None if state is None else state.placed[CONFIG_KEY]
    compressor = getattr(unwrap(model_or_processor), "audio_compressor", None)
    return None if compressor is None else compressor.config
