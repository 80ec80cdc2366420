"""The slow versions of the resamplers; see `oracles`. Weights are the module's own, by the names they are saved by."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from oracles import learned_oracle

Weights = dict[str, np.ndarray]


@learned_oracle("conv_resampler")
def conv_resampler(features: np.ndarray, k: int, config: Any, weights: Weights) -> np.ndarray:
    x = [row.astype(np.float64) for row in features]
    n = len(x)
    for number in range(config.layers):
        name = f"layers.{number}"
        seen = [norm(row, weights, f"{name}.norm") for row in x]
        kernel, bias = weights[f"{name}.depthwise.weight"][:, 0], weights[f"{name}.depthwise.bias"]
        after = []
        for t in range(n):
            mixed = bias.astype(np.float64)
            for j in range(config.kernel_size):
                at = t + j - (config.kernel_size - 1) // 2
                if 0 <= at < n:
                    mixed = mixed + kernel[:, j] * seen[at]
            after.append(x[t] + linear(gelu(mixed), weights, f"{name}.pointwise"))
        x = after
    scores = [float(weights["score.weight"][0] @ norm(row, weights, "norm")) for row in x]
    out = []
    for slot in range(k):
        members = [i for i in range(n) if i * k // n == slot]
        shares = softmax([scores[i] for i in members])
        out.append(sum(share * x[i] for share, i in zip(shares, members, strict=True)))
    return np.array(out)


@learned_oracle("query_resampler")
def query_resampler(features: np.ndarray, k: int, config: Any, weights: Weights) -> np.ndarray:
    x = [row.astype(np.float64) for row in features]
    n, d = len(x), config.head_dim
    seen = [norm(row, weights, "token_norm") for row in x]
    out = []
    for slot in range(k):
        members = [i for i in range(n) if i * k // n == slot]
        mean = sum(x[i] for i in members) / len(members)
        place = 2 * (slot + 0.5) / k - 1
        query = weights["query"] + place * weights["place"]
        query = query + weights["to_query.weight"] @ norm(mean, weights, "mean_norm")
        around = [i for i in range(n) if abs(i * k // n - slot) <= config.context]
        found = []
        for head in range(config.heads):
            part = slice(head * d, (head + 1) * d)
            scores = []
            for i in around:
                key = weights["to_key.weight"][part] @ seen[i]
                away = (i + 0.5) * k / n - (slot + 0.5)
                near, far = weights["distance"][:, head]
                scores.append(float(query[part] @ key) / math.sqrt(d) + near * away + far * abs(away))
            values = [linear(seen[i], weights, "to_value")[part] for i in around]
            found.append(sum(s * v for s, v in zip(softmax(scores), values, strict=True)))
        y = mean + linear(np.concatenate(found), weights, "attended")
        inner = linear(norm(y, weights, "feed_forward.0"), weights, "feed_forward.1")
        out.append(y + linear(gelu(inner), weights, "feed_forward.3"))
    return np.array(out)


def linear(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    return weights[f"{name}.weight"].astype(np.float64) @ x + weights[f"{name}.bias"]


def norm(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    spread = np.sqrt(((x - x.mean()) ** 2).mean() + 1e-5)
    return (x - x.mean()) / spread * weights[f"{name}.weight"] + weights.get(f"{name}.bias", 0.0)


def gelu(x: np.ndarray) -> np.ndarray:
    return np.array([v * (1 + math.erf(v / math.sqrt(2))) / 2 for v in x])


def softmax(scores: list[float]) -> list[float]:
    values = [math.exp(score - max(scores)) for score in scores]
    return [value / sum(values) for value in values]
