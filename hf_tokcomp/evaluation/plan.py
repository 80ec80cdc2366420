"""What a sweep runs: methods at ratios, with positions and seeds, each as a config with a name of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..config import CompressionConfig
from ..errors import CompressionConfigError
from ..model_patch import ModelPatch
from ..patching import resolve_compression
from ..registry import methods as registered

ALL = "all"
"""Stands for every method that works with a ratio alone and has nothing to learn, and one composition."""
COMPOSITION = "ltbm+top_k"
"""What stands for `compose` among all methods: merge, then prune."""


@dataclass(frozen=True)
class Run:
    """One config to measure.

    Args:
        method: what tables call it: the method as it was asked for, options included.
        ratio: the retention ratio; 1 for `none`, None where the config has another budget.
        positions: None for `none`, where both kinds are the same.
        seed: of a method that draws; else None.
        config: what is run.
    """

    method: str
    ratio: float | None
    positions: str | None
    seed: int | None
    config: CompressionConfig

    @property
    def key(self) -> str:
        """A name for it among all runs: ``ltbm@0.25/original``, ``random@0.5/contiguous/seed1``."""
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
    compressions: Sequence[str], ratios: Sequence[float], positions: Sequence[str], seeds: int
) -> tuple[list[Run], dict[str, str]]:
    """The runs, `none` first, and the methods that were left out of all with the reason.

    Args:
        compressions: what `config_at` takes, ``all``, or a JSON object, a folder or a Hub id as `parse_config` does.
        ratios: retention ratios. At 1 every method is `none`, which is there in any case. Empty: each config at its
            own budget.
        positions: kinds of positions; empty for each config's own.
        seeds: seeds 0, 1, ... of methods that draw at random.

    Raises:
        CompressionConfigError: no such method, or a ratio out of range.
        ValueError: what is given as JSON is none.
    """
    left_out: dict[str, str] = {}
    runs = {NONE.key: NONE}
    for share in ratios:
        CompressionConfig(method="stride", retention_ratio=share)  # whatever the methods: is it a ratio?
    names = [name for each in compressions for name in (_everything(left_out) if each == ALL else [each])]
    for name in dict.fromkeys(names):
        for config, ratio in _budgets(name, ratios) if name != "none" else ():
            for kind in positions or (config.positions,):
                for run in _seeded(_label(name, config), ratio, config.replace(positions=kind), seeds):
                    runs.setdefault(run.key, run)
    return list(runs.values()), left_out


def _budgets(name: str, ratios: Sequence[float]) -> list[tuple[CompressionConfig, float | None]]:
    if ratios:
        return [(config_at(name, ratio), ratio) for ratio in ratios if ratio < 1]
    config = parse_config(name)
    return [(config, config.retention_ratio)]


def _everything(left_out: dict[str, str]) -> list[str]:
    found = []
    for name in (COMPOSITION if name == "compose" else name for name in registered()):
        if name == "none":
            continue
        try:
            method = config_at(name, 0.5).method
        except CompressionConfigError as error:
            left_out[name] = str(error)
            continue
        if registered()[method].learns:
            left_out[name] = "it has weights to learn; name it to run it untrained"
        else:
            found.append(name)
    return found


def _seeded(label: str, ratio: float | None, config: CompressionConfig, seeds: int) -> list[Run]:
    if "seed" not in config.__dataclass_fields__:
        return [Run(label, ratio, config.positions, None, config)]
    return [Run(label, ratio, config.positions, seed, config.replace(seed=seed)) for seed in range(seeds)]


def _label(name: str, config: CompressionConfig) -> str:
    """How tables call what was asked for; a JSON object without what the columns say."""
    if not name.lstrip().startswith(("{", "[")):
        return name
    hidden = ("retention_ratio", "positions", "seed", "schema_version", "hf_tokcomp_version", "method")
    options = [f"{key}={json.dumps(value)}" for key, value in config.to_dict().items() if key not in hidden]
    return ":".join([config.method, *options])


def parse_config(text: str) -> CompressionConfig:
    """The config that a text names: a method with options, a JSON object or list of them, a folder or a Hub id.

    Raises:
        CompressionConfigError: it names none; the closest method is in the message.
        ValueError: it looks like JSON and is not.
    """
    if text.lstrip().startswith(("{", "[")):
        try:
            values: Any = json.loads(text)
        except ValueError as error:
            raise ValueError(f"--compression is not valid JSON: {error}. Given: {text}") from error
        return resolve_compression(values)
    if re.split("[:+]", text)[0] in registered() and text not in registered():
        parts = [_method_with_options(part) for part in text.split("+")]
        return CompressionConfig.from_dict(parts[0] if len(parts) == 1 else {"method": "compose", "stages": parts})
    return resolve_compression(text)


def config_at(name: str, ratio: float) -> CompressionConfig:
    """A compression at a retention ratio.

    Args:
        name: a method's key; with options as ``ltbm:window=4:similarity=keys``; several as ``ltbm+top_k``, which share
            the ratio, each keeping the same fraction of what it gets; or what else `parse_config` takes.
        ratio: fraction of tokens that is left at the end.

    Raises:
        CompressionConfigError: no such method or option, or it takes no ratio.
    """
    if name.lstrip().startswith(("{", "[")) or "/" in name:
        return parse_config(name).replace(retention_ratio=ratio)
    parts = [_method_with_options(part) for part in name.split("+")]
    if len(parts) == 1:
        return CompressionConfig.from_dict(parts[0] | {"retention_ratio": ratio})
    each = ratio ** (1 / len(parts))
    stages = [part | {"retention_ratio": each} for part in parts[:-1]]
    # A rate counts from the whole audio, so that rounding in the stages before does not miss the ratio.
    stages.append(parts[-1] | {"tokens_per_second": ratio * ModelPatch.frame_rate})
    return CompressionConfig.from_dict({"method": "compose", "stages": stages})


def _method_with_options(text: str) -> dict[str, Any]:
    method, *options = (part.strip() for part in text.split(":"))
    values: dict[str, Any] = {"method": method}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise ValueError(f"{text!r}: write an option as {key}=value.")
        try:
            values[key] = json.loads(value)
        except ValueError:
            values[key] = value
    return values
