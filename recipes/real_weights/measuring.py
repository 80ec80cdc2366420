"""Measure all methods on one Whisper model at one token rate."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from hf_tokcomp.evaluation.asked import Asked
from hf_tokcomp.evaluation.evaluation import ask_all, measure
from hf_tokcomp.evaluation.items import Dataset
from hf_tokcomp.evaluation.journal import Given, Key
from hf_tokcomp.evaluation.plan import ALL, Run, by_cell, plan
from hf_tokcomp.evaluation.scores import Differences
from hf_tokcomp.evaluation.task import Task
from hf_tokcomp.evaluation.tasks import get_task
from hf_tokcomp.models.registry import find_patch

from .equal_counts import AS_MANY, as_many_as
from .pooled import MODEL_TYPE, PooledWhisper, register

RATES = {50: "whisper", 25: MODEL_TYPE}
"""Tokens a second, and the type of the model that reads so many."""
RATIOS = (1.0, 1 / 2, 1 / 4, 1 / 10)
VARIANTS = ("segmentwise_top_k:remainder=spread", "visionzip:contextual=mean")
"""Options that matter with these weights, beside all methods."""
COUNTED = "segmentwise_top_k"
EQUAL = ("top_k", "random", "ltbm", "average_pooling")
"""Methods that are also measured at the count that `COUNTED` keeps."""
PAIRS = (
    ("top_k", "random"),
    ("segmentwise_top_k", "random"),
    ("segmentwise_top_k", "top_k"),
    ("segmentwise_top_k:remainder=spread", "top_k"),
    ("bottom_k", "random"),
    ("visionzip", "top_k"),
    ("visionzip:contextual=mean", "top_k"),
    ("ltbm", "global_merge"),
    ("ltbm", "segmentwise_top_k"),
    ("ltbm", "average_pooling"),
    ("ltbm", "a_tome"),
    ("ltbm", "divprune"),
    ("average_pooling", "stride"),
    ("segmentation", "average_pooling"),
    ("stride", "top_k"),
)
"""Pairs of methods that are compared on the same utterances."""


@dataclass(frozen=True)
class Extent:
    """How much is measured on a model.

    Args:
        seeds: number of seeds of random methods.
        equal: methods that are also measured at the count that `COUNTED` keeps.
        compressions: as `hf_tokcomp.evaluation.plan.plan` takes them.
    """

    seeds: int = 3
    equal: tuple[str, ...] = EQUAL
    compressions: tuple[str, ...] = (ALL, *VARIANTS)


EXTENTS = {"tiny.en": Extent(), "base": Extent(seeds=1, equal=())}
"""The larger model takes three times as long, and shows whether what the smaller one shows holds."""


@dataclass(frozen=True)
class Subject:
    """A Whisper model at a token rate.

    Args:
        name: as in ``openai/whisper-NAME``.
        folder: its checkpoint.
        rate: tokens a second, a key of `RATES`.
    """

    name: str
    folder: Path
    rate: int

    @cached_property
    def processor(self) -> Any:
        return WhisperProcessor.from_pretrained(str(self.folder))

    def load(self) -> Any:
        """The model, in float32 on the CPU."""
        pooled = RATES[self.rate] == MODEL_TYPE
        load = PooledWhisper.from_whisper if pooled else WhisperForConditionalGeneration.from_pretrained
        return load(str(self.folder), dtype=torch.float32).eval()

    @property
    def task(self) -> Task:
        """LibriSpeech with Whisper's own list of spellings, scored by word errors and by words that are right."""
        spelled = {"spellings": str(self.folder / "normalizer.json")}
        metrics = ("wer", "words_right")
        return dataclasses.replace(
            get_task("librispeech"), metrics=metrics, metric_options=dict.fromkeys(metrics, spelled)
        )


def runs_of(rate: int, extent: Extent) -> list[Run]:
    """The runs at a token rate: `none`, all tokens of the sound, all methods, and some at the count of another.

    With all tokens every method is the same, so one stands for them.
    """
    register()
    patch = find_patch(RATES[rate])
    whole, _ = plan([COUNTED], RATIOS[:1], [], 1, patch)
    fewer, _ = plan(extent.compressions, RATIOS[1:], [], extent.seeds, patch)
    at_its_count = {name: as_many_as(name, COUNTED) for name in EQUAL}  # a folder may have answers under any of them
    matched = [at_its_count[name] for name in extent.equal]
    others = plan(matched, RATIOS[1:], [], extent.seeds, patch)[0] if matched else []
    fewer = [run for run in fewer if AS_MANY not in run.method]  # registered ones are among all
    return list({run.key: run for run in [*whole, *fewer, *others]}.values())


def answer(
    subject: Subject, data: Path, folder: Path | None, runs: Sequence[Run], batch_size: int, items: int | None = None
) -> dict[str, Any]:
    """Let a model transcribe under every run, and score it; what a folder has is not done again.

    Returns:
        What the tables are made of: ``model``, ``rate``, ``items``, ``seconds``, ``tokens``, ``scores``,
        ``differences`` and ``sessions``; empty in all processes but the first.
    """
    asked = ask_all(subject.processor, [subject.task], {"librispeech": Dataset(str(data), count=items)})
    measured = measure(
        *(subject.load(), subject.processor, asked, runs, {}, folder),
        batch_size=batch_size,
        name=f"openai/whisper-{subject.name}",
    )
    if not measured.values:
        return {}
    of_all = [given for given in measured.answers.values() if given.run == f"{COUNTED}@1/contiguous"]
    return {
        "model": subject.name,
        "rate": subject.rate,
        "items": len(asked[0].items.items),
        "seconds": round(sum(asked[0].items.samples) / asked[0].items.rate, 1),
        "tokens": sum(given.tokens_before - given.padding[0] for given in of_all),
        "scores": measured.values["scores"],
        "differences": _differences(asked[0], runs, measured.answers),
        "sessions": measured.values["sessions"],
    }


def _differences(asked: Asked, runs: Sequence[Run], answers: Mapping[Key, Given]) -> list[dict[str, Any]]:
    """Differences on the same utterances: from all tokens of the sound, and between methods, in each metric.

    `none` is no measure of what compression costs, as it also reads all of the padding.
    """
    cells = {(method, ratio): found for (method, ratio, _), found in by_cell(runs).items()}
    whole = [(method, ALL, ratio) for method, ratio in cells if (method, ratio) != (COUNTED, 1)]
    pairs = [*PAIRS, *((COUNTED, as_many_as(name, COUNTED)) for name in EQUAL)]
    wanted = [*whole, *((one, other, ratio) for one, other in pairs for ratio in RATIOS[1:])]
    cells |= {(ALL, ratio): cells[COUNTED, 1] for ratio in RATIOS}
    found = []
    for metric in asked.task.metrics:
        task = dataclasses.replace(asked, task=dataclasses.replace(asked.task, metrics=(metric,)))
        differences = Differences(task, answers)
        for one, other, ratio in wanted:
            if (one, ratio) in cells and (other, ratio) in cells:
                numbers = differences.between(cells[one, ratio], cells[other, ratio])
                value, low, high = (round(number, 4) for number in numbers)
                found.append(
                    {"metric": metric, "method": one, "other": other, "ratio": ratio}
                    | {"value": value, "low": low, "high": high}
                )
    return found
