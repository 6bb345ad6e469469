"""The sound of a session: a stereo WAV file that is written, and read, at any place in it.

The user is on the left and the bot on the right. What is written goes between what is there, so
nothing is kept in memory however long a call lasts, and a gap is a hole in the file.

A process that is killed leaves a whole file
--------------------------------------------
Nothing is buffered, and the sizes in the header are written after what they count, so the file is a
WAV file after each write, with all that was written. The marks are before the sound, because that
grows. There are two places for them, one behind the other, in what is skipped by readers::

    RIFF WAVE | fmt | JUNK, of n bytes | first place | second place | data | samples …

The size of ``JUNK`` says which of the places counts: it ends before the first or the second, or
takes in both. New marks go to the place that does not count, with a ``JUNK`` of their own up to
``data``; then one write of four bytes turns over. What has no room there any more goes behind the
sound, when the file is closed.
"""

import os
import struct
from array import array
from collections.abc import Iterator
from typing import BinaryIO, Final

from ._cues import MAX_SIZE, Cues, chunk, read_labels, read_points
from ._pcm import swapped

#: Which channel is whose.
USER: Final = 0
BOT: Final = 1

_FRAME: Final = 4
_CHUNK: Final = struct.Struct("<4sI")
_SIZE: Final = struct.Struct("<I")
_FORMAT: Final = struct.Struct("<HHIIHH")
#: RIFF, WAVE and the format; then comes the data, or the room for marks.
_HEADER: Final = 12 + _CHUNK.size + _FORMAT.size
#: With marks the samples begin here.
_WITH_ROOM: Final = 65_536
_DATA: Final = _WITH_ROOM - _CHUNK.size
_ROOM: Final = _HEADER + _CHUNK.size
#: The first place begins this far behind the beginning of the room. (A chunk of no bytes would do,
#: if it did not look odd.)
_FIRST: Final = 4
_PLACE: Final = (_DATA - _ROOM - _FIRST) // 2
#: Sizes in a WAV file have 32 bits.
MAX_FRAMES: Final = (2**32 - 1 - _WITH_ROOM - MAX_SIZE) // _FRAME
#: How much is read and written at once.
_STEP: Final = 16_384
#: What has more chunks than this, or such large marks, was not made here.
_MAX_CHUNKS: Final = 1_000


class NotStereoError(Exception):
    """A file that is not the WAV of a recording. The text says why."""


class StereoWriter:
    """A WAV file that is being written, with `cues` or without room for them."""

    def __init__(self, path: "os.PathLike[str]", rate: int, *, cues: bool = False) -> None:
        self.rate = rate
        #: How long it is.
        self.frames = 0
        self._begin = _WITH_ROOM if cues else _HEADER + _CHUNK.size
        self._ends = [0, 0]
        self._cues = Cues() if cues else None
        #: Where the last mark is, and in which of the places they are; None: in neither.
        self._marked = 0
        self._place: int | None = None
        self._file: BinaryIO = open(path, "w+b", buffering=0)  # noqa: PTH123, SIM115
        try:
            self.restart(rate)
        except OSError:
            self._file.close()
            raise

    def restart(self, rate: int) -> None:
        """Forget everything, and go on at another rate."""
        self.rate, self.frames, self._ends, self._marked = rate, 0, [0, 0], 0
        self._place = None
        format_ = _FORMAT.pack(1, 2, rate, rate * _FRAME, _FRAME, 16)
        header = b"WAVE" + chunk(b"fmt ", format_)
        if self._cues is not None:
            self._cues = Cues()
            header += _CHUNK.pack(b"JUNK", _DATA - _ROOM)
        self._put(self._begin - _CHUNK.size, _CHUNK.pack(b"data", 0))
        self._put(0, _CHUNK.pack(b"RIFF", self._begin - _CHUNK.size) + header)
        self._file.truncate(self._begin)

    def write(self, side: int, begin: int, samples: "array[int]") -> None:
        """Put one side's samples at frame `begin`; there is room for `MAX_FRAMES`."""
        for start in range(0, len(samples), _STEP):
            self._write(side, begin + start, samples[start : start + _STEP])
        self._ends[side] = max(self._ends[side], begin + len(samples))
        self._lengthen(begin + len(samples))

    def silence(self, side: int, begin: int, end: int) -> None:
        """Forget one side's samples from `begin` to `end`. What nobody is heard in is taken off."""
        own, other = self._ends[side], self._ends[1 - side]
        stop = end if end < own else min(own, other)
        for start in range(begin, stop, _STEP):
            self._write(side, start, array("h", bytes(2 * (min(start + _STEP, stop) - start))))
        if end >= own > begin:
            self._ends[side] = begin
            self._shorten()

    def mark(self, frame: int, label: str) -> None:
        """Put a mark at a frame. The file is long enough to have it."""
        if self._cues is None:
            return
        if frame > self.frames:
            self._file.truncate(self._begin + _FRAME * frame)
        self._lengthen(frame)
        self._marked = max(self._marked, frame)
        self._cues.add(frame, label)
        if self._cues.size <= _PLACE - _CHUNK.size:
            marks = self._cues.encode()
            place = 0 if self._place else 1
            begin = _ROOM + _FIRST + place * _PLACE
            left = _DATA - begin - len(marks)
            self._put(begin, marks + _CHUNK.pack(b"JUNK", left - _CHUNK.size))
            self._turn(place)

    def close(self) -> None:
        """Finish the file."""
        if self._file.closed:
            return
        try:
            self._move_marks()
        finally:
            self._file.close()

    def _write(self, side: int, begin: int, samples: "array[int]") -> None:
        size = _FRAME * len(samples)
        at = self._begin + _FRAME * begin
        there = b""
        if begin < self._ends[1 - side]:
            self._file.seek(at)
            there = self._file.read(size)
        both = array("h", there.ljust(size, b"\0"))
        both[side::2] = swapped(samples)
        self._put(at, both.tobytes())

    def _lengthen(self, frames: int) -> None:
        if frames > self.frames:
            self.frames = frames
            self._write_sizes()

    def _shorten(self) -> None:
        heard, self.frames = max(self._ends), max(*self._ends, self._marked)
        self._write_sizes()
        self._file.truncate(self._begin + _FRAME * heard)
        self._file.truncate(self._begin + _FRAME * self.frames)

    def _write_sizes(self, behind: int = 0) -> None:
        size = _FRAME * self.frames
        self._put(4, _SIZE.pack(self._begin - _CHUNK.size + size + behind))
        self._put(self._begin - _SIZE.size, _SIZE.pack(size))

    def _move_marks(self) -> None:
        if self._cues is not None and self._cues.size > _PLACE - _CHUNK.size:
            marks = self._cues.encode()
            self._put(self._begin + _FRAME * self.frames, marks)
            self._write_sizes(len(marks))
            self._turn(None)

    def _turn(self, place: int | None) -> None:
        self._place = place
        size = _DATA - _ROOM if place is None else _FIRST + place * _PLACE
        self._put(_ROOM - _SIZE.size, _SIZE.pack(size))

    def _put(self, at: int, content: bytes) -> None:
        self._file.seek(at)
        left = memoryview(content)
        while left:
            left = left[self._file.write(left) :]


class StereoReader:
    """A WAV file that a `StereoWriter` has written, or another with 16-bit stereo sound."""

    def __init__(self, path: "os.PathLike[str]") -> None:
        self._file: BinaryIO = open(path, "rb")  # noqa: PTH123, SIM115  # closed by close()
        try:
            self._chunks: dict[bytes, tuple[int, int]] = {}
            for name, at, size in self._walk():
                self._chunks.setdefault(name, (at, size))
            self.rate = self._read_format()
        except NotStereoError:
            self._file.close()
            raise
        self._begin, size = self._chunks[b"data"]
        self.frames = size // _FRAME

    def read(self, side: int, begin: int, frames: int) -> "array[int]":
        """Return one side's samples; what is beyond the end is silence."""
        self._file.seek(self._begin + _FRAME * begin)
        found = self._file.read(_FRAME * max(0, min(frames, self.frames - begin)))
        both = array("h", found[: len(found) // _FRAME * _FRAME].ljust(_FRAME * frames, b"\0"))
        return swapped(both[side::2])

    def cues(self) -> list[tuple[int, str]]:
        """Return the frames that are marked, and their labels, in this order."""
        points = read_points(self._content(b"cue "))
        labels = read_labels(self._content(b"LIST"))
        marks = [(frame, labels.get(number, "")) for number, frame in points.items()]
        return sorted(marks, key=lambda mark: mark[0])

    def close(self) -> None:
        """Read no more."""
        self._file.close()

    def _walk(self) -> Iterator[tuple[bytes, int, int]]:
        """Go through the chunks: their names, where their contents begin, and how many bytes."""
        there = os.fstat(self._file.fileno()).st_size
        self._file.seek(0)
        header = self._file.read(12)
        if len(header) < 12:
            raise NotStereoError("too short for a WAV file")
        if (header[:4], header[8:]) != (b"RIFF", b"WAVE"):
            raise NotStereoError("not the WAV file of a recording")
        at = 12
        for _ in range(_MAX_CHUNKS):
            self._file.seek(at)
            head = self._file.read(_CHUNK.size)
            if len(head) < _CHUNK.size:
                return
            name, size = _CHUNK.unpack(head)
            at += _CHUNK.size
            yield name, at, min(size, max(0, there - at))
            at += size + size % 2

    def _read_format(self) -> int:
        format_ = self._content(b"fmt ")
        if len(format_) < _FORMAT.size or b"data" not in self._chunks:
            raise NotStereoError("not the WAV file of a recording")
        codec, channels, rate, _, _, bits = _FORMAT.unpack_from(format_)
        if (codec, channels, bits) != (1, 2, 16) or not rate:
            raise NotStereoError("not 16-bit stereo")
        return int(rate)

    def _content(self, name: bytes) -> bytes:
        at, size = self._chunks.get(name, (0, 0))
        self._file.seek(at)
        return self._file.read(min(size, MAX_SIZE))
