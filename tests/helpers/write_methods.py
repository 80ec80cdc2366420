"""`make methods`: write down what follows from the registry. Run it after adding a method or an option.

It rewrites the tables of methods in README.md and docs/methods.md. A method that has none yet gets a section in
docs/methods.md, made of its docstring and options, and the files in fixtures/schema_<version>/ that its configs write:
one with the defaults, and one with every option changed. Existing sections and files are never touched.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "oracles"))  # pytest has it; a script has not

from drawn import SHARED, config, variants

import hf_tokcomp
from hf_tokcomp import CompressionConfig
from hf_tokcomp.cli.tables import list_methods, markdown_table, readme_table
from hf_tokcomp.config.schema import SCHEMA_VERSION

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- methods -->\n", "<!-- /methods -->"
AFTER_ALL = "## Compressors that learn"
MEASURED = "Measured: "
UNMEASURED = "Not measured yet: "


def written(root: Path = ROOT) -> dict[Path, str]:
    """What every file should be that is made of the registry, by its path."""
    listed = list_methods()
    readme, page, costs = (root / name for name in ("README.md", "docs/methods.md", "docs/costs.md"))
    return {
        readme: _between(read(readme), readme_table(listed)),
        page: with_sections(_between(read(page), markdown_table(listed)), listed),
        costs: _unmeasured(read(costs), listed),
    } | missing_files(root / "tests" / "fixtures" / f"schema_{SCHEMA_VERSION}")


def with_sections(page: str, listed: list[dict[str, Any]]) -> str:
    """docs/methods.md with a section of every method; a new one stands before that of the next method in the table."""
    names = [row["method"] for row in listed]
    for row in listed:
        if f"\n## `{row['method']}`\n" not in page:
            behind = [f"\n## `{name}`\n" for name in names[names.index(row["method"]) + 1 :]]
            place = next((mark for mark in behind if mark in page), f"\n{AFTER_ALL}\n")
            page = page.replace(place, f"\n{section(row)}{place}", 1)
        page = _with_measured(page, row)
    return page


def _with_measured(page: str, row: dict[str, Any]) -> str:
    """The page with what was measured of a method behind its "Use it" paragraph."""
    before, heading, rest = page.partition(f"\n## `{row['method']}`\n")
    own, following, behind = rest.partition("\n## ")
    own = re.sub(rf"\n{MEASURED}(.+\n)+", "", own)
    if row["measured"]:
        line = textwrap.fill(
            f"{MEASURED}{row['measured']} [All numbers](real-weights.md).", 120, break_on_hyphens=False
        )
        own = re.sub(r"(\nUse it (?:.+\n)+)", lambda found: f"{found[1]}\n{line}\n", own, count=1)
    return before + heading + own + following + behind


def section(row: dict[str, Any]) -> str:
    """A method's section: what its docstring says, what it takes, and when to use it.

    Raises:
        SystemExit: no paragraph of the docstring begins with "Use it".
    """
    doc = hf_tokcomp.methods()[row["method"]].compressor_class.__doc__ or ""
    said = [" ".join(part.split()).replace("``", "`") for part in inspect.cleandoc(doc).split("\n\n")]
    use = [part for part in said if part.startswith("Use it ")]
    if not use:
        raise SystemExit(f"{row['method']}: end the compressor's docstring with a paragraph that begins with 'Use it'.")
    needs = ", ".join(row["needs"]) or "nothing"
    defaults = {name: "none" if value is None else value for name, value in row["options"].items()}
    options = "; ".join(f"`{name}` ({value}): {row['help'][name]}" for name, value in defaults.items())
    takes = f"Count by {row['count']}; needs {needs}. {f'Options: {options}.' if options else 'No options.'}"
    text = [" ".join(part for part in said if part not in use), takes, *use]
    return "\n\n".join([f"## `{row['method']}`", *(textwrap.fill(part, 120) for part in text)]) + "\n"


def missing_files(folder: Path) -> dict[Path, str]:
    """Configs that no file of the folder holds, by the file's path: the defaults, and every option changed."""
    kept = [CompressionConfig.from_dict(json.loads(read(file))) for file in sorted(folder.glob("*.json"))]
    files: dict[Path, str] = {}
    for name, options in variants():
        made = config(name, **options)
        own = [old for old in kept if old.method == name]
        new = [key for key in options if key not in SHARED and not any(_changed(old, key) for old in own)]
        if new or not own:
            number = 0
            while (file := folder / (f"{name}-{number}.json" if number else f"{name}.json")).exists() or file in files:
                number += 1
            files[file] = made.to_json_string()
            kept.append(made)
    return files


def _changed(made: CompressionConfig, option: str) -> bool:
    return bool(getattr(made, option) != type(made).__dataclass_fields__[option].default)


def _unmeasured(page: str, listed: list[dict[str, Any]]) -> str:
    """docs/costs.md, whose numbers are one run's, naming the methods that are newer."""
    measured = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) | {"compose"}
    newer = [f"`{row['method']}`" for row in listed if row["method"] not in measured]
    page = re.sub(f"\n{UNMEASURED}.*\n", "", page).rstrip("\n") + "\n"
    return page + (f"\n{UNMEASURED}{', '.join(newer)}.\n" if newer else "")


def _between(page: str, lines: list[str]) -> str:
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + "\n".join([*lines, END]) + rest.partition(END)[2]


def read(file: Path) -> str:
    return file.read_text(encoding="utf-8")


if __name__ == "__main__":
    for file, text in written().items():
        if not file.exists() or read(file) != text:
            file.write_text(text, encoding="utf-8")
            print(f"wrote {file.relative_to(ROOT)}")
