"""Atomic writing of files: no one sees a partial file, and if writing fails, the old file remains."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_whole(file: str | os.PathLike[str], content: str | bytes) -> Path:
    """Write a file, text in UTF-8 with ``\\n``, and return its path.

    Raises:
        OSError: it cannot be written, for example on a full disk; the error names the file, and no temporary file
            remains.
    """
    data = content.encode() if isinstance(content, str) else content
    with whole_file(file) as part:
        part.write_bytes(data)
    return Path(file)


@contextmanager
def whole_file(file: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write to within the ``with`` block; at its end, what was written replaces the file.

    Devices and pipes are written to directly.

    Raises:
        OSError: as for `write_whole`.
    """
    target = Path(file)
    try:
        if target.exists() and not target.is_file():
            yield target
            return
        real = Path(os.path.realpath(target))  # a link remains a link
        part = real.with_name(f".{real.name}.{os.getpid()}-{threading.get_ident()}.part")
        try:
            yield part
            if real.exists():
                shutil.copymode(real, part)
            part.replace(real)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise not_written(target, error) from error


def not_written(file: Path, error: OSError, kept: str = "what was there before stays") -> OSError:
    """An error of the same type that names the file and says what is kept."""
    return OSError(error.errno, f"{error.strerror or error}; {kept}", str(file))
