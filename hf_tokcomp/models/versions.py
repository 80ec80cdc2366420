"""The supported range of transformers: older is an error, newer gives one warning and a check of signatures."""

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
    """The version of transformers, found without importing it."""
    loaded = sys.modules.get("transformers")
    return metadata.version("transformers") if loaded is None else str(loaded.__version__)


def check_transformers(model_class: type, patch: ModelPatch, installed: str | None = None) -> None:
    """Raise or warn if the installed transformers is not a tested version.

    Raises:
        UnsupportedVersionError: it is older than the oldest tested, or newer with a changed signature.
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
    """Whether this transformers is newer than the newest tested minor release, as in the package's requirement.

    Raises:
        UnsupportedVersionError: it is older than the oldest tested.
    """
    if version < Version(OLDEST_TRIED):
        raise UnsupportedVersionError(
            f"transformers {version} is older than {OLDEST_TRIED}, the oldest version hf_tokcomp was tested with; "
            "run `pip install -U transformers`."
        )
    return version.release[:2] > Version(NEWEST_TRIED).release[:2]


def verdict(patch: ModelPatch) -> str | None:
    """Why `patch` refuses this model with the installed transformers; None if it accepts it."""
    for name in patch.model_classes:
        try:
            _check_since(Version(installed_version()), patch)
            if _is_newer(Version(installed_version())):  # tested versions have them all
                model_class = getattr(import_module("transformers"), name, None)
                if model_class is None:
                    return f"transformers {installed_version()} has no {name}."
                check_signatures(model_class, patch)
        except UnsupportedVersionError as error:
            return str(error)
    return None


def out_of_bounds() -> list[str]:
    """The packages that do not meet this package's requirements, each with the required version."""
    from packaging.requirements import Requirement  # takes a tenth of this package's import time

    found = []
    try:
        required = metadata.requires("hf-tokcomp") or []
    except metadata.PackageNotFoundError:
        return []  # a bare checkout has no requirements
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
    """Compare the parameters that the patch relies on with those of the model class.

    Raises:
        UnsupportedVersionError: some are missing; the message names them.
    """
    from .cache_names import CACHE, CACHE_NAMES  # imports transformers' generation code, which takes seconds

    for method, wanted in patch.relies_on.items():
        function = getattr(model_class, method, None)
        present = [] if function is None else list(inspect.signature(function).parameters)
        # A patch may list the cache under either name: the library passes the one that exists.
        gone = [name for name in wanted if name not in present and not (name in CACHE_NAMES and CACHE in present)]
        if gone:
            raise UnsupportedVersionError(
                f"transformers {installed_version()} changed {model_class.__name__}.{method}: "
                f"{', '.join(gone)} gone, now ({', '.join(present)}). Use transformers {NEWEST_TRIED}."
            )
