"""`hf-tokcomp eval`: evaluate compressions on benchmarks, resumable, with intervals and tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .groups import GENERATION, MEASURING, OUTPUT, READ, RUNNING
from .interrupted import keeping, same_command
from .measuring import draw, model_label, progress
from .options import (
    ConfigOption,
    DeviceOption,
    DtypeOption,
    ModelOption,
    OnError,
    compressions_option,
    parse_columns,
    positions_of,
    positions_option,
    ratios_of,
    ratios_option,
)
from .reader import open_reader
from .speech import AsrModelOption, MaxSpeechTokensOption, SpeakerOption, TargetLanguageOption, speech_of

if TYPE_CHECKING:
    from ..evaluation.task import Task


def evaluate(
    tasks: Annotated[
        list[str],
        typer.Argument(
            metavar="TASK...",
            rich_help_panel=READ,
            help="For recordings of your own, asr, translation, captioning, question_answering, multiple_choice, s2st "
            "(speech to speech); benchmarks: audiocaps, clotho, clothoaqa, mmau, librispeech, covost2; ten shipped "
            "utterances: speech; those of the shipped model: digits, sound_captions, sound_choices.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            metavar="DIR",
            rich_help_panel=OUTPUT,
            help="Folder for answers and results. A second run with the same folder resumes the first.",
        ),
    ],
    model: ModelOption = None,
    compression: Annotated[list[str] | None, compressions_option("the one stored with the model")] = None,
    retention_ratio: Annotated[str | None, ratios_option("each compression's own budget")] = None,
    positions: Annotated[str | None, positions_option("each compression's own")] = None,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds", metavar="N", min=1, rich_help_panel=MEASURING, help="Number of seeds, for random methods."
        ),
    ] = 3,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            metavar="[TASK=]NAME",
            rich_help_panel=READ,
            help="Hub id, table (.jsonl, .json, .csv, .tsv, .parquet) or folder of the data.",
        ),
    ] = None,
    config_name: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset-config",
            metavar="[TASK=]NAME",
            rich_help_panel=READ,
            help="Configuration of the data set on the Hub.",
        ),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option("--split", metavar="[TASK=]NAME", rich_help_panel=READ, help="Split of the data."),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--columns",
            metavar="[TASK=]ROLE:NAME,...",
            rich_help_panel=READ,
            help="Names of the columns of audio, text, question, choices, subset and id; text:A+B if there are several "
            "columns of texts.",
        ),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            "--prompt",
            metavar="[TASK=]TEXT",
            rich_help_panel=READ,
            help="The question, with {question} and {options} for the item's. If it contains the model's audio "
            "placeholder, it is the whole prompt. Default: the one stored with the model (prompt.json) if it is for "
            "this kind of task, else the task's.",
        ),
    ] = None,
    items: Annotated[
        int | None,
        typer.Option("--items", metavar="N", min=1, rich_help_panel=READ, help="Only the first N items of each task."),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", rich_help_panel=READ, help="Seed of the items in the shipped model's tasks.")
    ] = 0,
    on_error: Annotated[
        OnError,
        typer.Option(
            "--on-error",
            rich_help_panel=RUNNING,
            help="What to do about rows that cannot be used: stop, or skip and count them.",
        ),
    ] = "stop",
    choice_scoring: Annotated[
        Literal["string_match", "similarity", "likelihood"],
        typer.Option(
            "--choice-scoring",
            rich_help_panel=MEASURING,
            help="How the chosen option is determined: MMAU's string match, Sentence-BERT similarity, "
            "or the option with the highest log-likelihood, without any text.",
        ),
    ] = "string_match",
    similarity_model: Annotated[
        str | None,
        typer.Option(
            "--similarity-model",
            metavar="NAME",
            rich_help_panel=MEASURING,
            help="Sentence-BERT model for `similarity`.",
        ),
    ] = None,
    spellings: Annotated[
        str | None,
        typer.Option(
            "--spellings",
            metavar="FILE|HUB_ID",
            rich_help_panel=MEASURING,
            help="Whisper's list of British spellings for the word error rate, as published numbers use it: a Whisper "
            "checkpoint such as openai/whisper-large-v3, or its normalizer.json.",
        ),
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option("--batch-size", metavar="N", min=1, rich_help_panel=RUNNING, help="Recordings read together."),
    ] = 8,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-new-tokens",
            metavar="N",
            min=1,
            rich_help_panel=GENERATION,
            help="Maximum number of tokens to generate. Default: the task's.",
        ),
    ] = None,
    resamples: Annotated[
        int,
        typer.Option("--resamples", min=100, rich_help_panel=MEASURING, help="Of the bootstrap over recordings."),
    ] = 1000,
    asr_model: AsrModelOption = None,
    target_language: TargetLanguageOption = None,
    speaker: SpeakerOption = None,
    max_speech_tokens: MaxSpeechTokensOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    config: ConfigOption = None,
) -> None:
    """Measure what compressions cost on benchmarks, beside the uncompressed model.

    Every answer is written down as it comes. Under `accelerate launch` the work is shared among the processes.
    """
    from ..evaluation.evaluation import ask_all, measure
    from ..evaluation.folder import SETTINGS
    from ..evaluation.items import Dataset
    from ..evaluation.plan import plan
    from ..evaluation.tasks import get_task
    from ..inference.processes import process
    from ..inference.recordings import find_model

    found = list({each.name: each for each in map(get_task, tasks)}.values())
    names = [each.name for each in found]
    speech = speech_of(found, asr_model, target_language, speaker, max_speech_tokens)
    if spellings is not None:
        found = with_spellings(found, spellings)
    named, configured, parts = (by_task(given, names) for given in (dataset, config_name, split))
    mapped = {name: parse_columns(text) for name, text in by_task(columns, names).items()}
    ratios, kinds = ratios_of(retention_ratio), positions_of(positions)
    state = process()
    if state.num_processes > 1 and device != "auto":
        raise ValueError(f"--device {device}: {state.num_processes} processes take a device each; leave it out.")
    name = find_model(model)
    reader = open_reader(name)
    if speech is not None:
        reader.check_speaks()
    stored = [] if reader.stored is None else [reader.stored.to_json_string()]
    runs, left_out = plan(compression or stored, ratios, kinds, seeds, reader.patch)
    skips = on_error == "skip"
    where = {
        each: Dataset(
            *(named.get(each), configured.get(each), parts.get(each), mapped.get(each, {}), items, seed, skips)
        )
        for each in names
    }
    prompts = by_task(prompt, names)
    asked = ask_all(
        reader.processor,
        found,
        where,
        prompts,
        max_new_tokens,
        choice_scoring,
        name=reader.base,
        stored=reader.stored_prompt,
        longest_answer=reader.longest_answer,
        speech=speech,
    )
    reader.load_model(str(state.device) if state.num_processes > 1 else device, dtype)

    def kept() -> str:
        if not (output / SETTINGS).is_file():
            return "Nothing was answered yet."
        return f"The answers so far are in {output}: go on with {same_command(processes=state.num_processes)}"

    with keeping(kept), progress(state.is_main_process) as on_batch:
        measured = measure(
            *(reader.model, reader.processor, asked, runs, left_out, output),
            batch_size=batch_size,
            choice_scoring=choice_scoring,
            similarity_model=similarity_model,
            resamples=resamples,
            name=model_label(name),
            on_batch=on_batch,
        )
    if not state.is_main_process:
        return
    print(measured.text)
    draw(measured.scores, asked, output)
    print(f"\n{output} holds everything.")


def with_spellings(tasks: Sequence[Task], where: str) -> list[Task]:
    """Add a list of spellings to the tasks that are scored by the normalised word error rate.

    Raises:
        ValueError: there is no such task.
    """
    if not any("wer" in task.metrics for task in tasks):
        names = ", ".join(task.name for task in tasks)
        raise ValueError(f"--spellings: {names} is not scored by the normalised word error rate; leave it out.")
    return [
        dataclasses.replace(task, metric_options={**task.metric_options, "wer": {"spellings": where}})
        if "wer" in task.metrics
        else task
        for task in tasks
    ]


def by_task(given: Sequence[str] | None, tasks: Sequence[str]) -> dict[str, str]:
    """Parse values by task: ``TASK=VALUE`` for one task, ``VALUE`` for all."""
    from ..evaluation.kinds import ALIASES

    own, others = {}, {}
    for text in given or ():
        name, equals, value = text.partition("=")
        name = ALIASES.get(name, name)
        if equals and name in tasks:
            own[name] = value
        else:
            others = dict.fromkeys(tasks, text)
    return others | own
