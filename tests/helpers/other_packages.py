"""Packages of other people, as pip would leave them in a folder: modules beside a dist-info with entry points."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import warm
from places import HELPERS

METHOD = '''
from dataclasses import dataclass

import hf_tokcomp


@dataclass(frozen=True, kw_only=True)
class {name}Config(hf_tokcomp.CompressionConfig):
    """Options of the method."""

    method: str = "{key}"
    power: float = hf_tokcomp.option(2.0, above=0, help="of the norm")


@hf_tokcomp.register_compressor({name}Config)
class {name}(hf_tokcomp.ScoringCompressor[{name}Config]):
    """Keeps the K tokens with the largest norm."""

    def score(self, tokens):
        return tokens.features.float().norm(p=self.config.power, dim=-1)
'''
MODEL = """
from hf_tokcomp.models.registry import load_patch


class TheirPatch(type(load_patch("hf_tokcomp.patches.qwen2_audio"))):
    model_type = "their_model"
    model_classes = ("TheirForConditionalGeneration",)
    processor_class = "TheirProcessor"
    auto_classes = ("AutoModelForTheirs",)


{name} = TheirPatch()
"""


def method(key: str, name: str) -> str:
    """A module with a method."""
    return METHOD.format(key=key, name=name)


def install(folder: Path, package: str, modules: dict[str, str], groups: dict[str, dict[str, str]]) -> None:
    """Have a package in the folder.

    Args:
        folder: what is to be on the path.
        package: its name, as pip has it.
        modules: their text by name.
        groups: its entry points, name and value, by the group without ``hf_tokcomp.``.
    """
    folder.mkdir(exist_ok=True)
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    information = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = []
    for group, points in groups.items():
        lines += [f"[hf_tokcomp.{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (information / "entry_points.txt").write_text("\n".join(lines) + "\n")


def run(code: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run a program with the folder, and the tests' helpers, on its path."""
    path = os.pathsep.join([str(folder), str(HELPERS)])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return warm.run(code, *more, env=environment)


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command line likewise."""
    code = "import sys; sys.argv[0] = 'hf-tokcomp'; from hf_tokcomp.cli import main; sys.exit(main())"
    return run(code, folder, *arguments)
