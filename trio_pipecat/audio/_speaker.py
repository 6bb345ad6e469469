"""A speaker: what was queued sounds, what was not is silence, and all of it can be forgotten."""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol, final

import trio

from ._chunk import AudioChunk, check_format
from ._line import Line, open_line
from ._pcm import rms, samples_of
from ._playlist import Playlist
from ._portaudio import check_seconds
from ._resample import Resampler

#: What the device asks for at once.
_BLOCK_SECONDS: Final = 0.02


class FlushedAudio(Protocol):
    """Sound that may be forgotten while it is read: an `AudioStream` is one."""

    on_flush: list[Callable[[], object]]

    def __aiter__(self) -> AsyncIterator[AudioChunk]: ...


@final
class Speaker:
    """An open speaker. Made by `open_speaker`.

    What is played is queued, and sounds one chunk after the other. While nothing is queued, there
    is silence.
    """

    def __init__(self, line: Line, buffer_seconds: float) -> None:
        self.buffer_seconds = buffer_seconds
        self._line = line
        self._list = Playlist()
        self._last = b""
        self._resampler: Resampler | None = None
        self._resampled_rate = 0
        #: When what was handed to the device is over, and when what of it can be heard is.
        self._until = -math.inf
        self._sounds_until = -math.inf
        line.on_block = self._fill

    def __repr__(self) -> str:
        return f"<Speaker {self._line}, {self.queued_seconds:.3f} s queued>"

    @property
    def name(self) -> str:
        """The name of the device."""
        return self._line.device.name if self._line.device else ""

    @property
    def sample_rate(self) -> int:
        """The rate the device runs at. What has another is converted."""
        return self._line.sample_rate

    @property
    def num_channels(self) -> int:
        """The channels the device has. What has fewer or more is converted."""
        return self._line.num_channels

    @property
    def queued_seconds(self) -> float:
        """How much waits to be handed to the device."""
        return self._line.seconds(self._list.queued)

    @property
    def underruns(self) -> int:
        """How often the device ran dry because this process was late.

        Not counted is a gap in what is played.
        """
        return self._line.losses

    @property
    def level(self) -> float:
        """How loud the last block is that was handed to the device: its RMS, from 0 to 1."""
        return rms(samples_of(self._last))

    @property
    def sounds_until(self) -> float:
        """When, on trio's clock, the last sound that the device has is over.

        What is queued is not counted, nor are zeros. ``-inf``: there was none yet.
        """
        return self._sounds_until

    async def play(self, chunk: AudioChunk) -> None:
        """Queue a chunk of any rate and number of channels.

        Waits while more than `buffer_seconds` are queued, then queues all of the chunk. Cancelling
        loses the chunk, all of it, and nothing else. If the speaker is flushed meanwhile, the chunk
        is forgotten too. Where the rate is converted, the last milliseconds come with the next
        chunk, or with `drain`.

        Raises:
            DeviceError: the device has stopped.
            trio.ClosedResourceError: the block of the speaker was left.
        """
        playlist = self._list
        self._line.check()
        await trio.lowlevel.checkpoint()
        while playlist is self._list and self.queued_seconds > self.buffer_seconds:
            await self._line.moved()
        self._line.check()
        if playlist is self._list:
            playlist.add(self._converted(chunk))

    def flush(self) -> float:
        """Forget all that is queued, at once; return how many seconds that was.

        What the device already has still sounds: that is its buffer, and one block at most.
        """
        forgotten = self.queued_seconds
        self._list = Playlist()
        self._resampler = None
        self._line.wake()
        return forgotten

    async def drain(self) -> None:
        """Wait until all has sounded that was queued before, or was flushed. Cancelling is safe.

        Raises:
            DeviceError: the device has stopped.
            trio.ClosedResourceError: the block of the speaker was left.
        """
        self._line.check()
        playlist = self._list
        playlist.add(self._rest())
        end = playlist.put
        while playlist is self._list and playlist.taken < end:
            await self._line.moved()
        await trio.sleep_until(max(self._until, trio.current_time()))

    async def follow(self, audio: FlushedAudio) -> None:
        """Play a session's audio until it is over and has sounded.

        When the bot is interrupted, the session flushes its audio, and in the same moment the
        speaker is flushed too::

            await speaker.follow(session.audio)

        Cancelling loses the chunk that was to be queued; what was queued goes on sounding.

        Raises:
            DeviceError: the device has stopped.
            trio.ClosedResourceError: the block of the speaker was left.
        """
        audio.on_flush.append(self.flush)
        try:
            async for chunk in audio:
                await self.play(chunk)
            await self.drain()
        finally:
            audio.on_flush.remove(self.flush)

    def _converted(self, chunk: AudioChunk) -> bytes:
        pcm = chunk.with_channels(self.num_channels).pcm
        # Half a frame at its end would have all that follows sound in the wrong channel.
        pcm = pcm[: len(pcm) - len(pcm) % self._line.frame_size]
        before = b""
        if chunk.sample_rate != self._resampled_rate:
            before = self._rest()
            self._resampled_rate = chunk.sample_rate
        if chunk.sample_rate == self.sample_rate:
            return before + pcm
        if self._resampler is None:
            self._resampler = Resampler(
                chunk.sample_rate, self.sample_rate, self.num_channels, engine="python"
            )
        return before + self._resampler.resample(pcm)

    def _rest(self) -> bytes:
        """Return what the resampler has kept to itself."""
        resampler, self._resampler = self._resampler, None
        return resampler.flush() if resampler else b""

    # -- in PortAudio's thread --

    def _fill(self, block: Any, at: float) -> None:
        playlist = self._list
        if playlist.queued:
            # First of all, and as if the block were full: who drains may look right after the take.
            self._until = at + self._line.seconds(len(block))
        pcm = playlist.take(len(block))
        block[:] = pcm.ljust(len(block), b"\0")
        self._last = pcm
        if pcm:
            self._until = at + self._line.seconds(len(pcm))
            if pcm.count(0) != len(pcm):
                self._sounds_until = self._until


def open_speaker(
    device: str | int | None = None,
    *,
    sample_rate: int = 24_000,
    num_channels: int = 1,
    buffer_seconds: float = 1.0,
    latency: float | None = None,
) -> AbstractAsyncContextManager[Speaker]:
    """Open a speaker for a block.

    ::

        async with open_speaker() as speaker:
            await speaker.follow(session.audio)

    Leaving the block is the end of all sound: what is queued is lost, unless `Speaker.drain` was
    awaited. The device is stopped and closed in a worker thread; one that takes more than five
    seconds for that is left alone. Cancelling while it is being opened waits until it is open, and
    closes it.

    Args:
        device: its index, its name, or a part of its name that no other has; see `list_devices`.
            By default the system's.
        sample_rate: the rate of what will be played, in Hz. Other sound is converted. A device that
            does not have the rate is run at its own, and everything is converted to that.
        num_channels: likewise.
        buffer_seconds: `Speaker.play` waits while more than this is queued.
        latency: how many seconds the device itself shall buffer: how long sound goes on after a
            flush, and how late this process may be without a crackle. By default what PortAudio
            thinks robust.

    Raises:
        DeviceError: there is no such device, or it can't be opened.
        UnsupportedFeatureError: the extra ``audio``, or the PortAudio library, is not installed.
        ValueError: an argument can't be.
    """
    check_format(b"", sample_rate, num_channels)
    check_seconds("buffer_seconds", buffer_seconds)
    return _open(device, sample_rate, num_channels, buffer_seconds, latency)


@asynccontextmanager
async def _open(
    device: str | int | None,
    sample_rate: int,
    num_channels: int,
    buffer_seconds: float,
    latency: float | None,
) -> AsyncIterator[Speaker]:
    line = Line("speaker", device, sample_rate, num_channels)
    speaker = Speaker(line, buffer_seconds)
    async with open_line(line, block_seconds=_BLOCK_SECONDS, latency=latency):
        yield speaker
