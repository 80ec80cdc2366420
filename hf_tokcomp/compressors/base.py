"""AudioTokenCompressor: the module between the audio encoder and the language model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from ..config.checks import needed_by
from ..config.config import CompressionConfig
from ..config.registry import Method, add_method, get_method
from ..errors import CompressorOutputError
from ..ops.assignment import Assignment
from ..ops.audio_tokens import AudioTokens
from ..ops.chunks import assign_in_chunks
from ..ops.device import on_device
from ..ops.ranking import keep_best
from ..ops.record import CompressedAudio, CompressionRecord, RecordsOfThreads

ConfigType = TypeVar("ConfigType", bound=CompressionConfig)


class AudioTokenCompressor(nn.Module, Generic[ConfigType]):
    """Base class of all methods: ``assign`` says which token goes to which slot, and this class does the rest.

    A method that maps tokens to slots overrides `assign_slots`; any other overrides `forward`. A method that
    learns derives from `hf_tokcomp.compressors.learned.LearnedCompressor`. Shapes: features ``(audios, tokens, dim)``,
    attention ``(audios, tokens)``.

    Example:
        >>> model = hf_tokcomp.patch(model, "ltbm")
        >>> model.audio_compressor
        LTBM(method='ltbm', positions='contiguous', retention_ratio=0.5, similarity='features', window=8)
    """

    family: ClassVar[str] = "-"
    """The method's family: ``pooling``, ``sampling``, ``pruning``, ``merging``, ``hybrid`` or ``learned``."""
    source: ClassVar[str] = ""
    """The paper the method comes from, with its arXiv number."""
    requires: frozenset[str] = frozenset()
    """The inputs the method needs besides the features: any of `hf_tokcomp.ops.audio_tokens.NEEDS`. Inputs needed by an
    option come from its ``needs``; set those that depend on several options in ``__init__``."""
    preserves_mass: bool = True
    """Whether the weights of every merged slot sum to one. If that depends on the options, set it in
    ``__init__``."""
    learns: ClassVar[bool] = False
    """Whether the method has weights. Its ``__init__`` then takes the config and the width of the features."""

    def __init__(self, config: ConfigType) -> None:
        super().__init__()
        self.config = config
        self.requires = self.requires | needed_by(config)
        self.records = RecordsOfThreads()

    @property
    def last(self) -> CompressionRecord | None:
        """The record of this thread's last call of the model, see `CompressionRecord`; None before the first call.

        A thread that made a call reads its own record, even if another thread made a later call. A thread that made
        none reads the latest record.

        Raises:
            RuntimeError: this thread made no call, and several others did, each with its own record.
        """
        return self.records.get()

    @last.setter
    def last(self, record: CompressionRecord | None) -> None:
        self.records.put(record)

    @staticmethod
    def from_config(config: CompressionConfig, dim: int | None = None) -> AudioTokenCompressor[Any]:
        """Create the compressor of the config's method.

        Args:
            config: the config.
            dim: width of the features, for a method that learns; `patch` takes it from the model.

        Raises:
            ValueError: the method learns, and ``dim`` is missing.

        Example:
            >>> config = hf_tokcomp.CompressionConfig(method="ltbm", max_tokens=20)
            >>> compressor = hf_tokcomp.AudioTokenCompressor.from_config(config)
            >>> compressor(hf_tokcomp.AudioTokens(torch.randn(1, 100, 64), lengths=[100])).features.shape
            torch.Size([1, 20, 64])
        """
        compressor_class: Any = get_method(config.method).compressor_class
        if not compressor_class.learns:
            return compressor_class(config)  # type: ignore[no-any-return]
        if dim is None:
            raise ValueError(f"{config.method!r} has weights as wide as the features; pass their width as dim=...")
        return compressor_class(config, dim)  # type: ignore[no-any-return]

    def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
        """The method itself, called only for audios that get shorter.

        Args:
            tokens: audios of at least two tokens each.
            counts: slots wanted for each audio, ``1 <= count < tokens.counts``; 0 if the count depends on the content.
        """
        raise NotImplementedError(f"{type(self).__name__} must override `assign_slots` or `forward`.")

    def wanted_counts(self, tokens: AudioTokens) -> list[int]:
        """The slots wanted for each audio; 0 if the count depends on the content."""
        config = self.config
        if not config.deterministic_length:
            return [n if n <= 1 else 0 for n in tokens.counts]
        return tokens.slots_for(config, lambda: list(map(config.output_length, tokens.counts, tokens.frame_rates)))

    def forward(self, tokens: AudioTokens) -> CompressedAudio:
        """Compress a batch of audios; gradients flow to the features.

        Raises:
            CompressorOutputError: the method did not keep the number of tokens that its config gives.
        """
        # The assignment is piecewise constant, so gradients flow through `apply` only; scores need full precision.
        with torch.no_grad(), torch.autocast(tokens.features.device.type, enabled=False):
            assignment = self.assign(tokens)
        known = self.config.deterministic_length
        counts = self.wanted_counts(tokens) if known else assignment.lengths.tolist()
        return CompressedAudio(assignment.apply(tokens.features), counts, assignment.position, assignment)

    def assign(self, tokens: AudioTokens) -> Assignment:
        """Which token goes to which slot: by the method, or the identity for audios that do not get shorter.

        A method therefore never gets N <= 1 or K >= N.
        """
        wanted = self.wanted_counts(tokens)
        seconds = self.config.chunk_length
        if seconds is None:
            return self._assign_each(tokens, wanted)
        return assign_in_chunks(tokens, wanted, seconds, self.config.allocation == "content", self._assign_each)

    def _assign_each(self, tokens: AudioTokens, wanted: list[int]) -> Assignment:
        rows = [i for i, (n, k) in enumerate(zip(tokens.counts, wanted, strict=True)) if k != n]
        if rows and len(rows) == len(wanted):
            return self._checked(self.assign_slots(tokens, wanted), wanted)
        whole = [n if n == k else 0 for n, k in zip(tokens.counts, wanted, strict=True)]
        lengths = on_device(whole, tokens.features.device)
        identity = Assignment.identity(lengths, tokens.features.shape[1], max(whole, default=0))
        if not rows:
            return identity
        counts = [wanted[row] for row in rows]
        part = self._checked(self.assign_slots(tokens.select(rows), counts), counts)
        return part.scatter_rows(rows, identity)

    def _checked(self, assignment: Assignment, wanted: list[int]) -> Assignment:
        """Raise if the counts differ from the config's; off the CPU only by shape, to avoid synchronising."""
        if not self.config.deterministic_length:
            return assignment
        made = [assignment.width]
        if assignment.slot.device.type == "cpu":
            made = (assignment.slot.amax(1) + 1).tolist()
        if max(made) != max(wanted) or (len(made) == len(wanted) and made != wanted):
            raise CompressorOutputError(
                f"{type(self).__name__} made {made} slots, but its config announces {wanted}; "
                f"`assign_slots` and `{type(self.config).__name__}.output_length` must agree."
            )
        return assignment

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v!r}" for k, v in self.config.to_dict().items() if "version" not in k)


class ScoringCompressor(AudioTokenCompressor[ConfigType]):
    """Base class of methods that rank tokens: those with the best scores are kept, and the others dropped.

    A method overrides `score`. Slots are in temporal order, or best first if the config's ``temporal_order`` is False.

    Example:
        >>> class Loudest(hf_tokcomp.ScoringCompressor):
        ...     def score(self, tokens):
        ...         return tokens.features.float().norm(dim=-1)
    """

    family = "pruning"

    def score(self, tokens: AudioTokens) -> Tensor:
        """Scores ``(audios, tokens)``, larger is better. Ties go to the earlier token; NaN comes last.

        Args:
            tokens: audios of at least two tokens each; values for padding are ignored.
        """
        raise NotImplementedError(f"{type(self).__name__} must override `score`.")

    def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
        return keep_best(self.score(tokens), tokens, counts, in_time=self.config.temporal_order)


CompressorType = TypeVar("CompressorType", bound=type[AudioTokenCompressor[Any]])


def register_compressor(config_class: type[CompressionConfig]) -> Callable[[CompressorType], CompressorType]:
    """Register a compressor under the ``method`` of its config class.

    Args:
        config_class: a dataclass derived from `CompressionConfig` whose field ``method`` has the key as its default.

    Raises:
        TypeError: the classes do not derive from `CompressionConfig` and `AudioTokenCompressor`.
        ValueError: the key is empty or taken.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True, kw_only=True)
        ... class LoudestConfig(hf_tokcomp.CompressionConfig):
        ...     method: str = "loudest"
        >>> @hf_tokcomp.register_compressor(LoudestConfig)
        ... class Loudest(hf_tokcomp.ScoringCompressor):
        ...     def score(self, tokens):
        ...         return tokens.features.float().norm(dim=-1)
        >>> model = hf_tokcomp.patch(model, {"method": "loudest", "retention_ratio": 0.25})
    """

    def register(compressor_class: CompressorType) -> CompressorType:
        if not (isinstance(config_class, type) and issubclass(config_class, CompressionConfig)):
            raise TypeError(f"{config_class!r} must derive from CompressionConfig to be registered.")
        if not (isinstance(compressor_class, type) and issubclass(compressor_class, AudioTokenCompressor)):
            raise TypeError(f"{compressor_class!r} must derive from AudioTokenCompressor to be registered.")
        name = config_class.method
        if not isinstance(name, str) or not name:
            raise ValueError(f"Give {config_class.__name__} a field `method: str` whose default is the method's key.")
        add_method(Method(name, config_class, compressor_class))
        return compressor_class

    return register
