"""Operations of a call, against the formulas for a transformer."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
import toy_sizes as toy

import hf_tokcomp
from hf_tokcomp.benchmarks.measure import peak_bytes
from hf_tokcomp.benchmarks.speed.operations import _ATTENTION, count_operations, counting
from hf_tokcomp.benchmarks.speed.sounds import draw_sound
from hf_tokcomp.benchmarks.speed.subject import Subject


def encoder(frames: int) -> int:
    """Of one window."""
    positions = (frames - 1) // 2 + 1
    convolutions = 2 * 3 * toy.WIDTH * (frames * toy.BINS + positions * toy.WIDTH)
    linear = 2 * positions * (4 * toy.WIDTH**2 + 2 * toy.WIDTH * toy.FFN)
    return convolutions + toy.LAYERS * (linear + 4 * positions**2 * toy.WIDTH)


def projector(kind: str, tokens: int) -> int:
    second = toy.HIDDEN**2 if kind == "audio-flamingo-3" else 0
    return 2 * tokens * (toy.WIDTH * toy.HIDDEN + second)


def prefill(kind: str, columns: int, audios: int, causal: bool) -> int:
    """Qwen2-Audio's head runs over all columns, Audio Flamingo 3's over the last one."""
    linear = 2 * columns * (2 * toy.HIDDEN**2 + 2 * toy.HIDDEN * toy.KEYS + 3 * toy.HIDDEN * toy.MIDDLE)
    attention = 4 * columns**2 * toy.HIDDEN // (2 if causal else 1)
    head = 2 * toy.HIDDEN * toy.WORDS * (1 if kind == "audio-flamingo-3" else columns)
    return audios * (toy.LAYERS * (linear + attention) + head)


def count(subject: Subject, seconds: list[float], compression: Any = None) -> tuple[dict[str, float], Any]:
    inputs = subject.inputs([draw_sound(length, subject.rate) for length in seconds])
    call = functools.partial(
        subject.model.generate,
        **inputs,
        max_new_tokens=1,
        do_sample=False,
        pad_token_id=0,
        return_dict_in_generate=True,
    )
    parts = subject.patch.parts(subject.model)
    if compression is None:
        readings, returned = count_operations(parts, call)
        return readings.phases(False), returned
    with hf_tokcomp.compressed(subject.model, compression):
        readings, returned = count_operations(parts, call)
    return readings.phases(True), returned


@pytest.mark.parametrize("inference", [True, False])
def test_operations_of_the_plain_model(subject: Subject, inference: bool) -> None:
    with torch.inference_mode(inference):
        found, returned = count(subject, [1.0])
    columns = returned.past_key_values.get_seq_length()
    assert found["encoder"] == encoder(100)
    assert found["compressor"] == 0
    assert found["projector"] == projector(subject.name, 25)
    # Rotary embeddings are a product of positions and frequencies, which is small.
    expected = prefill(subject.name, columns, 1, causal=True)
    assert expected <= found["prefill"] <= 1.01 * expected


def test_operations_of_a_compressed_batch(subject: Subject) -> None:
    found, returned = count(subject, [0.5, 0.25], {"method": "top_k", "retention_ratio": 0.5})
    columns = returned.past_key_values.get_seq_length()
    assert found["encoder"] == 2 * encoder(52), "the sound's frames and two more, not the whole window"
    assert found["projector"] == projector(subject.name, 2 * 6)
    expected = prefill(subject.name, columns, 2, causal=False)
    assert expected <= found["prefill"] <= 1.01 * expected, "under a padding mask every pair is computed"


def test_the_compressors_own_operations_stand_apart(subject: Subject) -> None:
    free, _ = count(subject, [1.0], {"method": "average_pooling", "retention_ratio": 0.5})
    scored, _ = count(subject, [1.0], {"method": "top_k", "retention_ratio": 0.5})
    assert free["compressor"] == 0
    assert scored["compressor"] >= 2 * toy.POSITIONS**2 * toy.WIDTH
    assert {**scored, "compressor": 0} == free


@pytest.mark.parametrize("kernel", _ATTENTION, ids=str)
def test_attention_is_counted_however_a_kernel_is_told_that_it_is_causal(kernel: Any) -> None:
    arguments = [argument.name for argument in kernel.default._schema.arguments]
    before = arguments.index("is_causal") - 3
    shape, count = (2, 4, 10, 8), _ATTENTION[kernel]
    whole = 4 * 2 * 4 * 10 * 10 * 8
    assert count(shape, shape, shape) == count(shape, shape, shape, *[True] * before) == whole
    assert count(shape, shape, shape, is_causal=True) == whole // 2
    assert count(shape, shape, shape, *[None] * before, True) == whole // 2
    assert count(shape, (2, 2, 30, 8), (2, 2, 30, 8)) == 3 * whole, "keys shared by heads are multiplied by all of them"


def test_a_head_on_the_last_columns_of_a_batch_is_counted_without_copies_of_its_weights() -> None:
    head = torch.nn.Linear(64, 5000, bias=False, dtype=torch.bfloat16)

    @torch.inference_mode()
    def call() -> None:
        hidden = torch.randn(8, 5, 64, dtype=torch.bfloat16)[:, -1:]
        with counting():
            head(hidden)

    weights = head.weight.numel() * head.weight.element_size()
    assert peak_bytes(call, torch.device("cpu")) < weights
