"""What compression saves at full size: both public models with random weights, on one GPU, in one command.

``hf-tokcomp bench --full-size FOLDER`` measures Qwen2-Audio 7B and Audio Flamingo 3, one clip and eight, ten minutes of
audio, ragged batches, and the usual way to attention scores. A part that is in FOLDER already is not measured again.
docs/benchmarks.md explains the tables. ``python -m hf_tokcomp.benchmarks.full_size FOLDER`` does the same, also in
parts, and on a small machine: ``--layers 1 --small``.
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
    """What is measured on one model.

    Args:
        title: of its tables.
        model: its name among the architectures.
        windows: lengths of the clips, in windows of the model's encoder (30 s).
        batch_sizes: clips together.
        methods: compressions.
        ratios: their retention ratios.
        ragged: whether clips differ in length; then they are also read one by one, and the rivals' way.
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
    """How everything in a folder is measured.

    Args:
        layers: so many of each stack; None for all.
        small: little of everything, to see whether it works.
        device: ``"auto"`` is a GPU if there is one, else the CPU.
        dtype: ``"auto"`` is float32 on a CPU, bfloat16 elsewhere.
    """

    layers: int | None = None
    small: bool = False
    device: str = "auto"
    dtype: str = "auto"

    def resolved(self) -> Settings:
        """The same with a device and a precision instead of ``"auto"``.

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
        arguments: without the program's name; None for those of the process.
        sizes: of the models by name; small ones for a test.
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
    """Measure what is not in the folder yet, and write the tables of all that is.

    Args:
        folder: where reports, tables and pictures go.
        how: the same for all that is in one folder.
        page: whose tables to write anew, too.
        names: of the parts; None for all.
        plots: whether to draw pictures, which need matplotlib.
        sizes: of the models by name; None for those that ship.

    Returns:
        A line that says what is in the folder.

    Raises:
        FileNotFoundError: there is no such page.
        ImportError: there is no matplotlib for the pictures.
        ValueError: the page has no place for the tables, there is no such device, or the folder holds what was measured
            in another way.
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
    """The reports of all parts that are in the folder in the end, by name."""
    if plots:
        from .. import plotting  # noqa: F401  # complains of a missing matplotlib before anything is measured
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
            subject = None  # its memory is needed
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
    """The part's plan; a small one has the same shape, with less of everything."""
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
    """The report of a part that is finished.

    Raises:
        ValueError: it was measured in another way.
    """
    file = folder / f"{name}.json"
    if not file.is_file():
        return None
    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if report["settings"] != settings:
        raise ValueError(f"{file} was measured with {report['settings']}, not {dict(settings)}; name another folder.")
    return report if report["done"] else None


def _save(file: Path, report: dict[str, Any]) -> None:
    """Also while it runs, so that what ends it takes nothing along."""
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
