"""Compatibility of stored configs: newer schema versions, and keys that other programs add.

Files of every earlier version keep loading (tests/fixtures has some of each); a newer one loads with a warning, as far
as it is understood.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

from .._version import __version__
from ..messages import shown

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
UPGRADE = "A newer hf_tokcomp wrote it. Upgrade with `pip install -U hf-tokcomp`."
QUANTISATION = "quant_method"
"""vLLM looks for a quantisation under our key in ``config.json``, finds none, and adds this key with an empty value."""


def is_newer(values: Mapping[str, Any]) -> bool:
    """Whether the config has a newer schema version than ours."""
    schema = values.get("schema_version", SCHEMA_VERSION)
    return isinstance(schema, int) and schema > SCHEMA_VERSION


def our_own(values: Mapping[str, Any]) -> dict[str, Any]:
    """A config without an empty `QUANTISATION`; one that names a quantisation is rejected later."""
    return {key: value for key, value in values.items() if key != QUANTISATION or value not in ("", None)}


def understood(values: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """The part of a newer config that we know, as our version; a warning names what is ignored."""
    unknown = sorted(_word(key) for key in set(values).difference(known))
    ignored = ", ".join(unknown[:20]) + (f" and {len(unknown) - 20} more" if len(unknown) > 20 else "")
    logger.warning(
        "This compression config has schema version %s; hf_tokcomp %s knows version %s%s. %s",
        shown(values["schema_version"]),
        __version__,
        SCHEMA_VERSION,
        f" and ignores {ignored}" if unknown else "",
        UPGRADE,
    )
    return {k: v for k, v in values.items() if k in known} | {"schema_version": SCHEMA_VERSION}


def _word(key: object) -> str:
    """A key, unchanged if it is an identifier; otherwise its repr, so that it cannot forge lines in a log."""
    return key if isinstance(key, str) and key.isidentifier() and len(key) <= 100 else shown(key)
