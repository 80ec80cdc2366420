"""`hf-tokcomp compare`: every method at every ratio on the same recordings, side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..reporting.console import print_json
from .groups import MEASURING, OUTPUT, RUNNING
from .interrupted import keeping, same_command
from .measuring import draw, model_label, progress
from .options import (
    AudioArgument,
    ColumnsOption,
    DatasetOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    MaxNewTokensOption,
    ModelOption,
    OnErrorOption,
    PromptOption,
    SplitOption,
    compressions_option,
    parse_columns,
    positions_of,
    positions_option,
    ratios_of,
    ratios_option,
)
from .reader import open_reader
from .report import SHIPPED, print_notes, print_scores, print_texts
from .speech import AsrModelOption, MaxSpeechTokensOption, SpeakerOption, TargetLanguageOption, speech_of

if TYPE_CHECKING:
    from ..evaluation.asked import Asked
    from ..evaluation.journal import Given, Key
    from ..evaluation.plan import Run
    from ..inference.recordings import Loaded

RATIOS = "1,1/2,1/4,1/10"
POSITIONS = "contiguous,original"
"""The kinds of positions compared by default."""


def compare(
    audio: AudioArgument = None,
    model: ModelOption = None,
    prompt: PromptOption = None,
    dataset: DatasetOption = None,
    split: SplitOption = None,
    columns: ColumnsOption = None,
    compression: Annotated[list[str] | None, compressions_option("all of these")] = None,
    retention_ratio: Annotated[str | None, ratios_option("1, 1/2, 1/4 and 1/10")] = None,
    positions: Annotated[str | None, positions_option("both")] = None,
    batch_size: Annotated[
        int,
        typer.Option("--batch-size", metavar="N", min=1, rich_help_panel=RUNNING, help="Recordings per batch."),
    ] = 8,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds", metavar="N", min=1, rich_help_panel=MEASURING, help="Seeds to average over, for `random`."
        ),
    ] = 1,
    texts: Annotated[
        bool,
        typer.Option("--texts", rich_help_panel=OUTPUT, help="Also print the texts if there are references."),
    ] = False,
    max_new_tokens: MaxNewTokensOption = None,
    task: Annotated[
        Literal["asr", "s2st"],
        typer.Option(
            "--task",
            rich_help_panel=MEASURING,
            help="How texts are compared with references: asr, by word error rate; or s2st, where the model speaks its "
            "answers, by the BLEU of what is heard in them and of their text.",
        ),
    ] = "asr",
    asr_model: AsrModelOption = None,
    target_language: TargetLanguageOption = None,
    speaker: SpeakerOption = None,
    max_speech_tokens: MaxSpeechTokensOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE.json|DIR",
            rich_help_panel=OUTPUT,
            help="Write everything to a file; or to a folder, as `eval` does, from which a second run resumes.",
        ),
    ] = None,
    on_error: OnErrorOption = "stop",
    as_json: JsonOption = False,
) -> None:
    """Compare methods and ratios on the same recordings.

    By word error rate where there are references (a --dataset, the shipped recordings); otherwise text beside text.
    """
    from ..evaluation.evaluation import measure
    from ..evaluation.folder import SETTINGS, write_results
    from ..evaluation.plan import ALL, plan
    from ..evaluation.recordings import asked_about
    from ..evaluation.speech import Transcriber
    from ..evaluation.tasks import get_task
    from ..inference.recordings import find_entries, find_model, load_recordings

    kinds = positions_of(POSITIONS if positions is None else positions)
    shares = ratios_of(RATIOS if retention_ratio is None else retention_ratio)
    folder = output if output is not None and output.suffix != ".json" else None
    if output is not None and not output.absolute().parent.is_dir():
        raise FileNotFoundError(f"There is no folder {output.absolute().parent} to write {output.name} to.")
    kind = get_task(task)
    speech = speech_of([kind], asr_model, target_language, speaker, max_speech_tokens)
    name = find_model(model)
    entries = find_entries(audio, dataset, split, parse_columns(columns), on_error)
    reader = open_reader(name)
    runs, left_out = plan(compression or [ALL], shares, kinds, seeds, reader.patch)
    transcriber = None
    if speech is None:
        kind = dataclasses.replace(kind, metrics=("wer_plain", "exact_match"))
    else:
        reader.check_speaks()
        transcriber = Transcriber(speech)
        kind = speech.task(kind, transcriber.spellings)
        prompt = prompt or kind.template(reader.patch.model_type, reader.base, reader.stored_prompt)
    loaded = load_recordings(entries, prompt, reader, on_error)
    asked = asked_about(
        kind,
        loaded.recordings,
        reader.rate,
        *named(audio, dataset),
        max_new_tokens or reader.longest_answer,
        len(loaded.skipped),
        transcriber,
    )
    reader.load_model(device, dtype)

    def kept() -> str:
        if folder is None or not (folder / SETTINGS).is_file():
            return ""
        return f"The answers so far are in {folder}: go on with {same_command()}"

    with keeping(kept), progress(True, "reading") as on_batch:
        measured = measure(
            *(reader.model, reader.processor, [asked], runs, left_out, folder),
            batch_size=batch_size,
            timed=True,
            name=model_label(name),
            on_batch=on_batch,
        )
    values = measured.values | listed(asked, loaded, measured.answers, runs)
    if folder is not None:
        draw(measured.scores, [asked], folder)
    elif output is not None:
        write_results(output, values)
    if as_json:
        print_json(values)
        return
    if measured.scores:
        print_scores(measured.scores, asked)
    if texts or not measured.scores:
        print_texts(asked, loaded.recordings, runs, measured.answers)
    print_notes(measured, asked)
    loaded.print_skipped()
    if output is not None:
        print(f"\n{output} holds everything.")


def named(audio: Sequence[str] | None, dataset: str | None) -> tuple[str, str]:
    """The name of the recordings in tables and cards, and the name of their source."""
    from ..cards.results import UNNAMED
    from ..evaluation.items import data_label, data_name

    if dataset is not None and not audio:
        return data_name(dataset), data_label(dataset)
    found = UNNAMED if audio else SHIPPED
    return found, found


def listed(asked: Asked, loaded: Loaded, answers: Mapping[Key, Given], runs: Sequence[Run]) -> dict[str, Any]:
    """All recordings and answers, listed individually for the output file."""
    recordings = [
        {
            "item": item.id,
            "audio": each.name,
            "seconds": round(each.seconds, 3),
            "seconds_dropped": round(each.dropped, 3),
            "prompt": each.prompt,
            "truth": each.truth,
        }
        for item, each in zip(asked.items.items, loaded.recordings, strict=True)
    ]
    keys = [(asked.task.name, item.id, run.key) for run in runs for item in asked.items.items]
    return {"recordings": recordings, "answers": [answers[key].to_dict() for key in keys], **loaded.to_dict()}
