"""Checks of everything around a model's calls: its processor, adapters, gradients and saving."""

from __future__ import annotations

from importlib.util import find_spec
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from ..patching.patch import compressed, patch, unpatch
from .calls import config
from .oracle import SELECTION, greedy, prompts
from .subject import ConformanceError, NotApplicable, Subject, same


def the_processor_announces_the_count(subject: Subject) -> None:
    """A patched processor writes fewer placeholders and changes nothing else; the logits are the same for both."""
    for name, seconds in subject.layouts.items():
        compression = config("average_pooling", positions="original", long_audio=subject.long_audio)
        processor, token = subject.make_processor(), subject.patch.audio_token_id(subject.model())
        long = subject.inputs(seconds, processor)
        with compressed(processor, compression):
            short = subject.inputs(seconds, processor)
        model = patch(subject.model(), compression)
        wanted = model(**long).logits[model.audio_compressor.last.columns >= 0]
        counts = model.audio_compressor.last.tokens_after
        logits = model(**short).logits
        record = model.audio_compressor.last
        same(f"{name}: tokens counted from a short prompt", record.tokens_after, counts)
        runs = subject.audio_runs(short)
        same(f"{name}: placeholders written", [end - begin for row in runs for begin, end in row], counts)
        for row, (ids, mask) in enumerate(zip(short["input_ids"], short["attention_mask"], strict=True)):
            before = long["input_ids"][row][long["attention_mask"][row].bool()]
            after = ids[mask.bool()]
            same(f"{name}: what is no placeholder in row {row}", after[after != token], before[before != token])
        subject.close(f"{name}: logits of the short prompt", logits[record.columns >= 0], wanted)
        same(f"{name}: the prompt after unpatch", subject.inputs(seconds, processor)["input_ids"], long["input_ids"])


def lora_on_and_off(subject: Subject) -> None:
    """With an adapter, the compressed model matches the oracle with that adapter; disabled, the oracle without it."""
    if find_spec("peft") is None:
        raise NotApplicable("peft is not installed")
    from peft import LoraConfig, get_peft_model

    inputs, compression = subject.inputs(subject.plain), config(SELECTION)
    model = subject.model()
    without = [greedy(model, prompt, 1)[0] for prompt in prompts(subject, model, inputs, compression)]
    patch(model, compression)
    target = dict(subject.patch.lora_targets)["language_model"]
    wrapped: Any = get_peft_model(model, LoraConfig(r=2, target_modules=target, init_lora_weights=False)).eval()
    found = wrapped(**inputs).logits
    columns = model.audio_compressor.last.columns
    with wrapped.disable_adapter():
        off = wrapped(**inputs).logits
    unpatch(wrapped)
    lent = [greedy(model, prompt, 1)[0] for prompt in prompts(subject, model, inputs, compression)]
    for row, (with_it, plain) in enumerate(zip(lent, without, strict=True)):
        valid = columns[row] >= 0
        subject.close(f"row {row} with LoRA: logits", found[row][valid], with_it)
        subject.close(f"row {row} with LoRA off: logits", off[row][valid], plain)
    if torch.equal(found, off):
        raise ConformanceError(
            "LoRA changes nothing: `lora_targets` names no layer of the language model that is used."
        )


def gradients_reach_the_features(subject: Subject) -> None:
    """With all tokens kept, gradients of the features are upstream's; with fewer, they still reach the encoder."""
    inputs = subject.inputs(subject.layouts["ragged"])
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    labels = labels.masked_fill(labels == subject.patch.audio_token_id(subject.model()), -100)
    model = subject.model()
    with torch.enable_grad():
        wanted = _gradient(subject, model, subject.upstream(inputs) | {"labels": labels})
        patch(model, config(SELECTION, 1.0, skip_padding=False))
        found = _gradient(subject, model, inputs | {"labels": labels})
        subject.close("gradient by the features", found / wanted.abs().max(), wanted / wanted.abs().max())
        patch(model, config("average_pooling"))
        _gradient(subject, model, inputs | {"labels": labels})
        weight = next(subject.patch.parts(model).encoder_begin.parameters())
        if weight.grad is None or not bool(weight.grad.isfinite().all()) or not bool(weight.grad.any()):
            raise ConformanceError("Under compression no gradient reaches the encoder.")


def _gradient(subject: Subject, model: Any, inputs: dict[str, Any]) -> Tensor:
    features = inputs[subject.patch.features].detach().clone().requires_grad_()
    model.zero_grad()
    model(**inputs | {subject.patch.features: features}).loss.backward()
    gradient: Tensor | None = features.grad
    if gradient is None:
        raise ConformanceError("No gradient reaches the audio features.")
    return gradient


def saved_and_loaded(subject: Subject) -> None:
    """A saved compressed model is compressed when loaded and gives the same logits, also with learned weights."""
    inputs = subject.inputs(subject.plain)
    for compression in (config("average_pooling", positions="original"), config("conv_resampler")):
        model = patch(subject.model(), compression)
        for weight in model.audio_compressor.parameters():  # as if it had been trained
            weight.add_(torch.randn_like(weight), alpha=0.1)
        wanted = model(**inputs).logits
        with TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            again = type(model).from_pretrained(folder).eval()
        if getattr(again, "audio_compressor", None) is None:
            raise ConformanceError("A compressed model that was saved is not compressed when it is loaded.")
        subject.close(
            f"logits under {compression.method} after saving and loading", again(**inputs).logits, wanted, 1e-5
        )


CHECKS = (
    the_processor_announces_the_count,
    lora_on_and_off,
    gradients_reach_the_features,
    saved_and_loaded,
)
