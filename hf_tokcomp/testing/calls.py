"""Checks of `forward` on every kind of batch."""

from __future__ import annotations

from typing import Any

import torch

from ..config.config import CompressionConfig
from ..patching.patch import patch, unpatch
from .oracle import SELECTION, greedy, prompts, read
from .subject import ConformanceError, NotApplicable, Subject, same


def config(method: str, ratio: float = 0.4, **options: Any) -> CompressionConfig:
    """The config of a method at a retention ratio."""
    return CompressionConfig.from_dict({"method": method, "retention_ratio": ratio, **options})


def none_is_upstream(subject: Subject) -> None:
    """With ``none``, and after `unpatch`, logits and answers are bit-for-bit upstream's."""
    model, inputs = subject.model(), subject.inputs(subject.plain)
    plain = subject.upstream(inputs)
    logits = model(**plain).logits
    answer = model.generate(**plain, max_new_tokens=4, do_sample=False)
    patch(model, "none")
    same("logits under 'none'", model(**inputs).logits, logits)
    record = model.audio_compressor.last
    if record is None:
        raise ConformanceError("Under 'none' the audio's tokens are not counted: the call's layout was not understood.")
    wanted = [end - begin for row in subject.audio_runs(inputs) for begin, end in row]
    same("tokens counted under 'none'", record.tokens_before, wanted)
    same("answer under 'none'", model.generate(**inputs, max_new_tokens=4, do_sample=False), answer)
    patch(model, config(SELECTION))
    unpatch(model)
    same("logits after unpatch", model(**plain).logits, logits)


def every_layout_is_the_oracles(subject: Subject) -> None:
    """Logits match the oracle's for selection and merging, both kinds of positions, and every kind of batch."""
    for name, seconds in subject.layouts.items():
        inputs, model = subject.inputs(seconds), subject.model()
        if subject.patch.features not in inputs:
            raise ConformanceError(f"The batch has no {subject.patch.features!r}.")
        for method in (SELECTION, "average_pooling"):
            for positions in ("contiguous", "original"):
                compression = config(method, positions=positions)
                wanted = [greedy(model, prompt, 1)[0] for prompt in prompts(subject, model, inputs, compression)]
                patch(model, compression)
                outputs = model(**inputs)
                record = model.audio_compressor.last
                unpatch(model)
                for row, logits in enumerate(wanted):
                    valid = record.columns[row] >= 0
                    what = f"{name}, row {row}, {method}, {positions} positions: logits"
                    subject.close(what, outputs.logits[row][valid], logits)


def ratio_one_is_upstream(subject: Subject) -> None:
    """With all tokens kept, encoded through the patch, logits are upstream's, even if padding is not encoded."""
    method = "top_k" if "attention" in subject.patch.supplies else SELECTION
    for name, seconds in subject.layouts.items():
        inputs, model = subject.inputs(seconds), subject.model()
        valid = inputs["attention_mask"].bool()
        wanted = model(**subject.upstream(inputs)).logits[valid]
        for skipping in (False, True):
            patch(model, config(method, 1.0, skip_padding=skipping))
            outputs = model(**inputs)
            kept = model.audio_compressor.last.columns >= 0
            subject.close(f"{name}, all tokens kept, skip_padding={skipping}: logits", outputs.logits[kept], wanted)
            unpatch(model)


def ragged_rows_are_those_alone(subject: Subject) -> None:
    """A row of a left-padded batch gives the same logits as alone."""
    model = patch(subject.model(), config("average_pooling"))
    seconds = subject.layouts["ragged"]
    inputs = subject.inputs(seconds)
    outputs = model(**inputs)
    columns = model.audio_compressor.last.columns
    windows = [len(subject.patch.windows_of(subject.inputs([own]))) for own in seconds]
    for row in range(len(seconds)):
        alone = one_row(subject, inputs, row, windows)
        wanted = model(**alone).logits[0]
        subject.close(f"row {row} alone: logits", outputs.logits[row][columns[row] >= 0], wanted)


def one_row(subject: Subject, inputs: dict[str, Any], row: int, windows: list[int]) -> dict[str, Any]:
    """One row of a batch without its padding; ``windows`` is the number of windows of each row."""
    valid = inputs["attention_mask"][row].bool()
    first = sum(windows[:row])
    found = {}
    for name, value in inputs.items():
        if name in subject.patch.audio_keywords:
            found[name] = value[first : first + windows[row]]
        elif isinstance(value, torch.Tensor) and value.shape == inputs["input_ids"].shape:
            found[name] = value[row][valid][None]
    return found


def attention_is_what_eager_returns(subject: Subject) -> None:
    """The attention that tokens receive equals that of the weights from eager attention, averaged over heads."""
    known = subject.patch
    if "attention" not in known.supplies:
        raise NotApplicable(f"no attention scores: {known.unsupplied}")
    model, inputs = subject.model(), subject.inputs(subject.layouts["ragged"])
    windows, seen = known.windows_of(inputs), list[torch.Tensor]()

    def keep(_module: Any, _args: Any, output: Any) -> None:
        if isinstance(output, tuple) and len(output) > 1 and output[1] is not None:
            seen.append(output[1])

    model.set_attn_implementation("eager")
    with known.parts(model).last_attention.register_forward_hook(keep):
        upstream = read(subject, model, inputs)
    if not seen:
        raise NotApplicable("the encoder's attention returns no weights")
    compression = config("top_k", skip_padding=False)
    encoded = known.encode(model, windows, frozenset({"attention"}), compression.encoder)
    if encoded.attention is None:
        raise ConformanceError("`encode` returned no attention, and `supplies` says that it does.")
    weights = seen[0].float().mean(1)
    per_token = weights.shape[-1] // encoded.features.shape[1]
    per_frame = weights.shape[-1] / windows.features.shape[-1]
    for number, (frames, features) in enumerate(zip(windows.frames, upstream.features, strict=True)):
        tokens, positions = len(features), -int(-frames * per_frame // 1)
        received = weights[number, :positions].sum(0)[: tokens * per_token].view(tokens, per_token).mean(1)
        subject.close(f"attention received in window {number}", encoded.attention[number, :tokens], received)


def images_are_refused(subject: Subject) -> None:
    """A call with inputs that cannot be combined with compressed audio raises and names them."""
    refused = subject.patch.refuses
    if not refused:
        raise NotApplicable("the model refuses nothing")
    inputs = subject.inputs(subject.layouts["ragged"])
    model = patch(subject.model(), config(SELECTION))
    for name in refused:
        try:
            model(**inputs, **{name: torch.zeros(1, 3, 4, 4)})
        except ValueError as error:
            if name in str(error):
                continue
        raise ConformanceError(f"A call with `{name}` beside compressed audio is not refused by name.")


CHECKS = (
    none_is_upstream,
    every_layout_is_the_oracles,
    ratio_one_is_upstream,
    ragged_rows_are_those_alone,
    attention_is_what_eager_returns,
    images_are_refused,
)
