"""One file of a folder or Hub repository."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Where = Mapping[str, Any]
"""Keywords that say where on the Hub a file is, see `WHERE`."""
WHERE = ("revision", "token", "cache_dir", "subfolder", "local_files_only")


def pick_where(*given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `WHERE` that are given; the later ones win."""
    merged = {name: values[name] for values in given for name in WHERE if values.get(name)}
    if "revision" in merged:
        # transformers hands over one that is bound to a commit, perhaps of another repository; this is its plain name.
        merged["revision"] = str(merged["revision"])
    return merged


def fetch(name: str | os.PathLike[str], filename: str, where: Where) -> Path | None:
    """A file of a folder or Hub repository; None where that does not have it.

    Raises:
        OSError: it cannot be told, or downloaded.
    """
    if Path(name).is_dir():
        file = Path(name, where.get("subfolder") or "", filename)
        return file if file.is_file() else None
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(huggingface_hub.hf_hub_download(str(name), filename, **where))
    except HFValidationError:
        return None
    except LocalEntryNotFoundError:
        path = "/".join(filter(None, [where.get("subfolder"), filename]))
        cached = huggingface_hub.try_to_load_from_cache(
            str(name), path, cache_dir=where.get("cache_dir"), revision=where.get("revision")
        )
        if cached is huggingface_hub._CACHED_NO_EXIST:
            return None
        raise
    except EntryNotFoundError:
        return None
