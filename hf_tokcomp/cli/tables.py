"""`hf-tokcomp methods` and `hf-tokcomp models`: list the registered methods and models."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..reporting.console import print_json, print_table
from .completion import complete_method
from .groups import OUTPUT, READ
from .imported import ImportOption, import_modules
from .options import JsonOption

if TYPE_CHECKING:
    from ..config.registry import Method

FAMILIES = ("-", "pooling", "sampling", "pruning", "merging", "hybrid", "learned", "compose")
"""Families in the order in which their methods are listed; methods of other families come last."""
DASH = "\N{EN DASH}"


def methods(
    name: Annotated[
        str | None,
        typer.Argument(
            rich_help_panel=READ, autocompletion=complete_method, help="Show one method and explain its options."
        ),
    ] = None,
    as_json: JsonOption = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", rich_help_panel=OUTPUT, help="Print the table of docs/methods.md.")
    ] = False,
    imports: ImportOption = None,
) -> None:
    """List the compression methods, with their options and defaults."""
    from .. import compressors  # noqa: F401 - registers them
    from ..config.registry import get_method

    import_modules(imports or ())
    listed = [row for row in list_methods() if name is None or row["method"] == get_method(name).name]
    if as_json:
        print_json(listed)
        return
    if markdown:
        print("\n".join(markdown_table(listed)))
        return
    if name is not None:
        _print_one(listed[0])
        return
    rows = [
        (
            row["method"],
            row["family"],
            row["count"],
            ", ".join(row["needs"]) or "-",
            ", ".join(f"{name}={value}" for name, value in row["options"].items()) or "-",
            row["idea"],
        )
        for row in listed
    ]
    print_table(("method", "family", "count", "needs", "options", "idea"), rows)
    print(
        "\ncount: whether the number of tokens that are kept depends on the audio's length or its content;\n"
        "       a processor can only announce the former.\n"
        "needs: inputs besides the features, with default options.\n"
        "Every method but `none` and `compose` takes a budget: retention_ratio (default 0.5, but for a\n"
        "count by content), tokens_per_second or max_tokens. All take positions: contiguous (default) or\n"
        "original. Most take chunk_seconds and allocation (even or content), see docs/methods.md.\n"
        "All take skip_padding, encoder_stride (1 or 2) and encoder_merge (0 to 0.9): the encoder's cost.\n"
        "`hf-tokcomp methods NAME` says what the options of one are."
    )


def _print_one(row: dict[str, Any]) -> None:
    """Print a method and its options, one per line: its own options first, then those of all methods."""
    from ..config.checks import metadata_of, values_of
    from ..config.config import BUDGETS, CHUNKS
    from ..config.registry import get_method

    cls = get_method(row["method"]).config_class
    print(f"{row['method']}: {row['idea']}\n")
    print(f"family: {row['family']}\nsource: {row['source'] or '-'}\ncount by: {row['count']}")
    print(f"needs: {', '.join(row['needs']) or '-'}")
    print(f"measured: {row['measured'] or '-'}\n")
    refused = {"method", "schema_version", "hf_tokcomp_version"}
    refused |= set(() if row["budget"] else BUDGETS) | set(() if row["chunks"] else CHUNKS)
    fields = [field for field in dataclasses.fields(cls) if field.name not in refused]
    rows = [
        (
            field.name,
            str(_default(field)),
            values_of(cls, field.name) or "-",
            metadata_of(cls, field.name).get("help", "-"),
        )
        for field in sorted(fields, key=lambda field: field.name not in row["options"])
    ]
    print_table(("option", "default", "takes", "meaning"), rows)


def markdown_table(listed: list[dict[str, Any]]) -> list[str]:
    """The lines of the method table in docs/methods.md."""
    lines = ["| method | family | count by | needs | source | idea |", "|---|---|---|---|---|---|"]
    for row in listed:
        link = f"[`{row['method']}`](#{row['method']})"
        needs = ", ".join(row["needs"]) or "-"
        lines.append(f"| {link} | {row['family']} | {row['count']} | {needs} | {_linked(row)} | {row['idea']} |")
    return lines


def readme_table(listed: list[dict[str, Any]]) -> list[str]:
    """The lines of the method table in README.md, with each key linking to the method's file."""
    from ..config.registry import get_method

    lines = ["| method | family | idea | needs | source |", "|---|---|---|---|---|"]
    for row in listed:
        file = get_method(row["method"]).compressor_class.__module__.replace(".", "/") + ".py"
        cells = (row["family"], row["idea"], ", ".join(row["needs"]), _linked(row))
        lines.append(f"| [`{row['method']}`]({file}) | {' | '.join(cell.strip('-') or DASH for cell in cells)} |")
    return lines


def _linked(row: dict[str, Any]) -> str:
    return re.sub(r"arXiv (\d{4}\.\d{5})", r"[\1](https://arxiv.org/abs/\1)", row["source"]) or "-"


def list_methods() -> list[dict[str, Any]]:
    """Every registered method as a dict."""
    from .. import compressors  # noqa: F401 - registers them
    from ..config.checks import metadata_of
    from ..config.config import CompressionConfig
    from ..config.measured import words_right
    from ..config.registry import methods as registered

    shared = {field.name for field in dataclasses.fields(CompressionConfig)}
    return [
        {
            "method": name,
            "family": method.family,
            "count": _count_by(method),
            "needs": sorted(method.needs),
            "source": method.source,
            "budget": method.config_class.accepts_budget,
            "chunks": method.config_class.accepts_chunks,
            "options": {
                field.name: _default(field)
                for field in dataclasses.fields(method.config_class)
                if field.name not in shared
            },
            "help": {
                field.name: metadata_of(method.config_class, field.name).get("help", "")
                for field in dataclasses.fields(method.config_class)
                if field.name not in shared
            },
            "idea": method.idea,
            "measured": words_right(method.name),
        }
        for name, method in sorted(registered().items(), key=_by_family)
    ]


def _by_family(item: tuple[str, Method]) -> tuple[int, str]:
    name, method = item
    return FAMILIES.index(method.family) if method.family in FAMILIES else len(FAMILIES), name


def _count_by(method: Method) -> str:
    """What determines the number of tokens kept: the audio's length, its content, or either, depending on options."""
    from ..config.config import CompressionConfig

    own = inspect.getattr_static(method.config_class, "deterministic_length")
    one, other = ("length", "content") if method.deterministic_length else ("content", "length")
    either = isinstance(own, property) and own is not inspect.getattr_static(CompressionConfig, "deterministic_length")
    return f"{one} or {other}" if either else one


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return list(field.default) if isinstance(field.default, tuple) else field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return "required"


def models(as_json: JsonOption = False, imports: ImportOption = None) -> None:
    """List the models that can be patched, and whether they can be with what is installed."""
    import_modules(imports or ())
    listed = list_models()
    if as_json:
        print_json(listed)
        return
    # Names this long fit into 80 columns only one per line; a pipe expects one line per model.
    between = "\n" if sys.stdout.isatty() else ", "
    rows = [
        (
            row["model_type"],
            f"{row['audio_tokens_per_second']:g}",
            between.join([*row["classes"], row["processor"]]),
            between.join(row["auto_classes"]),
        )
        for row in listed
    ]
    print_table(("model type", "tokens/s", "classes", "Auto classes"), rows)
    print("\nWhat is needed besides a plain install:")
    print_table(("model type", "transformers", "packages of its processor"), _needs(listed))
    first = listed[0]
    refused = [row["model_type"] for row in listed if not row["accepted"]]
    verdict = f"not accepted for {', '.join(refused)}" if refused else "accepted"
    speaking = ", ".join(row["model_type"] for row in listed if row["speech_rate"])
    print(f"\nModels that speak (`run --speak`, `eval s2st`): {speaking}.")
    print(f"Tried with transformers {first['transformers'].replace('-', ' to ')}.")
    print(f"The installed transformers {first['installed']} is {verdict}.")
    for problem in dict.fromkeys(filter(None, (row["problem"] for row in listed))):
        print(problem)
    for package in first["out_of_bounds"]:
        print(f"Installed past what was tried: {package}.")


def _needs(listed: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """The rows of models that need more than others do; packages that are not installed are marked."""
    rows = []
    for row in listed:
        packages = [f"{name} (missing)" if name in row["missing"] else name for name in row["packages"]]
        since = f"{row['since']} or newer" if row["since"] else "-"
        if row["since"] or packages:
            rows.append((row["model_type"], since, ", ".join(packages) or "-"))
    return rows


def _is_missing(package: str) -> bool:
    try:
        metadata.version(package.partition("[")[0])
    except metadata.PackageNotFoundError:
        return True
    return False


def list_models() -> list[dict[str, Any]]:
    """Every supported model as a dict."""
    from ..models.registry import auto_classes, supported_models
    from ..models.versions import NEWEST_TRIED, OLDEST_TRIED, installed_version, out_of_bounds, verdict

    patches = supported_models()
    problems = {model_type: verdict(patch) for model_type, patch in patches.items()}
    outside = out_of_bounds()
    return [
        {
            "model_type": model_type,
            "classes": list(patch.model_classes),
            "processor": patch.processor_class,
            "auto_classes": auto_classes(patch),
            "audio_tokens_per_second": patch.frame_rate,
            "several_audios": patch.several_audios,
            "since": patch.since,
            "packages": list(patch.packages),
            "missing": [package for package in patch.packages if _is_missing(package)],
            "speech_rate": patch.speech_rate,
            "transformers": f"{OLDEST_TRIED}-{NEWEST_TRIED}",
            "installed": installed_version(),
            "accepted": problems[model_type] is None,
            "problem": problems[model_type],
            "out_of_bounds": outside,
        }
        for model_type, patch in patches.items()
    ]
