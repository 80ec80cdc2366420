"""Every way to name a compression: what `patch` takes, and text, on a command line or in a harness's arguments."""

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
from .registry import get_method, methods

Compression = str | Mapping[str, Any] | Sequence[Any] | CompressionConfig | os.PathLike[str]
"""What a user may name a compression by."""


def resolve_compression(compression: Any, **hub: Any) -> CompressionConfig:
    """A config from whatever a user may name it by.

    Args:
        compression: a method's key, a dict, a list of dicts or configs (`compose`), a `CompressionConfig`, a folder or
            JSON file, or a Hub id ``user/repo`` or ``user/repo@revision``. A folder comes before a repository of the
            same name, and a method before both.
        hub: ``token``, ``cache_dir`` and so on, for `CompressionConfig.from_pretrained`.

    Raises:
        CompressionConfigError: it is none of these; for an unknown method the closest key is named.
        OSError: what a name stands for cannot be read.
    """
    if isinstance(compression, CompressionConfig):
        return compression
    if isinstance(compression, Mapping):
        return CompressionConfig.from_dict(compression)
    if isinstance(compression, list | tuple):
        return CompressionConfig.from_dict({"method": "compose", "stages": list(compression)})
    if isinstance(compression, str) and compression in methods():
        return CompressionConfig.from_dict({"method": compression})
    if isinstance(compression, str | os.PathLike):
        name = os.fspath(compression)
        if os.path.exists(name) or is_hub_id(name):
            return CompressionConfig.from_pretrained(name, **hub)
        if os.sep in name or isinstance(compression, os.PathLike):
            raise FileNotFoundError(
                f"There is no folder or file {shown(name)} to read a compression config from, and it is no Hub id "
                "(user/repo)."
            )
        get_method(name)  # raises, naming the closest key
    raise CompressionConfigError(
        f"compression={shown(compression)} must be a method's key ({', '.join(methods())}), a dict, a list of them, a "
        "CompressionConfig, a folder or a Hub id."
    )


def parse_config(text: str) -> CompressionConfig:
    """The config that a text names: a method with options, a JSON object or list of them, a folder or a Hub id.

    Raises:
        CompressionConfigError: it names none; the closest method is in the message.
        ValueError: it looks like JSON and is not.
        OSError: it is on the Hub, and cannot be fetched.
    """
    if text.lstrip().startswith(("{", "[")):
        try:
            values: Any = json.loads(text)
        except ValueError as error:
            raise ValueError(f"The compression is not valid JSON: {error}. Given: {text}") from error
        return resolve_compression(values)
    if not _is_method(text) or text in methods():
        if is_hub_id(text):
            check_reachable(text, (CONFIG_NAME, MODEL_CONFIG_NAME))
        return resolve_compression(text)
    parts = [_method_with_options(part) for part in text.split("+")]
    return CompressionConfig.from_dict(parts[0] if len(parts) == 1 else {"method": "compose", "stages": parts})


def config_at(text: str, ratio: float) -> CompressionConfig:
    """A compression at a retention ratio.

    Args:
        text: a method's key; with options as ``ltbm:window=4:similarity=keys``; several as ``ltbm+top_k``, which share
            the ratio, each keeping the same fraction of what it gets; or what else `parse_config` takes.
        ratio: fraction of tokens that is left at the end.

    Raises:
        CompressionConfigError: no such method or option, or it takes no ratio.
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
    """How a retention ratio is written in tables: 0.25 as 1/4, 0.3 as 0.3."""
    fraction = Fraction(ratio).limit_denominator(100)
    return str(fraction) if fraction.numerator == 1 and abs(float(fraction) - ratio) < 1e-6 else f"{ratio:g}"


def _is_method(text: str) -> bool:
    """Whether it begins with a method's key, as folders and Hub ids do not."""
    return re.split("[:+]", text)[0].strip() in methods()


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
