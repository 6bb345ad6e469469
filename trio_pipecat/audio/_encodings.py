"""How samples are written in files, and the same as PCM s16le. No I/O.

Everything but floats is taken byte by byte with slices and tables, which is fast in any order of
bytes. Of integers with more than 16 bits the upper 16 are kept.
"""

import struct
import sys
from array import array
from collections.abc import Callable
from typing import Final, Literal

import attrs

from ._pcm import FULL_SCALE, SAMPLE_WIDTH, swapped

Kind = Literal["integer", "float", "A-law", "mu-law"]


@attrs.frozen
class Encoding:
    """One way to write a sample. `width` is in bytes; integers of one byte have no sign."""

    kind: Kind
    width: int
    big_endian: bool = False

    @property
    def is_pcm(self) -> bool:
        """Is it what PCM is here already?"""
        return self == Encoding("integer", SAMPLE_WIDTH)

    def to_pcm(self, data: bytes) -> bytes:
        """Return samples as PCM. A part of a sample at the end is none."""
        data = data[: len(data) // self.width * self.width]
        match self.kind:
            case "A-law":
                return _looked_up(data, _A_LAW)
            case "mu-law":
                return _looked_up(data, _MU_LAW)
            case "float":
                return _of_floats(data, "f" if self.width == 4 else "d", self.big_endian)
            case "integer":
                return self._of_integers(data)

    def _of_integers(self, data: bytes) -> bytes:
        if self.width == 1:
            return _looked_up(data, _UNSIGNED)
        if self.is_pcm:
            return data
        high, low = (0, 1) if self.big_endian else (self.width - 1, self.width - 2)
        return _interleaved(data[low :: self.width], data[high :: self.width])


def _interleaved(low: bytes, high: bytes) -> bytes:
    out = bytearray(len(low) + len(high))
    out[::2] = low
    out[1::2] = high
    return bytes(out)


def _of_floats(data: bytes, code: str, big_endian: bool) -> bytes:
    numbers = array(code, data)
    if big_endian != (sys.byteorder == "big"):
        numbers.byteswap()
    return swapped(array("h", map(_sample, numbers))).tobytes()


def _sample(number: float) -> int:
    """Return 1.0 as full scale, what is beyond as at it, and what is no number as silence."""
    number *= FULL_SCALE
    if -FULL_SCALE < number < FULL_SCALE - 1:
        return round(number)
    if number != number:
        return 0
    return FULL_SCALE - 1 if number > 0 else -FULL_SCALE


# -- tables: for each byte, the two of its sample --


def _looked_up(data: bytes, table: tuple[bytes, bytes]) -> bytes:
    return _interleaved(data.translate(table[0]), data.translate(table[1]))


def _table(sample_of: Callable[[int], int]) -> tuple[bytes, bytes]:
    pcm = struct.pack("<256h", *map(sample_of, range(256)))
    return pcm[::2], pcm[1::2]


def _of_mu_law(code: int) -> int:
    """G.711: sign, three bits of exponent, four of mantissa, all turned over."""
    code ^= 0xFF
    height = ((code & 0x0F) << 3 | 0x84) << (code >> 4 & 7)
    return 0x84 - height if code & 0x80 else height - 0x84


def _of_a_law(code: int) -> int:
    """G.711: the same, with each second bit turned over."""
    code ^= 0x55
    exponent, height = code >> 4 & 7, (code & 0x0F) << 4 | 8
    if exponent:
        height = (height | 0x100) << exponent - 1
    return height if code & 0x80 else -height


_MU_LAW: Final = _table(_of_mu_law)
_A_LAW: Final = _table(_of_a_law)
_UNSIGNED: Final = _table(lambda code: code - 128 << 8)
