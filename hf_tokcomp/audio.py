"""load_audio: whatever a user holds, a path, bytes, a dict of `datasets`, an array, as mono samples at one rate.

Decoding is soundfile's and resampling soxr's: both are dependencies. librosa and torchcodec are never needed.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

Samples = NDArray[np.float32]
READABLE = "wav, flac, ogg, opus or mp3"


def load_audio(source: Any, sampling_rate: int = 16_000) -> Samples:
    """Audio in any form as mono samples.

    Args:
        source: one of

            - a path (``str`` or ``os.PathLike``) of a file that soundfile reads: wav, flac, ogg, opus, mp3;
            - an ``http(s)://`` or ``data:`` address;
            - the ``bytes`` of such a file, or a binary file object;
            - ``{"array": ..., "sampling_rate": ...}`` or ``{"bytes": ..., "path": ...}``, as `datasets` has them;
            - a decoder with ``get_all_samples()``, as torchcodec's ``AudioDecoder``;
            - an array, a tensor or a list, ``(samples,)`` or ``(channels, samples)``: int16, int32 and uint8 are
              scaled to -1..1, and without a rate of its own it is taken to be at `sampling_rate` already.
        sampling_rate: samples per second of the result.

    Returns:
        ``(samples,)`` float32.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not audio, has no samples or samples that are no numbers; the message names the file.
        TypeError: it is none of the forms above, or an array of another type.
    """
    if isinstance(source, str) and source.startswith(("http://", "https://", "data:")):
        return _from_address(source, sampling_rate)
    if isinstance(source, str | os.PathLike):
        return _from_file(Path(source), sampling_rate)
    if isinstance(source, bytes | bytearray | memoryview):
        return _decode(source, "the given bytes", sampling_rate)
    if isinstance(source, Mapping):
        return _from_dict(source, sampling_rate)
    if hasattr(source, "get_all_samples"):
        samples = source.get_all_samples()
        return _from_array(samples.data, int(samples.sample_rate), sampling_rate)
    if hasattr(source, "read"):
        return _decode(source.read(), str(getattr(source, "name", "the given file object")), sampling_rate)
    if isinstance(source, np.ndarray | list) or hasattr(source, "detach"):
        return _from_array(source, sampling_rate, sampling_rate)
    raise TypeError(
        f"Cannot read audio from {type(source).__name__}; give a path, an address, bytes, a dict with 'array' or "
        "'bytes', an AudioDecoder, an array or a tensor."
    )


def _from_address(address: str, sampling_rate: int) -> Samples:
    from transformers.audio_utils import load_audio as fetch

    name = address if len(address) <= 120 else f"{address[:60]}..."  # a data: address holds the whole file
    try:
        samples = fetch(address, sampling_rate=sampling_rate, timeout=60)
    except Exception as error:  # each of its HTTP and decoding backends raises its own
        raise ValueError(f"Cannot read audio from {name}: {error}") from error
    return _mono(np.asarray(samples, dtype=np.float32), sampling_rate, sampling_rate, name)


def _from_file(path: Path, sampling_rate: int) -> Samples:
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not an audio file.")
    if not path.exists():
        raise FileNotFoundError(f"There is no audio file {path}.")
    return _decode(path.read_bytes(), str(path), sampling_rate)


def _from_dict(source: Mapping[str, Any], sampling_rate: int) -> Samples:
    name = source.get("path")
    if source.get("array") is not None:
        rate = source.get("sampling_rate")
        return _from_array(source["array"], sampling_rate if rate is None else int(rate), sampling_rate, name)
    if source.get("bytes") is not None:
        return _decode(source["bytes"], str(name or "the given bytes"), sampling_rate)
    if name is not None:
        return load_audio(name, sampling_rate)
    raise ValueError(f"An audio dict needs 'array', 'bytes' or 'path' with a value; this one has {sorted(source)}.")


def _decode(content: bytes | bytearray | memoryview, name: str, sampling_rate: int) -> Samples:
    if len(content) == 0:
        raise ValueError(f"{name} is empty.")
    try:
        # From memory: given a file, soundfile lets the ending of its name decide about the format.
        samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(
            f"{name} is not audio that soundfile can read ({READABLE}): {error.error_string} "
            "Other formats need converting first, for example with ffmpeg."
        ) from error
    return _mono(samples.T, rate, sampling_rate, name)


def _from_array(array: Any, rate: int, sampling_rate: int, name: str | None = None) -> Samples:
    if hasattr(array, "detach"):  # a tensor, on any device and of any type
        array = array.detach().cpu()
        array = (array.float() if array.is_floating_point() else array).numpy()
    samples = np.asarray(array, dtype=np.float32) if isinstance(array, list) else np.asarray(array)
    if samples.dtype == np.uint8:  # the one unsigned format: silence is 128
        samples = samples.astype(np.float32) / 128 - 1
    elif samples.dtype in (np.int16, np.int32):
        samples = samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    elif not np.issubdtype(samples.dtype, np.floating):
        raise TypeError(f"An audio array is float, int16, int32 or uint8, not {samples.dtype}: its scale is unknown.")
    return _mono(samples, rate, sampling_rate, name or "the given array")


def _mono(samples: NDArray[Any], rate: int, sampling_rate: int, name: str) -> Samples:
    if rate <= 0 or sampling_rate <= 0:
        raise ValueError(f"A sampling rate is positive; {name} came with {rate}, and {sampling_rate} was asked for.")
    if samples.size == 0:
        raise ValueError(f"{name} has no samples.")
    if samples.ndim > 2 or (samples.ndim == 2 and samples.shape[0] > samples.shape[1]) or samples.ndim == 0:
        hint = "; transpose it" if samples.ndim == 2 else ""
        raise ValueError(f"{name} has the shape {samples.shape}, not (samples,) or (channels, samples){hint}.")
    mono = samples if samples.ndim == 1 else samples.mean(axis=0)
    mono = np.ascontiguousarray(mono, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise ValueError(f"{name} has samples that are NaN or infinite.")
    if rate != sampling_rate:
        mono = np.asarray(soxr.resample(mono, rate, sampling_rate), dtype=np.float32)
        if mono.size == 0:
            raise ValueError(f"{name} is too short: no sample is left at {sampling_rate} Hz.")
    return mono
