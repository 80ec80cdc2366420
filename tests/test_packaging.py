"""What is installed is what is on disk, and what is public is documented."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from places import ROOT

import hf_tokcomp
from hf_tokcomp.models import versions

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]
FOLDERS = {"hf_tokcomp": ROOT / "hf_tokcomp", "hf_tokcomp.patches": ROOT / "patches"}
SOURCES = sorted(file for folder in FOLDERS.values() for file in folder.rglob("*.py"))
NAMES = [file.relative_to(ROOT).as_posix() for file in SOURCES]
RECIPES = sorted((ROOT / "recipes").rglob("*.py"))  # in the repository, in no install
ALL, ALL_NAMES = [*SOURCES, *RECIPES], [*NAMES, *(file.relative_to(ROOT).as_posix() for file in RECIPES)]


def packages_on_disk() -> dict[str, Path]:
    found = {}
    for name, folder in FOLDERS.items():
        for init in folder.rglob("__init__.py"):
            inside = init.parent.relative_to(folder).parts
            found[".".join((name, *inside))] = init.parent
    return found


def is_cache(file: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in file.relative_to(ROOT).parts)


def test_every_package_is_listed():
    assert sorted(SETUPTOOLS["packages"]) == sorted(packages_on_disk())
    assert {name: ROOT / folder for name, folder in SETUPTOOLS["package-dir"].items()} == FOLDERS


def test_every_source_file_is_in_a_package():
    folders = set(packages_on_disk().values())
    assert [str(file) for file in SOURCES if file.parent not in folders] == []


def test_every_data_file_is_declared():
    declared = [
        f"{packages_on_disk()[package].relative_to(ROOT).as_posix()}/{pattern}"
        for package, patterns in SETUPTOOLS["package-data"].items()
        for pattern in patterns
    ]
    data = [
        file.relative_to(ROOT)
        for folder in FOLDERS.values()
        for file in folder.rglob("*")
        if file.is_file() and file.suffix != ".py" and not is_cache(file)
    ]
    assert Path("hf_tokcomp/py.typed") in data
    assert any(file.suffix == ".safetensors" for file in data)
    assert any(file.suffix == ".flac" for file in data)
    # fnmatch's star would also match a slash, which a pattern of setuptools does not.
    same_depth = [(file, pattern) for file in data for pattern in declared if pattern.count("/") == len(file.parts) - 1]
    matched = {file for file, pattern in same_depth if fnmatch(file.as_posix(), pattern)}
    assert sorted(set(data) - matched) == []


def test_one_version():
    assert "version" not in PYPROJECT["project"]
    assert PYPROJECT["project"]["dynamic"] == ["version"]
    assert SETUPTOOLS["dynamic"]["version"] == {"attr": "hf_tokcomp._version.__version__"}
    assert f"version: {hf_tokcomp.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## [{hf_tokcomp.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_one_range_of_transformers():
    requirements = [*PYPROJECT["project"]["dependencies"], *PYPROJECT["project"]["optional-dependencies"]["dev"]]
    wanted = [requirement for requirement in requirements if requirement.startswith("transformers")]
    major, minor, _ = map(int, versions.NEWEST_TRIED.split("."))
    bounds = f">={versions.OLDEST_TRIED},<{major}.{minor + 1}"  # the next minor release may rename what we rely on
    assert wanted == [f"transformers{bounds}", f"transformers=={versions.NEWEST_TRIED}"]
    assert f"transformers=={versions.OLDEST_TRIED}\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"{versions.OLDEST_TRIED} to {versions.NEWEST_TRIED}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_command_exists():
    module, _, function = PYPROJECT["project"]["scripts"]["hf-tokcomp"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize("name", [name for name in hf_tokcomp.__all__ if name != "__version__"])
def test_public_names_exist_and_are_documented(name):
    documentation = getattr(hf_tokcomp, name).__doc__ or ""
    assert documentation.strip()
    assert not documentation.startswith(f"{name}("), "a dataclass without a docstring documents only its signature"


def test_entry_points_exist_and_are_light():
    named = [place for group in PYPROJECT["project"]["entry-points"].values() for place in group.values()]
    assert named
    assert SETUPTOOLS["py-modules"] == ["hf_tokcomp_plugins"]
    program = f"""
import importlib, sys
for place in {named!r}:
    module, function = place.split(":")
    assert callable(getattr(importlib.import_module(module), function)), place
assert not {{"torch", "transformers", "hf_tokcomp"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_public_names_are_listed_once():
    assert len(set(hf_tokcomp.__all__)) == len(hf_tokcomp.__all__)


def test_a_file_says_what_is_in_it():
    for file, name in zip(ALL, ALL_NAMES, strict=True):
        text = file.read_text(encoding="utf-8")
        first_line = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
        assert re.fullmatch(r'"""\S.+', text.partition("\n")[0]), f"{name}: the first line is the docstring"
        assert len(first_line) > 10, name


def test_patches_are_loaded_by_name_only():
    for file, name in zip(SOURCES, NAMES, strict=True):
        imported = list(imported_names(file))
        if file.is_relative_to(FOLDERS["hf_tokcomp.patches"]):
            imported = [each for each, relative in imported if not relative]  # patches may import each other relatively
        else:
            imported = [each for each, _ in imported]
        assert [each for each in imported if f"{each}.".startswith("hf_tokcomp.patches.")] == [], name


def test_the_recipes_are_in_the_sdist_and_in_no_install():
    assert RECIPES
    assert [name for name in SETUPTOOLS["packages"] if "recipes" in name.split(".")] == []
    assert "recipes" not in SETUPTOOLS["package-dir"].values()
    assert "graft recipes" in (ROOT / "MANIFEST.in").read_text(encoding="utf-8").splitlines()
    inits = {file.parent for file in RECIPES if file.name == "__init__.py"}
    assert {file.parent for file in RECIPES} == inits, "`python -m recipes...` is of packages"
    assert [name for file in SOURCES for name, _ in imported_names(file) if name.split(".")[0] == "recipes"] == []


def test_recipes_import_the_library_by_its_name_and_each_other_relatively():
    names = [(file, name, relative) for file in RECIPES for name, relative in imported_names(file)]
    assert [file for file, name, relative in names if relative and name.split(".")[0] != "recipes"] == []
    assert [file for file, name, relative in names if name.split(".")[0] == "recipes" and not relative] == []


def imported_names(file: Path):
    """Every dotted name that a file imports, and whether it does so relatively."""
    package = ".".join(file.parent.relative_to(ROOT).parts) if file in RECIPES else None
    package = (package or next(name for name, folder in packages_on_disk().items() if folder == file.parent)).split(".")
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = [*above, *([node.module] if node.module else [])]
            yield from ((".".join([*base, alias.name]), node.level > 0) for alias in node.names)


def test_importing_patches_statically_would_be_seen(tmp_path, monkeypatch):
    file = tmp_path / "module.py"
    file.write_text(
        "import hf_tokcomp.patches.qwen2_audio\nfrom . import patches\nfrom .patches.qwen2_audio import PATCH\n"
    )
    monkeypatch.setitem(FOLDERS, "hf_tokcomp", tmp_path)
    (tmp_path / "__init__.py").touch()
    names = [name for name, _ in imported_names(file)]
    assert names == ["hf_tokcomp.patches.qwen2_audio", "hf_tokcomp.patches", "hf_tokcomp.patches.qwen2_audio.PATCH"]
