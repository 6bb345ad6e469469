"""A network in memory: what TCP does where a program can tell, on a clock that jumps."""

import socket
import ssl
from functools import partial

import pytest
import trio
from trio.testing import MockClock, check_half_closeable_stream, wait_all_tasks_blocked

import trio_pipecat as tp
from trio_pipecat.testing import SimulatedBot, serve_bot, virtual_network


async def _pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    client = await trio.open_tcp_stream("127.0.0.1", port)
    assert isinstance(client, trio.SocketStream)
    server = await listener.accept()
    await listener.aclose()
    return client, server


async def test_its_streams_are_streams() -> None:
    """By trio's own kit."""

    with virtual_network() as network:
        await check_half_closeable_stream(_pair, None)
        assert 0 == network.open_sockets


async def test_bytes_arrive_in_order_and_then_the_end() -> None:
    """However much is sent, the sender waits for the reader."""
    data = bytes(range(256)) * 1024
    got = bytearray()
    with virtual_network():
        client, server = await _pair()

        async def send() -> None:
            await client.send_all(data)
            await client.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            while part := await server.receive_some(1000):
                got += part
        await server.aclose()
    assert data == bytes(got)


async def test_nobody_there_refuses() -> None:
    """And a name that nobody has can't be resolved."""
    with virtual_network(hosts={"bot.example": "10.0.0.2"}) as network:
        with pytest.raises(OSError, match=r"10\.0\.0\.2|all attempts"):
            await trio.open_tcp_stream("bot.example", 80)
        with pytest.raises(socket.gaierror):
            await trio.open_tcp_stream("nobody.example", 80)
        listeners = await trio.open_tcp_listeners(80, host="10.0.0.2")
        with pytest.raises(OSError, match="in use"):
            await trio.open_tcp_listeners(80, host="10.0.0.2")
        stream = await trio.open_tcp_stream("bot.example", 80)
        await stream.aclose()
        for listener in listeners:
            await listener.aclose()
        assert 0 == network.open_sockets


async def test_closing_with_something_unread_resets() -> None:
    """As TCP does; the other side's next word is told."""
    with virtual_network():
        client, server = await _pair()
        await client.send_all(b"never read")
        await server.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await client.send_all(b"x")
        await client.aclose()


async def test_a_cut_breaks_both_ends() -> None:
    """And wakes whoever waits."""
    with virtual_network() as network:
        client, server = await _pair()

        async def expect_broken(stream: trio.SocketStream) -> None:
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
            await stream.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_broken, client)
            nursery.start_soon(expect_broken, server)
            await wait_all_tasks_blocked()
            network.cut()


async def test_frozen_nothing_arrives(autojump_clock: MockClock) -> None:
    """Neither bytes nor the end nor a connection; thawed, all of it."""
    with virtual_network() as network:
        client, server = await _pair()
        network.freeze()
        await client.send_all(b"late")
        await client.aclose()
        with trio.move_on_after(60) as waited:
            await server.receive_some()
        assert waited.cancelled_caught
        with trio.move_on_after(60) as waited:
            await trio.open_tcp_stream("127.0.0.1", 9)
        assert waited.cancelled_caught
        assert "frozen" in repr(network)

        async def thaw() -> None:
            await trio.sleep(1)
            network.thaw()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(thaw)
            assert b"late" == await server.receive_some()
        assert b"" == await server.receive_some()
        await server.aclose()


async def test_a_closed_socket_wakes_who_waits() -> None:
    """With `trio.ClosedResourceError`, as a real one."""
    with virtual_network():
        client, server = await _pair()

        async def expect_closed() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await client.receive_some()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_closed)
            await wait_all_tasks_blocked()
            await client.aclose()
        await server.aclose()


async def test_afterwards_there_are_real_sockets_again() -> None:
    """And before, in another run."""
    with virtual_network():
        pass
    sock = trio.socket.socket()
    assert sock.fileno() > 2
    sock.close()


async def test_a_whole_session_takes_no_time(
    autojump_clock: MockClock, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """HTTP start, TLS, upgrade, an hour of pings, and the goodbye."""
    with virtual_network() as network:
        async with (
            serve_bot(SimulatedBot(), host="127.0.0.1", ssl_context=server_tls) as served,
            tp.open_session(served.start_url, ssl_context=client_tls) as session,
        ):
            await session.wait_ready()
            await trio.sleep(3600)
            assert {"pong": 1} == await session.request("ping", 1)
        assert 1000 == served.bot.conversations[0].end.code
        assert 0 == network.open_sockets
    assert 3600 <= trio.current_time() < 3610


async def test_a_slow_network(autojump_clock: MockClock) -> None:
    """Connections take their time."""
    with virtual_network(latency=2):
        async with serve_bot() as served, tp.open_session(served.start_url) as session:
            await session.wait_ready()
            assert 4 <= trio.current_time() < 4.1


async def test_what_was_sent_before_a_reset_arrives_first() -> None:
    """And the first word to one who has closed is taken; the next is told."""
    with virtual_network():
        client, server = await _pair()
        await client.send_all(b"never read")
        await server.send_all(b"bye")
        await server.aclose()
        assert b"bye" == await client.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()
        await client.aclose()

        client, server = await _pair()
        await server.send_all(b"bye")
        await server.aclose()
        await client.send_all(b"into the void")
        assert b"bye" == await client.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await client.send_all(b"x")
        await client.aclose()


async def test_frozen_nobody_is_told(autojump_clock: MockClock) -> None:
    """Of a close, of a reset; and a connection on its way does not arrive."""
    with virtual_network(latency=2) as network:
        (listener,) = await trio.open_tcp_listeners(80, host="127.0.0.1")
        client = await trio.open_tcp_stream("127.0.0.1", 80)
        server = await listener.accept()
        await client.send_all(b"never read")
        network.freeze()
        await server.aclose()
        await client.send_all(b"x")
        for wait in (client.receive_some, partial(trio.open_tcp_stream, "127.0.0.1", 80)):
            with trio.move_on_after(60) as waited:
                await wait()
            assert waited.cancelled_caught
        network.thaw()
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()
        await client.aclose()
        await listener.aclose()


async def test_addresses() -> None:
    """Names in any case, ports that are free, everywhere and somewhere; other families are real."""
    with virtual_network(hosts={"Bot.Example": "10.0.0.2"}):
        taken = await trio.open_tcp_listeners(49152, host="10.0.0.2")
        free = await trio.open_tcp_listeners(0, host="10.0.0.2")
        assert 49152 != free[0].socket.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            await trio.open_tcp_listeners(49152, host="0.0.0.0")
        stream = await trio.open_tcp_stream("BOT.example", 49152)
        await stream.aclose()
        for listener in (*taken, *free):
            await listener.aclose()
        with trio.socket.socket(socket.AF_UNIX) as sock:
            assert sock.fileno() > 2
