"""A tiny multilingual Whisper with random weights, saved as a checkpoint is: model, processor, generation config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

LANGUAGES = ("en", "de", "zh")
WORDS = ("what", "is", "this", "now", "tell", "me", "Colour", "good")
SECONDS = 2
SPELLINGS = {"colour": "color"}


def save(folder: Path, multilingual: bool = True, says: int = 8, seconds: int = SECONDS, longest: int = 32) -> Path:
    """Write one that says ``says`` words of `WORDS`, which depend on what it hears, and return its folder."""
    model, processor = made(multilingual, says, seconds, longest)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "normalizer.json").write_text(json.dumps(SPELLINGS))
    return folder


def made(multilingual: bool = True, says: int = 8, seconds: int = SECONDS, longest: int = 32) -> tuple[Any, Any]:
    """Model and processor, of windows of so many seconds and texts of up to so many tokens."""
    characters = ["<|endoftext|>", *sorted(_bytes().values()), *(f"\u0120{word}" for word in WORDS)]
    marks = ["<|startoftranscript|>", *(f"<|{code}|>" for code in LANGUAGES), "<|translate|>", "<|transcribe|>"]
    marks += ["<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    tokenizer = WhisperTokenizer(
        vocab={text: i for i, text in enumerate(characters)}, merges=[], pad_token=characters[0]
    )
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    tokenizer.add_tokens([f"<|{place * 0.02:.2f}|>" for place in range(seconds * 50 + 1)], special_tokens=True)
    ids = {mark: tokenizer.convert_tokens_to_ids(mark) for mark in ("<|endoftext|>", *marks)}
    extractor = WhisperFeatureExtractor(feature_size=16, chunk_length=seconds)
    torch.manual_seed(3)
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=16,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_source_positions=seconds * 50,
        max_target_positions=longest,
        decoder_start_token_id=ids["<|startoftranscript|>"],
        eos_token_id=ids["<|endoftext|>"],
        pad_token_id=ids["<|endoftext|>"],
        bos_token_id=ids["<|endoftext|>"],
        begin_suppress_tokens=None,
        suppress_tokens=None,
        tie_word_embeddings=False,
    )
    model = WhisperForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.normal_(0, 0.5)
        first = tokenizer.convert_tokens_to_ids(f"\u0120{WORDS[0]}")
        model.proj_out.weight[:first] = model.proj_out.weight[len(characters) :] = 0  # never the most likely
    marked = (
        {}
        if not multilingual
        else {
            "lang_to_id": {f"<|{code}|>": ids[f"<|{code}|>"] for code in LANGUAGES},
            "task_to_id": {"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]},
        }
    )
    model.generation_config = GenerationConfig(
        decoder_start_token_id=ids["<|startoftranscript|>"],
        eos_token_id=ids["<|endoftext|>"],
        pad_token_id=ids["<|endoftext|>"],
        bos_token_id=ids["<|endoftext|>"],
        is_multilingual=multilingual,
        no_timestamps_token_id=ids["<|notimestamps|>"],
        max_initial_timestamp_index=10,
        max_length=says + (4 if multilingual else 2),
        return_timestamps=False,
        suppress_tokens=[],
        begin_suppress_tokens=[],
        prev_sot_token_id=ids["<|startofprev|>"],
        **marked,
    )
    return model.eval(), WhisperProcessor(extractor, tokenizer)


def _bytes() -> dict[int, str]:
    """The character that stands for each byte in a byte-level vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + place) for place, byte in enumerate(others)}
