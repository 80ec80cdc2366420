"""`hf-tokcomp run`: run a model on recordings, and report the text, the audio tokens and the time."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from ..messages import shortened
from ..reporting.console import print_json
from .options import (
    AudioArgument,
    ColumnsOption,
    CompressionOption,
    DatasetOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    MaxNewTokensOption,
    ModelOption,
    OnErrorOption,
    PositionsOption,
    PromptOption,
    RatioOption,
    SplitOption,
    one_compression,
    parse_columns,
)
from .reader import open_reader
from .report import asked_with, describe, settings
from .speech import MaxSpeechTokensOption, SpeakerOption, SpeakOption, check_target, spoken_files


def run(
    audio: AudioArgument = None,
    model: ModelOption = None,
    prompt: PromptOption = None,
    compression: CompressionOption = None,
    retention_ratio: RatioOption = None,
    positions: PositionsOption = None,
    dataset: DatasetOption = None,
    split: SplitOption = None,
    columns: ColumnsOption = None,
    max_new_tokens: MaxNewTokensOption = None,
    speak: SpeakOption = None,
    speaker: SpeakerOption = None,
    max_speech_tokens: MaxSpeechTokensOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    on_error: OnErrorOption = "stop",
    as_json: JsonOption = False,
) -> None:
    """Run a model on recordings, and print text, audio tokens before and after compression, and seconds per phase.

    With --speak, a model that can speak also answers aloud.
    Without arguments, it runs the shipped small model on the shipped recordings.
    """
    from ..inference.recordings import find_entries, find_model, load_recordings
    from ..inference.speech import Voice, known_speaker
    from ..models.instance import unwrap
    from ..reporting.environment import environment

    if speak is None and (speaker is not None or max_speech_tokens is not None):
        raise ValueError("--speaker and --max-speech-tokens are for spoken answers: add --speak FILE.wav.")
    asked = one_compression(compression, retention_ratio, positions)
    name = find_model(model)
    entries = find_entries(audio, dataset, split, parse_columns(columns), on_error)
    if speak is not None:
        check_target(speak, entries)
    reader = open_reader(name)
    if speak is not None:
        reader.check_speaks()
    config = asked.changed(reader.stored)
    loaded = load_recordings(entries, prompt, reader, on_error, config)
    reader.load_model(device, dtype)
    if speak is not None:
        known_speaker(unwrap(reader.model), speaker)
    voice = None if speak is None else Voice(speaker, max_speech_tokens)
    files = [] if speak is None else spoken_files(speak, [recording.name for recording in loaded.recordings])

    results: list[dict[str, Any]] = []
    for number, recording in enumerate(loaded.recordings):
        batch = reader.prepare([recording], config)
        (reading,), seconds = reader.read(batch, config, max_new_tokens, voice)
        result: dict[str, Any] = {
            "audio": recording.name,
            "audio_seconds": round(recording.seconds, 3),
            "seconds_dropped": round(recording.dropped, 3),
            "prompt": recording.prompt,
            "text": reading.text,
            "truth": recording.truth,
            "tokens_before": reading.tokens_before,
            "tokens_after": reading.tokens_after,
            "tokens_asked": reading.tokens_asked,
            "seconds": seconds.to_dict(),
        }
        if reading.sound is not None:
            files[number].parent.mkdir(exist_ok=True)
            result["speech"] = {
                "path": str(reading.sound.write(files[number])),
                "seconds": round(reading.sound.seconds, 3),
                "sampling_rate": reading.sound.rate,
            }
        results.append(result)
        if not as_json:
            print_result(result, reading.counts, first=len(results) == 1)
    if as_json:
        print_json(
            {
                **reader.about(),
                "compression": settings(config),
                "max_new_tokens": max_new_tokens,
                **({} if voice is None else {"voice": dataclasses.asdict(voice)}),
                "results": results,
                **loaded.to_dict(),
                "versions": environment(),
            }
        )
    else:
        prompts = asked_with(each["prompt"] for each in results)
        count = f"{len(results)} recording{'s' if len(results) > 1 else ''}"
        print(f"\nModel {name}\nCompression {describe(config)}\n{count}, {prompts}")
        if len(results) > 1:
            print("The first recording's seconds include work that is done once.")
        loaded.print_skipped()


def print_result(result: dict[str, Any], counts: str, first: bool) -> None:
    """Print the result for one recording in a few lines, as soon as it is available."""
    if not first:
        print()
    dropped = f", the last {result['seconds_dropped']:.1f} s not read" if result["seconds_dropped"] else ""
    print(f"{shortened(result['audio'])}  ({result['audio_seconds']:.1f} s{dropped})")
    print(f"  text     {result['text']}")
    if result["truth"] is not None:
        print(f"  truth    {result['truth']}")
    if "speech" in result:
        said = result["speech"]
        length = f"{said['seconds']:.1f} s, {said['sampling_rate']} Hz" if said["seconds"] else "nothing was said"
        print(f"  speech   {said['path']}  ({length})")
    print(f"  tokens   {counts}")
    phases = result["seconds"]
    print("  seconds  " + ", ".join(f"{name} {three_digits(value)}" for name, value in phases.items()), flush=True)


def three_digits(seconds: float) -> str:
    """Seconds with about three significant digits and without an exponent."""
    if seconds <= 0:
        return "0"
    return f"{seconds:.{max(0, 2 - math.floor(math.log10(seconds)))}f}"
