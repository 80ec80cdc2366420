"""sweep: every item of every task under every run, batch by batch, each answer written down as it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..compressors.base import AudioTokenCompressor
from ..config.registry import get_method
from ..inference.answers import generate
from ..inference.collator import AudioTextCollator
from ..inference.processes import process
from ..inference.prompts import model_inputs
from ..models.encoder.reuse import reuse_encoder
from ..models.instance import unwrap
from ..patching.patch import compressed
from .asked import Asked
from .journal import Given, Journal, Key
from .likelihood import option_inputs, option_likelihoods
from .plan import Run

USUAL_OPTIONS = 4
"""What a batch is made smaller by where options are scored: each is a row of its own."""


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
    once, and its encoding, too. What is left to do is dealt out to the processes. A batch is the same at every start:
    where it was cut off it is read again as a whole, and what is there already is not written again.

    Args:
        model: a supported model, patched or not; a compressor that it has learned is used where a run has its method.
        collator: makes the prompts, with the model's processor.
        asked: the tasks.
        runs: the configs.
        journal: where answers go.
        batch_size: items read together.
        on_batch: told how many batches of this process are done, of how many.

    Raises:
        RuntimeError: reading the audio or generating failed; the items are named. No answer is ever left empty instead.
    """
    state = process()
    wanted = {run.key for run in runs}
    done = {given.key for given in journal.answers() if given.run in wanted}
    state.wait_for_everyone()  # nobody writes before everybody has read, or two would do the same
    work = [
        (task, batch, missing)
        for task in asked
        for batch in _batches(task, batch_size)
        if (missing := [run for run in runs if not _keys(task, batch, run) <= done])
    ][state.process_index :: state.num_processes]
    needs = _needs(runs)
    was_training = model.training
    model.eval()
    try:
        with journal.writing():
            for number, (task, batch, missing) in enumerate(work):
                on_batch(number, len(work))
                with reuse_encoder(needs):
                    for given in _answered(model, collator, task, batch, missing):
                        journal.write(each for each in given if each.key not in done)
            on_batch(len(work), len(work))
    finally:
        model.train(was_training)
    state.wait_for_everyone()


def _batches(task: Asked, size: int) -> Iterator[list[int]]:
    """Places of items, of about the same length together: padding is waste. The longest first, to fail early."""
    samples = task.items.samples
    order = sorted(range(len(samples)), key=lambda place: (-samples[place], place))
    size = max(1, size // USUAL_OPTIONS) if task.by_likelihood else size
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _keys(task: Asked, batch: Sequence[int], run: Run) -> set[Key]:
    return {(task.task.name, task.items.items[place].id, run.key) for place in batch}


def _needs(runs: Sequence[Run]) -> frozenset[str]:
    found: frozenset[str] = frozenset()
    for run in runs:
        if not get_method(run.config.method).learns:
            found |= AudioTokenCompressor.from_config(run.config).requires
    return found


def _answered(
    model: Any, collator: AudioTextCollator, task: Asked, batch: Sequence[int], runs: Sequence[Run]
) -> Iterator[list[Given]]:
    """The answers about a batch, run by run."""
    items = [task.items.items[place] for place in batch]
    inputs: Any = None
    for run in runs:
        try:
            if inputs is None:
                inputs = _prepared(model, collator, task, batch)
            with compressed(model, run.config):
                answers = _by_likelihood if task.by_likelihood else _by_generation
                rows = answers(model, collator, task, batch, inputs)
        except Exception as error:
            ids = ", ".join(item.id for item in items)
            raise RuntimeError(
                f"No answer to {task.task.name}, items {ids}, under {run.key}: {type(error).__name__}: {error} "
                "(what was answered before is kept)"
            ) from error
        yield [Given(task.task.name, item.id, run.key, **row) for item, row in zip(items, rows, strict=True)]


def _prepared(model: Any, collator: AudioTextCollator, task: Asked, batch: Sequence[int]) -> Any:
    rows = [{"audio": task.items.audio_of(place), "prompt": task.prompts[place]} for place in batch]
    inner = unwrap(model)
    if task.by_likelihood:
        inputs = option_inputs(collator, rows, [task.items.items[place].choices for place in batch])
        return {name: v.to(inner.device, inner.dtype if v.is_floating_point() else None) for name, v in inputs.items()}
    prompts = collator.prompts(rows)
    inputs = model_inputs(collator.processor, prompts.texts, prompts.samples, collator.rate)
    return inputs.to(inner.device, dtype=inner.dtype)


def _by_generation(
    model: Any, collator: AudioTextCollator, task: Asked, batch: Sequence[int], inputs: Any
) -> list[dict[str, Any]]:
    texts = generate(model, collator, inputs, task.max_new_tokens)
    record = unwrap(model).audio_compressor.last
    return [
        {"text": text, "finished": finished, "tokens_before": before, "tokens_after": after}
        for (text, finished), before, after in zip(texts, record.tokens_before, record.tokens_after, strict=True)
    ]


def _by_likelihood(
    model: Any, collator: AudioTextCollator, task: Asked, batch: Sequence[int], inputs: Any
) -> list[dict[str, Any]]:
    choices = [task.items.items[place].choices for place in batch]
    return [
        {
            "text": options[scores.index(max(scores))],
            "scores": tuple(scores),
            "tokens_before": before,
            "tokens_after": after,
        }
        for options, scores, before, after in zip(choices, *option_likelihoods(model, inputs, choices), strict=True)
    ]
