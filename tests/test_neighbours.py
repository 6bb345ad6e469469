"""Two hundred healthy sessions, and one whose peer does its worst: only that one ends.

The bots are in a process of their own, which is this file run as a program, so that what is tested
is the client: one process, one engine, all the sessions. A *villain* is a script for the server's
end of one connection. It misbehaves until somebody asks for the end of it, so that nothing here
depends on how fast the machine is: meanwhile each neighbour talks with its own bot, and the test
waits until every one of them was answered a few times more.

That no neighbour waits long is tested by what the longest turn of the scheduler takes, in CPU time
of its thread. How many milliseconds they wait is measured in ``benchmarks/neighbours.py``.
"""

import json
import os
import resource
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import attrs
import pytest
import trio
import trustme
from raw_server import (
    BINARY,
    BOUND,
    CLOSE,
    PING,
    PONG,
    RawPeer,
    close_code,
    frame,
    masked_frame,
    nothing_left,
)

import trio_pipecat as tp
from trio_pipecat.transports import LinkOptions, find_connector
from trio_pipecat.transports._envelope import decode, encode_message

pytestmark = pytest.mark.socket

NEIGHBOURS: Final = 200
#: How many times each neighbour is answered while the villain is at it, and after it is gone.
ANSWERS: Final = 2
#: How long a neighbour rests between two questions, in seconds.
REST: Final = 0.2
#: The longest turn of the scheduler, in seconds of CPU: a tenth as much is usual.
LONGEST_TURN: Final = 0.5
LIMIT: Final = 2**24
SOUND: Final = bytes(640)


# -- the server's side: a process of its own -----------------------------------------------------


@attrs.define
class Book:
    """What the server knows."""

    #: Set when the villain that is here shall come to its end.
    end: trio.Event = attrs.field(factory=trio.Event)
    #: How many sessions are here, and how many have said goodbye in order.
    here: int = 0
    goodbyes: int = 0
    #: How the conversations with villains ended, as the server saw it.
    seen: list[Any] = attrs.field(factory=list)

    def answer(self, asked: dict[str, Any]) -> Any:
        """Answer a request."""
        match asked["t"]:
            case "end":
                self.end.set()
            case "goodbyes":
                return self.goodbyes
            case "seen":
                return self.seen
        return asked.get("d")


def said(type_: str, data: Any = None, **more: Any) -> bytes:
    """Return the frame of one message."""
    message = {"label": "rtvi-ai", "type": type_, "data": data, **more}
    return frame(BINARY, encode_message(json.dumps(message)))


async def become_ready(peer: RawPeer) -> None:
    """Answer the client's introduction."""
    introduction = await peer.frame()
    assert introduction is not None
    about = {"version": "2.2.0", "about": {"library": "raw"}}
    id_ = json.loads(str(decode(introduction.payload, at=0)))["id"]
    await peer.send(said("bot-ready", about, id=id_))


async def be_good(peer: RawPeer, book: Book) -> None:
    """Answer what is asked, send sound back, and say goodbye."""
    await become_ready(peer)
    while (came := await peer.frame()) is not None:
        if came.opcode == CLOSE:
            await peer.send(frame(CLOSE, came.payload))
            book.goodbyes += close_code(came) == 1000
            return
        item = decode(came.payload, at=0) if came.opcode == BINARY else None
        if not isinstance(item, str):
            await peer.send(frame(BINARY, came.payload))
            continue
        message = json.loads(item)
        if message["type"] == "client-message":
            data = message["data"]
            answer = {"t": data["t"], "d": book.answer(data)}
            await peer.send(said("server-response", answer, id=message["id"]))


async def flood_events(peer: RawPeer, end: trio.Event) -> Any:
    """Send events, and in the end more than a reader keeps."""
    await peer.send(b"".join(said("server-message", number) for number in range(50)))
    await end.wait()
    await peer.send(b"".join(said("server-message", number) for number in range(1000)))
    return await peer.good_close()


async def flood_for_ever(peer: RawPeer, end: trio.Event) -> Any:
    """Send events until the other side leaves."""
    async with trio.open_nursery() as nursery:

        async def flood() -> None:
            burst = b"".join(said("server-message", number) for number in range(1000))
            while True:
                await peer.send(burst)

        nursery.start_soon(flood)
        code = close_code((await peer.until_close())[-1])
        nursery.cancel_scope.cancel()
    return code


async def send_byte_by_byte(peer: RawPeer, end: trio.Event) -> Any:
    """Send each byte in a packet of its own, and hang up in the middle of a message."""
    message = said("server-message", "slowly")
    while not end.is_set():
        for at in range(len(message)):
            await peer.send(message[at : at + 1])
            await trio.sleep(0.001)
    await peer.send(message[:-1])


async def read_nothing(peer: RawPeer, end: trio.Event) -> Any:
    """Read nothing any more."""
    await trio.sleep_forever()


async def send_the_largest(peer: RawPeer, end: trio.Event) -> Any:
    """Send a message that is just as large as it may be."""
    size = LIMIT - len(encode_message(json.dumps(_message("x" * 2**23)))) + 2**23
    whole = frame(BINARY, encode_message(json.dumps(_message("x" * size))))
    assert LIMIT + 10 == len(whole)
    await peer.send(whole[: LIMIT // 2])
    await end.wait()
    await peer.send(whole[LIMIT // 2 :])
    return await peer.good_close()


def _message(data: Any) -> dict[str, Any]:
    return {"label": "rtvi-ai", "type": "server-message", "data": data}


async def send_too_much(peer: RawPeer, end: trio.Event) -> Any:
    """Send a message that is a byte too large, in two fragments."""
    await peer.send(frame(BINARY, bytes(LIMIT // 2), fin=False))
    await end.wait()
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await peer.send(frame(0, bytes(LIMIT // 2 + 1)))

        nursery.start_soon(send)
        code = close_code((await peer.until_close())[-1])
        nursery.cancel_scope.cancel()
    return code


async def send_garbage(peer: RawPeer, end: trio.Event) -> Any:
    """Send messages that are none, and in the end a frame that is none."""
    while not end.is_set():
        await peer.send(b"".join(frame(BINARY, bytes([255, n]) * n) for n in range(1, 100)))
        await trio.sleep(0.01)
    await peer.send(frame(0x7, b"?"))
    return [close_code(one) for one in await peer.frames() if one.opcode == CLOSE]


async def reset_in_mid_frame(peer: RawPeer, end: trio.Event) -> Any:
    """Reset the connection in the middle of a frame."""
    await peer.send(said("server-message", "x" * 100)[:50])
    await end.wait()
    peer.reset()


async def flood_pings(peer: RawPeer, end: trio.Event) -> Any:
    """Send pings, at last as fast as they go, and read no answers."""
    pings = frame(PING, bytes(125)) * 100
    while not end.is_set():
        await peer.send(pings)
        await trio.sleep(0.01)
    with suppress(trio.BrokenResourceError):
        while True:
            await peer.send(pings)


async def send_endless_fragments(peer: RawPeer, end: trio.Event) -> Any:
    """Send a message a byte at a time, at last as fast as they go."""
    await peer.send(frame(BINARY, b"", fin=False))
    pieces = frame(0, b"x", fin=False) * 100
    while not end.is_set():
        await peer.send(pieces)
        await trio.sleep(0.05)
    with suppress(trio.BrokenResourceError):
        while True:
            await peer.send(pieces)


async def send_empty_fragments(peer: RawPeer, end: trio.Event) -> Any:
    """Send very many fragments of nothing, and hang up."""
    await peer.send(frame(BINARY, b"", fin=False))
    with suppress(trio.BrokenResourceError):
        for _ in range(500):
            await peer.send(frame(0, fin=False) * 100)
        await peer.stream.send_eof()
    return [close_code(one) for one in await peer.frames() if one.opcode == CLOSE]


async def answer_late(peer: RawPeer, end: trio.Event) -> Any:
    """Send pings until many answers wait, then read them all at once, as fast as it goes."""
    ping = frame(PING, bytes(30))
    for _ in range(60):
        await peer.send(ping * 1000)
    await peer.send(said("server-message", "sent"))
    await end.wait()
    peer._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**22)
    left, data = 60 * 1000 * len(masked_frame(PONG, bytes(30))), bytes(peer._buffer)
    while left > len(data):
        left -= len(data)
        data = await peer.stream.receive_some(2**20)
    peer._buffer[:] = data[left:]
    return await peer.good_close()


SCRIPTS: Final = (
    flood_events,
    flood_for_ever,
    send_byte_by_byte,
    read_nothing,
    send_the_largest,
    send_too_much,
    send_garbage,
    reset_in_mid_frame,
    flood_pings,
    send_endless_fragments,
    send_empty_fragments,
    answer_late,
)
_BY_NAME: Final = {script.__name__: script for script in SCRIPTS}


async def serve(context: ssl.SSLContext) -> None:
    """Serve bots and villains; print the ports, without TLS and with it."""
    book = Book()

    async def talk(peer: RawPeer) -> None:
        name = (await peer.accept()).target.removeprefix("/")
        if name not in _BY_NAME:
            await be_good(peer, book)
            return
        await become_ready(peer)
        book.end = trio.Event()
        book.seen.clear()
        book.seen.append(await _BY_NAME[name](peer, book.end))

    async def handle(stream: trio.SocketStream, *, tls: bool) -> None:
        talk_on: trio.abc.Stream = stream
        if tls:
            talk_on = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        try:
            await talk(RawPeer(talk_on, stream.socket))
        except (AssertionError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            book.seen.append(repr(error))
        finally:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        ports = []
        for tls in (False, True):
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=512)
            ports.append(listener.socket.getsockname()[1])
            nursery.start_soon(trio.serve_listeners, partial(handle, tls=tls), [listener])
        print(*ports, flush=True)


# -- the client's side -----------------------------------------------------------------------------


class Bots(NamedTuple):
    """Where they are."""

    port: int
    tls_port: int
    context: ssl.SSLContext

    def at(self, script: Callable[..., Any] | None = None, *, tls: bool = False) -> dict[str, Any]:
        """Return where a script runs, or a bot that is good."""
        name = "good" if script is None else script.__name__
        scheme, port = ("wss", self.tls_port) if tls else ("ws", self.port)
        return {"ws_url": f"{scheme}://127.0.0.1:{port}/{name}", "ssl_context": self.context}


@contextmanager
def running_bots(folder: Path) -> Iterator[Bots]:
    """Run the server in a process of its own."""
    authority = trustme.CA()
    certificate = folder / "bots.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    command = [sys.executable, __file__, "serve", str(certificate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port, tls_port = map(int, process.stdout.readline().split())
            yield Bots(port, tls_port, context)
        finally:
            process.kill()


class LongestTurn(trio.abc.Instrument):
    """Measures what the longest turn of the scheduler takes, of the thread's CPU time."""

    def __init__(self) -> None:
        self.seconds, self.name = 0.0, ""
        self._began = float("inf")  # one is under way when this is added

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task goes on."""
        self._began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """It waits again."""
        seconds = time.thread_time() - self._began
        if seconds > self.seconds:
            self.seconds, self.name = seconds, task.name


class Neighbours:
    """Healthy sessions that talk all the time. Made by `neighbours`."""

    def __init__(self, bots: Bots, number: int) -> None:
        self.bots = bots
        self.answered = [0] * number
        self.sessions: list[tp.Session] = []
        self.ready = 0
        #: How many others have come and left in order meanwhile.
        self.others = 0
        #: When each was answered: for a benchmark, which gives a list.
        self.late: list[float] | None = None
        self.rest = REST
        self._leaving = trio.Event()

    async def talk(self, number: int) -> None:
        """Be one of them: ask, speak, and hear what was asked and spoken."""
        async with tp.open_session(**self.bots.at(), connect_timeout=BOUND) as session:
            await session.wait_ready()
            self.sessions.append(session)
            self.ready += 1
            hearing = aiter(session.audio)
            while not self._leaving.is_set():
                due = trio.current_time() + self.rest
                with trio.move_on_at(due):
                    await self._leaving.wait()
                await session.send_audio(SOUND, sample_rate=16_000)
                assert number == await session.request("question", number)
                assert SOUND == (await anext(hearing)).pcm
                self.answered[number] += 1
                if self.late is not None:
                    self.late.append(trio.current_time() - due)
        assert ("client", 1000) == (session.end.reason, session.end.code)

    async def are_answered(self, times: int = ANSWERS) -> None:
        """Wait until every one was answered so many times more."""
        aim = [answered + times for answered in self.answered]
        while any(answered < goal for answered, goal in zip(self.answered, aim, strict=True)):
            await trio.sleep(0.02)

    async def ask(self, question: str) -> Any:
        """Have one of them ask the server something."""
        return await self.sessions[0].request(question)

    def leave(self) -> None:
        """Have all of them leave."""
        self._leaving.set()


@asynccontextmanager
async def neighbours(bots: Bots, number: int = NEIGHBOURS) -> AsyncGenerator[Neighbours]:
    """Have healthy sessions while the block lasts; all of them go on to its end, and leave well."""
    everybody = Neighbours(bots, number)
    with nothing_left(), trio.fail_after(BOUND):
        async with trio.open_nursery() as nursery:
            for one in range(number):
                nursery.start_soon(everybody.talk, one)
            while everybody.ready < number:
                await trio.sleep(0.02)
            before = await everybody.ask("goodbyes")
            yield everybody
            await everybody.are_answered()
            everybody.leave()
        # One more, which is asked how the others have left.
        async with tp.open_session(**bots.at()) as session:
            await session.wait_ready()
            assert before + number + everybody.others == await session.request("goodbyes")


@pytest.fixture(scope="module")
def bots(tmp_path_factory):
    """The server's process."""
    with running_bots(tmp_path_factory.mktemp("bots")) as running:
        yield running


async def wait(session: tp.Session) -> None:
    """Do nothing with a session."""
    await trio.sleep_forever()


async def read_one(session: tp.Session) -> None:
    """Read one event, and then no more of them."""
    async for _ in session:
        await trio.sleep_forever()


async def read_all(session: tp.Session) -> None:
    """Read every event."""
    async for _ in session:
        pass


async def send_much(session: tp.Session) -> None:
    """Send more than anybody takes."""
    while True:
        await session.send_text("x" * 2**19)


async def read_the_largest(session: tp.Session) -> None:
    """Read a message that is as large as it may be, and leave."""
    message = await session.wait_event(tp.ServerMessage)
    assert LIMIT - 100 < len(message.data) < LIMIT


class Villain(NamedTuple):
    """A script, what the client does meanwhile, and what comes of it: on both sides."""

    script: Callable[..., Awaitable[Any]]
    body: Callable[[tp.Session], Awaitable[None]]
    error: type[tp.PipecatError] | None
    code: int
    words: str
    seen: Any
    options: dict[str, Any] = {}  # noqa: RUF012  # nobody changes it


LOST: Final = tp.ConnectionLostError
FAST_KEEPALIVE: Final = {"ping_interval": 1, "ping_timeout": 2}
VILLAINS: Final = {
    "its own user does not read": Villain(
        flood_events,
        read_one,
        tp.SlowReaderError,
        1000,
        "too many unread events (over 500) in the session's own stream",
        1000,
        {"event_buffer": 500},
    ),
    "sends one byte at a time": Villain(send_byte_by_byte, read_all, LOST, 1006, "it broke", None),
    "never reads": Villain(
        read_nothing, send_much, LOST, 1006, "no answer to a ping", ..., FAST_KEEPALIVE
    ),
    "sends 16 MiB": Villain(send_the_largest, read_the_largest, None, 1000, "", 1000),
    "sends over 16 MiB": Villain(
        send_too_much, wait, LOST, 1009, f"a message of over {LIMIT} bytes came", 1009
    ),
    "sends garbage": Villain(send_garbage, read_all, LOST, 1002, "", [1002]),
    "resets in mid-frame": Villain(reset_in_mid_frame, wait, LOST, 1006, "it broke", None),
    "asks, and does not read": Villain(
        flood_pings, wait, LOST, 1006, "the peer asks, and does not read the answers", None
    ),
    "sends endless fragments": Villain(
        send_endless_fragments,
        wait,
        LOST,
        1009,
        "a message of over 20000 bytes came",
        None,
        {"max_receive_size": 20_000},
    ),
}


async def suffer(villain: Villain, begun: trio.Event, **more: Any) -> tp.Session:
    """Have one session with a villain, and return it: it ended as it should."""
    raised = None
    try:
        async with tp.open_session(**villain.options, **more) as session:
            await session.wait_ready()
            begun.set()
            await villain.body(session)
    except tp.PipecatError as error:
        raised = error
    assert villain.error is (None if raised is None else type(raised)), repr(raised)
    assert villain.code == session.end.code, session.end
    assert villain.words in str(raised or "")
    assert session.end.error is raised
    return session


async def meet(villain: Villain, bots: Bots, *, tls: bool) -> None:
    """Have neighbours and one villain: only that one ends, and nobody waits for it."""
    turns = LongestTurn()
    async with neighbours(bots) as everybody:
        trio.lowlevel.add_instrument(turns)
        async with trio.open_nursery() as nursery:
            begun = trio.Event()
            nursery.start_soon(partial(suffer, villain, begun, **bots.at(villain.script, tls=tls)))
            await begun.wait()
            await everybody.are_answered()
            await everybody.ask("end")
        trio.lowlevel.remove_instrument(turns)
        # What the server's side of it saw is written down a little later.
        if villain.seen is not ...:
            while not (seen := await everybody.ask("seen")):
                await trio.sleep(0.02)
            assert [villain.seen] == seen
    assert turns.seconds < LONGEST_TURN, f"{turns.name} had a turn of {turns.seconds:.2f} s of CPU"


@pytest.mark.parametrize("name", VILLAINS)
async def test_one_peer_that_does_its_worst(bots, name):
    """Its session ends with its named error, and its neighbours are answered all the while."""
    await meet(VILLAINS[name], bots, tls=False)


@pytest.mark.parametrize(
    "name", ["sends over 16 MiB", "resets in mid-frame", "asks, and does not read"]
)
async def test_one_peer_that_does_its_worst_with_tls(bots, name):
    """TLS makes no difference."""
    await meet(VILLAINS[name], bots, tls=True)


# -- links, which nobody has to read -------------------------------------------------------------


@asynccontextmanager
async def linked(bots: Bots, script: Callable[..., Any], **options: Any) -> AsyncGenerator[Any]:
    """Open a link to a villain who takes us for ready."""
    params = tp.ConnectParams(transport="websocket", ws_url=bots.at(script)["ws_url"])
    async with find_connector("websocket")(params, LinkOptions(**options)) as link:
        await link.send_message('{"id": "client-ready-1"}')
        yield link


async def test_a_link_that_nobody_reads(bots):
    """It keeps a little, leaves the rest to the network, and can still be left in order."""
    async with neighbours(bots) as everybody:
        async with linked(bots, flood_for_ever) as link:
            await everybody.are_answered()
            assert len(link._inbox) < 100
            assert link.end is None
        assert ("client", 1000) == (link.end.first, link.end.code)
        while not (seen := await everybody.ask("seen")):
            await trio.sleep(0.02)
        assert [1000] == seen


async def test_answers_that_are_read_late(bots):
    """Many small answers that all go out at once keep nobody waiting."""
    turns = LongestTurn()
    async with neighbours(bots) as everybody:
        async with linked(bots, answer_late, grace=BOUND) as link:
            assert "bot-ready" in await link.receive()
            assert "sent" in await link.receive()
            assert link._carrier.unsent > 2**20
            trio.lowlevel.add_instrument(turns)
            await everybody.ask("end")
        trio.lowlevel.remove_instrument(turns)
        assert ("client", 1000) == (link.end.first, link.end.code)
    assert turns.seconds < LONGEST_TURN, f"{turns.name} had a turn of {turns.seconds:.2f} s of CPU"


async def test_fragments_of_nothing(bots):
    """A message that never grows is none: the link ends before its peer gives up."""
    async with neighbours(bots) as everybody:
        async with linked(bots, send_empty_fragments, max_receive_size=20_000) as link:
            assert "bot-ready" in await link.receive()
            with pytest.raises(trio.EndOfChannel):
                await link.receive()
        while not (seen := await everybody.ask("seen")):
            await trio.sleep(0.02)
        assert "client" == link.end.first
        assert [[link.end.code]] == seen
        assert 1000 != link.end.code


# -- no descriptors -----------------------------------------------------------------------------


def first_free() -> int:
    """Return the first descriptor that is free."""
    first = os.dup(0)
    os.close(first)
    return first


async def crowd(port: int) -> None:
    """Have all descriptors used by sessions; one more fails, and none of the others."""
    bots = Bots(port, 0, ssl.create_default_context())
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with neighbours(bots) as everybody:
        free = first_free()
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, most))
        for _ in range(3):
            with pytest.raises(tp.TransportStartError, match="Too many open files") as caught:
                async with tp.open_session(**bots.at()):
                    await trio.sleep_forever()
            assert "connect" == caught.value.stage
        await everybody.are_answered()
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, most))
        async with tp.open_session(**bots.at()) as session:
            await session.wait_ready()
            assert "again" == await session.request("question", "again")
        everybody.others += 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))


async def nobody_else(port: int) -> None:
    """Have no descriptor for the first session's engine."""
    bots = Bots(port, 0, ssl.create_default_context())
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    find_connector("websocket")  # it is imported late, which takes a descriptor
    with nothing_left():
        resource.setrlimit(resource.RLIMIT_NOFILE, (first_free(), most))
        with pytest.raises(tp.TransportStartError, match="Too many open files") as caught:
            async with tp.open_session(**bots.at()):
                await trio.sleep_forever()
        assert "connect" == caught.value.stage
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))
        async with tp.open_session(**bots.at()) as session:
            await session.wait_ready()


@pytest.mark.parametrize("who", [crowd, nobody_else])
def test_no_descriptor_is_left(bots, who):
    """Who comes then is told, the others go on, and who comes later is let in."""
    command = [sys.executable, __file__, who.__name__, str(bots.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND, check=False)
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(sys.argv[2])
        with suppress(KeyboardInterrupt):
            trio.run(serve, tls)
    else:
        trio.run({"crowd": crowd, "nobody_else": nobody_else}[sys.argv[1]], int(sys.argv[2]))
