"""Every way to name a compression, in `patch` and as text on a command line or in a harness's arguments."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from ..errors import CompressionConfigError
from ..hub.ids import MODEL_CONFIG_NAME, check_reachable, is_hub_id
from ..messages import shown
from .config import CompressionConfig
from .files import CONFIG_NAME
from .registry import find_method, get_method, methods

Compression = str | Mapping[str, Any] | Sequence[Any] | CompressionConfig | os.PathLike[str]
"""All the ways a user may name a compression."""


def resolve_compression(compression: Any, **hub: Any) -> CompressionConfig:
    """Turn any way of naming a compression into a config.

    Args:
        compression: a method's key, a dict, a list of dicts or configs (`compose`), a `CompressionConfig`, a folder or
            JSON file, or a Hub id ``user/repo`` or ``user/repo@revision``. A folder takes precedence over a repository
            of the same name, and a method over both.
        hub: ``token``, ``cache_dir`` and so on, for `CompressionConfig.from_pretrained`.

    Raises:
        CompressionConfigError: it is none of these; for an unknown method the closest one is named.
        OSError: the folder, file or repository cannot be read.
    """
    if isinstance(compression, CompressionConfig):
        return compression
    if isinstance(compression, Mapping):
        return CompressionConfig.from_dict(compression)
    if isinstance(compression, list | tuple):
        return CompressionConfig.from_dict({"method": "compose", "stages": list(compression)})
    if isinstance(compression, str) and find_method(compression):
        return CompressionConfig.from_dict({"method": compression})
    if isinstance(compression, str | os.PathLike):
        name = os.fspath(compression)
        if os.path.exists(name) or is_hub_id(name):
            return CompressionConfig.from_pretrained(name, **hub)
        if os.sep in name or isinstance(compression, os.PathLike):
            raise FileNotFoundError(
                f"There is no folder or file {shown(name)} to read a compression config from, and it is not a "
                "Hub id (user/repo)."
            )
        get_method(name)  # raises, naming the closest key
    raise CompressionConfigError(
        f"compression={shown(compression)} must be a method's key ({', '.join(methods())}), a dict, a list of them, a "
        "CompressionConfig, a folder or a Hub id."
    )


def parse_config(text: str) -> CompressionConfig:
    """Parse a text into a config: a method with options, a JSON object or list of objects, a folder or a Hub id.

    Raises:
        CompressionConfigError: it is none of these; the message names the closest method.
        ValueError: it looks like JSON but is invalid.
        OSError: it cannot be downloaded from the Hub.
    """
    if text.lstrip().startswith(("{", "[")):
        try:
            values: Any = json.loads(text)
        except ValueError as error:
            raise ValueError(f"The compression is not valid JSON: {error}. Given: {text}") from error
        return resolve_compression(values)
    if not _is_method(text) or find_method(text):
        if is_hub_id(text):
            check_reachable(text, (CONFIG_NAME, MODEL_CONFIG_NAME))
        return resolve_compression(text)
    parts = [_method_with_options(part) for part in text.split("+")]
    return CompressionConfig.from_dict(parts[0] if len(parts) == 1 else {"method": "compose", "stages": parts})


def config_at(text: str, ratio: float) -> CompressionConfig:
    """A compression at a retention ratio.

    Args:
        text: a method's key; with options as ``ltbm:window=4:similarity=keys``; several as ``ltbm+top_k``, which share
            the ratio, each keeping the same fraction of its input; or anything else that `parse_config` accepts.
        ratio: fraction of tokens left at the end.

    Raises:
        CompressionConfigError: unknown method or option, or the method takes no ratio.
    """
    if not _is_method(text):
        return parse_config(text).replace(retention_ratio=ratio)
    parts = [_method_with_options(part) for part in text.split("+")]
    if len(parts) == 1:
        return CompressionConfig.from_dict(parts[0] | {"retention_ratio": ratio})
    each = ratio ** (1 / len(parts))
    stages = [part | {"retention_ratio": each} for part in parts]
    return CompressionConfig.from_dict({"method": "compose", "stages": stages})


def ratio_name(ratio: float) -> str:
    """A retention ratio as written in tables: 0.25 as 1/4, 0.3 as 0.3."""
    fraction = Fraction(ratio).limit_denominator(100)
    return str(fraction) if fraction.numerator == 1 and abs(float(fraction) - ratio) < 1e-6 else f"{ratio:g}"


def _is_method(text: str) -> bool:
    """Whether it begins with a method's key, unlike folders and Hub ids."""
    return find_method(re.split("[:+]", text)[0].strip()) is not None


def _method_with_options(text: str) -> dict[str, Any]:
    method, *options = (part.strip() for part in text.split(":"))
    values: dict[str, Any] = {"method": method}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise ValueError(f"{text!r}: write an option as {key}=value.")
        try:
            values[key] = json.loads(value)
        except ValueError:
            values[key] = value
    return values
