"""What to begin with for a task, and what that rests on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import CompressionConfigError
from .plain import shown
from .registry import did_you_mean

PRESETS: dict[str, Callable[[], dict[str, Any]]] = {}
"""Every task's function, whose docstring is the evidence and whose result are the options."""


def preset(function: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Enter a function under its name."""
    PRESETS[function.__name__] = function
    return function


@preset
def captioning() -> dict[str, Any]:
    """``segmentwise_top_k`` at a quarter of the tokens.

    Evidence: arXiv 2511.14293, CIDEr on Clotho v2 with Audio Flamingo 3: 0.50 with all tokens, 0.49 / 0.49 / 0.45 with
    50 / 25 / 10 % of them; random 0.46 / 0.42 / 0.37. With Qwen2-Audio-Instruct CIDEr rises, on Clotho from 0.29 to
    0.34 / 0.33 / 0.27. Under strong compression try ``ltbm`` beside it: arXiv 2605.25179 (abstract) finds local merging
    ahead of global merging there, and does not compare it with this method.

    Our own measurement is of naming one sound and not of captions (docs/results.md): on 80 clips with the shipped model
    this method names 80 % with a quarter of the tokens, random 85 %, and all tokens 91 %.
    """
    return {"method": "segmentwise_top_k", "retention_ratio": 0.25}


@preset
def multiple_choice() -> dict[str, Any]:
    """``segmentwise_top_k`` at half of the tokens.

    Evidence: arXiv 2511.14293, MMAU test-mini with Audio Flamingo 3: 0.73 with all tokens, 0.73 / 0.70 / 0.67 with
    50 / 25 / 10 % of them; top_k 0.69 / 0.68 / 0.64, visionzip 0.69 / 0.67 / 0.64. On its speech part 0.66 with all,
    then 0.65 / 0.57 / 0.50, hence half and not a quarter. ``global_merge`` is worth a try beside it: arXiv 2605.25179
    (abstract) finds it more competitive here than local merging, and does not compare it with this method.

    We have not measured this task.
    """
    return {"method": "segmentwise_top_k", "retention_ratio": 0.5}


@preset
def asr() -> dict[str, Any]:
    """``average_pooling`` at half of the tokens, more of them where more happens, each at its original position.

    Evidence: arXiv 2511.20973 (abstract) keeps speech recognition close to frame level with up to three times fewer
    tokens, by pooling or segmentation and LoRA training; pooling is better than sampling there (from summaries). That
    pruning by attention hurts recognition more than merging is in SA-MAP's table (2026): mean WER 4.06 % with all
    tokens, at 60 % of them 11.22 with visionzip, 7.62 with a_tome, 6.92 with fastadasp and 5.39 with sa_map.

    Our own numbers, without training, on 300 strings of digits with the small model that ships with the package: WER
    1.7 % with all tokens, 4.5 % with half of them by this preset. Original positions: average_pooling with an even
    budget 5.9 %, sa_map 5.8 %, ltbm 6.7 %, top_k 53.6 %; average_pooling with contiguous positions 21.1 %. At a quarter
    25.6 %, against 34.0 % with an even budget and 21.6 % with sa_map. All methods are in docs/results.md.
    """
    return {"method": "average_pooling", "retention_ratio": 0.5, "positions": "original", "allocation": "content"}


def options_for(task: object) -> dict[str, Any]:
    """The options of a task's preset.

    Raises:
        CompressionConfigError: there is no such task; the closest one is named.
    """
    if isinstance(task, str) and task in PRESETS:
        return PRESETS[task]()
    raise CompressionConfigError(
        f"Unknown task {shown(task)}{did_you_mean(task, PRESETS)} Known tasks: {', '.join(PRESETS)}."
    )
