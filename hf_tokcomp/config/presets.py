"""Presets per task, with the evidence for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import CompressionConfigError
from ..messages import did_you_mean, shown

PRESETS: dict[str, Callable[[], dict[str, Any]]] = {}
"""One function per task: its docstring is the evidence, its result the options."""


def preset(function: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Register a function under its name."""
    PRESETS[function.__name__] = function
    return function


@preset
def captioning() -> dict[str, Any]:
    """``segmentwise_top_k`` at a quarter of the tokens.

    Evidence: arXiv 2511.14293, CIDEr on Clotho v2 with Audio Flamingo 3: 0.50 with all tokens, 0.49 / 0.49 / 0.45 with
    50 / 25 / 10 % of them; random 0.46 / 0.42 / 0.37. With Qwen2-Audio-Instruct CIDEr rises, on Clotho from 0.29 to
    0.34 / 0.33 / 0.27. Under strong compression also try ``ltbm``: arXiv 2605.25179 (abstract) finds local merging
    ahead of global merging there, but does not compare it with this method.

    Our own captioning results are for clips of one to three sounds with the shipped model (docs/results.md): all sounds
    right in 82 % with all tokens; with a quarter, in original positions, 57 % with this method, 72 % with ``ltbm``, 63
    % with random and 46 % with top_k. Contiguous positions are far worse there with every method: 28 % with this one.
    """
    return {"method": "segmentwise_top_k", "retention_ratio": 0.25}


@preset
def multiple_choice() -> dict[str, Any]:
    """``segmentwise_top_k`` at half of the tokens.

    Evidence: arXiv 2511.14293, MMAU test-mini with Audio Flamingo 3: 0.73 with all tokens, 0.73 / 0.70 / 0.67 with
    50 / 25 / 10 % of them; top_k 0.69 / 0.68 / 0.64, visionzip 0.69 / 0.67 / 0.64. On its speech part 0.66 with all,
    then 0.65 / 0.57 / 0.50, hence half rather than a quarter. Also try ``global_merge``: arXiv 2605.25179
    (abstract) finds it more competitive here than local merging, but does not compare it with this method.

    Our own results are for questions about the same kind of clips, with the shipped model: 95 % right with all tokens;
    with half, in original positions, 94 % with this method, 95 % with ``global_merge`` and with random, and 91 % with
    top_k; in contiguous ones 88 % with this method and 93 % with ``global_merge``.
    """
    return {"method": "segmentwise_top_k", "retention_ratio": 0.5}


@preset
def asr() -> dict[str, Any]:
    """``average_pooling`` at half of the tokens, with a budget that follows the content and original positions.

    Evidence: arXiv 2511.20973 (abstract) keeps speech recognition close to frame level with up to three times fewer
    tokens, by pooling or segmentation and LoRA training; pooling is better than sampling there (from summaries). That
    pruning by attention hurts recognition more than merging is in SA-MAP's table (2026): mean WER 4.06 % with all
    tokens, at 60 % of them 11.22 with visionzip, 7.62 with a_tome, 6.92 with fastadasp and 5.39 with sa_map.

    Our own numbers, without training, on 500 strings of digits with the small model that ships with the package: WER
    1.7 % with all tokens, 3.7 % with half of them by this preset. Original positions: average_pooling with an even
    budget 4.4 %, sa_map 4.9 %, ltbm 4.8 %, top_k 14.4 %; average_pooling with contiguous positions 19.6 %. At a quarter
    19.6 %, against 28.6 % with an even budget and 20.1 % with sa_map. All methods are in docs/results.md.
    """
    return {"method": "average_pooling", "retention_ratio": 0.5, "positions": "original", "allocation": "content"}


def options_for(task: object) -> dict[str, Any]:
    """The options of a task's preset.

    Raises:
        CompressionConfigError: unknown task; the closest one is named.
    """
    if isinstance(task, str) and task in PRESETS:
        return PRESETS[task]()
    raise CompressionConfigError(
        f"Unknown task {shown(task)}{did_you_mean(task, PRESETS)} Known tasks: {', '.join(PRESETS)}."
    )
