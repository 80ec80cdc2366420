"""compose: several methods in sequence, each applied to what the one before left."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..config.checks import option
from ..config.config import READING, CompressionConfig
from ..config.registry import get_method
from ..errors import CompressionConfigError
from ..ops.assignment import Assignment
from ..ops.audio_tokens import PER_TOKEN, AudioTokens
from .base import AudioTokenCompressor, register_compressor

MAX_STAGES = 32


@dataclass(frozen=True, kw_only=True)
class ComposeConfig(CompressionConfig):
    """Config of several methods in sequence.

    Raises:
        CompressionConfigError: there is no stage, or one that is not allowed in its place.

    Example:
        >>> prune = hf_tokcomp.TopKConfig(tokens_per_second=5)
        >>> model = hf_tokcomp.patch(model, hf_tokcomp.ComposeConfig(stages=["ltbm", prune]))
        >>> answer = model.generate(**inputs)
        >>> model.audio_compressor.last.tokens_after
        [25]
    """

    method: str = "compose"
    stages: tuple[CompressionConfig, ...] = option(
        (),
        help="the configs, or dicts, in order. Every stage has its own budget, of what the stage before left; "
        "tokens_per_second and other durations mean seconds of audio in every stage. positions, long_audio and "
        "what the encoder does are set here and not in a stage",
    )
    default_retention_ratio: ClassVar[float | None] = None
    accepts_budget: ClassVar[bool] = False
    accepts_chunks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.stages, list | tuple) or not self.stages:
            raise CompressionConfigError(
                "compose needs `stages`, a list of configs: [{'method': 'ltbm', 'retention_ratio': 0.5}, ...]."
            )
        if len(self.stages) > MAX_STAGES:
            raise CompressionConfigError(f"compose takes at most {MAX_STAGES} stages, not {len(self.stages)}.")
        object.__setattr__(self, "stages", tuple(_stage(number, given) for number, given in enumerate(self.stages)))
        for number, stage in enumerate(self.stages[:-1]):
            if not stage.temporal_order:
                raise CompressionConfigError(
                    f"stages[{number}] does not keep the temporal order, so no other stage can follow it; put it last."
                )
        super().__post_init__()

    @property
    def deterministic_length(self) -> bool:
        return all(stage.deterministic_length for stage in self.stages)

    @property
    def temporal_order(self) -> bool:
        return all(stage.temporal_order for stage in self.stages)

    def budget_length(self, n: int, frame_rate: float | None = None) -> int | None:
        """The count if every stage keeps all that its own budget asks for.

        None if a stage has no budget and its count depends on the content.
        """
        for stage in self.stages:
            left = stage.budget_length(n, frame_rate)
            if left is None and not stage.deterministic_length:
                return None
            left = stage.output_length(n, frame_rate) if left is None else left
            n, frame_rate = left, _rate_after(frame_rate, n, left)
        return n

    def output_length(self, n: int, frame_rate: float | None = None) -> int:
        if not self.deterministic_length:
            return super().output_length(n, frame_rate)  # whose error says where to read the count
        for stage in self.stages:
            left = stage.output_length(n, frame_rate)
            n, frame_rate = left, _rate_after(frame_rate, n, left)
        return n

    def to_dict(self) -> dict[str, Any]:
        stages = []
        for stage in self.stages:
            values = stage.to_dict()
            del values["hf_tokcomp_version"], values["positions"]
            stages.append(values)
        return super().to_dict() | {"stages": stages}


def _rate_after(frame_rate: float | None, before: int, after: int) -> float | None:
    """Tokens per second of audio, when ``after`` of ``before`` tokens are left."""
    return frame_rate * after / before if before and frame_rate is not None else frame_rate


def _stage(number: int, given: Any) -> CompressionConfig:
    if isinstance(given, str):
        given = {"method": given}
    if isinstance(given, Mapping) and given.get("method") == "compose":
        raise CompressionConfigError(f"stages[{number}] is a composition itself; list its stages here instead.")
    try:
        stage = given if isinstance(given, CompressionConfig) else CompressionConfig.from_dict(given)
    except CompressionConfigError as error:
        raise CompressionConfigError(f"stages[{number}]: {error}") from error
    if isinstance(stage, ComposeConfig):
        raise CompressionConfigError(f"stages[{number}] is a composition itself; list its stages here instead.")
    if stage.positions != "contiguous":
        raise CompressionConfigError(f"stages[{number}]: positions={stage.positions!r} belongs to compose as a whole.")
    for name in READING:
        if getattr(stage, name) != type(stage).__dataclass_fields__[name].default:
            raise CompressionConfigError(
                f"stages[{number}]: {name}={getattr(stage, name)!r} belongs to compose as a whole."
            )
    if get_method(stage.method).compressor_class.forward is not AudioTokenCompressor.forward:
        raise CompressionConfigError(
            f"stages[{number}]: {stage.method!r} does not map tokens to slots, so it cannot be chained."
        )
    return stage


@register_compressor(ComposeConfig)
class Compose(AudioTokenCompressor[ComposeConfig]):
    """Applies several methods in sequence, each to what the one before left.

    Source: ours. Counts and assignments compose, so the features are gathered once, from the original tokens. A merged
    slot passes the weighted mean of its members' keys and attention to the next stage. Slots that a later stage pools
    from scattered members are sorted into temporal order at distinct positions (`Assignment.compose`).
    """

    family = "compose"

    def __init__(self, config: ComposeConfig) -> None:
        super().__init__(config)
        stages = [AudioTokenCompressor.from_config(stage) for stage in config.stages]
        self.stages = nn.ModuleList(stages)
        self.requires = frozenset().union(*(stage.requires for stage in stages))
        self.preserves_mass = all(stage.preserves_mass for stage in stages)

    def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
        assignment: Assignment | None = None
        stage: Any
        for stage in self.stages:
            step = stage.assign(tokens)
            assignment = step if assignment is None else assignment.compose(step)
            tokens = _after(tokens, step, stage)
        return assignment  # type: ignore[return-value]


def _after(tokens: AudioTokens, step: Assignment, stage: Any) -> AudioTokens:
    """A stage's output as the input of the next one."""
    known = stage.config.deterministic_length
    counts = stage.wanted_counts(tokens) if known else step.lengths.tolist()
    # Scores and keys are averaged even if features are summed.
    mean = dataclasses.replace(step, weight=step.weight / _sum_of_slot(step).clamp(min=1e-12))
    fields: dict[str, Any] = {
        name: mean.apply(value[..., None])[..., 0] if value.dim() == 2 else mean.apply(value)
        for name in PER_TOKEN
        if (value := getattr(tokens, name)) is not None
    }
    before = zip(tokens.frame_rates, tokens.counts, counts, strict=True)
    rates = [_rate_after(rate, n, left) for rate, n, left in before]
    return dataclasses.replace(
        tokens, features=step.apply(tokens.features), lengths=step.lengths, counts=counts, frame_rate=rates, **fields
    )


def _sum_of_slot(assignment: Assignment) -> Tensor:
    """``(audios, tokens)``: the sum of the weights in each token's slot."""
    total = assignment.apply(torch.ones_like(assignment.weight)[..., None])[..., 0]
    if not assignment.width:
        return torch.ones_like(assignment.weight)
    return total.gather(1, assignment.slot.clamp(min=0))
