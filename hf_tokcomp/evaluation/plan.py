"""Plan the runs of a sweep: methods at ratios, with positions and seeds, each as a named config."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..config.config import CompressionConfig
from ..config.notation import config_at, parse_config
from ..config.registry import methods as registered
from ..errors import CompressionConfigError
from ..models.base import ModelPatch

ALL = "all"
"""Stands for every method that needs only a ratio and has nothing to learn, and for one composition."""
COMPOSITION = "ltbm+top_k"
"""The composition that represents `compose` among all methods: merge, then prune."""


@dataclass(frozen=True)
class Run:
    """One config to measure.

    Args:
        method: the name in tables: the method as requested, including options.
        ratio: the retention ratio; 1 for `none`, None if the config has another kind of budget.
        positions: None for `none`, for which both kinds are the same.
        seed: the seed of a random method; otherwise None.
        config: the config to run.
    """

    method: str
    ratio: float | None
    positions: str | None
    seed: int | None
    config: CompressionConfig

    @property
    def key(self) -> str:
        """A unique name among all runs: ``ltbm@0.25/original``, ``random@0.5/contiguous/seed1``."""
        ratio = "" if self.ratio is None else f"@{self.ratio:.6g}"
        return "/".join(
            [
                f"{self.method}{ratio}",
                *([] if self.positions is None else [self.positions]),
                *([] if self.seed is None else [f"seed{self.seed}"]),
            ]
        )


NONE = Run("none", 1.0, None, None, CompressionConfig(method="none"))


def plan(
    compressions: Sequence[str],
    ratios: Sequence[float],
    positions: Sequence[str],
    seeds: int,
    patch: ModelPatch | None = None,
) -> tuple[list[Run], dict[str, str]]:
    """The runs, `none` first, and the methods that were left out of ``all``, with the reason.

    Args:
        compressions: what `config_at` takes, ``all``, or a JSON object, a folder or a Hub id, as for `parse_config`.
        ratios: retention ratios. At 1, every method equals `none`, which is always included, except methods with an
            option that reduces the encoder's work or reads long audio in windows, and for a model that reads padding,
            of which compression leaves a part; `none` with an encoder option always runs at 1. Empty: each config at
            its own budget.
        positions: kinds of positions; empty for each config's own.
        seeds: number of seeds 0, 1, ... for random methods.
        patch: the patch of the model; None for one that reads no padding and offers every method what it needs.

    Raises:
        CompressionConfigError: there is no such method, or a ratio is out of range.
        ValueError: invalid JSON, or ratios or positions without a method.
    """
    if not compressions and (any(ratio < 1 for ratio in ratios) or positions):
        raise ValueError("Ratios or positions of which method? Add --compression METHOD, or --compression all.")
    left_out: dict[str, str] = {}
    runs = {NONE.key: NONE}
    for share in ratios:
        CompressionConfig(method="stride", retention_ratio=share)  # check the ratio, whatever the methods
    names = [name for each in compressions for name in (_everything(left_out, patch) if each == ALL else [each])]
    for name in dict.fromkeys(names):
        for config, ratio in _budgets(name, ratios, patch is not None and patch.padding_seconds is not None):
            for kind in positions or (config.positions,):
                for run in _seeded(name, ratio, config.replace(positions=kind), seeds):
                    runs.setdefault(run.key, run)
    return list(runs.values()), left_out


def by_cell(runs: Iterable[Run]) -> dict[tuple[str, float | None, str | None], list[Run]]:
    """Runs grouped by method, ratio and positions, so that they differ only in the seed: the cells of a table."""
    found: dict[tuple[str, float | None, str | None], list[Run]] = {}
    for run in runs:
        found.setdefault((run.method, run.ratio, run.positions), []).append(run)
    return found


def _budgets(name: str, ratios: Sequence[float], cuts_padding: bool) -> list[tuple[CompressionConfig, float | None]]:
    none = _none_named(name)
    if none is not None:
        return [] if none == NONE.config else [(none, 1.0)]
    if ratios:
        configs = [(config_at(name, ratio), ratio) for ratio in ratios]
        return [(config, ratio) for config, ratio in configs if ratio < 1 or cuts_padding or not _is_none(config)]
    config = parse_config(name)
    return [(config, config.retention_ratio)]


def _none_named(name: str) -> CompressionConfig | None:
    """The config of ``none``, if it is that, by name or as a config such as the one stored with a model."""
    try:
        config = parse_config(name)
    except CompressionConfigError:  # a typo, or a method that needs a budget
        return None
    return config if config.method == "none" else None


def _is_none(config: CompressionConfig) -> bool:
    """Whether keeping all tokens is what `none` does."""
    return not config.encoder.reduces and config.long_audio == "cut"


def _everything(left_out: dict[str, str], patch: ModelPatch | None) -> list[str]:
    found = []
    for name in (COMPOSITION if name == "compose" else name for name in registered()):
        if name == "none":
            continue
        try:
            config = config_at(name, 0.5)
        except CompressionConfigError as error:
            left_out[name] = str(error)
            continue
        method = registered()[config.method]
        missing = [] if patch is None else sorted(method.needs_of(config) - patch.supplies)
        if method.learns:
            left_out[name] = "it has weights to learn; name it with a model that brings them"
        elif missing and patch is not None:
            left_out[name] = f"it needs {', '.join(missing)} of the model, and {patch.unsupplied}"
        else:
            found.append(name)
    return found


def _seeded(name: str, ratio: float | None, config: CompressionConfig, seeds: int) -> list[Run]:
    """One run, or one per seed if the method is random and no seed was given."""
    label = _label(name, config)
    if not _draws(config) or re.search(r'\bseed"?\s*[=:]', name):
        return [Run(label, ratio, config.positions, None, config)]
    return [Run(label, ratio, config.positions, seed, _with_seed(config, seed)) for seed in range(seeds)]


def _draws(config: CompressionConfig) -> bool:
    return "seed" in config.__dataclass_fields__ or any(map(_draws, getattr(config, "stages", ())))


def _with_seed(config: CompressionConfig, seed: int) -> CompressionConfig:
    if "seed" in config.__dataclass_fields__:
        return config.replace(seed=seed)
    return config.replace(stages=[_with_seed(one, seed) if _draws(one) else one for one in config.stages])  # type: ignore[attr-defined]


def _label(name: str, config: CompressionConfig) -> str:
    """The name in tables of the requested compression; for a JSON object, without the values that have a column."""
    if not name.lstrip().startswith(("{", "[")):
        return name
    hidden = ("retention_ratio", "positions", "schema_version", "hf_tokcomp_version", "method")
    options = [f"{key}={json.dumps(value)}" for key, value in config.to_dict().items() if key not in hidden]
    return ":".join([config.method, *options])
