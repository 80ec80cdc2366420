"""Builds the small model and its processor, and runs it for training on features cut to the necessary length."""

import math
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, Qwen2AudioForConditionalGeneration, Qwen2AudioProcessor

from hf_tokcomp.checkpoints.test_sets.prompts import (
    AUDIO_TOKEN,
    CHAT_TEMPLATE,
    END_OF_TEXT,
    END_OF_TURN,
    SPECIAL_TOKENS,
    vocabulary,
)

WINDOW_SECONDS = 10
MEL_BINS = 80
WIDTH = 160
POSITION_SCALE = 0.2  # initial convolution outputs are small; full-size positions would dominate them

untyped: Any = transformers  # its constructors are untyped, and strict checking forbids calling untyped functions


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer: lower case, separate punctuation, newlines as a token, unknown words as <unk>."""
    words = vocabulary()
    inner = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[^\S\n]+"), "removed"),
            pre_tokenizers.Split(Regex(r"\n"), "isolated"),
            pre_tokenizers.Punctuation("isolated"),
        ]
    )
    inner.decoder = decoders.WordPiece(cleanup=True)  # words separated by spaces, but no space before a comma
    tokenizer: PreTrainedTokenizerFast = untyped.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token=END_OF_TURN,
        pad_token=END_OF_TEXT,
        unk_token="<unk>",
        additional_special_tokens=[t for t in SPECIAL_TOKENS if t not in (END_OF_TURN, END_OF_TEXT, "<unk>")],
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
    )
    return tokenizer


def build_processor() -> Qwen2AudioProcessor:
    """The processor: log-mel features of a 10-second window and the word-level tokenizer."""
    extractor = untyped.WhisperFeatureExtractor(
        feature_size=MEL_BINS, chunk_length=WINDOW_SECONDS, return_attention_mask=True
    )
    processor: Qwen2AudioProcessor = untyped.Qwen2AudioProcessor(
        extractor, build_tokenizer(), chat_template=CHAT_TEMPLATE
    )
    return processor


def build_model(tokenizer: PreTrainedTokenizerFast, dropout: float = 0.1) -> Qwen2AudioForConditionalGeneration:
    """The untrained model with 2.3 M parameters; the sinusoidal positions in the encoder are fixed."""
    pad, end, audio = (tokenizer.convert_tokens_to_ids(token) for token in (END_OF_TEXT, END_OF_TURN, AUDIO_TOKEN))
    config = untyped.Qwen2AudioConfig(
        audio_config={
            "model_type": "qwen2_audio_encoder",
            "num_mel_bins": MEL_BINS,
            "d_model": WIDTH,
            "encoder_layers": 4,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 4 * WIDTH,
            "dropout": dropout,
            "max_source_positions": 50 * WINDOW_SECONDS,
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": len(tokenizer),
            "hidden_size": WIDTH,
            "intermediate_size": 384,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "max_position_embeddings": 2048,
            "tie_word_embeddings": False,
            "bos_token_id": pad,
            "eos_token_id": end,
            "pad_token_id": pad,
        },
        audio_token_index=audio,
        pad_token_id=pad,
        chat_tokens=chat_tokens(tokenizer),
    )
    model = Qwen2AudioForConditionalGeneration(config)
    positions = sinusoids(50 * WINDOW_SECONDS, WIDTH)
    model.model.audio_tower.embed_positions.weight.data.copy_(positions * POSITION_SCALE)
    model.generation_config = untyped.GenerationConfig(
        bos_token_id=pad, eos_token_id=[end, pad], pad_token_id=pad, do_sample=False, max_new_tokens=16
    )
    return model


def carry_over(model: Qwen2AudioForConditionalGeneration, words: dict[str, int], folder: Path) -> None:
    """Loads the weights of the checkpoint in `folder`, whose vocabulary may differ, into `model`.

    Words missing from the checkpoint keep their random initial weights; `words` is the vocabulary of `model`.
    """
    older = Qwen2AudioForConditionalGeneration.from_pretrained(folder)
    known = untyped.AutoTokenizer.from_pretrained(folder).get_vocab()
    shared = [word for word in words if word in known]
    new, old = [words[word] for word in shared], [known[word] for word in shared]
    weights = older.state_dict()
    for name in ("model.language_model.embed_tokens.weight", "lm_head.weight"):
        rows = model.state_dict()[name].clone()
        rows[new] = weights[name][old]
        weights[name] = rows
    model.load_state_dict(weights)


def chat_tokens(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """The turn markers of this vocabulary, for methods that locate the user's question."""
    start, user, end = (tokenizer.convert_tokens_to_ids(token) for token in ("<|im_start|>", "user", END_OF_TURN))
    return {"start": start, "user": user, "end": end, "special": [0, 1 + max(tokenizer.all_special_ids)]}


def sinusoids(positions: int, width: int) -> Tensor:
    """Sinusoidal position embeddings `(positions, width)`, sines then cosines (Vaswani et al., 2017, section 3.5)."""
    rates = torch.exp(-math.log(10_000.0) * torch.arange(width // 2) / (width // 2 - 1))
    angles = torch.arange(positions)[:, None] * rates[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def token_counts(frames: Tensor) -> Tensor:
    """Number of audio tokens from `frames` feature frames: halved by the convolution, then by the pooling."""
    return ((frames - 1) // 2 + 1 - 2) // 2 + 1


def encode(model: Qwen2AudioForConditionalGeneration, features: Tensor, frames: Tensor) -> Tensor:
    """Encoder states `(audios, tokens, width)` of features `(audios, bins, frames)` with an even number of frames.

    Upstream's encoder requires the full window; this is the same computation on the first frames, with the same mask,
    so the tokens of each recording (`token_counts(frames)` of them) are identical.
    """
    tower = model.model.audio_tower
    hidden = nn.functional.gelu(tower.conv1(features))
    hidden = nn.functional.gelu(tower.conv2(hidden)).transpose(1, 2)
    hidden = hidden + tower.embed_positions.weight[: hidden.shape[1]]
    hidden = nn.functional.dropout(hidden, tower.dropout, model.training)
    inside = torch.arange(hidden.shape[1]) < ((frames - 1) // 2 + 1)[:, None]
    mask = inside[:, None, None, :].expand(-1, 1, hidden.shape[1], -1)
    for layer in tower.layers:
        hidden = layer(hidden, mask)
    pooled: Tensor = tower.layer_norm(tower.avg_pooler(hidden.transpose(1, 2)).transpose(1, 2))
    return pooled


def answer_logits(
    model: Qwen2AudioForConditionalGeneration, states: Tensor, counts: Tensor, ids: Tensor, predicting: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits `(positions, vocabulary)` where `predicting` `(texts, length)` is true, the input states
    `(texts, length, width)` of the last layer, and its attention `(texts, heads, length, length)`.

    `states` `(audios, tokens, width)` come from the encoder, `counts` `(audios,)` is the number of real ones, and `ids`
    `(texts, length)` contain as many audio tokens, in the same order, padded on the right.
    """
    real = torch.arange(states.shape[1]) < counts[:, None]
    audio = model.model.multi_modal_projector(states[real])
    embeddings = model.get_input_embeddings()(ids)
    here = (ids == model.config.audio_token_index)[..., None].expand_as(embeddings)
    embeddings = embeddings.masked_scatter(here, audio.to(embeddings.dtype))
    output = model.model.language_model(
        inputs_embeds=embeddings, use_cache=False, output_hidden_states=True, output_attentions=True
    )
    logits: Tensor = model.lm_head(output.last_hidden_state[predicting])
    return logits, output.hidden_states[-2], output.attentions[-1]
