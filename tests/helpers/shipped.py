"""What tests of the shipped model need."""

from __future__ import annotations

import pytest

from hf_tokcomp.checkpoints import SMALL_MODEL

needs_small_model = pytest.mark.skipif(
    not (SMALL_MODEL / "config.json").is_file(), reason=f"the shipped model is not at {SMALL_MODEL}"
)
