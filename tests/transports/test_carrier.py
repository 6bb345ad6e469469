"""What carries a link's bytes over a stream, and TLS on top of any carrier."""

import select
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trustme
from carrier_rules import (
    RULES,
    Carried,
    Farewell,
    Listener,
    Maker,
    open_stream,
    read,
    read_all,
    say_nothing,
)
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from trio_pipecat.transports._carrier import READ_SIZE, Carrier, StreamCarrier, TlsCarrier
from trio_pipecat.transports._engine import SocketCarrier, leave_engine, use_engine
from trio_pipecat.transports._tls_pipe import TlsPipe

HOST = "bot.example"


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The TLS settings of a server, and of a client that trusts it."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


#: Sockets are watched only where the kernel tells what is possible on them.
WATCHED = pytest.mark.skipif(not hasattr(select, "epoll"), reason="there is no epoll here")


@pytest.fixture(params=["stream", pytest.param("socket", marks=WATCHED)])
def open_tls(
    request: pytest.FixtureRequest, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> Maker:
    """Return a maker of TLS, on a carrier of each kind."""
    server, client = contexts

    @asynccontextmanager
    async def open_carried(
        farewell: Farewell = say_nothing, grace: float = 3, listener: Listener | None = None
    ) -> AsyncGenerator[Carried, None]:
        engine = use_engine()
        try:
            ours, theirs = socket.socketpair()
            peer = trio.SSLStream(
                trio.SocketStream(trio.socket.from_stdlib_socket(theirs)),
                server,
                server_side=True,
                https_compatible=True,
            )
            ours.setblocking(False)
            carrier: Carrier
            if request.param == "stream":
                stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
                carrier = StreamCarrier(stream)
            else:
                carrier = SocketCarrier(engine, ours)
            pipe = TlsPipe(client, HOST)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.do_handshake)
                while not pipe.shake_hands():
                    await _exchange(ours, pipe)
                ours.send(pipe.to_send())
            encrypted, listener = TlsCarrier(carrier, pipe), listener or Listener()

            async def stop_reading() -> None:
                theirs_again = peer.transport_stream.socket
                theirs_again.shutdown(socket.SHUT_RD)

            try:
                async with encrypted.carrying(listener, farewell, grace):
                    yield Carried(encrypted, listener, peer, stop_reading)
            finally:
                await trio.aclose_forcefully(peer)
        finally:
            await leave_engine(engine)

    return open_carried


async def _exchange(sock: socket.socket, pipe: TlsPipe) -> None:
    """Send what the pipe has to say, and feed it what comes."""
    sock.send(pipe.to_send())
    await trio.lowlevel.wait_readable(sock)
    pipe.feed(sock.recv(READ_SIZE))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
async def test_a_stream_keeps_the_rules(
    autojump_clock: MockClock, rule: Callable[[Maker], Awaitable[None]]
) -> None:
    """What every carrier promises, with a stream below."""
    await rule(open_stream)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
async def test_tls_keeps_the_rules(
    autojump_clock: MockClock, open_tls: Maker, rule: Callable[[Maker], Awaitable[None]]
) -> None:
    """What every carrier promises, with TLS on top."""
    await rule(open_tls)


class Counting(trio.abc.Stream):
    """A stream that counts what is written at a time."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.writes: list[int] = []
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(len(data))
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        raise AssertionError("a carrier does not ask")

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


async def test_what_piles_up_goes_out_in_one_write() -> None:
    """What is written while something else goes out costs no write of its own."""
    ours, peer = memory_stream_pair()
    stream = Counting(ours)
    carrier = StreamCarrier(stream)
    async with carrier.carrying(Listener(), say_nothing, 3):
        for _ in range(100):
            carrier.write(b"x")
        assert 100 == len(await read(peer, 100))
    assert [100] == stream.writes


async def test_a_stream_that_was_closed_is_over() -> None:
    """Whoever has closed it."""
    ours, _ = memory_stream_pair()
    carrier, listener = StreamCarrier(ours), Listener()
    async with carrier.carrying(listener, say_nothing, 3):
        await wait_all_tasks_blocked()
        await trio.aclose_forcefully(ours)
        await listener.wait_for("end")
        carrier.write(b"x")
        await listener.wait_for("room")
        assert carrier.is_broken


async def test_tls_goodbye(open_tls: Maker) -> None:
    """A peer that says that nothing more comes is told as over, though it stays."""
    async with open_tls() as carried:
        assert isinstance(carried.peer, trio.SSLStream)
        await carried.peer.send_all(b"last words")
        await carried.listener.wait_for_size(10)
        with pytest.raises(ssl.SSLWantReadError):  # the answer to it is not waited for
            carried.peer._ssl_object.unwrap()
        await carried.peer.transport_stream.send_all(carried.peer._outgoing.read())
        await carried.listener.wait_for("end")
        assert b"last words" == carried.listener.heard
        carried.carrier.write(b"into the void")
        assert [] == carried.listener.failures


async def test_tls_garbage(open_tls: Maker) -> None:
    """What is no TLS closes the connection, after what came before it."""
    async with open_tls() as carried:
        assert isinstance(carried.peer, trio.SSLStream)
        await carried.peer.send_all(b"before")
        await carried.peer.transport_stream.send_all(b"\xff" * 100)
        await carried.listener.wait_for("end")
        assert b"before" == carried.listener.heard
        assert carried.carrier.is_broken
        carried.carrier.write(b"never")
        assert carried.carrier.is_broken
        assert [] == carried.listener.failures
        assert b"" == await read_all(carried.peer.transport_stream)
