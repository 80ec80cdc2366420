"""A tiny model of every supported type for the conformance checks: a file named after the type, with a `SUBJECT`."""

from __future__ import annotations

import importlib

import pytest
from packaging.version import Version

from hf_tokcomp.models.registry import PATCHES, load_patch
from hf_tokcomp.models.versions import installed_version
from hf_tokcomp.testing import Subject


def is_too_new(model_type: str) -> bool:
    """Whether the model's patch needs a newer transformers than is installed."""
    since = load_patch(PATCHES[model_type]).since
    return since is not None and Version(installed_version()) < Version(since)


def subject_of(model_type: str) -> Subject:
    """The subject of a model type; skips the test where the model's patch needs a newer transformers."""
    if is_too_new(model_type):
        pytest.skip(f"{model_type} needs transformers {load_patch(PATCHES[model_type]).since}")
    subject: Subject = importlib.import_module(f"subjects.{model_type}").SUBJECT
    return subject
