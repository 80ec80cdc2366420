"""RetentionSchedule: a retention ratio that changes during training, as a curriculum or to cover several ratios."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from transformers import TrainerCallback

from ..config.config import CompressionConfig
from ..errors import CompressionConfigError
from ..models.instance import active_config
from ..patching.patch import set_config


class RetentionSchedule(TrainerCallback):  # type: ignore[misc]
    """Sets the model's retention ratio before every optimizer step and restores the original one after it.

    Evaluating and saving between steps therefore use the model's own config. The ratio depends only on the seed and the
    step number: it is the same in every process, and a resumed run continues like an uninterrupted one. Both ideas are
    ours.

    Args:
        ratios: one of these is drawn for every step, so that one adapter serves all of them; None for the model's own.
        curriculum: the fraction of the training, 0 to 1, over which the ratio falls from 1 to its target.
        seed: seed of the draws.

    Raises:
        ValueError: a value is out of range, or the schedule would change nothing.

    Example:
        >>> from hf_tokcomp.training import RetentionSchedule
        >>> schedule = RetentionSchedule(curriculum=0.5)  # pass it as a callback to `make_trainer` or `Trainer`
        >>> [round(schedule.ratio(step, steps=100, own=0.25), 3) for step in (0, 25, 50, 99)]
        [1.0, 0.625, 0.25, 0.25]
    """

    def __init__(self, ratios: Sequence[float] | None = None, curriculum: float = 0.0, seed: int = 0) -> None:
        if ratios is not None and (not ratios or not all(0 < ratio <= 1 for ratio in ratios)):
            raise ValueError(f"ratios must be a non-empty list of numbers above 0 and at most 1; got {list(ratios)}.")
        if not 0 <= curriculum <= 1:
            raise ValueError(f"curriculum must be a share of the training, 0 to 1, not {curriculum}.")
        if ratios is None and curriculum == 0:
            raise ValueError("A RetentionSchedule needs ratios to draw from, a curriculum, or both.")
        self.ratios = None if ratios is None else [float(ratio) for ratio in ratios]
        self.curriculum = curriculum
        self.seed = seed
        self._own: CompressionConfig | None = None
        self._now: CompressionConfig | None = None

    def ratio(self, step: int, steps: int, own: float) -> float:
        """The ratio of a step.

        Args:
            step: step number, from 0.
            steps: total number of training steps.
            own: the model's own ratio.
        """
        due = own if self.ratios is None else random.Random(f"{self.seed}/{step}").choice(self.ratios)
        ramp = self.curriculum * steps
        return due if step >= ramp else due + (1 - due) * (1 - step / ramp)

    @staticmethod
    def check(config: CompressionConfig | None) -> None:
        """Raise unless the compression has a retention ratio.

        Raises:
            CompressionConfigError: it has another kind of budget, or there is no compression.
        """
        if config is None or config.retention_ratio is None:
            raise CompressionConfigError(
                "A RetentionSchedule changes the retention ratio, and this model's compression "
                f"({None if config is None else config.method!r}) has none: give it a retention_ratio."
            )

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        if self._now is not None and active_config(model) == self._now:
            self._put_back(model)  # an earlier run was interrupted during a step
        self.check(active_config(model))

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        own = active_config(model)
        if own is None or own.retention_ratio is None:
            return
        self._own = own
        ratio = self.ratio(state.global_step, state.max_steps, own.retention_ratio)
        self._now = own.replace(retention_ratio=ratio)
        set_config(model, self._now)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self._put_back(model)

    def _put_back(self, model: Any) -> None:
        if self._own is not None:
            set_config(model, self._own)
            self._own = self._now = None
