"""Where the sound of a recording goes: counted in samples, on one timeline. No I/O.

Sound comes in chunks that are early, late and in bursts, and is heard one sample after the other.
So a chunk that comes while the one before still sounds goes right after it, and one that comes when
that is over leaves a gap of silence. Timers and networks are never quite on time: what is late by
no more than `SLACK_SECONDS` counts as in time, or else a steady voice would be full of holes.

Positions are counted in frames of the chunk's own rate, so nothing drifts by being rounded.
"""

from array import array
from typing import Final

import attrs

#: How late a chunk may be and still follow the one before without a gap: one of pipecat's frames.
SLACK_SECONDS: Final = 0.04


@attrs.define
class Track:
    """One side's sound: what comes next goes to `end`, or later."""

    #: The rate of what came last; 0: nothing came yet.
    rate: int = 0
    #: The frame after the last, at that rate.
    end: int = 0

    def place(self, seconds: float, rate: int, frames: int) -> int:
        """Return the frame at which a chunk begins that comes after so many `seconds`."""
        now = round(seconds * rate)
        if not self.rate:
            self.end = now
        elif rate != self.rate:
            self.end = scale(self.end, self.rate, rate)
        self.rate = rate
        if self.over(seconds):
            self.end = now
        begin = self.end
        self.end += frames
        return begin

    def over(self, seconds: float) -> bool:
        """Is what comes now too late to follow without a gap?"""
        # Of slow rates a frame of pipecat's is no whole number of samples; then less is in time.
        return round(seconds * self.rate) - self.end > int(SLACK_SECONDS * self.rate)

    def cut(self, seconds: float) -> int | None:
        """Forget what will not have sounded by `seconds`; return from where, None: nothing."""
        now = round(seconds * self.rate)
        if self.end <= now:
            return None
        self.end = now
        return now


def scale(frame: int, rate: int, to_rate: int) -> int:
    """Return the first frame at another rate that is not before `frame`."""
    return -(-frame * to_rate // rate)


def convert(
    samples: "array[int]", begin: int, rate: int, *, to_begin: int, to_frames: int, to_rate: int
) -> "array[int]":
    """Return `to_frames` samples from `to_begin` on, of a sound that begins at frame `begin`.

    What lies between two samples is on the line between them; before the first and after the last
    is the nearest. That is plain, and not what a studio would do.
    """
    last = len(samples) - 1
    if last < 0:
        return array("h", bytes(2 * to_frames))
    out = array("h", bytes(2 * to_frames))
    for number in range(to_frames):
        whole, part = divmod((to_begin + number) * rate, to_rate)
        index = whole - begin
        if index < 0:
            out[number] = samples[0]
        elif index >= last:
            out[number] = samples[last]
        else:
            here = samples[index]
            out[number] = here + (samples[index + 1] - here) * part // to_rate
    return out
