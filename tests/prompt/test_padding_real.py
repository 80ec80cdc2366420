"""A hundred real recordings of many lengths: without their padding they give what they give with it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

import hf_tokcomp
from hf_tokcomp.audio.loading import load_audio
from hf_tokcomp.checkpoints import SMALL_MODEL
from hf_tokcomp.config.encoder_options import EncoderOptions
from hf_tokcomp.models.registry import patch_for_class

DATA = os.environ.get("HF_TOKCOMP_DATA")
WINDOW = 10  # seconds
BATCH = 10
SHORTEST = 1000  # samples: two tokens

pytestmark = pytest.mark.skipif(DATA is None, reason="HF_TOKCOMP_DATA names no folder of recordings")


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    """Words, sounds and sentences, cut at lengths that are mostly odd, the shortest first."""
    root = Path(str(DATA))
    digits = sorted((root / "digits").glob("*_0.wav"))[:50]
    sounds = sorted((root / "sounds").glob("*/4-*.ogg"))[:20]
    speech = sorted((root / "librispeech").glob("*.flac"))[:30]
    rng = np.random.default_rng(0)
    found = []
    for path in (*digits, *sounds, *speech):
        audio = load_audio(path)[: WINDOW * tiny.RATE]
        found.append(audio[: int(rng.integers(SHORTEST, len(audio) + 1))])
    found[0], found[1] = found[0][:SHORTEST], found[1][: SHORTEST + 1]
    found.sort(key=len)
    assert len(found) == 100
    assert len({len(clip) for clip in found}) > 90
    assert sum(len(clip) % 2 for clip in found) > 30
    return found


def batches(clips, kind, of):
    text = tiny.prompt(kind)
    for start in range(0, len(clips), BATCH):
        part = clips[start : start + BATCH]
        yield tiny.process(of, kind, [text] * len(part), part)


def test_in_fp32_the_tokens_are_the_same(read):
    kind, inputs = read
    model = model_of(kind)
    patch = patch_for_class(type(model))[1]
    for batch in inputs:
        mask = batch[patch.feature_mask]
        frames = mask.sum(-1).tolist()
        call = model, patch.windows_of(batch), frozenset({"attention"})
        whole = patch.encode(*call, EncoderOptions(skip_padding=False))
        part = patch.encode(*call, EncoderOptions())
        for row, n in enumerate(patch.window_tokens(n) for n in frames):
            torch.testing.assert_close(part.features[row, :n], whole.features[row, :n], atol=1e-5, rtol=0)
            torch.testing.assert_close(part.attention[row, :n], whole.attention[row, :n], atol=1e-5, rtol=0)


def model_of(kind):
    return tiny.model(kind, seconds=WINDOW)


@pytest.fixture(scope="module", params=tiny.KINDS)
def read(request, clips):
    """A kind of model, and the clips as its processor reads them."""
    return request.param, list(batches(clips, request.param, tiny.processor(request.param, WINDOW)))


def test_in_fp32_the_logits_are_the_same(read):
    kind, inputs = read
    model = model_of(kind)
    worst = 0.0
    for batch in inputs:
        with hf_tokcomp.compressed(model, {"method": "none", "skip_padding": False}):
            expected = model(**batch).logits
        with hf_tokcomp.compressed(model, {"method": "none", "skip_padding": True}):
            error = (model(**batch).logits - expected).abs().max() / expected.abs().max()
        worst = max(worst, float(error))
    assert 0 < worst < 1e-5  # not bit for bit: where it is, nothing was skipped


def test_in_bf16_the_logits_differ_by_rounding_and_no_clear_answer_changes(read):
    kind, inputs = read
    model = model_of(kind).to(torch.bfloat16)
    clear = 0
    for batch in inputs:
        logits = []
        for skip in (False, True):
            with hf_tokcomp.compressed(model, {"method": "average_pooling", "skip_padding": skip}):
                logits.append(model(**batch.to(torch.bfloat16)).logits[:, -1].float())
        whole, part = logits
        rounding = 0.04 * whole.abs().max()  # processors that multiply bfloat16 themselves round more often
        assert (whole - part).abs().max() < rounding
        best = whole.topk(2).values
        sure = best[:, 0] - best[:, 1] > rounding
        assert torch.equal(whole.argmax(-1)[sure], part.argmax(-1)[sure])
        clear += int(sure.sum())
    assert clear > 50


@pytest.mark.parametrize(("dtype", "every"), [(torch.float32, 4), (torch.bfloat16, 24)])
def test_the_shipped_model_writes_the_same(clips, dtype, every):
    model = Qwen2AudioForConditionalGeneration.from_pretrained(SMALL_MODEL, dtype=dtype)
    processor = AutoProcessor.from_pretrained(SMALL_MODEL)
    content = [{"type": "audio", "audio": None}, {"type": "text", "text": "Transcribe the digits."}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    some = clips[1::every]  # bfloat16 is slow on a CPU
    batch = processor(
        text=[text] * len(some), audio=some, sampling_rate=tiny.RATE, padding=True, return_tensors="pt"
    ).to(dtype)
    texts = []
    for skip in (False, True):
        with hf_tokcomp.compressed(model, {"method": "none", "skip_padding": skip}):
            texts.append(model.generate(**batch, max_new_tokens=4, do_sample=False))
    assert torch.equal(*texts)
