"""Methods that keep as many tokens as another does, for comparisons at the count that is really kept.

`segmentwise_top_k` rounds down in every segment, so at the same fraction it keeps fewer tokens than its rivals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hf_tokcomp.compressors.base import register_compressor
from hf_tokcomp.config.registry import get_method, methods

AS_MANY = "_as_"


def as_many_as(name: str, other: str) -> str:
    """Register a method that is another one but for its count, and return its name.

    Args:
        name: the method.
        other: the method whose count it keeps at every fraction, with default options.

    Returns:
        The name: ``top_k_as_segmentwise_top_k``.
    """
    key = f"{name}{AS_MANY}{other}"
    if key in methods():
        return key
    method, counted = get_method(name), get_method(other)

    def reachable(self: Any, n: int, count: int, frame_rate: float | None) -> int:
        return int(counted.config_class(retention_ratio=self.retention_ratio).output_length(n, frame_rate))

    members = {"__annotations__": {"method": "str"}, "method": key, "_reachable_count": reachable}
    config_class: Any = dataclass(frozen=True, kw_only=True)(
        type(f"{method.config_class.__name__}AsMany", (method.config_class,), {**members, "__module__": __name__})
    )
    register_compressor(config_class)(
        type(f"{method.compressor_class.__name__}AsMany", (method.compressor_class,), {"__module__": __name__})
    )
    return key
