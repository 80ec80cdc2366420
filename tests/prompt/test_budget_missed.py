"""A method that keeps far fewer tokens than its budget asks for is reported, once for each config."""

from __future__ import annotations

import logging

import pytest
import tiny

import hf_tokcomp
from hf_tokcomp.generation import prefill


@pytest.fixture(autouse=True)
def _nothing_said_yet():
    prefill._WARNED.clear()
    yield
    prefill._WARNED.clear()


def said(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "hf_tokcomp.generation.prefill"]


@pytest.mark.parametrize("call", ["forward", "generate"])
def test_once_for_each_config(kind, model, caplog, call):
    hf_tokcomp.patch(model, "segmentwise_top_k")
    inputs = tiny.inputs(kind, [1.0])
    with caplog.at_level(logging.WARNING, "hf_tokcomp"):
        for _ in range(2):
            getattr(model, call)(**inputs)
    [message] = said(caplog)
    assert "kept 10 of 25 audio tokens, where the budget asks for 13" in message
    hf_tokcomp.patch(model, {"method": "segmentwise_top_k", "retention_ratio": 0.48})
    with caplog.at_level(logging.WARNING, "hf_tokcomp"):
        model(**inputs)
    assert len(said(caplog)) == 2


@pytest.mark.parametrize("name", ["top_k", "ltbm", "none", "average_pooling"])
def test_not_where_the_budget_is_kept(kind, model, caplog, name):
    hf_tokcomp.patch(model, name)
    with caplog.at_level(logging.WARNING, "hf_tokcomp"):
        model(**tiny.inputs(kind, [1.0, 0.05]))
    assert not said(caplog)


def test_nor_where_the_content_decides(kind, model, caplog):
    hf_tokcomp.patch(model, {"method": "segmentation"})
    with caplog.at_level(logging.WARNING, "hf_tokcomp"):
        model(**tiny.inputs(kind, [1.0]))
    assert not said(caplog)
