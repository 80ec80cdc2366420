"""Pickles of patched models load, compress and answer as they did, and can be unpatched."""

from __future__ import annotations

import gzip
import json
import pickle

import pickled_before
import pytest
import torch
from places import FIXTURES

import hf_tokcomp

PICKLES = FIXTURES / "saved" / "pickles"
ANSWERS = json.loads((PICKLES / "answers.json").read_text(encoding="utf-8"))


def check(model: object, kind: str, way: str) -> None:
    found, wanted = pickled_before.answers(model, kind), ANSWERS[kind][way]
    assert found["ids"] == wanted["ids"]
    torch.testing.assert_close(torch.tensor(found["logits"]), torch.tensor(wanted["logits"]))


@pytest.mark.parametrize("kind", pickled_before.CONFIGS)
def test_a_pickle_answers_as_before(kind: str) -> None:
    model = pickle.loads(gzip.decompress((PICKLES / f"{kind}.pkl.gz").read_bytes()))
    config = hf_tokcomp.active_config(model)
    assert config is not None
    assert config.to_dict() == ANSWERS[kind]["config"]
    last = model.audio_compressor.last
    assert [last.tokens_before, last.tokens_after] == ANSWERS[kind]["tokens"]
    check(model, kind, "compressed")
    check(hf_tokcomp.unpatch(model), kind, "plain")
