"""Benchmark at full model size: both public models with random weights, on one GPU, in one command.

``hf-tokcomp bench --full-size FOLDER`` measures Qwen2-Audio 7B and Audio Flamingo 3 with one clip and eight, ten
minutes of audio, ragged batches, and the usual way to get attention scores. Parts that are already in FOLDER are not
measured again. docs/benchmarks.md explains the tables. ``python -m hf_tokcomp.benchmarks.full_size FOLDER`` does the
same, optionally in parts or on a small machine: ``--layers 1 --small``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import CompressionConfigError
from ..evaluation.plan import plan
from ..hub.whole_files import write_whole
from ..inference.devices import check_device
from ..reporting.console import complain
from ..reporting.options import DTYPES, parse_list
from ..reporting.pages import check_place, fill_place, tell
from .speed.architectures import sizes_of
from .speed.clips import make_room
from .speed.plan import SpeedPlan
from .speed.runner import SpeedBenchmark
from .speed.subject import Subject, random_subject
from .speed.tables import markdown

BEGIN = "<!-- begin: written by python -m hf_tokcomp.benchmarks.full_size --markdown -->"
PAGE = "speed.md"
METHODS = ("segmentwise_top_k", "average_pooling", "ltbm")


@dataclass(frozen=True)
class Part:
    """The measurements on one model.

    Args:
        title: title of its tables.
        model: its name among the architectures.
        windows: lengths of the clips, in windows of the model's encoder (30 s).
        batch_sizes: numbers of clips per batch.
        methods: the compressions.
        ratios: their retention ratios.
        ragged: whether clips differ in length; if so, they are also read one by one and with eager attention scores.
    """

    title: str
    model: str
    windows: Sequence[float] = (0.5, 1)
    batch_sizes: Sequence[int] = (1, 8)
    methods: Sequence[str] = METHODS
    ratios: Sequence[float] = (1 / 2, 1 / 4, 1 / 10)
    ragged: bool = False


QWEN, FLAMINGO = "qwen2-audio-7b", "audio-flamingo-3"
RAGGED: dict[str, Any] = {"windows": (1,), "batch_sizes": (8,), "methods": METHODS[:1], "ratios": (1 / 4,)}
PARTS = {
    "qwen": Part("Qwen2-Audio 7B", QWEN),
    "qwen-ragged": Part("Qwen2-Audio 7B, clips of several lengths", QWEN, **RAGGED, ragged=True),
    "flamingo": Part("Audio Flamingo 3", FLAMINGO),
    "flamingo-ragged": Part("Audio Flamingo 3, clips of several lengths", FLAMINGO, **RAGGED, ragged=True),
    "flamingo-long": Part("Audio Flamingo 3, long audio", FLAMINGO, (1, 2, 4, 10, 20), (1,), ratios=(1 / 4, 1 / 10)),
}


@dataclass(frozen=True)
class Settings:
    """The settings shared by all measurements in a folder.

    Args:
        layers: number of layers of each stack; None for all.
        small: measure a small version of everything, as a smoke test.
        device: ``"auto"`` is a GPU if available, otherwise the CPU.
        dtype: ``"auto"`` is float32 on a CPU and bfloat16 elsewhere.
    """

    layers: int | None = None
    small: bool = False
    device: str = "auto"
    dtype: str = "auto"

    def resolved(self) -> Settings:
        """The same settings with an explicit device and precision instead of ``"auto"``.

        Raises:
            ValueError: this machine has no such device.
        """
        found = "cuda" if torch.cuda.is_available() else "cpu"
        device = check_device(found if self.device == "auto" else self.device)
        dtype = ("float32" if device == "cpu" else "bfloat16") if self.dtype == "auto" else self.dtype
        return dataclasses.replace(self, device=device, dtype=dtype)


def main(arguments: Sequence[str] | None = None, sizes: Mapping[str, Mapping[str, Any]] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        arguments: arguments without the program name; None for those of the process.
        sizes: model sizes by name; small ones in tests.
    """
    given = _parser().parse_args(arguments)
    try:
        names = parse_list(given.parts, "--parts", str, tuple(PARTS))
        how = Settings(given.layers, given.small, given.device or "auto", given.dtype or "auto")
        said = run(given.folder, how, given.markdown, names, plots=not given.no_plots, sizes=sizes)
    except (CompressionConfigError, ValueError, OSError, RuntimeError, ImportError) as error:
        complain("error", error)
        return 1
    print(said)
    return 0


def run(
    folder: Path,
    how: Settings,
    page: Path | None = None,
    names: Sequence[str] | None = None,
    plots: bool = True,
    sizes: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """Measure the parts that are missing from the folder, and write the tables of all parts.

    Args:
        folder: the folder for reports, tables and plots.
        how: the settings, which must be the same for everything in a folder.
        page: a page whose tables are also updated.
        names: names of the parts; None for all.
        plots: whether to draw plots, which need matplotlib.
        sizes: model sizes by name; None for those that ship with the package.

    Returns:
        A line that summarises the contents of the folder.

    Raises:
        FileNotFoundError: the page does not exist.
        ImportError: matplotlib is needed for the plots but not installed.
        ValueError: the page has no section for the tables, there is no such device, or the folder holds measurements
            with other settings.
    """
    if page is not None:
        check_place(page, BEGIN)
    reports = _measure(folder, how.resolved(), names or tuple(PARTS), plots, sizes)
    text = "\n\n".join(f"### {PARTS[name].title}\n\n{markdown(report, 4)}" for name, report in reports.items())
    write_whole(folder / PAGE, f"# Full size\n\n{text}\n")
    if page is not None:
        fill_place(page, BEGIN, text)
    return f"{folder} holds {', '.join(reports)}; {PAGE} has the tables."


def _measure(
    folder: Path, how: Settings, names: Sequence[str], plots: bool, sizes: Mapping[str, Mapping[str, Any]] | None
) -> dict[str, dict[str, Any]]:
    """Measure, and return the reports of all parts in the folder by name."""
    if plots:
        from .. import plotting  # noqa: F401  # reports a missing matplotlib before anything is measured
    settings = dataclasses.asdict(how)
    folder.mkdir(parents=True, exist_ok=True)
    reports = {name: found for name in PARTS if (found := _finished(folder, name, settings)) is not None}
    subject: Subject | None = None
    for name in names:
        if name in reports:
            tell(f"{name} is there already.")
            continue
        part = PARTS[name]
        if subject is None or subject.name != part.model:
            subject = None  # free its memory
            make_room(torch.device(how.device))
            values = sizes_of(part.model, how.layers) if sizes is None else sizes[part.model]
            subject = random_subject(part.model, values, how.device, getattr(torch, how.dtype), how.layers)
        file = folder / f"{name}.json"
        whole = SpeedBenchmark(
            _plan(part, subject.window_seconds, how.small),
            subject,
            tell,
            lambda report, file=file: _save(file, report | {"settings": settings, "done": False}),  # type: ignore[misc]
        ).run()
        reports[name] = whole | {"settings": settings, "done": True}
        _save(file, reports[name])
        if not part.ragged and plots:
            from ..plotting import save
            from ..plotting.speed import plot_speed

            save(plot_speed(whole), file.with_suffix(".png"))
    return {name: reports[name] for name in PARTS if name in reports}


def _plan(part: Part, window_seconds: float, small: bool) -> SpeedPlan:
    """The plan of a part; a small one has the same structure, scaled down."""
    windows = part.windows[:2] if small else part.windows
    batch_sizes = tuple(min(audios, 2) for audios in part.batch_sizes[-1:]) if small else part.batch_sizes
    runs, _ = plan(part.methods[:1] if small else part.methods, part.ratios[:1] if small else part.ratios, [], 1)
    return SpeedPlan(
        runs=runs,
        audio_seconds=[window_seconds * count for count in windows],
        batch_sizes=batch_sizes,
        new_tokens=2 if small else 16,
        ragged=part.ragged,
        one_by_one=part.ragged,
        rivals=part.ragged,
        rounds=1 if small else 5,
        seconds=0.0,
    )


def _finished(folder: Path, name: str, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """The report of a part, or None if it is not finished.

    Raises:
        ValueError: it was measured with other settings.
    """
    file = folder / f"{name}.json"
    if not file.is_file():
        return None
    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if report["settings"] != settings:
        raise ValueError(f"{file} was measured with {report['settings']}, not {dict(settings)}; name another folder.")
    return report if report["done"] else None


def _save(file: Path, report: dict[str, Any]) -> None:
    """Save a report, also during the run, so that nothing is lost if the run is interrupted."""
    write_whole(file, json.dumps(report, indent=2) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hf_tokcomp.benchmarks.full_size",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="where reports, tables and pictures go")
    parser.add_argument("--parts", metavar="A,B", default=",".join(PARTS), help=f"default: {','.join(PARTS)}")
    parser.add_argument("--device", help="cpu, cuda, ...; default: a GPU if there is one")
    parser.add_argument("--dtype", choices=DTYPES, help="default: float32 on a CPU, bfloat16 elsewhere")
    parser.add_argument("--layers", type=int, metavar="N", help="keep N layers of each stack; default: all")
    parser.add_argument("--small", action="store_true", help="little of everything, to see whether it works")
    parser.add_argument("--no-plots", action="store_true", help="no pictures, which need matplotlib")
    parser.add_argument("--markdown", type=Path, metavar="PAGE", help="rewrite the tables between the page's markers")
    return parser


if __name__ == "__main__":
    sys.exit(main())
