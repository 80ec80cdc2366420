"""Candidates: the ways to read the same clips that are measured beside each other."""

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
"""The method that the rivals' way amounts to."""


@dataclass(frozen=True)
class Candidate:
    """One way to read a batch of clips.

    Args:
        label: what tables call it.
        ratio: the retention ratio; None where all tokens stay, or where the config has another budget.
        config: None for the model as it was loaded, not patched at all.
        way: all clips in one call, or in a call each, or in a call each with eager attention in the encoder.
    """

    label: str
    ratio: float | None
    config: CompressionConfig | None
    way: Way = "batch"

    @property
    def key(self) -> str:
        """A name for it among all candidates: ``ltbm@0.25``, ``uncompressed, one by one``."""
        ratio = "" if self.ratio is None else f"@{self.ratio:.6g}"
        return f"{self.label}{ratio}" + ("" if self.way == "batch" else f", {self.way}")

    @property
    def compresses(self) -> bool:
        """Whether we prepare the prompt, and not the model's own code: also under `none` with an encoder's option."""
        return self.config is not None and not self.config.is_upstream

    @property
    def together(self) -> bool:
        """Whether all clips are read in one call."""
        return self.way == "batch"

    @contextmanager
    def ready(self, subject: Subject) -> Iterator[None]:
        """The model as this candidate has it, for the length of the ``with`` block."""
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
        """Greedy decoding of exactly so many tokens; call it within `ready`."""
        settings = {"max_new_tokens": new_tokens, "min_new_tokens": new_tokens, "do_sample": False, "num_beams": 1}
        settings |= {"pad_token_id": 0, "use_cache": True, **options}
        if self.way == "eager, one by one":
            return generate_by_scores(subject.model, subject.patch, inputs, self.ratio or 1.0, **settings)
        return subject.model.generate(**inputs, **settings)

    def tokens_after(self, subject: Subject, tokens_before: Sequence[int]) -> list[int]:
        """Audio tokens of each clip that the last call left; call it within `ready`."""
        if self.way == "eager, one by one" and self.config is not None:
            return [self.config.output_length(n, subject.patch.frame_rate) for n in tokens_before]
        record = getattr(getattr(subject.model, "audio_compressor", None), "last", None)
        return list(tokens_before) if record is None else list(record.tokens_after)


def candidates(runs: Sequence[Run], one_by_one: bool, rivals: bool, keep_none: bool = False) -> list[Candidate]:
    """The uncompressed model first, then every run; then the same clips one by one, and the rivals' way.

    Args:
        runs: as `hf_tokcomp.evaluation.plan.plan` returns them.
        one_by_one: whether everything is measured with a call for each clip, too.
        rivals: whether the rivals' way is measured, at the runs' ratios.
        keep_none: whether the method `none` is measured beside the model that is not patched.
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
