"""A Whisper of CTranslate2 as a checkpoint of transformers: the same tensors under other names, none rounded."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

from hf_tokcomp.hub.whole_files import write_whole

from .ctranslate2 import ModelFile, read_model

TOKENS_PER_SECOND = 50
GELU = 3
SETTINGS = {
    "decoder/activation": GELU,
    "decoder/alibi": 0,
    "decoder/pre_norm": 1,
    "decoder/scale_embeddings": 0,
    "decoder/start_from_zero_embedding": 0,
}
"""What Whisper's implementation in transformers does; a file that says otherwise is another model."""
OUTER = {
    "conv1": "conv1",
    "conv2": "conv2",
    "embeddings": "embed_tokens",
    "position_encodings": "embed_positions",
    "layer_norm": "layer_norm",
}
INNER = {
    "self_attention/layer_norm": ("self_attn_layer_norm",),
    "self_attention/linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attention/linear_1": ("self_attn.out_proj",),
    "attention/layer_norm": ("encoder_attn_layer_norm",),
    "attention/linear_0": ("encoder_attn.q_proj",),
    "attention/linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "attention/linear_2": ("encoder_attn.out_proj",),
    "ffn/layer_norm": ("final_layer_norm",),
    "ffn/linear_0": ("fc1",),
    "ffn/linear_1": ("fc2",),
}
"""The parts of a layer; CTranslate2 joins the projections of one input along their outputs."""
LEAVES = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias", "encodings": "weight"}


def convert(weights: bytes, settings: bytes, tokenizer: bytes, spellings: bytes, multilingual: bool, to: Path) -> None:
    """Write model, generation config and processor into a folder.

    Weights are stored in float16, as OpenAI published them, and load in float32, as those of OpenAI's checkpoints on
    the Hub do.

    Args:
        weights: CTranslate2's model.bin.
        settings: its config.json.
        tokenizer: tokenizer.json.
        spellings: the list of English spellings of Whisper's text normaliser, JSON.
        multilingual: whether the model reads other languages than English.
        to: the folder, which exists.

    Raises:
        ValueError: the weights are no Whisper, or not the one of this tokenizer.
    """
    file = read_model(weights)
    if file.specification != "WhisperSpec":
        raise ValueError(f"The weights are those of a {file.specification}, not of a Whisper.")
    write_whole(to / "tokenizer.json", tokenizer)
    write_whole(to / "normalizer.json", spellings)
    sizes = _sizes(file)
    words = _tokenizer(to, sizes["max_source_positions"])
    if len(words) != sizes["vocab_size"]:
        raise ValueError(f"The tokenizer has {len(words)} tokens and the weights are for {sizes['vocab_size']}.")
    end, start = (words.convert_tokens_to_ids(f"<|{name}|>") for name in ("endoftext", "startoftranscript"))
    ids = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "decoder_start_token_id": start}
    generation = _generation(json.loads(settings), words, ids, multilingual)
    generation.max_length = sizes["max_target_positions"]
    config = WhisperConfig(**sizes, **ids, begin_suppress_tokens=generation.begin_suppress_tokens)
    with torch.device("meta"):
        model = WhisperForConditionalGeneration(config)
    model.load_state_dict(state_dict(file), strict=True, assign=True)
    model.tie_weights()
    model.generation_config = generation
    model.save_pretrained(to)
    config.dtype = "float32"
    config.save_pretrained(to)
    seconds, rest = divmod(sizes["max_source_positions"], TOKENS_PER_SECOND)
    if rest:
        raise ValueError(f"{sizes['max_source_positions']} positions of the encoder are no whole seconds.")
    extractor = WhisperFeatureExtractor(feature_size=sizes["num_mel_bins"], chunk_length=seconds)
    WhisperProcessor(extractor, words).save_pretrained(to)


def state_dict(file: ModelFile) -> dict[str, torch.Tensor]:
    """The tensors under the names of `WhisperForConditionalGeneration`.

    Raises:
        ValueError: there is a tensor or a setting that Whisper does not have, or a bias of keys that is not zero, for
            which transformers has no place.
    """
    state = {}
    for name, array in file.arrays.items():
        module, _, leaf = name.rpartition("/")
        if not array.shape:
            if name in SETTINGS and array.item() != SETTINGS[name]:
                raise ValueError(f"The weights' {name} is {array.item()}; Whisper's is {SETTINGS[name]}.")
            continue
        targets = _modules(module)
        if leaf not in LEAVES or not targets:
            raise ValueError(f"The weights have a {name}, which Whisper does not.")
        for target, part in zip(targets, np.split(array, len(targets)), strict=True):
            if target.endswith("k_proj") and leaf == "bias":
                if part.any():
                    raise ValueError(f"{name} is not zero where it belongs to keys, which have no bias in Whisper.")
                continue
            # A copy, since the bytes of the file cannot be written to and lie where they fall.
            state[f"model.{target}.{LEAVES[leaf]}"] = torch.from_numpy(part.copy())
    for alias, name in file.aliases.items():
        if (alias, name) != ("decoder/projection/weight", "decoder/embeddings/weight"):
            raise ValueError(f"The weights have {alias} stand for {name}, which Whisper does not.")
        state["proj_out.weight"] = state["model.decoder.embed_tokens.weight"]
    return state


def _modules(name: str) -> tuple[str, ...]:
    """The modules of transformers that one of CTranslate2 is; none if Whisper has no such module."""
    side, _, rest = name.partition("/")
    if rest in OUTER:
        return (f"{side}.{OUTER[rest]}",)
    found = re.fullmatch(r"layer_(\d+)/(.+)", rest)
    return tuple(f"{side}.layers.{found[1]}.{part}" for part in INNER.get(found[2], ())) if found else ()


def _sizes(file: ModelFile) -> dict[str, int]:
    arrays = file.arrays
    width, bins, _ = arrays["encoder/conv1/weight"].shape
    sizes = {
        "vocab_size": arrays["decoder/embeddings/weight"].shape[0],
        "num_mel_bins": bins,
        "d_model": width,
        "max_source_positions": arrays["encoder/position_encodings/encodings"].shape[0],
        "max_target_positions": arrays["decoder/position_encodings/encodings"].shape[0],
    }
    for side in ("encoder", "decoder"):
        sizes[f"{side}_layers"] = len({name.split("/")[1] for name in arrays if name.startswith(f"{side}/layer_")}) - 1
        sizes[f"{side}_attention_heads"] = arrays[f"{side}/num_heads"].item()
        sizes[f"{side}_ffn_dim"] = arrays[f"{side}/layer_0/ffn/linear_0/weight"].shape[0]
    return sizes


def _tokenizer(folder: Path, positions: int) -> WhisperTokenizer:
    """That of the folder, with marks and tokens of timestamps as OpenAI's checkpoints on the Hub have them."""
    words = WhisperTokenizer.from_pretrained(folder, pad_token="<|endoftext|>")
    # In the order of their ids: timestamps begin behind the last one.
    marks = [token.content for _, token in sorted(words.added_tokens_decoder.items()) if token.special]
    words.add_special_tokens({"additional_special_tokens": marks})
    words.add_tokens([f"<|{place / TOKENS_PER_SECOND:.2f}|>" for place in range(positions + 1)])
    return words


def _generation(
    settings: dict[str, Any], words: WhisperTokenizer, ids: dict[str, int], multilingual: bool
) -> GenerationConfig:
    """How OpenAI's checkpoints generate: tokens that are never said, the prompt, the heads that align words."""
    no_timestamps, previous, translate, transcribe = (
        words.convert_tokens_to_ids(f"<|{name}|>")
        for name in ("notimestamps", "startofprev", "translate", "transcribe")
    )
    if multilingual:
        languages = {
            "lang_to_id": {words.convert_ids_to_tokens(token): token for token in settings["lang_ids"]},
            "task_to_id": {"translate": translate, "transcribe": transcribe},
            "forced_decoder_ids": [[1, None], [2, transcribe]],
        }
    else:
        languages = {"forced_decoder_ids": [[1, no_timestamps]]}
    return GenerationConfig(
        **ids,
        **languages,
        is_multilingual=multilingual,
        suppress_tokens=settings["suppress_ids"],
        begin_suppress_tokens=settings["suppress_ids_begin"],
        alignment_heads=settings["alignment_heads"],
        no_timestamps_token_id=no_timestamps,
        prev_sot_token_id=previous,
        max_initial_timestamp_index=TOKENS_PER_SECOND,  # speech begins within the first second
        return_timestamps=False,
    )
