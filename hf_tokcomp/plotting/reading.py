"""plot: read an audio with a model under each compression, and draw a panel for each of them."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..audio.loading import load_audio
from ..config.config import BUDGETS, CompressionConfig
from ..config.encoder_options import EncoderOptions
from ..config.notation import Compression, resolve_compression
from ..generation.replaced import compress_call
from ..inference.asking import Prepared, ask, prepare, untrained
from ..inference.prompts import Prompts, whole_prompt
from ..models.base import ModelPatch
from ..models.instance import active_config, patch_for_model, patch_of, unwrap
from ..patching.long_audio import processor_for
from ..patching.patch import compressed, unpatch
from .data import Panel, Spectrogram
from .figure import plot_compression

logger = logging.getLogger(__name__)


def plot(
    model: Any,
    processor: Any,
    audio: Any,
    compressions: Sequence[Compression],
    *,
    prompt: str = "Please describe the audio in detail.",
    text: bool = True,
    attention: bool | None = None,
    max_new_tokens: int | None = None,
    title: str | None = None,
    subtitle: str | None = None,
    width: float = 10.0,
    dpi: float = 150.0,
) -> Figure:
    """Read an audio under each compression and draw what each of them did.

    Args:
        model: a supported model, patched or not; its state is restored afterwards.
        processor: its processor.
        audio: anything that `hf_tokcomp.audio.load_audio` takes.
        compressions: method keys, dicts, configs, folders or Hub ids; ``"none"`` for all tokens.
        prompt: the question, or the whole prompt if it contains the audio placeholder.
        text: whether the model answers. Otherwise only the audio encoder runs.
        attention: draw the attention that the tokens receive as a curve: for every method, for none, or (None) for
            those that use it.
        max_new_tokens: maximum length of the answer; None for that of the model's generation config, or 128.
        title: at the top of the plot.
        subtitle: below the title; None for the prompt.
        width: in inches.
        dpi: pixels per inch.

    Returns:
        A matplotlib figure; `hf_tokcomp.plotting.save` or its own ``savefig`` writes it.

    Raises:
        CompressionConfigError: a compression is unknown or contradictory.
        ValueError: the audio has fewer than two tokens, or no compression is given.
    """
    configs = [resolve_compression(compression) for compression in compressions]
    inner = unwrap(model)
    _, patch = patch_for_model(inner)
    rate = patch.sampling_rate(processor)
    samples = load_audio(audio, rate)
    if patch.window_tokens(patch.mel_frames(processor, len(samples))) < 2:
        raise ValueError(f"{len(samples) / rate:.3f} s are too short: not two audio tokens.")
    whole = whole_prompt(processor, patch, prompt)
    # A patched processor would shorten the prompt for its own compression.
    plain = processor if active_config(processor) is None else unpatch(copy.copy(processor))

    def inputs_for(config: CompressionConfig | None) -> Any:
        return prepare(model, processor_for(plain, config), Prompts([whole], [samples], [1])).inputs

    panels, inputs = read_each(
        model, plain, inputs_for, configs, text=text, attention=attention, max_new_tokens=max_new_tokens
    )
    return plot_compression(
        spectrogram_of(processor, patch, inputs, len(samples) / rate),
        panels,
        title=title,
        subtitle=prompt if subtitle is None and text else subtitle,
        frame_rate=patch.frame_rate,
        width=width,
        dpi=dpi,
    )


def spectrogram_of(processor: Any, patch: ModelPatch, inputs: Any, seconds: float) -> Spectrogram:
    """The spectrogram of what the model hears: the processor's own features of a single audio of this length."""
    audio = patch.audio_inputs(inputs)
    mask = None if audio.mask is None or audio.counts_tokens else audio.mask.cpu().numpy()
    features, extractor = patch.log_mel(audio.features.float()).cpu().numpy(), getattr(processor, patch.extractor)
    return Spectrogram.of_features(extractor, features, mask, seconds)


def read_each(
    model: Any,
    processor: Any,
    inputs_for: Callable[[CompressionConfig | None], Any],
    configs: Sequence[CompressionConfig],
    **options: Any,
) -> tuple[list[Panel], Any]:
    """`read_panels` where some of the compressions read all of a long audio and others its beginning.

    Args:
        model: a supported model.
        processor: its processor.
        inputs_for: makes the inputs that suit a compression.
        configs: the compressions.
        options: for `read_panels`.

    Returns:
        The panels, in the order of the compressions, and the inputs that hold most of the audio.
    """
    inputs = {reading: inputs_for(config) for reading, config in {c.long_audio: c for c in configs}.items()}
    panels = {
        reading: iter(read_panels(model, processor, made, [c for c in configs if c.long_audio == reading], **options))
        for reading, made in inputs.items()
    }
    most = inputs.get("windows", inputs.get("cut"))
    return [next(panels[config.long_audio]) for config in configs], inputs_for(None) if most is None else most


def read_panels(
    model: Any,
    processor: Any,
    inputs: Any,
    configs: Sequence[CompressionConfig],
    *,
    text: bool = True,
    attention: bool | None = None,
    max_new_tokens: int | None = None,
) -> list[Panel]:
    """One panel per compression for a prompt with one audio.

    Args:
        model: a supported model.
        processor: its processor.
        inputs: the output of an unpatched processor for one prompt with one audio, on the model's device.
        configs: the compressions.
        text: whether the model answers.
        attention: as for `plot`.
        max_new_tokens: as for `plot`.
    """
    received: dict[tuple[str, EncoderOptions], Tensor | None] = {}
    panels = []
    for config in configs:
        # The compressor that the model is already patched with is kept: it may have trained weights.
        warning = untrained(model, config)
        if warning is not None:
            logger.warning("%s", warning)
        with nullcontext() if config == active_config(model) else compressed(model, config), torch.inference_mode():
            inner = unwrap(model)
            patch = patch_of(inner)
            said = None
            if text:
                said = ask(model, processor, Prepared(inputs, [1]), max_new_tokens)[0].text
            else:
                compress_call(patch.inner(inner), dict(inputs))
            record = inner.audio_compressor.last
            scores = None
            name = _score_of(inner.audio_compressor.requires, attention)
            if name is not None:
                seen = name, config.encoder
                if seen not in received:
                    received[seen] = encoder_attention(inner, patch, inputs, *seen)
                scores = received[seen]
            asked = config.budget_length(record.sound_before[0], patch.frame_rate)
            panels.append(Panel.of_record(_heading(config), record, 0, scores, said, asked))
    return panels


def encoder_attention(model: Any, patch: ModelPatch, inputs: Any, name: str, options: EncoderOptions) -> Tensor | None:
    """The attention that each token of a single audio receives in the encoder, whatever the compression.

    Args:
        model: a supported model.
        patch: the patch of the model.
        inputs: the processor's output for one audio.
        name: the score: ``"attention"`` or one of its variants in `hf_tokcomp.ops.audio_tokens.NEEDS`.
        options: how the encoder is run.

    Returns:
        ``(tokens,)`` float32 on the CPU; None if the patch has no such score.
    """
    windows = patch.windows_of(inputs)
    with torch.inference_mode():
        encoded = patch.encode(patch.inner(model), windows, frozenset({name}), options)
    scores: Tensor | None = getattr(encoded, name, None)
    if scores is None:
        return None
    tokens = [patch.window_tokens(n) for n in windows.frames]
    return torch.cat([row[:n] for row, n in zip(scores.float().cpu(), tokens, strict=True)])


def _score_of(requires: frozenset[str], wanted: bool | None) -> str | None:
    """The score to draw: the one the method uses, or plain attention if the user requests a curve."""
    own = sorted(name for name in requires if name.startswith("attention"))
    if wanted is False or (wanted is None and not own):
        return None
    return own[0] if own else "attention"


def _heading(config: CompressionConfig) -> str:
    """The key of the method and its non-default options; the budget is visible in the counts."""
    return ", ".join([config.method, *_options(config, hidden=BUDGETS)])


def _options(config: CompressionConfig, hidden: Sequence[str] = ()) -> list[str]:
    words = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name == "method" or "version" in field.name or field.name in hidden or value == field.default:
            continue
        if field.name == "stages":  # of `compose`; their budgets are shown nowhere else
            value = " \N{RIGHTWARDS ARROW} ".join(
                f"{stage.method} ({', '.join(_options(stage))})".replace(" ()", "") for stage in value
            )
        words.append(f"{field.name} {value}")
    return words
