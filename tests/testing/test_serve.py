"""A simulated bot on a real port, met as a browser, a scanner and an enemy would meet it."""

import base64
import json
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trustme
from trio.testing import MockClock

import trio_pipecat as tp
from trio_pipecat.testing import ServedBot, SimulatedBot, Voice, serve_bot, virtual_network
from trio_pipecat.transports import LinkEnd, LinkOptions
from trio_pipecat.transports._websocket import WebSocketTransport, open_websocket

pytestmark = pytest.mark.socket


async def talk(served: ServedBot, request: bytes, *, eof: bool = True) -> bytes:
    """Send bytes, and return everything that comes back."""
    stream = await trio.open_tcp_stream(served.host, served.port)
    async with stream:
        await stream.send_all(request)
        if eof:
            await stream.send_eof()
        return b"".join([bytes(chunk) async for chunk in stream])


async def ask(
    served: ServedBot, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, dict[str, str], Any]:
    """Make one request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: bot.test", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    answer = await talk(served, "\r\n".join(lines).encode() + body)
    head, _, content = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    parsed = dict(field.split(": ", 1) for field in fields)
    is_json = parsed.get("Content-Type") == "application/json"
    return int(status.split()[1]), parsed, json.loads(content) if is_json else content


async def test_status_tells_what_there_is() -> None:
    """As the runner does."""
    async with serve_bot() as served:
        status, _, body = await ask(served, "GET", "/status")
    assert (200, {"status": "ready", "transports": ["websocket"]}) == (status, body)


async def test_start_answers_with_the_address_it_was_asked_at() -> None:
    """Which is where the client can reach it."""
    async with serve_bot() as served:
        status, _, body = await ask(served, "POST", "/start", b'{"transport": "websocket"}')
    assert 200 == status
    assert "ws://bot.test/ws-client" == body["wsUrl"]
    assert None is body["token"]
    assert body["sessionId"]


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 200), (b"{}", 200), (b"garbage", 200), (b"[]", 500), (b'{"transport":"daily"}', 400)],
)
async def test_start_takes_what_the_runner_takes(body: bytes, status: int) -> None:
    """An unparsable body counts as empty, one that is no object as a crash."""
    async with serve_bot() as served:
        assert status == (await ask(served, "POST", "/start", body))[0]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/start", 405), ("POST", "/status", 405), ("GET", "/", 404), ("PUT", "/x", 404)],
)
async def test_other_routes_are_refused(method: str, path: str, status: int) -> None:
    """With a JSON body."""
    async with serve_bot() as served:
        got, _, body = await ask(served, method, path)
    assert status == got
    assert body["detail"]


async def test_browsers_may_come_from_elsewhere() -> None:
    """The preflight and the answer itself say so."""
    async with serve_bot() as served:
        for method in ("OPTIONS", "POST"):
            status, headers, _ = await ask(
                served,
                method,
                "/start",
                Origin="http://app.example",
                Access_Control_Request_Method="POST",
                Access_Control_Request_Headers="content-type",
            )
            assert 200 == status
            assert "http://app.example" == headers["Access-Control-Allow-Origin"]
            assert "POST" in headers["Access-Control-Allow-Methods"]
            assert "content-type" == headers["Access-Control-Allow-Headers"]


async def test_a_connection_serves_several_requests() -> None:
    """One after the other."""
    request = b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n"
    async with serve_bot() as served:
        stream = await trio.open_tcp_stream(served.host, served.port)
        async with stream:
            for _ in range(3):
                await stream.send_all(request)
                answer = b""
                while not answer.endswith(b"}"):
                    answer += await stream.receive_some()
                assert answer.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"POST /start HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n" + bytes(2**21),
        b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 100_000,
    ],
)
async def test_garbage_is_answered_or_dropped(garbage: bytes) -> None:
    """And the next one is served."""
    async with serve_bot() as served:
        try:
            answer = await talk(served, garbage)
        except trio.BrokenResourceError:
            answer = b""  # it hung up while we were still sending
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
        assert 200 == (await ask(served, "GET", "/status"))[0]


@pytest.mark.parametrize(
    "half",
    [
        b"",
        b"GET /ws-client HT",
        b"GET /ws-client HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n",
        b"GET /ws-client HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
        b"POST /start HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab",
    ],
)
async def test_half_a_request_leaves_nothing(half: bytes) -> None:
    """The next one is served, and no conversation was begun."""
    async with serve_bot() as served:
        await talk(served, half)
        assert 200 == (await ask(served, "GET", "/status"))[0]
        assert [] == served.bot.conversations


async def test_a_path_that_is_no_websocket_is_refused_like_a_bad_token() -> None:
    """403, as the runner does it."""
    async with serve_bot() as served:
        for url in (served.ws_url + "/token", served.ws_url.replace("ws-client", "ws2")):
            with pytest.raises(tp.TransportStartError) as refused:
                async with tp.open_session(url) as session:
                    await session.wait_ready()
            assert 403 == refused.value.status


async def test_tokens_open_the_door_once() -> None:
    """In each of the three places."""
    async with serve_bot(token_auth=True) as served:
        for place in ("header", "query", "path"):
            started = await tp.start_bot(served.start_url)
            async with tp.open_session(started, token_in=place) as session:
                await session.wait_ready()
            with pytest.raises(tp.TransportStartError):
                async with tp.open_session(started, token_in=place) as session:
                    await session.wait_ready()


async def test_origins_can_be_required() -> None:
    """A missing one is refused too."""
    async with serve_bot(allowed_origins=["http://App.example"]) as served:
        async with tp.open_session(served.start_url, origin="http://app.example") as session:
            await session.wait_ready()
        for origin in (None, "http://evil.example"):
            with pytest.raises(tp.TransportStartError):
                async with tp.open_session(served.start_url, origin=origin) as session:
                    await session.wait_ready()


async def test_a_bot_can_be_served_with_tls() -> None:
    """https and wss, with the addresses to match."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    async with serve_bot(ssl_context=server) as served:
        assert served.start_url.startswith("https://")
        async with tp.open_session(served.start_url, ssl_context=client) as session:
            await session.wait_ready()
            assert session.started.params.ws_url.startswith("wss://")
        assert 1000 == session.end.code
        with pytest.raises(tp.StartBotError, match="certificate"):
            await tp.start_bot(served.start_url)


async def test_a_server_that_stops_says_so() -> None:
    """1012 to those who are connected; nothing leaves the server's block."""
    async with serve_bot() as served, trio.open_nursery() as nursery:
        outcome: list[BaseException] = []

        async def stay(task_status: trio.TaskStatus[None]) -> None:
            try:
                async with tp.open_session(served.ws_url) as session:
                    await session.wait_ready()
                    task_status.started()
                    await trio.sleep_forever()
            except tp.ConnectionLostError as error:
                outcome.append(error)

        with trio.CancelScope() as scope:
            async with serve_bot(SimulatedBot()) as other:
                served = other
                await nursery.start(stay)
                scope.cancel()
                await trio.sleep_forever()
    assert [1012] == [error.end.code for error in outcome]


async def test_what_is_raised_inside_comes_out_bare() -> None:
    """No group of the server's."""
    with pytest.raises(ZeroDivisionError):
        async with serve_bot():
            raise ZeroDivisionError


async def test_a_port_that_is_taken_is_an_error() -> None:
    """The system's own."""
    async with serve_bot() as served:
        with pytest.raises(OSError, match="in use"):
            async with serve_bot(port=served.port):
                pass


async def test_a_hundred_clients_at_once() -> None:
    """Each has its own conversation."""
    async with serve_bot(SimulatedBot()) as served:

        async def call(number: int) -> None:
            async with tp.open_session(served.ws_url) as session:
                await session.wait_ready()
                assert {"pong": number} == await session.request("ping", number)

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(call, number)
    assert {1000} == {conversation.end.code for conversation in served.bot.conversations}
    assert 100 == len(served.bot.conversations)


# -- pipecat's JSON wire -------------------------------------------------------------------


@asynccontextmanager
async def linked(url: str) -> AsyncGenerator[WebSocketTransport, None]:
    """Open a link, without a session on it."""
    params = tp.ConnectParams(transport="websocket", ws_url=url)
    async with open_websocket(params, LinkOptions()) as link:
        assert isinstance(link, WebSocketTransport)
        yield link


async def say(link: WebSocketTransport, type_: str, data: Any, id_: str) -> None:
    """Send an RTVI message as a text."""
    message = {"label": "rtvi-ai", "type": type_, "id": id_, "data": data}
    await link.send_text(json.dumps(message))


async def until(link: WebSocketTransport, type_: str) -> list[dict[str, Any]]:
    """Return what comes, up to the first message of a type."""
    messages: list[dict[str, Any]] = []
    with trio.fail_after(30):
        while not messages or type_ != messages[-1]["type"]:
            text = await link.receive()
            assert isinstance(text, str)
            messages.append(json.loads(text))
    return messages


@pytest.mark.parametrize("path", ["/", "/ws", "/ws?capture_bot_audio=0"])
async def test_json_is_spoken_to_those_who_speak_it(path: str) -> None:
    """A conversation in texts; the bot's sound is not in it unless it was asked for."""
    bot = SimulatedBot(voice=Voice(word_seconds=0.02))
    async with serve_bot(bot) as served:
        url = f"ws://{served.host}:{served.port}{path}"
        async with linked(url) as link:
            await link.send_text("no JSON")
            await say(link, "client-ready", {"version": "2.2.0"}, "hello")
            (ready,) = await until(link, "bot-ready")
            assert ("hello", "2.2.0") == (ready["id"], ready["data"]["version"])
            await say(link, "send-text", {"content": "one"}, "1")
            turn = await until(link, "bot-stopped-speaking")
        (conversation,) = bot.conversations
        assert ["bot-interrupted", "user-input"] == [message["type"] for message in turn[:2]]
        assert "bot-output" in [message["type"] for message in turn]
        assert "eval-bot-audio" not in [message["type"] for message in turn]
        assert ["client-ready", "send-text"] == [c.TYPE for _, c in conversation.received]


@pytest.mark.parametrize("asked", ["in the address", "in a message"])
async def test_sound_goes_both_ways_on_the_json_wire(asked: str) -> None:
    """In messages: the user's is heard, the bot's is sent to who asks for it."""
    pcm = bytes(range(256)) * 5
    async with serve_bot(SimulatedBot()) as served:
        url = served.json_url + "?capture_bot_audio=1" * (asked == "in the address")
        async with linked(url) as link:
            if asked == "in a message":
                data = {"t": "eval-connect", "d": {"capture_bot_audio": True}}
                await say(link, "client-message", data, "eval-connect")
            await say(link, "client-ready", {"version": "2.2.0"}, "hello")
            await until(link, "bot-ready")
            encoded = base64.b64encode(pcm).decode()
            sound = {"base64Audio": encoded, "sampleRate": 16_000, "numChannels": 1}
            await say(link, "raw-audio", sound, "1")
            (echo,) = await until(link, "eval-bot-audio")
        assert {"audio": encoded, "sampleRate": 16_000} == echo["data"]
        (conversation,) = served.bot.conversations
        assert 0.04 == conversation.heard_seconds
        assert ["client-ready"] == [command.TYPE for _, command in conversation.received]


async def test_the_json_wire_is_guarded_too() -> None:
    """No token, no conversation."""
    async with serve_bot(token_auth=True) as served:
        with pytest.raises(tp.TransportStartError) as refused:
            async with tp.open_session(served.json_url) as session:
                await session.wait_ready()
        assert 403 == refused.value.status
        token = (await tp.start_bot(served.start_url)).params.token
        async with linked(f"{served.json_url}/{token}") as link:
            await say(link, "client-ready", {"version": "2.2.0"}, "hello")
            await until(link, "bot-ready")


async def test_a_text_on_the_protobuf_wire_ends_the_session() -> None:
    """With 1000, as on pipecat's server."""
    async with serve_bot(SimulatedBot()) as served:
        async with linked(served.ws_url) as link:
            await say(link, "client-ready", {"version": "2.2.0"}, "hello")
            with trio.fail_after(30), pytest.raises(trio.EndOfChannel):
                await link.receive()
        assert LinkEnd(code=1000, first="bot") == link.end
        assert [] == served.bot.conversations[0].received


async def test_a_bot_of_ones_own_that_raises_says_no_goodbye(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Anything with a `converse` may be served; what it raises is logged, and the link is cut."""

    class Bot:
        async def converse(self, link: Any) -> None:
            await link.receive()
            raise RuntimeError("my own")

    with virtual_network(), pytest.raises(tp.ConnectionLostError) as lost:
        async with serve_bot(Bot()) as served, tp.open_session(served.ws_url) as session:
            await session.wait_ready()
    assert 1006 == lost.value.end.code
    assert "my own" in caplog.text
