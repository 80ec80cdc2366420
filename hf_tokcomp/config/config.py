"""CompressionConfig: which method, how many tokens, and where the language model believes them to be."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from .._version import __version__
from ..errors import CompressionConfigError
from ..hub.json_text import check_size
from ..messages import did_you_mean, shown
from .checks import FieldChecks, known_rate, option
from .encoder_options import EncoderOptions
from .files import PushToHubConfigMixin
from .presets import options_for
from .registry import get_method, methods
from .schema import SCHEMA_VERSION, UPGRADE, is_newer, our_own, understood

Positions = Literal["contiguous", "original"]
Allocation = Literal["even", "content"]
BUDGETS = ("retention_ratio", "tokens_per_second", "max_tokens")
CHUNKS = ("chunk_seconds", "allocation")
ENCODER = ("skip_padding", "encoder_stride", "encoder_merge")
CONTENT_CHUNK_SECONDS = 0.4  # of a budget that follows the content, by default; docs/results.md says why


@dataclass(frozen=True, kw_only=True)
class CompressionConfig(FieldChecks, PushToHubConfigMixin):
    """What all methods share: the method's key, the budget, and the positions of the kept tokens.

    ``CompressionConfig(method="ltbm", window=4)`` returns the method's own class (``LTBMConfig``), whose fields are the
    method's hyper-parameters. Configs are immutable; `replace` gives a changed copy.

    Raises:
        CompressionConfigError: two budgets at once, or a value of the wrong type or out of range.
    """

    method: str = option("", help="the key of a registered method")
    retention_ratio: float | None = option(
        None,
        above=0,
        at_most=1,
        help="fraction of an audio's tokens that is kept, 0 < ratio <= 1. The default budget is 0.5",
    )
    tokens_per_second: float | None = option(None, above=0, help="tokens kept per second of audio, > 0")
    max_tokens: int | None = option(None, at_least=1, help="most tokens kept per audio, >= 1")
    positions: Positions = option(
        "contiguous",
        help="`contiguous` renumbers the shortened prompt; `original` keeps every token, audio and text, at the "
        "position id it had in the full prompt, so that time keeps its scale",
    )
    chunk_seconds: float | None = option(
        None,
        above=0,
        help="the method works within equal chunks of this length at most, each with its share of the budget; longer "
        "ones where there would be more chunks than tokens to keep (with `content`, than half of them). None for the "
        "whole audio at once",
    )
    allocation: Allocation = option(
        "even",
        help="how the budget is shared among the chunks. `even`: by their length. `content`: by how much their tokens "
        "differ from their neighbours, at least one each; chunks last 0.4 s then, unless given. The audio's total is "
        "the same either way",
    )
    skip_padding: bool = option(
        True,
        help="the encoder stops at the end of a batch's longest audio, not of its window; the answers are the same "
        "within rounding. Off by default under `none`, which is bit for bit upstream",
    )
    encoder_stride: int = option(
        1, at_least=1, at_most=2, help="2: the encoder's layers see one position per token, not two. Lossy"
    )
    encoder_merge: float = option(
        0.0,
        at_least=0,
        at_most=0.9,
        help="share of the encoder's positions, at most 0.9, that merge from layer to layer. Lossy",
    )
    schema_version: int = option(SCHEMA_VERSION, at_least=0, help="version of the written form", compare=False)
    hf_tokcomp_version: str = option(__version__, help="version of hf_tokcomp that wrote the config", compare=False)

    default_retention_ratio: ClassVar[float | None] = 0.5
    """Budget where none is given; None where a method's own count is its point, or where it refuses a budget."""
    accepts_budget: ClassVar[bool] = True
    instead_of_budget: ClassVar[tuple[str, ...]] = ()
    """Options that take the place of a budget; `replace` drops the one where the other is given."""
    accepts_chunks: ClassVar[bool] = True
    """Whether the method keeps exactly the budget in any stretch of time, and so may work chunk by chunk."""

    def __new__(cls, *args: Any, **kwargs: Any) -> CompressionConfig:
        if cls is CompressionConfig and kwargs:
            cls = get_method(kwargs.get("method", "")).config_class
            _refuse_unknown_keys(cls, kwargs)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        cls = type(self)
        if cls is CompressionConfig:
            raise CompressionConfigError(
                f"Name a method: CompressionConfig(method=...), one of {', '.join(methods())}."
            )
        if self.method != cls.method:
            raise CompressionConfigError(
                f"{cls.__name__} is the config of {cls.method!r}, not of {shown(self.method)}; "
                f"use CompressionConfig(method={shown(self.method)}, ...)."
            )
        version = self.hf_tokcomp_version
        # It stands in messages and on model cards, so it must not be a text of somebody's choice.
        if not (isinstance(version, str) and re.fullmatch(r"[\w.+!-]{0,64}", version, re.ASCII)):
            raise CompressionConfigError(f"hf_tokcomp_version={shown(version)} must be a version such as '0.1.0'.")
        self._check_budget()
        self.check_fields()
        if self.chunk_length is not None and not (self.accepts_chunks and self.deterministic_length):
            raise CompressionConfigError(
                f"The method {self.method!r} cannot work in chunks; leave out chunk_seconds and allocation."
            )
        if not self.temporal_order and (self.positions == "original" or self.chunk_length is not None):
            raise CompressionConfigError(
                "Tokens that are not in temporal order go with positions='contiguous' and without chunk_seconds; "
                "leave these out, or the order."
            )

    def _check_budget(self) -> None:
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if given and not self.accepts_budget:
            raise CompressionConfigError(f"The method {self.method!r} takes no budget; leave out {', '.join(given)}.")
        if len(given) > 1:
            raise CompressionConfigError(f"Give one budget, not several: {' and '.join(given)}.")
        if not given:
            object.__setattr__(self, "retention_ratio", self._default_ratio())

    def _default_ratio(self) -> float | None:
        """The budget where none is given; a method with an option that takes its place overrides this."""
        return self.default_retention_ratio

    @property
    def deterministic_length(self) -> bool:
        """Whether the count is a pure function of the audio's length, so that a processor can announce it.

        A method whose count follows the content overrides this with False.
        """
        return True

    @property
    def temporal_order(self) -> bool:
        """Whether slots stand in temporal order; a method with another order overrides this."""
        return True

    @property
    def encoder(self) -> EncoderOptions:
        """How the audio encoder is run."""
        return EncoderOptions(self.skip_padding, self.encoder_stride, self.encoder_merge)

    @property
    def is_upstream(self) -> bool:
        """Whether everything is left to the model's own code."""
        return self.method == "none" and self.encoder == EncoderOptions(skip_padding=False)

    @property
    def chunk_length(self) -> float | None:
        """Most seconds that a chunk lasts; None where the method works on the whole audio at once."""
        by_default = CONTENT_CHUNK_SECONDS if self.allocation == "content" else None
        return by_default if self.chunk_seconds is None else self.chunk_seconds

    def budget_length(self, n: int, frame_rate: float | None = None) -> int | None:
        """How many tokens the budget alone asks for; a method may keep fewer, which `output_length` knows.

        That is 0 for ``n = 0``, else ``max(1, min(n, floor(n * retention_ratio + 0.5)))`` or the like for another
        budget, and None without one. Arguments and errors are those of `output_length`.
        """
        if n < 0 or (frame_rate is not None and not frame_rate > 0):
            raise ValueError(f"A count needs n >= 0 and frame_rate > 0, got n={n} and frame_rate={frame_rate}.")
        if self.max_tokens is not None:
            return min(n, self.max_tokens)
        if self.tokens_per_second is not None:
            wanted = n * self.tokens_per_second / known_rate(frame_rate, "tokens_per_second")
        elif self.retention_ratio is not None:
            wanted = n * self.retention_ratio
        else:
            return None
        return n if wanted >= n else max(1, math.floor(wanted + 0.5))

    def output_length(self, n: int, frame_rate: float | None = None) -> int:
        """How many tokens are left of an audio: the one place where a count is computed.

        Args:
            n: tokens of one whole audio, all its windows together.
            frame_rate: the model's tokens per second (`ModelPatch.frame_rate`), which whatever counts by time needs.

        Raises:
            CompressionConfigError: the count depends on the content (``deterministic_length`` is False).
            ValueError: ``n`` is negative, or ``frame_rate`` is not positive, or missing where it is needed.
        """
        if not self.deterministic_length:
            raise CompressionConfigError(
                f"The count of {self.method!r} depends on the audio's content; read it from "
                "`model.audio_compressor.last.tokens_after` after a call."
            )
        count = self.budget_length(n, frame_rate)
        return n if count is None or count == n else self._reachable_count(n, count, frame_rate)

    def _reachable_count(self, n: int, count: int, frame_rate: float | None) -> int:
        """The count the method really keeps for a budget of ``count < n``; methods that miss it override this."""
        return count

    @classmethod
    def for_task(cls, task: str, *, retention_ratio: float | None = None, **changes: Any) -> CompressionConfig:
        """What to begin with for a task, by the evidence in `hf_tokcomp.config.presets`. Measure on your own data.

        - ``"captioning"``: `segmentwise_top_k` at 1/4. arXiv 2511.14293, Clotho v2, Audio Flamingo 3: CIDEr 0.50 with
          all tokens, 0.49 with a quarter.
        - ``"multiple_choice"``: `segmentwise_top_k` at 1/2. arXiv 2511.14293, MMAU test-mini, Audio Flamingo 3: 0.73
          with all tokens, 0.73 with half.
        - ``"asr"``: `average_pooling` at 1/2, its budget following the content, with original positions. arXiv
          2511.20973 (with LoRA training); ours, digits with the shipped model, without training: WER 1.7 % with all
          tokens, 3.7 % with half.

        Args:
            task: one of these.
            retention_ratio: fraction of tokens kept, instead of the preset's.
            changes: other fields; another budget takes the place of the preset's.

        Raises:
            CompressionConfigError: no such task, or a bad value.
        """
        options = options_for(task)
        if retention_ratio is not None:
            changes["retention_ratio"] = retention_ratio
        if any(changes.get(name) is not None for name in BUDGETS):
            options = {name: value for name, value in options.items() if name not in BUDGETS}
        return CompressionConfig.from_dict(options | changes)

    def replace(self, **changes: Any) -> CompressionConfig:
        """A copy with these fields changed. A new budget, or what stands in its place, replaces the old one."""
        for given, dropped in ((BUDGETS, (*BUDGETS, *self.instead_of_budget)), (self.instead_of_budget, BUDGETS)):
            if any(changes.get(name) is not None for name in given):
                changes = dict.fromkeys(dropped) | changes
        return type(self).from_dict(self.to_dict() | {"hf_tokcomp_version": __version__} | changes)

    def to_dict(self) -> dict[str, Any]:
        """Flat and sorted; budgets, chunks and encoder options that were not chosen are left out."""
        values = dataclasses.asdict(self)
        default = type(self).__dataclass_fields__
        unset = {name for name in (*BUDGETS, *CHUNKS, *ENCODER) if values[name] == default[name].default}
        return {k: values[k] for k in sorted(values) if k not in unset}

    def has_weights_of(self, other: CompressionConfig) -> bool:
        """Whether what a compressor learned under one fits the other: they have the method's own options in common."""
        free = {*BUDGETS, *CHUNKS, *ENCODER, "positions", "schema_version", "hf_tokcomp_version"}
        one, two = ([(k, v) for k, v in c.to_dict().items() if k not in free] for c in (self, other))
        return one == two

    def to_json_string(self) -> str:
        """`to_dict` as indented JSON."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CompressionConfig:
        """The config of the method that ``values["method"]`` names.

        Raises:
            CompressionConfigError: no such method, an unknown key (the closest valid one is named), or a bad value.
                In the dict of a newer schema an unknown key is a warning that says to upgrade.
        """
        if not isinstance(values, Mapping):
            raise CompressionConfigError(f"A compression config is a dict, not {type(values).__name__}.")
        check_size(values)
        values = our_own(values)
        if "method" not in values:
            raise CompressionConfigError(f"A compression config names its 'method', one of {', '.join(methods())}.")
        try:
            config_class = get_method(values["method"]).config_class
        except CompressionConfigError as error:
            raise CompressionConfigError(f"{error}{f' {UPGRADE}' if is_newer(values) else ''}") from None
        if not issubclass(config_class, cls):
            raise CompressionConfigError(f"{values['method']!r} is not the method of {cls.__name__}.")
        if is_newer(values):
            values = understood(values, {f.name for f in dataclasses.fields(config_class)})
        _refuse_unknown_keys(config_class, values)
        return config_class(**values)


def _refuse_unknown_keys(config_class: type[CompressionConfig], values: Mapping[str, Any]) -> None:
    known = [f.name for f in dataclasses.fields(config_class)]
    for key in values:
        if key not in known:
            raise CompressionConfigError(
                f"{config_class.method!r} has no option {shown(key)}{did_you_mean(key, known)} "
                f"Its options: {', '.join(k for k in known if k != 'method')}."
            )
