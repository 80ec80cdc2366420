"""Checks of models whose decoder attends to the encoder, against upstream's decoder on what compression should leave.

Nothing here uses the patch to encode or to compress: the encoder's output is upstream's, and its padding is put behind
the slots token by token.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from ..compressors.base import AudioTokenCompressor
from ..config.config import CompressionConfig
from ..ops.audio_tokens import AudioTokens
from ..patching.patch import compressed, patch, unpatch
from .calls import config
from .oracle import SELECTION
from .subject import RATE, ConformanceError, NotApplicable, Subject, same, sound

NEW = 4
"""Number of tokens to generate."""
SILENCE = 0.3
"""Seconds of padding that are kept, so that there is more than that behind most of the sounds."""


def decoder_ids(model: Any, rows: int) -> Tensor:
    """``(rows, 3)``, the start of a text that differs from row to row."""
    start, words = model.config.decoder_start_token_id, torch.arange(rows)[:, None] + torch.tensor([[1, 4]])
    return torch.cat([torch.full((rows, 1), start), words], 1)


def left(subject: Subject, model: Any, inputs: dict[str, Any], made: CompressionConfig) -> list[tuple[Tensor, Tensor]]:
    """What the decoder should read of each audio, and its weights: ``(1, slots, dim)`` and ``(slots,)``."""
    known: Any = subject.patch
    states = known.encoder(model)(inputs[known.features]).last_hidden_state
    found = []
    for row, mask in zip(states, inputs[known.feature_mask], strict=True):
        tokens, rate = known.window_tokens(int(mask.sum())), known.frame_rate
        compressor = AudioTokenCompressor.from_config(made)
        audio = compressor(AudioTokens(row[None, :tokens], torch.tensor([tokens]), frame_rate=rate))
        columns, weights = list(audio.features[0, : audio.counts[0]]), [0.0] * audio.counts[0]
        behind = len(row) - tokens
        kept = min(behind, math.floor(rate * float(made.padding_seconds or 0) + 0.5))
        for number in range(kept):
            columns.append(row[tokens + (2 * number + 1) * behind // (2 * kept)])
            weights.append(math.log(behind / kept))
        found.append((torch.stack(columns)[None], torch.tensor(weights)))
    return found


@contextmanager
def weighed(subject: Subject, model: Any, weights: Tensor) -> Iterator[None]:
    """Within the block, the cross-attentions of an unpatched model add these to their scores."""
    known: Any = subject.patch

    def add(_module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, kwargs | {"attention_mask": weights[None, None, None]}

    hooks = [each.register_forward_pre_hook(add, with_kwargs=True) for each in known.cross_attentions(model)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def logits(subject: Subject, model: Any, inputs: dict[str, Any], made: CompressionConfig) -> list[Tensor]:
    """The logits of each row, computed alone."""
    ids, found = decoder_ids(model, len(inputs[subject.patch.features])), []
    for row, (states, weights) in enumerate(left(subject, model, inputs, made)):
        with weighed(subject, model, weights):
            outputs = model(encoder_outputs=BaseModelOutput(states), decoder_input_ids=ids[row : row + 1])
        found.append(outputs.logits[0])
    return found


def _called(model: Any, inputs: dict[str, Any]) -> Any:
    rows = len(next(iter(inputs.values())))
    return model(**inputs, decoder_input_ids=decoder_ids(model, rows))


def none_is_upstream_and_counts(subject: Subject) -> None:
    """With ``none``, and after `unpatch`, logits and texts are bit-for-bit upstream's, and the tokens are counted."""
    model, inputs = subject.model(), subject.inputs(subject.plain)
    wanted, said = _called(model, inputs).logits, model.generate(**inputs, max_new_tokens=NEW)
    patch(model, "none")
    same("logits under 'none'", _called(model, inputs).logits, wanted)
    whole = subject.patch.window_tokens(inputs[subject.patch.features].shape[-1])
    same("tokens counted under 'none'", model.audio_compressor.last.tokens_before, [whole] * len(wanted))
    same("texts under 'none'", model.generate(**inputs, max_new_tokens=NEW), said)
    unpatch(patch(model, config(SELECTION)))
    same("logits after unpatch", _called(model, inputs).logits, wanted)
    same("texts after unpatch", model.generate(**inputs, max_new_tokens=NEW), said)
    names = [name for name, module in model.named_modules() if any("hf_tokcomp" in key for key in module.__dict__)]
    same("modules that still have something of ours", names, [])


def the_decoder_reads_what_is_left(subject: Subject) -> None:
    """Logits of every kind of batch match the oracle's, row by row, and so do the counts."""
    for name, seconds in subject.layouts.items():
        inputs = subject.inputs(seconds)
        for method in (SELECTION, "average_pooling"):
            made = config(method, padding_seconds=SILENCE)
            model = subject.model()
            wanted = logits(subject, model, inputs, made)
            counts = [len(weights) for _, weights in left(subject, model, inputs, made)]
            found = _called(patch(model, made), inputs).logits
            same(f"{name}, {method}: tokens after", model.audio_compressor.last.tokens_after, counts)
            for row, own in enumerate(wanted):
                subject.close(f"{name}, row {row}, {method}: logits", found[row], own)


def all_tokens_and_padding_are_upstream(subject: Subject) -> None:
    """With all tokens and all padding kept, logits and texts are upstream's."""
    inputs, model = subject.inputs(subject.layouts["ragged"]), subject.model()
    wanted, said = _called(model, inputs).logits, model.generate(**inputs, max_new_tokens=NEW)
    patch(model, config(SELECTION, 1.0, padding_seconds=subject.window))
    subject.close("logits with all tokens and padding kept", _called(model, inputs).logits, wanted)
    same("texts with all tokens and padding kept", model.generate(**inputs, max_new_tokens=NEW), said)


def texts_are_the_oracles(subject: Subject) -> None:
    """Greedy texts and those of two beams, of a batch, are what upstream generates from each row's oracle alone."""
    inputs, made = subject.inputs(subject.plain), config("average_pooling", padding_seconds=SILENCE)
    model = subject.model()
    for options in ({}, {"num_beams": 2}):
        wanted = []
        for states, weights in left(subject, model, inputs, made):
            with weighed(subject, model, weights):
                ids = model.generate(encoder_outputs=BaseModelOutput(states), max_new_tokens=NEW, **options)
            wanted.append(ids[0].tolist())
        with compressed(model, made):
            found = model.generate(**inputs, max_new_tokens=NEW, **options)
        same(f"texts with {options}", found.tolist(), wanted)


def texts_depend_on_the_audio(subject: Subject) -> None:
    """Different audio gives different texts; otherwise the subject could not reveal errors."""
    inputs, model, name = subject.inputs(subject.plain), subject.model(), subject.patch.features
    other = inputs | {name: inputs[name].flip(0).neg()}
    if torch.equal(*(model.generate(**each, max_new_tokens=NEW) for each in (inputs, other))):
        raise ConformanceError("This model says the same about any audio: give it larger weights.")


def attention_is_that_of_eager(subject: Subject) -> None:
    """The attention that tokens receive equals that of the weights from eager attention, averaged over heads."""
    known: Any = subject.patch
    model, inputs = subject.model(), subject.inputs(subject.layouts["ragged"])
    seen: list[Tensor] = []
    model.set_attn_implementation("eager")
    with known.parts(model).last_attention.register_forward_hook(lambda _m, _a, output: seen.append(output[1])):
        known.encoder(model)(inputs[known.features])
    windows = known.windows_of(inputs)
    encoded = known.encode(model, windows, frozenset({"attention"}), config("top_k").encoder)
    if encoded.attention is None:
        raise ConformanceError("`encode` returned no attention, and `supplies` says that it does.")
    weights = seen[0].float().mean(1)
    per_token = weights.shape[-1] // encoded.features.shape[1]
    per_frame = weights.shape[-1] / windows.features.shape[-1]
    for number, frames in enumerate(windows.frames):
        tokens, positions = known.window_tokens(frames), -int(-frames * per_frame // 1)
        received = weights[number, :positions].sum(0)[: tokens * per_token].view(tokens, per_token).mean(1)
        subject.close(f"attention received in window {number}", encoded.attention[number, :tokens], received)


def the_processor_returns_the_mask(subject: Subject) -> None:
    """A patched processor returns the mask unasked, and all else as before; without it, the sound's end is found."""
    processor, known, ragged = subject.make_processor(), subject.patch, subject.layouts["ragged"]
    asked = subject.inputs(ragged, processor)
    sounds = [sound(own[0], seed) for seed, own in enumerate(ragged)]
    plain = dict(processor(sounds, sampling_rate=RATE, return_tensors="pt"))
    with compressed(processor, config(SELECTION)):
        given = dict(processor(sounds, sampling_rate=RATE, return_tensors="pt"))
    same("keys after unpatch", set(processor(sounds, sampling_rate=RATE, return_tensors="pt")), set(plain))
    same("features of a patched processor", given[known.features], plain[known.features])
    same("mask of a patched processor", given[str(known.feature_mask)], asked[str(known.feature_mask)])
    model = patch(subject.model(), config(SELECTION))
    _called(model, given)
    counts = model.audio_compressor.last.sound_before
    _called(model, {known.features: plain[known.features]})
    found = model.audio_compressor.last.sound_before
    if any(abs(one - other) > 1 for one, other in zip(found, counts, strict=True)):
        raise ConformanceError(f"Without a mask the sounds have {found} tokens, with it {counts}.")


def lora_for_the_decoder(subject: Subject) -> None:
    """With an adapter, the compressed model matches the oracle with that adapter; disabled, the oracle without it."""
    if find_spec("peft") is None:
        raise NotApplicable("peft is not installed")
    from peft import LoraConfig, get_peft_model

    inputs, made = subject.inputs(subject.plain), config(SELECTION, padding_seconds=SILENCE)
    model = subject.model()
    without, target = logits(subject, model, inputs, made), dict(subject.patch.lora_targets)["language_model"]
    wrapped: Any = get_peft_model(model, LoraConfig(r=2, target_modules=target, init_lora_weights=False)).eval()
    lent = logits(subject, model, inputs, made)
    patch(model, made)
    ids = decoder_ids(model, len(without))
    found = wrapped(**inputs, decoder_input_ids=ids).logits
    with wrapped.disable_adapter():
        off = wrapped(**inputs, decoder_input_ids=ids).logits
    for row, (with_it, plain) in enumerate(zip(lent, without, strict=True)):
        subject.close(f"row {row} with LoRA: logits", found[row], with_it)
        subject.close(f"row {row} with LoRA off: logits", off[row], plain)
    if torch.equal(found, off):
        raise ConformanceError("LoRA changes nothing: `lora_targets` names no layer that is used.")


def gradients_reach_the_encoder(subject: Subject) -> None:
    """With all kept, gradients of the features are upstream's; with fewer, they still reach the encoder."""
    inputs, model = subject.inputs(subject.layouts["ragged"]), subject.model()
    with torch.enable_grad():
        wanted = _gradient(subject, model, inputs)
        patch(model, config(SELECTION, 1.0, padding_seconds=subject.window))
        scale = wanted.abs().max()
        subject.close("gradient by the features", _gradient(subject, model, inputs) / scale, wanted / scale)
        _gradient(subject, patch(model, config("average_pooling")), inputs)
    weight = next(subject.patch.parts(model).encoder_begin.parameters())
    if weight.grad is None or not bool(weight.grad.isfinite().all()) or not bool(weight.grad.any()):
        raise ConformanceError("Under compression no gradient reaches the encoder.")


def _gradient(subject: Subject, model: Any, inputs: dict[str, Any]) -> Tensor:
    features = inputs[subject.patch.features].detach().clone().requires_grad_()
    model.zero_grad()
    labels = decoder_ids(model, len(features))
    model(**inputs | {subject.patch.features: features}, labels=labels).loss.backward()
    gradient: Tensor | None = features.grad
    if gradient is None:
        raise ConformanceError("No gradient reaches the audio features.")
    return gradient


def saved_and_loaded_again(subject: Subject) -> None:
    """A saved compressed model is compressed when loaded and gives the same logits, also with learned weights."""
    inputs = subject.inputs(subject.plain)
    for made in (config("average_pooling", padding_seconds=SILENCE), config("conv_resampler")):
        model = patch(subject.model(), made)
        for weight in model.audio_compressor.parameters():  # as if it had been trained
            weight.add_(torch.randn_like(weight), alpha=0.1)
        wanted = _called(model, inputs).logits
        with TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            again = type(model).from_pretrained(folder).eval()
        if getattr(again, "audio_compressor", None) is None:
            raise ConformanceError("A compressed model that was saved is not compressed when it is loaded.")
        subject.close(f"logits under {made.method} after saving", _called(again, inputs).logits, wanted, 1e-5)


CHECKS = (
    none_is_upstream_and_counts,
    the_decoder_reads_what_is_left,
    all_tokens_and_padding_are_upstream,
    texts_depend_on_the_audio,
    texts_are_the_oracles,
    attention_is_that_of_eager,
    the_processor_returns_the_mask,
    lora_for_the_decoder,
    gradients_reach_the_encoder,
    saved_and_loaded_again,
)
