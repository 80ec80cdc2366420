"""Reader: what building one leaves alone."""

from __future__ import annotations

import logging

import pytest
import transformers
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from huggingface_hub.utils import logging as hub_logging

from hf_tokcomp.checkpoints import SMALL_MODEL
from hf_tokcomp.cli.reader import open_reader
from hf_tokcomp.inference.reader import Reader

pytestmark = pytest.mark.usefixtures("libraries_as_they_were")


def said() -> tuple[object, ...]:
    """How much the libraries say."""
    return (
        transformers.logging.get_verbosity(),
        transformers.logging.is_progress_bar_enabled(),
        hub_logging.get_verbosity(),
        are_progress_bars_disabled(),
        logging.getLogger().level,
    )


@pytest.mark.parametrize("verbosity", [logging.DEBUG, logging.WARNING])
def test_building_a_reader_silences_nobody(verbosity: int) -> None:
    bars = are_progress_bars_disabled()
    transformers.logging.set_verbosity(verbosity)
    transformers.logging.enable_progress_bar()
    hub_logging.set_verbosity(verbosity)
    enable_progress_bars()
    try:
        before = said()
        Reader(str(SMALL_MODEL)).load_model("cpu")
        assert said() == before
    finally:
        if bars:
            disable_progress_bars()


def test_the_reader_of_a_command_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKCOMP_DEBUG", raising=False)
    transformers.logging.set_verbosity(logging.INFO)
    hub_logging.set_verbosity(logging.INFO)
    transformers.logging.enable_progress_bar()
    open_reader(str(SMALL_MODEL))
    assert transformers.logging.get_verbosity() == hub_logging.get_verbosity() == logging.ERROR
    assert not transformers.logging.is_progress_bar_enabled()
