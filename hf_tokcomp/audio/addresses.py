"""Audio addresses: recognizing ``http(s)://``, ``file://`` and ``data:``, and reading their content."""

from __future__ import annotations

import base64
import binascii
import importlib
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import url2pathname

from ..messages import shortened

SECONDS = 60
"""Longest silence of a server."""
# Two letters at least: `C:` is a drive.
SCHEME = re.compile(r"(?:([a-z][a-z0-9+.-]+)://|(data):|(file):/)", re.IGNORECASE)
BASE64 = re.compile(r"[\sA-Za-z0-9+/=_-]+")


def scheme(text: str) -> str | None:
    """The scheme of an address in lower case, supported or not; None for a path."""
    found = SCHEME.match(text)
    return None if found is None else next(filter(None, found.groups())).lower()


def is_address(text: str) -> bool:
    """Whether a string is an address rather than a path."""
    return scheme(text) is not None


def path_of(address: str) -> Path | None:
    """The path in a ``file://`` address; None for anything else.

    Raises:
        ValueError: it names a file on another machine.
    """
    if scheme(address) != "file":
        return None
    parts = urlsplit(address)
    if parts.netloc.lower() not in ("", "localhost"):
        raise ValueError(f"{shortened(address)} is not on this machine: a file address looks like file:///path/to/it.")
    return Path(url2pathname(parts.path))


def read_address(address: str) -> bytes:
    """The content of an ``http(s)://`` or ``data:`` address.

    Raises:
        ValueError: it cannot be read; the message names it in shortened form.
    """
    kind = scheme(address)
    if kind == "data":
        return _inline(address)
    if kind not in ("http", "https"):
        raise ValueError(
            f"Cannot read audio from {shortened(address)}: supported are http://, https://, file:// and data: "
            "addresses. Download the file first, and pass its path."
        )
    try:
        return _fetched(address)
    except Exception as error:  # the client's own errors, of many types
        said = shortened(str(error).partition("\n")[0])
        raise ValueError(f"Cannot read audio from {shortened(address)}: {said}") from error


def _inline(address: str) -> bytes:
    head, comma, body = address.partition(",")
    if not comma:
        raise ValueError(f"{shortened(address)} has no comma; a data address looks like data:audio/wav;base64,....")
    content = unquote_to_bytes(body)
    if not head.lower().endswith(";base64"):
        return content
    try:
        return base64.b64decode(content)
    except binascii.Error as error:
        raise ValueError(f"{shortened(address)} is not valid base64: {error}.") from error


def _fetched(address: str) -> bytes:
    import huggingface_hub.utils

    # The client of the Hub, whose name depends on the version.
    client: Any = getattr(huggingface_hub.utils, "httpx", None) or importlib.import_module("httpx")
    response = client.get(address, follow_redirects=True, timeout=SECONDS)
    response.raise_for_status()
    return bytes(response.content)


def check_there(path: str | os.PathLike[str]) -> None:
    """Raise unless a path is a file.

    Raises:
        FileNotFoundError: it does not exist.
        ValueError: it is a folder.
    """
    name = shortened(os.fspath(path))
    if os.path.isdir(path):
        raise ValueError(f"{name} is a folder, not an audio file.")
    if not os.path.exists(path):
        hint = ""
        if isinstance(path, str) and len(path) > 200 and BASE64.fullmatch(path):
            hint = " Audio in base64 is given as 'data:audio/wav;base64,...', or as bytes: base64.b64decode(...)."
        raise FileNotFoundError(f"There is no audio file {name}.{hint}")
