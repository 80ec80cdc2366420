"""ModelPatch: what hf_tokcomp must know about an upstream model. Each model has a subclass in `patches/`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from torch import Tensor, nn

from ..config.config import CompressionConfig
from ..config.encoder_options import EncoderOptions
from ..errors import CompressionConfigError, UnsupportedModelError
from ..ops.audio_tokens import NEEDS, FirstLayer
from .dense import dense_weight
from .question import ChatTokens, question_columns
from .windows import AudioInputs, Windows, masked_audio


@dataclass(eq=False)
class EncodedWindows:
    """The encoder's output for a batch of windows; fields that were not requested are None.

    The fields besides the features are named as in `AudioTokens`, which explains them.

    Args:
        features: ``(windows, tokens, dim)``.
        attention: ``(windows, tokens)`` float32, attention received in the last layer, averaged over heads.
        attention_max: the same, but the largest of the heads' sums.
        attention_peak: ``(windows, tokens)`` float32, the maximum over heads for each query and key, summed over
            queries.
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
    """The modules that mark the boundaries between the phases of a model's call, for measurements.

    Args:
        encoder_begin: the first module that the audio encoder calls.
        encoder_end: the last module that it calls.
        last_attention: the encoder's last self-attention; with eager attention it also returns its weights.
        projector: maps encoder space to the language model's.
        head: maps the language model's last hidden states to logits.
    """

    encoder_begin: nn.Module
    encoder_end: nn.Module
    last_attention: nn.Module
    projector: nn.Module
    head: nn.Module


GENERATION: Mapping[str, tuple[str, ...]] = {
    "prepare_inputs_for_generation": (
        "input_ids",
        "next_sequence_length",
        "cache",
        "attention_mask",
        "inputs_embeds",
        "is_first_iteration",
    ),
    "generate": ("inputs", "generation_config", "logits_processor", "stopping_criteria", "streamer"),
}
"""The parameters that decoding relies on in every model."""


def relying_on(*audio: str) -> dict[str, tuple[str, ...]]:
    """`ModelPatch.relies_on` for a model with the usual `forward` and these audio keywords."""
    usual = ("input_ids", "attention_mask", "position_ids", "cache", "inputs_embeds", "labels")
    return {**GENERATION, "forward": (*usual, *audio)}


LANGUAGE_MODEL = r".*\.language_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
"""Regular expression for the linear layers of most language models, for `ModelPatch.lora_targets`."""


class Shortened(Protocol):
    """The part of a shortened prompt that a patch sees, see `hf_tokcomp.prompt.shorten.ShortPrompt`."""

    @property
    def input_ids(self) -> Tensor:
        """``(batch, short)``."""

    @property
    def attention_mask(self) -> Tensor:
        """``(batch, short)`` long."""

    @property
    def position_ids(self) -> Tensor:
        """``(batch, short)`` long."""

    @property
    def is_audio(self) -> Tensor:
        """``(batch, short)`` bool, True for columns that hold compressed audio."""

    def take(self, values: Tensor, fill: float) -> Tensor:
        """Select from values per column ``(batch, prompt, ...)`` those of the kept columns; padding gets ``fill``."""


class ModelPatch(ABC):
    """Knowledge about one upstream model: its audio inputs, where its features come out, and its length arithmetic.

    Most members have a default that fits the usual architecture: an encoder, a ``model.model`` that contains a
    ``language_model``, and ids with one placeholder per audio token.
    """

    model_type: ClassVar[str]
    """``config.model_type``."""
    model_classes: ClassVar[tuple[str, ...]]
    """Names of the model classes with a head that can be patched."""
    auto_classes: ClassVar[tuple[str, ...]] = ()
    """Names of the Auto classes that resolve to one of these, sorted; if empty, transformers is asked, which takes a
    second."""
    since: ClassVar[str | None] = None
    """The first transformers version the patch works with, if newer than the oldest supported one."""
    processor_class: ClassVar[str]
    processor_calls: ClassVar[tuple[str, ...]] = ()
    """Methods of the processor that return a whole prompt, if it writes placeholders as ids rather than as text."""
    extractor: ClassVar[str] = "feature_extractor"
    """Name of the processor's attribute that extracts the features."""
    features: ClassVar[str] = "input_features"
    """Name of the keyword with the audio features."""
    feature_mask: ClassVar[str | None] = None
    """Name of the keyword with the frame mask, ``(windows, frames)``; None for a model that takes none."""
    beside_features: ClassVar[tuple[str, ...]] = ()
    """Names of other keywords that accompany the features and are removed with them."""
    audio_spans_windows: ClassVar[bool]
    """Whether an audio may be split into several windows, all full except the last."""
    long_audio: ClassVar[Literal["itself", "windows", "cut"]] = "cut"
    """How a recording longer than a window can be read. ``itself``: by upstream's own code, in windows or without.
    ``windows``: upstream cuts off the rest; with ``long_audio="windows"``, several windows, each encoded as an audio
    of its own is, are one audio. ``cut``: it cannot."""
    reads_prompts: ClassVar[bool] = True
    """Whether audio stands in a prompt, as placeholders. The patch of a model whose decoder attends to the encoder
    instead derives from `hf_tokcomp.models.cross_attending.CrossAttendingPatch`."""
    pipeline_tag: ClassVar[str] = "audio-text-to-text"
    """The Hub's name for what the model does, on model cards and for the results on them."""
    padding_seconds: ClassVar[float | None] = None
    """Seconds of silence behind the sound that are read besides the compressed tokens, unless the config says
    otherwise; None for a model that needs none, which refuses the option."""
    several_audios: ClassVar[bool] = True
    """Whether a prompt may hold several audios. If they span windows, marks in the prompt must separate their
    placeholders."""
    cuts_longer: ClassVar[bool] = True
    """Whether the processor cuts off what is longer than `longest_audio`; otherwise the model reads that, too."""
    frame_rate: ClassVar[float]
    """Audio tokens per second."""
    supplies: ClassVar[frozenset[str]] = NEEDS
    """The inputs besides the features that `encode` and the language model can give a method."""
    unsupplied: ClassVar[str] = "the model does not have it where it could be read"
    """Why some inputs are missing from ``supplies``."""
    refuses: ClassVar[tuple[str, ...]] = ("pixel_values", "pixel_values_videos")
    """Names of keywords that cannot be combined with compressed audio: images and videos, whose positions are 3-D."""
    loss_counts_items: ClassVar[bool] = True
    """Whether the model's loss respects ``num_items_in_batch``, see `hf_tokcomp.generation.loss`."""
    lora_targets: ClassVar[Mapping[str, str]]
    """Regular expressions for the linear layers of ``language_model``, ``projector`` and ``audio_tower``."""
    relies_on: ClassVar[Mapping[str, tuple[str, ...]]] = GENERATION
    """Required parameters of the model class by method, checked if transformers is newer than the newest tested."""
    chat: ClassVar[ChatTokens | None] = None
    """How the vocabulary the model was trained with marks turns, if known."""
    prompt: ClassVar[str]
    """Prompt for the command line if the processor has no chat template; ``{text}`` is the instruction."""
    system: ClassVar[str | None] = None
    """System prompt for the processor's chat template, if the model was trained to speak with a certain one."""
    speech_rate: ClassVar[int | None] = None
    """Samples per second of the speech that a composite's `generate` returns; None for a model that only writes."""

    turns_are_text: ClassVar[bool] = False
    """Whether the chat template is the tokenizer's, with turns of text that contains the placeholders, rather than the
    processor's, with turns of audios and texts."""
    text_options: ClassVar[str] = "max_new_tokens={count}"
    """Arguments of `generate`, as code, for an answer of at most ``{count}`` tokens of text and nothing else."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Distributions that the processor needs besides those of a plain install."""

    @cached_property
    def audio_keywords(self) -> frozenset[str]:
        """All audio keywords, which are not passed to the language model."""
        return frozenset({self.features, *self.beside_features, *([self.feature_mask] if self.feature_mask else [])})

    def audio_inputs(self, call: Mapping[str, Any]) -> AudioInputs:
        """The audio inputs of a call or of a processor's output. Nothing is read from the device.

        Raises:
            ValueError: a required keyword is missing.
        """
        return masked_audio(call, self.features, self.feature_mask, self.audio_spans_windows)

    def check_call(self, model: Any, call: Mapping[str, Any]) -> None:
        """Raise if a call cannot be compressed correctly.

        Raises:
            ValueError: it cannot; the message says why.
        """
        for name in self.refuses:
            if call.get(name) is not None:
                raise ValueError(
                    f"Under compression a prompt cannot have `{name}` beside its audio: shortening would lose the "
                    "positions in height and width. Leave out images and videos, or use compression 'none'."
                )

    def extra_inputs(self, model: Any, call: Mapping[str, Any], prompt: Shortened) -> dict[str, Any]:
        """Keywords for the call on a short prompt, besides those that every model gets.

        Tensors with the prompt's shape ``(batch, prompt, ...)`` are already shortened and padded with 0, and all other
        values are passed on unchanged; return only keywords that must differ or be added.

        Args:
            model: the model.
            call: the keywords of the call.
            prompt: its short prompt.
        """
        return {}

    def generating(self, model: Any, prompt: Shortened | None) -> AbstractContextManager[Any]:
        """A context manager around upstream's `generate` on a prompt whose audio was compressed.

        Args:
            model: the model whose `generate` runs; may be a composite.
            prompt: the short prompt; None when generation continues on a cache that holds it.
        """
        return nullcontext()

    def inner(self, model: Any) -> Any:
        """The part of a composite that reads audio and has the language model's head; for any other model, the model.

        A composite is a model without a `forward` whose `generate` calls that of its parts; patched, its `forward` is
        that of this part. All other members but those of speech get the part as their ``model``; called with the part,
        this method must return it.
        """
        return model

    def composite_call(self, model: Any, call: dict[str, Any]) -> dict[str, Any]:
        """Convert the keywords of a part's `generate` on a short prompt to those of the composite's.

        Anything the composite passes to its part under one of the `audio_keywords` is dropped there, so a stand-in may
        be passed for a composite that checks whether there is audio.
        """
        return call

    def speaks(self, config: Any) -> bool:
        """Whether the model with this config speaks its answers; a checkpoint may have its voice switched off."""
        return self.speech_rate is not None and bool(getattr(config, "enable_audio_output", True))

    def speakers(self, model: Any) -> list[str]:
        """The names of a speaking composite's voices; empty if they are not known."""
        return []

    def speak(
        self, model: Any, inputs: Mapping[str, Any], writing: Mapping[str, Any], speaking: Mapping[str, Any]
    ) -> tuple[Tensor, list[Tensor]]:
        """Generate the text that the composite's part would write alone, and the speech of it.

        The default is for a composite that passes keywords on to its part by the prefix ``thinker_``.

        Args:
            model: the composite.
            inputs: the processor's output.
            writing: keywords of the part's `generate`.
            speaking: keywords of the composite's own: ``talker_min_new_tokens`` and, only if they are set, ``speaker``
                and ``talker_max_new_tokens``.

        Returns:
            The ids ``(batch, prompt + answer)`` as the part's `generate` returns them, and ``(samples,)`` for each row.
        """
        # A composite may have an end of its own for the text, where the part has that of its generation config.
        ends = {"eos_token_id": self.inner(model).generation_config.eos_token_id}
        prefixed = {f"thinker_{name}": value for name, value in (ends | dict(writing)).items()}
        ids, sound = model.generate(**inputs, **prefixed, **speaking, generation_mode="audio")
        return ids, [wave.flatten() for wave in (sound if isinstance(sound, list) else [sound])]

    def save_beside(self, model: Any, folder: Path) -> None:
        """Write to a saved model's folder what `from_pretrained` needs but upstream's `save_pretrained` omits."""
        return

    @abstractmethod
    def window_tokens(self, frames: int) -> int:
        """Number of audio tokens of a window with this many valid mel frames."""

    @abstractmethod
    def feature_dim(self, model: Any) -> int:
        """Width of the encoder's features, which a learned compressor must know."""

    @abstractmethod
    def encode(self, model: Any, windows: Windows, needs: frozenset[str], options: EncoderOptions) -> EncodedWindows:
        """Run the audio encoder, up to but without the projector.

        Args:
            model: the model.
            windows: the windows of all audios in order.
            needs: the outputs requested besides the features.
            options: how to run the encoder. With ``skip_padding``, the padding beyond the sound of the longest window
                need not be computed, and the output may be shorter by that much. No option changes the number of a
                window's tokens.
        """

    def around(self, audio_tower: nn.Module, projector: nn.Module) -> Any:
        """What `encode`, `project`, `feature_dim` and the checks take as ``model`` where there are only its parts.

        Args:
            audio_tower: upstream's audio encoder.
            projector: maps encoder space to the language model's.

        Raises:
            UnsupportedModelError: this model's audio needs more than these two.
        """
        raise UnsupportedModelError(
            f"The audio of {self.model_type!r} cannot be compressed outside the model: its features come from more "
            "than an audio tower and a projector. Patch the whole model and use hf_tokcomp.embed_audio."
        )

    def check_encoder(self, model: Any, options: EncoderOptions) -> None:
        """Raise unless the encoder can be run with these options; a patch whose `encode` supports all overrides this.

        Raises:
            CompressionConfigError: it cannot.
        """
        if options.reduces:
            raise CompressionConfigError(
                f"The patch for {self.model_type!r} offers neither encoder_stride nor encoder_merge; leave them out."
            )

    def check_long_audio(self, long_audio: str) -> None:
        """Raise unless long audio can be read this way, see `CompressionConfig.long_audio`.

        Raises:
            CompressionConfigError: it cannot.
        """
        if long_audio == "windows" and self.long_audio != "windows":
            why = "reads long audio itself" if self.long_audio == "itself" else "cannot read long audio in windows"
            raise CompressionConfigError(f"{self.model_type!r} {why}; leave out long_audio={long_audio!r}.")

    def check_config(self, config: CompressionConfig) -> None:
        """Raise unless audio can be read as a config says, for a model or its processor.

        Raises:
            CompressionConfigError: it cannot.
        """
        self.check_long_audio(config.long_audio)
        if config.padding_seconds is not None and self.padding_seconds is None:
            raise CompressionConfigError(
                f"{self.model_type!r} reads no padding behind the sound; leave out padding_seconds="
                f"{config.padding_seconds:g}."
            )

    @abstractmethod
    def project(self, model: Any, features: Tensor) -> Tensor:
        """Map ``(audios, slots, dim)`` in encoder space to ``(audios, slots, hidden)`` in the language model's."""

    def language_model(self, model: Any) -> Any:
        """The language model without its head."""
        language_model = model.model.language_model
        return getattr(language_model, "model", language_model)

    def first_layer(self, model: Any) -> FirstLayer:
        """The language model's first layer.

        Raises:
            CompressorOutputError: its weights cannot be read.
        """
        language_model = self.language_model(model)
        attention, config = language_model.layers[0].self_attn, language_model.config
        return FirstLayer(
            query=dense_weight(attention.q_proj),
            key=dense_weight(attention.k_proj),
            heads=config.num_attention_heads,
            key_heads=config.num_key_value_heads,
        )

    def backbone(self, model: Any) -> nn.Module | None:
        """The model without its head, which trainers with their own loss call; None if there is none."""
        backbone: nn.Module = model.base_model
        return None if backbone is model else backbone

    def parts(self, model: Any) -> Parts:
        """The modules at which the phases of a call begin and end.

        Raises:
            UnsupportedModelError: the patch does not define them, so calls cannot be split into phases.
        """
        raise UnsupportedModelError(f"{type(self).__name__} does not say where phases begin: override `parts`.")

    def chat_tokens(self, model: Any) -> ChatTokens | None:
        """How the model's vocabulary marks turns; None if unknown."""
        # A checkpoint with its own vocabulary may say in its config.json how it marks turns.
        own = getattr(model.config, "chat_tokens", None)
        if own is not None:
            return ChatTokens(own["start"], own["user"], own["end"], range(*own["special"]))
        known = self.chat
        return known if known is not None and model.get_input_embeddings().num_embeddings > known.end else None

    def question(self, model: Any, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        """``(batch, prompt)`` bool, True for columns that hold the user's question, see `question_columns`."""
        dropped: set[Any] = {self.audio_token_id(model)}
        for config in (model.config, model.config.get_text_config(), getattr(model, "generation_config", None)):
            for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
                value = getattr(config, name, None)
                dropped |= set(value) if isinstance(value, list | tuple) else {value}
        ids = sorted(token for token in dropped if isinstance(token, int))
        return question_columns(input_ids, attention_mask, self.chat_tokens(model), ids)

    def sampling_rate(self, processor: Any) -> int:
        """The sampling rate the processor expects, in samples per second."""
        return int(getattr(processor, self.extractor).sampling_rate)

    def mel_frames(self, processor: Any, samples: int) -> int:
        """Number of mel frames of this many samples, as `window_tokens` counts them."""
        extractor = getattr(processor, self.extractor)
        return samples // int(getattr(extractor, "hop_length", extractor.sampling_rate // 100))

    def log_mel(self, features: Tensor) -> Tensor:
        """The features as a spectrogram ``(windows, mel bins, frames)``, for pictures."""
        return features

    def longest_audio(self, processor: Any) -> float:
        """The longest audio the model is made for, in seconds; see `cuts_longer`."""
        window = float(getattr(processor, self.extractor).chunk_length)
        return processor.max_audio_len // window * window if self.audio_spans_windows else window

    def process(
        self, processor: Any, prompts: Sequence[str], samples: Sequence[Any], rate: int, padding_side: str = "left"
    ) -> Any:
        """Run the processor on whole prompts and their recordings.

        Args:
            processor: the model's processor.
            prompts: whole prompts, with the processor's ``audio_token`` once per recording.
            samples: mono recordings ``(samples,)`` of all prompts in order.
            rate: samples per second.
            padding_side: left for generation, right for training.
        """
        return processor(
            text=list(prompts),
            audio=list(samples),
            sampling_rate=rate,
            return_tensors="pt",
            # For the text only: at the top level it would also cut Audio Flamingo 3's windows to less than a whole one,
            # which its encoder rejects.
            text_kwargs={"padding": True, "padding_side": padding_side},
        )

    def windows_of(self, call: Mapping[str, Any]) -> Windows:
        """The windows of a call with a single audio, or with one audio per window."""
        audio = self.audio_inputs(call)
        frames = [int(n) for n in audio.frames.tolist()]
        numbers = list(range(len(frames))) if self.audio_spans_windows else [0] * len(frames)
        return Windows(audio.features, frames, audio.mask, numbers)

    def audio_token_id(self, model: Any) -> int:
        """The id of the audio placeholder."""
        return int(model.config.audio_token_id)
