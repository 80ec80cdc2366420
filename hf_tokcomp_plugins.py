"""Entry points that other programs load: what they list here costs them no import of torch or of `hf_tokcomp`."""

from __future__ import annotations

from typing import Any

LMMS_EVAL_MODELS: dict[str, str] = {
    "hf_tokcomp": "CompressedAudioModel",
    "hf_tokcomp_qwen2_audio": "CompressedQwen2Audio",
    "hf_tokcomp_audio_flamingo_3": "CompressedAudioFlamingo3",
}
"""lmms-eval's name of every model, and its class in `hf_tokcomp.lmms_eval_plugin.model`."""


def lmms_eval_models() -> list[Any]:
    """What lmms-eval's registry is told: one `ModelManifest` per model."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return [
        ModelManifest(model_id=name, simple_class_path=f"hf_tokcomp.lmms_eval_plugin.model.{class_name}")
        for name, class_name in LMMS_EVAL_MODELS.items()
    ]


VLLM_MODELS: dict[str, str] = {
    "HfTokcompQwen2AudioForConditionalGeneration": "qwen2_audio",
    "HfTokcompAudioFlamingo3ForConditionalGeneration": "audioflamingo3",
    "HfTokcompVoxtralForConditionalGeneration": "voxtral",
    "HfTokcompQwen3ASRForConditionalGeneration": "qwen3_asr",
    "HfTokcompQwen2_5OmniThinkerForConditionalGeneration": "qwen2_5_omni_thinker",
}
"""vLLM's name of every architecture with compressed audio, and its module in `hf_tokcomp.serving.vllm`."""


def vllm_models() -> None:
    """Tell vLLM's registry the classes by name; it imports one when a model is served by it."""
    from vllm import ModelRegistry

    for architecture, module in VLLM_MODELS.items():
        ModelRegistry.register_model(architecture, f"hf_tokcomp.serving.vllm.{module}:{architecture}")
