"""Which processor makes the inputs of a compression, in jobs that measure several, and how much audio it reads."""

from __future__ import annotations

import copy
import math
from typing import Any

from ..config.config import CompressionConfig
from ..errors import CompressionConfigError
from ..models.base import ModelPatch
from ..models.instance import active_config
from ..models.registry import patch_for_processor
from .processor import patch_processor


def processor_for(processor: Any, config: CompressionConfig | None) -> Any:
    """The processor whose prompts keep all placeholders, so that they suit every compression with this ``long_audio``.

    Args:
        processor: a processor. A patched one is returned as it is, provided that it reads long audio in this way.
        config: the compression to read under; None for none.

    Returns:
        The processor, or with ``long_audio="windows"`` a copy that makes windows; it shares tokenizer and extractor.

    Raises:
        CompressionConfigError: the model does not read long audio in windows, or the processor is patched to cut it.
    """
    if config is None or config.long_audio == "cut":
        return processor
    module, patch = patch_for_processor(processor)
    patch.check_long_audio(config.long_audio)
    patched = active_config(processor)
    if patched is not None and patched.long_audio == config.long_audio:
        return processor
    if patched is not None:
        raise CompressionConfigError(
            f"The model reads long audio by long_audio={config.long_audio!r}, and the processor is patched with "
            f"long_audio={patched.long_audio!r}. Patch it with the model's compression, or unpatch it."
        )
    whole = copy.copy(processor)
    every = CompressionConfig(method="stride", retention_ratio=1.0, long_audio=config.long_audio)
    patch_processor(whole, module, patch, every)
    return whole


def longest_read(patch: ModelPatch, processor: Any) -> float:
    """The longest audio that is read with a processor, in seconds; infinite if it is patched to make windows."""
    config = active_config(processor)
    windows = config is not None and config.long_audio == "windows"
    return math.inf if windows else patch.longest_audio(processor)
