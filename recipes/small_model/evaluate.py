"""Measures a checkpoint with all audio tokens: word error rate on digits, correct captions and correct answers.

``python -m recipes.small_model.evaluate CHECKPOINT`` prints the numbers and writes them to metrics.json in CHECKPOINT.
"""

import argparse
import json
import logging
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jiwer
import torch
import transformers
from transformers import Qwen2AudioForConditionalGeneration

from hf_tokcomp.checkpoints.test_sets.items import Item, digit_strings, sound_captions, sound_choices
from hf_tokcomp.checkpoints.test_sets.prompts import chat
from hf_tokcomp.checkpoints.test_sets.sources import data_folder
from hf_tokcomp.hub.whole_files import write_whole
from hf_tokcomp.inference.answers import answer
from hf_tokcomp.inference.collator import AudioTextCollator
from hf_tokcomp.patching.patch import compressed

log = logging.getLogger(__name__)


def load(folder: str | Path) -> tuple[Qwen2AudioForConditionalGeneration, Any]:
    """The model in evaluation mode and its processor, as any user of transformers would load them."""
    model: Qwen2AudioForConditionalGeneration = Qwen2AudioForConditionalGeneration.from_pretrained(folder)
    untyped: Any = transformers  # its AutoProcessor is untyped
    return model.train(False), untyped.AutoProcessor.from_pretrained(folder)


def answers(
    model: Qwen2AudioForConditionalGeneration, processor: Any, items: Sequence[Item], batch_size: int = 20
) -> list[str]:
    """The model's greedy answer to every item, using all audio tokens."""
    rows = [{"audio": item.audio, "prompt": chat(item.prompt)} for item in items]
    with compressed(model, "none"):
        found = answer(model, AudioTextCollator(processor), rows, batch_size=batch_size, max_new_tokens=16)
    return [given.text for given in found]


def word_errors(truth: Sequence[str], answered: Sequence[str]) -> dict[str, float | int]:
    """Word error rate and the number of strings that are entirely correct."""
    right = sum(t == a for t, a in zip(truth, answered, strict=True))
    counts = jiwer.process_words(list(truth), list(answered))
    return {
        "wer": round(counts.wer, 4),
        "strings": len(truth),
        "words": sum(len(t.split()) for t in truth),
        "substitutions": counts.substitutions,
        "deletions": counts.deletions,
        "insertions": counts.insertions,
        "strings_right": right,
    }


def measure_digits(
    model: Qwen2AudioForConditionalGeneration,
    processor: Any,
    data: Path,
    count: int,
    seed: int = 0,
    speaker: str | None = None,
) -> dict[str, Any]:
    """Word error rate on `count` strings of 1 to 6 digits from the test split, of one speaker if given."""
    items = list(digit_strings(data, "test", count, seed, speaker))
    return word_errors([item.text for item in items], answers(model, processor, items))


def measure_captions(
    model: Qwen2AudioForConditionalGeneration, processor: Any, data: Path, count: int, seed: int = 0
) -> dict[str, Any]:
    """Share of `count` test clips with all sounds named in order, overall and by the number of sounds."""
    items = list(sound_captions(data, "test", count, seed))
    right = [item.text == answer for item, answer in zip(items, answers(model, processor, items), strict=True)]
    return _shares(right, [str(len(item.recordings)) for item in items], "by number of sounds")


def measure_choices(
    model: Qwen2AudioForConditionalGeneration, processor: Any, data: Path, count: int, seed: int = 0
) -> dict[str, Any]:
    """Share of `count` test questions answered with the correct option, overall and by kind of question."""
    items = list(sound_choices(data, "test", count, seed))
    right = [item.text == answer for item, answer in zip(items, answers(model, processor, items), strict=True)]
    chance = sum(1 / len(item.choices) for item in items) / len(items)
    return _shares(right, [item.kind for item in items], "by question") | {"chance": round(chance, 4)}


def _shares(right: Sequence[bool], groups: Sequence[str], title: str) -> dict[str, Any]:
    by = {group: [hit for hit, own in zip(right, groups, strict=True) if own == group] for group in sorted(set(groups))}
    return {
        "accuracy": round(sum(right) / len(right), 4),
        "items": len(right),
        title: {group: {"accuracy": round(sum(hits) / len(hits), 4), "items": len(hits)} for group, hits in by.items()},
    }


MEASURES: dict[str, Callable[..., dict[str, Any]]] = {
    "digits": measure_digits,
    "sound_captions": measure_captions,
    "sound_choices": measure_choices,
}
"""Measuring functions by name of the skill; all take ``(model, processor, data, count, seed)``."""


def summary(measured: dict[str, Any]) -> str:
    """A measurement in one line."""
    if "wer" in measured:
        return f"WER {measured['wer']:.3f}"
    groups: dict[str, Any] = next(value for value in measured.values() if isinstance(value, dict))
    by = ", ".join(f"{group} {share['accuracy']:.2f}" for group, share in groups.items())
    return f"right {measured['accuracy']:.3f} ({by})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--count", type=int, default=500, help="items of each skill")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--speaker", help="measure only digits, and only this speaker's")
    parser.add_argument("--output", type=Path, help="file to write; default: metrics.json in the checkpoint's folder")
    parser.add_argument("--data", help="folder with digits/ and sounds/; default: $HF_TOKCOMP_DATA")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    data = data_folder(arguments.data)
    model, processor = load(arguments.checkpoint)
    started = time.perf_counter()
    results: dict[str, Any] = {"seed": arguments.seed}
    for skill, measure in MEASURES.items() if arguments.speaker is None else ():
        results[skill] = measure(model, processor, data, arguments.count, arguments.seed)
    if arguments.speaker is not None:
        spoken = measure_digits(model, processor, data, arguments.count, arguments.seed, arguments.speaker)
        results["digits"] = {"speaker": arguments.speaker} | spoken
    results["seconds"] = round(time.perf_counter() - started, 1)
    results["versions"] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    text = json.dumps(results, indent=2)
    log.info("%s", text)
    output = arguments.output or arguments.checkpoint / "metrics.json"
    write_whole(output, text + "\n")


if __name__ == "__main__":
    main()
