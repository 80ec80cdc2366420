"""`hf-tokcomp eval`: benchmarks under many compressions, resumable, with intervals and tables."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from .options import DeviceOption, DtypeOption, ModelOption, Positions, parse_list
from .report import versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..evaluation.sweep import Asked
    from .inference import Reader

logger = logging.getLogger(__name__)
PICTURE = "quality.png"


def evaluate(
    tasks: Annotated[
        list[str],
        typer.Argument(
            metavar="TASK...",
            help="audiocaps, clotho, clothoaqa, mmau, librispeech, covost2; or, for the "
            "shipped model, digits, sound_captions, sound_choices.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            metavar="DIR",
            help="Answers and results; a second start with the same folder goes on where the first one stopped.",
        ),
    ],
    model: ModelOption = None,
    compression: Annotated[
        list[str] | None,
        typer.Option(
            "--compression",
            metavar="METHOD|JSON|FOLDER|HUB_ID",
            help="How to compress; can be given several times. METHOD may have options, ltbm:window=4, or be several, "
            "ltbm+top_k; `all` stands for every method that needs no training. Default: what the checkpoint asks for.",
        ),
    ] = None,
    retention_ratio: Annotated[
        str | None,
        typer.Option(
            "--retention-ratio",
            metavar="R,R,...",
            help="Fractions of the audio tokens to keep. Default: each compression's own budget.",
        ),
    ] = None,
    positions: Annotated[
        str | None,
        typer.Option("--positions", metavar="P,P", help="contiguous, original or both. Default: each compression's."),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="Seeds, for methods that draw.")] = 3,
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", metavar="[TASK=]NAME", help="Hub id, table or folder of the data."),
    ] = None,
    config_name: Annotated[
        list[str] | None, typer.Option("--dataset-config", metavar="[TASK=]NAME", help="Configuration on the Hub.")
    ] = None,
    split: Annotated[list[str] | None, typer.Option("--split", metavar="[TASK=]NAME", help="Which part.")] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--columns",
            metavar="[TASK=]ROLE:NAME,...",
            help="Columns of audio, text, question, choices, subset and id; texts in several columns as text:A+B.",
        ),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            "--prompt",
            metavar="[TASK=]TEXT",
            help="What to ask, with {question} and {options} where the "
            "item's belong. With the model's audio placeholder in it, it is the whole prompt.",
        ),
    ] = None,
    items: Annotated[
        int | None, typer.Option("--items", metavar="N", min=1, help="Only the first N items of each task.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the items of the shipped model's tasks.")] = 0,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out rows that cannot be used.")] = False,
    choice_scoring: Annotated[
        Literal["string_match", "similarity", "likelihood"],
        typer.Option(
            "--choice-scoring",
            help="How an option is found: MMAU's string match, Sentence-BERT similarity, "
            "or the option with the highest log-likelihood, without any text.",
        ),
    ] = "string_match",
    similarity_model: Annotated[
        str | None, typer.Option("--similarity-model", metavar="NAME", help="Sentence-BERT model, for similarity.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", metavar="N", min=1, help="Recordings read together.")] = 8,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", metavar="N", min=1, help="Default: the task's.")
    ] = None,
    resamples: Annotated[int, typer.Option("--resamples", min=100, help="Of the bootstrap over recordings.")] = 1000,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
) -> None:
    """Measure what compressions cost on benchmarks, beside the uncompressed model.

    Every answer is written down as it comes. Under `accelerate launch` the work is shared among the processes.
    """
    from ..checkpoints import SMALL_MODEL
    from ..evaluation.folder import ResultFolder
    from ..evaluation.items import Dataset
    from ..evaluation.journal import Journal
    from ..evaluation.metrics import load_metric
    from ..evaluation.plan import plan
    from ..evaluation.scores import score
    from ..evaluation.sweep import process, sweep
    from ..evaluation.task import get_task
    from ..training import AudioTextCollator
    from .inference import Reader
    from .recordings import find_model

    names = list(dict.fromkeys(tasks))
    found = [get_task(name) for name in names]
    named, configured, parts = (by_task(given, names) for given in (dataset, config_name, split))
    asked_for = by_task(prompt, names)
    mapped = {name: parse_columns(text) for name, text in by_task(columns, names).items()}
    ratios = (
        []
        if retention_ratio is None
        else parse_list(retention_ratio, "--retention-ratio", lambda text: float(Fraction(text)))
    )
    kinds = [] if positions is None else parse_list(positions, "--positions", str, get_args(Positions))
    state = process()
    name = find_model(model)
    reader = Reader(name)
    wanted = compression or ([] if reader.stored is None else [reader.stored.to_json_string()])
    runs, left_out = plan(wanted, ratios, kinds, seeds)
    model_type = reader.patch.model_type
    asked = [
        ask(
            task,
            Dataset(
                named.get(task.name),
                configured.get(task.name),
                parts.get(task.name),
                mapped.get(task.name, {}),
                items,
                seed,
                skip_bad,
            ),
            reader,
            asked_for.get(task.name),
            max_new_tokens,
            choice_scoring == "likelihood" and task.kind == "choice",
        )
        for task in found
    ]
    metrics = {
        key: load_metric(key, **task.metric_options.get(key, {})).settings for task in found for key in task.metrics
    }
    reader.load_model(
        f"cuda:{state.local_process_index}" if state.num_processes > 1 and state.device.type == "cuda" else device,
        dtype,
    )
    for run in runs:
        reader.check_trained(run.config)
    folder = ResultFolder(output)
    about = reader.about()
    if state.is_main_process:
        folder.begin(
            {
                "model": name if name != str(SMALL_MODEL) else SMALL_MODEL.name,
                "dtype": about["dtype"],
                "tasks": {task.task.name: describe(task, asked_for.get(task.task.name), model_type) for task in asked},
            },
            {**versions(), "device": about["device"], "processes": state.num_processes, "batch_size": batch_size},
        )
    state.wait_for_everyone()
    journal = Journal(output, state.process_index)
    collator = AudioTextCollator(reader.processor, long_audio="cut")
    with progress(state.is_main_process) as on_batch:
        sweep(reader.model, collator, asked, runs, journal, batch_size=batch_size, on_batch=on_batch)
    if not state.is_main_process:
        return
    scores = score(asked, runs, journal.read(), choice_scoring, resamples, similarity_model)
    print(folder.finish(scores, asked, runs, metrics | {"choices": {"scoring": choice_scoring}}))
    print(f"\nIn brackets, 95 % intervals over recordings. {output} holds everything.")
    if any(run.positions is not None for run in runs) and importlib.util.find_spec("matplotlib") is not None:
        from ..plotting import plot_quality, save

        save(plot_quality(scores, {task.name: task.title for task in found}), output / PICTURE)
    for method, reason in left_out.items():
        print(f"Left out: {method}: {reason}.".replace("..", "."))


def ask(
    task: Any, where: Any, reader: Reader, template: str | None, max_new_tokens: int | None, by_likelihood: bool
) -> Asked:
    """A task with its items and prompts; says how many recordings the model does not hear to their end."""
    from ..evaluation.items import read_items
    from ..evaluation.sweep import Asked

    items = read_items(task, where, reader.rate)
    prompts = [task.prompt(reader.patch.model_type, item, template) for item in items.items]
    longest = reader.patch.longest_audio(reader.processor)
    cut = sum(samples / reader.rate > longest for samples in items.samples)
    if cut:
        logger.warning(
            "%s: %d of %d recordings are longer than the %g s that the model reads; it hears the first.",
            task.name,
            cut,
            len(items.items),
            longest,
        )
    return Asked(task, items, prompts, max_new_tokens or task.max_new_tokens, by_likelihood)


def describe(asked: Asked, template: str | None, model_type: str) -> dict[str, Any]:
    """What the answers to a task depend on, for the folder."""
    task = asked.task
    return {
        "dataset": asked.items.dataset,
        "items": len(asked.items.items),
        "skipped": asked.items.skipped,
        "digest": asked.items.digest,
        "prompt": template if template is not None else task.prompts.get(model_type, task.prompts[""]),
        "max_new_tokens": asked.max_new_tokens,
        "by_likelihood": asked.by_likelihood,
    }


def by_task(given: Sequence[str] | None, tasks: Sequence[str]) -> dict[str, str]:
    """Values by task: ``TASK=VALUE`` for one, ``VALUE`` for all."""
    found: dict[str, str] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        found |= {name: value} if equals and name in tasks else dict.fromkeys(tasks, text)
    return found


def parse_columns(text: str) -> Mapping[str, str]:
    """``audio:context,text:answer`` as names by role.

    Raises:
        ValueError: it is not written so.
    """
    found = {}
    for part in text.split(","):
        role, colon, name = part.strip().partition(":")
        if not colon or not name:
            raise ValueError(f"--columns: {part!r} is not ROLE:NAME.")
        found[role] = name
    return found


@contextmanager
def progress(shown: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, told how many batches are done of how many."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    disable = not (shown and sys.stderr.isatty())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=disable) as bar:
        task = bar.add_task("batches", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
