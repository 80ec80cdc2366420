"""Measures a checkpoint: word error rate on test strings, accuracy on test sounds, by plain transformers ``generate``.

``python -m hf_tokcomp.checkpoints.recipe.evaluate CHECKPOINT`` prints the numbers, also into metrics.json in it.
"""

import argparse
import json
import logging
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jiwer
import torch
import transformers
from transformers import Qwen2AudioForConditionalGeneration

from .prompts import DIGITS_PROMPT, SOUNDS_PROMPT, chat
from .sources import SAMPLE_RATE, data_folder
from .test_set import Item, digit_strings, sound_clips

log = logging.getLogger(__name__)


def load(folder: str | Path) -> tuple[Qwen2AudioForConditionalGeneration, Any]:
    """The model in evaluation mode and its processor, as any user of transformers would load them."""
    model: Qwen2AudioForConditionalGeneration = Qwen2AudioForConditionalGeneration.from_pretrained(folder)
    untyped: Any = transformers  # its AutoProcessor carries no types
    return model.train(False), untyped.AutoProcessor.from_pretrained(folder)


def answers(
    model: Qwen2AudioForConditionalGeneration, processor: Any, items: Sequence[Item], batch_size: int = 20
) -> list[str]:
    """The model's greedy answer to every item, in left-padded batches."""
    checkpoint: Any = model  # transformers declares `generate` for a protocol that its own models do not meet
    found: list[str] = []
    for start in range(0, len(items), batch_size):
        batch = items[start : start + batch_size]
        inputs = processor(
            text=[chat(item.prompt) for item in batch],
            audio=[item.audio for item in batch],
            sampling_rate=SAMPLE_RATE,
            return_tensors="pt",
            padding=True,
        )
        with torch.inference_mode():
            generated = checkpoint.generate(**inputs, max_new_tokens=12, do_sample=False)
        found += processor.batch_decode(generated[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return found


def word_errors(truth: Sequence[str], answered: Sequence[str]) -> dict[str, float | int]:
    """Word error rate and how many strings are entirely right."""
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
) -> dict[str, float | int]:
    """Word error rate on `count` strings of 1 to 6 digits of the test split, of one speaker if named."""
    items = list(digit_strings(data, "test", count, seed, speaker))
    return word_errors([item.text for item in items], answers(model, processor, items))


def measure_sounds(
    model: Qwen2AudioForConditionalGeneration, processor: Any, data: Path, count: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """Share of the test sounds (all, or `count`) named exactly, and the mistakes as "truth -> answer" counts."""
    items = list(sound_clips(data, "test", count, seed))
    mistakes: dict[str, int] = {}
    for item, answer in zip(items, answers(model, processor, items), strict=True):
        if item.text != answer:
            mistakes[f"{item.text} -> {answer}"] = mistakes.get(f"{item.text} -> {answer}", 0) + 1
    wrong = sum(mistakes.values())
    return {"accuracy": round(1 - wrong / len(items), 4), "clips": len(items), "mistakes": mistakes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--count", type=int, default=500, help="strings of digits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--speaker", help="measure only digits, and only this speaker's")
    parser.add_argument("--output", type=Path, help="file to write; default: metrics.json in the checkpoint's folder")
    parser.add_argument("--data", help="folder with digits/ and sounds/; default: $HF_TOKCOMP_DATA")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    data = data_folder(arguments.data)
    model, processor = load(arguments.checkpoint)
    started = time.perf_counter()
    results: dict[str, Any] = {
        "digits": {"prompt": DIGITS_PROMPT, "seed": arguments.seed, "speaker": arguments.speaker or "all"}
        | measure_digits(model, processor, data, arguments.count, arguments.seed, arguments.speaker)
    }
    if arguments.speaker is None:
        results["sounds"] = {"prompt": SOUNDS_PROMPT} | measure_sounds(model, processor, data)
    results["seconds"] = round(time.perf_counter() - started, 1)
    results["versions"] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    text = json.dumps(results, indent=2)
    log.info("%s", text)
    output = arguments.output or arguments.checkpoint / "metrics.json"
    output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
