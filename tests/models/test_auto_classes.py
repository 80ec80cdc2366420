"""What patches say of the Auto classes is what the installed transformers does."""

from __future__ import annotations

from subjects import is_too_new

import hf_tokcomp
from hf_tokcomp.models.registry import resolving_to


def test_the_auto_classes_of_a_patch_are_those_that_resolve_to_it() -> None:
    for model_type, patch in hf_tokcomp.supported_models().items():
        if not is_too_new(model_type):
            assert list(patch.auto_classes) == resolving_to(patch), model_type
