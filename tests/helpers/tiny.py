"""Tiny random-weight models of both kinds, with real processors: for semantics, not for meaning.

Windows are one second long (50 encoder positions, 25 tokens), so that many windows stay cheap.
"""

from __future__ import annotations

import copy
import functools
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch import Tensor
from transformers import (
    AudioFlamingo3Config,
    AudioFlamingo3ForConditionalGeneration,
    AudioFlamingo3Processor,
    PreTrainedTokenizerFast,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)

KINDS = ("qwen2_audio", "audioflamingo3")
RATE = 16000
WORDS = ["what", "is", "this", "please", "tell", "me", "now", "a", "b", "c", "d", "e", "f", "g"]
PLACEHOLDER = {"qwen2_audio": "<|AUDIO|>", "audioflamingo3": "<sound>"}


def tokenizer() -> PreTrainedTokenizerFast:
    special = ["<pad>", "<unk>", "<eos>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>", "<sound>"]
    vocabulary = {word: i for i, word in enumerate(special + WORDS)}
    raw = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="<eos>",
        padding_side="left",
        additional_special_tokens=special[3:],
    )


def processor(kind: str, seconds: int = 1) -> Any:
    features = WhisperFeatureExtractor(feature_size=16, chunk_length=seconds)
    if kind == "qwen2_audio":
        return Qwen2AudioProcessor(features, tokenizer())
    return AudioFlamingo3Processor(features, tokenizer(), max_audio_len=600)


def model(
    kind: str,
    seconds: int = 1,
    attention: str = "sdpa",
    seed: int = 0,
    layers: int = 2,
    hidden: int = 32,
    encoder_layers: int = 2,
) -> Any:
    """A model of one's own: a copy of the first one that was built so, with torch's generator where building left it.

    Building takes twice as long as copying, and a thousand tests want one.
    """
    ambient = torch.get_default_dtype(), torch.get_default_device()
    built, state = _built(kind, seconds, attention, seed, layers, hidden, encoder_layers, ambient)
    torch.set_rng_state(state)
    return copy.deepcopy(built)


@functools.cache
def _built(
    kind: str, seconds: int, attention: str, seed: int, layers: int, hidden: int, encoder_layers: int, ambient: Any
) -> tuple[Any, Tensor]:
    torch.manual_seed(seed)
    ids = tokenizer()
    audio = {
        "num_mel_bins": 16,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "d_model": 32,
        "max_source_positions": 50 * seconds,
    }
    text = {
        "model_type": "qwen2",
        "vocab_size": len(ids),
        "hidden_size": hidden,
        "intermediate_size": 48,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": 2,
        "max_position_embeddings": 40000,
    }
    if kind == "qwen2_audio":
        config = Qwen2AudioConfig(
            audio_config={"model_type": "qwen2_audio_encoder", "encoder_layers": encoder_layers, **audio},
            text_config=text,
            audio_token_index=ids.convert_tokens_to_ids("<|AUDIO|>"),
        )
        config.audio_token_id = ids.convert_tokens_to_ids("<|AUDIO|>")
        built = Qwen2AudioForConditionalGeneration(config)
    else:
        audio["hidden_size"] = audio.pop("d_model")
        audio["num_attention_heads"] = audio.pop("encoder_attention_heads")
        audio["intermediate_size"] = audio.pop("encoder_ffn_dim")
        config = AudioFlamingo3Config(
            audio_config={"model_type": "audioflamingo3_encoder", "num_hidden_layers": encoder_layers, **audio},
            text_config=text,
            audio_token_id=ids.convert_tokens_to_ids("<sound>"),
        )
        built = AudioFlamingo3ForConditionalGeneration(config)
    built.set_attn_implementation(attention)
    # Random projections this small make every next token the same; larger ones make the audio matter.
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if parameter.dim() == 2 and ("language_model" in name or "projector" in name or "lm_head" in name):
                parameter.normal_(0, 0.25)
        built.lm_head.weight[:7] = 0  # special tokens, the placeholder among them, are never said
    built.generation_config.pad_token_id = 0
    built.generation_config.eos_token_id = None
    return built.eval(), torch.get_rng_state()


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    """A chirp with noise: no two stretches of it are alike."""
    generator = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    tone = np.sin(2 * np.pi * (200 + 300 * seed + 900 * time) * time)
    return (0.4 * tone + 0.1 * generator.standard_normal(time.size)).astype(np.float32)


def prompt(kind: str, audios: int = 1, words: str = "what is this") -> str:
    if kind == "qwen2_audio":
        return " ".join(["<|audio_bos|> <|AUDIO|> <|audio_eos|>"] * audios + [words])
    return f"please {words} <sound> tell me" if audios else f"please {words} tell me"


def inputs(kind: str, seconds: list[float], side: str = "left", of: Any = None, window: int = 1, **options: Any) -> Any:
    """A batch with one audio per prompt; the first prompts are longer, so that text is ragged too."""
    of = of or processor(kind, window)
    of.tokenizer.padding_side = side
    texts = [prompt(kind, words=" ".join(WORDS[: 3 + 2 * (i % 2)])) for i in range(len(seconds))]
    audio = [sound(s, seed=i) for i, s in enumerate(seconds)]
    if kind == "audioflamingo3":
        options["text_kwargs"] = {"padding_side": side}
    return process(of, kind, texts, audio, **options)


def process(of: Any, kind: str, texts: list[str], audio: list[np.ndarray], **options: Any) -> Any:
    """A processor call. Audio Flamingo 3's pads text by default, and takes `padding` for the windows' padding too."""
    if kind == "qwen2_audio":
        options["padding"] = True
    return of(text=texts, audio=audio, sampling_rate=RATE, return_tensors="pt", **options)
