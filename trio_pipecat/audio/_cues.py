"""Marks in a WAV file: ``cue `` points, and the labels that a ``LIST`` of type ``adtl`` gives them.

No I/O.
"""

import struct
from typing import Final

#: More are not kept, and a label has no more bytes: they are in memory until the file is closed.
MAX_CUES: Final = 50_000
MAX_LABEL: Final = 120
#: What all of them take at most.
MAX_SIZE: Final = 1 << 24

_CHUNK: Final = struct.Struct("<4sI")
_NUMBER: Final = struct.Struct("<I")
#: Its number, its place in what is played, the chunk it is in, two offsets of that, and its frame.
_POINT: Final = struct.Struct("<II4sIII")
#: The sizes of the two chunks' heads, and what is before the first mark and label.
_EMPTY: Final = 2 * _CHUNK.size + _NUMBER.size + 4


class Cues:
    """Marks, which are added."""

    def __init__(self) -> None:
        self._count = 0
        self._points = bytearray()
        self._labels = bytearray()

    @property
    def size(self) -> int:
        """How many bytes `encode` returns."""
        return _EMPTY + len(self._points) + len(self._labels)

    def add(self, frame: int, label: str) -> None:
        """Mark a frame."""
        if self._count >= MAX_CUES:
            return
        self._count += 1
        self._points += _POINT.pack(self._count, frame, b"data", 0, 0, frame)
        text = label.replace("\0", "").encode("utf-8", "replace")[:MAX_LABEL]
        # What was cut within a character ends before it.
        text = text.decode("utf-8", "ignore").encode() + b"\0"
        self._labels += chunk(b"labl", _NUMBER.pack(self._count) + text)

    def encode(self) -> bytes:
        """Return both chunks."""
        points = chunk(b"cue ", _NUMBER.pack(self._count) + self._points)
        return points + chunk(b"LIST", b"adtl" + self._labels)


def chunk(name: bytes, content: bytes) -> bytes:
    """Return a chunk of a RIFF file; one that is odd is padded."""
    return _CHUNK.pack(name, len(content)) + content + bytes(len(content) % 2)


def read_points(content: bytes) -> dict[int, int]:
    """Return the frames that a ``cue `` chunk marks, by number."""
    points = {}
    for start in range(_NUMBER.size, len(content) - _POINT.size + 1, _POINT.size):
        number, _, _, _, _, frame = _POINT.unpack_from(content, start)
        points[number] = frame
    return points


def read_labels(content: bytes) -> dict[int, str]:
    """Return the labels in a ``LIST`` chunk, by the number of what they are for."""
    labels: dict[int, str] = {}
    start = 4 if content[:4] == b"adtl" else len(content)
    while start + _CHUNK.size <= len(content):
        name, size = _CHUNK.unpack_from(content, start)
        start += _CHUNK.size
        if name == b"labl" and _NUMBER.size <= size <= len(content) - start:
            text = content[start + _NUMBER.size : start + size].partition(b"\0")[0]
            labels[_NUMBER.unpack_from(content, start)[0]] = text.decode("utf-8", "replace")
        start += size + size % 2
    return labels
