"""`evaluate`: measure compressions on benchmarks, compared with the model using all tokens."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UnsupportedModelError
from ..hub.prompt_file import StoredPrompt
from ..inference.asking import LONGEST_ANSWER, check_trained, longest_answer
from ..inference.collator import AudioTextCollator
from ..inference.processes import process
from ..inference.prompts import check_reads
from ..inference.speech import check_speaks, known_speaker
from ..loading.stored_prompt import read_prompt
from ..models.base import ModelPatch
from ..models.instance import unwrap
from ..models.registry import patch_for_processor
from ..patching.windows import advice
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
from .speech import Speech, Transcriber
from .sweep import sweep
from .tables import report
from .task import Item, Task
from .tasks import get_task

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """The results of a measurement; empty in all processes but the first.

    Args:
        scores: all scores.
        answers: all answers.
        text: the tables, in Markdown.
        values: the contents of the result file.
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
    speech: Speech | None = None,
    on_batch: Callable[[int, int], None] = lambda done, total: None,
) -> list[Score]:
    """Measure a model on benchmarks under several compressions; answers and results are written to a folder.

    A second call with the same folder resumes where the first one stopped. Under `accelerate launch`, every process
    calls this with the same arguments and takes a share of the work; the first process writes the results.

    Args:
        model: a supported model, on its device, possibly with an adapter and a trained compressor.
        processor: its processor, not patched.
        tasks: names of tasks, or custom tasks.
        output: the folder.
        compressions: as `hf_tokcomp.evaluation.plan.plan` takes them; `none` is always included.
        ratios: retention ratios; empty to use each compression's own budget.
        positions: kinds of positions; empty to use each compression's own.
        seeds: number of seeds for random methods.
        datasets: the sources of the items, by task; tasks not listed use their default source.
        prompts: prompts by task, replacing the tasks' own and the one that comes with the model (``prompt.json``). The
            prompt that comes with an adapter is not known for a model in memory: pass it here.
        max_new_tokens: replaces the tasks' own limits.
        batch_size: number of recordings per batch.
        choice_scoring: how the chosen option is found: by words, by Sentence-BERT, or by likelihood without any text.
        similarity_model: the Sentence-BERT model.
        resamples: number of bootstrap resamples.
        name: the name of the model in the results; by default what it was loaded from.
        speech: how the answers to spoken tasks (``s2st``) are spoken and written down.
        on_batch: called with the number of finished batches of this process, and their total.

    Returns:
        All scores; empty in all processes but the first.

    Raises:
        ValueError: a request is invalid, or the folder contains answers to different settings.
        UnsupportedModelError: a task is spoken and the model does not speak.
        FileNotFoundError: the data do not exist.
        RuntimeError: reading or generating failed; earlier answers are kept.
    """
    found = [get_task(each) if isinstance(each, str) else each for each in tasks]
    if any(task.spoken for task in found):
        check_speaks(unwrap(model).config, type(unwrap(model)).__name__)
    loaded_from = str(unwrap(model).config._name_or_path)
    # An adapter may have been trained with a different prompt than its base model.
    stored = None if hasattr(model, "peft_config") else read_prompt(loaded_from, {})
    limit = longest_answer(model)
    given = (datasets, prompts, max_new_tokens, choice_scoring, loaded_from, stored, limit, speech)
    asked = ask_all(processor, found, *given)
    runs, left_out = plan(compressions, ratios, positions, seeds, patch_for_processor(processor)[1])
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
    """`evaluate` for the results of `ask_all` and `plan`, so that errors can be found before a model is loaded.

    Args:
        model: as for `evaluate`, like all arguments not listed here.
        processor: its processor.
        asked: the tasks.
        runs: the compressions.
        left_out: the methods that were left out, and why.
        output: the folder; None to keep everything in memory, in one process.
        timed: record the seconds up to the first token and after it. Runs then do not share encoded audio.

    Raises:
        the same as `evaluate`.
    """
    check_trained(model, [run.config for run in runs])
    for run in runs:
        patch_for_processor(processor)[1].check_config(run.config)
    metrics = {each.task.name: _metrics(each.task) for each in asked}
    state = process()
    if output is None and state.num_processes > 1:
        raise ValueError(f"The answers of {state.num_processes} processes need a folder to meet in: add --output DIR.")
    folder = ResultFolder(output)
    journal = MemoryJournal() if output is None else Journal(output, state.process_index)
    inner = unwrap(model)
    called = name or inner.config._name_or_path
    for each in asked:
        if each.transcriber is not None:
            known_speaker(inner, each.transcriber.speech.speaker)
            each.transcriber.load(inner.device)
    if state.is_main_process:
        generation = {k: v for k, v in inner.generation_config.to_diff_dict().items() if "version" not in k}
        folder.begin(
            {
                "model": called,
                "dtype": str(inner.dtype).removeprefix("torch."),
                "weights": weights_digest(inner),  # also differs with the precision
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
    speech: Speech | None = None,
) -> list[Asked]:
    """Read the items of the tasks and build their prompts; reports how many recordings exceed the model's limit.

    `name` is what the model was loaded from: a base model is prompted without a chat template. `stored` is the prompt
    that came with it: it is used for tasks of its kind, unless `prompts` or the items have a question of their own.
    `longest_answer` is the model's own limit, for tasks that have none. `speech` is needed for spoken tasks.

    Raises:
        ValueError: an item has no question, and there is no common one; or a task is spoken and there is no `speech`.
        OSError: there is no such model for speech recognition.
    """
    transcriber = _transcriber(tasks, speech)
    patch = patch_for_processor(processor)[1]
    rate, longest = patch.sampling_rate(processor), patch.longest_audio(processor)
    found = []
    for task in tasks:
        heard = transcriber if task.spoken else None
        if heard is not None:
            task = heard.speech.task(task, heard.spellings)
        where = (datasets or {}).get(task.name, Dataset())
        items = read_items(task, where, rate)
        if not task.title:
            task = dataclasses.replace(task, title=data_name(where.name or items.dataset))
        template = (prompts or {}).get(task.name) or task.template(patch.model_type, name, stored)
        if not patch.reads_prompts:
            template = _no_prompt(patch, task, (prompts or {}).get(task.name))
        cut = sum(samples / rate > longest for samples in items.samples)
        if cut:
            logger.warning(
                "%s: %d of %d recordings are longer than the model's limit of %g s; it hears their beginning.%s",
                *(task.name, cut, len(items.items), longest, advice(patch)),
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
                heard,
            )
        )
    return found


def _no_prompt(patch: ModelPatch, task: Task, given: str | None) -> str:
    """The empty template, for a model that reads no prompt.

    Raises:
        UnsupportedModelError: the task is none of transcribing, or a prompt was given.
    """
    if task.kind != "asr" or task.spoken:
        raise UnsupportedModelError(
            f"{patch.model_type!r} transcribes what it hears and reads no prompt, so it cannot answer {task.name}: "
            "measure it on speech recognition, as with `asr` or `librispeech`."
        )
    check_reads(patch, given)
    return ""


def _transcriber(tasks: Sequence[Task], speech: Speech | None) -> Transcriber | None:
    spoken = [task.name for task in tasks if task.spoken]
    if not spoken:
        return None
    if speech is None:
        raise ValueError(
            f"The answers to {spoken[0]} are spoken, and written down before they are scored: pass "
            'speech=Speech(asr_model="openai/whisper-large-v3", language="en").'
        )
    return Transcriber(speech)


def _prompt(task: Task, template: str, item: Item) -> str:
    if task.own and "{question}" in template and not item.question:
        raise ValueError(
            f"{task.name}, item {item.id} of {task.title}: there is no question. Name its column with --columns "
            "question:NAME, or ask all the same with --prompt."
        )
    return task.prompt(template, item)


def _metrics(task: Task) -> dict[str, dict[str, str]]:
    """The settings of each metric; loading the metrics here reveals missing packages before hours are spent."""
    return {key: load_metric(key, **task.metric_options.get(key, {})).settings for key in task.metrics}
