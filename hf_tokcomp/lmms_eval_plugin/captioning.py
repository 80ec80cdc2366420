"""Captioning for lmms-eval: one document per clip with all its captions, scored over the whole set."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset

from .documents import audio_column, undecoded
from .failing import failing_the_run

CAPTION_COLUMN = re.compile(r"captions?|answer|caption_\d+")


@failing_the_run()
def one_row_per_clip(dataset: Dataset) -> Dataset:
    """Columns ``audio``, undecoded, and ``captions``, with all captions of the clip: for ``process_docs``.

    Benchmarks store the captions of a clip as a list, in several columns, or in several rows with the same audio.
    Without merging, such rows would be captioned several times and compared with only one caption each.

    Raises:
        ValueError: there is no audio or caption column, or a clip has no caption.
    """
    columns = [name for name in dataset.column_names if CAPTION_COLUMN.fullmatch(name)]
    if not columns:
        raise ValueError(f"No column has captions; there are {', '.join(dataset.column_names)}.")
    audio = audio_column(dataset.column_names)
    dataset = undecoded(dataset)
    first: dict[str, int] = {}
    captions: dict[str, list[str]] = {}
    for number, row in enumerate(dataset):
        clip = _identity(row[audio])
        first.setdefault(clip, number)
        captions.setdefault(clip, []).extend(_texts([row[name] for name in columns]))
        if not captions[clip]:
            raise ValueError(f"Row {number} has no caption.")
    clips = dataset.select(list(first.values())).select_columns([audio])
    if audio != "audio":
        clips = clips.rename_column(audio, "audio")
    return clips.add_column("captions", list(captions.values()))


def _identity(audio: Any) -> str:
    """The identity of a clip: its content or its path."""
    if not isinstance(audio, Mapping):
        return str(audio)
    content = audio.get("bytes")
    return str(audio["path"]) if content is None else hashlib.sha256(content).hexdigest()


def _texts(value: Any) -> list[str]:
    if isinstance(value, list | tuple):
        return [text for part in value for text in _texts(part)]
    return [value.strip()] if isinstance(value, str) and value.strip() else []


def doc_to_text(doc: Mapping[str, Any], specific: Mapping[str, Any]) -> str:
    """The prompt of the model, from ``lmms_eval_specific_kwargs``."""
    return str(specific["prompt"])


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, Any]:
    """The clip's caption and references for every metric, from which the whole set is scored."""
    pair = {"prediction": results[0], "references": list(doc["captions"])}
    return {"cider": pair, "rouge_l": pair}


@failing_the_run()
def cider(pairs: Sequence[Mapping[str, Any]]) -> float:
    """CIDEr-D over all clips, 0 to 10. Its weights depend on these references, so subsets are not comparable."""
    return corpus_score("cider", pairs)


@failing_the_run()
def rouge_l(pairs: Sequence[Mapping[str, Any]]) -> float:
    """ROUGE-L, averaged over clips, 0 to 1."""
    return corpus_score("rouge_l", pairs)


def corpus_score(metric: str, pairs: Sequence[Mapping[str, Any]]) -> float:
    """A metric of `hf_tokcomp.evaluation`, computed by pycocoevalcap.

    Args:
        metric: ``"cider"`` or ``"rouge_l"``.
        pairs: ``{"prediction", "references"}`` of every clip.
    """
    from ..evaluation.metrics import load_metric

    scorer = load_metric(metric)
    statistics = scorer.statistics([pair["prediction"] for pair in pairs], [pair["references"] for pair in pairs])
    return float(scorer.value(statistics.sum(0)))
