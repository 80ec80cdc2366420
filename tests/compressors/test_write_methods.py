"""`make methods`: nothing is behind the registry, and a new method gets its rows, its section and its files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import write_methods
from write_methods import END, ROOT, read, written

import hf_tokcomp
from hf_tokcomp.config.measured import words_right


def test_what_follows_from_the_registry_is_written_down() -> None:
    behind = [file.name for file, text in written().items() if not file.exists() or read(file) != text]
    assert not behind, "run `make methods`"


def test_it_starts_as_a_script() -> None:
    done = subprocess.run([sys.executable, str(Path(write_methods.__file__))], check=True, capture_output=True)
    assert done.stdout == b"", "there was nothing to write"


def test_a_new_method_gets_its_rows_its_section_and_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fixtures = tmp_path / "tests" / "fixtures" / "schema_1"
    fixtures.mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    for name, row in (("README.md", ".* pruning"), ("docs/methods.md", ".* pruning"), ("docs/costs.md", "")):
        page = re.sub(rf"(?m)^\| \[?`top_k`{row}.*\n", "", read(ROOT / name))  # as if it were new
        (tmp_path / name).write_text(page)
    for file in (ROOT / "tests" / "fixtures" / "schema_1").glob("[!t]*.json"):
        (fixtures / file.name).write_text(read(file))
    docs = tmp_path / "docs" / "methods.md"
    _, kept, behind = re.split(r"(?m)(?=^## `top_k`)|(?=^## `a_tome`)", read(docs))
    docs.write_text(read(docs).replace(kept, ""))
    costs = tmp_path / "docs" / "costs.md"
    with pytest.raises(SystemExit, match=r"top_k: end the compressor's docstring with .* that begins with 'Use"):
        written(tmp_path)
    monkeypatch.setattr(hf_tokcomp.TopK, "__doc__", f"{hf_tokcomp.TopK.__doc__}\n    Use it ``so``.")
    made = written(tmp_path)
    section = made[docs].split("\n## `top_k`\n")[1].split(f"\n{behind[:11]}")[0]
    assert section.startswith("\nKeeps the K tokens that receive the most attention in the encoder's")
    assert "\n\nCount by length; needs attention. Options: `head_reduction` (mean): how the heads'" in section
    used, _, measured = section.partition("\n\nMeasured: ")
    assert used.endswith("\n\nUse it `so`.")
    assert " ".join(measured.split()) == f"{words_right('top_k')} [All numbers](real-weights.md)."
    assert made[tmp_path / "README.md"] == read(ROOT / "README.md")
    assert made[docs].partition(END)[0] == read(ROOT / "docs" / "methods.md").partition(END)[0]
    assert re.search(r"\nNot measured yet: .*`top_k`.*\.\n$", made[costs])
    files = {file.name: json.loads(text) for file, text in made.items() if file.suffix == ".json"}
    assert set(files) == {"top_k.json", "top_k-1.json", "top_k-2.json"}
    assert (files["top_k-1.json"]["head_reduction"], files["top_k-2.json"]["order"]) == ("max", "attention")
    for file, text in made.items():
        file.write_text(text)
    assert all(read(file) == text for file, text in written(tmp_path).items()), "once is enough"
