"""The opening of a WebSocket, and what becomes of it when nobody wants it any more."""

import select
import socket
import ssl
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio
from carrier_rules import Listener, say_nothing
from links import connect, receive_all
from raw_server import (
    BINARY,
    CLOSE,
    PING,
    RawPeer,
    close_code,
    frame,
    nothing_left,
    serve_raw,
)
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from trio_pipecat import ConnectParams, TransportStartError
from trio_pipecat.transports import LinkEnd, LinkOptions
from trio_pipecat.transports._carrier import Carrier, StreamCarrier, TlsCarrier
from trio_pipecat.transports._dial import Line, dial
from trio_pipecat.transports._engine import SocketCarrier, leave_engine, use_engine
from trio_pipecat.transports._envelope import encode_message
from trio_pipecat.transports._tls_pipe import TlsPipe
from trio_pipecat.transports._upgrade import upgrade_request
from trio_pipecat.transports._websocket_server import accept_websocket

pytestmark = pytest.mark.socket

HELLO = frame(BINARY, encode_message("hello"))
#: So many steps an opening takes at most, with TLS, as `_cancel_later` counts them.
STEPS = 16


@pytest.fixture(params=["plain", "tls"])
def tls(
    request: pytest.FixtureRequest, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    """Settings of both sides, without TLS and with it."""
    return (server_tls, client_tls) if request.param == "tls" else (None, None)


async def dial_to(url: str, **options: Any) -> tuple[Carrier, bytes]:
    """Open a connection as a link does; whoever gets it closes it."""
    settings = LinkOptions(**options)
    request = upgrade_request(ConnectParams(transport="websocket", ws_url=url), settings)
    engine = use_engine()
    try:
        carrier, said = await dial(request, settings, engine)
        async with carrier.carrying(Listener(), say_nothing, 1):
            pass
    finally:
        await leave_engine(engine)
    return carrier, said


async def dial_until(event: trio.Event, url: str, **options: Any) -> None:
    """Open a connection, and be cancelled when this happens."""
    async with trio.open_nursery() as nursery:

        async def give_up() -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(give_up)
        await dial_to(url, **options)
        raise AssertionError("the connection is open")


def consent_to(token: bytes) -> bytes:
    """Return the answer to a request."""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + token + b"\r\n\r\n"
    )


# -- no connection to be had -------------------------------------------------------------------


class Nowhere(trio.abc.HostnameResolver):
    """A resolver that finds nothing."""

    async def getaddrinfo(self, *what: Any, **how: Any) -> Any:
        await trio.lowlevel.checkpoint()
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def getnameinfo(self, *what: Any) -> Any:
        raise NotImplementedError


async def test_a_host_without_an_address() -> None:
    """It is told by its name."""
    trio.socket.set_custom_hostname_resolver(Nowhere())
    with nothing_left(), pytest.raises(TransportStartError) as refused:
        await dial_to("ws://nowhere.invalid/")
    detail = "'nowhere.invalid' can't be resolved: Name or service not known"
    assert ("resolve", detail) == (refused.value.stage, refused.value.detail)


async def test_a_port_where_nobody_listens() -> None:
    """The system says so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with nothing_left(), pytest.raises(TransportStartError) as refused:
        await dial_to(f"ws://127.0.0.1:{port}/")
    detail = f"127.0.0.1:{port}: Connection refused"
    assert ("connect", detail) == (refused.value.stage, refused.value.detail)


@pytest.mark.parametrize("how", ["hangs up", "resets", "talks"])
async def test_a_server_that_takes_no_part_in_tls(client_tls: ssl.SSLContext, how: str) -> None:
    """Whatever it does instead."""

    async def script(peer: RawPeer) -> None:
        await peer.stream.receive_some()
        if how == "resets":
            peer.reset()
        elif how == "talks":
            await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serve_raw(script) as server:
        with pytest.raises(TransportStartError) as refused:
            await dial_to(server.url.replace("ws://", "wss://"), ssl_context=client_tls)
    assert "tls" == refused.value.stage


# -- a connection that is open ---------------------------------------------------------------


async def test_what_was_said_already_comes_with_it(tls: Any) -> None:
    """In the same packet as the consent: the frames are not looked at here."""
    server_context, client_context = tls

    async def script(peer: RawPeer) -> None:
        await peer.accept(and_send=HELLO + HELLO[:3])
        await peer.frames()

    async with serve_raw(script, ssl_context=server_context) as server:
        stages: list[str] = []
        carrier, said = await dial_to(
            server.url, ssl_context=client_context, on_stage=stages.append
        )
        assert HELLO + HELLO[:3] == said
        assert (TlsCarrier if any(tls) else SocketCarrier) is type(carrier)
        assert "upgrade" == stages[-1]


async def converse(peer: RawPeer) -> int | None:
    """Say hello, read up to the goodbye, answer it, and return its code."""
    await peer.accept(and_send=HELLO)
    return await peer.good_close()


async def test_where_there_is_no_epoll(tls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream carries each connection."""
    monkeypatch.delattr(select, "epoll")
    server_context, client_context = tls
    async with serve_raw(converse, ssl_context=server_context) as server:
        async with connect(server.url, ssl_context=client_context) as link:
            assert "hello" == await link.receive()
            await link.send_message("hi")
        assert 1000 == await server.view()
    assert LinkEnd(code=1000, first="client") == link.end


class NoSocket(trio.socket.SocketType):
    """What trio takes for a socket, and is none of the system's."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self._sock = sock

    def __getattribute__(self, name: str) -> Any:
        if name in ("_sock", "detach", "__class__"):
            return object.__getattribute__(self, name)
        return getattr(self._sock, name)

    def detach(self) -> int:
        raise NotImplementedError


class NoSockets(trio.abc.SocketFactory):
    """Makes those."""

    def socket(self, *what: Any) -> trio.socket.SocketType:
        return NoSocket(trio.socket.from_stdlib_socket(socket.socket(*what)))


async def test_what_is_no_socket_of_the_systems(tls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can't be watched, so a stream carries it: with a network that a test has made up."""
    server_context, client_context = tls
    async with serve_raw(lambda peer: peer.accept(), ssl_context=server_context) as server:
        trio.socket.set_custom_socket_factory(NoSockets())
        carrier, _ = await dial_to(server.url, ssl_context=client_context)
        assert (TlsCarrier if any(tls) else StreamCarrier) is type(carrier)
        trio.socket.set_custom_socket_factory(None)


async def test_such_a_link_works() -> None:
    """To its goodbye."""
    async with serve_raw(converse) as server:
        trio.socket.set_custom_socket_factory(NoSockets())
        async with connect(server.url) as link:
            assert "hello" == await link.receive()
        assert 1000 == await server.view()


# -- a consent that comes too late -----------------------------------------------------------


@pytest.mark.parametrize("halves", [False, True])
async def test_a_server_that_agrees_late_gets_a_goodbye(tls: Any, halves: bool) -> None:
    """Though nobody wants it any more: it has a bot waiting, who wants to hear."""
    server_context, client_context = tls
    asked = trio.Event()

    async def script(peer: RawPeer) -> int | None:
        consent = consent_to((await peer.request()).accept_token())
        if halves:
            await peer.send(consent[:30])
            await trio.sleep(0.02)
        asked.set()
        await trio.sleep(0.02)
        await peer.send(consent[30:] if halves else consent)
        return await peer.good_close()

    async with serve_raw(script, ssl_context=server_context) as server:
        await dial_until(asked, server.url, ssl_context=client_context)
        assert 1000 == await server.view()


async def test_what_such_a_server_says_is_not_listened_to() -> None:
    """Until it has answered, or hung up."""
    asked = trio.Event()

    async def script(peer: RawPeer) -> int | None:
        token = (await peer.request()).accept_token()
        asked.set()
        await trio.sleep(0.02)
        await peer.send(consent_to(token) + HELLO + frame(PING, b"?") + HELLO[:2])
        closing = await peer.until_close()
        assert [CLOSE] == [each.opcode for each in closing]
        await peer.send(HELLO[2:] + HELLO)
        return close_code(closing[0])

    async with serve_raw(script) as server:
        await dial_until(asked, server.url)
        assert 1000 == await server.view()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Odd\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"",
    ],
)
async def test_a_server_that_refuses_late_gets_no_goodbye(answer: bytes) -> None:
    """There is nobody who would want to hear it, and no error any more."""
    asked = trio.Event()

    async def script(peer: RawPeer) -> bytes:
        await peer.request()
        asked.set()
        await trio.sleep(0.02)
        if not answer:
            await peer.stream.send_eof()  # type: ignore[attr-defined]
        else:
            await peer.send(answer)
        return bytes(await peer.stream.receive_some())

    async with serve_raw(script) as server:
        await dial_until(asked, server.url)
        assert b"" == await server.view()


async def test_a_server_that_never_answers_is_not_waited_for() -> None:
    """Half a second at most, and no more than the grace."""
    asked = trio.Event()

    async def script(peer: RawPeer) -> bytes:
        await peer.request()
        asked.set()
        return bytes(await peer.stream.receive_some())

    async with serve_raw(script) as server:
        started = trio.current_time()
        await dial_until(asked, server.url, grace=0)
        assert b"" == await server.view()
        assert trio.current_time() - started < 10


async def test_a_server_that_does_not_answer_the_goodbye_has_the_grace() -> None:
    """And no more."""
    asked = trio.Event()

    async def script(peer: RawPeer) -> list[int | None]:
        token = (await peer.request()).accept_token()
        asked.set()
        await trio.sleep(0.02)
        await peer.send(consent_to(token))
        return [close_code(each) for each in await peer.frames()]

    async with serve_raw(script) as server:
        started = trio.current_time()
        await dial_until(asked, server.url, grace=0.4)
        assert 0.3 < trio.current_time() - started < 10
        assert [1000] == await server.view()


@pytest.mark.parametrize("steps", range(STEPS))
async def test_whoever_is_cancelled_at_any_step_says_goodbye_to_who_has_agreed(
    tls: Any, steps: int
) -> None:
    """A bot's server that was asked never sees its client vanish."""
    server_context, client_context = tls
    ends: list[LinkEnd | None] = []
    connected, hung_up = trio.Event(), trio.Event()

    async def script(peer: RawPeer) -> None:
        connected.set()
        try:
            with suppress(Exception):
                async with accept_websocket(peer.stream, LinkOptions(grace=5)) as link:
                    await receive_all(link)
                    ends.append(link.end)
        finally:
            hung_up.set()

    async with serve_raw(script, ssl_context=server_context) as server:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_later, scope, steps)
                async with connect(server.url, ssl_context=client_context):
                    await trio.sleep_forever()
        await wait_all_tasks_blocked(0.01)
        if connected.is_set():
            await hung_up.wait()
    assert ends in ([], [LinkEnd(code=1000, first="client")])


async def _cancel_later(scope: trio.CancelScope, steps: int) -> None:
    """Cancel a scope after so many steps, some of them long enough for something to come."""
    for step in range(steps):
        await trio.sleep(0.001 if step % 2 else 0)
    scope.cancel()


async def test_ctrl_c_closes_without_a_goodbye() -> None:
    """It is bare, and waits for nothing."""

    class Interrupted(Exception):  # stands for it: pytest would stop at the real one
        pass

    def interrupt(stage: str, hint: str = "") -> None:
        if stage == "upgrade":
            raise Interrupted

    async with serve_raw(lambda peer: peer.stream.receive_some()) as server:
        with pytest.raises(Interrupted):
            await dial_to(server.url, on_stage=interrupt)
        assert b"" == await server.view()


# -- the line ----------------------------------------------------------------------------


def line_pair() -> tuple[Line, Any]:
    """Return a line, and the other end of it."""
    ours, peer = memory_stream_pair()
    return Line(ours), peer  # type: ignore[arg-type]


async def test_a_line_says_what_came() -> None:
    """And nothing when it is over."""
    line, peer = line_pair()
    await peer.send_all(b"hello")
    assert b"hello" == await line.receive()
    await peer.aclose()
    assert b"" == await line.receive()


async def test_a_line_that_is_broken_is_over() -> None:
    """Whoever listens is told; whoever talks finds out when listening."""
    line, peer = line_pair()
    await peer.aclose()
    await line.send(b"hello")
    assert b"" == await line.receive()


class TlsServer:
    """A server's end of TLS, which says exactly what a test wants, in the packets it wants."""

    def __init__(self, context: ssl.SSLContext, stream: Any) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._stream = stream

    async def shake_hands(self, *, and_say: bytes = b"") -> None:
        """Shake hands, and say something in the same packet as the last of that."""
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self.flush()
                self._incoming.write(await self._stream.receive_some())
        if and_say:
            self.tls.write(and_say)
        await self.flush()

    async def flush(self) -> None:
        """Send what there is."""
        if data := self._outgoing.read():
            await self._stream.send_all(data)


async def tls_pair(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, *, and_say: bytes = b""
) -> tuple[Line, TlsServer, Any]:
    """Return a line with TLS, its server, and the stream below that."""
    line, peer = line_pair()
    server = TlsServer(server_tls, peer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(server.shake_hands, and_say=and_say))
        await line.start_tls(TlsPipe(client_tls, "bot.example"))
    return line, server, peer


async def test_a_line_with_tls(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    """However its records come; those in which nothing is said are not the end."""
    line, server, _ = await tls_pair(server_tls, client_tls)
    server.tls.write(b"hello ")
    server.tls.write(b"world")
    await server.flush()
    assert b"hello world" == await line.receive()
    with pytest.raises(ssl.SSLWantReadError):
        server.tls.unwrap()
    await server.flush()
    assert b"" == await line.receive()


@pytest.mark.parametrize("end", [b"\xff" * 100, b"\x17\x03\x03\x00\x20" + bytes(32), b""])
async def test_a_line_whose_tls_breaks_is_over(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, end: bytes
) -> None:
    """Without a word."""
    line, _, peer = await tls_pair(server_tls, client_tls)
    if end:
        await peer.send_all(end)
    else:
        await peer.aclose()
    assert b"" == await line.receive()


async def test_what_a_server_says_at_once_is_heard(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """Before it was asked anything, in the same packet as the last of the handshake."""
    server_tls.maximum_version = ssl.TLSVersion.TLSv1_2  # where the server has the last word
    line, _, peer = await tls_pair(server_tls, client_tls, and_say=b"too many connections")
    await peer.aclose()
    assert b"too many connections" == await line.receive()


async def test_a_server_that_hangs_up_during_the_handshake(client_tls: ssl.SSLContext) -> None:
    """It does not take part."""
    line, peer = line_pair()
    await peer.send_eof()
    with pytest.raises(ssl.SSLError):
        await line.start_tls(TlsPipe(client_tls, "bot.example"))
