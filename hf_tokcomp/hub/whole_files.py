"""Atomic writing of files and folders: no one sees a partial one, and if writing fails, the old one remains."""

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


@contextmanager
def whole_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """A folder to fill within the ``with`` block; at its end, it takes the name of the new or empty one.

    Raises:
        FileExistsError: there is something of this name already, other than an empty folder.
        OSError: it cannot be written; nothing of it remains.
    """
    target = Path(os.path.realpath(folder))
    check_new(target)
    part = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        part.mkdir(parents=True)
        yield part
        part.rename(target)
    except OSError as error:
        raise not_written(target, error, "nothing was written") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def check_new(folder: str | os.PathLike[str]) -> None:
    """Raise unless a folder is new or empty.

    Raises:
        FileExistsError: it is not.
    """
    path = Path(folder)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(f"{path} {'holds files already' if path.is_dir() else 'is a file'}; name a new folder.")


def not_written(file: Path, error: OSError, kept: str = "what was there before stays") -> OSError:
    """An error of the same type that names the file and says what is kept."""
    return OSError(error.errno, f"{error.strerror or error}; {kept}", str(file))
