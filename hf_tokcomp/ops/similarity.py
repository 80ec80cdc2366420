"""Cosine similarity as used by every method: float32, zero vectors at cosine 0, equal pairs exactly equal."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

SimilaritySpace = Literal["features", "keys", "projected"]
"""Where tokens are compared: encoder space, the encoder's last-layer keys, or the language model's space."""
SPACE_NEEDS: dict[str, frozenset[str]] = {
    "features": frozenset(),
    "keys": frozenset({"keys"}),
    "projected": frozenset({"projected"}),
}
SPACE_HELP = (
    "what is compared: the `features` in encoder space, the encoder's last-layer `keys` (averaged over heads), or the "
    "`projected` features, as the language model sees them; it is the features that are kept or merged"
)
STEPS = 1 << 20


def unit(features: Tensor) -> Tensor:
    """Unit vectors in float32; a zero vector remains zero, so its cosine with everything is 0."""
    features = features.float()
    # Scaled by the largest entry first: the square of a large float32 overflows, that of a tiny one underflows.
    scale = features.abs().amax(-1, keepdim=True)
    features = features / torch.where(scale > 0, scale, 1)
    norm = features.norm(dim=-1, keepdim=True)
    return features / torch.where(norm > 0, norm, 1)


def finite(features: Tensor) -> Tensor:
    """Float32 without NaN and infinities, well below the largest float32, so that no sum of them overflows."""
    return torch.nan_to_num(features.float()).clamp_(-1e30, 1e30)


def quantise(similarity: Tensor) -> Tensor:
    """Round to steps of 2^-20 (about 1e-6).

    In float32 the cosine of a pair of vectors depends slightly on the shape of the product. After rounding, equal pairs
    tie (except for rare ones on the edge of a step), so that ties go to the earlier token and a batch gives the same
    result as a single audio.
    """
    return (similarity * STEPS).round() / STEPS


def cosine_to_next(features: Tensor) -> Tensor:
    """``(audios, tokens, dim)`` to ``(audios, tokens - 1)``: each token's cosine with the one after it, quantised."""
    vectors = unit(features)
    return quantise((vectors[:, 1:] * vectors[:, :-1]).sum(-1))


def unit_double(features: Tensor, mask: Tensor | None = None) -> Tensor:
    """Unit vectors in float64; zero vectors stay zero, NaN counts as 0 and an infinity as float32's largest number.

    For methods whose decisions depend on their earlier ones. In float64 the order of a sum changes at most its last of
    about 15 digits, so after rounding to float32 or by `quantise` the shape of the batch has no effect. In float32 it
    would, after some hundred steps.

    Args:
        features: ``(..., dim)``.
        mask: ``(...)`` bool; where it is False, the vector becomes zero.
    """
    largest = torch.finfo(torch.float32).max
    features = torch.nan_to_num(features.double(), nan=0.0, posinf=largest, neginf=-largest)
    norm = features.norm(dim=-1, keepdim=True)
    real = norm > 0 if mask is None else (norm > 0) & mask[..., None]
    return features / torch.where(real, norm, torch.inf)
