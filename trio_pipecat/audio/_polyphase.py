"""Resampling without numpy: a windowed-sinc filter, in integers. No I/O.

Theory of operation
-------------------
From one rate to another is, in lowest terms, from every `step` frames to every `phases`. Output
number k is the input at the time ``k * step / phases``: the samples around it, weighted by a sinc
under a Kaiser window. Only `phases` different places between two samples occur, and each has its
list of weights. The window is `REACH` samples of the slower rate long, to either side, so the
filter has no delay, and what is before the beginning and after the end is silence.

The sums are the work. `_Packed` has C do it: the samples of a chunk are put into one integer, 48
bits to each, and the weights into another; the product of the two holds, 48 bits to each, all sums
that a convolution has. That makes it some ten times faster than adding up sample by sample, and it
is exact, so it does not matter how the sound was cut. It takes as many products as
``phases * step``, which is few for 8, 16, 24, 32 and 48 kHz, and many for 44100 to 16000; for those
there is `_Single`.
"""

import math
from array import array
from collections.abc import Sequence
from functools import lru_cache
from operator import mul
from typing import Final, Protocol

from ._pcm import clipped, swapped

#: How far the filter reaches to either side, in samples of the slower rate.
REACH: Final = 16
#: The window's shape: higher is less alias, and a wider slope.
BETA: Final = 6.5
#: Where the slope has its middle when the rate goes down, as a part of half the lower rate.
ROLLOFF: Final = 0.94
#: Up to so many products, packing is faster.
_MAX_PRODUCTS: Final = 64
#: Of more phases, not all have weights of their own; what is between two is on a line between them.
_MAX_PHASES: Final = 512
_LINE_PHASES: Final = 256

#: A slot of a packed integer: 16 bits of fraction, 16 of the sample, 16 that tell what is beyond.
_SLOT: Final = 6
_SLOT_BITS: Final = 8 * _SLOT
_ONE: Final = 1 << 16
#: Added to each slot: half a sample, to round; and a bit on top, so that none is below zero.
_BIAS: Final = (0x8000 | 1 << 40).to_bytes(_SLOT, "little")
#: What is in the uppermost 16 bits of a sample that is not beyond full scale.
_WITHIN: Final = 256


class _Lane(Protocol):
    """One channel. Samples go in and come out in PCM's order of bytes."""

    def feed(self, samples: "array[int]") -> "array[int]":
        """Return what can be computed by now."""
        ...


class Polyphase:
    """Resamples interleaved PCM."""

    def __init__(self, from_rate: int, to_rate: int, num_channels: int) -> None:
        common = math.gcd(from_rate, to_rate)
        self._phases, self._step = to_rate // common, from_rate // common
        self._channels = num_channels
        self._lanes = [_lane(self._phases, self._step) for _ in range(num_channels)]

    def feed(self, pcm: bytes) -> bytes:
        """Return what can be computed by now; `pcm` is whole frames."""
        samples = array("h", pcm)
        if self._channels == 1:
            return self._lanes[0].feed(samples).tobytes()
        lanes = [lane.feed(samples[n :: self._channels]) for n, lane in enumerate(self._lanes)]
        out = array("h", bytes(2 * len(lanes[0]) * self._channels))
        for number, lane in enumerate(lanes):
            out[number :: self._channels] = lane
        return out.tobytes()

    def finish(self) -> bytes:
        """Return the rest, and some of the silence that follows."""
        # As far as the filter reaches, and, for `_Packed`, to the end of the group after that.
        frames = _reach(self._phases, self._step) + 2 * min(self._step, _MAX_PRODUCTS)
        return self.feed(bytes(2 * frames * self._channels))


def _lane(phases: int, step: int) -> _Lane:
    return (_Packed if phases * step <= _MAX_PRODUCTS else _Single)(phases, step)


class _Packed:
    """Many outputs at once: `phases` for each `step` inputs, by one product for each pair."""

    def __init__(self, phases: int, step: int) -> None:
        self._phases, self._step = phases, step
        self._weights, self._span, before = _packed_weights(phases, step)
        #: What is needed for the next output, and after; in it, zero is the lowest sample.
        self._words = array("h", b"\x00\x80" * before)

    def feed(self, samples: "array[int]") -> "array[int]":
        """Return what can be computed by now."""
        self._words.extend(array("h", _flipped(samples.tobytes())))
        groups = len(self._words) // self._step - self._span
        if groups < 1:
            return array("h")
        slots = groups + self._span
        inputs = [self._spread(number, slots) for number in range(self._step)]
        bias = int.from_bytes(_BIAS * slots, "little")
        mask = (1 << _SLOT_BITS * groups) - 1
        out = array("h", bytes(2 * groups * self._phases))
        for phase, weights in enumerate(self._weights):
            sums = sum(map(mul, inputs, weights)) + bias
            sums = sums >> _SLOT_BITS * self._span & mask
            words = array("h", sums.to_bytes(_SLOT * groups, "little"))
            found = words[1::3]
            beyond = swapped(words[2::3])
            if beyond.count(_WITHIN) != groups:
                for index, height in enumerate(beyond):
                    if height != _WITHIN:
                        found[index] = 0 if height < _WITHIN else -1
            out[phase :: self._phases] = found
        del self._words[: groups * self._step]
        return array("h", _flipped(out.tobytes()))

    def _spread(self, number: int, slots: int) -> int:
        words = array("h", bytes(_SLOT * slots))
        words[::3] = self._words[number : slots * self._step : self._step]
        return int.from_bytes(words.tobytes(), "little")


class _Single:
    """One output after the other, of any ratio."""

    def __init__(self, phases: int, step: int) -> None:
        self._phases, self._step = phases, step
        self._reach = _reach(phases, step)
        self._table = _table(phases, step)
        #: What is needed for the next output, and after; and which input the first of it is.
        self._samples = [0.0] * (self._reach - 1)
        self._first = 1 - self._reach
        self._next = 0

    def feed(self, samples: "array[int]") -> "array[int]":
        """Return what can be computed by now."""
        self._samples.extend(map(float, swapped(samples)))
        last = self._first + len(self._samples) - 1 - self._reach
        stop = max(self._next, -(-(last + 1) * self._phases // self._step))
        outputs = range(self._next, stop)
        on_table = len(self._table) == self._phases
        sums = list(map(self._exact if on_table else self._between, outputs))
        self._next = stop
        begin = stop * self._step // self._phases - self._reach + 1
        del self._samples[: max(0, begin - self._first)]
        self._first = max(self._first, begin)
        return swapped(clipped(map(round, sums)))

    def _exact(self, output: int) -> float:
        whole, phase = divmod(output * self._step, self._phases)
        begin = whole - self._reach + 1 - self._first
        weights = self._table[phase]
        return _dot(weights, self._samples[begin : begin + len(weights)])

    def _between(self, output: int) -> float:
        whole, phase = divmod(output * self._step, self._phases)
        begin = whole - self._reach + 1 - self._first
        number, part = divmod(phase * (len(self._table) - 1), self._phases)
        near, far = self._table[number], self._table[number + 1]
        around = self._samples[begin : begin + len(near)]
        value = _dot(near, around)
        return value + (_dot(far, around) - value) * part / self._phases


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(map(mul, one, other), 0.0)


# -- the filter --


def _reach(phases: int, step: int) -> int:
    """Return how many inputs count on either side of an output."""
    return math.ceil(REACH * max(1.0, step / phases))


@lru_cache(maxsize=32)
def _packed_weights(phases: int, step: int) -> tuple[list[list[int]], int, int]:
    """Return the packed weights, by output phase and by input's place in its group of `step`.

    Also how many slots a sum goes over, and how many inputs before the first are needed.
    """
    reach = _reach(phases, step)
    first = (1 - reach) // step
    span = (step - 1 + reach) // step - first
    weights = []
    for output in range(phases):
        whole, phase = divmod(output * step, phases)
        packed = [0] * step
        for offset, weight in enumerate(_whole(_weights(phase / phases, phases, step))):
            slot, number = divmod(whole + offset + 1 - reach, step)
            packed[number] += weight << _SLOT_BITS * (first + span - slot)
        weights.append(packed)
    return weights, span, -first * step


@lru_cache(maxsize=32)
def _table(phases: int, step: int) -> Sequence[Sequence[float]]:
    """Return each phase's weights, or, if there are too many, those of some and the one after."""
    if phases <= _MAX_PHASES:
        return [_weights(number / phases, phases, step) for number in range(phases)]
    # A slow filter is a smooth one, and needs fewer: the whole table has the same size.
    count = max(2, math.ceil(_LINE_PHASES * min(1.0, phases / step)))
    return [_weights(number / count, phases, step) for number in range(count + 1)]


def _weights(place: float, phases: int, step: int) -> list[float]:
    """Return the weights of the inputs around a place between two of them. Their sum is 1."""
    reach = _reach(phases, step)
    slow = min(1.0, phases / step)
    cut = slow if slow == 1.0 else slow * ROLLOFF
    weights = []
    for offset in range(1 - reach, reach + 1):
        away = offset - place
        weights.append(_sinc(cut * away) * _kaiser(away * slow / REACH))
    total = sum(weights)
    return [weight / total for weight in weights]


def _whole(weights: Sequence[float]) -> list[int]:
    """Return weights as integers. Their sum is 1 exactly, so that a constant stays what it is."""
    whole = [round(weight * _ONE) for weight in weights]
    whole[whole.index(max(whole))] += _ONE - sum(whole)
    return whole


def _sinc(x: float) -> float:
    # Of whole numbers it is 0 exactly: doubled, the samples that were there stay as they are.
    if x == int(x):
        return float(x == 0)
    return math.sin(math.pi * x) / (math.pi * x)


def _kaiser(x: float) -> float:
    """Return the window at `x`, which is from -1 to 1 where it is not 0."""
    return _bessel(BETA * math.sqrt(1 - x * x)) / _bessel(BETA) if abs(x) < 1 else 0.0


def _bessel(x: float) -> float:
    """Return the modified Bessel function of order 0."""
    total = term = 1.0
    number = 0
    while term > total * 1e-12:
        number += 1
        term *= (x / 2 / number) ** 2
        total += term
    return total


def _flipped(pcm: bytes) -> bytes:
    """Return samples with zero as the lowest, or back from it: the sign is turned over."""
    signs = int.from_bytes(b"\x00\x80" * (len(pcm) // 2), "little")
    return (int.from_bytes(pcm, "little") ^ signs).to_bytes(len(pcm), "little")
