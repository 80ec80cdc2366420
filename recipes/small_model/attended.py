"""Measures how much of what `top_k` keeps is speech, on strings written by `test_set`.

``python -m recipes.small_model.attended strings/manifest.jsonl``

A token counts as speech if its energy is within 20 dB of the loudest token of its recording; there are pauses between
the digits of a string.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import soundfile
import torch

from hf_tokcomp import patch
from hf_tokcomp.checkpoints import SMALL_MODEL
from hf_tokcomp.checkpoints.test_sets.sources import SAMPLES_PER_TOKEN, Audio

from . import evaluate

DECIBELS = 20.0


def speech_tokens(audio: Audio, tokens: int) -> np.ndarray:
    """``(tokens,)`` bool: whether the 40 ms of each token contain speech."""
    whole = np.zeros(tokens * SAMPLES_PER_TOKEN, dtype=np.float32)  # the last token may extend beyond the sound
    whole[: min(len(audio), len(whole))] = audio[: len(whole)]
    frames = whole.reshape(tokens, SAMPLES_PER_TOKEN)
    level = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-10)
    return np.asarray(level > level.max() - DECIBELS)


def shares(manifest: Path, method: str, count: int, ratio: float = 0.5) -> tuple[float, float]:
    """The share of speech among the tokens kept by a method and among all, averaged over ``count`` recordings."""
    model, processor = evaluate.load(SMALL_MODEL)
    patch(model, {"method": method, "retention_ratio": ratio})
    found = []
    for line in manifest.read_text(encoding="utf-8").splitlines()[:count]:
        row = json.loads(line)
        audio, rate = soundfile.read(manifest.parent / row["audio"], dtype="float32")
        content = [{"type": "audio"}, {"type": "text", "text": row["prompt"]}]
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        inputs = processor(text=[text], audio=[audio], sampling_rate=rate, return_tensors="pt")
        with torch.no_grad():
            model(**inputs)
        last = model.audio_compressor.last
        speech = speech_tokens(audio, last.tokens_before[0])
        found.append((speech[last.assignment.position[0].numpy()].mean(), speech.mean()))
    kept, overall = np.mean(found, axis=0)
    return float(kept), float(overall)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--count", type=int, default=100, help="recordings to look at")
    arguments = parser.parse_args()
    for method in ("top_k", "segmentwise_top_k", "bottom_k", "random"):
        kept, overall = shares(arguments.manifest, method, arguments.count)
        print(f"{method:<18} {100 * kept:5.1f} % of the kept tokens hold speech, {100 * overall:.1f} % of all")


if __name__ == "__main__":
    main()
