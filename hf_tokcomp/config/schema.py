"""The written form of a config: what happens with a newer hf_tokcomp's, and with what other programs wrote into it.

A file of any earlier version loads for ever (tests/fixtures keeps some of each); a newer one loads with a warning, as
far as it is understood.
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
"""vLLM looks for a quantisation under our key of a ``config.json``, finds none, and writes down an empty one there."""


def is_newer(values: Mapping[str, Any]) -> bool:
    """Whether the config has a schema version beyond ours."""
    schema = values.get("schema_version", SCHEMA_VERSION)
    return isinstance(schema, int) and schema > SCHEMA_VERSION


def our_own(values: Mapping[str, Any]) -> dict[str, Any]:
    """A config without an empty `QUANTISATION`; one that names a quantisation is left for the reader to refuse."""
    return {key: value for key, value in values.items() if key != QUANTISATION or value not in ("", None)}


def understood(values: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """What we know of a newer config, as one of our version; a warning names what is left out."""
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
    """A key as it is, where it is a name; else as Python writes it, so that no line of a log is forged."""
    return key if isinstance(key, str) and key.isidentifier() and len(key) <= 100 else shown(key)
