"""What carries a link's bytes: a socket, a stream, TLS on top of either.

A carrier never waits. What is written goes out at once as far as it can, and the rest when there
is room; what comes is handed to the receiver as it comes. So a frame is written whole or not at
all, whoever is cancelled meanwhile, and sending costs no turn of the scheduler. Who wants to be
slowed down by a peer that does not read looks at `Carrier.unsent` before.

`StreamCarrier` is for whatever trio can read and write, with a task for each of the two; what
carries many sockets at the cost of one task is in `_engine`.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from ssl import SSLError
from typing import Final, TypeAlias

import trio

from .._service import open_services
from ._tls_pipe import TlsPipe

#: What is read at a time, in bytes: so much of one session comes between two others.
READ_SIZE: Final = 16 * 1024

#: What to do when the block of a link is left: it is given what the body raised.
Farewell: TypeAlias = Callable[[BaseException | None], Awaitable[object]]


class Receiver(ABC):
    """Who the bytes are for. Everything here returns at once."""

    @abstractmethod
    def bytes_came(self, data: bytes | memoryview) -> None:
        """Take what came. It is gone when this returns."""

    @abstractmethod
    def end_came(self) -> None:
        """Nothing more comes: the other side has closed, or the connection is broken."""

    @abstractmethod
    def room_came(self) -> None:
        """Some of what was written has gone out, or never will."""

    @abstractmethod
    def fail(self, error: Exception) -> None:
        """Something raised here what it may not: it is a bug, of ours."""


class Carrier(ABC):
    """Carries bytes both ways."""

    __slots__ = ()

    @property
    @abstractmethod
    def unsent(self) -> int:
        """How many bytes were written and have not gone out."""

    @property
    @abstractmethod
    def is_broken(self) -> bool:
        """What is written goes nowhere any more."""

    @abstractmethod
    def carrying(
        self, receiver: Receiver, farewell: Farewell, grace: float
    ) -> AbstractAsyncContextManager[None]:
        """Carry for `receiver` while the block lasts; the farewell is said on leaving, shielded.

        It has `grace` seconds. Afterwards the carrier is closed.
        """

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send all of it, now or when there is room."""

    @abstractmethod
    def pause(self) -> None:
        """Read nothing until `resume`."""

    @abstractmethod
    def resume(self) -> None:
        """Read again."""

    @abstractmethod
    def finish(self) -> None:
        """Close when what was written has gone out."""

    @abstractmethod
    def close(self) -> None:
        """Close now. What has not gone out never will."""


class StreamCarrier(Carrier):
    """Carries over a trio stream, with two tasks."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._unwritten: list[bytes] = []
        self._unsent = 0
        self._is_broken = False
        self._is_closed = False
        self._is_finishing = False
        self._is_paused = False
        self._changed = trio.lowlevel.ParkingLot()
        self._reading = trio.CancelScope()
        self._writing = trio.CancelScope()

    @property
    def unsent(self) -> int:
        """How many bytes were written and have not gone out."""
        return self._unsent

    @property
    def is_broken(self) -> bool:
        """What is written goes nowhere any more."""
        return self._is_broken

    @asynccontextmanager
    async def carrying(
        self, receiver: Receiver, farewell: Farewell, grace: float
    ) -> AsyncGenerator[None, None]:
        """Carry while the block lasts."""
        try:
            async with self._stream, open_services(farewell, grace=grace) as services:
                services.start(self._read, receiver, name="trio_pipecat: WebSocket reader")
                services.start(self._write, receiver, name="trio_pipecat: WebSocket writer")
                yield
        finally:
            self._break()

    def write(self, data: bytes) -> None:
        """Send all of it, now or when there is room."""
        if data and not (self._is_broken or self._is_finishing):
            self._unwritten.append(data)
            self._unsent += len(data)
            self._changed.unpark_all()

    def pause(self) -> None:
        """Read nothing until `resume`."""
        self._is_paused = True

    def resume(self) -> None:
        """Read again."""
        self._is_paused = False
        self._changed.unpark_all()

    def finish(self) -> None:
        """Close when what was written has gone out."""
        self._is_finishing = True
        self._changed.unpark_all()

    def close(self) -> None:
        """Close now."""
        self._is_closed = True
        self._break()
        self._reading.cancel()
        self._writing.cancel()

    async def _read(self, receiver: Receiver) -> None:
        with self._reading:
            try:
                while data := await self._receive():
                    receiver.bytes_came(data)
            except Exception as error:
                receiver.fail(error)
        receiver.end_came()

    async def _receive(self) -> bytes:
        """Return what comes, when it may be given on; nothing: it is over."""
        data = b""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            data = bytes(await self._stream.receive_some(READ_SIZE))
        while self._is_paused:
            await self._changed.park()
        return data

    async def _write(self, receiver: Receiver) -> None:
        with self._writing:
            try:
                while self._unwritten or not self._is_finishing:
                    if not self._unwritten:
                        await self._changed.park()
                        continue
                    data = b"".join(self._unwritten)
                    self._unwritten.clear()
                    await self._stream.send_all(data)
                    self._unsent = max(self._unsent - len(data), 0)
                    receiver.room_came()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
        # Whoever waits for room would wait for ever.
        self._break()
        receiver.room_came()
        if self._is_closed or self._is_finishing:
            await trio.aclose_forcefully(self._stream)

    def _break(self) -> None:
        self._is_broken = True
        self._unwritten.clear()
        self._unsent = 0


class TlsCarrier(Carrier, Receiver):
    """TLS between a carrier and its receiver."""

    def __init__(self, carrier: Carrier, pipe: TlsPipe) -> None:
        self._carrier = carrier
        self._pipe = pipe
        self._is_broken = False
        #: Nothing that still comes is for anybody.
        self._is_over = False
        self._receiver: Receiver

    @property
    def unsent(self) -> int:
        """How many bytes were written and have not gone out."""
        return self._carrier.unsent + self._pipe.unsent

    @property
    def is_broken(self) -> bool:
        """What is written goes nowhere any more."""
        return self._is_broken or self._carrier.is_broken

    def carrying(
        self, receiver: Receiver, farewell: Farewell, grace: float
    ) -> AbstractAsyncContextManager[None]:
        """Carry while the block lasts."""
        self._receiver = receiver
        return self._carrier.carrying(self, farewell, grace)

    def write(self, data: bytes) -> None:
        """Send all of it, now or when there is room."""
        try:
            self._carrier.write(self._pipe.encrypt(data))
        except SSLError:
            # The other side has ended TLS. Whoever reads finds out, after what has come before.
            self._is_broken = True

    def pause(self) -> None:
        """Read nothing until `resume`."""
        self._carrier.pause()

    def resume(self) -> None:
        """Read again."""
        self._carrier.resume()

    def finish(self) -> None:
        """Close when what was written has gone out."""
        self._carrier.finish()

    def close(self) -> None:
        """Close now."""
        self._is_over = True
        self._carrier.close()

    def bytes_came(self, data: bytes | memoryview) -> None:
        """Take what came, encrypted."""
        if self._is_over:
            return
        try:
            self._pipe.feed(data)
            while not self._is_over and (plain := self._pipe.decrypt()):
                self._receiver.bytes_came(plain)
        except SSLError:
            self._carrier.close()
            self.end_came()
            return
        self._carrier.write(self._pipe.to_send())
        if self._pipe.is_over:
            self._is_over = True
            self._carrier.pause()
            self.end_came()

    def end_came(self) -> None:
        """Nothing more comes."""
        self._receiver.end_came()

    def room_came(self) -> None:
        """Some of what was written has gone out."""
        self._receiver.room_came()

    def fail(self, error: Exception) -> None:
        """Something raised what it may not."""
        self._receiver.fail(error)
