"""The package's rooms and their order: no import leads from a lower room to a higher one, and there is no circle.

Imports inside functions and under TYPE_CHECKING count like any other.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from places import ROOT

FOLDERS = {"hf_tokcomp": ROOT / "hf_tokcomp", "hf_tokcomp.patches": ROOT / "patches"}
ROOMS = (
    ("_version", "errors", "messages", "starting"),
    ("hub",),
    ("config",),
    ("audio",),
    ("ops",),
    ("checkpoints",),
    ("compressors",),
    ("models",),
    ("selection", "encoder_reuse"),
    ("patches",),
    ("prompt",),
    ("generation",),
    ("cards",),
    ("sharing",),
    ("patching",),
    ("loading",),
    ("testing",),
    ("data",),
    ("reporting",),
    ("inference",),
    ("evaluation",),
    ("serving",),
    ("training",),
    ("plotting",),
    ("benchmarks",),
    ("lmms_eval_plugin",),
    ("api", ""),
    ("cli",),
    ("__main__",),
)
"""From the lowest to the highest; those in one line know nothing of each other but what stands before them in it."""
HEIGHT = {name: (height, place) for height, names in enumerate(ROOMS) for place, name in enumerate(names)}
AT_THE_ROOT = 10
"""Files beside the rooms, at most."""


def modules(folders: dict[str, Path] = FOLDERS) -> dict[str, Path]:
    """Every module by its dotted name."""
    found = {}
    for package, folder in folders.items():
        for file in folder.rglob("*.py"):
            inside = file.relative_to(folder).with_suffix("").parts
            found[".".join((package, *inside)).removesuffix(".__init__")] = file
    return found


def imports(name: str, file: Path, known: dict[str, Path]) -> Iterator[tuple[str, int]]:
    """The modules of ours that a file imports, with the line."""
    package = (name if file.name == "__init__.py" else name.rpartition(".")[0]).split(".")
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            asked = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            asked = [(f"{base}.{alias.name}", base) for alias in node.names]
        else:
            continue
        for module, base in asked:
            target = module if module in known else base
            if target in known and target != name:
                yield target, node.lineno


def room(module: str) -> str:
    """The room of a module: the first name below the package."""
    return module.split(".")[1] if "." in module else ""


def circle(graph: dict[str, set[str]]) -> list[str] | None:
    """Modules that import each other in a circle; None where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return None


def test_every_room_has_a_place() -> None:
    assert {room(name) for name in modules()} - set(HEIGHT) == set()


def test_few_files_lie_at_the_root() -> None:
    files = [path.name for path in FOLDERS["hf_tokcomp"].iterdir() if path.is_file()]
    assert len(files) <= AT_THE_ROOT, sorted(files)


def test_no_import_leads_upwards() -> None:
    known = modules()
    upwards = [
        f"{known[name].relative_to(ROOT)}:{line} imports {target}"
        for name in known
        for target, line in imports(name, known[name], known)
        if HEIGHT[room(target)] > HEIGHT[room(name)]
    ]
    assert upwards == [], "a lower room knows nothing of a higher one: move what it needs down, or hand it over"


def test_there_is_no_circle() -> None:
    known = modules()
    graph = {name: {target for target, _ in imports(name, file, known)} for name, file in known.items()}
    assert sum(map(len, graph.values())) > 500
    assert circle(graph) is None


@pytest.mark.parametrize(
    "line",
    [
        "from .b import x",
        "import package.b",
        "def later():\n    from . import b",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..package.b import x",
    ],
)
def test_every_kind_of_import_counts(tmp_path: Path, line: str) -> None:
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "a.py").write_text(line)
    (folder / "b.py").write_text("from .a import y")
    known = modules({"package": folder})
    graph = {name: {target for target, _ in imports(name, file, known)} for name, file in known.items()}
    assert graph["package.a"] == {"package.b"}
    assert set(circle(graph) or ()) == {"package.a", "package.b"}
