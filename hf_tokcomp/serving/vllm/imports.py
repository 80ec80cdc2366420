"""Importing what vLLM keeps in one file with images, where no torchvision is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec

WANTS_TORCHVISION = "transformers.models.qwen2_vl.image_processing_qwen2_vl"
HAS_THE_SAME = "transformers.models.qwen2_vl.image_processing_pil_qwen2_vl"


@contextmanager
def without_images() -> Iterator[None]:
    """Within, vLLM's modules for Qwen's audio can be imported without torchvision.

    They import those for its images, which take the function `smart_resize` from a module of transformers that needs
    torchvision. The same function stands beside it in one that does not. For vLLM's CPU build, PyPI has no torchvision.
    """
    if find_spec("torchvision") is not None or WANTS_TORCHVISION in sys.modules:
        yield
        return
    sys.modules[WANTS_TORCHVISION] = import_module(HAS_THE_SAME)
    try:
        yield
    finally:
        del sys.modules[WANTS_TORCHVISION]
