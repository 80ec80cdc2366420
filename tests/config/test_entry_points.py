"""Methods and models of other installed packages: found by name, listed in tables, and never in the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from other_packages import MODEL, command, install, method, run

BROKEN = "raise RuntimeError('no such luck')\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with two methods and two models, and one of which nothing works."""
    folder = tmp_path_factory.mktemp("site")
    modules = {
        "theirs_loud": method("loud", "Loud"),
        "theirs_more": method("louder", "Louder"),
        "theirs_model": MODEL.format(name="PATCH"),
        "theirs_other": MODEL.format(name="MINE").replace("their_model", "their_other").replace("Their", "Other"),
    }
    groups = {
        "compressors": {"loud": "theirs_loud", "another-name": "theirs_more:Louder"},
        "models": {"their_model": "theirs_model", "their_other": "theirs_other:MINE"},
    }
    install(folder, "their-package", modules, groups)
    broken = {
        "compressors": {"wrecked": "wrecked", "ltbm": "theirs_gone", "idle": "idle"},
        "models": {"wrecked_model": "wrecked", "idle_model": "idle:PATCH"},
    }
    install(folder, "broken-package", {"wrecked": BROKEN, "idle": "PATCH = 1\n"}, broken)
    return folder


def test_a_model_is_patched_with_a_method_of_another_package(folder: Path) -> None:
    done = run(
        "import sys, tiny, hf_tokcomp\n"
        "model = tiny.model('qwen2_audio')\n"
        "hf_tokcomp.patch(model, 'top_k')\n"
        "assert 'theirs_loud' not in sys.modules\n"
        "hf_tokcomp.patch(model, 'loud')\n"
        "print(hf_tokcomp.active_config(model).power, 'theirs_more' in sys.modules, 'wrecked' in sys.modules)\n",
        folder,
    )
    assert (done.stdout, done.stderr) == ("2.0 False False\n", "")


def test_a_method_is_found_in_a_stored_config_and_with_options(folder: Path) -> None:
    done = run(
        "import hf_tokcomp\n"
        "from hf_tokcomp.config.notation import parse_config\n"
        "print(parse_config('loud:power=1').power, parse_config('ltbm+loud').stages[1].method)\n"
        "print(hf_tokcomp.CompressionConfig.from_dict({'method': 'loud', 'power': 3.0}).power)\n",
        folder,
    )
    assert (done.stdout, done.stderr) == ("1 loud\n3.0\n", "")


def test_a_package_that_names_its_entry_point_otherwise(folder: Path) -> None:
    done = run("import hf_tokcomp; print(hf_tokcomp.CompressionConfig(method='louder').power)", folder)
    assert done.stdout == "2.0\n"
    assert "The entry point 'wrecked' of the package broken-package in hf_tokcomp.compressors" in done.stderr


def test_a_table_lists_what_works_and_names_what_does_not(folder: Path) -> None:
    done = command(folder, "methods")
    assert done.returncode == 0
    listed = [line.split()[0] for line in done.stdout.splitlines() if line]
    assert {"loud", "louder", "ltbm"} <= set(listed)
    assert [line.split(": ", 2)[1] for line in done.stderr.splitlines()] == ["warning"] * 4
    group = "in hf_tokcomp.compressors"
    for said in (
        f"'wrecked' of the package broken-package {group} cannot be loaded: RuntimeError: no such luck",
        f"'ltbm' of the package broken-package {group} cannot be loaded: ModuleNotFoundError: No module named",
        f"'idle' of the package broken-package {group} registers no method 'idle', so it is of no use.",
        f"'another-name' of the package their-package {group} registers no method 'another-name'",
    ):
        assert said in done.stderr


def test_each_is_loaded_once_and_a_known_name_loads_none(folder: Path) -> None:
    done = run(
        "import hf_tokcomp, sys\n"
        "hf_tokcomp.CompressionConfig(method='ltbm')\n"
        "assert 'theirs_loud' not in sys.modules\n"
        "hf_tokcomp.methods(); hf_tokcomp.methods()\n"
        "try:\n    hf_tokcomp.CompressionConfig(method='lod')\n"
        "except hf_tokcomp.CompressionConfigError as error:\n    print(error)\n",
        folder,
    )
    assert "did you mean 'loud'?" in done.stdout
    assert done.stderr.count("no such luck") == 1


def test_a_model_of_another_package(folder: Path) -> None:
    done = run(
        "import sys, hf_tokcomp\n"
        "from types import SimpleNamespace\n"
        "from hf_tokcomp.models.registry import find_patch, load_patch, patch_for_class, patch_for_processor\n"
        "assert find_patch('qwen2_audio').model_type == 'qwen2_audio' and 'theirs_model' not in sys.modules\n"
        "config = type('Config', (), {'model_type': 'their_model'})\n"
        "where, patch = patch_for_class(type('TheirForConditionalGeneration', (), {'config_class': config}))\n"
        "print(where, patch.model_type, load_patch(where) is patch)\n"
        "assert 'wrecked' not in sys.modules\n"
        "print(*patch_for_processor(type('OtherProcessor', (), {})())[0:1])\n"
        "print([name for name in hf_tokcomp.supported_models() if name.startswith('their')])\n",
        folder,
    )
    assert done.stdout.splitlines() == [
        "theirs_model their_model True",
        "theirs_other:MINE",
        "['their_model', 'their_other']",
    ], done.stderr
    assert "'wrecked_model' of the package broken-package in hf_tokcomp.models cannot be loaded" in done.stderr
    assert "cannot be loaded: TypeError: idle:PATCH is no ModelPatch" in done.stderr


def test_the_table_of_models(folder: Path) -> None:
    done = command(folder, "models")
    assert done.returncode == 0
    assert "their_model" in done.stdout
    assert "broken-package" in done.stderr
