"""Which transformers can be patched: below the range an error, above it one warning and a check of signatures."""

from __future__ import annotations

import inspect
import sys
import warnings
from importlib import import_module, metadata

from packaging.version import Version

from ..errors import UnsupportedVersionError
from .base import ModelPatch

OLDEST_TRIED = "5.17.0"
NEWEST_TRIED = "5.24.0"
_warned = False


def installed_version() -> str:
    """The version of transformers, which is not imported for it."""
    loaded = sys.modules.get("transformers")
    return metadata.version("transformers") if loaded is None else str(loaded.__version__)


def check_transformers(model_class: type, patch: ModelPatch, installed: str | None = None) -> None:
    """Raise or warn where the installed transformers was not tried.

    Raises:
        UnsupportedVersionError: it is older than the oldest tried, or newer with a signature that changed.
    """
    global _warned
    version = Version(installed or installed_version())
    _check_since(version, patch)
    if not _is_newer(version):
        return
    check_signatures(model_class, patch)
    if not _warned:
        _warned = True
        warnings.warn(
            f"transformers {version} is newer than {NEWEST_TRIED}, the newest version hf_tokcomp was tested with. "
            "The signatures it relies on are unchanged.",
            stacklevel=3,
        )


def _check_since(version: Version, patch: ModelPatch) -> None:
    if patch.since is not None and version < Version(patch.since):
        raise UnsupportedVersionError(
            f"{patch.model_type!r} is compressed from transformers {patch.since} on, and {version} is installed; run "
            "`pip install -U transformers`."
        )


def _is_newer(version: Version) -> bool:
    """Whether this transformers is newer than what was tried; as the requirement has it, to the next minor release.

    Raises:
        UnsupportedVersionError: it is older than the oldest tried.
    """
    if version < Version(OLDEST_TRIED):
        raise UnsupportedVersionError(
            f"transformers {version} is older than {OLDEST_TRIED}, the oldest version hf_tokcomp was tested with; "
            "run `pip install -U transformers`."
        )
    return version.release[:2] > Version(NEWEST_TRIED).release[:2]


def verdict(patch: ModelPatch) -> str | None:
    """Why `patch` refuses this model with the installed transformers; None where it is accepted."""
    for name in patch.model_classes:
        try:
            _check_since(Version(installed_version()), patch)
            if _is_newer(Version(installed_version())):  # what was tried has them all
                model_class = getattr(import_module("transformers"), name, None)
                if model_class is None:
                    return f"transformers {installed_version()} has no {name}."
                check_signatures(model_class, patch)
        except UnsupportedVersionError as error:
            return str(error)
    return None


def out_of_bounds() -> list[str]:
    """The installed packages that the package's own requirements do not allow, each with what is required."""
    from packaging.requirements import Requirement  # a tenth of what importing this package costs

    found = []
    try:
        required = metadata.requires("hf-tokcomp") or []
    except metadata.PackageNotFoundError:
        return []  # a bare checkout requires nothing
    for line in required:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            found.append(f"{requirement.name} is not installed ({requirement.specifier} is required)")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            found.append(f"{requirement.name} {installed} ({requirement.specifier} is required)")
    return found


def check_signatures(model_class: type, patch: ModelPatch) -> None:
    """Compare the parameters that the patch relies on with those the model class has.

    Raises:
        UnsupportedVersionError: some are gone; the message names them.
    """
    from .cache_names import CACHE, CACHE_NAMES  # imports what generates, which takes seconds

    for method, wanted in patch.relies_on.items():
        function = getattr(model_class, method, None)
        present = [] if function is None else list(inspect.signature(function).parameters)
        # A patch may write the cache under either name: the core passes the one that is there.
        gone = [name for name in wanted if name not in present and not (name in CACHE_NAMES and CACHE in present)]
        if gone:
            raise UnsupportedVersionError(
                f"transformers {installed_version()} changed {model_class.__name__}.{method}: "
                f"{', '.join(gone)} gone, now ({', '.join(present)}). Use transformers {NEWEST_TRIED}."
            )
