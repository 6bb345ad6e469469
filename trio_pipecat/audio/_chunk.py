"""The one value that all sound in the package is: a run of PCM samples."""

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


def check_format(pcm: bytes, sample_rate: int, num_channels: int) -> None:
    """Refuse what can't be sound.

    Raises:
        ValueError: a rate or channel count that is not positive, or half a sample.
    """
    if sample_rate <= 0:
        raise ValueError(f"a sample rate is positive, not {sample_rate}")
    if num_channels <= 0:
        raise ValueError(f"a number of channels is positive, not {num_channels}")
    if len(pcm) % (SAMPLE_WIDTH * num_channels):
        raise ValueError(
            f"{len(pcm)} bytes are no whole number of 16-bit samples in {num_channels} channel(s)"
        )
