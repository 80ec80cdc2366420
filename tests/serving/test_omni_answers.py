"""What `test_vllm_omni.py` holds vLLM against is what the patched thinker answers, where it can be patched."""

from __future__ import annotations

import json

import pytest
import transformers
from omni_answers import CASES, answered, expected
from packaging.version import Version

import hf_tokcomp

SINCE = hf_tokcomp.supported_models()["qwen2_5_omni_thinker"].since


@pytest.mark.skipif(Version(transformers.__version__) < Version(SINCE), reason=f"needs transformers {SINCE} or newer")
@pytest.mark.parametrize("case", CASES)
def test_the_file_has_what_the_patched_thinker_answers(case, tmp_path):
    assert answered(tmp_path, case) == expected(case)


def test_the_cases_differ():
    assert len({json.dumps(expected(case)["ids"]) for case in CASES}) == len(CASES)
