"""What a push may upload: files on a list of names, without local paths in them.

The output folder of a training also has pickles, optimizer states and logs that name data and users. Nothing is
uploaded by accident: only files on the list are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import PureWindowsPath
from typing import Any

SENT = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "compression_config.json",
    "prompt.json",
    "processor_config.json",
    "preprocessor_config.json",
    "*_preprocessor_config.json",
    "audio_tokenizer_config.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece*.model",
    "*.tiktoken",
    "tekken.json",
    "spk_dict.pt",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "normalizer.json",
    "chat_template.json",
    "*.jinja",
    "README.md",
    "LICEN[CS]E*",
    "NOTICE*",
)
"""Patterns for names: weights (safetensors), the settings of model, adapter and processor, texts. No pickles but
spk_dict.pt, the voices of Qwen2.5-Omni: tensors alone, without which its `from_pretrained` fails."""
WORDS = (
    "prompt.json",
    "tekken.json",
    "*.index.json",
    "tokenizer.json",
    "vocab.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "normalizer.json",
)
"""Of these, JSON whose texts are words and names of weights, and no places."""
HISTORY = ("_name_or_path", "name_or_path", "tokenizer_file", "vocab_file", "merges_file", "special_tokens_map_file")
"""Keys that say where something was loaded from, and that nobody reads."""
TOKENS = ("added_tokens_decoder", "chat_template")
"""Keys below which texts are none but the tokenizer's."""


def is_sent(name: str) -> bool:
    """Whether a file with this name is shared."""
    return any(fnmatchcase(name, pattern) for pattern in SENT)


def has_settings(name: str) -> bool:
    """Whether a file with this name is JSON that could contain a path."""
    return name.endswith(".json") and not any(fnmatchcase(name, pattern) for pattern in WORDS)


def is_local(value: Any) -> bool:
    """Whether a value is a local path: an absolute one, or one that exists relative to here."""
    if not isinstance(value, str) or not 1 < len(value) < 4096 or any(c in value for c in "\n\0{"):
        return False
    if value.startswith(("~", "file:", "\\\\")) or PureWindowsPath(value).is_absolute():
        return True
    if os.path.isabs(value):
        return value.count("/") > 1 or os.path.exists(value)
    return "/" in value and os.path.exists(value)


def without_history(values: Any) -> Any:
    """JSON without `HISTORY` entries that contain a local path, at any depth."""
    if isinstance(values, dict):
        return {
            key: without_history(value) for key, value in values.items() if not (key in HISTORY and is_local(value))
        }
    return [without_history(value) for value in values] if isinstance(values, list) else values


def local_paths(values: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every local path in JSON, with its key."""
    if isinstance(values, dict):
        for name, value in values.items():
            if name not in TOKENS and not str(name).endswith("_token"):
                yield from local_paths(value, str(name))
    elif isinstance(values, list):
        for value in values:
            yield from local_paths(value, key)
    elif is_local(values):
        yield key, values


def check_local(file: str, values: Any, way_out: str) -> None:
    """Raise if a file to be uploaded contains a local path.

    Raises:
        ValueError: it does; the message names the file, the key and the path.
    """
    for key, path in local_paths(values):
        raise ValueError(f"{file} contains a local path, {key}: {path!r}, which others do not have: {way_out}")
