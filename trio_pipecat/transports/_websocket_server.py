"""Pipecat's WebSocket, from the bot's side: for simulated bots, and for tests.

The one file that knows trio-websocket, which does the protocol here.

Theory of operation
-------------------
`accept_websocket` starts three services that outlive its body (see `_service`): trio-websocket's
reader, the writer of the `Outbox`, and the keepalive. So a body that is cancelled can still say
goodbye: the close handshake needs all three.

What trio-websocket leaves to its users, and is done here: a torn frame (`Outbox`), a close that
waits for ever, a keepalive, and what crosses our goodbye on the wire: a ping that comes when a
close frame is out makes its reader fail (`ServedWebSocket.read_out`).
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import trio
import trio_websocket
from trio_websocket import ConnectionClosed, WebSocketConnection

from .._errors import ProtocolError
from .._service import is_cancellation, open_services
from .._state import Side
from ._abc import Incoming, LinkEnd, LinkOptions
from ._outbox import Outbox
from ._wire_transport import PING_INTERVAL, PING_TIMEOUT, WireTransport
from ._wires import ProtobufWire, Wire

#: Messages that wait between trio-websocket's reader and ours, which takes them at once.
_QUEUE = 64
#: What is read at a time. With trio-websocket's own 4 KiB a message of audio takes twice the CPU.
_READ_SIZE = 64 * 1024


class ServedWebSocket(WireTransport):
    """A bot's link. Made by `accept_websocket`."""

    def __init__(
        self,
        connection: WebSocketConnection,
        outbox: Outbox,
        wire: Wire,
        options: LinkOptions,
    ) -> None:
        super().__init__(wire, options)
        self._connection = connection
        self._outbox = outbox
        self._we_began_to_close = False
        self._goodbye = (1000, "")
        self._closing = trio.CancelScope()
        self._closed = trio.Event()
        #: Nobody would see the other side's goodbye.
        self._reader_failed = False
        self._detail = ""

    def __repr__(self) -> str:
        state = "open" if self.end is None else str(self.end)
        return f"<ServedWebSocket of the bot: {state}>"

    @property
    def end(self) -> LinkEnd | None:
        """How the link ended, None while it has not."""
        closed = self._connection.closed
        if closed is None:
            return None
        first: Side = "bot" if self._we_began_to_close else "client"
        if closed.code == 1006 and not self._we_began_to_close:
            first = "network"
        detail = self._detail
        limit = self._options.max_receive_size
        if closed.code == 1009 and closed.reason == f"Exceeded maximum message size: {limit} bytes":
            first = "bot"
            detail = f"a message of over {limit} bytes came"
        code, text = int(closed.code), closed.reason or ""
        if self._we_began_to_close and (code, text) == (1000, ""):
            code, text = self._goodbye  # trio-websocket does not know better until it is answered
        return LinkEnd(code=code, text=text, first=first, detail=detail)

    async def receive(self) -> Incoming:
        """Return what arrives next. Cancelling loses nothing."""
        item: Incoming | None = None
        while item is None:
            item = self._wire.decode(await self._receive_data(), at=trio.current_time())
        return item

    async def _receive_data(self) -> str | bytes:
        with suppress(ConnectionClosed):
            data: str | bytes = await self._connection.get_message()
            return data
        if self._we_began_to_close:
            # trio-websocket says so at once. The link has ended when the close is over.
            await self._closed.wait()
        # Nothing that still comes counts, and trio-websocket might keep it all.
        self._outbox.refuse_more()
        raise trio.EndOfChannel

    async def _send(self, data: bytes | str) -> None:
        # Not while trio-websocket holds its lock: its reader wants that lock for its pongs.
        await self._outbox.wait_send_all_might_not_block()
        try:
            await self._connection.send_message(data)
        except ConnectionClosed as error:
            raise trio.BrokenResourceError("the link has ended") from error

    async def aclose(self, code: int = 1000, text: str = "") -> None:
        """Send a close frame and wait for the other one. Cancelling closes without the wait."""
        if self._outbox.frozen:
            await self.abort("frozen")
        elif self._connection.closed is None:
            self._we_began_to_close = True
            self._goodbye = (code, text)
            # Not even who is cancelled leaves without a goodbye: the shield holds until it is out.
            # That takes no time, as nothing is waited for.
            self._closing.shield = True
            self._outbox.on_sent = self._goodbye_sent
            try:
                with self._closing:
                    await self._connection.aclose(code, text or None)
                await trio.lowlevel.checkpoint_if_cancelled()
            finally:
                self._closed.set()
        elif self._we_began_to_close:
            # Another task is about it.
            try:
                await self._closed.wait()
            except trio.Cancelled:
                self._closing.cancel()
                raise
        await trio.lowlevel.checkpoint()

    def _goodbye_sent(self) -> None:
        self._closing.shield = False
        if self._reader_failed:
            self._closing.cancel()

    async def abort(self, detail: str) -> None:
        """Be gone at once, without a goodbye."""
        self._detail = detail
        await trio.aclose_forcefully(self._outbox)

    def freeze(self) -> None:
        """Read, write and answer nothing any more, but stay: what half-open looks like."""
        self._outbox.frozen = True

    async def keep_alive(self) -> None:
        """Ping at intervals, and give the link up when the answer does not come in time."""
        timeout = self._options.ping_timeout or PING_TIMEOUT
        while True:
            await trio.sleep(self._options.ping_interval or PING_INTERVAL)
            with trio.move_on_after(timeout) as deadline:
                try:
                    await self._connection.ping()
                except ConnectionClosed:
                    return
            if deadline.cancelled_caught:
                if self.end is None:
                    await self.abort(f"no answer to a ping within {timeout:g} s")
                return

    def lose_reader(self) -> None:
        """Nothing is read any more."""
        self._reader_failed = True
        if self._we_began_to_close and not self._closing.shield:
            self._closing.cancel()

    async def read_out(self) -> None:
        """Read to the end without understanding it: for when trio-websocket can't any more.

        That is after a goodbye of ours. The other side, which has it, will hang up.
        """
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while await self._outbox.receive_some(_READ_SIZE):
                pass
        self._closing.cancel()


@asynccontextmanager
async def accept_websocket(
    stream: trio.abc.Stream, options: LinkOptions, wire: Wire | None = None
) -> AsyncGenerator[ServedWebSocket, None]:
    """Be the server of a WebSocket whose upgrade request is what `stream` gives first.

    `wire` is what is spoken; by default protobuf, as the server has it.

    Raises:
        ProtocolError: the client went away before it had asked for a WebSocket.
    """
    transport: ServedWebSocket | None = None

    async def say_goodbye(error: BaseException | None) -> None:
        if transport is not None and transport.end is None:
            # 1012, "service restart": what uvicorn closes with when it is stopped.
            await transport.aclose(1012 if is_cancellation(error) else 1000)
        # Our answer to the other side's goodbye may still be unwritten.
        await outbox.aclose()

    outbox = Outbox(stream)
    spoken = wire or ProtobufWire(takes_texts=False)
    made: list[ServedWebSocket] = []
    settled = trio.Event()
    outbox.on_over = settled.set

    async def read() -> None:
        try:
            async with trio.open_nursery() as nursery:
                request = await trio_websocket.wrap_server_stream(
                    nursery,
                    outbox,
                    message_queue_size=_QUEUE,
                    max_message_size=options.max_receive_size,
                    receive_buffer_size=_READ_SIZE,
                )
                connection = await request.accept()
                made.append(ServedWebSocket(connection, outbox, spoken, options))
                settled.set()
        except* Exception as failure:
            await _give_reader_up(failure, made)
        finally:
            _note_end_of_reader(made)
            settled.set()

    async with stream, open_services(say_goodbye, grace=options.grace) as services:
        services.start(outbox.run, name="trio_pipecat: WebSocket writer")
        services.start(read, name="trio_pipecat: WebSocket reader")
        await settled.wait()
        if not made:
            raise ProtocolError("the client went away during the upgrade")
        transport = made[0]
        services.start(transport.keep_alive, name="trio_pipecat: WebSocket keepalive")
        yield transport


async def _give_reader_up(failure: ExceptionGroup[Exception], made: list[ServedWebSocket]) -> None:
    """Go on without trio-websocket's reader, if it has failed as it is known to.

    It does so during the upgrade, when the peer speaks something else, and after a goodbye of ours,
    when it wants to answer what crosses that.
    """
    if made:
        if made[0].end is None:
            raise failure
        await made[0].read_out()


def _note_end_of_reader(made: list[ServedWebSocket]) -> None:
    """Ctrl-C may have struck trio-websocket's reader; then a goodbye is said and not waited for."""
    for transport in made:
        transport.lose_reader()
