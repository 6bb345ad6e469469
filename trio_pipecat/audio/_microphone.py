"""A microphone: an iterable of what it hears, as it hears it."""

import math
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Self, final

import trio

from ._chunk import AudioChunk, check_format
from ._line import Line, open_line
from ._pcm import rms, samples_of
from ._portaudio import check_seconds
from ._resample import Resampler
from ._speaker import Speaker

#: A room goes on sounding for a while, and no device's word about its latency is quite right.
ECHO_SECONDS: Final = 0.25
#: Sound servers deliver blocks in bursts, and guess anew each time when they were captured: hardly
#: ever too early, often too late. So time is counted in samples, and follows the guesses: at once
#: to an earlier one, slowly to later ones, unless they are off by more than this.
_JITTER_SECONDS: Final = 0.1
_FOLLOWING: Final = 0.02


@final
class Microphone:
    """An open microphone: iterate over it. Made by `open_microphone`.

    It goes on for ever. Several tasks may read it; each chunk goes to one of them.
    """

    def __init__(
        self,
        line: Line,
        sample_rate: int,
        num_channels: int,
        *,
        max_blocks: int,
        half_duplex_with: Speaker | None,
    ) -> None:
        #: What its chunks have, whatever the device has.
        self.sample_rate = sample_rate
        self.num_channels = num_channels
        #: While this is true it hears silence, of the same length as what there is to hear. What
        #: was heard before, and not yet read, stays as it is.
        self.muted = False
        self._line = line
        self._max_blocks = max_blocks
        self._speaker = half_duplex_with
        self._blocks: deque[tuple[bytes, float]] = deque()
        self._dropped_bytes = 0
        self._last = b""
        self._last_at = self._next_at = -math.inf
        self._resampler: Resampler | None = None
        line.on_block = self._hear

    def __repr__(self) -> str:
        return f"<Microphone {self._line}{', muted' * self.muted}>"

    @property
    def name(self) -> str:
        """The name of the device."""
        return self._line.device.name if self._line.device else ""

    @property
    def overflows(self) -> int:
        """How often sound was lost in the device because this process was late."""
        return self._line.losses

    @property
    def dropped_seconds(self) -> float:
        """How much was dropped because it was read too slowly."""
        return self._line.seconds(self._dropped_bytes)

    @property
    def level(self) -> float:
        """How loud the last chunk is that was heard, read or not: its RMS, from 0 to 1."""
        return rms(samples_of(self._last))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AudioChunk:
        """Return what was heard next. Cancelling loses nothing.

        Raises:
            DeviceError: the device has stopped, and all it heard was read.
            trio.ClosedResourceError: the block of the microphone was left.
        """
        await trio.lowlevel.checkpoint()
        while True:
            if not self._blocks or self._line.closed:
                await self._line.moved()
                continue
            chunk = self._chunk(*self._blocks.popleft())
            if chunk.pcm:
                return chunk

    def _chunk(self, pcm: bytes, at: float) -> AudioChunk:
        rate, channels = self._line.sample_rate, self._line.num_channels
        chunk = AudioChunk(pcm, rate, channels).with_channels(self.num_channels)
        if rate != self.sample_rate:
            if self._resampler is None:
                self._resampler = Resampler(
                    rate, self.sample_rate, self.num_channels, engine="python"
                )
            chunk = AudioChunk(
                self._resampler.resample(chunk.pcm), self.sample_rate, self.num_channels
            )
        chunk.at = at
        return chunk

    # -- in PortAudio's thread --

    def _hear(self, block: Any, at: float) -> None:
        pcm = bytes(block)
        if self.muted or (self._speaker and at < self._speaker.sounds_until + ECHO_SECONDS):
            pcm = bytes(len(pcm))
        self._last = pcm
        self._blocks.append((pcm, self._steady(at, len(pcm))))
        if len(self._blocks) > self._max_blocks:
            try:
                self._dropped_bytes += len(self._blocks.popleft()[0])
            except IndexError:
                pass  # somebody read them all just now

    def _steady(self, at: float, size: int) -> float:
        later = at - self._next_at
        if 0 < later <= _JITTER_SECONDS:
            at = self._next_at + later * _FOLLOWING
        self._last_at = at = max(at, self._last_at)
        self._next_at = at + self._line.seconds(size)
        return at


def open_microphone(
    device: str | int | None = None,
    *,
    sample_rate: int = 16_000,
    num_channels: int = 1,
    frame_seconds: float = 0.02,
    buffer_seconds: float = 1.0,
    latency: float | None = None,
    half_duplex_with: Speaker | None = None,
) -> AbstractAsyncContextManager[Microphone]:
    """Open a microphone for a block.

    ::

        async with open_microphone() as microphone:
            await session.stream_audio(microphone)

    Chunks have the time on trio's clock at which their sound was heard in `AudioChunk.at`. The
    device is stopped and closed in a worker thread; one that takes more than five seconds for that
    is left alone. Cancelling while it is being opened waits until it is open, and closes it.

    Args:
        device: its index, its name, or a part of its name that no other has; see `list_devices`.
            By default the system's.
        sample_rate: the rate of the chunks, in Hz. A device that does not have it is run at its
            own, and what it hears is converted.
        num_channels: likewise.
        frame_seconds: how long each chunk is. Where the rate is converted, about so long.
        buffer_seconds: how much is kept that is not read; then the oldest is dropped, and counted.
        latency: how many seconds the device itself shall buffer. By default what PortAudio thinks
            robust.
        half_duplex_with: for speakers without echo cancellation. While this one sounds, and a
            quarter of a second longer, the microphone hears silence instead of it, so that the bot
            does not hear itself. Nor does it hear the user then: nobody can interrupt it by voice.

    Raises:
        DeviceError: there is no such device, or it can't be opened.
        UnsupportedFeatureError: the extra ``audio``, or the PortAudio library, is not installed.
        ValueError: an argument can't be.
    """
    check_format(b"", sample_rate, num_channels)
    check_seconds("frame_seconds", frame_seconds)
    check_seconds("buffer_seconds", buffer_seconds)
    return _open(
        device,
        sample_rate,
        num_channels,
        frame_seconds,
        max(round(buffer_seconds / frame_seconds), 1),
        latency,
        half_duplex_with,
    )


@asynccontextmanager
async def _open(
    device: str | int | None,
    sample_rate: int,
    num_channels: int,
    frame_seconds: float,
    max_blocks: int,
    latency: float | None,
    half_duplex_with: Speaker | None,
) -> AsyncIterator[Microphone]:
    line = Line("microphone", device, sample_rate, num_channels)
    microphone = Microphone(
        line, sample_rate, num_channels, max_blocks=max_blocks, half_duplex_with=half_duplex_with
    )
    async with open_line(line, block_seconds=frame_seconds, latency=latency):
        yield microphone
