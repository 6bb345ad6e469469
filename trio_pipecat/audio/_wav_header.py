"""What is before the sound in a WAV file, or in a chunk of sound that begins like one.

Headers lie: sizes of files that were streamed are unknown, and those of files that were cut off are
too large. So a size is believed as far as there are bytes. What cannot be told is an error that
says at which byte.
"""

import io
import struct
from typing import Final, Protocol

import attrs

from .._errors import WavError
from ._chunk import AudioChunk
from ._encodings import Encoding

#: How much is read at once: what a header says of its length is no reason to make room for it.
_STEP: Final = 65_536
_UNKNOWN_SIZE: Final = 0xFFFF_FFFF

_INTEGER, _FLOAT, _A_LAW, _MU_LAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
#: Others, to call them by name.
_CODECS: Final = {
    0x0002: "Microsoft ADPCM",
    0x0011: "IMA ADPCM",
    0x0014: "G.723",
    0x0031: "GSM 6.10",
    0x0040: "G.721",
    0x0045: "G.726",
    0x0050: "MPEG",
    0x0055: "MP3",
    0x0161: "Windows Media Audio",
    0x00FF: "AAC",
    0x1610: "AAC",
    0x704F: "Opus",
    0xF1AC: "FLAC",
}
#: What follows the codec's number in the format of a file that is "extensible".
_EXTENSIBLE_TAIL: Final = bytes.fromhex("000000001000800000aa00389b71")
_SHORTEST, _WITH_CODEC = 16, 40


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


@attrs.frozen
class WavHeader:
    """What a header says, as far as it is true."""

    encoding: Encoding
    sample_rate: int
    num_channels: int
    #: How many bytes of sound there are; None: up to the end, wherever that is.
    size: int | None

    @property
    def frame(self) -> int:
        """How many bytes a frame has."""
        return self.encoding.width * self.num_channels


class HeaderReader:
    """Reads a header from the start. `size` is of the whole file; None: it is not known.

    `path` is for errors.
    """

    def __init__(self, source: _Source, path: str, size: int | None) -> None:
        self._source, self._path, self._size = source, path, size
        self._offset = 0
        self._order = "<"

    def read(self) -> WavHeader:
        """Return the header. What is read next is the sound.

        Raises:
            WavError: there is no sound, or none that can be read.
        """
        riff_size = self._read_riff()
        header: WavHeader | None = None
        while True:
            at = self._offset
            begin = self._take(8)
            if len(begin) < 8:
                missing = "format ('fmt ' chunk)" if header is None else "sound ('data' chunk)"
                raise self._error(at, f"the file ends before its {missing}")
            name, size = struct.unpack(f"{self._order}4sI", begin)
            if name == b"data":
                if header is None:
                    raise self._error(
                        at, "the sound ('data' chunk) is before its format ('fmt ' chunk)"
                    )
                return attrs.evolve(header, size=self._size_of_sound(size, riff_size))
            if name == b"fmt ":
                taken = self._take(min(size, _WITH_CODEC))
                header = self._read_format(taken, at + 8)
                size -= len(taken)
            self._skip(size + (size & 1))

    def _read_riff(self) -> int:
        begin = self._take(12)
        if not begin:
            raise self._error(0, "the file is empty")
        if begin[:4] in (b"RF64", b"BW64"):
            kind = begin[:4].decode()
            raise self._error(0, f"an {kind} file (WAV of more than 4 GB) can't be read")
        if begin[:4] not in (b"RIFF", b"RIFX"):
            raise self._error(0, f"not a WAV file: it begins with {begin[:4]!r}, not with b'RIFF'")
        if len(begin) < 12:
            raise self._error(len(begin), "the file ends within its first header")
        if begin[8:] != b"WAVE":
            raise self._error(8, f"not a WAV file: RIFF of the kind {begin[8:]!r}, not b'WAVE'")
        self._order = "<" if begin[:4] == b"RIFF" else ">"
        size: int
        (size,) = struct.unpack_from(f"{self._order}I", begin, 4)
        return size

    def _read_format(self, chunk: bytes, at: int) -> WavHeader:
        if len(chunk) < _SHORTEST:
            raise self._error(
                at, f"a format ('fmt ' chunk) of {len(chunk)} bytes; the shortest has 16"
            )
        codec, channels, rate, byte_rate, align, bits = struct.unpack_from(
            f"{self._order}HHIIHH", chunk
        )
        codec_at = at
        if codec == _EXTENSIBLE:
            if len(chunk) < _WITH_CODEC:
                raise self._error(
                    at, f"an extensible format of {len(chunk)} bytes; the shortest has 40"
                )
            codec_at = at + 24
            guid = struct.unpack_from(f"{self._order}IHH8s", chunk, 24)
            codec = guid[0]
            if chunk[26:40] == _EXTENSIBLE_TAIL:  # in any RIFX of sox's, too
                (codec,) = struct.unpack_from(f"{self._order}H", chunk, 24)
            elif guid[1:] != (0, 16, _EXTENSIBLE_TAIL[6:]):
                raise self._error(codec_at, f"an unknown codec ({chunk[24:40].hex()})")
        if not channels:
            raise self._error(at + 2, "the number of channels is 0")
        if not rate:
            raise self._error(at + 4, "the sample rate is 0")
        encoding = self._encoding(codec, bits, at + 14, codec_at)
        frame = encoding.width * channels
        # One of two that disagree is wrong; what the byte rate agrees with is right.
        if align not in (0, frame) and byte_rate != rate * frame:
            raise self._error(
                at + 12,
                f"a frame has {align} bytes, and {channels} channel(s) of {bits} bits: not both",
            )
        return WavHeader(encoding, rate, channels, None)

    def _encoding(self, codec: int, bits: int, bits_at: int, codec_at: int) -> Encoding:
        big = self._order == ">"
        if codec == _INTEGER and 1 <= bits <= 32:
            return Encoding("integer", (bits + 7) // 8, big)
        if codec == _FLOAT and bits in (32, 64):
            return Encoding("float", bits // 8, big)
        if codec == _A_LAW and bits == 8:
            return Encoding("A-law", 1)
        if codec == _MU_LAW and bits == 8:
            return Encoding("mu-law", 1)
        known = {_INTEGER: "integer", _FLOAT: "float", _A_LAW: "A-law", _MU_LAW: "mu-law"}
        if codec in known:
            raise self._error(bits_at, f"{known[codec]} samples of {bits} bits can't be read")
        name = f" ({_CODECS[codec]})" if codec in _CODECS else ""
        raise self._error(codec_at, f"the codec 0x{codec:04X}{name} can't be read")

    def _size_of_sound(self, size: int, riff_size: int) -> int | None:
        """Return how many bytes of sound there are."""
        left = None if self._size is None else self._size - self._offset
        if left is None:
            return None if size in (0, _UNKNOWN_SIZE) else size
        # A writer that could not go back has left 0 here; if all is written, nothing is meant.
        if size == 0 and riff_size + 8 != self._size:
            return left
        return min(size, left)

    def _take(self, size: int) -> bytes:
        found = self._source.read(size)
        self._offset += len(found)
        return found

    def _skip(self, size: int) -> None:
        while size > 0:
            found = self._take(min(size, _STEP))
            if not found:
                return
            size -= len(found)

    def _error(self, offset: int, detail: str) -> WavError:
        return WavError(self._path, offset, detail)


def read_up_to(source: _Source, size: int) -> bytes:
    """Return so many bytes, or what there is."""
    pieces = []
    while size > 0:
        piece = source.read(min(size, _STEP))
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def strip_wav_header(chunk: AudioChunk) -> AudioChunk:
    """Return a chunk without the WAV header that it begins with; `chunk` itself if there is none.

    Bots with ``add_wav_header`` put one before each chunk. It knows best what the sound was made
    with: rate, channels and encoding are the header's. A part of a frame at the end of 16-bit sound
    is left there, for what follows.

    Raises:
        WavError: it begins like a WAV file, and can't be read.
    """
    data = chunk.pcm
    if not data.startswith((b"RIFF", b"RIFX")) or data[8:12] != b"WAVE":
        return chunk
    source = io.BytesIO(data)
    header = HeaderReader(source, "a chunk of sound", len(data)).read()
    sound = source.read(header.size)
    pcm = sound if header.encoding.is_pcm else header.encoding.to_pcm(sound)
    return AudioChunk(pcm, header.sample_rate, header.num_channels, chunk.at)
