"""A byte stream whose sends can be cancelled at any point without tearing what they send.

`trio.abc.SendStream.send_all` that is cancelled may have sent half its data. In the middle of a
WebSocket frame that is the end of the connection: not even a goodbye can follow. Here `send_all`
only appends to a buffer, and a task of its own, `run`, writes the buffer out. So a frame goes out
whole or not at all, whoever is cancelled meanwhile.

It also never blocks its caller, who may hold a lock that the reading side needs for its pongs; who
wants to be slowed down by a peer that does not read awaits `wait_send_all_might_not_block` before.
"""

from collections.abc import Callable
from typing import Final

import trio

#: More than this unwritten, and senders wait: about a second of audio.
_HIGH_WATER: Final = 64 * 1024
#: How long closing waits for what is still unwritten, in seconds, unless it is cancelled before.
_LINGER: Final = 1.0
#: How many things may wait to be written, whatever their size.
_MAX_UNWRITTEN: Final = 16_384


class Outbox(trio.abc.Stream):
    """Wraps a stream; see the module. `run` has to be running."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        #: Called when nothing more can be received: the peer closed, or we did.
        self.on_over: Callable[[], object] = bool
        #: Called when something was handed over to be written.
        self.on_sent: Callable[[], object] = bool
        self._stream = stream
        self._refuses_more = False
        self._unwritten: list[bytes] = []
        self._size = 0
        self._work = trio.Event()
        self._progress = trio.Event()
        self._broken = False
        self._closed = False
        #: Move no byte any more, in neither direction, and keep the stream open: for bots that
        #: misbehave on purpose.
        self.frozen = False

    async def run(self) -> None:
        """Write out what was sent, until the stream is closed or broken."""
        try:
            while not self._closed:
                await self._work.wait()
                self._work = trio.Event()
                if self.frozen:
                    continue
                data = b"".join(self._unwritten)
                self._unwritten.clear()
                await self._stream.send_all(data)
                self._size -= len(data)
                self._progress.set()
                self._progress = trio.Event()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            # Whoever waits for progress would wait for ever.
            self._broken = True
            self._progress.set()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Append `data`, whole, and return without waiting. Cancelled: nothing was sent."""
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise trio.ClosedResourceError
        if self._broken:
            raise trio.BrokenResourceError("the peer is gone")
        if len(self._unwritten) >= _MAX_UNWRITTEN:
            # Whoever sends waits before; these are answers to pings of a peer that reads none.
            self._broken = True
            await trio.aclose_forcefully(self._stream)
            raise trio.BrokenResourceError("the peer asks, and does not read the answers")
        self._unwritten.append(bytes(data))
        self._size += len(data)
        self._work.set()
        self.on_sent()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the peer has read enough of what was sent. Cancelling loses nothing."""
        await trio.lowlevel.checkpoint()
        while self._size > _HIGH_WATER and not (self._broken or self._closed):
            await self._progress.wait()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive as the wrapped stream does."""
        try:
            data = await self._stream.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.on_over()
            raise
        if self.frozen:
            await trio.sleep_forever()
        if not data or self._refuses_more:
            self.on_over()
            return b""
        return data

    def refuse_more(self) -> None:
        """Take what still comes for the end."""
        self._refuses_more = True

    async def aclose(self) -> None:
        """Write out what is unwritten, if that does not take long, and close."""
        try:
            with trio.move_on_after(_LINGER):
                while self._size and not (self._broken or self._closed or self.frozen):
                    await self._progress.wait()
        finally:
            self._closed = True
            self.on_over()
            self._work.set()
            self._progress.set()
            await self._stream.aclose()
