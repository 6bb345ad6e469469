"""The sound beside a recording: a stereo WAV file that is written, and read, at any place in it.

The user is on the left and the bot on the right. What is written goes between what is there, so
nothing is kept in memory however long a call lasts, and a gap is a hole in the file.
"""

import os
import struct
from array import array
from typing import BinaryIO, Final

from ._pcm import swapped

#: Which channel is whose.
USER: Final = 0
BOT: Final = 1

_FRAME: Final = 4
_HEADER: Final = struct.Struct("<4sI4s4sIHHIIHH4sI")
#: Sizes in a WAV file have 32 bits.
MAX_FRAMES: Final = (2**32 - 1 - _HEADER.size) // _FRAME
#: How much is read and written at once.
_STEP: Final = 16_384


class NotStereoError(Exception):
    """A file that is not the WAV of a recording. The text says why."""


class StereoWriter:
    """A WAV file that is being written."""

    def __init__(self, path: "os.PathLike[str]", rate: int) -> None:
        self.rate = rate
        #: How long it is.
        self.frames = 0
        self._file: BinaryIO = open(path, "w+b")  # noqa: PTH123, SIM115  # closed by close()
        self._write_header()

    def write(self, side: int, begin: int, samples: "array[int]") -> None:
        """Put one side's samples at frame `begin`; it has room for `MAX_FRAMES`."""
        for start in range(0, len(samples), _STEP):
            self._write(side, begin + start, samples[start : start + _STEP])

    def silence(self, side: int, begin: int, end: int) -> None:
        """Forget one side's samples from `begin` to `end`."""
        for start in range(begin, min(end, self.frames), _STEP):
            stop = min(start + _STEP, end, self.frames)
            self._write(side, start, array("h", bytes(2 * (stop - start))))

    def flush(self) -> None:
        """Have it be a WAV file up to here."""
        self._write_header()
        self._file.flush()

    def close(self) -> None:
        """Finish the file."""
        if self._file.closed:
            return
        try:
            self._write_header()
        finally:
            self._file.close()

    def _write(self, side: int, begin: int, samples: "array[int]") -> None:
        size = _FRAME * len(samples)
        self._file.seek(_HEADER.size + _FRAME * begin)
        both = array("h", self._file.read(size).ljust(size, b"\0"))
        both[side::2] = swapped(samples)
        self._file.seek(_HEADER.size + _FRAME * begin)
        self._file.write(both.tobytes())
        self.frames = max(self.frames, begin + len(samples))

    def _write_header(self) -> None:
        size = _FRAME * self.frames
        self._file.seek(0)
        self._file.write(
            _HEADER.pack(
                *(b"RIFF", _HEADER.size - 8 + size, b"WAVE", b"fmt ", 16, 1, 2),
                *(self.rate, self.rate * _FRAME, _FRAME, 16, b"data", size),
            )
        )


class StereoReader:
    """A WAV file that a `StereoWriter` has written."""

    def __init__(self, path: "os.PathLike[str]") -> None:
        self._file: BinaryIO = open(path, "rb")  # noqa: PTH123, SIM115  # closed by close()
        try:
            self.rate, self.frames = self._read_header()
        except NotStereoError:
            self._file.close()
            raise

    def read(self, side: int, begin: int, frames: int) -> "array[int]":
        """Return one side's samples; what is beyond the end is silence."""
        self._file.seek(_HEADER.size + _FRAME * begin)
        found = self._file.read(_FRAME * max(0, min(frames, self.frames - begin)))
        both = array("h", found[: len(found) // _FRAME * _FRAME].ljust(_FRAME * frames, b"\0"))
        return swapped(both[side::2])

    def close(self) -> None:
        """Read no more."""
        self._file.close()

    def _read_header(self) -> tuple[int, int]:
        header = self._file.read(_HEADER.size)
        if len(header) < _HEADER.size:
            raise NotStereoError("too short for a WAV file")
        riff, _, wave, fmt, _, codec, channels, rate, _, _, bits, data, size = _HEADER.unpack(
            header
        )
        if (riff, wave, fmt, data) != (b"RIFF", b"WAVE", b"fmt ", b"data"):
            raise NotStereoError("not the WAV file of a recording")
        if (codec, channels, bits) != (1, 2, 16) or not rate:
            raise NotStereoError("not 16-bit stereo")
        there = os.fstat(self._file.fileno()).st_size - _HEADER.size
        return rate, min(size, there) // _FRAME
