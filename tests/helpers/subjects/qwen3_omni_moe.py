"""Qwen3-Omni that speaks: the thinker of `qwen3_omni_moe_thinker`, a tiny talker and a tiny vocoder, all random."""

from __future__ import annotations

from typing import Any

import torch
from speaking import Speaking
from torch import Tensor
from transformers import Qwen3OmniMoeConfig, Qwen3OmniMoeForConditionalGeneration

from hf_tokcomp.testing import Subject, by_text

from . import parts, qwen3_omni_moe_thinker
from .qwen3_asr import SECONDS

CODES = 48
"""Codes of the talker; the 1024 ids above are marks, as upstream has it."""
GROUPS = 3
"""Codes that make a frame of sound."""
SPEAKER = "Chelsie"


def talker_config() -> dict[str, Any]:
    marks = ("pad", "bos", "eos_token", "nothink", "think_bos", "think_eos")
    thinker = qwen3_omni_moe_thinker.config()
    small = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2}
    return {
        "text_config": {
            **small,
            "vocab_size": CODES + 1024,
            "head_dim": 8,
            "intermediate_size": 48,
            "moe_intermediate_size": 16,
            "shared_expert_intermediate_size": 16,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]},
        },
        "code_predictor_config": {
            **small,
            "vocab_size": CODES,
            "head_dim": 8,
            "intermediate_size": 32,
            "num_code_groups": GROUPS,
        },
        "num_code_groups": GROUPS,
        "thinker_hidden_size": 32,
        "accept_hidden_layer": 1,
        "spatial_merge_size": 2,  # upstream reads it without a default
        "speaker_id": {name: CODES + len(marks) + i for i, name in enumerate(("ethan", SPEAKER.lower()))},
        **{f"codec_{mark}_id": CODES + i for i, mark in enumerate(marks)},
        **{name: thinker[name] for name in thinker if name.endswith("_token_id")},
    }


def vocoder_config() -> dict[str, Any]:
    return {
        "codebook_size": CODES,
        "num_quantizers": GROUPS,
        "hidden_size": 16,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "sliding_window": 4,
        "decoder_dim": 16,
        "upsample_rates": [2, 2],
        "upsampling_ratios": [2],
    }


def model() -> Any:
    torch.manual_seed(0)
    words = qwen3_omni_moe_thinker.tokenizer()
    named = {"im_start": "<|im_start|>", "user": "user", "assistant": "assistant"}
    named |= {"tts_pad": "e", "tts_bos": "f", "tts_eos": "g"}
    config = Qwen3OmniMoeConfig(
        thinker_config=qwen3_omni_moe_thinker.config(),
        talker_config=talker_config(),
        code2wav_config=vocoder_config(),
        **{f"{name}_token_id": words.convert_tokens_to_ids(word) for name, word in named.items()},
    )
    whole = Qwen3OmniMoeForConditionalGeneration(config)
    qwen3_omni_moe_thinker.telling(whole.thinker)
    with torch.no_grad():
        for parameter in (*whole.talker.parameters(), *whole.code2wav.parameters()):
            if parameter.dim() >= 2:
                parameter.normal_(0, 0.25)
    whole.generation_config.pad_token_id = 0
    return whole.eval()


def prompt(audios: int, words: str) -> str:
    audio = qwen3_omni_moe_thinker.AUDIO * audios
    return f"<|im_start|> user please {words}{audio} tell me <|im_start|> assistant now"


def told(model: Any, read: Tensor, heard: Tensor, is_audio: Tensor) -> Tensor:
    """Of the user's turn: in the audio's place a state of the thinker, elsewhere the embedding."""
    talker = model.talker
    return torch.where(is_audio[:, None], talker.hidden_projection(heard), talker.text_projection(read))[:-3]


SUBJECT = Subject(model, qwen3_omni_moe_thinker.processor, by_text(prompt, parts.WORDS), window=SECONDS)
SPEAKING = Speaking(
    SUBJECT,
    prompt,
    {"talker_max_new_tokens": 8, "talker_do_sample": False},
    SPEAKER,
    "code2wav",
    samples=lambda frames: 8 * frames - 6,  # the convolutions begin within the first frame
    heard=lambda model: model.thinker.model.language_model.layers[0],
    told=told,
)
