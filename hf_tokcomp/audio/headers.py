"""Complete the headers of files that were written into a pipe, so that the whole file is read.

A program that writes into a pipe cannot go back to record the length of the audio: a WAV file then says 0 bytes, and an
mp3 file has no frame count (if its frame sizes vary, libsndfile's guess from the first one is far off). The layouts are
those of RIFF, EBU Tech 3306 (RF64), ISO 11172-3 and 13818-3 (mp3), ID3v2 and the Xing header.
"""

from __future__ import annotations

import struct

WHOLE = 0xFFFFFFFF
"""A size of 32 bits that stands for "not known", and in RF64 for "see the ds64 chunk"."""
PADDING = 2**16
"""Most zeros between a tag and the first frame."""
MPEG_BITRATES = (
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
"""kbit/s of layer III, of MPEG-1 and of MPEG-2 and 2.5, from index 1."""
MPEG_RATES = (44_100, 48_000, 32_000)


def filled_in(content: bytes) -> bytes:
    """The bytes of an audio file, with the length filled into a header that lacks it.

    Anything else is returned unchanged, and errors are left to libsndfile.
    """
    if content[:4] in (b"RIFF", b"RF64") and content[8:12] == b"WAVE":
        return _riff(content)
    return _mpeg(content)


def _riff(content: bytes) -> bytes:
    place, wide = 12, None
    while place + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, place)
        if name == b"data":
            rest = len(content) - place - 8
            said = struct.unpack_from("<Q", content, wide + 16)[0] if wide is not None and size == WHOLE else size
            if said or not rest or _are_chunks(content, place + 8):
                return content
            filled = bytearray(content)
            filled[:8] = struct.pack("<4sI", b"RIFF", min(len(content) - 8, WHOLE))
            struct.pack_into("<I", filled, place + 4, min(rest, WHOLE))
            if wide is not None:
                filled[wide : wide + 4] = b"JUNK"
            return bytes(filled)
        if name == b"ds64" and size >= 24:
            wide = place
        place += 8 + size + size % 2
    return content


def _are_chunks(content: bytes, place: int) -> bool:
    """Whether the rest consists of chunks, to the last byte: then the audio is really empty, and they are metadata."""
    while place + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, place)
        if not name.isalnum() and not name.rstrip().isalnum():
            return False
        place += 8 + size + size % 2
    return place in (len(content), len(content) + 1)


def _mpeg(content: bytes) -> bytes:
    start = _after_tags(content, 0)
    beginning = content[start : start + PADDING]
    start += len(beginning) - len(beginning.lstrip(b"\0"))
    length = _frame_length(content, start)
    if not length or not _frame_length(content, start + length):
        return content  # not an mp3, or fewer than two frames
    head = content[start : start + length]
    frames = _count(content, start)
    if not any(tag in head for tag in (b"Xing", b"Info", b"VBRI")):
        return _xing(head, frames) + content[start:]
    said = max((_said(head, tag) for tag in (b"Xing", b"Info")), default=0)
    if said + 1 >= frames:
        return content[start:]
    return _xing(head, frames - 1) + content[start + length :]  # several files in a row


def _after_tags(content: bytes, place: int) -> int:
    """The offset after the ID3v2 tags that begin here, if any."""
    while content[place : place + 3] == b"ID3" and len(content) >= place + 10:
        size = 0
        for byte in content[place + 6 : place + 10]:
            size = size << 7 | (byte & 0x7F)
        place += 10 + size + (10 if content[place + 5] & 0x10 else 0)
    return place


def _count(content: bytes, place: int) -> int:
    """The number of frames from here to the end, skipping tags and other bytes between them."""
    frames = 0
    while 0 <= place < len(content):
        length = _frame_length(content, place)
        if length:
            frames, place = frames + (place + length <= len(content)), place + length
            continue
        after = _after_tags(content, place)
        place = after if after > place else content.find(b"\xff", place + 1)
        while 0 <= place < len(content) and not _two_frames(content, place):
            place = content.find(b"\xff", place + 1)
    return frames


def _two_frames(content: bytes, place: int) -> bool:
    length = _frame_length(content, place)
    return bool(length and (place + length == len(content) or _frame_length(content, place + length)))


def _said(head: bytes, tag: bytes) -> int:
    """The frame count in a Xing header, or 0 without one."""
    place = head.find(tag)
    if place < 0 or len(head) < place + 12 or not head[place + 7] & 1:
        return 0
    return int(struct.unpack_from(">I", head, place + 8)[0])


def _frame_length(content: bytes, place: int) -> int:
    """Length in bytes of the layer III frame that begins here, or 0."""
    header = content[place : place + 4]
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2 or header[1] & 0x18 == 0x08:
        return 0
    bitrate, rate = header[2] >> 4, header[2] >> 2 & 3
    if bitrate in (0, 15) or rate == 3:
        return 0
    newer, slowed = header[1] & 0x18 != 0x18, header[1] & 0x18 == 0
    hertz = MPEG_RATES[rate] >> (newer + slowed)
    return (72 if newer else 144) * 1000 * MPEG_BITRATES[newer][bitrate - 1] // hertz + (header[2] >> 1 & 1)


def _xing(header: bytes, frames: int) -> bytes:
    """A silent frame with the same header, which records how many frames follow."""
    header = bytes([0xFF, header[1] | 1, header[2] & 0x0D | 0xE0, header[3]])  # no checksum, the largest size
    newer, mono = header[1] & 0x18 != 0x18, header[3] >> 6 == 3
    side = (9 if mono else 17) if newer else (17 if mono else 32)
    body = header + bytes(side) + struct.pack(">4sII", b"Xing", 1, frames)
    return body + bytes(_frame_length(header, 0) - len(body))
