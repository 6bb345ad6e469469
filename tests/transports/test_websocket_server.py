"""The bot's WebSocket, against our own client and clients that misbehave, on real sockets."""

import traceback
from functools import partial

import pytest
import trio
from links import chain_of, connect, receive_all
from raw_server import (
    BINARY,
    CLOSE,
    PING,
    close_frame,
    masked_frame,
    serve_raw,
)
from trio.testing import assert_checkpoints

from trio_pipecat import InternalError, ProtocolError, UnsupportedFeatureError
from trio_pipecat.audio import AudioChunk
from trio_pipecat.transports import Interruption, LinkEnd, LinkOptions, Undecodable
from trio_pipecat.transports._envelope import encode_message
from trio_pipecat.transports._websocket_server import accept_websocket
from trio_pipecat.transports._wires import JsonWire

pytestmark = pytest.mark.socket

CHUNK = AudioChunk(b"\x01\x02" * 480, 24_000, 1)


@pytest.fixture(params=["plain", "tls"])
def tls(request, server_tls, client_tls):
    """Settings of both sides, without TLS and with it."""
    return (server_tls, client_tls) if request.param == "tls" else (None, None)


def bot_at(converse, wire=None, **options):
    """Return a script that is the server of a WebSocket of ours."""

    async def script(peer):
        async with accept_websocket(peer.stream, LinkOptions(**options), wire) as link:
            result = await converse(link)
        return result, link.end

    return script


UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class Client:
    """A client that does what a test says, byte by byte."""

    def __init__(self, stream):
        self.stream = stream
        self.seen = b""

    @classmethod
    async def dial(cls, server):
        """Connect, and ask for the upgrade."""
        client = cls(await trio.open_tcp_stream("127.0.0.1", server.port))
        await client.stream.send_all(UPGRADE)
        await client.until(b"\r\n\r\n")
        return client

    async def until(self, end):
        """Read until there is this."""
        while end not in self.seen:
            piece = await self.stream.receive_some()
            assert piece, f"hung up after {self.seen!r}"
            self.seen += piece

    async def say(self, opcode, payload=b""):
        """Send a frame."""
        await self.stream.send_all(masked_frame(opcode, payload))

    async def hang_up(self):
        """Be gone without a word."""
        await trio.aclose_forcefully(self.stream)


async def waits(link):
    """A conversation that waits for the client to end it."""
    return await receive_all(link)


async def test_server_side(tls):
    """A bot's side of a WebSocket receives and sends as a client's does."""
    server_context, client_context = tls

    async def converse(link):
        await link.send_message("hello")
        return await receive_all(link)

    script = bot_at(converse)
    async with serve_raw(script, ssl_context=server_context) as server:
        async with connect(server.url, ssl_context=client_context) as link:
            assert "hello" == await link.receive()
            await link.send_message("hi")
            await link.send_interruption()
        received, end = await server.view()
    assert ["hi", Interruption()] == received
    assert LinkEnd(code=1000, first="client") == end == link.end


async def test_bot_that_hangs_up():
    """A bot that leaves its block says goodbye."""

    async def converse(link):
        await link.send_message("bye")
        assert "<ServedWebSocket of the bot: open>" == repr(link)

    async with serve_raw(bot_at(converse)) as server:
        async with connect(server.url) as link:
            assert ["bye"] == await receive_all(link)
        _, end = await server.view()
    assert LinkEnd(code=1000, first="bot") == end == link.end


async def test_bot_that_is_stopped():
    """A bot that is cancelled says so, as uvicorn does, and the client sees who was first."""

    async def converse(link):
        scopes[0].cancel()
        await trio.sleep_forever()

    async def script(peer):
        with trio.CancelScope() as scope:
            scopes.append(scope)
            await bot_at(converse)(peer)
        return scope.cancelled_caught

    scopes = []
    async with serve_raw(script) as server:
        async with connect(server.url) as link:
            assert [] == await receive_all(link)
        assert await server.view()
    assert LinkEnd(code=1012, first="bot") == link.end


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"GET /ws HTTP/1.1\r\n",
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"GET /ws HTTP/1.1\r\nHost: here\r\n\r\n",
        b"POST /ws HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: \xe4\r\n\r\n",
    ],
)
async def test_client_that_asks_for_something_else(request_):
    """A client that goes away, or does not ask for a WebSocket, is no client of ours."""

    async def script(peer):
        with pytest.raises(ProtocolError) as caught:
            await bot_at(receive_all)(peer)
        assert not [e for e in chain_of(caught.value) if isinstance(e, InternalError)]
        return str(caught.value)

    async with serve_raw(script) as server:
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with stream:
            await stream.send_all(request_)
            await stream.send_eof()
            assert "the client went away during the upgrade" == await server.view()


class Faulty(trio.abc.Stream):
    """A stream that fails, after some time, as no stream may."""

    def __init__(self, stream):
        self._stream = stream
        self._reads = 0

    async def receive_some(self, max_bytes=None):
        data = await self._stream.receive_some(max_bytes)
        self._reads += 1
        if self._reads > 1:
            raise RuntimeError("as no stream may")
        return data

    async def send_all(self, data):
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self):
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self):
        await self._stream.aclose()


async def test_reader_that_fails_for_no_known_reason():
    """A failure of the reader that is not known to happen is a bug of ours, and is told."""

    async def script(peer):
        with pytest.raises(InternalError) as caught:
            async with accept_websocket(Faulty(peer.stream), LinkOptions(grace=0.1)) as link:
                await receive_all(link)
                await trio.sleep_forever()
        return traceback.format_exception(caught.value)

    async with serve_raw(script) as server:
        async with connect(server.url, grace=0.1) as link:
            await link.send_message("fail")
            await receive_all(link)
        assert any("as no stream may" in line for line in await server.view())


async def test_what_crosses_the_bots_goodbye():
    """A ping of the client that crosses the bot's goodbye does no harm."""

    async def converse(link):
        await trio.lowlevel.checkpoint()

    async with serve_raw(bot_at(converse, grace=20)) as server:
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            await stream.send_all(UPGRADE)
            seen = b""
            while not seen.endswith(close_frame(1000)):
                seen += await stream.receive_some()
            await stream.send_all(masked_frame(PING, b"?") + masked_frame(CLOSE, b"\x03\xe8"))
        _, end = await server.view()
    assert LinkEnd(code=1000, first="bot") == end


# -- what is said ------------------------------------------------------------------------------


async def test_every_kind_of_item():
    """Messages, audio and interruptions go both ways; a text message is garbage to a bot."""

    async def converse(link):
        await link.send_message("hé")
        await link.send_audio(CHUNK)
        await link.send_interruption()
        await link.send_bytes(b"\xff\xff")
        await link.send_text("{}")
        return [await link.receive() for _ in range(4)]

    async with serve_raw(bot_at(converse)) as server:
        async with connect(server.url) as link:
            await link.send_message("hé")
            await link.send_audio(CHUNK)
            await link.send_interruption()
            await link.send_text("{}")
            *items, garbage, text = await receive_all(link)
        received, _ = await server.view()
    assert ["hé", CHUNK, Interruption()] == items
    assert isinstance(garbage, Undecodable)
    assert "{}" == text
    assert ["hé", CHUNK, Interruption(), Undecodable("a text message", raw=b"{}")] == received


async def test_another_wire():
    """What is spoken may be JSON, which has no interruption, and sound for who asks for it."""

    async def converse(link):
        with assert_checkpoints():
            await link.send_audio(CHUNK)
        with pytest.raises(UnsupportedFeatureError):
            await link.send_interruption()
        await link.send_message("{}")
        return await link.receive()

    async with serve_raw(bot_at(converse, JsonWire())) as server:
        async with connect(server.url) as link:
            await link.send_text('{"a":1}')
            assert ["{}"] == await receive_all(link)
        assert '{"a":1}' == (await server.view())[0]


async def test_every_call_is_a_checkpoint():
    """Sending and receiving are checkpoints."""

    async def converse(link):
        await trio.sleep(0.05)
        with assert_checkpoints():
            await link.receive()
        for call in (
            partial(link.send_message, "hi"),
            partial(link.send_audio, CHUNK),
            link.send_interruption,
            link.aclose,
            link.aclose,
        ):
            with assert_checkpoints():
                await call()

    async with serve_raw(bot_at(converse)) as server:
        async with connect(server.url) as link:
            await link.send_message("hi")
            await receive_all(link)
        await server.view()


async def test_sending_after_the_end():
    """What is sent on a link that has ended is refused."""

    async def converse(link):
        assert [] == await receive_all(link)
        for call in (partial(link.send_message, "hi"), partial(link.send_audio, CHUNK)):
            with pytest.raises(trio.BrokenResourceError):
                await call()

    async with serve_raw(bot_at(converse)) as server:
        async with connect(server.url):
            pass
        await server.view()


# -- how it ends ---------------------------------------------------------------------------------


async def test_a_client_that_vanishes():
    """A client that is gone without a goodbye is a broken link."""
    async with serve_raw(bot_at(waits)) as server:
        client = await Client.dial(server)
        await client.say(BINARY, encode_message("hi"))
        await client.hang_up()
        assert (["hi"], LinkEnd(code=1006, first="network")) == await server.view()


async def test_a_message_that_is_too_large():
    """A message over the limit is our reason to end the link."""
    async with serve_raw(bot_at(waits, max_receive_size=1_000)) as server:
        async with connect(server.url) as link:
            await link.send_bytes(bytes(1_001))
            assert [] == await receive_all(link)
        received, end = await server.view()
    detail = "a message of over 1000 bytes came"
    assert ([], LinkEnd(code=1009, text=end.text, first="bot", detail=detail)) == (received, end)
    assert (1009, "bot") == (link.end.code, link.end.first)


async def test_a_goodbye_with_a_reason():
    """A bot's goodbye may have another code, and a text."""

    async def converse(link):
        await link.aclose(4000, "had enough")
        await link.aclose(1011)
        return repr(link)

    async with serve_raw(bot_at(converse)) as server:
        async with connect(server.url) as link:
            assert [] == await receive_all(link)
        shown, end = await server.view()
    assert LinkEnd(code=4000, text="had enough", first="bot") == end == link.end
    assert "code=4000" in shown


async def test_a_client_that_does_not_answer_a_goodbye():
    """It has the grace, and no more; the reader is told when that is over."""
    read = []

    async def converse(link):
        async with trio.open_nursery() as nursery:

            async def reader():
                read.append(await receive_all(link))

            nursery.start_soon(reader)
            with trio.move_on_after(0.1):
                await link.aclose(1001)

    async with serve_raw(bot_at(converse)) as server:
        client = await Client.dial(server)
        await client.until(close_frame(1001))
        _, end = await server.view()
        await client.hang_up()
    assert (1001, "bot") == (end.code, end.first)
    assert [[]] == read


async def test_two_tasks_say_goodbye():
    """The second one waits for the first one's, and may cut it short."""

    async def converse(link):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.aclose)
            await trio.sleep(0.05)
            with trio.move_on_after(0.05) as deadline:
                await link.aclose()
            assert deadline.cancelled_caught

    async with serve_raw(bot_at(converse, grace=30)) as server:
        client = await Client.dial(server)
        await client.until(close_frame(1000))
        await server.view()
        await client.hang_up()


async def test_abort():
    """Aborting closes without a goodbye, and says why."""

    async def converse(link):
        await link.abort("enough")
        return await receive_all(link)

    async with serve_raw(bot_at(converse)) as server:
        async with connect(server.url) as link:
            assert [] == await receive_all(link)
        received, end = await server.view()
    assert ([], 1006, "enough") == (received, end.code, end.detail)
    assert LinkEnd(code=1006, first="network") == link.end


async def test_a_frozen_bot():
    """It stays, and says nothing, not even goodbye."""

    async def converse(link):
        await link.receive()
        link.freeze()
        await link.send_message("never")
        await frozen.wait()

    frozen = trio.Event()
    async with serve_raw(bot_at(converse)) as server:
        async with connect(server.url, grace=0.1) as link:
            await link.send_message("freeze")
            with trio.move_on_after(0.1) as waited:
                await link.receive()
            assert waited.cancelled_caught
        frozen.set()
        await server.view()
    assert LinkEnd(code=1000, first="client") == link.end


# -- keepalive -----------------------------------------------------------------------------------


async def test_a_client_that_answers_is_kept():
    """However often it is asked."""

    async def converse(link):
        await trio.sleep(0.2)

    async with serve_raw(bot_at(converse, ping_interval=0.02, ping_timeout=20)) as server:
        async with connect(server.url) as link:
            assert [] == await receive_all(link)
        assert LinkEnd(code=1000, first="bot") == link.end
        await server.view()


async def test_a_client_that_does_not_answer_is_given_up():
    """With the reason for it."""
    async with serve_raw(bot_at(waits, ping_interval=0.02, ping_timeout=0.1)) as server:
        client = await Client.dial(server)
        received, end = await server.view()
        await client.hang_up()
    assert ([], 1006, "no answer to a ping within 0.1 s") == (received, end.code, end.detail)


async def test_keepalive_of_a_link_that_has_ended():
    """A ping that nobody answers because the link has ended does not change how it ended."""

    async def converse(link):
        received = await receive_all(link)
        await trio.sleep(0.2)
        return received

    async with serve_raw(bot_at(converse, ping_interval=0.05, ping_timeout=0.05)) as server:
        client = await Client.dial(server)
        await client.say(CLOSE, b"\x03\xe8")
        assert ([], LinkEnd(code=1000, first="client")) == await server.view()
        await client.hang_up()
