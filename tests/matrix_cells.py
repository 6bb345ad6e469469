"""The matrix: every state of a session, and everything that can go wrong in it.

A cell is a state and a fault. `run_cell` holds one session, on the real wire (HTTP start, upgrade,
WebSocket frames) over a network in memory and on a virtual clock, brings it into the state, lets
the fault happen there, and tells what came of it: what left the block, how the session ended, the
states it went through, what was delivered, what the server saw, and how long it took from there.

What has to come of it is the table in docs/topics/matrix.md, which `test_matrix` holds against
this. ``python tests/matrix_cells.py`` prints the table as it is, ``--write`` puts it into the page.
"""

import json
import signal
import struct
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, suppress
from itertools import groupby
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs
import trio
from loopback_network import LoopbackNetwork
from raw_server import BINARY, CLOSE, PING, RawPeer, close_code, frame
from trio.testing import MockClock

import trio_pipecat as tp
from trio_pipecat._codec import decode_command, encode_event
from trio_pipecat.testing import VirtualNetwork, virtual_network
from trio_pipecat.transports._envelope import decode, encode_message

PAGE: Final = Path(__file__).parent.parent / "docs" / "topics" / "matrix.md"
BEGIN, END = "<!-- the table -->", "<!-- end of the table -->"

STATES: Final = (
    "idle",
    "authenticating",
    "authenticated",
    "connecting",
    "connected",
    "ready",
    "disconnecting",
)
FLOOD: Final = 5000
#: After so many seconds a body to which nothing happens leaves.
PATIENCE: Final = 60


@attrs.frozen
class Cell:
    """What came of a fault in a state. Every field is a text, as it stands in the table."""

    state: str
    fault: str
    leaves: str
    end: str
    states: str
    delivered: str
    bot_saw: str
    seconds: str

    def row(self) -> tuple[str, ...]:
        """Return the cells of the table's row."""
        return attrs.astuple(self)


COLUMNS: Final = (
    "state",
    "fault",
    "what leaves the block",
    "`s.end`",
    "states from there",
    "delivered from there",
    "the server saw",
    "seconds",
)


# -- the server ----------------------------------------------------------------------------------


class Hung(Exception):
    """The client has hung up without a goodbye."""


class Done(Exception):
    """The connection is over, and everything about it was seen."""


Act: TypeAlias = Callable[["Server", RawPeer], Awaitable[None]]


AnyNetwork: TypeAlias = VirtualNetwork | LoopbackNetwork
#: Opens the network of a cell.
OpenNetwork: TypeAlias = Callable[[], AbstractContextManager[AnyNetwork]]


class Server:
    """A bot's server that is perfect, but for what a cell has it do at one stage.

    The stages are named after the state in which the client waits for them.
    """

    def __init__(self, network: AnyNetwork, stage: str, act: Act | None) -> None:
        self.network = network
        self.seen: list[str] = []
        self.faulted_at: float | None = None
        self._stage = stage
        self._act = act
        self._listeners: list[trio.SocketListener] = []
        self.url = ""
        self.hello_id = ""
        #: Set when a client's body got the news of a state.
        self.client_is = {state: trio.Event() for state in STATES}
        self.stage_reached = trio.Event()

    async def listen(self) -> None:
        """Be there."""
        self._listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"127.0.0.1:{self._listeners[0].socket.getsockname()[1]}"

    async def serve(self) -> None:
        """Serve until cancelled, or until nobody is let in any more."""
        async with trio.open_nursery() as nursery:
            try:
                await trio.serve_listeners(self._handle, self._listeners, handler_nursery=nursery)
            except* trio.ClosedResourceError:
                pass

    async def stop_listening(self) -> None:
        """Be there no more for whoever comes; who is there stays."""
        for listener in self._listeners:
            await listener.aclose()

    async def _handle(self, stream: trio.SocketStream) -> None:
        peer = RawPeer(stream, stream.socket)
        try:
            request = await peer.request()
            if request.target == "/start":
                await peer.read(int(request.headers["content-length"]))
                self.seen.append("start")
                await self._at("authenticating", peer)
                answer = json.dumps({"wsUrl": f"ws://{self.url}/ws-client"}).encode()
                await peer.send(http(200, answer))
            else:
                self.seen.append("upgrade")
                await self._talk(peer, request)
        except AssertionError:
            pass  # a connection that was opened and not used
        except Done:
            pass
        except (Hung, trio.BrokenResourceError):
            self.seen.append("gone")
        finally:
            await trio.aclose_forcefully(stream)

    async def _talk(self, peer: RawPeer, request: Any) -> None:
        await self._at("connecting", peer, request)
        await consent(peer, request)
        await self._hear(peer, "client-ready")
        await self._at("connected", peer)
        await say(peer, tp.BotReady(id=self.hello_id, version="2.2.0"))
        await self._at("ready", peer)
        await self.until_closed(peer)

    async def until_closed(self, peer: RawPeer) -> None:
        """Read until the client says goodbye, answer that, and wait until it is gone."""
        await self._read_frame(peer)

    async def _hear(self, peer: RawPeer, type_: str) -> None:
        _, payload = await self._read_frame(peer, BINARY)
        received = decode_command(str(decode(payload)))
        assert isinstance(received, tuple)
        self.hello_id, command = received
        assert type_ == command.TYPE
        self.seen.append(type_)

    async def _read_frame(self, peer: RawPeer, *opcodes: int) -> tuple[int, bytes]:
        while True:
            got = await peer.frame()
            if got is None:
                raise Hung
            if got.opcode == PING:
                await peer.send(frame(0xA, got.payload))
            elif got.opcode in opcodes:
                return got.opcode, got.payload
            elif got.opcode == CLOSE:
                self.seen.append(f"close {close_code(got)}")
                await self._at("disconnecting", peer)
                with suppress(trio.BrokenResourceError):  # it has closed after our own goodbye
                    await peer.send(frame(CLOSE, got.payload))
                await hung_up(peer)
                raise Done

    async def _at(self, stage: str, peer: RawPeer, request: Any = None) -> None:
        """At the stage of the cell: let it have its way. With a body of its own, hold."""
        if stage != self._stage:
            return
        if stage in ("connected", "ready"):
            await self.client_is[stage].wait()
        self.stage_reached.set()
        if self._act is None:
            if stage in ("authenticating", "connecting", "disconnecting"):
                await hung_up(peer)
                raise Hung
            await self.until_closed(peer)
        self.faulted_at = trio.current_time()
        peer.upgrade = request  # type: ignore[attr-defined]  # for what consents to it
        await self._act(self, peer)


async def hung_up(peer: RawPeer) -> None:
    """Wait until the client is gone."""
    with suppress(trio.BrokenResourceError):
        while await peer.stream.receive_some():
            pass


async def consent(peer: RawPeer, request: Any, *, and_send: bytes = b"") -> None:
    """Agree to an upgrade."""
    await peer.send(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + request.accept_token() + b"\r\n\r\n" + and_send
    )


def message(event: tp.BotMessage) -> bytes:
    """Return the bytes of a message."""
    return frame(BINARY, encode_message(encode_event(event)))


async def say(peer: RawPeer, *events: tp.BotMessage) -> None:
    """Send messages."""
    await peer.send(b"".join(map(message, events)))


def http(status: int, body: bytes) -> bytes:
    """Return the bytes of an answer."""
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


# -- what a server does --------------------------------------------------------------------------


async def closes(server: Server, peer: RawPeer) -> None:
    """Close in order: at a link with a goodbye, before that by hanging up."""
    if server.seen[-1:] == ["start"] or server.seen[-1:] == ["upgrade"]:
        raise Done
    await _close(server, peer)


async def vanishes(server: Server, peer: RawPeer) -> None:
    """Be gone: the connection is reset, and nobody listens."""
    server.network.cut()
    await server.stop_listening()
    raise Done


async def falls_silent(server: Server, peer: RawPeer) -> None:
    """Go on existing, and say nothing: the plug is pulled."""
    server.network.freeze()
    await trio.sleep_forever()


async def refuses(server: Server, peer: RawPeer) -> None:
    """Answer with an HTTP error."""
    await peer.send(http(500, b'{"detail": "out of bots"}'))
    raise Done


async def reports(server: Server, peer: RawPeer, *, fatal: bool) -> None:
    """Send an error event; with the consent, where there is none yet."""
    event = tp.Error(error="as the cell wants", fatal=fatal)
    if server.seen[-1] == "upgrade":
        await consent(peer, peer.upgrade, and_send=message(event))  # type: ignore[attr-defined]
        await server._hear(peer, "client-ready")
    else:
        await say(peer, event)
    await _go_on(server, peer)


async def talks_garbage(server: Server, peer: RawPeer) -> None:
    """Say what makes no sense."""
    match server.seen[-1]:
        case "start":
            await peer.send(http(200, b"\xff\x00 no json"))
            raise Done
        case "upgrade":
            await peer.send(b"\xff\x00 no http\r\n\r\n")
            await hung_up(peer)
            raise Done
        case _:
            await peer.send(frame(BINARY, b"\xff\x00 no frame"))
            await _go_on(server, peer)


async def floods(server: Server, peer: RawPeer) -> None:
    """Send more than anybody wants."""
    match server.seen[-1]:
        case "start":
            await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                await peer.send(b"x" * 60_000)
        case "upgrade":
            await peer.send(b"HTTP/1.1 101 Switching Protocols\r\n")
            while True:
                await peer.send(b"X-More: " + b"x" * 60_000 + b"\r\n")
        case _:
            for number in range(FLOOD):
                await say(peer, tp.ServerMessage(data=number))
            await _go_on(server, peer)


async def leaves(server: Server, peer: RawPeer) -> None:
    """Say the last words, and close."""
    await say(peer, tp.ServerMessage(data="goodbye"))
    await _close(server, peer)


async def _close(server: Server, peer: RawPeer) -> None:
    await peer.send(frame(CLOSE, struct.pack("!H", 1000)))
    if not server.seen[-1].startswith("close"):
        await server._read_frame(peer)
    await hung_up(peer)
    raise Done


async def _go_on(server: Server, peer: RawPeer) -> None:
    if server.seen[-1].startswith("close"):
        await peer.send(frame(CLOSE, b"\x03\xe8"))
        await hung_up(peer)
    else:
        await server.until_closed(peer)
    raise Done


# -- the faults ----------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Fault:
    """One thing that goes wrong: in the server, or on the client's side."""

    name: str
    #: What the server does.
    server: Act | None = None
    #: What the body does, or has done to it.
    body: str = ""
    #: What the network does while the client is at home: before it comes, and between two calls.
    network: Act | None = None
    options: dict[str, Any] = attrs.field(factory=dict)
    #: The states in which it can't happen, and why.
    never_in: tuple[str, ...] = ()
    why: str = ""


async def _fatal(server: Server, peer: RawPeer) -> None:
    await reports(server, peer, fatal=True)


async def _error(server: Server, peer: RawPeer) -> None:
    await reports(server, peer, fatal=False)


NO_LINK: Final = ("idle", "authenticating", "authenticated")
NO_HTTP: Final = ("connected", "ready", "disconnecting")

FAULTS: Final = (
    Fault(name="cancel the block", body="cancel the block"),
    Fault(name="cancel the caller", body="cancel the caller"),
    Fault(name="body raises", body="raise"),
    Fault(name="deadline", body="deadline"),
    Fault(name="peer closes cleanly", server=closes, network=vanishes),
    Fault(name="peer vanishes", server=vanishes, network=vanishes),
    Fault(name="half-open peer", server=falls_silent, network=falls_silent),
    Fault(name="HTTP error", server=refuses, never_in=NO_HTTP, why="no HTTP any more"),
    Fault(name="error event", server=_error, never_in=NO_LINK, why="no link yet"),
    Fault(name="fatal error", server=_fatal, never_in=NO_LINK, why="no link yet"),
    Fault(name="garbage", server=talks_garbage),
    Fault(name="flood", server=floods),
    Fault(name="`disconnect()`", body="disconnect"),
    Fault(
        name="bot disconnect",
        server=leaves,
        never_in=(*NO_LINK, "connecting"),
        why="no bot yet",
    ),
    Fault(
        name="bot disconnect, option off",
        server=leaves,
        options={"disconnect_on_bot_disconnect": False},
        never_in=(*NO_LINK, "connecting"),
        why="no bot yet",
    ),
    Fault(name="KeyboardInterrupt", body="interrupt"),
)

#: At which stage of the server something happens that is to happen in a state of the client's in
#: which it does not talk to the server.
NEXT_STAGE: Final = {"idle": "authenticating", "authenticated": "connecting"}


class BodyError(Exception):
    """What the body raises."""


# -- one cell ------------------------------------------------------------------------------------


@attrs.define
class Run:
    """One session in one cell, and what is seen of it."""

    state: str
    fault: Fault
    server: Server
    events: list[tp.Event] = attrs.field(factory=list)
    session: tp.Session | None = None
    left: BaseException | None = None
    faulted_at: float = 0
    over_at: float = 0
    #: How the session is opened, and after how many seconds a body leaves to which nothing happens.
    keywords: dict[str, Any] = attrs.field(factory=dict)
    patience: float = PATIENCE
    block: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    caller: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def hold(self, helpers: trio.Nursery) -> None:
        """Hold the session."""
        try:
            async with tp.open_session(
                f"http://{self.server.url}/start", **self.keywords, **self.fault.options
            ) as session:
                self.session = session
                await self._body(session, helpers)
        except BaseException as error:
            self.left = error
            raise
        finally:
            self.over_at = trio.current_time()

    async def _body(self, session: tp.Session, helpers: trio.Nursery) -> None:
        if self.state == "idle":
            await self._act(session)
        # What ends nothing is left.
        with trio.move_on_after(self.patience):
            async for event in session:
                self.events.append(event)
                if isinstance(event, tp.StateChanged) and event.state in self.server.client_is:
                    self.server.client_is[event.state].set()
                match event:
                    case tp.StateChanged(state=state) if state == self.state:
                        if self.fault.body and state not in NEXT_STAGE:
                            await self.server.stage_reached.wait()
                        await self._act(session)
                    case tp.StateChanged(state=tp.State.READY) if self.state == "disconnecting":
                        helpers.start_soon(session.disconnect)
                    case _:
                        pass

    async def _act(self, session: tp.Session) -> None:
        self.faulted_at = trio.current_time()
        match self.fault.body:
            case "cancel the block":
                self.block.cancel()
            case "cancel the caller":
                self.caller.cancel()
            case "deadline":
                self.block.deadline = trio.current_time()
            case "raise":
                raise BodyError
            case "disconnect":
                await session.disconnect()
            case "interrupt":
                signal.raise_signal(signal.SIGINT)
            case _ if self.fault.network is not None and self.state in NEXT_STAGE:
                await self._away_from_the_server()
            case _:
                pass

    async def _away_from_the_server(self) -> None:
        if self.fault.network is falls_silent:
            self.server.network.freeze()
        else:
            self.server.network.cut()
            await self.server.stop_listening()


async def _run(state: str, fault: Fault, open_network: OpenNetwork) -> Cell:
    with open_network() as network:
        tasks = trio.lowlevel.current_statistics().tasks_living
        threads, descriptors = threading.active_count(), open_descriptors()
        stage = NEXT_STAGE.get(state, state)
        act = None if state in NEXT_STAGE and fault.network is not None else fault.server
        server = Server(network, stage, act if fault.server is not None else None)
        await server.listen()
        run = Run(state=state, fault=fault, server=server)
        with suppress(BaseException), trio.fail_after(3600):
            async with trio.open_nursery() as outside:
                outside.start_soon(server.serve)
                with run.caller:
                    async with trio.open_nursery() as helpers:
                        with run.block:
                            await run.hold(helpers)
                        helpers.cancel_scope.cancel()
                # What the server still has to see, it sees now.
                with trio.move_on_after(1):
                    await trio.sleep_forever()
                outside.cancel_scope.cancel()
        await trio.lowlevel.checkpoint()
        # trio's idle threads go when they like; none may come.
        assert threads >= threading.active_count(), "threads are left over"
        assert descriptors == open_descriptors(), "descriptors are left over"
        assert tasks == trio.lowlevel.current_statistics().tasks_living, "tasks are left over"
        assert 0 == network.open_sockets, "sockets are left over"
    return _tell(run)


def open_descriptors() -> int:
    """Count the process's open descriptors, where it can be seen."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def run_cell(state: str, fault: Fault, open_network: OpenNetwork = virtual_network) -> Cell:
    """Return what comes of a fault in a state, with one of the orders in which trio runs tasks."""
    if state in fault.never_in:
        return Cell(state, fault.name, f"({fault.why})", "", "", "", "", "")
    return trio.run(_run, state, fault, open_network, clock=MockClock(autojump_threshold=0))


def _tell(run: Run) -> Cell:
    session = run.session
    assert session is not None and session.end is not None
    end = session.end
    code = "" if end.code is None else f" {end.code}"
    states = [state for state, _ in session.history]
    assert list(dict.fromkeys(states)) == states, "a state was entered twice"
    faulted = run.faulted_at if run.server.faulted_at is None else run.server.faulted_at
    position = states.index(tp.State(run.state)) if run.state in states else 0
    return Cell(
        state=run.state,
        fault=run.fault.name,
        leaves="nothing" if run.left is None else f"`{type(run.left).__name__}`",
        end=f"{end.reason}, first {end.first}{code}",
        states=" → ".join(states[position:]),
        delivered=_told_after(run),
        bot_saw=" · ".join(run.server.seen) or "nothing",
        seconds=f"{run.over_at - faulted:.2f}",
    )


def _told_after(run: Run) -> str:
    """Return what the body got from the moment of the state on, but for changes of state."""
    seen = run.state == "idle"
    names = []
    for event in run.events:
        if isinstance(event, tp.StateChanged):
            seen = seen or event.state == run.state
        elif seen:
            names.append(type(event).__name__)
    counted = ((name, len(list(group))) for name, group in groupby(names))
    return ", ".join(name if count == 1 else f"{name}×{count}" for name, count in counted) or "–"


# -- the table -----------------------------------------------------------------------------------


def cells(times: int) -> Iterator[Cell]:
    """Run every cell so many times; where what comes of it differs, tell all of it."""
    for state in STATES:
        for fault in FAULTS:
            rows = zip(*(run_cell(state, fault).row() for _ in range(times)), strict=True)
            yield Cell(*(" or ".join(sorted(set(column))) for column in rows))


def table(rows: list[Cell]) -> str:
    """Return the table, in Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(cell.row()) + " |" for cell in rows]
    return "\n".join(lines) + "\n"


def read_table(text: str) -> dict[tuple[str, str], Cell]:
    """Return the cells of a page."""
    listed = text.partition(BEGIN)[2].partition(END)[0].strip().splitlines()[2:]
    found = [Cell(*(part.strip() for part in line[1:-1].split("|"))) for line in listed]
    return {(cell.state, cell.fault): cell for cell in found}


def main() -> None:
    """Print the table; ``--write``: put it into the page."""
    made = table(list(cells(20 if "--write" in sys.argv else 1)))
    if "--write" in sys.argv:
        text = PAGE.read_text()
        before, _, rest = text.partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n{made}{END}{after}")
    print(made)


if __name__ == "__main__":
    main()
