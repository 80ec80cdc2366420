"""CTranslate2's file of a model, version 6: a list of named tensors, read without CTranslate2.

Little endian. A string is its length (uint16, with the closing zero) and its characters. The file is the version
(uint32), the name of the model's specification and its revision (uint32), the number of tensors (uint32) and the
tensors, then the number of aliases (uint32) and the aliases, pairs of a new name and the name of a tensor. A tensor is
its name, its number of dimensions (uint8), the dimensions (uint32 each), the type (uint8), the number of bytes (uint32)
and the bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

VERSION = 6
TYPES = {0: "<f4", 1: "i1", 2: "<i2", 3: "<i4", 4: "<f2"}


@dataclass(frozen=True)
class ModelFile:
    """The contents of a file.

    Args:
        specification: the kind of model, such as ``"WhisperSpec"``.
        revision: the revision of that kind.
        arrays: tensors by name; settings are tensors without dimensions.
        aliases: further names of tensors, each with the name it stands for.
    """

    specification: str
    revision: int
    arrays: dict[str, np.ndarray[Any, Any]]
    aliases: dict[str, str]


class _Reader:
    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def take(self, count: int) -> bytes:
        taken = self.content[self.place : self.place + count]
        if len(taken) < count:
            raise ValueError(f"The file ends after {len(self.content):,} bytes, within what it says it has.")
        self.place += count
        return taken

    def number(self, kind: str) -> int:
        return int(struct.unpack(f"<{kind}", self.take(struct.calcsize(kind)))[0])

    def string(self) -> str:
        return self.take(self.number("H")).rstrip(b"\0").decode()

    def array(self) -> np.ndarray[Any, Any]:
        shape = [self.number("I") for _ in range(self.number("B"))]
        kind = self.number("B")
        if kind not in TYPES:
            raise ValueError(f"The file has a tensor of type {kind}; known are {', '.join(map(str, TYPES))}.")
        return np.frombuffer(self.take(self.number("I")), TYPES[kind]).reshape(shape)


def read_model(content: bytes) -> ModelFile:
    """Read a file.

    Args:
        content: all its bytes.

    Raises:
        ValueError: it is of another version, cut off, or has what this does not know.
    """
    reader = _Reader(content)
    version = reader.number("I")
    if version != VERSION:
        raise ValueError(f"The file says it is of version {version}, and only {VERSION} is known.")
    specification, revision = reader.string(), reader.number("I")
    arrays = {reader.string(): reader.array() for _ in range(reader.number("I"))}
    aliases = {reader.string(): reader.string() for _ in range(reader.number("I"))}
    if reader.place != len(content):
        raise ValueError(f"{len(content) - reader.place:,} bytes follow the end of the file.")
    return ModelFile(specification, revision, arrays, aliases)
