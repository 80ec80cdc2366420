"""The record of a call belongs to the thread that made it."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import tiny
import torch
from transformers import TextIteratorStreamer

import hf_tokcomp

CONFIG = {"method": "top_k", "retention_ratio": 0.5}
SECONDS = (0.9, 0.7, 0.5, 0.3)


@pytest.fixture
def patched(model):
    return hf_tokcomp.patch(model, CONFIG)


def counts(kind, seconds):
    model = hf_tokcomp.patch(tiny.model(kind), CONFIG)
    model(**tiny.inputs(kind, [seconds]))
    return model.audio_compressor.last.tokens_before, model.audio_compressor.last.tokens_after


def in_a_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    gc.collect()
    return found[0]


@pytest.mark.parametrize("call", ["forward", "generate"])
def test_requests_at_once(kind, patched, call):
    wanted = {s: counts(kind, s) for s in SECONDS}
    inputs = {s: tiny.inputs(kind, [s]) for s in SECONDS}
    together = threading.Barrier(len(SECONDS))

    def request(seconds):
        wrong = 0
        with torch.no_grad():
            for _ in range(3):
                together.wait()  # all are under way at the same time
                patched.generate(**inputs[seconds], max_new_tokens=2) if call == "generate" else patched(
                    **inputs[seconds]
                )
                together.wait()
                record = patched.audio_compressor.last
                wrong += (record.tokens_before, record.tokens_after) != wanted[seconds]
        return wrong

    with ThreadPoolExecutor(len(SECONDS)) as pool:
        assert list(pool.map(request, SECONDS)) == [0] * len(SECONDS)


def test_who_waits_for_a_streamer_reads_the_latest(kind, patched):
    for seconds in (0.9, 0.5):
        inputs = tiny.inputs(kind, [seconds])
        streamer = TextIteratorStreamer(tiny.tokenizer())
        thread = threading.Thread(
            target=patched.generate, kwargs={**inputs, "streamer": streamer, "max_new_tokens": 2, "do_sample": False}
        )
        thread.start()
        assert list(streamer)
        thread.join()
        del thread
        gc.collect()
        record = patched.audio_compressor.last
        assert (record.tokens_before, record.tokens_after) == counts(kind, seconds)


def test_ones_own_comes_before_later_ones(kind, patched):
    patched(**tiny.inputs(kind, [0.9]))
    own = patched.audio_compressor.last
    other = in_a_thread(lambda: patched(**tiny.inputs(kind, [0.4])) and patched.audio_compressor.last)
    assert other.tokens_before != own.tokens_before
    assert patched.audio_compressor.last is own


def test_where_nobody_could_say_it_raises(kind, patched):
    done, leave = threading.Barrier(3), threading.Event()

    def request(seconds):
        patched(**tiny.inputs(kind, [seconds]))
        done.wait()
        leave.wait()

    threads = [threading.Thread(target=request, args=(s,)) for s in (0.9, 0.4)]
    for thread in threads:
        thread.start()
    done.wait()
    try:
        with pytest.raises(RuntimeError, match=r"2 threads called this model.*in the thread that made the call"):
            _ = patched.audio_compressor.last
        with hf_tokcomp.compressed(patched, "stride"):  # what need not know does not ask
            pass
        assert copy.deepcopy(patched).audio_compressor.last is None
    finally:
        leave.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("way", ["pickle", "deepcopy"])
def test_copies_have_records_of_their_own(kind, patched, way):
    patched(**tiny.inputs(kind, [0.9]))
    own = patched.audio_compressor.last
    copied = pickle.loads(pickle.dumps(patched)) if way == "pickle" else copy.deepcopy(patched)
    assert copied.audio_compressor.last.tokens_before == own.tokens_before
    copied(**tiny.inputs(kind, [0.4]))
    assert copied.audio_compressor.last.tokens_before != own.tokens_before
    assert patched.audio_compressor.last is own


class TestToPrompt:
    RECORD = hf_tokcomp.CompressionRecord([5], [2], columns=torch.tensor([[-1, 1, 3, 6, 7]]), width=8)

    def test_with_a_fill(self):
        values = torch.tensor([[9, 1, 3, 6, 7]])
        assert self.RECORD.to_prompt(values).tolist() == [[-100, 1, -100, 3, -100, -100, 6, 7]]

    def test_with_what_came_before(self):
        values = torch.tensor([[9, 1, 3, 6, 7]])
        assert self.RECORD.to_prompt(values, fill=None).tolist() == [[1, 1, 1, 3, 3, 3, 6, 7]]

    def test_vectors(self):
        values = torch.tensor([[9, 1, 3, 6, 7]])[..., None].expand(-1, -1, 2)
        found = self.RECORD.to_prompt(values, fill=None)
        assert found.tolist() == [[[n, n] for n in (1, 1, 1, 3, 3, 3, 6, 7)]]
