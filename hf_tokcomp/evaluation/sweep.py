"""sweep: every item of every task under every run, batch by batch, each answer written down as it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from accelerate import PartialState
from accelerate.utils import parse_flag_from_env

from ..compressor import AudioTokenCompressor
from ..encoder_reuse import reuse_encoder
from ..instruction import model_inputs
from ..patching import _inner, compressed
from ..registry import get_method
from ..training.answers import generate
from ..training.collator import AudioTextCollator
from .items import Items
from .journal import Given, Journal
from .likelihood import option_inputs, option_likelihoods
from .plan import Run
from .task import Task

Key = tuple[str, str, str]


@dataclass(frozen=True, eq=False)
class Asked:
    """A task with its items and what is asked about each.

    Args:
        task: the task.
        items: its items.
        prompts: the instruction of each.
        max_new_tokens: of an answer.
        by_likelihood: answer with the likeliest option instead of generating.
    """

    task: Task
    items: Items
    prompts: list[str]
    max_new_tokens: int
    by_likelihood: bool = False


def process() -> PartialState:
    """This process among those that `accelerate launch` or `torchrun` started; on CPUs they must be told to be many."""
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))


def sweep(
    model: Any,
    collator: AudioTextCollator,
    asked: Sequence[Asked],
    runs: Sequence[Run],
    journal: Journal,
    *,
    batch_size: int = 8,
    on_batch: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Answer what the journal has no answer to yet.

    Items of about the same length are read together, a batch under all runs in turn, so that its features are computed
    once, and by default its encoding, too; batches are dealt out to the processes.

    Args:
        model: a supported model, patched or not; a compressor that it has learned is used where a run has its method.
        collator: makes the prompts, with the model's processor.
        asked: the tasks.
        runs: the configs.
        journal: where answers go.
        batch_size: items read together.
        on_batch: told how many batches of this process are done, of how many.

    Raises:
        what reading the audio or generating raises, with the items named: no answer is ever left empty instead.
    """
    state = process()
    done = set(journal.read())
    state.wait_for_everyone()  # nobody writes before everybody has read, or two would do the same
    journal.mend()
    work = [(task, batch) for task in asked for batch in _batches(task.items.samples, batch_size)][
        state.process_index :: state.num_processes
    ]
    needs = _needs(runs)
    was_training = model.training
    model.eval()
    try:
        for number, (task, batch) in enumerate(work):
            on_batch(number, len(work))
            missing = {run.key: _missing(task, batch, run, done) for run in runs}
            prepared: dict[tuple[int, ...], Any] = {}
            with reuse_encoder(needs):
                for run in runs:
                    places = missing[run.key]
                    if places:
                        journal.write(_answered(model, collator, task, places, run, prepared))
        on_batch(len(work), len(work))
    finally:
        model.train(was_training)
    state.wait_for_everyone()


def _batches(samples: Sequence[int], size: int) -> Iterator[list[int]]:
    """Places of items, of about the same length together: padding is waste. The longest first, to fail early."""
    order = sorted(range(len(samples)), key=lambda place: (-samples[place], place))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _missing(task: Asked, batch: Sequence[int], run: Run, done: set[Key]) -> tuple[int, ...]:
    items = task.items.items
    return tuple(place for place in batch if (task.task.name, items[place].id, run.key) not in done)


def _needs(runs: Sequence[Run]) -> frozenset[str]:
    found: frozenset[str] = frozenset()
    for run in runs:
        if not get_method(run.config.method).learns:
            found |= AudioTokenCompressor.from_config(run.config).requires
    return found


def _answered(
    model: Any,
    collator: AudioTextCollator,
    task: Asked,
    places: tuple[int, ...],
    run: Run,
    prepared: dict[tuple[int, ...], Any],
) -> list[Given]:
    """The answers about the items at these places; what was prepared for one run serves the next."""
    items = [task.items.items[place] for place in places]
    try:
        if places not in prepared:
            prepared.clear()
            prepared[places] = _prepared(model, collator, task, places)
        with compressed(model, run.config):
            if task.by_likelihood:
                choices = [item.choices for item in items]
                scores, before, after = option_likelihoods(model, prepared[places], choices)
                best = [row.index(max(row)) for row in scores]
                texts = [item.choices[place] for item, place in zip(items, best, strict=True)]
            else:
                texts = generate(model, collator, prepared[places], task.max_new_tokens)
                record = _inner(model).audio_compressor.last
                before, after, scores = record.tokens_before, record.tokens_after, [[]] * len(items)
    except Exception as error:
        ids = ", ".join(item.id for item in items)
        raise RuntimeError(
            f"No answer to {task.task.name}, items {ids}, under {run.key}: {type(error).__name__}: {error} "
            "(what was answered before is kept)"
        ) from error
    return [
        Given(task.task.name, item.id, run.key, text, before[place], after[place], tuple(scores[place]))
        for place, (item, text) in enumerate(zip(items, texts, strict=True))
    ]


def _prepared(model: Any, collator: AudioTextCollator, task: Asked, places: Sequence[int]) -> Any:
    rows = [{"audio": task.items.audio_of(place), "prompt": task.prompts[place]} for place in places]
    inner = _inner(model)
    if task.by_likelihood:
        inputs = option_inputs(collator, rows, [task.items.items[place].choices for place in places])
        return {name: v.to(inner.device, inner.dtype if v.is_floating_point() else None) for name, v in inputs.items()}
    prompts = collator.prompts(rows)
    inputs = model_inputs(collator.processor, prompts.texts, prompts.samples, collator.rate)
    return inputs.to(inner.device, dtype=inner.dtype)
