"""Numbers reported in the papers, for comparison with measurements of the same model on the same data."""

from __future__ import annotations

from dataclasses import dataclass

from .score import Score


@dataclass(frozen=True)
class Published:
    """A number from a paper.

    Args:
        paper: its arXiv number.
        model: the last part of the model's Hub id, in lower case.
        task: the task's name.
        subset: the part of the task; "" for the whole.
        metric: the metric's key.
        method: the method's key.
        ratio: fraction of tokens kept; 1 for all.
        value: in the unit of the metric; accuracies are in percent.
        scoring: how the paper finds the chosen option in an answer; "" if unknown or not applicable.
    """

    paper: str
    model: str
    task: str
    subset: str
    metric: str
    method: str
    ratio: float
    value: float
    scoring: str = ""

    def fits(self, score: Score) -> bool:
        """Whether a score is for the same task, metric, method and ratio, with positions as in the papers."""
        return score.positions in (None, "contiguous") and (
            self.task,
            self.subset,
            self.metric,
            self.method,
            self.ratio,
        ) == (
            score.task,
            score.subset,
            score.metric,
            score.method,
            score.ratio,
        )


SEGMENTWISE = "2511.14293"
FLAMINGO = "audio-flamingo-3-hf"
QWEN = "qwen2-audio-7b-instruct"


def _row(model: str, task: str, subset: str, metric: str, method: str, values: dict[float, float]) -> list[Published]:
    # For Qwen2-Audio's answers, the paper takes the option that is most similar according to Sentence-BERT.
    scoring = "similarity" if (model, task) == (QWEN, "mmau") else ""
    return [
        Published(SEGMENTWISE, model, task, subset, metric, method, ratio, value, scoring)
        for ratio, value in values.items()
    ]


def _kept(*values: float) -> dict[float, float]:
    return dict(zip((0.5, 0.25, 0.1), values, strict=True))


PUBLISHED: tuple[Published, ...] = (
    *_row(FLAMINGO, "clotho", "", "cider", "none", {1.0: 0.50}),
    *_row(FLAMINGO, "clotho", "", "cider", "segmentwise_top_k", _kept(0.49, 0.49, 0.45)),
    *_row(FLAMINGO, "clotho", "", "cider", "random", _kept(0.46, 0.42, 0.37)),
    *_row(FLAMINGO, "clotho", "", "cider", "bottom_k", _kept(0.12, 0.05, 0.02)),
    *_row(FLAMINGO, "mmau", "", "accuracy", "none", {1.0: 73.0}),
    *_row(FLAMINGO, "mmau", "", "accuracy", "top_k", _kept(69.0, 68.0, 64.0)),
    *_row(FLAMINGO, "mmau", "", "accuracy", "visionzip", _kept(69.0, 67.0, 64.0)),
    *_row(FLAMINGO, "mmau", "", "accuracy", "segmentwise_top_k", _kept(73.0, 70.0, 67.0)),
    *_row(FLAMINGO, "mmau", "speech", "accuracy", "none", {1.0: 66.0}),
    *_row(FLAMINGO, "mmau", "speech", "accuracy", "segmentwise_top_k", _kept(65.0, 57.0, 50.0)),
    *_row(FLAMINGO, "mmau", "speech", "accuracy", "top_k", _kept(57.0, 52.0, 46.0)),
    *_row(QWEN, "mmau", "", "accuracy", "none", {1.0: 58.0}),
    *_row(QWEN, "mmau", "", "accuracy", "segmentwise_top_k", _kept(58.0, 55.0, 49.0)),
    *_row(QWEN, "clotho", "", "cider", "none", {1.0: 0.29}),
    *_row(QWEN, "clotho", "", "cider", "segmentwise_top_k", _kept(0.34, 0.33, 0.27)),
    *_row(QWEN, "audiocaps", "", "cider", "none", {1.0: 0.39}),
    *_row(QWEN, "audiocaps", "", "cider", "segmentwise_top_k", _kept(0.44, 0.48, 0.41)),
)


def published_for(model: str, scoring: str = "") -> list[Published]:
    """The papers' numbers for a model, by its folder's name or Hub id.

    Args:
        model: its name.
        scoring: how options were found in answers; numbers from papers that did it differently are left out.
    """
    name = model.rstrip("/").rsplit("/", 1)[-1].lower()
    return [each for each in PUBLISHED if each.model == name and each.scoring in ("", scoring)]
