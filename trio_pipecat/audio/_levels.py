"""How loud a stream is, every hundredth of a second: in two bands, without its DC offset.

The two bands are the lower and the upper half of what the rate can carry. Vowels are in the lower
and hisses in the upper one, so each stands out of a broad noise better there than in the whole.
They cost no filter: with ``r0`` the sum of a frame's squares and ``r1`` that of the products of
neighbours, ``r0 + r1`` is the energy of the sums of neighbours and ``r0 - r1`` that of the
differences.
"""

import math
from array import array
from collections.abc import Iterator
from typing import Final

import attrs

from ._pcm import FULL_SCALE, SAMPLE_WIDTH, samples_of

#: Frames in a second.
FRAME_RATE: Final = 100
#: What is no louder than this is silence, in dBFS: what converters and dither add.
SILENCE_DBFS: Final = -60.0
#: Rates are not looked at more closely than this: every second sample, or third, is as loud.
_ENOUGH: Final = 12_000


@attrs.define
class Frame:
    """A hundredth of a second, and how loud it is in each band, in dBFS.

    It is from sample `begin` to `end` of every channel; `samples` has them interleaved.
    """

    begin: int
    end: int
    samples: "array[int]"
    low: float
    high: float

    @property
    def is_silent(self) -> bool:
        """Is there nothing in either band?"""
        return self.low == self.high == SILENCE_DBFS


class Levels:
    """Cuts PCM into frames, however it comes; each is measured once."""

    def __init__(self, sample_rate: int, num_channels: int) -> None:
        self._frame_samples = max(sample_rate // FRAME_RATE, 1)
        self.num_channels = num_channels
        self._width = SAMPLE_WIDTH * num_channels
        self._bytes = self._width * self._frame_samples
        self._silence = bytes(self._bytes)
        self._step = max(sample_rate // _ENOUGH, 1)
        self._rest = bytearray()
        #: Where the next frame begins, in samples of one channel.
        self.begin = 0

    def feed(self, pcm: "bytes | bytearray | memoryview") -> Iterator[Frame]:
        """Take PCM and give the frames that it completes."""
        self._rest += pcm
        whole = len(self._rest) // self._bytes * self._bytes
        ready = bytes(self._rest[:whole])
        del self._rest[:whole]
        for start in range(0, whole, self._bytes):
            yield self._measure(ready[start : start + self._bytes])

    def skip_silence(self, pcm: "bytes | bytearray | memoryview") -> int:
        """Take PCM that is all zeros and return how many whole frames it completes, unmeasured.

        None of it is taken if it is not, or if a frame has begun with something else.
        """
        if pcm != bytes(len(pcm)) or any(self._rest):
            return 0
        frames, rest = divmod(len(self._rest) + len(pcm), self._bytes)
        if frames:
            self._rest = bytearray(rest)
            self.begin += frames * self._frame_samples
        return frames

    def flush(self) -> Iterator[Frame]:
        """Give what is left, as a shorter frame."""
        rest = bytes(self._rest[: len(self._rest) // self._width * self._width])
        self._rest.clear()
        if rest:
            yield self._measure(rest)

    def _measure(self, pcm: bytes) -> Frame:
        begin = self.begin
        self.begin += len(pcm) // self._width
        samples = samples_of(pcm)
        if pcm == self._silence:
            return Frame(begin, self.begin, samples, SILENCE_DBFS, SILENCE_DBFS)
        r0 = r1 = 0.0
        count = 0
        stride = self.num_channels * self._step
        for channel in range(self.num_channels):
            part = samples[channel::stride].tolist()
            total = sum(part)
            mean = total / len(part)
            # These two are twice as fast as sums of products: what they are the roots of is wanted.
            squares = math.hypot(*part) ** 2
            differences = math.dist(part[1:], part[:-1]) ** 2
            neighbours = squares - (part[0] ** 2 + part[-1] ** 2 + differences) / 2
            # What the sums would be of samples that have no offset.
            r0 += squares - mean * total
            r1 += neighbours - mean * (total - part[0] - part[-1] + mean)
            count += len(part)
        return Frame(begin, self.begin, samples, _dbfs(r0 + r1, count), _dbfs(r0 - r1, count))


def _dbfs(energy: float, count: int) -> float:
    """White noise has its own level in both bands."""
    mean = energy / (count * FULL_SCALE * FULL_SCALE)
    return max(10 * math.log10(mean), SILENCE_DBFS) if mean > 1e-9 else SILENCE_DBFS
