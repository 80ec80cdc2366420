"""Qwen2.5-Omni that speaks: the thinker of `qwen2_5_omni_thinker`, a tiny talker and a tiny vocoder, all random."""

from __future__ import annotations

from typing import Any

import torch
from speaking import Speaking
from torch import Tensor
from transformers import Qwen2_5OmniConfig, Qwen2_5OmniForConditionalGeneration

from hf_tokcomp.testing import Subject, by_text

from . import parts, qwen2_5_omni_thinker

CODES = 60
"""Codes of the talker; those above are marks."""
SPEAKER = "Chelsie"
MEL = 8


def talker_config() -> dict[str, Any]:
    words = parts.tokenizer(qwen2_5_omni_thinker.MARKS)
    start, end, pad = (words.convert_tokens_to_ids(word) for word in ("e", "f", "g"))
    return {
        **parts.text_config(64),
        "model_type": "qwen2_5_omni_talker",
        "vocab_size": CODES + 4,
        "embedding_size": 32,
        "head_dim": 8,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]},
        **dict.fromkeys(("vision_start_token_id", "vision_end_token_id", "audio_start_token_id"), 1),
        "audio_end_token_id": 1,
        "tts_text_start_token_id": start,
        "tts_text_end_token_id": end,
        "tts_text_pad_token_id": pad,
        "tts_codec_start_token_id": CODES,
        "tts_codec_end_token_id": CODES + 1,
        "tts_codec_pad_token_id": CODES + 2,
        "tts_codec_mask_token_id": CODES + 3,
    }


def vocoder_config() -> dict[str, Any]:
    encoder = {"enc_channels": [16, 16, 16, 16, 48], "enc_emb_dim": 8, "enc_dim": 8, "enc_attention_channels": 8}
    return {
        "dit_config": {
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "head_dim": 8,
            "emb_dim": 8,
            "look_ahead_layers": [0],
            "look_backward_layers": [0],
            "num_embeds": CODES + 5,
            "mel_dim": MEL,
            "enc_se_channels": 8,
            **encoder,
        },
        "bigvgan_config": {
            "mel_dim": MEL,
            "upsample_initial_channel": 8,
            "resblock_kernel_sizes": [3],
            "resblock_dilation_sizes": [[1, 3, 5]],
            "upsample_rates": [4],
            "upsample_kernel_sizes": [8],
        },
    }


def speakers() -> dict[str, Any]:
    """As in the file spk_dict.pt of a checkpoint."""
    torch.manual_seed(1)
    start = parts.tokenizer(qwen2_5_omni_thinker.MARKS).convert_tokens_to_ids("e")
    return {SPEAKER: {"bos_token": start, "cond": torch.randn(1, 8), "ref_mel": torch.randn(1, 12, MEL)}}


def model() -> Any:
    torch.manual_seed(0)
    config = Qwen2_5OmniConfig(
        thinker_config=qwen2_5_omni_thinker.config(),
        talker_config=talker_config(),
        token2wav_config=vocoder_config(),
    )
    whole = Qwen2_5OmniForConditionalGeneration(config)
    qwen2_5_omni_thinker.telling(whole.thinker)
    with torch.no_grad():
        for parameter in whole.talker.parameters():
            if parameter.dim() == 2:
                parameter.normal_(0, 0.25)
        whole.talker.codec_head.weight[CODES:] = 0
    whole.speaker_map = speakers()
    whole.generation_config.pad_token_id = 0
    return whole.eval()


def told(model: Any, read: Tensor, heard: Tensor, is_audio: Tensor) -> Tensor:
    """In the audio's place the thinker's last state alone, elsewhere with the embedding beside it."""
    return torch.where(is_audio[:, None], heard, heard + read)


SUBJECT = Subject(model, qwen2_5_omni_thinker.processor, by_text(qwen2_5_omni_thinker.prompt, parts.WORDS))
SPEAKING = Speaking(
    SUBJECT,
    qwen2_5_omni_thinker.prompt,
    {
        "talker_max_new_tokens": 8,
        "talker_do_sample": False,
        "talker_eos_token_id": [CODES + 1],
        "token2wav_num_steps": 2,
    },
    SPEAKER,
    "token2wav",
    samples=lambda frames: 8 * frames,
    heard=lambda model: model.thinker.model.language_model,
    told=told,
)
