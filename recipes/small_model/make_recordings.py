"""Makes the shipped recordings: a few strings of digits read by espeak-ng, so that no person's voice is shipped.

``python -m recipes.small_model.make_recordings FOLDER`` writes flac files and recordings.json.
"""

import argparse
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from hf_tokcomp.checkpoints.test_sets.clips import join
from hf_tokcomp.checkpoints.test_sets.sources import SAMPLE_RATE
from hf_tokcomp.hub.whole_files import write_whole

from .voices import speak

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """A string of digits and the espeak-ng settings; `gap` is the extra pause between words in units of 10 ms."""

    name: str
    text: str
    voice: str
    speed: int
    pitch: int
    gap: int


READINGS = (
    Reading("slow-american", "seven three one zero nine", "en-us", 130, 45, 35),
    Reading("british-woman", "four eight two six", "en-gb+f2", 120, 60, 40),
    Reading("quick-scot", "five two nine four eight one", "en-gb-scotland+m3", 150, 40, 20),
)


def make(folder: Path) -> int:
    """Writes every reading, with the texts in recordings.json, and returns the number of audio bytes written."""
    folder.mkdir(parents=True, exist_ok=True)
    listed, written = [], 0
    for reading in READINGS:
        spoken = speak(reading.text, reading.voice, reading.speed, reading.pitch, reading.gap)
        audio = join([spoken * (0.5 / float(np.abs(spoken).max()))], [], lead=0.2, tail=0.2)
        file = folder / f"{reading.name}.flac"
        soundfile.write(str(file), audio, SAMPLE_RATE, subtype="PCM_16")
        written += file.stat().st_size
        listed.append({"audio": file.name, "text": reading.text, "seconds": round(len(audio) / SAMPLE_RATE, 2)})
    write_whole(folder / "recordings.json", json.dumps(listed, indent=2) + "\n")
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder to write to")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    log.info("%d recordings, %d bytes, in %s", len(READINGS), make(arguments.output), arguments.output)


if __name__ == "__main__":
    main()
