"""A fork of a warm process is what a new one would be."""

from __future__ import annotations

import pytest
import warm


def test_it_has_arguments_environment_folder_and_streams(tmp_path):
    code = "import os, sys; print(sys.argv[1:], os.environ, os.getcwd(), sys.stdin.read()); print('!', file=sys.stderr)"
    done = warm.run(code, "a", "b c", env={"ONLY": "this"}, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"['a', 'b c'] environ({{'ONLY': 'this'}}) {tmp_path} \n")
    assert done.stderr == "!\n"


@pytest.mark.parametrize(
    ("code", "status", "last"),
    [
        ("pass", 0, ""),
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit('no')", 1, "no"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero"),
        ("import atexit, sys; atexit.register(print, 'end', file=sys.stderr)", 0, "end"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9, ""),
    ],
)
def test_it_ends_as_programs_do(code, status, last):
    done = warm.run(code)
    assert (done.returncode, "".join(done.stderr.splitlines()[-1:])) == (status, last)


def test_it_has_the_path_of_a_program_and_none_of_the_libraries(tmp_path):
    code = "import sys, __main__; print(sorted({name.split('.')[0] for name in sys.modules})); print(sys.path[:2])"
    names, path = warm.run(code, env={"PYTHONPATH": str(tmp_path)}).stdout.splitlines()
    others = {
        "accelerate",
        "datasets",
        "evaluate",
        "hf_tokcomp",
        "huggingface_hub",
        "matplotlib",
        "peft",
        "transformers",
    }
    assert not others & set(eval(names))
    assert eval(path) == ["", str(tmp_path)]


def test_programs_do_not_see_each_other():
    warm.run("import json, builtins; builtins.seen = True; json.seen = True")
    assert warm.run("import json, builtins; print(hasattr(builtins, 'seen'), hasattr(json, 'seen'))").stdout == (
        "False False\n"
    )
