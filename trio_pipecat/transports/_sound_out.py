"""The user's sound, from the thread that has it to the one that sends it, in frames of 20 ms.

The sender's clock takes a frame every 20 ms, and the session's puts one every 20 ms. Neither waits
for the other, so their jitter has to go somewhere: what begins is held back until two frames are
there. One side that stood still for a while leaves the other behind: what has piled up then would
be late for ever, so it is lessened where there is nothing to hear.
"""

from collections import deque
from contextlib import suppress
from typing import Final, final

import attrs
import trio

from ..audio import AudioChunk, Resampler

FRAME_SECONDS: Final = 0.02
#: The rates that Opus takes as they are, in Hz; everything else is made the last of them.
OPUS_RATES: Final = (8_000, 12_000, 16_000, 24_000, 48_000)
#: Sound is counted in samples of the highest rate, of which each of the others has a whole part.
_RATE: Final = OPUS_RATES[-1]
_FRAME: Final = round(FRAME_SECONDS * _RATE)
#: So much may wait to be sent before a sender has to wait: a fifth of a second.
_ROOM: Final = 10 * _FRAME
#: So much is there before a sound begins; or so many frames' time has gone by.
_HEAD: Final = 2 * _FRAME
_HEAD_TICKS: Final = 2
#: After so many beats without anything, what comes next begins anew.
_PAUSE_TICKS: Final = 10
#: So much may have piled up without silence being left out for it.
_DEEP: Final = 6 * _FRAME


@attrs.frozen
class Frame:
    """Twenty milliseconds of sound, or a piece that they are made of."""

    pcm: bytes
    sample_rate: int
    num_channels: int

    @property
    def ticks(self) -> int:
        """How long it is, in samples of the highest rate."""
        return len(self.pcm) // (2 * self.num_channels) * (_RATE // self.sample_rate)


@final
class SoundOut:
    """Filled by trio (`put`), emptied by the other thread (`take`)."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._lot = trio.lowlevel.ParkingLot()
        self._pieces: deque[Frame] = deque()
        self._waiting = False
        self._over = False
        # Each is written by one thread alone, so their difference needs no lock.
        self._put = 0
        self._taken = 0
        self._rest = b""
        self._format = (_RATE, 1)
        self._resampler: Resampler | None = None
        self._resampled: tuple[int, int] | None = None
        self._begun = False
        self._held = 0
        #: For how many beats there has been nothing.
        self._missed = 0
        #: How much silence may be left out.
        self._surplus = 0
        #: False: the other side takes no sound. What is put is gone.
        self.is_wanted = True
        #: How much silence was left out, in seconds.
        self.skipped_seconds = 0.0

    @property
    def depth(self) -> float:
        """How much is waiting, in seconds."""
        return self._waits / _RATE

    @property
    def _waits(self) -> int:
        return self._put - self._taken

    # -- trio's --

    async def put(self, chunk: AudioChunk) -> None:
        """Add sound, whole. Waits while there is enough. Cancelled: nothing was added.

        Raises:
            trio.BrokenResourceError: the link has ended.
        """
        await trio.lowlevel.checkpoint()
        while self._waits >= _ROOM and not self._over:
            self._waiting = True
            if self._waits >= _ROOM:
                await self._lot.park()
        if self._over:
            raise trio.BrokenResourceError("the link has ended")
        chunk = self._fit(chunk)
        piece = Frame(chunk.pcm, chunk.sample_rate, chunk.num_channels)
        if piece.ticks and self.is_wanted:
            self._put += piece.ticks
            self._pieces.append(piece)

    def _fit(self, chunk: AudioChunk) -> AudioChunk:
        """Return the chunk as Opus takes it."""
        if chunk.num_channels > 2:
            chunk = chunk.with_channels(1)
        if chunk.sample_rate in OPUS_RATES:
            self._resampled = None
            return chunk
        format_ = (chunk.sample_rate, chunk.num_channels)
        if self._resampler is None or self._resampled != format_:
            self._resampler = Resampler(chunk.sample_rate, _RATE, chunk.num_channels)
            self._resampled = format_
        pcm = self._resampler.resample(chunk.pcm)
        return AudioChunk(pcm, _RATE, chunk.num_channels)

    def finish(self) -> None:
        """The link has ended: nobody shall wait."""
        self._over = True
        self._lot.unpark_all()

    # -- the other thread's --

    def want(self, is_wanted: bool) -> None:
        """Say whether the other side takes sound."""
        self.is_wanted = is_wanted
        if not is_wanted:
            self.clear()

    def clear(self) -> None:
        """Forget what waits."""
        while self._pieces:
            self._taken += self._pieces.popleft().ticks
        self._taken += Frame(self._rest, *self._format).ticks
        self._rest = b""
        self._wake_senders()

    def fell_behind(self, seconds: float) -> None:
        """The taker stood still for so long: what has piled up would be late for ever."""
        self._surplus += min(round(seconds * _RATE), max(self._waits - _DEEP, 0))

    def take(self) -> Frame | None:
        """Take twenty milliseconds; None: there is nothing to be heard."""
        if not self._begun and not self._may_begin():
            return None
        frame = self._take_frame()
        while frame is not None and self._may_skip(frame):
            self._surplus -= _FRAME
            self.skipped_seconds += FRAME_SECONDS
            frame = self._take_frame()
        if frame is not None:
            # What was late in coming is late for ever, if nothing is left out for it.
            self._surplus += self._missed * _FRAME
            self._missed = 0
        elif self._missed < _PAUSE_TICKS:
            self._missed += 1
        else:
            self._begun, self._missed = False, 0
        self._wake_senders()
        return frame

    def _wake_senders(self) -> None:
        if self._waiting and self._waits < _ROOM:
            self._waiting = False
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._lot.unpark_all)

    def _may_begin(self) -> bool:
        if not self._pieces and not self._rest:
            return False
        self._held += 1
        if self._waits < _HEAD and self._held <= _HEAD_TICKS:
            return False
        self._begun, self._held = True, 0
        return True

    def _may_skip(self, frame: Frame) -> bool:
        return self._surplus > 0 and self._waits >= _HEAD and not any(frame.pcm)

    def _take_frame(self) -> Frame | None:
        if not self._rest and not self._pieces:
            return None
        if not self._rest:
            piece = self._pieces.popleft()
            self._format, self._rest = (piece.sample_rate, piece.num_channels), piece.pcm
        rate, channels = self._format
        size = round(rate * FRAME_SECONDS) * channels * 2
        while len(self._rest) < size and self._pieces and _format(self._pieces[0]) == self._format:
            self._rest += self._pieces.popleft().pcm
        pcm, self._rest = self._rest[:size], self._rest[size:]
        self._taken += Frame(pcm, rate, channels).ticks
        return Frame(pcm.ljust(size, b"\0"), rate, channels)


def _format(frame: Frame) -> tuple[int, int]:
    return frame.sample_rate, frame.num_channels
