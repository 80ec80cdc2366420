"""`engine_args`: what starts a vLLM engine that serves a model under a compression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...config.config import CompressionConfig
from ...config.files import CONFIG_KEY
from ...config.notation import Compression, resolve_compression
from .served import (
    COMPRESSION_KEY,
    PRUNING,
    PRUNING_ON,
    SECTIONS,
    architecture_of,
    check_servable,
    rope_of,
    sections_of,
)


def engine_args(compression: Compression) -> dict[str, Any]:
    """The keywords for `vllm.LLM` and `AsyncEngineArgs` that serve a model under a compression.

    They choose the model's architecture in the plug-in and put the compression into its config. For ``positions``
    "original" they also give every token three positions, of which the first is used, and switch on vLLM's positions
    after pruning.

    Args:
        compression: what `patch` takes; a folder or Hub id with a stored compression serves under that one.

    Returns:
        ``hf_overrides``, and what else is needed. vLLM must be able to pickle them, and is.

    Raises:
        CompressionConfigError: the compression is invalid, or cannot be served.

    Example:
        >>> from hf_tokcomp.serving.vllm import engine_args
        >>> sorted(engine_args({"method": "ltbm", "retention_ratio": 0.25, "positions": "original"}))
        ['hf_overrides', 'video_pruning_rate']
        >>> sorted(engine_args("average_pooling"))
        ['hf_overrides']
    """
    config = resolve_compression(compression)
    check_servable(config)
    switched = {PRUNING: PRUNING_ON} if config.positions == "original" else {}
    return {"hf_overrides": Overrides(config), **switched}


@dataclass(frozen=True)
class Overrides:
    """vLLM's ``hf_overrides`` as a function: puts a compression into a model's config.

    Args:
        config: the compression.
    """

    config: CompressionConfig

    def __call__(self, model_config: Any) -> Any:
        """Change the config of a model that is about to be served, and return it.

        Raises:
            UnsupportedModelError: the model is not served under compression.
        """
        if str(model_config.model_type).startswith("dummy_"):
            return model_config  # vLLM asks first whether the model type is changed
        model_config.architectures = [architecture_of(model_config.model_type)]
        setattr(model_config, COMPRESSION_KEY, self.config.to_dict())
        # vLLM would take a compression under our own key for a quantisation.
        model_config.__dict__.pop(CONFIG_KEY, None)
        if self.config.positions == "original":
            text = model_config.get_text_config()
            text.rope_parameters = rope_of(text) | {SECTIONS: sections_of(text)}
        return model_config
