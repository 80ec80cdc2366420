"""Makes the test set: strings of digits joined from recordings the model never saw, and sounds from the held-out fold.

``python -m hf_tokcomp.checkpoints.recipe.test_set FOLDER --task digits`` writes the recordings and a manifest.jsonl
with the fields audio (path relative to FOLDER), text (the truth), prompt and recordings (what the audio was made of).
"""

import argparse
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from .data import LONGEST, join
from .prompts import DIGITS_PROMPT, SOUNDS_PROMPT
from .sources import SAMPLE_RATE, Audio, Recording, Split, data_folder, digit_recordings, sound_recordings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Item:
    """Something to ask the model.

    Args:
        audio: 16 kHz samples `(samples,)`.
        prompt: the request.
        text: the right answer.
        recordings: names of the files that the audio was made of.
    """

    audio: Audio
    prompt: str
    text: str
    recordings: tuple[str, ...]


def digit_strings(
    data: Path,
    split: Split = "test",
    count: int = 300,
    seed: int = 0,
    speaker: str | None = None,
    digits: tuple[int, int] = (1, 6),
) -> Iterator[Item]:
    """Strings of digits, the same ones for the same arguments.

    Each is read by one speaker (`speaker`, or a random one), has between ``digits[0]`` and ``digits[1]`` digits,
    equally often, and pauses of 0.05 to 0.5 s; recordings are as they are but for a faint hiss 45 dB below the speech.
    """
    rng = np.random.default_rng([seed, 2])
    takes: dict[str, list[Recording]] = {}
    for recording in digit_recordings(data, split):
        takes.setdefault(recording.speaker, []).append(recording)
    if speaker is not None and speaker not in takes:
        raise ValueError(f"No recordings of {speaker!r}; speakers: {', '.join(sorted(takes))}.")
    speakers = [speaker] if speaker is not None else sorted(takes)
    for _ in range(count):
        own = takes[speakers[int(rng.integers(len(speakers)))]]
        length = int(rng.integers(digits[0], digits[1] + 1))
        while True:
            chosen = [own[int(i)] for i in rng.integers(0, len(own), size=length)]
            pauses = list(rng.uniform(0.05, 0.5, size=length - 1))
            audio = join([r.audio for r in chosen], pauses, *rng.uniform(0.05, 0.3, size=2))
            if len(audio) <= LONGEST:
                break
        hiss = rng.standard_normal(len(audio)) * np.sqrt(np.mean(np.square(audio))) * 10 ** (-45 / 20)
        text = " ".join(r.text for r in chosen)
        yield Item((audio + hiss).astype(np.float32), DIGITS_PROMPT, text, tuple(r.file for r in chosen))


def sound_clips(data: Path, split: Split = "test", count: int | None = None, seed: int = 0) -> Iterator[Item]:
    """Sounds to name, about 5 s each, unchanged: all, or `count` drawn without repeats."""
    found = sound_recordings(data, split)
    order = range(len(found))
    if count is not None and count < len(found):
        order = np.random.default_rng([seed, 3]).permutation(len(found))[:count].tolist()
    for index in order:
        yield Item(found[index].audio, SOUNDS_PROMPT, found[index].text, (found[index].file,))


TASKS: dict[str, Callable[..., Iterator[Item]]] = {"digits": digit_strings, "sounds": sound_clips}


def write(folder: Path, items: Iterator[Item], name: str) -> int:
    """Writes `items` as flac files with a manifest.jsonl, and returns how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, item in enumerate(items):
        file = f"{name}-{number:04d}.flac"
        soundfile.write(str(folder / file), item.audio / max(1.0, float(np.abs(item.audio).max())), SAMPLE_RATE)
        row = {"audio": file, "text": item.text, "prompt": item.prompt, "recordings": item.recordings}
        lines.append(json.dumps(row))
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder to write to")
    parser.add_argument("--task", choices=list(TASKS), default="digits")
    parser.add_argument(
        "--count", type=int, default=300, help="how many; of sounds there are at most 80 in the test split"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", choices=["train", "test"], default="test")
    parser.add_argument("--speaker", help="only this speaker's digits")
    parser.add_argument("--data", help="folder with digits/ and sounds/; default: $HF_TOKCOMP_DATA")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    data = data_folder(arguments.data)
    if arguments.task == "digits":
        items = digit_strings(data, arguments.split, arguments.count, arguments.seed, arguments.speaker)
        written = write(arguments.output, items, "digits")
    else:
        items = sound_clips(data, arguments.split, arguments.count, arguments.seed)
        written = write(arguments.output, items, "sounds")
    log.info("%d recordings and manifest.jsonl in %s", written, arguments.output)


if __name__ == "__main__":
    main()
