"""Measures a checkpoint's three skills on unseen recordings, by plain transformers ``generate``.

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

from .prompts import chat
from .sources import SAMPLE_RATE, data_folder
from .test_set import Item, captions, choices, digit_strings

log = logging.getLogger(__name__)


def load(folder: str | Path) -> tuple[Qwen2AudioForConditionalGeneration, Any]:
    """The model in evaluation mode and its processor, as any user of transformers would load them."""
    model: Qwen2AudioForConditionalGeneration = Qwen2AudioForConditionalGeneration.from_pretrained(folder)
    untyped: Any = transformers  # its AutoProcessor carries no types
    return model.train(False), untyped.AutoProcessor.from_pretrained(folder)


def answers(
    model: Qwen2AudioForConditionalGeneration, processor: Any, items: Sequence[Item], batch_size: int = 20
) -> list[str]:
    """The model's greedy answer to every item, in left-padded batches of about the same length."""
    checkpoint: Any = model  # transformers declares `generate` for a protocol that its own models do not meet
    order = sorted(range(len(items)), key=lambda index: len(items[index].audio))
    found: dict[int, str] = {}
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        inputs = processor(
            text=[chat(items[index].prompt) for index in batch],
            audio=[items[index].audio for index in batch],
            sampling_rate=SAMPLE_RATE,
            return_tensors="pt",
            padding=True,
        )
        with torch.inference_mode():
            generated = checkpoint.generate(**inputs, max_new_tokens=20, do_sample=False)
        texts = processor.batch_decode(generated[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        found.update(zip(batch, texts, strict=True))
    return [found[index] for index in range(len(items))]


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


def measure_captions(
    model: Qwen2AudioForConditionalGeneration, processor: Any, data: Path, count: int, seed: int = 0
) -> dict[str, Any]:
    """Share of captions with all sounds right and in order, by how many sounds there are, and the mistakes of one."""
    items = list(captions(data, "test", count, seed))
    answered = list(zip(items, answers(model, processor, items), strict=True))
    mistakes: dict[str, int] = {}
    for item, text in answered:
        if text != item.text and len(item.recordings) == 1:
            mistakes[f"{item.text} -> {text}"] = mistakes.get(f"{item.text} -> {text}", 0) + 1
    found: dict[str, Any] = {"all_right": _share(answered), "clips": len(items)}
    for sounds in sorted({len(item.recordings) for item in items}):
        found[f"all_right_of_{sounds}"] = _share([pair for pair in answered if len(pair[0].recordings) == sounds])
    return found | {"mistakes_of_1": dict(sorted(mistakes.items()))}


def measure_choices(
    model: Qwen2AudioForConditionalGeneration, processor: Any, data: Path, count: int, seed: int = 0
) -> dict[str, Any]:
    """Share of questions answered with the right option, word for word, by question; and what guessing would reach."""
    items = list(choices(data, "test", count, seed))
    answered = list(zip(items, answers(model, processor, items), strict=True))
    found: dict[str, Any] = {
        "accuracy": _share(answered),
        "questions": len(items),
        "chance": round(sum(1 / len(item.choices) for item in items) / len(items), 4),
    }
    for question in sorted({item.prompt.splitlines()[0] for item in items}):
        found[question] = _share([pair for pair in answered if pair[0].prompt.startswith(question)])
    return found


def _share(answered: Sequence[tuple[Item, str]]) -> float:
    return round(sum(item.text == text for item, text in answered) / len(answered), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--count", type=int, default=500, help="strings, scenes and questions")
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
        "digits": {"seed": arguments.seed, "speaker": arguments.speaker or "all"}
        | measure_digits(model, processor, data, arguments.count, arguments.seed, arguments.speaker)
    }
    if arguments.speaker is None:
        results["captions"] = measure_captions(model, processor, data, arguments.count, arguments.seed)
        results["choices"] = measure_choices(model, processor, data, arguments.count, arguments.seed)
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
