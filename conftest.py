"""Lets the tests run from a bare checkout: without an install, `patches/` is not yet `hf_tokcomp.patches`.

That this file is here also puts this folder on the path, where `recipes` is found, which nothing installs.
"""

import importlib.util
from pathlib import Path

import hf_tokcomp

if importlib.util.find_spec("hf_tokcomp.patches") is None:
    hf_tokcomp.__path__.append(str(Path(__file__).resolve().parent))
