"""What the command line answers without a model imports neither torch nor transformers."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import warm

HEAVY = {"torch", "transformers", "datasets", "peft", "accelerate"}
RUN = """
import json, sys
for arguments in {lines!r}:
    sys.argv = ["hf-tokcomp", *arguments]
    from hf_tokcomp.cli import main
    code = main()
    names = sorted({{name for name in sys.modules if name in {heavy!r} or name.startswith("transformers.models.")}})
    print("\\n@" + json.dumps([code, names]))
"""
HELP = ["run", "compare", "eval", "bench", "plot", "demo", "push", "card", "methods", "models", "export-vllm", "serve"]


def loaded(*lines: list[str]) -> list[tuple[int, set[str]]]:
    """The exit code of each command line, run one after the other in one new process, and what is imported by then."""
    program = RUN.format(lines=list(lines), heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    said = [json.loads(line[1:]) for line in done.stdout.splitlines() if line.startswith("@")]
    return [(code, set(names)) for code, names in said]


ASKED = [
    (["--help"], 0),
    (["--version"], 0),
    (["jump"], 2),
    (["run", "--bogus"], 2),
    (["run", "gone.wav"], 1),
    (["compare", "gone.wav", "gone too.wav"], 1),
    (["plot", "gone.wav", "--output", "a.png"], 1),
    (["run", "--dataset", "gone.jsonl"], 1),
    (["compare", "--dataset", "no folder"], 1),
    (["plot", "--manifest", "gone.csv", "--output", "a.png"], 1),
    (["eval", "asr", "--dataset", "asr=gone.parquet", "--output", "out"], 1),
    (["run", "--import", "gone_module"], 1),
    (["bench", "--config", "gone.yaml"], 1),
    *(([command, "--help"], 0) for command in HELP),
]


@pytest.fixture(scope="module")
def asked() -> dict[str, tuple[int, set[str]]]:
    """All of `ASKED` in one process: what one of them imports stays, so the first that shows it is the guilty one."""
    found = loaded(*(arguments for arguments, _ in ASKED))
    return dict(zip([" ".join(arguments) for arguments, _ in ASKED], found, strict=True))


@pytest.mark.parametrize(("arguments", "code"), ASKED, ids=[" ".join(arguments) for arguments, _ in ASKED])
def test_what_needs_no_library_imports_none(
    arguments: list[str], code: int, asked: dict[str, tuple[int, set[str]]]
) -> None:
    assert asked[" ".join(arguments)] == (code, set())


def test_methods_come_without_transformers() -> None:
    assert loaded(["methods"]) == [(0, {"torch"})]


def test_models_come_without_a_model_of_transformers() -> None:
    ((code, names),) = loaded(["models"])
    assert code == 0
    assert names == {"torch"}


def test_a_program_that_imports_the_package_has_all_of_it() -> None:
    program = "import hf_tokcomp, sys; assert 'transformers' in sys.modules; print(len(hf_tokcomp.methods()))"
    done = warm.run(program)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 20


def test_documented_submodules_need_no_import_of_their_own() -> None:
    """As the programs on model cards use `hf_tokcomp.audio`."""
    program = (
        "import hf_tokcomp\n"
        "print(hf_tokcomp.audio.load_audio.__name__, hf_tokcomp.training.make_trainer.__name__)\n"
        "print(hasattr(hf_tokcomp, 'nothing_of_the_kind'), hasattr(hf_tokcomp, '_private'))"
    )
    done = warm.run(program)
    assert done.stdout == "load_audio make_trainer\nFalse False\n", done.stderr


def test_the_command_line_has_the_public_names_when_they_are_asked_for() -> None:
    program = (
        "import sys; sys.argv = ['hf-tokcomp']\n"
        "import hf_tokcomp\n"
        "assert 'torch' not in sys.modules\n"
        "assert not hasattr(hf_tokcomp, '__wrapped__')\n"
        "assert 'torch' not in sys.modules\n"
        "assert hf_tokcomp.patch.__module__ == 'hf_tokcomp.patching.patch'\n"
        "assert 'patch' in hf_tokcomp.__all__ and 'patch' in dir(hf_tokcomp)\n"
        "from transformers import PreTrainedModel\n"
        "assert 'hf_tokcomp' in PreTrainedModel.from_pretrained.__func__.__code__.co_filename"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
