"""Whatever a network or a server does, a session says it: one named error, or one event.

Each row is a whole session over real sockets. It checks what is raised and what is said, in which
state it ended, that no secret is in it, that nothing is left behind and that it all has an end.
"""

import json
import re
import ssl
import traceback
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio
import trustme
from http_server import HOST, LoopbackNames, answering, hanging_up, sending, serve_http, silent
from raw_server import BINARY, BOUND, CLOSE, TEXT, close_frame, frame, nothing_left, serve_raw

import trio_pipecat as tp
from trio_pipecat.transports._envelope import decode, encode_message

pytestmark = pytest.mark.socket

SECRET = "s3cret-w0rd"
Target = AbstractAsyncContextManager[dict[str, Any]]


async def failure(target: Target, **options: Any) -> tuple[tp.PipecatError, tp.Session]:
    """Return what a session at `target` raises, and the session, whose secret nobody has seen."""
    with trio.fail_after(BOUND):
        async with target as keywords:
            with pytest.raises(tp.PipecatError) as caught:
                async with tp.open_session(**{"token": SECRET, **keywords, **options}) as session:
                    await session.wait_ready()
                    await trio.sleep_forever()
    error = caught.value
    assert session.end.error is error
    assert tp.State.DISCONNECTED is session.state
    shown = "".join(traceback.format_exception(error)) + repr(error) + str(session.end)
    assert SECRET not in shown + repr(session) + repr(session.end)
    assert "\n" not in str(error)
    return error, session


# -- before there is a link ------------------------------------------------------------------


@asynccontextmanager
async def endpoint(handler: Any) -> AsyncGenerator[dict[str, Any]]:
    """A start endpoint."""
    async with serve_http(handler) as server:
        yield {"endpoint": server.url()}
        await server.wait_idle()


NO_ADDRESS = "no address"
ANSWERS = {
    "400": (answering(400, {"detail": "no such agent"}), "HTTP 400: no such agent"),
    "403": (answering(403, "go away"), "HTTP 403: go away"),
    "404": (answering(404, {"detail": "Not Found"}), "HTTP 404: Not Found"),
    "404, a page": (answering(404, "<html>\n<h1>Not\nhere</h1>"), "HTTP 404: "),
    "422": (
        answering(422, {"detail": [{"loc": ["body", "transport"], "msg": "Field required"}]}),
        "HTTP 422: .*transport.*Field required",
    ),
    "429": (answering(429, "slow down", {"Retry-After": "7"}), "HTTP 429: .*retry after 7 s"),
    "500": (answering(500, b"\xff\x00"), "HTTP 500: "),
    "503, nothing": (answering(503), "HTTP 503"),
    "no JSON": (answering(200, "hello"), "JSON"),
    "half of JSON": (answering(200, '{"wsUrl": "ws://'), "JSON"),
    "null": (answering(200, None), "null"),
    "a list": (answering(200, []), "object"),
    "nothing usable": (answering(200, {"ok": True}), "address"),
    "an address of something else": (answering(200, {"wsUrl": "ftp://x"}), "ftp"),
    "elsewhere": (answering(307, b"", {"Location": "http://bot.example/start"}), "origin"),
    "no HTTP": (sending(b"220 smtp.example ESMTP\r\n"), "not started"),
    "no answer": (hanging_up, "not started"),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_a_bot_that_is_not_started(name: str) -> None:
    """`StartBotError`, in state authenticating, with the server's words."""
    handler, words = ANSWERS[name]
    error, session = await failure(endpoint(handler))
    assert isinstance(error, tp.StartBotError)
    assert re.search(words, str(error)), str(error)
    assert ("startup_failed", tp.State.AUTHENTICATING) == (
        session.end.reason,
        session.end.last_state,
    )


async def test_a_server_that_repeats_what_it_was_sent() -> None:
    """Its words, without ours."""

    async def echo(exchange: Any) -> None:
        await exchange.answer(500, f"not for {exchange.request.header('authorization')}")

    error, _ = await failure(
        endpoint(echo), token=None, headers={"Authorization": f"Bearer {SECRET}"}
    )
    assert re.search(r"HTTP 500: not for .*\*\*\*", str(error)), str(error)


async def test_a_start_that_is_never_answered() -> None:
    """Its deadline is `start_timeout`."""
    error, session = await failure(endpoint(silent), start_timeout=0.2)
    assert isinstance(error, tp.StartBotError)
    assert "0.2 s" in str(error)
    assert tp.State.AUTHENTICATING is session.end.last_state


@asynccontextmanager
async def at(scheme: str, host: str, port: int) -> AsyncGenerator[dict[str, Any]]:
    """An address, both as a start endpoint and as a bot."""
    trio.socket.set_custom_hostname_resolver(LoopbackNames("localhost"))
    key = "endpoint" if scheme.startswith("http") else "ws_url"
    yield {key: f"{scheme}://{host}:{port}/x", "allow_insecure_token": True}


@pytest.mark.parametrize("scheme", ["http", "https", "ws", "wss"])
@pytest.mark.parametrize(
    ("host", "words"), [(HOST, "refused"), ("nowhere.example", "nowhere.example.*resolved|known")]
)
async def test_nobody_is_there(scheme: str, host: str, words: str) -> None:
    """A refused port, and a name that leads nowhere: the error of the stage says which."""
    with nothing_left():
        error, session = await failure(at(scheme, host, 1))
    assert re.search(words, str(error)), str(error)
    kind, state = {
        "h": (tp.StartBotError, tp.State.AUTHENTICATING),
        "w": (tp.TransportStartError, tp.State.CONNECTING),
    }[scheme[0]]
    assert (kind, state) == (type(error), session.end.last_state)


@asynccontextmanager
async def a_stranger(scheme: str) -> AsyncGenerator[dict[str, Any]]:
    """A server whose certificate nobody has signed that we know."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert(HOST).configure_cert(context)
    async with serve_http(answering(200, {}), ssl_context=context) as server:
        async with at(scheme, HOST, server.port) as keywords:
            yield keywords
        await server.wait_idle()


@pytest.mark.parametrize("scheme", ["https", "wss"])
async def test_a_certificate_of_nobody(scheme: str) -> None:
    """Nothing of ours is sent there."""
    error, _ = await failure(a_stranger(scheme))
    assert isinstance(error, tp.StartBotError | tp.TransportStartError)
    assert "certificate refused" in str(error)


# -- the link -----------------------------------------------------------------------------------


@asynccontextmanager
async def raw(script: Any) -> AsyncGenerator[dict[str, Any]]:
    """A server that runs `script` on every connection, and is left with nothing open."""
    async with serve_raw(script) as server:
        yield {"ws_url": server.url}


def refusing(status: int, body: str) -> Any:
    async def script(peer: Any) -> None:
        await peer.request()
        head = f"HTTP/1.1 {status} No\r\nContent-Length: {len(body)}\r\n\r\n"
        await peer.send((head + body).encode())
        await peer.frames()

    return script


async def saying_nothing(peer: Any) -> None:
    """Take the request, and never answer."""
    await peer.request()
    await peer.frames()


async def of_something_else(peer: Any) -> None:
    """Speak another protocol."""
    await peer.request()
    await peer.send(b"* OK IMAP4rev1 ready\r\n")
    await peer.frames()


LINKS = {
    "403": (refusing(403, ""), "upgrade.*HTTP 403.*token"),
    "404": (refusing(404, "Not Found"), "upgrade.*HTTP 404: Not Found"),
    "500, an echo": (refusing(500, f"no {SECRET}"), r"upgrade.*HTTP 500: no \*\*\*"),
    "something else": (of_something_else, "upgrade.*IMAP"),
    "silence": (saying_nothing, "upgrade.*0.2 s"),
}


@pytest.mark.parametrize("name", LINKS)
async def test_a_link_that_does_not_open(name: str) -> None:
    """`TransportStartError`, with the stage of it."""
    script, words = LINKS[name]
    options = {"connect_timeout": 0.2} if name == "silence" else {}
    error, session = await failure(raw(script), **options)
    assert isinstance(error, tp.TransportStartError)
    assert re.search(words, str(error)), str(error)
    assert ("startup_failed", tp.State.CONNECTING) == (session.end.reason, session.end.last_state)


# -- the conversation ---------------------------------------------------------------------------


def said(type_: str, data: Any = None, **more: Any) -> bytes:
    """Return the frame of one message."""
    message = {"label": "rtvi-ai", "type": type_, "data": data, **more}
    return frame(BINARY, encode_message(json.dumps(message)))


async def accept(peer: Any) -> None:
    """Agree to the upgrade, and become ready when the client is."""
    await peer.accept()
    await hear(peer, "client-ready")
    about = {"version": "2.2.0", "about": {"library": "raw"}}
    await peer.send(said("bot-ready", about, id="client-ready-1"))


async def hear(peer: Any, type_: str) -> dict[str, Any]:
    """Read up to a message of this type, and return it."""
    while (one := await peer.frame()) is not None:
        assert CLOSE != one.opcode, f"the client left before it sent {type_}"
        message = json.loads(decode(one.payload, at=0)) if one.opcode == BINARY else {}
        if message.get("type") == type_:
            return message
    raise AssertionError(f"the client left before it sent {type_}")


async def accepting_only(peer: Any) -> None:
    """Never become ready."""
    await peer.accept()
    await peer.good_close()


async def test_a_bot_that_never_is_ready() -> None:
    """`ReadyTimeoutError`, and the server is told goodbye."""
    error, session = await failure(raw(accepting_only), ready_timeout=0.2)
    assert isinstance(error, tp.ReadyTimeoutError)
    assert (0, None, tp.State.CONNECTED) == (error.received, error.last_message, error.stage)
    assert ("startup_failed", 1000) == (session.end.reason, session.end.code)


STRANGE: dict[str, tuple[bytes, type[tp.Event], str]] = {
    "garbage": (frame(BINARY, b"\xff" * 40), tp.MalformedMessage, ""),
    "half a message": (frame(BINARY, encode_message("{}" * 50)[:30]), tp.MalformedMessage, ""),
    "an empty frame": (frame(BINARY), tp.MalformedMessage, ""),
    "no JSON": (frame(BINARY, encode_message("{")), tp.MalformedMessage, "JSON"),
    "a list": (frame(BINARY, encode_message("[1]")), tp.MalformedMessage, "object"),
    "null": (frame(BINARY, encode_message("null")), tp.MalformedMessage, "object"),
    "a text frame of no JSON": (frame(TEXT, b"hello"), tp.MalformedMessage, "JSON"),
    "no type": (frame(BINARY, encode_message('{"label": "rtvi-ai"}')), tp.MalformedMessage, "type"),
    "data of the wrong type": (said("user-transcription", 5), tp.MalformedMessage, ""),
    "a field of the wrong type": (
        said("bot-llm-text", {"text": 5}),
        tp.MalformedMessage,
        "text",
    ),
    "an unknown type": (said("bot-dances", {"steps": 3}), tp.UnknownMessage, "bot-dances"),
    "deep JSON": (
        frame(BINARY, encode_message("[" * 100_000)),
        tp.MalformedMessage,
        "",
    ),
}


@pytest.mark.parametrize("name", STRANGE)
async def test_a_message_that_makes_no_sense(name: str) -> None:
    """One event in its place among the others, and the conversation goes on."""
    data, kind, words = STRANGE[name]

    async def script(peer: Any) -> int | None:
        await accept(peer)
        await peer.send(said("server-message", 1) + data + said("server-message", 2))
        asked = await hear(peer, "client-message")
        await peer.send(said("server-response", {"t": "ping", "d": "fine"}, id=asked["id"]))
        return await peer.good_close()

    async with serve_raw(script) as server:
        async with tp.open_session(ws_url=server.url) as session:
            with session.subscribe(tp.BotMessage) as stream:
                await session.wait_ready()
                events = [await stream.receive() for _ in range(4)]
                assert "fine" == await session.request("ping")
        assert 1000 == await server.view()
    assert [tp.BotReady, tp.ServerMessage, kind, tp.ServerMessage] == [type(e) for e in events]
    assert [1, 2] == [e.data for e in events if isinstance(e, tp.ServerMessage)]
    assert words in repr(events[2])


async def test_ten_thousand_messages_in_a_burst() -> None:
    """Every one arrives, in order; the goodbye behind them is a goodbye."""
    count = 10_000

    async def script(peer: Any) -> None:
        await accept(peer)
        burst = b"".join(said("server-message", number) for number in range(count))
        await peer.send(burst + close_frame(1000))
        await peer.frames()

    seen = []
    async with serve_raw(script) as server, tp.open_session(ws_url=server.url) as session:
        async for event in session:
            if isinstance(event, tp.ServerMessage):
                seen.append(event.data)
    assert list(range(count)) == seen
    assert ("bot", 1000) == (session.end.reason, session.end.code)


async def half_a_frame(peer: Any) -> None:
    """Stop in the middle of a frame, and hang up."""
    await accept(peer)
    await peer.send(said("server-message", "x" * 100)[:50])


async def a_reset(peer: Any) -> None:
    """Tear the connection."""
    await accept(peer)
    peer.reset()


async def text_that_is_none(peer: Any) -> None:
    """Send a text frame that is not UTF-8."""
    await accept(peer)
    await peer.send(frame(TEXT, b"\xff\xfe"))
    await peer.frames()


async def a_frame_of_the_future(peer: Any) -> None:
    """Use what was not agreed on."""
    await accept(peer)
    await peer.send(frame(0x7, b"?"))
    await peer.frames()


async def too_much(peer: Any) -> None:
    """Announce more than the limit, and send it."""
    await accept(peer)
    piece = bytes(2**20)
    await peer.send(frame(BINARY, piece, fin=False))
    try:
        for _ in range(17):
            await peer.send(frame(0, piece, fin=False))
    except trio.BrokenResourceError:
        return
    await peer.frames()


BREAKS = {
    "half a frame": (half_a_frame, 1006, "network"),
    "a reset": (a_reset, 1006, "network"),
    "text that is none": (text_that_is_none, 1007, None),
    "a reserved opcode": (a_frame_of_the_future, 1002, None),
    "over 16 MiB": (too_much, 1009, "client"),
}


@pytest.mark.parametrize("name", BREAKS)
async def test_a_link_that_breaks(name: str) -> None:
    """`ConnectionLostError`, with the code that says why."""
    script, code, first = BREAKS[name]
    error, session = await failure(raw(script))
    assert isinstance(error, tp.ConnectionLostError)
    assert ("connection_lost", tp.State.READY, code) == (
        session.end.reason,
        session.end.last_state,
        session.end.code,
    )
    assert first in (None, session.end.first)
    assert str(code) in str(error)


# -- a close in every state --------------------------------------------------------------------


async def before_the_handshake(peer: Any) -> None:
    await peer.accept(and_send=close_frame(1000))
    await peer.frames()


async def instead_of_ready(peer: Any) -> None:
    await peer.accept()
    await hear(peer, "client-ready")
    await peer.send(close_frame(1011, "no credit"))
    await peer.frames()


async def when_ready(peer: Any) -> None:
    await accept(peer)
    await peer.send(close_frame(1000))
    await peer.frames()


@pytest.mark.parametrize("script", [before_the_handshake, instead_of_ready])
async def test_a_close_before_the_bot_is_ready(script: Any) -> None:
    """Whatever its code, there was no session: whoever starts it is told."""
    error, session = await failure(raw(script))
    assert isinstance(error, tp.ConnectionLostError | tp.TransportStartError)
    assert tp.State.CONNECTED is session.end.last_state
    assert (1011 if script is instead_of_ready else 1000) == session.end.code


async def test_a_close_of_a_bot_that_was_ready() -> None:
    """No error: the bot left."""
    async with serve_raw(when_ready) as server, tp.open_session(ws_url=server.url) as session:
        await session.wait_ready()
        await trio.sleep_forever()
    assert ("bot", tp.State.READY, 1000) == (
        session.end.reason,
        session.end.last_state,
        session.end.code,
    )


@pytest.mark.parametrize("code", [1000, 1011])
async def test_closes_that_cross(code: int) -> None:
    """Both leave at once: the client was first, as it sees it, and nobody is told of an error."""

    async def script(peer: Any) -> list[int]:
        await accept(peer)
        frames = await peer.until_close()
        await peer.send(close_frame(code))
        return [one.opcode for one in frames]

    async with serve_raw(script) as server:
        async with tp.open_session(ws_url=server.url) as session:
            await session.wait_ready()
        assert CLOSE == (await server.view())[-1]
    assert "client" == session.end.reason


async def test_a_close_during_the_upgrade() -> None:
    """The connection is gone when the answer was due."""

    async def script(peer: Any) -> None:
        await peer.request()

    error, session = await failure(raw(script))
    assert isinstance(error, tp.TransportStartError)
    assert ("upgrade", tp.State.CONNECTING) == (error.stage, session.end.last_state)
