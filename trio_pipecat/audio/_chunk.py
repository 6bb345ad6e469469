"""The one value that all sound in the package is: a run of PCM samples."""

from typing import cast

import attrs

#: Bytes of one sample: signed 16-bit little-endian, everywhere.
SAMPLE_WIDTH = 2


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

    @property
    def num_frames(self) -> int:
        """How many samples each channel has."""
        return len(self.pcm) // (SAMPLE_WIDTH * self.num_channels)

    @property
    def duration(self) -> float:
        """How long it sounds, in seconds."""
        return self.num_frames / self.sample_rate

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
