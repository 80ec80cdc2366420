"""Checks that a patch is correct, for the library's own models and for yours, see `conformance_checks`.

Example: in a test of your own,

    from hf_tokcomp.testing import NotApplicable, Subject, conformance_checks

    @pytest.mark.parametrize("check", conformance_checks(), ids=lambda check: check.__name__)
    def test_conformance(check):
        try:
            check(Subject(tiny_model, tiny_processor, batch))
        except NotApplicable as reason:
            pytest.skip(str(reason))
"""

from .checks import conformance_checks
from .subject import ConformanceError, NotApplicable, Subject, by_text, sound

__all__ = ["ConformanceError", "NotApplicable", "Subject", "by_text", "conformance_checks", "sound"]
