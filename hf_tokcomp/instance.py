"""Changing a model or processor on its instance, never on its class, and taking it back exactly.

A replacement is `functools.partial(module_level_function, instance)`: unlike a bound method it survives pickle and
deepcopy together with the compressor. What stood in the instance's `__dict__` before (accelerate keeps a `forward`
there) is saved and put back. Hooks that came after us stay; our functions then pass through.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .model_patch import ModelPatch

_STATE = "_hf_tokcomp_state"
_COPIES = {"push_to_hub"}
"""Methods that transformers keeps as copies under the original's name, by which pickle finds another function."""


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


def load_patch(patch_module: str) -> ModelPatch:
    """The patch in this module; patches are loaded by name, when a model needs them."""
    patch: ModelPatch = importlib.import_module(patch_module).PATCH
    return patch


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
    saved: Any = MISSING if state is None else state.saved.get(name, MISSING)
    function: Callable[..., Any] = functools.partial(getattr(type(model), name), model)
    return function if saved is MISSING else saved


def replace(
    instance: Any, patch_module: str, functions: Mapping[str, Callable[..., Any]], values: Mapping[str, Any]
) -> InstanceState:
    """Put functions (bound to the instance) and plain values into the instance's `__dict__`."""
    state = state_of(instance) or InstanceState(patch_module)
    placed = dict(values)
    for name, function in functions.items():
        if name in state.placed:
            continue  # ours is still there, under somebody's hook
        bound = functools.partial(function, instance)
        # `generate` validates keywords, and `Trainer` keeps columns, by the signature this leads to.
        # Nothing else is taken over: upstream's annotations and function attributes do not all pickle.
        functools.update_wrapper(bound, getattr(type(instance), name), ("__module__", "__name__", "__doc__"), ())
        if name in _COPIES:
            del bound.__dict__["__wrapped__"]
        placed[name] = bound
    for name, value in placed.items():
        state.saved[name] = instance.__dict__.get(name, MISSING)
        instance.__dict__[name] = value
    state.placed.update(placed)
    instance.__dict__[_STATE] = state
    return state


def restore(instance: Any) -> None:
    """Put back what `replace` found; whatever came on top of it since stays."""
    state = state_of(instance)
    if state is None:
        return
    for name, ours in list(state.placed.items()):
        if instance.__dict__.get(name, MISSING) is not ours:
            continue  # somebody's hook holds our function and will go on calling it: it passes through from now on
        if state.saved[name] is MISSING:
            del instance.__dict__[name]
        else:
            instance.__dict__[name] = state.saved[name]
        del state.placed[name], state.saved[name]
    if not state.placed:
        del instance.__dict__[_STATE]
