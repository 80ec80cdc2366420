"""Measures all methods on pretrained Whisper models, for docs/real-weights.md.

``python -m recipes.real_weights FOLDER --data LIBRISPEECH`` gets the weights (``recipes.whisper_weights``), and lets
tiny.en and base transcribe the utterances under every method that needs no training, with all, 1/2, 1/4 and 1/10 of the
tokens, at Whisper's 50 tokens a second and pooled to 25. A second run resumes the first; under ``torchrun`` the
processes share the work.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hf_tokcomp.hub.whole_files import write_whole
from hf_tokcomp.inference.processes import process
from hf_tokcomp.reporting.console import complain, quiet_transformers
from hf_tokcomp.reporting.options import parse_list
from hf_tokcomp.reporting.pages import check_place, fill_place, tell

from ..whisper_weights.__main__ import make
from ..whisper_weights.sources import SOURCES
from .measuring import EXTENTS, RATES, Subject, answer, runs_of
from .tables import BEGIN, page, summary

REPORT = "real-weights.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = _parser().parse_args(arguments)
    try:
        if given.markdown is not None:
            check_place(given.markdown, BEGIN)
        quiet_transformers()
        models = parse_list(given.models, "--models", str, tuple(SOURCES))
        rates = parse_list(given.rates, "--rates", int, tuple(RATES))
        reports = _measure(given, models, rates)
        if not process().is_main_process:
            return 0
        write_whole(given.folder / REPORT, json.dumps(reports, indent=1) + "\n")
        text = page(reports)
        if given.markdown is not None:
            fill_place(given.markdown, BEGIN, text)
        if given.summary is not None:
            write_whole(given.summary, json.dumps(summary(reports), indent=1) + "\n")
        print(text)
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        complain("error", error)
        return 1
    return 0


def _measure(given: argparse.Namespace, models: Sequence[str], rates: Sequence[int]) -> list[dict[str, Any]]:
    state, reports = process(), []
    for name in models:
        weights = given.folder / "weights" / f"whisper-{name}"
        if state.is_main_process:
            make(weights, SOURCES[name])
        state.wait_for_everyone()
        for rate in rates:
            tell(f"whisper-{name} at {rate} tokens a second")
            subject = Subject(name, weights, rate)
            results = given.folder / f"{name}-{rate}"
            reports.append(
                answer(subject, given.data, results, runs_of(rate, EXTENTS[name]), given.batch_size, given.items)
            )
    return reports


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="weights, answers and results; what is there is not done again")
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of LibriSpeech: a subset, or recordings and transcripts.tsv"
    )
    parser.add_argument("--models", metavar="A,B", default="tiny.en,base", help="default: tiny.en,base")
    parser.add_argument("--rates", metavar="R,R", default="50,25", help="tokens a second; default: 50,25")
    parser.add_argument("--items", type=int, help="only the first utterances; default: all")
    parser.add_argument("--batch-size", type=int, default=25, help="utterances read together; default: 25")
    parser.add_argument("--summary", type=Path, metavar="FILE", help="write hf_tokcomp/config/measured.json")
    parser.add_argument("--markdown", type=Path, metavar="PAGE", help="rewrite the tables between the page's markers")
    return parser


if __name__ == "__main__":
    sys.exit(main())
