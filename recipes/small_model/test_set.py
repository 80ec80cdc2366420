"""Writes the test sets as files: the recordings, with a manifest.jsonl next to them.

``python -m recipes.small_model.test_set FOLDER --task digits`` writes a manifest with the fields audio (path relative
to FOLDER), text (the reference), prompt, recordings (the sources of the audio) and, for multiple choice, choices.
Its items are made by `hf_tokcomp.checkpoints.test_sets.items`.
"""

import argparse
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from hf_tokcomp.checkpoints.test_sets.items import TASKS, Item
from hf_tokcomp.checkpoints.test_sets.sources import SAMPLE_RATE, data_folder
from hf_tokcomp.hub.whole_files import write_whole

log = logging.getLogger(__name__)


def write(folder: Path, items: Iterator[Item], name: str) -> int:
    """Writes `items` as flac files with a manifest.jsonl, and returns their number."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, item in enumerate(items):
        file = f"{name}-{number:04d}.flac"
        soundfile.write(str(folder / file), item.audio / max(1.0, float(np.abs(item.audio).max())), SAMPLE_RATE)
        row = {"audio": file, "text": item.text, "prompt": item.prompt, "recordings": item.recordings}
        lines.append(json.dumps(row | ({"choices": item.choices} if item.choices else {})))
    write_whole(folder / "manifest.jsonl", "\n".join(lines) + "\n")
    return len(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder to write to")
    parser.add_argument("--task", choices=list(TASKS), default="digits")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", choices=["train", "test"], default="test")
    parser.add_argument("--speaker", help="only this speaker's digits")
    parser.add_argument("--data", help="folder with digits/ and sounds/; default: $HF_TOKCOMP_DATA")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    data = data_folder(arguments.data)
    if arguments.speaker and arguments.task != "digits":
        parser.error("--speaker is for --task digits; sounds have no speaker.")
    own = {"speaker": arguments.speaker} if arguments.speaker else {}
    items = TASKS[arguments.task](data, arguments.split, arguments.count, arguments.seed, **own)
    written = write(arguments.output, items, arguments.task)
    log.info("%d recordings and manifest.jsonl in %s", written, arguments.output)


if __name__ == "__main__":
    main()
