"""Granite Speech: several audios of any length; its encoder attends within blocks of a second."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    GraniteSpeechConfig,
    GraniteSpeechFeatureExtractor,
    GraniteSpeechForConditionalGeneration,
    GraniteSpeechProcessor,
)
from transformers.audio_utils import mel_filter_bank
from transformers.models.granite_speech import feature_extraction_granite_speech as extraction
from transformers.utils import is_torchaudio_available

from hf_tokcomp.testing import Subject, by_text

from . import parts

AUDIO = "<|audio|>"


class MelSpectrogram(nn.Module):
    """What the feature extractor takes from torchaudio, of which there is no build beside torch's for CPUs alone."""

    def __init__(self, sample_rate: int, n_fft: int, win_length: int, hop_length: int, n_mels: int) -> None:
        super().__init__()
        self.sizes = {"n_fft": n_fft, "hop_length": hop_length, "win_length": win_length}
        self.window = torch.hann_window(win_length)
        filters = mel_filter_bank(n_fft // 2 + 1, n_mels, 0.0, sample_rate / 2, sample_rate)
        self.filters = torch.tensor(filters, dtype=torch.float32)

    def forward(self, samples: Tensor) -> Tensor:
        spectrum = torch.stft(samples, **self.sizes, window=self.window, return_complex=True).abs() ** 2
        return self.filters.T @ spectrum


if not is_torchaudio_available():
    extraction.torchaudio = SimpleNamespace(transforms=SimpleNamespace(MelSpectrogram=MelSpectrogram))
    extraction.requires_backends = lambda *_: None


def processor() -> Any:
    return GraniteSpeechProcessor(GraniteSpeechFeatureExtractor(), parts.tokenizer([AUDIO]))


def model() -> Any:
    torch.manual_seed(0)
    ids = parts.tokenizer([AUDIO])
    config = GraniteSpeechConfig(
        encoder_config={
            "model_type": "granite_speech_encoder",
            "input_dim": 160,
            "num_layers": 2,
            "hidden_dim": 16,
            "num_heads": 2,
            "output_dim": 8,
            "context_size": 50,
            "max_pos_emb": 64,
        },
        projector_config={
            "model_type": "blip_2_qformer",
            "hidden_size": 24,
            "encoder_hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "cross_attention_frequency": 1,
        },
        text_config=parts.text_config(len(ids), "granite"),
        audio_token_index=ids.convert_tokens_to_ids(AUDIO),
        has_lora_adapter=False,
        tie_word_embeddings=False,
    )
    names = ("language_model", "projector", "lm_head", "encoder")
    return parts.made_telling(GraniteSpeechForConditionalGeneration(config), len(parts.BASIC) + 1, names)


def prompt(audios: int, words: str) -> str:
    return " ".join([f"a {AUDIO} then" if i else AUDIO for i in range(audios)] + [words])


SUBJECT = Subject(model, processor, by_text(prompt, parts.WORDS))
