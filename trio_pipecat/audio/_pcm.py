"""Arithmetic on samples: what a run of them is, how loud it is, and what becomes of several.

PCM is signed 16-bit little-endian everywhere; arithmetic is done on ``array("h")``, in the
machine's own order of bytes. Nothing here needs numpy: `sum` and `map` in C are fast enough for
speech (a second of it at 16 kHz has its level measured in well under a millisecond).
"""

import math
import sys
from array import array
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from operator import mul
from typing import Final

#: Bytes of one sample.
SAMPLE_WIDTH: Final = 2
#: What full scale is: a level is a fraction of it.
FULL_SCALE: Final = 32_768
_LOWEST: Final = -32_768
_HIGHEST: Final = 32_767


def samples_of(pcm: "bytes | bytearray | memoryview") -> "array[int]":
    """Return PCM as numbers. Half a sample at the end is none."""
    return swapped(array("h", bytes(pcm[: len(pcm) // 2 * 2])))


def pcm_of(samples: "array[int]") -> bytes:
    """Return numbers as PCM."""
    return swapped(samples).tobytes()


def swapped(samples: "array[int]") -> "array[int]":
    """Return samples in the order of bytes that PCM has, or back from it."""
    if sys.byteorder == "big":
        samples = array("h", samples)
        samples.byteswap()
    return samples


def clipped(numbers: Iterable[int]) -> "array[int]":
    """Return numbers as samples; what is beyond full scale is at it."""
    return array("h", [min(max(number, _LOWEST), _HIGHEST) for number in numbers])


def mix_down(samples: "array[int]", channels: int) -> "array[int]":
    """Return one channel, the mean of all."""
    if channels == 1:
        return samples
    samples = samples[: len(samples) // channels * channels]
    by_channel = [samples[number::channels] for number in range(channels)]
    return array("h", [sum(frame) // channels for frame in zip(*by_channel, strict=True)])


def spread(samples: "array[int]", channels: int) -> "array[int]":
    """Return as many channels, each the same."""
    if channels == 1 or not samples:
        return samples
    out = array("h", bytes(2 * len(samples) * channels))
    for number in range(channels):
        out[number::channels] = samples
    return out


def added(sounds: "Sequence[array[int]]") -> "array[int]":
    """Return sounds that begin together as one, as long as the longest of them."""
    return clipped(map(sum, zip_longest(*sounds, fillvalue=0)))


def rms(samples: "array[int]") -> float:
    """Return the root of the mean square, as a fraction of full scale; of nothing, 0."""
    if not samples:
        return 0.0
    return math.sqrt(sum(map(mul, samples, samples)) / len(samples)) / FULL_SCALE


def peak(samples: "array[int]") -> float:
    """Return the largest excursion, as a fraction of full scale; of nothing, 0."""
    if not samples:
        return 0.0
    highest, lowest = max(samples), min(samples)
    return max(highest, -lowest) / FULL_SCALE


def decibels(level: float) -> float:
    """Return a level in dB relative to full scale; 0 is ``-inf``."""
    return 20 * math.log10(level) if level > 0 else -math.inf
