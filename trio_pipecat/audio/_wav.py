"""WAV files: read as PCM whatever is in them, and written."""

import os
import stat
import struct
from types import TracebackType
from typing import BinaryIO, Final, Self, final

from ._chunk import AudioChunk
from ._pcm import SAMPLE_WIDTH
from ._wav_header import HeaderReader, read_up_to

_HEADER: Final = struct.Struct("<4sI4s4sIHHIIHH4sI")
_MAX_SIZE: Final = 2**32 - 1 - _HEADER.size
_MAX_FRAME: Final = 2**16 - 1


@final
class WavReader:
    """A WAV file that is read piece by piece. It is a context manager, or `close` it.

    What it gives is PCM, whatever is in the file: integers of up to 32 bits (of more than 16 the
    upper 16 are kept), floats (what is beyond full scale is clipped, and NaN is silence), A-law and
    mu-law, in either order of bytes. A file that was streamed or cut off, so that its sizes are not
    true, is read to its end; a part of a frame there is left out.

    `sample_rate` is in Hz. `num_frames` is None if the file is a pipe that does not say.

    Raises:
        WavError: it is no WAV file, or none that can be read.
        OSError: it can't be opened.
    """

    def __init__(self, path: "str | os.PathLike[str]") -> None:
        self._path = os.fspath(path)
        self._file: BinaryIO = open(path, "rb")  # noqa: PTH123, SIM115  # closed by close()
        try:
            status = os.fstat(self._file.fileno())
            size = status.st_size if stat.S_ISREG(status.st_mode) else None
            header = HeaderReader(self._file, self._path, size).read()
        except BaseException:
            self._file.close()
            raise
        self._encoding, self._frame = header.encoding, header.frame
        self._left = header.size
        self.sample_rate = header.sample_rate
        self.num_channels = header.num_channels
        self.num_frames = None if header.size is None else header.size // self._frame

    def read(self, frames: int) -> AudioChunk:
        """Return the next frames, or as many as there are: at the end, none.

        Raises:
            ValueError: less than one is asked for, or the file is closed.
            OSError: reading failed.
        """
        if frames < 1:
            raise ValueError(f"1 frame or more is read, not {frames}")
        if self._file.closed:
            raise ValueError("the file is closed")
        size = frames * self._frame
        if self._left is not None:
            size = min(size, self._left)
        data = read_up_to(self._file, size)
        if self._left is not None:
            self._left -= len(data)
        pcm = self._encoding.to_pcm(data[: len(data) // self._frame * self._frame])
        return AudioChunk(pcm, self.sample_rate, self.num_channels)

    def close(self) -> None:
        """Read no more."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<WavReader {self._path}: {self.sample_rate} Hz, {self.num_channels} channel(s)>"


def read_wav(path: "str | os.PathLike[str]") -> AudioChunk:
    """Return all of a WAV file, as `WavReader` does.

    Raises:
        WavError: it is no WAV file, or none that can be read.
        OSError: it can't be read.
    """
    with WavReader(path) as reader:
        return reader.read(_MAX_SIZE if reader.num_frames is None else max(reader.num_frames, 1))


def write_wav(path: "str | os.PathLike[str]", chunk: AudioChunk) -> None:
    """Write a WAV file of 16 bits. Half a frame at the end is left out.

    Raises:
        ValueError: there is no such WAV file: 4 GB or more, or 32768 channels or more.
        OSError: it can't be written.
    """
    frame = SAMPLE_WIDTH * chunk.num_channels
    size = chunk.num_frames * frame
    if size > _MAX_SIZE or frame > _MAX_FRAME or not 0 < chunk.sample_rate < 2**32 // frame:
        raise ValueError(f"there is no WAV file for {chunk!r}")
    header = _HEADER.pack(
        *(b"RIFF", _HEADER.size - 8 + size, b"WAVE", b"fmt ", 16, 1, chunk.num_channels),
        *(chunk.sample_rate, chunk.sample_rate * frame, frame, 8 * SAMPLE_WIDTH, b"data", size),
    )
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(header)
        file.write(chunk.pcm[:size])
