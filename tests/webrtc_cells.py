"""The matrix over WebRTC: the same states and faults, on a real peer connection, in real time.

What comes of a cell is what the matrix of the WebSocket says, but for those that the page lists,
with what is different there. Deadlines are shortened, so seconds are not compared. There is sound
from the first message on, which the matrix leaves out.
"""

import json
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeAlias

import attrs
import trio
from matrix_cells import (
    FLOOD,
    NEXT_STAGE,
    PAGE,
    STATES,
    Cell,
    Fault,
    Run,
    _tell,
    open_descriptors,
    read_table,
)

import trio_pipecat as tp
from trio_pipecat._codec import decode_command, encode_event
from trio_pipecat.testing._http_server import (
    Request,
    Response,
    json_response,
    serve_connection,
    text_response,
)
from trio_pipecat.testing._webrtc_bot import WebRtcBotTransport
from trio_pipecat.transports import LinkOptions
from trio_pipecat.transports._loop_thread import LoopThread, open_loop_thread

BEGIN, END = "<!-- over WebRTC -->", "<!-- end of over WebRTC -->"

#: A bot can't do these when a goodbye of the client's comes: aiortc answers it by itself.
ANSWERED: Final = {
    "peer closes cleanly",
    "error event",
    "fatal error",
    "garbage",
    "flood",
    "bot disconnect",
    "bot disconnect, option off",
}
QUICK: Final[dict[str, Any]] = {
    "transport": "webrtc",
    "start_timeout": 0.6,
    "connect_timeout": 1.5,
    "ready_timeout": 2.5,
    "disconnect_timeout": 0.6,
    "ping_timeout": 1.5,
}
PATIENCE: Final = 3.0
#: Enough of a flood; SCTP in Python takes its time.
QUICK_FLOOD: Final = 500

Act: TypeAlias = Callable[["WebRtcServer"], Awaitable[None]]


class HungUpError(Exception):
    """The server drops the connection instead of answering."""


class WebRtcServer:
    """A bot's server that is perfect, but for what a cell has it do at one stage."""

    def __init__(self, loop: LoopThread, stage: str, fault: Fault, *, acts: bool) -> None:
        self.seen: list[str] = []
        self.faulted_at: float | None = None
        self.client_is = {state: trio.Event() for state in STATES}
        self.stage_reached = trio.Event()
        self.network = self
        self.url = ""
        self.link = WebRtcBotTransport(loop, LinkOptions(ping_timeout=1.5))
        self._stage = stage
        self._fault = fault
        self._acts = acts
        self._frozen = False
        self._listeners: list[trio.SocketListener] = []
        self._offered = trio.Event()

    async def listen(self) -> None:
        self._listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"127.0.0.1:{self._listeners[0].socket.getsockname()[1]}"

    async def serve(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._talk)
            with suppress(trio.ClosedResourceError):
                try:
                    await trio.serve_listeners(self._handle, self._listeners)
                except* trio.ClosedResourceError:
                    pass

    async def stop_listening(self) -> None:
        for listener in self._listeners:
            await listener.aclose()

    def cut(self) -> None:
        """Nothing is open in the states in which this is asked for."""

    def freeze(self) -> None:
        self._frozen = True

    # -- HTTP --

    async def _handle(self, stream: trio.SocketStream) -> None:
        with suppress(HungUpError):
            await serve_connection(stream, self._answer, self._refuse)

    async def _refuse(self, request: Request, stream: trio.abc.Stream) -> Response:
        return text_response("no", 404)

    async def _answer(self, request: Request) -> Response:
        if self._frozen:
            await trio.sleep_forever()
        is_start = request.path == "/start"
        stage = "authenticating" if is_start else "connecting"
        self.seen.append("start" if is_start else "offer")
        if stage == self._stage:
            answer = await self._at_http_stage(is_start=is_start)
            if answer is not None:
                return answer
        if is_start:
            return json_response({"sessionId": "it"})
        sdp = await self.link.answer(json.loads(request.body)["sdp"])
        self._offered.set()
        return json_response({"sdp": sdp, "type": "answer", "pc_id": self.link.pc_id})

    async def _at_http_stage(self, *, is_start: bool) -> Response | None:
        self.stage_reached.set()
        if not self._acts:
            await trio.sleep_forever()
        self.faulted_at = trio.current_time()
        match self._fault.name:
            case "peer closes cleanly":
                raise HungUpError
            case "peer vanishes":
                await self.stop_listening()
                raise HungUpError
            case "half-open peer":
                await trio.sleep_forever()
            case "HTTP error":
                return json_response({"detail": "out of bots"}, 500)
            case "garbage":
                return Response(body=b"\xff\x00 no json")
            case "flood":
                return Response(body=b"x" * 2**21)
        return None  # an error event: as soon as there is a link

    # -- the link --

    async def _talk(self) -> None:
        await self._offered.wait()
        try:
            await self.link.wait_open()
            if self._stage == "connecting":
                await self._say(self._error())
                await self._read_on()
                return
            hello = await self._hear("client-ready")
            await self._at_stage("connected")
            await self._say(tp.BotReady(id=hello, version="2.2.0"))
            await self._at_stage("ready")
            await self._at_stage("disconnecting")
            await self._read_on()
        except (trio.EndOfChannel, trio.BrokenResourceError):
            pass

    async def _read_on(self) -> None:
        while True:
            await self.link.receive()

    async def _hear(self, type_: str) -> str:
        while True:
            item = await self.link.receive()
            if isinstance(item, str):
                received = decode_command(item)
                assert isinstance(received, tuple)
                assert type_ == received[1].TYPE
                self.seen.append(type_)
                return received[0]

    async def _say(self, *events: tp.BotMessage) -> None:
        for event in events:
            await self.link.send_message(encode_event(event))

    def _error(self) -> tp.Error:
        return tp.Error(error="as the cell wants", fatal=self._fault.name == "fatal error")

    async def _at_stage(self, stage: str) -> None:
        if stage != self._stage:
            return
        if stage == "disconnecting":
            await self.client_is["ready"].wait()
            if self._acts and self._fault.name == "peer vanishes":
                await self.link.abort("as the cell wants")
            else:
                self.link.freeze()
            self.stage_reached.set()
            await trio.sleep_forever()
        await self.client_is[stage].wait()
        self.stage_reached.set()
        if not self._acts:
            await self._read_on()
        self.faulted_at = trio.current_time()
        match self._fault.name:
            case "peer closes cleanly":
                await self.link.aclose()
            case "peer vanishes":
                await self.link.abort("as the cell wants")
            case "half-open peer":
                self.link.freeze()
                await trio.sleep_forever()
            case "error event" | "fatal error":
                await self._say(self._error())
            case "garbage":
                await self.link.send_bytes(b"\xff\x00 no message")
            case "flood":
                await self._say(*(tp.ServerMessage(data=number) for number in range(QUICK_FLOOD)))
            case _:  # bot disconnect
                await self._say(tp.ServerMessage(data="goodbye"))
                await self.link.aclose()
        await self._read_on()


def can_be(state: str, fault: Fault) -> bool:
    """Can this happen over WebRTC?"""
    return state not in fault.never_in and not (state == "disconnecting" and fault.name in ANSWERED)


async def _run(state: str, fault: Fault) -> Cell:
    tasks = trio.lowlevel.current_statistics().tasks_living
    threads, descriptors = threading.active_count(), open_descriptors()
    stage = NEXT_STAGE.get(state, state)
    away = state in NEXT_STAGE and fault.network is not None
    async with open_loop_thread() as loop:
        acts = fault.server is not None and not away
        server = WebRtcServer(loop, "" if away else stage, fault, acts=acts)
        await server.listen()
        run = Run(state=state, fault=fault, server=server)  # type: ignore[arg-type]
        run.keywords, run.patience = QUICK, PATIENCE
        with suppress(BaseException), trio.fail_after(30):
            async with trio.open_nursery() as outside:
                outside.start_soon(server.serve)
                with run.caller:
                    async with trio.open_nursery() as helpers:
                        with run.block:
                            await run.hold(helpers)
                        helpers.cancel_scope.cancel()
                outside.cancel_scope.cancel()
        await server.stop_listening()
        await server.link.aclose()
    await trio.lowlevel.checkpoint()
    assert threads >= threading.active_count(), "threads are left over"
    assert descriptors == open_descriptors(), "descriptors are left over"
    assert tasks == trio.lowlevel.current_statistics().tasks_living, "tasks are left over"
    return _tell(run)


def _without_sound(cell: Cell) -> Cell:
    """Leave out of what was delivered that there is sound, and how long a flood was."""
    counts: list[tuple[str, int]] = []
    for told_of in cell.delivered.split(", "):
        name, _, count = told_of.partition("×")
        if name == "AudioStarted":
            continue
        if counts and counts[-1][0] == name:
            counts[-1] = (name, counts[-1][1] + int(count or 1))
        else:
            counts.append((name, int(count or 1)))
    words = {1: "", QUICK_FLOOD: "×all", FLOOD: "×all"}
    delivered = ", ".join(f"{name}{words.get(count, f'×{count}')}" for name, count in counts)
    return attrs.evolve(cell, delivered=delivered or "–")


def run_cell(state: str, fault: Fault) -> Cell:
    """Return what comes of a fault in a state."""
    return trio.run(_run, state, fault)


def told(cell: Cell) -> tuple[str, str, str, str]:
    """Return what is compared of a cell."""
    cell = _without_sound(cell)
    return cell.leaves, cell.end, cell.states, cell.delivered


#: What the page says of the WebSocket, and where WebRTC differs from it.
BY_WEBSOCKET: Final = read_table(PAGE.read_text())


def differences() -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the cells that the page lists as different: what comes of them."""
    text = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    rows = [line[1:-1].split("|") for line in text.strip().splitlines()[2:]]
    cleaned = [[part.strip() for part in row] for row in rows]
    return {(row[0], row[1]): tuple(row[2:6]) for row in cleaned}
