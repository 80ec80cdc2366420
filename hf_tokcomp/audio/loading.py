"""load_audio: mono samples at one rate from a path, bytes, an array, a dict of `datasets` and more.

soundfile decodes and soxr resamples; both are dependencies. librosa and torchcodec are never needed.
"""

from __future__ import annotations

import io
import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ..messages import shortened, shown
from .addresses import check_there, is_address, path_of, read_address
from .headers import filled_in

Samples = NDArray[np.float32]
READABLE = "wav, flac, ogg, opus or mp3"
BLOCK = 2**20
LOUD = 10.0
"""Full scale is 1. Recordings mixed or decoded without a limiter exceed it, but not by this much."""
UNREADABLE = (OSError, ValueError, TypeError, RuntimeError)
"""What `load_audio` raises for a recording that cannot be read; others still can."""
logger = logging.getLogger(__name__)


def load_audio(source: Any, sampling_rate: int = 16_000) -> Samples:
    """Audio in any form as mono samples.

    Args:
        source: one of

            - a path (``str`` or ``os.PathLike``) of a file that soundfile reads: wav, flac, ogg, opus, mp3;
            - an ``http(s)://``, ``file://`` or ``data:`` address;
            - the ``bytes`` of such a file, or a binary file object;
            - ``{"array": ..., "sampling_rate": ...}`` or ``{"bytes": ..., "path": ...}``, as `datasets` has them;
            - a decoder with ``get_all_samples()``, such as torchcodec's ``AudioDecoder``;
            - an array, a tensor or a list, ``(samples,)`` or ``(channels, samples)``: int16, int32 and uint8 are
              scaled to -1..1; floats must have that scale already (the first that is far from it causes a warning); and
              the rate is assumed to be `sampling_rate`.
        sampling_rate: samples per second of the result.

    Returns:
        ``(samples,)`` float32.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not audio, has no samples, or has samples that are not finite; the message names the file.
        TypeError: it is none of the forms above, or an array of another type, such as a list of Python integers.

    Example:
        >>> from hf_tokcomp.audio import load_audio
        >>> load_audio("question.wav", sampling_rate=16_000).shape
        (81110,)
    """
    if isinstance(source, str) and is_address(source):
        path = path_of(source)
        if path is None:
            return _decode(read_address(source), shortened(source), sampling_rate)
        return _from_file(path, sampling_rate)
    if isinstance(source, str | os.PathLike):
        return _from_file(source, sampling_rate)
    if isinstance(source, bytes | bytearray | memoryview):
        return _decode(source, "the given bytes", sampling_rate)
    if isinstance(source, Mapping):
        return _from_dict(source, sampling_rate)
    if hasattr(source, "get_all_samples"):
        samples = source.get_all_samples()
        return _from_array(samples.data, int(samples.sample_rate), sampling_rate)
    if hasattr(source, "read"):
        name = shortened(str(getattr(source, "name", "the given file object")))
        return _decode(source.read(), name, sampling_rate)
    if isinstance(source, np.ndarray | list | tuple) or hasattr(source, "detach"):
        return _from_array(source, sampling_rate, sampling_rate)
    raise TypeError(
        f"Cannot read audio from {type(source).__name__}; give a path, an address, bytes, a dict with 'array' or "
        "'bytes', an AudioDecoder, an array or a tensor."
    )


def _from_file(path: str | os.PathLike[str], sampling_rate: int) -> Samples:
    check_there(path)
    return _decode(Path(path).read_bytes(), shortened(os.fspath(path)), sampling_rate)


def _from_dict(source: Mapping[str, Any], sampling_rate: int) -> Samples:
    path = source.get("path")
    name = None if path is None else shortened(str(path))
    if source.get("array") is not None:
        rate = source.get("sampling_rate")
        return _from_array(source["array"], sampling_rate if rate is None else int(rate), sampling_rate, name)
    if source.get("bytes") is not None:
        return _decode(source["bytes"], name or "the given bytes", sampling_rate)
    if path is not None:
        return load_audio(path, sampling_rate)
    raise ValueError(f"An audio dict needs 'array', 'bytes' or 'path' with a value; this one has {shown([*source])}.")


def _decode(content: bytes | bytearray | memoryview, name: str, sampling_rate: int) -> Samples:
    if len(content) == 0:
        raise ValueError(f"{name} is empty.")
    try:
        # From memory: given a file, soundfile takes the format from the suffix of its name.
        samples, rate = _read_all(io.BytesIO(filled_in(bytes(content))))
    except soundfile.LibsndfileError as error:
        raise ValueError(
            f"{name} is not audio that soundfile can read ({READABLE}): {error.error_string} "
            "Other formats need converting first, for example with ffmpeg."
        ) from error
    return _mono(samples.T, rate, sampling_rate, name)


def _read_all(file: io.BytesIO) -> tuple[Samples, int]:
    """``(samples, channels)`` up to the real end, whatever the header says, and the rate."""
    with soundfile.SoundFile(file) as sound:
        sound.seekable = lambda: False  # otherwise soundfile trusts the header, and the size of a streamed FLAC is 2^63
        blocks: list[Samples] = []
        while not blocks or len(blocks[-1]) == BLOCK:
            blocks.append(sound.read(BLOCK, dtype="float32", always_2d=True))
        return np.concatenate(blocks), int(sound.samplerate)


def _from_array(array: Any, rate: int, sampling_rate: int, name: str | None = None) -> Samples:
    return _mono(scaled(array), rate, sampling_rate, name or "the given array")


def scaled(array: Any) -> NDArray[Any]:
    """Convert samples of any type to floats, with silence at 0 and full scale at 1.

    Args:
        array: ``(samples,)`` or ``(channels, samples)``, an array, a tensor on any device, or a list.

    Raises:
        TypeError: the scale is unknown: the values are integers other than int16, int32 and uint8 (as Python integers
            in a list are), or not real numbers.
        ValueError: its parts differ in length.
    """
    if hasattr(array, "detach"):
        array = array.detach().cpu()
        array = (array.float() if array.is_floating_point() else array).numpy()
    try:
        samples = np.asarray(array)
    except ValueError as error:  # numpy's message is about setting elements
        raise ValueError("The channels of an audio array differ in length, or it holds other lists.") from error
    if samples.dtype == np.uint8:  # the one unsigned format: silence is 128
        return samples.astype(np.float32) / 128 - 1
    if samples.dtype in (np.int16, np.int32):
        return samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    if not np.issubdtype(samples.dtype, np.floating):
        raise TypeError(
            f"An audio array is float, int16, int32 or uint8, not {samples.dtype}: its scale is unknown. For 16-bit "
            "samples, pass np.asarray(samples, dtype=np.int16)."
        )
    return samples


def _mono(samples: NDArray[Any], rate: int, sampling_rate: int, name: str) -> Samples:
    if rate <= 0 or sampling_rate <= 0:
        raise ValueError(
            f"A sampling rate must be positive; {name} came with {rate}, and {sampling_rate} was asked for."
        )
    if samples.size == 0:
        raise ValueError(f"{name} has no samples.")
    if samples.ndim > 2 or (samples.ndim == 2 and samples.shape[0] > samples.shape[1]) or samples.ndim == 0:
        hint = "; transpose it" if samples.ndim == 2 else ""
        raise ValueError(f"{name} has the shape {samples.shape}, not (samples,) or (channels, samples){hint}.")
    mono = samples if samples.ndim == 1 else samples.mean(axis=0)
    mono = np.ascontiguousarray(mono, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise ValueError(f"{name} has samples that are NaN or infinite.")
    loudest = float(np.abs(mono).max())
    if loudest > LOUD:
        _warn_of_scale(name, loudest)
    if rate != sampling_rate:
        mono = np.asarray(soxr.resample(mono, rate, sampling_rate), dtype=np.float32)
        if mono.size == 0:
            raise ValueError(f"{name} is too short: no sample is left at {sampling_rate} Hz.")
    return mono


class _Once:
    """Whether a message was already given, in any thread."""

    def __init__(self) -> None:
        self.lock, self.said = threading.Lock(), False

    def first(self) -> bool:
        with self.lock:
            first, self.said = not self.said, True
        return first


_scale_warning = _Once()


def _warn_of_scale(name: str, loudest: float) -> None:
    """In a data set at another scale every recording would cause a warning, so only the first one does."""
    if _scale_warning.first():
        logger.warning(
            "%s has samples up to %.6g, where full scale is 1: the model hears noise. Divide 16-bit samples by "
            "32768. Further audio like this is not reported.",
            name,
            loudest,
        )
