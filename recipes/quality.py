"""Measures how the methods affect the three skills of the shipped model, for docs/results.md.

``python -m recipes.quality FOLDER --data CORPORA`` runs the model on 500 items per skill under every method
that needs no training, at 1/2, 1/4 and 1/10 of the tokens and with both kinds of positions, and reports which
methods differ. A second run resumes the first; under ``torchrun`` the processes share the work.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hf_tokcomp.checkpoints import SMALL_MODEL
from hf_tokcomp.config.notation import ratio_name
from hf_tokcomp.evaluation.asked import Asked
from hf_tokcomp.evaluation.evaluation import ask_all, measure
from hf_tokcomp.evaluation.items import Dataset
from hf_tokcomp.evaluation.journal import Given, Key
from hf_tokcomp.evaluation.plan import Run, by_cell, plan
from hf_tokcomp.evaluation.scores import Differences
from hf_tokcomp.evaluation.tasks import get_task
from hf_tokcomp.hub.whole_files import write_whole
from hf_tokcomp.inference.processes import process
from hf_tokcomp.inference.reader import Reader
from hf_tokcomp.reporting.console import complain, quiet_transformers
from hf_tokcomp.reporting.pages import Table, as_markdown, check_place, fill_place

BEGIN = "<!-- begin: written by python -m recipes.quality --markdown -->"
COMPARED = "comparisons.md"
TASKS = ("digits", "sound_captions", "sound_choices")
COMPRESSIONS = (
    "all",
    "average_pooling:allocation=content",
    "ltbm:allocation=content",
    "none:encoder_stride=2",
    "none:encoder_merge=0.25",
    "none:encoder_merge=0.5",
    "average_pooling:encoder_stride=2",
    "average_pooling:encoder_merge=0.5",
)
RATIOS = (1.0, 1 / 2, 1 / 4, 1 / 10)
POSITIONS = ("contiguous", "original")
PAIRS = (
    ("segmentwise_top_k", "top_k"),
    ("segmentwise_top_k", "random"),
    ("random", "top_k"),
    ("random", "bottom_k"),
    ("ltbm", "global_merge"),
    ("average_pooling", "stride"),
    ("ltbm", "average_pooling"),
    ("ltbm", "segmentwise_top_k"),
    ("average_pooling:allocation=content", "average_pooling"),
    ("ltbm:allocation=content", "ltbm"),
)
"""Pairs of methods to compare on the same items."""
DRAWN = (
    "none",
    "average_pooling",
    "ltbm",
    "global_merge",
    "random",
    "segmentwise_top_k",
    "top_k",
    "bottom_k",
    "sa_map",
)
"""Methods shown in the plot, which has no room for all."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = _parser().parse_args(arguments)
    try:
        if given.markdown is not None:
            check_place(given.markdown, BEGIN)
            from hf_tokcomp.plotting.quality import plot_quality
            from hf_tokcomp.plotting.saving import save
        quiet_transformers()
        reader = Reader(str(SMALL_MODEL))
        where = dict.fromkeys(TASKS, Dataset(given.data, count=given.items))
        asked = ask_all(reader.processor, [get_task(name) for name in TASKS], where)
        runs, left_out = plan(COMPRESSIONS, RATIOS, POSITIONS, seeds=3)
        state = process()
        reader.load_model(str(state.device), "float32")
        asking = (reader.model, reader.processor, asked, runs, left_out, given.folder)
        measured = measure(*asking, batch_size=given.batch_size, name=SMALL_MODEL.name)
        if not state.is_main_process:
            return 0
        compared = as_markdown(comparisons(asked, runs, measured.answers), ())
        write_whole(given.folder / COMPARED, compared + "\n")
        if given.markdown is not None:
            fill_place(given.markdown, BEGIN, f"{measured.text}\n\n{compared}")
            drawn = [each for each in measured.scores if each.method in DRAWN]
            titles = {each.task.name: each.task.title for each in asked}
            save(plot_quality(drawn, titles), given.markdown.with_suffix(".svg"))
        print(f"{measured.text}\n\n{compared}")
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        complain("error", error)
        return 1
    return 0


def comparisons(asked: Sequence[Asked], runs: Sequence[Run], answers: Mapping[Key, Given]) -> list[Table]:
    """One table per task: by how much the first of two methods, or kinds of positions, outscores the second.

    Methods are compared with original positions, and positions under every method.
    """
    cells = by_cell(runs)
    ratios = [ratio for ratio in RATIOS if ratio < 1]
    methods = dict.fromkeys(method for method, ratio, _ in cells if ratio in ratios)
    pairs = [(f"{one} - {two}", (one, "original"), (two, "original")) for one, two in PAIRS]
    pairs += [(f"{name}, original - contiguous", (name, "original"), (name, "contiguous")) for name in methods]
    tables = []
    for task in asked:
        differences, rows = Differences(task, answers), []
        for name, (method, kind), (other, other_kind) in pairs:
            found = [
                differences.between(cells[method, ratio, kind], cells[other, ratio, other_kind]) for ratio in ratios
            ]
            rows.append([name, *(f"{value:+.1f} ({low:+.1f} to {high:+.1f})" for value, low, high in found)])
        title = f"{task.task.title}: differences in points, with 95 % intervals"
        tables.append(Table(title, ["difference", *map(ratio_name, ratios)], rows))
    return tables


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="answers, results and tables; what is there is not done again")
    parser.add_argument("--data", required=True, help="folder with digits/ and sounds/")
    parser.add_argument("--items", type=int, help="items of each task; default: 500")
    parser.add_argument("--batch-size", type=int, default=50, help="recordings read together")
    parser.add_argument(
        "--markdown",
        type=Path,
        metavar="PAGE",
        help="write the tables between the page's markers, and a picture of the same name beside it",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
