"""Pipecat's WebSocket, from the client's side: RTVI messages and audio, in protobuf frames.

Theory of operation
-------------------
`open_websocket` is a `Connector`. It opens TCP, TLS and the WebSocket in the caller's task, so that
what goes wrong comes out bare. From then on no task waits for this link alone: the bytes that come
are brought by a `Carrier`, taken apart by `Frames`, and kept until somebody receives them; what is
sent goes out at once.

A link that is left says goodbye whatever happened: also if its opening was cancelled when the
server may have agreed already (`_dial`), because then a bot waits at the other end.
"""

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import trio

from .._params import ConnectParams
from .._service import as_bug
from .._state import Side
from .._urls import scrub
from ..audio import AudioChunk
from ._abc import Incoming, LinkEnd, LinkOptions, Transport
from ._carrier import Carrier, Receiver
from ._dial import dial
from ._engine import Alarm, Engine, leave_engine, use_engine
from ._upgrade import upgrade_request
from ._wire_transport import PING_INTERVAL, PING_TIMEOUT, WireTransport
from ._wires import ProtobufWire, Wire
from ._ws_client import TOO_LARGE, Closed, Frames

#: More than this unsent, and senders wait, in bytes: about a second of audio.
_HIGH_WATER: Final = 64 * 1024
#: More than this unsent can only be answers to a peer that asks and does not read.
_MOST_UNSENT: Final = 4 * 1024 * 1024
#: So many messages that nobody has received, and the socket is not read; then so few, and it is.
_MANY_MESSAGES, _FEW_MESSAGES = 64, 16
#: So many chunks of sound are given out, if they are there, before other tasks have their turn:
#: what has to wait behind a message would else never catch up in a process whose turns are long.
_CHUNKS_A_TURN: Final = 16
#: How long before its time is over an answer to a ping is looked for, in seconds.
_SECOND_LOOK: Final = 0.01
#: How long leaving waits for what is still unsent, in seconds.
_LINGER: Final = 1.0


class WebSocketTransport(WireTransport, Receiver):
    """A client's link. Made by `open_websocket`."""

    def __init__(
        self,
        carrier: Carrier,
        engine: Engine,
        wire: Wire,
        options: LinkOptions,
        secrets: Sequence[str] = (),
    ) -> None:
        super().__init__(wire, options)
        self._carrier = carrier
        self._engine = engine
        self._secrets = secrets
        self._pongs: list[bytes] = []
        self._frames = Frames(
            options.max_receive_size,
            on_message=self._keep,
            on_answer=self._pongs.append,
            on_pong=self._note_pong,
        )
        #: A list, though it is emptied from the front: it is short, and an empty deque is large.
        self._inbox: list[Incoming] = []
        self._left_of_turn = 0
        self._end_has_come = False
        self._arrived = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()
        self._end: LinkEnd | None = None
        self._we_began_to_close = False
        #: Nothing more comes, and the goodbye, if we said one, is answered or never will be.
        self._is_over = False
        self._failure: Exception | None = None
        #: What is in the ping that is out, and what happens next to keep the link alive.
        self._ping: bytes | None = None
        self._is_overdue = False
        self._alarm: Alarm | None = None

    def __repr__(self) -> str:
        state = "open" if self._end is None else str(self._end)
        return f"<WebSocketTransport of the client: {state}>"

    @property
    def end(self) -> LinkEnd | None:
        """How the link ended, None while it has not."""
        return self._end

    def begin(self, said: bytes) -> None:
        """Be carried from now on; `said` is what came in the opening."""
        self._set_alarm(self._options.ping_interval or PING_INTERVAL)
        self.bytes_came(said)

    # -- receiving --

    async def receive(self) -> Incoming:
        """Return what arrives next. Cancelling loses nothing.

        Other tasks have their turn before each message, and after some chunks of sound.
        """
        if self._left_of_turn and self._inbox and type(self._inbox[0]) is AudioChunk:
            self._left_of_turn -= 1
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._left_of_turn = _CHUNKS_A_TURN - 1
            if self._inbox or self._is_over:
                await trio.lowlevel.checkpoint()
        while True:
            if self._inbox:
                item = self._inbox.pop(0)
                if self._frames.is_paused and len(self._inbox) <= _FEW_MESSAGES:
                    self._go_on()
                return item
            if self._is_over:
                if self._failure is not None:
                    failure, self._failure = self._failure, None
                    raise as_bug(failure)
                raise trio.EndOfChannel
            await self._arrived.park()

    def bytes_came(self, data: bytes | memoryview) -> None:
        """Take what came."""
        if self._is_over:
            return
        closed = self._frames.receive(data)
        if self._pongs:
            self._send_pongs()
        if closed is not None:
            self._close_after(closed)
        elif self._frames.is_paused and not self._is_over:
            self._carrier.pause()
            if len(self._inbox) < _MANY_MESSAGES:
                # It is for the others' sake, and nobody has to receive anything first.
                self._engine.call_at(trio.current_time(), self._go_on)

    def _go_on(self) -> None:
        """Read again, first what had come before the pause."""
        if self._is_over:
            return
        self._frames.is_paused = False
        try:
            self.bytes_came(b"")
        except Exception as error:
            self.fail(error)
        if not self._frames.is_paused and not self._is_over:
            if self._end_has_come:
                self.end_came()
            else:
                self._carrier.resume()

    def _keep(self, data: bytes | str) -> None:
        if self._we_began_to_close or self._is_over:
            return  # what crosses our goodbye is not listened to any more
        if not self.wants_audio and self._wire.repeats_format(data):
            return
        item = self._wire.decode(data, at=trio.current_time())
        if item is None:
            return
        sink = self.on_audio
        if sink is not None and not self._inbox and type(item) is AudioChunk and sink(item):
            return
        self._inbox.append(item)
        self._frames.is_paused = len(self._inbox) >= _MANY_MESSAGES
        self._arrived.unpark()

    def _send_pongs(self) -> None:
        self._carrier.write(b"".join(self._pongs))
        self._pongs.clear()
        if self._carrier.unsent > _MOST_UNSENT:
            self._break("the peer asks, and does not read the answers")

    def end_came(self) -> None:
        """Nothing more comes."""
        if self._frames.is_paused:
            self._end_has_come = True  # but not everything before it was received
        else:
            self._be_over(LinkEnd(code=1006, first="network"))

    def room_came(self) -> None:
        """Some of what was written has gone out."""
        self._room.unpark_all()

    def fail(self, error: Exception) -> None:
        """Something raised what it may not."""
        self._failure = error
        self._carrier.close()
        self._be_over(LinkEnd(code=1006, first="client", detail="a bug"))

    # -- sending --

    def send_audio_nowait(self, chunk: AudioChunk) -> bool:
        """Send audio, if that needs no waiting. False: it does."""
        if self._carrier.unsent > _HIGH_WATER:
            return False
        data = self._wire.audio(chunk)
        if data is not None:
            self._write(data)
        return True

    async def _send(self, data: bytes | str) -> None:
        await trio.lowlevel.checkpoint()
        while self._carrier.unsent > _HIGH_WATER and self._end is None:
            await self._room.park()
        self._write(data)

    def _write(self, data: bytes | str) -> None:
        if self._end is not None or self._carrier.is_broken:
            raise trio.BrokenResourceError("the link has ended")
        self._carrier.write(self._frames.message(data))

    # -- ending --

    async def aclose(self, code: int = 1000, text: str = "") -> None:
        """Send a close frame and wait for the other one. Cancelling closes without the wait."""
        if self._end is None:
            self._say_goodbye(code, text)
        if self._is_over:
            await trio.lowlevel.checkpoint()
            return
        try:
            while not self._is_over:
                await self._arrived.park()
        except trio.Cancelled:
            self._carrier.finish()
            self._be_over()
            raise

    def _say_goodbye(self, code: int, text: str) -> None:
        self._we_began_to_close = True
        self._end = LinkEnd(code=code, text=text, first="client")
        self._carrier.write(self._frames.close(code, text))
        if self._frames.is_paused:
            self._go_on()  # for the answer
        self._room.unpark_all()

    async def abort(self, detail: str) -> None:
        """Be gone at once, without a goodbye."""
        self._break(detail)
        await trio.lowlevel.checkpoint()

    async def leave(self, error: BaseException | None) -> None:
        """Say goodbye, unless that is done, and wait until it has gone out. A `Farewell`."""
        if self._end is None:
            await self.aclose()
        with trio.move_on_after(_LINGER):
            # Our answer to the other side's goodbye may still be unsent.
            while self._carrier.unsent and not self._carrier.is_broken:
                await self._room.park()
        self._be_over()

    def _close_after(self, closed: Closed) -> None:
        """The other side has said goodbye, or has broken the rules."""
        self._carrier.write(closed.answer)
        # Nothing that still comes counts.
        self._carrier.pause()
        if not closed.error:
            text = scrub(closed.text, self._secrets)
            first: Side = "client" if self._we_began_to_close else "bot"
            self._be_over(LinkEnd(code=closed.code, text=text, first=first), is_better=True)
        elif closed.code == TOO_LARGE:
            self._be_over(LinkEnd(code=TOO_LARGE, first="client", detail=closed.error))
        else:
            self._be_over(LinkEnd(code=closed.code, first="bot", detail=closed.error))

    def _break(self, detail: str) -> None:
        self._carrier.close()
        self._be_over(LinkEnd(code=1006, first="network", detail=detail))

    def _be_over(self, end: LinkEnd | None = None, *, is_better: bool = False) -> None:
        """Nothing more comes; `end` says how it ended, if nothing did before or it `is_better`."""
        if self._is_over:
            return
        self._is_over = True
        if self._end is None or is_better:
            self._end = end
        if self._alarm is not None:
            self._alarm.cancel()
        self._arrived.unpark_all()
        self._room.unpark_all()

    # -- keeping it alive --

    def _set_alarm(self, seconds: float) -> None:
        if seconds < float("inf"):
            self._alarm = self._engine.call_at(trio.current_time() + seconds, self._check)

    def _check(self) -> None:
        """Ping, or give the link up if there was no answer to the last one."""
        timeout = self._options.ping_timeout or PING_TIMEOUT
        if self._end is not None:
            return
        if self._ping is not None and not self._frames.is_paused:
            if self._is_overdue:
                self._break(f"no answer to a ping within {timeout:g} s")
            else:
                # It may be there already, if this process was stopped for a while.
                self._is_overdue = True
                self._set_alarm(_SECOND_LOOK)
            return
        self._is_overdue = False
        self._ping = os.urandom(4)
        self._carrier.write(self._frames.ping(self._ping))
        self._set_alarm(max(timeout - _SECOND_LOOK, 0))

    def _note_pong(self, payload: bytes) -> None:
        if payload == self._ping:
            self._ping = None
            if self._alarm is not None:
                self._alarm.cancel()
            self._set_alarm(self._options.ping_interval or PING_INTERVAL)


@asynccontextmanager
async def open_websocket(
    params: ConnectParams, options: LinkOptions, wire: Wire | None = None
) -> AsyncGenerator[Transport, None]:
    """Open a link to a Pipecat bot's WebSocket. A `Connector`.

    `wire` is what is spoken; by default protobuf, with texts taken for messages.

    Raises:
        InvalidParamsError: the address or the token can't be used.
        TransportStartError: there is no link to be had.
    """
    request = upgrade_request(params, options)
    engine = use_engine()
    try:
        carrier, said = await dial(request, options, engine)
        spoken = wire or ProtobufWire(takes_texts=True)
        link = WebSocketTransport(carrier, engine, spoken, options, request.secrets)
        # There are as many of these frames as sessions.
        del request, params
        async with carrier.carrying(link, link.leave, options.grace):
            link.begin(said)
            del said
            yield link
    finally:
        await leave_engine(engine)  # noqa: ASYNC102  # it has a shield, and takes two steps
