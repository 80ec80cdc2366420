"""Changing a model or processor on the instance, never on its class, and undoing the change exactly.

A replacement is a `BoundFunction`. Earlier entries in the instance's `__dict__` (accelerate keeps a `forward` there)
are saved and restored. Hooks added after ours stay; our functions then pass calls through.
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
from .registry import find_patch, how_to_add, load_patch, patch_for_class

STATE = "_hf_tokcomp_state"
"""Attribute name of an instance's `InstanceState`."""
MODEL = "_hf_tokcomp_model"
"""Attribute name under which a patched model's backbone (the model without its head) holds the model."""
COMPOSITE = "_hf_tokcomp_composite"
"""Attribute name under which a patched composite's part that reads audio holds the composite."""


class BoundFunction(functools.partial[Any]):
    """One of our module-level functions, bound to an instance and shadowing a method through its `__dict__`.

    Unlike a bound method, it survives pickle and deepcopy together with the instance's contents. It has the method's
    signature, which `generate` uses to validate keywords and `Trainer` to keep columns, but no reference to the method:
    code that unwraps a `forward` by following ``__wrapped__`` (accelerate's `unwrap_model`) stops here. It may also
    bind our function again, as `types.MethodType(forward, model)`, without removing it: see `bound_once`.

    It is a `functools.partial`, so calling it runs none of our functions except the bound one.
    """

    @classmethod
    def before(cls, method: Callable[..., Any], function: Callable[..., Any], instance: Any) -> Self:
        """Bind a function.

        Args:
            method: the method it shadows, as defined on the class.
            function: takes the instance as its first argument.
            instance: the model or processor.
        """
        bound = cls(function, instance)
        bound.__name__, bound.__qualname__ = method.__name__, method.__qualname__
        bound.__doc__ = method.__doc__
        signature = inspect.signature(method)
        # Not all annotations can be pickled.
        parameters = [p.replace(annotation=p.empty) for p in list(signature.parameters.values())[1:]]
        bound.__signature__ = signature.replace(parameters=parameters, return_annotation=signature.empty)
        return bound

    __name__: str
    __qualname__: str
    __signature__: inspect.Signature

    @property
    def instance(self) -> Any:
        """The instance it is bound to."""
        return self.args[0]

    def stands_as(self, value: Any) -> bool:
        """Whether this value is this function, possibly bound again."""
        return value is self or (isinstance(value, MethodType) and value.__func__ is self)


class HeldFunction(BoundFunction):
    """A `BoundFunction` that does not copy its instance when it is deep-copied.

    `ProcessorMixin.to_dict` copies every attribute and would otherwise copy the whole processor, tokenizer included.
    When the instance itself is copied, the copy's function is bound to the copy.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> HeldFunction:
        instance = memo.get(id(self.instance))
        if instance is None:
            return self
        return type(self).before(getattr(type(instance), self.__name__), self.func, instance)


def bound_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function so that it also works if its `BoundFunction` is bound again by other code.

    The instance is then passed twice. Functions that run in every decoding step check for this themselves.
    """

    @functools.wraps(function)
    def called(instance: Any, /, *args: Any, **kwargs: Any) -> Any:
        return function(instance, *(args[1:] if args and args[0] is instance else args), **kwargs)

    return called


_HOOKED = {"forward": "_old_forward"}
"""Where accelerate keeps the method that its hook calls. Code that adds or removes hooks looks there and never at the
method's own name, so our replacement goes there, too."""
_METHODS = {slot: name for name, slot in _HOOKED.items()}


class _Missing:
    """Marks a name that was not in the instance's `__dict__`; unpickles as the same object."""

    def __reduce__(self) -> str:
        return "MISSING"


MISSING = _Missing()


@dataclass(eq=False)
class InstanceState:
    """What was replaced on an instance, and the model's patch.

    Args:
        patch_module: dotted name of the module that contains the model's patch.
        saved: the previous value in ``__dict__`` under each name, or `MISSING`.
        placed: the value we put there.
        config_before: the previous value in the model's config under our key, or `MISSING`.
    """

    patch_module: str
    saved: dict[str, Any] = field(default_factory=dict)
    placed: dict[str, Any] = field(default_factory=dict)
    config_before: Any = MISSING

    def __post_init__(self) -> None:
        self._find_patch()
        slots = sorted(self.placed, key=lambda slot: slot not in _METHODS)  # the method's own name wins
        earlier = {_METHODS.get(slot, slot): self.saved[slot] for slot in slots}
        self.earlier = {name: function for name, function in earlier.items() if function is not MISSING}
        """The instance's own earlier replacement of each method, by the method's name."""

    def _find_patch(self) -> None:
        self.patch = load_patch(self.patch_module)
        """The model's patch, looked up once."""
        self.features, self.audio = self.patch.features, self.patch.audio_keywords
        """Keywords that every decoding step looks for."""

    def __getstate__(self) -> dict[str, Any]:
        return {k: value for k, value in self.__dict__.items() if k not in ("patch", "features", "audio")}

    def __setstate__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)
        self._find_patch()


def state_of(instance: Any) -> InstanceState | None:
    """The state of this instance; None if nothing was replaced on it."""
    state: InstanceState | None = instance.__dict__.get(STATE)
    return state


def patch_of(model: Any) -> ModelPatch:
    """The `ModelPatch` of a patched model."""
    state = state_of(model)
    if state is None:
        raise RuntimeError("This model is not patched; call hf_tokcomp.patch(model, ...) first.")
    return state.patch


def original(model: Any, name: str) -> Callable[..., Any]:
    """The method that ours shadows: the instance's own earlier one, or the class's.

    The class is looked up at every call, since other code may replace its methods, too.
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
    forward: Callable[..., Any] | None = None,
) -> InstanceState:
    """Put functions (bound to the instance) and plain values into the instance's `__dict__`.

    Args:
        instance: the model or processor.
        patch_module: dotted name of the module that contains the model's patch.
        functions: the functions by the names of the methods they shadow.
        values: the plain values by name.
        bound: how to bind the functions.
        forward: the method whose signature a function for ``forward`` gets; None for that of the instance's class.
    """
    before = state_of(instance) or InstanceState(patch_module)
    placed = dict(values)
    for name, function in functions.items():
        slot = _HOOKED[name] if _HOOKED.get(name) in instance.__dict__ else name
        if instance.__dict__.get(slot) is None or not {name, slot} & before.placed.keys():
            method = getattr(type(instance), name)
            placed[slot] = bound.before(forward if name == "forward" and forward else method, function, instance)
        # Otherwise ours is still there, under another library's hook.
    saved = {name: instance.__dict__.get(name, MISSING) for name in placed}
    instance.__dict__.update(placed)
    # A new state each time: a shallow copy of the instance shares the old one and must keep it unchanged.
    state = InstanceState(patch_module, before.saved | saved, before.placed | placed)
    instance.__dict__[STATE] = state
    return state


def restore(instance: Any) -> None:
    """Restore what `replace` found; anything added on top since then stays."""
    state = state_of(instance)
    if state is None:
        return
    left_placed: dict[str, Any] = {}
    left_saved: dict[str, Any] = {}
    for slot, ours in state.placed.items():
        saved, name = state.saved[slot], slot
        if slot in _METHODS and slot not in instance.__dict__:
            name = _METHODS[slot]  # the hook was removed, which moved ours to the method's own name
        there = instance.__dict__.get(name, MISSING)
        if there is not ours and not (isinstance(ours, BoundFunction) and ours.stands_as(there)):
            # Another library's hook holds our function and will keep calling it: it passes through from now on.
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
    """Whether our functions on this instance are bound to another one, of which it is then a shallow copy."""
    state = state_of(instance)
    placed = () if state is None else state.placed.values()
    return any(isinstance(value, BoundFunction) and value.instance is not instance for value in placed)


def unwrap(model: Any) -> Any:
    """The transformers model inside PEFT, DDP, FSDP or a compiled module; a processor is returned as is."""
    seen = model
    while not isinstance(seen, PreTrainedModel | ProcessorMixin):
        if hasattr(seen, "get_base_model"):
            seen = seen.get_base_model()
        elif hasattr(getattr(seen, "base_model", None), "model"):
            seen = seen.base_model.model  # PEFT's mixed model, which has no `get_base_model`
        elif hasattr(seen, "_orig_mod"):
            seen = seen._orig_mod
        elif hasattr(seen, "module"):
            seen = seen.module
        else:
            raise UnsupportedModelError(f"{type(model).__name__} is not supported. {how_to_add()}")
    return seen


def patch_for_model(model: Any) -> tuple[str, ModelPatch]:
    """The patch of a model, and the name of its module.

    Raises:
        UnsupportedModelError: there is none; if one of the model's parts has one, the message names it.
    """
    try:
        return patch_for_class(type(model))
    except UnsupportedModelError:
        for name, part in model.named_modules():
            patch = find_patch(part.config.model_type) if name and isinstance(part, PreTrainedModel) else None
            if patch is not None and {base.__name__ for base in type(part).__mro__} & set(patch.model_classes):
                raise UnsupportedModelError(
                    f"{type(model).__name__} is not supported, but its {name} is: call hf_tokcomp.patch(model.{name}, "
                    "...)."
                ) from None
        raise


def text_writer(model: Any) -> Any:
    """The module that generates text: a patched composite's part that writes it, with any adapters, or the model."""
    whole = unwrap(model)
    state = state_of(whole)
    part = whole if state is None else state.patch.inner(whole)
    return model if part is whole else part


def compressor_of(model: Any) -> Any:
    """The compressor that a patched model compresses with; None if there is none.

    A composite's part has the composite's. PEFT may replace that by a copy, which it trains, and put it back again.
    """
    composite = model.__dict__.get(COMPOSITE)
    if composite is not None:
        model.__dict__["audio_compressor"] = composite.audio_compressor
    return getattr(model, "audio_compressor", None)


def learned_weights(model_or_processor: Any) -> dict[str, torch.Tensor]:
    """The weights of a patched model's compressor by name; empty if the method has none."""
    if isinstance(model_or_processor, ProcessorMixin):
        return {}
    compressor = getattr(unwrap(model_or_processor), "audio_compressor", None)
    # If PEFT trains a copy, this is the original module.
    compressor = getattr(compressor, "original_module", compressor)
    return {} if compressor is None else dict(compressor.state_dict())


def active_config(model_or_processor: Any) -> CompressionConfig | None:
    """The config a model or processor is patched with; None if it is not patched.

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
