"""ModelPatch: what hf_tokcomp must know of an upstream model. One subclass per model, in `patches/`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from ..config.config import FRAME_RATE
from ..config.encoder_options import EncoderOptions
from ..errors import CompressionConfigError, UnsupportedModelError
from ..ops.audio_tokens import FirstLayer
from .question import ChatTokens, question_columns


@dataclass(eq=False)
class EncodedWindows:
    """The encoder's output for a batch of windows; what was not asked for is None.

    The fields beside the features are named as in `AudioTokens`, which explains them.

    Args:
        features: ``(windows, tokens, dim)``.
        attention: ``(windows, tokens)`` float32, attention received in the last layer, averaged over heads.
        attention_max: the same, the largest of the heads' sums.
        attention_peak: ``(windows, tokens)`` float32, the largest head of each query and key, summed over queries.
        attention_self: ``(windows, tokens)`` float32, the attention a token pays to itself, averaged over heads.
        keys: ``(windows, tokens, head_dim)`` float32, the last layer's keys averaged over heads.
    """

    features: Tensor
    attention: Tensor | None = None
    attention_max: Tensor | None = None
    attention_peak: Tensor | None = None
    attention_self: Tensor | None = None
    keys: Tensor | None = None


class Parts(NamedTuple):
    """Modules between whose calls the phases of a model's call lie, for who measures it.

    Args:
        encoder_begin: the first that the audio encoder calls.
        encoder_end: the last that it calls.
        last_attention: the encoder's last self-attention; under eager attention it returns its weights as well.
        projector: from encoder space to the language model's.
        head: from the language model's last states to logits.
    """

    encoder_begin: nn.Module
    encoder_end: nn.Module
    last_attention: nn.Module
    projector: nn.Module
    head: nn.Module


class ModelPatch(ABC):
    """Knowledge of one upstream model: where features come out, what the mask is called, the length arithmetic."""

    model_type: ClassVar[str]
    """``config.model_type``."""
    model_classes: ClassVar[tuple[str, ...]]
    """Names of the classes with a head that can be patched."""
    auto_classes: ClassVar[tuple[str, ...]] = ()
    """Names of the Auto classes that resolve to one of these, sorted; () to have transformers asked, which takes a
    second."""
    processor_class: ClassVar[str]
    feature_mask: ClassVar[str]
    """Name of the keyword with the mask of the mel frames, ``(windows, frames)``."""
    audio_spans_windows: ClassVar[bool]
    """True: one audio per prompt, of several windows; False: several audios per prompt, of one window each."""
    frame_rate: ClassVar[float] = FRAME_RATE
    """Audio tokens per second."""
    loss_counts_items: ClassVar[bool] = True
    """Whether the model's loss heeds ``num_items_in_batch``, see `hf_tokcomp.generation.loss`."""
    lora_targets: ClassVar[Mapping[str, str]]
    """Regular expressions for the linear layers of ``language_model``, ``projector`` and ``audio_tower``."""
    relies_on: ClassVar[Mapping[str, tuple[str, ...]]]
    """Parameters by method of the model class, checked against a transformers newer than the newest tried."""
    prompt: ClassVar[str]
    """Prompt for the command line where the processor has no chat template; ``{text}`` is the instruction."""

    @abstractmethod
    def window_tokens(self, frames: int) -> int:
        """Audio tokens of a window with so many valid mel frames."""

    @abstractmethod
    def window_frames(self, model: Any) -> int:
        """Mel frames of a full window."""

    @abstractmethod
    def feature_dim(self, model: Any) -> int:
        """Width of the encoder's features, which a compressor that learns must know."""

    @abstractmethod
    def encode(
        self,
        model: Any,
        features: Tensor,
        mask: Tensor,
        needs: frozenset[str],
        options: EncoderOptions,
        frames: list[int],
    ) -> EncodedWindows:
        """Run the audio encoder, up to but without the projector.

        Args:
            model: the model.
            features: ``(windows, mel bins, frames)``.
            mask: ``(windows, frames)``.
            needs: what is wanted beside the features.
            options: how the encoder is run. Under ``skip_padding`` the padding beyond the longest window's sound need
                not be computed, and the result may be as much shorter. No option changes a window's tokens in number.
            frames: valid frames of each window, as the mask has them.
        """

    def check_encoder(self, model: Any, options: EncoderOptions) -> None:
        """Raise unless the encoder can be run like that; a patch whose `encode` heeds all options overrides this.

        Raises:
            CompressionConfigError: it cannot.
        """
        if options.reduces:
            raise CompressionConfigError(
                f"The patch for {self.model_type!r} offers neither encoder_stride nor encoder_merge; leave them out."
            )

    @abstractmethod
    def project(self, model: Any, features: Tensor) -> Tensor:
        """``(audios, slots, dim)`` in encoder space to ``(audios, slots, hidden)`` in the language model's."""

    @abstractmethod
    def first_layer(self, model: Any) -> FirstLayer:
        """The language model's first layer.

        Raises:
            CompressorOutputError: its weights cannot be read where they are.
        """

    def backbone(self, model: Any) -> nn.Module | None:
        """The model without its head, which trainers with a loss of their own call; None where there is none."""
        backbone: nn.Module = model.base_model
        return None if backbone is model else backbone

    def parts(self, model: Any) -> Parts:
        """Where the phases of a call begin and end.

        Raises:
            UnsupportedModelError: the patch does not say, so the model's calls cannot be taken apart.
        """
        raise UnsupportedModelError(f"{type(self).__name__} does not say where phases begin: override `parts`.")

    def chat_tokens(self, model: Any) -> ChatTokens | None:
        """How the model's vocabulary marks turns; None where that is not known."""
        return None

    def question(self, model: Any, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        """``(batch, prompt)`` bool: the columns that hold the user's question, see `question_columns`."""
        dropped: set[Any] = {self.audio_token_id(model)}
        for config in (model.config, model.config.get_text_config(), getattr(model, "generation_config", None)):
            for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
                value = getattr(config, name, None)
                dropped |= set(value) if isinstance(value, list | tuple) else {value}
        ids = sorted(token for token in dropped if isinstance(token, int))
        return question_columns(input_ids, attention_mask, self.chat_tokens(model), ids)

    def longest_audio(self, processor: Any) -> float:
        """Seconds of an audio that the model reads; its processor cuts off the rest."""
        return float(processor.max_audio_len if self.audio_spans_windows else processor.feature_extractor.chunk_length)

    def audio_token_id(self, model: Any) -> int:
        """The id of the audio placeholder."""
        return int(model.config.audio_token_id)
