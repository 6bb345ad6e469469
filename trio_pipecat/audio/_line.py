"""A device that is open, as trio sees it: what PortAudio's thread tells, and when it is silent.

Theory of operation
-------------------
PortAudio calls us in a thread of its own that must not wait. It shares plain values with trio's
thread: numbers that one of both writes, and deques, whose single steps are atomic. There are no
locks. After each block it rings (`trio.lowlevel.TrioToken.run_sync_soon`), and whoever waits in
`moved` looks again. Times are trio's: a clock of trio's may be asked in any thread.

There is no task either. A device whose blocks stop coming is found out by whoever waits for them,
and so is one that has ended, or whose callback has failed: what went wrong is kept here, and raised
to whoever asks next. No exception goes through PortAudio.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, final

import trio

from .._errors import DeviceError
from ._devices import AudioDevice, Kind, find_device
from ._pcm import SAMPLE_WIDTH
from ._portaudio import PortAudioStream, check_seconds, list_devices

#: A device that says nothing for so long is gone: blocks come every few hundredths of a second.
SILENT_SECONDS: Final = 2.0
#: ... and before its first block. Bluetooth takes its time, and so does a sound server that slept.
WAKING_SECONDS: Final = 6.0
#: How long to wait for a device to close. Drivers have been known to hang.
_CLOSING_SECONDS: Final = 5.0


@final
class Line:
    """One device in use. `on_block` is what its thread calls: see `Microphone` and `Speaker`."""

    def __init__(
        self, kind: Kind, wanted: str | int | None, sample_rate: int, num_channels: int
    ) -> None:
        #: What was asked for; once it is open, what it came to.
        self.sample_rate = sample_rate
        self.num_channels = num_channels
        self.device: AudioDevice | None = None
        #: How often sound was lost in the device, because this process was late.
        self.losses = 0
        #: The block; the time on trio's clock at which it was captured, or will sound.
        self.on_block: Callable[[Any, float], None] = lambda block, at: None
        self.closed = False
        self._kind: Kind = kind
        self._wanted = wanted
        self._stream: PortAudioStream | None = None
        self._token = trio.lowlevel.current_trio_token()
        self._now = trio.lowlevel.current_clock().current_time
        self._waiting = trio.lowlevel.ParkingLot()
        self._blocks = 0
        self._ended = False
        self._failure: Exception | None = None

    @property
    def name(self) -> str:
        """What errors call it."""
        if self.device is None:
            return self._kind
        return f"{self._kind} {self.device.name!r}"

    @property
    def frame_size(self) -> int:
        """How many bytes one sample of each channel has."""
        return SAMPLE_WIDTH * self.num_channels

    def seconds(self, size: int) -> float:
        """Return how long so many bytes sound."""
        return size / self.frame_size / self.sample_rate

    def __str__(self) -> str:
        state = "opening" if self.device is None else "ended" if self._ended else "open"
        state = "closed" if self.closed else state
        return f"{self.name}: {state}, {self.sample_rate} Hz, {self.num_channels} channel(s)"

    def check(self) -> None:
        """Raise what is wrong.

        Raises:
            trio.ClosedResourceError: its block was left.
            DeviceError: it has ended by itself.
        """
        if self.closed:
            raise trio.ClosedResourceError
        if self._failure is not None:
            raise DeviceError(self.name, f"its callback failed: {self._failure!r}") from (
                self._failure
            )
        if self._ended:
            raise DeviceError(self.name, "it has stopped by itself; was it unplugged?")

    async def moved(self) -> None:
        """Wait until something may have changed.

        Raises:
            trio.ClosedResourceError: its block was left.
            DeviceError: it has ended by itself, or says nothing any more.
        """
        self.check()
        patience = SILENT_SECONDS if self._blocks else WAKING_SECONDS
        # Twice half of it: where all of this process stood still, its thread may go on after ours.
        for _ in range(2):
            blocks = self._blocks
            with trio.move_on_after(patience / 2) as waited:
                await self._waiting.park()
            self.check()
            if not waited.cancelled_caught or blocks != self._blocks:
                return
        raise DeviceError(self.name, f"it has said nothing for {patience:g} s; was it unplugged?")

    def wake(self) -> None:
        """Have everyone look again who waits."""
        self._waiting.unpark_all()

    # -- in a worker thread --

    def open(self, block_seconds: float, latency: float | None) -> None:
        """Open the device."""
        self.device = find_device(list_devices(), self._wanted, self._kind)
        stream = PortAudioStream(
            self.device,
            self._kind,
            sample_rate=self.sample_rate,
            num_channels=self.num_channels,
            block_seconds=block_seconds,
            latency=latency,
            on_block=self._on_block,
            on_end=self._on_end,
        )
        self.sample_rate, self.num_channels = stream.sample_rate, stream.num_channels
        self._stream = stream
        stream.start()

    async def aclose(self) -> None:
        """Close the device. What it says from now on is not heard."""
        self.closed = True
        self.wake()
        stream, self._stream = self._stream, None
        if stream is None:
            return
        with trio.move_on_after(_CLOSING_SECONDS, shield=True), suppress(DeviceError):
            await trio.to_thread.run_sync(stream.abort, abandon_on_cancel=True)

    # -- in PortAudio's thread --

    def _on_block(self, block: Any, delay: float, lost: bool) -> bool:
        if self.closed:
            return True
        try:
            late = -delay if self._kind == "microphone" else delay
            self.losses += lost
            self.on_block(block, self._now() + late)
        except Exception as error:  # it would be PortAudio's
            self._failure = error
        self._blocks += 1
        self._ring()
        return self._failure is not None

    def _on_end(self) -> None:
        self._ended = True
        self._ring()

    def _ring(self) -> None:
        # A run of trio's may end before a device that does not close.
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self.wake, idempotent=True)


@asynccontextmanager
async def open_line(
    line: Line, *, block_seconds: float, latency: float | None
) -> AsyncIterator[None]:
    """Have a device open for a block.

    Cancelling waits until PortAudio has opened the device, and closes it: neither a thread nor a
    stream stays behind.
    """
    check_seconds("the length of a block", block_seconds)
    if latency is not None:
        check_seconds("a latency", latency)
    try:
        await trio.to_thread.run_sync(line.open, block_seconds, latency)
        yield
    finally:
        await line.aclose()
