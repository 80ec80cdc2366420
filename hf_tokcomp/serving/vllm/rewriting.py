"""Putting a model's weights into another folder: linked as they are, or written anew where they must differ."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from ...errors import UnsupportedModelError
from ...hub.whole_files import write_whole
from ...loading.weights import compressor_key, stored_names
from .source import Weights

DOUBLED = "language_model.model.model."
"""How transformers 5.19 saves the names of a language model; neither other versions nor stock vLLM expect it."""
PUBLISHED = "language_model.model."


@dataclass(frozen=True)
class Rewriting:
    """What happens to the weights.

    Args:
        change: a new value for a weight, given with its published name; None to leave all values.
        with_compressor: whether the weights of an audio compressor stay.
    """

    change: Callable[[str, Tensor], Tensor] | None = None
    with_compressor: bool = False

    def name(self, name: str) -> str | None:
        """The published name of a weight; None for one that is left out."""
        if compressor_key(name) is not None and not self.with_compressor:
            return None
        return PUBLISHED.join(name.split(DOUBLED))

    def touches(self, file: Path) -> bool:
        """Whether a safetensors file must be written anew."""
        return self.change is not None or any(self.name(key) != key for key in stored_names(file)[0])

    def write(self, weights: Weights, folder: Path) -> None:
        """Put the weights into a folder.

        Raises:
            UnsupportedModelError: they must be changed, and are pickled.
            OSError: a file cannot be written.
        """
        if not weights.are_safetensors:
            if self.change is not None:
                raise UnsupportedModelError(
                    f"{weights.files[0]} must be rewritten, and pickled weights are not read: load the model and save "
                    "it with save_pretrained, which writes safetensors."
                )
            written = []
        else:
            written = [file for file in weights.files if self.touches(file)]
        for file in weights.files:
            if file in written:
                self._write_file(file, folder / file.name)
            else:
                link(file, folder / file.name)
        if weights.index is not None:
            text = weights.index.read_text(encoding="utf-8")
            write_whole(folder / weights.index.name, self._index(text, weights, folder) if written else text)

    def _write_file(self, file: Path, target: Path) -> None:
        changed: dict[str, Tensor] = {}
        for name, weight in load_file(file).items():
            new = self.name(name)
            if new is not None:
                changed[new] = (weight if self.change is None else self.change(new, weight)).contiguous()
        save_file(changed, target, {"format": "pt"})
        shutil.copymode(file, target)  # safetensors lets nobody else read it

    def _index(self, text: str, weights: Weights, folder: Path) -> str:
        names = {self.name(name): file for name, file in json.loads(text)["weight_map"].items()}
        names.pop(None, None)
        total = sum(_bytes_of_weights(folder / file.name) for file in weights.files)
        return json.dumps({"metadata": {"total_size": total}, "weight_map": names}, indent=2) + "\n"


def link(file: Path, target: Path) -> None:
    """Have a file in another place without a copy: by a hard link, or else, as on another disk, by a symbolic one.

    The file itself is linked, and not a link that leads to it, as those in a Hub cache do.
    """
    real = Path(os.path.realpath(file))
    try:
        os.link(real, target)
    except OSError:
        target.symlink_to(real)


def _bytes_of_weights(file: Path) -> int:
    """Of a safetensors file: all but its header, whose length is its first 8 bytes."""
    with file.open("rb") as opened:
        return file.stat().st_size - 8 - int.from_bytes(opened.read(8), "little")
