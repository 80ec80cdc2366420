"""CompressionConfig: the method, the number of tokens, and their positions in the prompt."""

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
LongAudio = Literal["cut", "windows"]
BUDGETS = ("retention_ratio", "tokens_per_second", "max_tokens")
CHUNKS = ("chunk_seconds", "allocation")
ENCODER = ("skip_padding", "encoder_stride", "encoder_merge")
READING = (*ENCODER, "long_audio", "padding_seconds")  # beside the method, and the same for all of its stages
CONTENT_CHUNK_SECONDS = 0.4  # default for allocation="content"; docs/results.md says why


@dataclass(frozen=True, kw_only=True)
class CompressionConfig(FieldChecks, PushToHubConfigMixin):
    """Base class of all configs: the method, the budget, and the positions of the kept tokens.

    ``CompressionConfig(method="ltbm", window=4)`` returns the method's own class (``LTBMConfig``), whose fields are the
    method's hyper-parameters. Configs are immutable; `replace` returns a changed copy.

    Raises:
        CompressionConfigError: two budgets at once, or a value of the wrong type or out of range.

    Example:
        >>> config = hf_tokcomp.CompressionConfig(method="ltbm", retention_ratio=0.25, window=4)
        >>> type(config).__name__, config.output_length(750)
        ('LTBMConfig', 188)
    """

    method: str = option("", help="key of a registered method")
    retention_ratio: float | None = option(
        None,
        above=0,
        at_most=1,
        help="fraction of an audio's tokens to keep, 0 < ratio <= 1. The default budget is 0.5",
    )
    tokens_per_second: float | None = option(None, above=0, help="tokens to keep per second of audio, > 0")
    max_tokens: int | None = option(None, at_least=1, help="maximum number of tokens to keep per audio, >= 1")
    positions: Positions = option(
        "contiguous",
        help="`contiguous` renumbers the shortened prompt; `original` keeps every token, audio and text, at the "
        "position id it had in the full prompt, so that time keeps its scale",
    )
    chunk_seconds: float | None = option(
        None,
        above=0,
        help="the method works within equal chunks of at most this length, each with its share of the budget; longer "
        "ones if there would be more chunks than tokens to keep (with `content`, than half of them). None for the "
        "whole audio at once",
    )
    allocation: Allocation = option(
        "even",
        help="how the budget is shared among the chunks. `even`: by their length. `content`: by how much their tokens "
        "differ from their neighbours, at least one each; chunks then last 0.4 s unless chunk_seconds is given. The "
        "total per audio is the same",
    )
    skip_padding: bool = option(
        True,
        help="the encoder stops at the end of a batch's longest audio, not of its window; the answers are the same "
        "within rounding. Off by default under `none`, which is bit for bit upstream",
    )
    encoder_stride: int = option(
        1, at_least=1, at_most=2, help="2: the encoder's layers process one position per token, not two. Lossy"
    )
    encoder_merge: float = option(
        0.0,
        at_least=0,
        at_most=0.9,
        help="share of the encoder's positions, at most 0.9, that are merged between layers. Lossy",
    )
    long_audio: LongAudio = option(
        "cut",
        help="what becomes of a recording longer than the window of a model that reads one (Qwen2-Audio: 30 s). `cut`: "
        "the rest is not read, as upstream. `windows`: all of it is read, in several windows that are one audio for "
        "the method, its budget and the positions",
    )
    padding_seconds: float | None = option(
        None,
        at_least=0,
        help="seconds of the padding behind a sound that are read besides the slots by a decoder that attends to the "
        "encoder (Whisper): it rests on padding, and ends its text by it. They are spread over all of the padding, and "
        "weigh as much as all of it; the budget does not count them. None for the model's own; others refuse it",
    )
    schema_version: int = option(SCHEMA_VERSION, at_least=0, help="version of the stored form", compare=False)
    hf_tokcomp_version: str = option(__version__, help="version of hf_tokcomp that wrote the config", compare=False)

    default_retention_ratio: ClassVar[float | None] = 0.5
    """Default budget; None for methods with a count of their own, or that take no budget."""
    accepts_budget: ClassVar[bool] = True
    instead_of_budget: ClassVar[tuple[str, ...]] = ()
    """Options that replace a budget; `replace` drops the one when given the other."""
    accepts_chunks: ClassVar[bool] = True
    """Whether the method keeps exactly the budget in any stretch of time, so that it can work in chunks."""

    def __new__(cls, *args: Any, **kwargs: Any) -> CompressionConfig:
        if cls is CompressionConfig and kwargs:
            cls = get_method(kwargs.get("method", "")).config_class
            _refuse_unknown_keys(cls, kwargs)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        cls = type(self)
        if cls is CompressionConfig:
            raise CompressionConfigError(
                f"Name a method: CompressionConfig(method=...) takes one of {', '.join(methods())}."
            )
        if self.method != cls.method:
            raise CompressionConfigError(
                f"{cls.__name__} is the config of {cls.method!r}, not {shown(self.method)}; "
                f"use CompressionConfig(method={shown(self.method)}, ...)."
            )
        version = self.hf_tokcomp_version
        # It appears in messages and on model cards, so it must not be arbitrary text.
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
                "Tokens that are not in temporal order require positions='contiguous' and no chunk_seconds; "
                "drop these options, or the order."
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
        """The default budget; a method with an option that replaces it overrides this."""
        return self.default_retention_ratio

    @property
    def deterministic_length(self) -> bool:
        """Whether the count depends only on the audio's length, so that a processor knows it in advance.

        A method whose count follows the content overrides this with False.
        """
        return True

    @property
    def temporal_order(self) -> bool:
        """Whether slots are in temporal order; a method with another order overrides this."""
        return True

    @property
    def encoder(self) -> EncoderOptions:
        """How the audio encoder runs."""
        return EncoderOptions(self.skip_padding, self.encoder_stride, self.encoder_merge)

    @property
    def is_upstream(self) -> bool:
        """Whether only the model's own code runs."""
        return self.method == "none" and self.encoder == EncoderOptions(skip_padding=False)

    @property
    def chunk_length(self) -> float | None:
        """Maximum length of a chunk in seconds; None if the method works on the whole audio at once."""
        by_default = CONTENT_CHUNK_SECONDS if self.allocation == "content" else None
        return by_default if self.chunk_seconds is None else self.chunk_seconds

    def budget_length(self, n: int, frame_rate: float | None = None) -> int | None:
        """The number of tokens the budget asks for; a method may keep fewer, see `output_length`.

        This is 0 for ``n = 0``, otherwise ``max(1, min(n, floor(n * retention_ratio + 0.5)))`` or the equivalent for
        another budget, and None without one. Arguments and errors are those of `output_length`.

        Example:
            >>> config = hf_tokcomp.CompressionConfig(method="segmentwise_top_k", retention_ratio=0.1)
            >>> config.budget_length(150), config.output_length(150)
            (15, 10)
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
        """The number of tokens left of an audio.

        Args:
            n: tokens of the whole audio, all windows together.
            frame_rate: the model's tokens per second (`ModelPatch.frame_rate`), needed by whatever counts by time.

        Raises:
            CompressionConfigError: the count depends on the content (``deterministic_length`` is False).
            ValueError: ``n`` is negative, or ``frame_rate`` is not positive, or missing where it is needed.

        Example:
            >>> hf_tokcomp.CompressionConfig(method="stride", tokens_per_second=10).output_length(750, 25.0)
            300
        """
        if not self.deterministic_length:
            raise CompressionConfigError(
                f"The count of {self.method!r} depends on the audio's content; read it from "
                "`model.audio_compressor.last.tokens_after` after a call."
            )
        count = self.budget_length(n, frame_rate)
        return n if count is None or count == n else self._reachable_count(n, count, frame_rate)

    def _reachable_count(self, n: int, count: int, frame_rate: float | None) -> int:
        """The count actually kept for a budget of ``count < n``; methods that cannot always reach it override this."""
        return count

    @classmethod
    def for_task(cls, task: str, *, retention_ratio: float | None = None, **changes: Any) -> CompressionConfig:
        """A config to start from for a task, by the evidence in `hf_tokcomp.config.presets`. Measure on your own data.

        - ``"captioning"``: `segmentwise_top_k` at 1/4. arXiv 2511.14293, Clotho v2, Audio Flamingo 3: CIDEr 0.50 with
          all tokens, 0.49 with a quarter.
        - ``"multiple_choice"``: `segmentwise_top_k` at 1/2. arXiv 2511.14293, MMAU test-mini, Audio Flamingo 3: 0.73
          with all tokens, 0.73 with half.
        - ``"asr"``: `average_pooling` at 1/2, with a budget that follows the content and original positions. arXiv
          2511.20973 (with LoRA training); our own, digits with the shipped model, without training: WER 1.7 % with all
          tokens, 3.7 % with half.

        Args:
            task: one of the above.
            retention_ratio: fraction of tokens kept, instead of the preset's.
            changes: other fields; another budget replaces the preset's.

        Raises:
            CompressionConfigError: no such task, or a bad value.

        Example:
            >>> hf_tokcomp.CompressionConfig.for_task("captioning").method
            'segmentwise_top_k'
        """
        options = options_for(task)
        if retention_ratio is not None:
            changes["retention_ratio"] = retention_ratio
        if any(changes.get(name) is not None for name in BUDGETS):
            options = {name: value for name, value in options.items() if name not in BUDGETS}
        return CompressionConfig.from_dict(options | changes)

    def replace(self, **changes: Any) -> CompressionConfig:
        """A copy with these fields changed. A new budget, or an option in its place, replaces the old one.

        Example:
            >>> half = hf_tokcomp.CompressionConfig(method="ltbm")
            >>> half.replace(max_tokens=100).output_length(750)
            100
        """
        for given, dropped in ((BUDGETS, (*BUDGETS, *self.instead_of_budget)), (self.instead_of_budget, BUDGETS)):
            if any(changes.get(name) is not None for name in given):
                changes = dict.fromkeys(dropped) | changes
        return type(self).from_dict(self.to_dict() | {"hf_tokcomp_version": __version__} | changes)

    def to_dict(self) -> dict[str, Any]:
        """A flat, sorted dict; budgets, chunks and what concerns encoder and reading are omitted at their defaults.

        Example:
            >>> values = hf_tokcomp.CompressionConfig(method="stride").to_dict()
            >>> values["method"], values["retention_ratio"]
            ('stride', 0.5)
        """
        values = dataclasses.asdict(self)
        default = type(self).__dataclass_fields__
        unset = {name for name in (*BUDGETS, *CHUNKS, *READING) if values[name] == default[name].default}
        return {k: values[k] for k in sorted(values) if k not in unset}

    def has_weights_of(self, other: CompressionConfig) -> bool:
        """Whether weights learned under one config fit the other: the method's own options are equal.

        Example:
            >>> trained = hf_tokcomp.CompressionConfig(method="conv_resampler", retention_ratio=0.5)
            >>> trained.has_weights_of(trained.replace(retention_ratio=0.1))
            True
        """
        free = {*BUDGETS, *CHUNKS, *READING, "positions", "schema_version", "hf_tokcomp_version"}
        one, two = ([(k, v) for k, v in c.to_dict().items() if k not in free] for c in (self, other))
        return one == two

    def to_json_string(self) -> str:
        """`to_dict` as indented JSON.

        Example:
            >>> import json
            >>> json.loads(hf_tokcomp.CompressionConfig(method="stride").to_json_string())["method"]
            'stride'
        """
        return json.dumps(self.to_dict(), indent=2, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CompressionConfig:
        """Create the config of the method ``values["method"]``.

        Raises:
            CompressionConfigError: unknown method, unknown key (the closest valid one is named), or invalid value. In a
                dict with a newer schema version, an unknown key is a warning that says to upgrade.

        Example:
            >>> hf_tokcomp.CompressionConfig.from_dict({"method": "ltbm", "window": 4}).window
            4
        """
        if not isinstance(values, Mapping):
            raise CompressionConfigError(f"A compression config must be a dict, not {type(values).__name__}.")
        check_size(values)
        values = our_own(values)
        if "method" not in values:
            raise CompressionConfigError(f"A compression config must have a 'method', one of {', '.join(methods())}.")
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
