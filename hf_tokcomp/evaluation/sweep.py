"""`sweep`: process every item of every task under every run, batch by batch, recording each answer immediately."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

from ..compressors.base import AudioTokenCompressor
from ..config.registry import get_method
from ..inference.asking import ask, prepare
from ..inference.collator import AudioTextCollator
from ..inference.processes import process
from ..inference.timing import Clock
from ..messages import shortened
from ..models.encoder.reuse import reuse_encoder
from ..models.instance import unwrap
from ..patching.long_audio import processor_for
from ..patching.patch import compressed
from .asked import Asked
from .journal import Given, Journal, Key, MemoryJournal
from .likelihood import option_inputs, option_likelihoods
from .plan import Run

KEPT = ("text", "finished", "tokens_before", "tokens_after", "tokens_asked", "padding")
"""The recorded fields of an answer."""
Answering = Callable[[bool], list[dict[str, Any]]]
"""Answers a prepared batch under the model's current compression: values for `Given`, optionally with seconds."""
USUAL_OPTIONS = 4
"""Factor by which batches are reduced when options are scored, since each option is a separate row."""


def sweep(
    model: Any,
    collator: AudioTextCollator,
    asked: Sequence[Asked],
    runs: Sequence[Run],
    journal: Journal | MemoryJournal,
    *,
    batch_size: int = 8,
    timed: bool = False,
    on_batch: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Answer everything that has no answer in the journal yet.

    Items of similar length are batched, and each batch is processed under all runs in turn, so that its features and
    its encoding are computed only once. The remaining work is distributed among the processes. Batches are the same at
    every start: an interrupted batch is processed again as a whole, but existing answers are not written again.

    Args:
        model: a supported model, patched or not; its trained compressor is used for runs with the same method.
        collator: builds the prompts, with the model's processor, which is not patched.
        asked: the tasks.
        runs: the configs.
        journal: where answers are written.
        batch_size: number of items per batch.
        timed: record the seconds for generated answers. Every run then encodes the audio itself.
        on_batch: called with the number of finished batches of this process, and their total.

    Raises:
        RuntimeError: reading the audio or generating failed; the items are named. A failure never yields an empty
            answer.
    """
    state = process()
    wanted = {run.key for run in runs}
    done = {given.key for given in journal.answers() if given.run in wanted}
    state.wait_for_everyone()  # write only after all have read, to avoid duplicate work
    work = [
        (task, batch, missing)
        for task in asked
        for batch in _batches(task, batch_size)
        if (missing := [run for run in runs if not _keys(task, batch, run) <= done])
    ][state.process_index :: state.num_processes]
    reused = nullcontext if timed else functools.partial(reuse_encoder, _needs(runs))
    was_training = model.training
    model.eval()
    try:
        with journal.writing():
            for number, (task, batch, missing) in enumerate(work):
                on_batch(number, len(work))
                if timed and number == 0:  # warm-up: the first call bears one-time costs
                    brief = dataclasses.replace(task, max_new_tokens=1)
                    list(_answered(model, collator, brief, batch, missing[:1], False, journal.kept))
                with reused():
                    for given in _answered(model, collator, task, batch, missing, timed, journal.kept):
                        journal.write(each for each in given if each.key not in done)
            on_batch(len(work), len(work))
    finally:
        model.train(was_training)
    state.wait_for_everyone()


def _batches(task: Asked, size: int) -> Iterator[list[int]]:
    """Batches of item indices, of similar length to reduce padding; the longest first, to fail early."""
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
    model: Any,
    collator: AudioTextCollator,
    task: Asked,
    batch: Sequence[int],
    runs: Sequence[Run],
    timed: bool,
    kept: str,
) -> Iterator[list[Given]]:
    """The answers for a batch, run by run."""
    items = [task.items.items[place] for place in batch]
    answers: dict[str, Answering] = {}  # the inputs depend on how long audio is read, and on nothing else
    for run in runs:
        try:
            reading = run.config.long_audio
            if reading not in answers:
                own = collator.with_processor(processor_for(collator.processor, run.config))
                answers[reading] = (_by_likelihood if task.by_likelihood else _by_generation)(model, own, task, batch)
            with compressed(model, run.config):
                rows = answers[reading](timed)
        except Exception as error:
            ids = ", ".join(f"{item.id} ({shortened('+'.join(item.recordings), 60)})" for item in items)
            raise RuntimeError(
                f"No answer to {task.task.name}, items {ids}, under {run.key}: {type(error).__name__}: {error}{kept}"
            ) from error
        yield [Given(task.task.name, item.id, run.key, **row) for item, row in zip(items, rows, strict=True)]


def _by_generation(model: Any, collator: AudioTextCollator, task: Asked, batch: Sequence[int]) -> Answering:
    prepared = prepare(model, collator.processor, collator.prompts(_rows(task, batch)))

    def answers(timed: bool) -> list[dict[str, Any]]:
        clock = Clock() if timed else None
        transcriber = task.transcriber
        voice = None if transcriber is None else transcriber.speech.voice
        found = ask(model, collator.processor, prepared, task.max_new_tokens, clock=clock, voice=voice)
        rows = [{name: getattr(answer, name) for name in KEPT} for answer in found]
        if clock is not None:
            spent = clock.seconds(spoken=voice is not None)
            phases = (spent.prefill, spent.decode, *([] if voice is None else [spent.speech]))
            share = tuple(round(seconds / len(rows), 6) for seconds in phases)
            rows = [row | {"seconds": share} for row in rows]
        if transcriber is not None:
            sounds = [answer.sound for answer in found if answer.sound is not None]
            heard = zip(rows, sounds, transcriber.transcribe(sounds), strict=True)
            rows = [row | {"transcript": text, "speech_seconds": round(sound.seconds, 3)} for row, sound, text in heard]
        return rows

    return answers


def _by_likelihood(model: Any, collator: AudioTextCollator, task: Asked, batch: Sequence[int]) -> Answering:
    choices = [task.items.items[place].choices for place in batch]
    inputs, inner = option_inputs(collator, _rows(task, batch), choices), unwrap(model)
    moved = {name: v.to(inner.device, inner.dtype if v.is_floating_point() else None) for name, v in inputs.items()}

    def answers(_: bool) -> list[dict[str, Any]]:
        return [
            {
                "text": options[scores.index(max(scores))],
                "scores": tuple(scores),
                **dict(zip(("tokens_before", "tokens_after", "tokens_asked", "padding"), counts, strict=True)),
            }
            for options, scores, counts in zip(choices, *option_likelihoods(model, moved, choices), strict=True)
        ]

    return answers


def _rows(task: Asked, batch: Sequence[int]) -> list[dict[str, Any]]:
    return [{"audio": task.items.audio_of(place), "prompt": task.prompts[place]} for place in batch]
