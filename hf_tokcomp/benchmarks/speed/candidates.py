"""Candidates: the ways of reading the same clips that are compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from ...config.config import CompressionConfig
from ...evaluation.plan import Run
from ...patching.patch import compressed, unpatch
from .rivals import eager_encoder, generate_by_scores
from .subject import Inputs, Subject

Way = Literal["batch", "one by one", "eager, one by one"]
UNCOMPRESSED = "uncompressed"
RIVALS = "top_k"
"""The method that the baseline with eager attention scores corresponds to."""


@dataclass(frozen=True)
class Candidate:
    """One way to read a batch of clips.

    Args:
        label: its name in tables.
        ratio: the retention ratio; None if all tokens are kept, or if the config has another kind of budget.
        config: the compression; None for the unpatched model.
        way: all clips in one call, one call per clip, or one call per clip with eager attention in the encoder.
    """

    label: str
    ratio: float | None
    config: CompressionConfig | None
    way: Way = "batch"

    @property
    def key(self) -> str:
        """Its unique name among all candidates: ``ltbm@0.25``, ``uncompressed, one by one``."""
        ratio = "" if self.ratio is None else f"@{self.ratio:.6g}"
        return f"{self.label}{ratio}" + ("" if self.way == "batch" else f", {self.way}")

    @property
    def compresses(self) -> bool:
        """Whether our code prepares the prompt instead of the model's; also true for `none` with encoder options."""
        return self.config is not None and not self.config.is_upstream

    @property
    def together(self) -> bool:
        """Whether all clips are read in one call."""
        return self.way == "batch"

    @contextmanager
    def ready(self, subject: Subject) -> Iterator[None]:
        """Set up the model for this candidate within the ``with`` block."""
        if self.way == "eager, one by one":
            with eager_encoder(subject.model):
                yield
        elif self.config is None:
            unpatch(subject.model)
            yield
        else:
            with compressed(subject.model, self.config):
                yield

    def generate(self, subject: Subject, inputs: Inputs, new_tokens: int, **options: Any) -> Any:
        """Greedy decoding of exactly this many tokens; call it within `ready`."""
        settings = {"max_new_tokens": new_tokens, "min_new_tokens": new_tokens, "do_sample": False, "num_beams": 1}
        settings |= {"pad_token_id": 0, "use_cache": True, **options}
        if self.way == "eager, one by one":
            return generate_by_scores(subject.model, subject.patch, inputs, self.ratio or 1.0, **settings)
        return subject.model.generate(**inputs, **settings)

    def tokens_after(self, subject: Subject, tokens_before: Sequence[int]) -> list[int]:
        """Audio tokens of each clip kept by the last call; call it within `ready`."""
        if self.way == "eager, one by one" and self.config is not None:
            return [self.config.output_length(n, subject.patch.frame_rate) for n in tokens_before]
        record = getattr(getattr(subject.model, "audio_compressor", None), "last", None)
        return list(tokens_before) if record is None else list(record.tokens_after)


def candidates(runs: Sequence[Run], one_by_one: bool, rivals: bool, keep_none: bool = False) -> list[Candidate]:
    """The uncompressed model, then every run; then the same clips one by one, and with eager attention scores.

    Args:
        runs: the runs, as returned by `hf_tokcomp.evaluation.plan.plan`.
        one_by_one: whether everything is also measured with one call per clip.
        rivals: whether eager attention scores are measured, at the ratios of the runs.
        keep_none: whether the method `none` is measured in addition to the unpatched model.
    """
    found = [Candidate(UNCOMPRESSED, None, None)]
    for run in runs:
        if run.method == "none":
            found += [Candidate("none", None, run.config)] if keep_none else []
        else:
            found.append(Candidate(run.method, run.ratio, run.config))
    if one_by_one:
        found += [Candidate(each.label, each.ratio, each.config, "one by one") for each in found]
    if rivals:
        for ratio in dict.fromkeys(run.ratio for run in runs if run.config.method != "none" and run.ratio is not None):
            config = CompressionConfig(method=RIVALS, retention_ratio=ratio)
            found.append(Candidate(RIVALS, ratio, config, "eager, one by one"))
    return found
