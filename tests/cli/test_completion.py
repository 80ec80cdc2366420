"""Completion in a shell: commands, options and methods, without importing torch."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import hf_tokcomp
from hf_tokcomp.cli.completion import complete_compression, complete_compressions, complete_positions, method_names

PROGRAM = """
import sys
sys.argv = ["hf-tokcomp"]
from hf_tokcomp.cli import main
try:
    main()
finally:
    heavy = [name for name in ("torch", "transformers", "datasets") if name in sys.modules]
    print("HEAVY", *heavy, file=sys.stderr)
"""


def completed(line: str) -> list[str]:
    """What bash would offer."""
    words = line.split(" ")
    environment = {
        **os.environ,
        "_HF_TOKCOMP_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, env=environment)
    assert done.stderr.splitlines()[-1] == "HEAVY", done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("hf-tokcomp com", ["compare"]),
        ("hf-tokcomp run --retention", ["--retention-ratio"]),
        ("hf-tokcomp run --compression average", ["average_pooling"]),
        ("hf-tokcomp compare --compression al", ["all"]),
        ("hf-tokcomp bench --compression stride+glo", ["stride+global_merge"]),
        ("hf-tokcomp methods query", ["query_resampler"]),
        ("hf-tokcomp compare --positions contiguous,o", ["contiguous,original"]),
        ("hf-tokcomp compare --man", []),
        ("hf-tokcomp export", ["export-vllm"]),
        ("hf-tokcomp export-vllm model served --compression average", ["average_pooling"]),
        ("hf-tokcomp serve --positions o", ["original"]),
    ],
)
def test_what_a_shell_offers(line: str, offered: list[str]) -> None:
    assert completed(line) == offered


def test_the_names_are_those_of_the_methods() -> None:
    assert set(method_names()) >= set(hf_tokcomp.methods()) - {"loudest"}
    ours = {name for name, method in hf_tokcomp.methods().items() if "hf_tokcomp" in method.config_class.__module__}
    assert ours == {name for name in method_names() if name in hf_tokcomp.methods()}
    assert len(method_names()) == len(set(method_names()))


def test_what_begins_so() -> None:
    assert complete_compression("top_k+glo") == ["top_k+global_merge"]
    assert complete_compressions("")[0] == "all"
    assert "all" not in complete_compression("a")
    assert complete_positions("") == ["contiguous", "original"]


SCRIPT = "import sys; sys.argv[0] = 'hf-tokcomp'; from hf_tokcomp.cli import main; sys.exit(main())"


def test_a_script_is_printed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "--show-completion"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": ""},
        input="",
    )
    shown = done.stdout + done.stderr
    assert "_HF_TOKCOMP_COMPLETE" in shown or "shell" in shown.lower()
