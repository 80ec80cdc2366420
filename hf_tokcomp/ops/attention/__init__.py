"""Attention received by every encoder position, from one layer's projected queries and keys.

No positions x positions matrix is ever stored, and the encoder keeps its own attention implementation: sdpa, flash
and eager give the same scores. On a GPU with Triton, which comes with CUDA builds of torch, fused kernels are used
(`hf_tokcomp.ops.attention.triton`); everywhere else PyTorch, tile by tile (`hf_tokcomp.ops.attention.tiles`).
"""

from __future__ import annotations

import functools
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from . import tiles as attention_blocks

Reduction = Literal["mean", "max", "peak"]
VARIABLE = "HF_TOKCOMP_ATTENTION"
"""Environment variable that forces one implementation: ``torch`` or ``triton``."""
LARGEST = 1e15
"""Entries beyond this would overflow a score in float32."""
_given_up: list[str] = []
"""The error after which the kernels are not tried again."""


def attention_received(
    query: Tensor,
    key: Tensor,
    lengths: Tensor,
    *,
    heads: int,
    scale: float,
    reduction: Reduction = "mean",
    block: int | None = None,
    seen: Tensor | None = None,
) -> Tensor:
    """Softmax attention per head over the valid keys, summed over the valid queries.

    A query or key that contains NaN, infinity or a value beyond 1e15 counts as padding and does not affect the others
    (our reading; in a plain softmax one NaN spoils the whole window). No gradients.

    Args:
        query: ``(windows, positions, heads * head_dim)``, as the layer's query projection returns it.
        key: the same for keys.
        lengths: ``(windows,)`` valid positions; neither padding queries nor padding keys count.
        heads: attention heads.
        scale: factor on the scores, usually ``head_dim ** -0.5``.
        reduction: ``"mean"`` averages the heads' sums (arXiv 2511.14293), ``"max"`` takes the largest of them, and
            ``"peak"`` takes the largest head for every query and key before summing.
        block: maximum number of scores that PyTorch holds at once; None chooses by device.
        seen: ``(windows,)`` positions that are attended to, if those are more than the valid ones: in an encoder that
            does not mask its padding.

    Returns:
        ``(windows, positions)`` float32, padding is 0; under ``"mean"`` the mean over a window's valid positions is 1.

    Raises:
        ValueError: unknown reduction, or HF_TOKCOMP_ATTENTION asks for an unavailable implementation.
    """
    if reduction not in get_args(Reduction):
        raise ValueError(f"reduction={reduction!r} is unknown; use one of {', '.join(get_args(Reduction))}.")
    return _run("received", query, key, lengths, seen, block, heads=heads, scale=scale, reduction=reduction)


def attention_to_self(
    query: Tensor,
    key: Tensor,
    lengths: Tensor,
    *,
    heads: int,
    scale: float,
    per_token: int = 2,
    block: int | None = None,
    seen: Tensor | None = None,
) -> Tensor:
    """The attention that each token pays to itself, averaged over heads.

    With A the head-averaged attention between positions, it is the sum of A[q, k] over the token's positions as q and
    as k, divided by how many those are. Positions that do not count, as in `attention_received`, add nothing.

    Args:
        per_token: positions that become a token; the other arguments are those of `attention_received`.

    Returns:
        ``(windows, positions // per_token)`` float32, from 0 to 1.
    """
    return _run("to_self", query, key, lengths, seen, block, heads=heads, scale=scale, per_token=per_token)


@torch.no_grad()
def _run(
    name: str, query: Tensor, key: Tensor, lengths: Tensor, seen: Tensor | None, block: int | None, **options: Any
) -> Tensor:
    """Run one of the two functions, in the implementation that fits the device or was requested."""
    place = torch.arange(query.shape[1], device=query.device)
    valid = place < lengths.to(query.device)[:, None]
    keys = valid if seen is None else place < seen.to(query.device)[:, None]
    tensors = query, key, valid & _is_sane(query), keys & _is_sane(key)
    kernels = _kernels(query.device)
    if kernels is not None:
        try:
            return getattr(kernels, name)(*tensors, **options)  # type: ignore[no-any-return]
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # for example no C compiler, or a GPU that Triton does not support
            if os.environ.get(VARIABLE):
                raise
            _given_up.append(repr(error))
            warnings.warn(
                f"Triton could not run the fused attention kernels, so the slower PyTorch version is used ({error!r}). "
                f"Set {VARIABLE}=torch to silence this, or {VARIABLE}=triton to see the full error.",
                RuntimeWarning,
                stacklevel=3,
            )
    with torch.autocast(query.device.type, enabled=False):  # scores are float32 in any precision of the model
        return getattr(attention_blocks, name)(*tensors, block=block, **options)  # type: ignore[no-any-return]


def _is_sane(states: Tensor) -> Tensor:
    """``(windows, positions)``: whether all entries are finite and small enough for a score in float32."""
    # In float32, since the limit is infinity in float16; and "not >" would let NaN pass.
    least, most = torch.aminmax(states, dim=-1)
    return torch.maximum(-least, most).float() <= LARGEST


def _kernels(device: torch.device) -> Any:
    """The module with the fused kernels, or None to use PyTorch."""
    choice = os.environ.get(VARIABLE, "")
    if choice not in ("", "torch", "triton"):
        raise ValueError(f"{VARIABLE}={choice!r} is unknown; set it to torch or triton, or unset it.")
    if choice == "torch" or (not choice and (device.type != "cuda" or _given_up)):
        return None
    if device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError(f"{VARIABLE}=triton needs a model on a GPU; this one is on {device}. Unset {VARIABLE}.")
    try:
        from . import triton as attention_triton
    except ImportError as error:
        if not choice:
            return None
        raise ValueError(
            f"{VARIABLE}=triton, but Triton is missing: `pip install triton`, or unset {VARIABLE}."
        ) from error
    return attention_triton


def pool_positions(values: Tensor, per_token: int = 2) -> Tensor:
    """Average the positions of each token, ``(windows, positions, ...)`` to ``(windows, tokens, ...)``.

    Positions that are left over at the end have no token; they counted as queries only (our reading).
    """
    tokens = values.shape[1] // per_token
    grouped = values[:, : per_token * tokens].reshape(values.shape[0], tokens, per_token, *values.shape[2:])
    return grouped.mean(2)


def keys_of_tokens(key: Tensor, heads: int, per_token: int = 2) -> Tensor:
    """``(windows, positions, heads * head_dim)`` to ``(windows, tokens, head_dim)``: mean over heads and positions."""
    return pool_positions(mean_over_heads(key, heads), per_token)


def mean_over_heads(key: Tensor, heads: int) -> Tensor:
    """``(windows, positions, heads * head_dim)`` to ``(windows, positions, head_dim)``, in float32."""
    windows, positions, dim = key.shape
    return key.float().view(windows, positions, heads, dim // heads).mean(2)


@contextmanager
def recorded_outputs(detached: bool = True, /, **modules: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Keep the outputs of these modules while the block runs; their names are the dict's keys.

    Only calls in this thread count: another one may be running the same model at the same time.

    Args:
        detached: whether the outputs are kept without their gradients.
        modules: what to listen to.
    """
    outputs: dict[str, Tensor] = {}
    here = threading.get_ident()

    def keep(name: str, _module: nn.Module, _args: Any, output: Tensor) -> None:
        if threading.get_ident() == here:
            outputs[name] = output.detach() if detached else output

    handles = [module.register_forward_hook(functools.partial(keep, name)) for name, module in modules.items()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
