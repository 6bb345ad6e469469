"""The one value that all sound in the package is: a run of PCM samples."""

import math
from collections.abc import Iterable
from typing import Self, cast

import attrs

from ._pcm import SAMPLE_WIDTH, added, decibels, mix_down, pcm_of, peak, rms, samples_of, spread
from ._resample import MAX_CHANNELS, MAX_RATE, MIN_RATE, resample


@attrs.define
class AudioChunk:
    """PCM sound: signed 16-bit little-endian samples, channels interleaved, no header.

    `sample_rate` is in Hz. `at` is when the chunk was received, on trio's clock; None for sound
    that was made here. It does not count for equality.
    """

    pcm: bytes = attrs.field(repr=lambda pcm: f"<{len(pcm)} bytes>")
    sample_rate: int
    num_channels: int = 1
    at: float | None = attrs.field(default=None, eq=False)

    @classmethod
    def silence(cls, seconds: float, sample_rate: int, num_channels: int = 1) -> Self:
        """Return silence, to the nearest sample."""
        if not 0 <= seconds < math.inf:
            raise ValueError(f"silence lasts 0 seconds or more, not {seconds}")
        frames = round(seconds * sample_rate)
        return cls(bytes(frames * SAMPLE_WIDTH * num_channels), sample_rate, num_channels)

    @property
    def num_frames(self) -> int:
        """How many samples each channel has."""
        return len(self.pcm) // (SAMPLE_WIDTH * self.num_channels)

    @property
    def duration(self) -> float:
        """How long it sounds, in seconds."""
        return self.num_frames / self.sample_rate

    @property
    def level(self) -> float:
        """How loud it is: the root mean square of all samples, from 0 to 1."""
        return rms(samples_of(self.pcm))

    @property
    def peak(self) -> float:
        """The largest sample, from 0 to 1."""
        return peak(samples_of(self.pcm))

    @property
    def dbfs(self) -> float:
        """The level in decibels relative to full scale: 0 at most, ``-inf`` for silence.

        A full-scale sine has -3.01: this is the RMS, and nothing is added to it.
        """
        return decibels(self.level)

    def split(self, max_bytes: int) -> "list[AudioChunk]":
        """Cut into chunks of at most `max_bytes`, between frames."""
        frame = SAMPLE_WIDTH * self.num_channels
        step = max(max_bytes // frame, 1) * frame
        if len(self.pcm) <= step:
            return [self]
        return [
            AudioChunk(self.pcm[start : start + step], self.sample_rate, self.num_channels, self.at)
            for start in range(0, len(self.pcm), step)
        ]

    def with_channels(self, num_channels: int) -> "AudioChunk":
        """Return the same with another number of channels: their mean, in each of them."""
        if num_channels < 1:
            raise ValueError(f"a number of channels is positive, not {num_channels}")
        if num_channels == self.num_channels:
            return self
        mono = mix_down(samples_of(self.pcm), self.num_channels)
        return AudioChunk(
            pcm_of(spread(mono, num_channels)), self.sample_rate, num_channels, self.at
        )

    def resampled(self, to_rate: int) -> "AudioChunk":
        """Return the same at another sample rate; see `Resampler` for what that is.

        For the chunks of a stream use a `Resampler`: it knows what came before.
        """
        if to_rate == self.sample_rate:
            return self
        pcm = resample(self.pcm, self.sample_rate, to_rate, self.num_channels)
        return AudioChunk(pcm, to_rate, self.num_channels, self.at)


def mix(chunks: Iterable[AudioChunk]) -> AudioChunk:
    """Return chunks that begin together as one; what is beyond full scale is clipped.

    Raises:
        ValueError: there are none, or they differ in rate or number of channels.
    """
    chunks = list(chunks)
    formats = {(chunk.sample_rate, chunk.num_channels) for chunk in chunks}
    if len(formats) != 1:
        raise ValueError(
            f"chunks of one rate and number of channels are mixed, not of {sorted(formats)}"
        )
    ((rate, channels),) = formats
    return AudioChunk(pcm_of(added([samples_of(chunk.pcm) for chunk in chunks])), rate, channels)


def can_sound(chunk: AudioChunk) -> bool:
    """Is its format one that all of the package can work on? What bots say is anything."""
    return MIN_RATE <= chunk.sample_rate <= MAX_RATE and 1 <= chunk.num_channels <= MAX_CHANNELS


def check_format(pcm: object, sample_rate: object, num_channels: object) -> AudioChunk:
    """Return a chunk of sound, or refuse what can't be.

    Raises:
        TypeError: `pcm` is not bytes, or a number is no integer.
        ValueError: a rate or channel count that is not positive, or half a sample.
    """
    if not isinstance(pcm, bytes | bytearray | memoryview):
        raise TypeError(f"sound is bytes, not {type(pcm).__name__}")
    for name, number in (("sample rate", sample_rate), ("number of channels", num_channels)):
        if not isinstance(number, int) or isinstance(number, bool):
            raise TypeError(f"a {name} is an integer, not {number!r}")
        if not 0 < number < 2**32:
            raise ValueError(f"a {name} is positive, and less than 2**32, not {number}")
    pcm = bytes(pcm)
    chunk = AudioChunk(pcm, cast(int, sample_rate), cast(int, num_channels))
    if len(pcm) % (SAMPLE_WIDTH * chunk.num_channels):
        raise ValueError(
            f"{len(pcm)} bytes are no whole number of 16-bit samples in {num_channels} channel(s)"
        )
    return chunk
