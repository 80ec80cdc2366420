"""evaluate: what compressions cost a model on benchmarks, beside the model with all tokens."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..hub.prompt_file import StoredPrompt
from ..inference.asking import LONGEST_ANSWER, check_trained, longest_answer
from ..inference.collator import AudioTextCollator
from ..inference.processes import process
from ..loading.stored_prompt import read_prompt
from ..models.instance import unwrap
from ..models.registry import patch_for_processor
from ..reporting.environment import environment, place, weights_digest
from .asked import Asked
from .costs import costs
from .failing import failures
from .folder import ResultFolder, described_task
from .items import Dataset, data_name, read_items
from .journal import Given, Journal, Key, MemoryJournal
from .metrics import load_metric
from .plan import Run, plan
from .published import published_for
from .score import Score
from .scores import ChoiceScoring, score
from .sweep import sweep
from .tables import report
from .task import Item, Task
from .tasks import get_task

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """What a measurement found; in processes but the first, nothing.

    Args:
        scores: all numbers.
        answers: all answers.
        text: the tables, in Markdown.
        values: what is in the result file.
    """

    scores: list[Score] = field(default_factory=list)
    answers: dict[Key, Given] = field(default_factory=dict)
    text: str = ""
    values: dict[str, Any] = field(default_factory=dict)


def evaluate(
    model: Any,
    processor: Any,
    tasks: Sequence[str | Task],
    output: Path,
    *,
    compressions: Sequence[str] = (),
    ratios: Sequence[float] = (),
    positions: Sequence[str] = (),
    seeds: int = 3,
    datasets: Mapping[str, Dataset] | None = None,
    prompts: Mapping[str, str] | None = None,
    max_new_tokens: int | None = None,
    batch_size: int = 8,
    choice_scoring: ChoiceScoring = "string_match",
    similarity_model: str | None = None,
    resamples: int = 1000,
    name: str | None = None,
    on_batch: Callable[[int, int], None] = lambda done, total: None,
) -> list[Score]:
    """Measure a model on benchmarks under many compressions; answers and results are in a folder.

    A second call with the same folder goes on where the first one stopped. Under `accelerate launch` every process
    calls it with the same arguments, and takes a share of the work; the first one writes the results.

    Args:
        model: a supported model, on its device, perhaps with an adapter and what a compressor has learned.
        processor: its processor, not patched.
        tasks: names of tasks, or tasks of one's own.
        output: the folder.
        compressions: as `hf_tokcomp.evaluation.plan.plan` takes them; none is there in any case.
        ratios: retention ratios; empty for each compression's own budget.
        positions: kinds of positions; empty for each compression's own.
        seeds: of methods that draw.
        datasets: where the tasks' items are, by task; of others, at their usual place.
        prompts: in place of the tasks' own and of the one that comes with the model (``prompt.json``), by task. Which
            one comes with an adapter is not known of a model in memory: name it here.
        max_new_tokens: in place of the tasks' own.
        batch_size: recordings read together.
        choice_scoring: how an option is found: by words, by Sentence-BERT, or the likeliest without any text.
        similarity_model: of Sentence-BERT.
        resamples: of the bootstrap.
        name: what results call the model; by default what it was loaded from.
        on_batch: told how many batches of this process are done, of how many.

    Returns:
        All numbers; in processes but the first, none.

    Raises:
        ValueError: something that is asked for cannot be, or the folder holds answers to something else.
        FileNotFoundError: there are no such data.
        RuntimeError: reading or generating failed; what was answered before is kept.
    """
    found = [get_task(each) if isinstance(each, str) else each for each in tasks]
    loaded_from = str(unwrap(model).config._name_or_path)
    # An adapter may have been trained to be asked something else than its base model is.
    stored = None if hasattr(model, "peft_config") else read_prompt(loaded_from, {})
    limit = longest_answer(model)
    asked = ask_all(processor, found, datasets, prompts, max_new_tokens, choice_scoring, loaded_from, stored, limit)
    runs, left_out = plan(compressions, ratios, positions, seeds)
    measured = measure(
        model,
        processor,
        asked,
        runs,
        left_out,
        output,
        batch_size=batch_size,
        choice_scoring=choice_scoring,
        similarity_model=similarity_model,
        resamples=resamples,
        name=name,
        on_batch=on_batch,
    )
    return measured.scores


def measure(
    model: Any,
    processor: Any,
    asked: Sequence[Asked],
    runs: Sequence[Run],
    left_out: Mapping[str, str],
    output: Path | None,
    *,
    batch_size: int = 8,
    timed: bool = False,
    choice_scoring: ChoiceScoring = "string_match",
    similarity_model: str | None = None,
    resamples: int = 1000,
    name: str | None = None,
    on_batch: Callable[[int, int], None] = lambda done, total: None,
) -> Measured:
    """`evaluate` of what `ask_all` and `plan` returned, so that mistakes can be found before a model is loaded.

    Args:
        model: as for `evaluate`, as everything that is not named here.
        processor: its processor.
        asked: the tasks.
        runs: the compressions.
        left_out: which were not taken, and why.
        output: the folder; None to keep everything in memory, in one process.
        timed: note the seconds to the first token and after it. Then no run takes over what another one encoded.

    Raises:
        as `evaluate`.
    """
    check_trained(model, [run.config for run in runs])
    metrics = {each.task.name: _metrics(each.task) for each in asked}
    state = process()
    if output is None and state.num_processes > 1:
        raise ValueError(f"The answers of {state.num_processes} processes need a folder to meet in: add --output DIR.")
    folder = ResultFolder(output)
    journal = MemoryJournal() if output is None else Journal(output, state.process_index)
    inner = unwrap(model)
    called = name or inner.config._name_or_path
    if state.is_main_process:
        generation = {k: v for k, v in inner.generation_config.to_diff_dict().items() if "version" not in k}
        folder.begin(
            {
                "model": called,
                "dtype": str(inner.dtype).removeprefix("torch."),
                "weights": weights_digest(inner),  # of another precision they are other ones, too
                "generation": generation | {"do_sample": False, "num_beams": 1},
                "tasks": {each.task.name: described_task(each) for each in asked},
            },
            runs,
            environment() | place(inner) | {"processes": state.num_processes, "batch_size": batch_size},
        )
    state.wait_for_everyone()
    collator = AudioTextCollator(processor, long_audio="cut")
    sweep(model, collator, asked, runs, journal, batch_size=batch_size, timed=timed, on_batch=on_batch)
    if not state.is_main_process:
        return Measured()
    answers = journal.read()
    known = {run.key for run in runs}
    keys = [(each.task.name, item.id) for each in asked for item in each.items.items]
    earlier = [run for run in folder.runs() if run.key not in known and all((*key, run.key) in answers for key in keys)]
    every = [*runs, *earlier]
    scores = score(asked, every, answers, choice_scoring, resamples, similarity_model)
    measured_by: dict[str, Any] = {"metrics": metrics, "resamples": resamples, "left_out": dict(left_out)}
    if any(each.task.kind == "multiple_choice" for each in asked):
        measured_by |= {"choice_scoring": choice_scoring, "similarity_model": similarity_model}
    for text in failures(scores, asked):
        logger.warning("%s", text)
    papers = published_for(called, choice_scoring) if all(each.whole for each in asked) else []
    text = report(scores, asked, called, measured_by, papers)
    values = folder.finish(scores, costs(asked, every, answers), text, measured_by)
    return Measured(scores, answers, text, values)


def ask_all(
    processor: Any,
    tasks: Sequence[Task],
    datasets: Mapping[str, Dataset] | None = None,
    prompts: Mapping[str, str] | None = None,
    max_new_tokens: int | None = None,
    choice_scoring: ChoiceScoring = "string_match",
    name: str = "",
    stored: StoredPrompt | None = None,
    longest_answer: int = LONGEST_ANSWER,
) -> list[Asked]:
    """The tasks with their items and prompts; says how many recordings the model does not hear to their end.

    `name` is what the model was loaded from: a base model is asked without a chat template. `stored` is the prompt that
    came with it: tasks of its kind are asked so, unless `prompts` or the items have a question of their own.
    `longest_answer` is the model's own limit, for tasks that have none.

    Raises:
        ValueError: an item has no question, and there is none for all.
    """
    patch = patch_for_processor(processor)[1]
    rate, longest = patch.sampling_rate(processor), patch.longest_audio(processor)
    found = []
    for task in tasks:
        where = (datasets or {}).get(task.name, Dataset())
        items = read_items(task, where, rate)
        if not task.title:
            task = dataclasses.replace(task, title=data_name(where.name or items.dataset))
        template = (prompts or {}).get(task.name) or task.template(patch.model_type, name, stored)
        cut = sum(samples / rate > longest for samples in items.samples)
        if cut:
            logger.warning(
                "%s: %d of %d recordings are longer than the %g s that the model reads; it hears their beginning.",
                *(task.name, cut, len(items.items), longest),
            )
        found.append(
            Asked(
                task,
                items,
                [_prompt(task, template, item) for item in items.items],
                max_new_tokens or task.max_new_tokens or longest_answer,
                choice_scoring == "likelihood" and task.kind == "multiple_choice",
                template,
                cut,
                where.count is None,
            )
        )
    return found


def _prompt(task: Task, template: str, item: Item) -> str:
    if task.own and "{question}" in template and not item.question:
        raise ValueError(
            f"{task.name}, item {item.id} of {task.title}: there is no question. Name its column with --columns "
            "question:NAME, or ask all the same with --prompt."
        )
    return task.prompt(template, item)


def _metrics(task: Task) -> dict[str, dict[str, str]]:
    """What decides about each metric; loading them finds out what is not installed before hours are spent."""
    return {key: load_metric(key, **task.metric_options.get(key, {})).settings for key in task.metrics}
