"""What bad servers and bad bots do over WebRTC: one named error, in bounded time, nothing left."""

import functools
import gc
import json
import os
import re
import socket
import threading
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias

import attrs
import httpx
import pytest
import trio
from http_server import (
    Exchange,
    Handler,
    answering,
    endless_body,
    half_an_answer,
    hanging_up,
    sending,
    serve_http,
    silent,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import trio_pipecat as tp
from trio_pipecat.testing import SimulatedBot, serve_bot

aiortc = pytest.importorskip("aiortc")
aioice = pytest.importorskip("aioice")

Json: TypeAlias = Any
SECRET = "s3cret"
SECRETS: dict[str, Any] = {
    "token": f"{SECRET}-token",
    "request_data": {"api_key": f"{SECRET}-key"},
    "headers": {"X-Api-Key": f"{SECRET}-header"},
}
#: What the opening may take, in seconds, where it has to fail at a certain step: more than what
#: comes before takes on a busy machine.
PATIENCE = 2.5
#: More than all that is bounded takes, in seconds.
BOUND = 45


def present() -> dict[str, Any]:
    """Return what there is in this process that can be left behind."""
    gc.collect()
    kinds = [type(thing) for thing in gc.get_objects()]
    objects = [aiortc.RTCPeerConnection, aiortc.RTCIceTransport, aioice.Connection]
    return {
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "threads": sorted(
            thread.name
            for thread in threading.enumerate()
            if not thread.name.startswith("Trio thread")  # which trio keeps for a while
        ),
        "files": sorted(int(name) for name in os.listdir("/proc/self/fd")),
        **{kind.__name__: kinds.count(kind) for kind in objects},
    }


def leaves_nothing(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Hold that after a test there is what was there before, and that it comes to an end."""

    @functools.wraps(test)
    async def held(*args: Any, **keywords: Any) -> None:
        before = present()
        with trio.fail_after(BOUND):
            await test(*args, **keywords)
        assert before == present()

    return held


@attrs.frozen(kw_only=True)
class Failure:
    """How a session failed. It holds no exception: those hold frames, and those what is counted."""

    kind: type[BaseException]
    stage: str | None
    status: int | None
    text: str
    reason: str


async def failure_of(
    url: str, body: Callable[[tp.Session], Awaitable[object]] | None = None, **keywords: Any
) -> Failure:
    """Open a session that fails, and return how."""
    with pytest.raises(tp.PipecatError) as raised:
        async with tp.open_session(webrtc_url=url, **{**SECRETS, **keywords}) as session:
            await session.wait_ready()
            if body is not None:
                await body(session)
    error, end = raised.value, session.end
    shown = f"{error!r} {end!r} {''.join(traceback.format_exception_only(error))}"
    seen: BaseException | None = error
    while seen is not None:
        shown += f"{seen} {seen!r}"
        seen = seen.__cause__ or seen.__context__
    assert SECRET not in shown
    assert end is not None
    assert error is end.error
    return Failure(
        kind=type(error),
        stage=getattr(error, "stage", None),
        status=getattr(error, "status", None),
        text=str(error),
        reason=end.reason,
    )


async def refusal_of(url: str, **keywords: Any) -> Failure:
    """Try to open a session where none is to be had, and return why."""
    failure = await failure_of(url, **keywords)
    assert (tp.TransportStartError, "startup_failed") == (failure.kind, failure.reason)
    return failure


Change: TypeAlias = Callable[[dict[str, Any]], Json]


def same(answer: dict[str, Any]) -> Json:
    """Change nothing."""
    return answer


def in_sdp(change: Callable[[str], str]) -> Change:
    """Change the SDP alone."""
    return lambda message: {**message, "sdp": change(message["sdp"])}


@asynccontextmanager
async def meddling(
    bot: SimulatedBot | None = None, *, answer: Change = same, offer: Change = same
) -> AsyncGenerator[str, None]:
    """Serve a bot behind a server that changes what goes to it and what comes back."""
    async with serve_bot(bot or SimulatedBot(), webrtc=True) as served:

        async def handle(exchange: Exchange) -> None:
            async with httpx.AsyncClient(trust_env=False, verify=False) as http:
                got = await http.post(served.webrtc_url, json=offer(exchange.request.json))
            changed = answer(got.json()) if got.status_code == 200 else got.json()
            await exchange.answer(got.status_code, changed)

        async with serve_http(handle) as server:
            yield server.url("/api/offer")


async def use(url: str, **keywords: Any) -> None:
    """Have a session that lives."""
    async with tp.open_session(webrtc_url=url, **keywords) as session:
        await session.wait_ready()
        assert {"pong": 1} == await session.request("ping", 1)
    assert "client" == session.end.reason


@leaves_nothing
async def test_nothing_is_left_of_what_goes_well() -> None:
    """Or the tests here would find it everywhere."""
    async with meddling() as url:
        await use(url)


# -- offers that are refused ---------------------------------------------------------------------


async def repeating(exchange: Exchange) -> None:
    """Refuse, and repeat all that was sent. A handler."""
    said = f"{exchange.request.headers} {exchange.request.target} {exchange.request.body.decode()}"
    await exchange.answer(422, said)


MISMATCH = "PC ID mismatch with existing connection"
SECOND = "Cannot create new connection with existing connection active"
MISSING = [{"type": "missing", "loc": ["body", "sdp"], "msg": "Field required"}]
REFUSALS: dict[str, tuple[Handler, int | None, str]] = {
    "an ended session": (
        answering(404, "Invalid or not-yet-ready session_id"),
        404,
        "the session has ended, or there is no such path (Invalid or not-yet-ready session_id)",
    ),
    "another connection": (answering(400, {"detail": MISMATCH}), 400, MISMATCH),
    "a second connection": (answering(400, {"detail": SECOND}), 400, SECOND),
    "validation": (answering(422, {"detail": MISSING}), 422, "body.sdp: Field required"),
    "a crash": (answering(500, "Internal Server Error"), 500, "Internal Server Error"),
    "a proxy": (
        answering(502, "<html><title>502 Bad Gateway</title></html>"),
        502,
        "502 Bad Gateway",
    ),
    "a redirect elsewhere": (
        answering(307, headers={"Location": "http://elsewhere.example/"}),
        307,
        "elsewhere.example",
    ),
    "what was sent": (repeating, 422, ""),
    "a page": (answering(200, "<html><title>Hello</title></html>"), 200, "the answer is not JSON"),
    "nothing": (answering(200, b""), 200, "the answer is empty"),
    "no content": (answering(204, b""), 204, "the answer is empty"),
    "null": (answering(200, None), 200, "no JSON object"),
    "hanging up": (hanging_up, None, ""),
    "no HTTP": (sending(b"SSH-2.0-OpenSSH_9.2\r\n"), None, ""),
    "no end": (endless_body, 200, ""),
}


@pytest.mark.parametrize("name", REFUSALS)
@leaves_nothing
async def test_an_offer_that_is_refused(name: str) -> None:
    """With the status and the server's own words, and with nothing of what we sent."""
    handler, status, words = REFUSALS[name]
    async with serve_http(handler) as server:
        refusal = await refusal_of(server.url("/api/offer"))
    assert ("offer", status) == (refusal.stage, refusal.status)
    assert words in refusal.text


@pytest.mark.parametrize("handler", [silent, half_an_answer])
@leaves_nothing
async def test_an_offer_that_is_never_answered(handler: Handler) -> None:
    """`connect_timeout` says that it is the offer."""
    async with serve_http(handler) as server:
        refusal = await refusal_of(server.url("/api/offer"), connect_timeout=1)
    assert ("offer", None) == (refusal.stage, refusal.status)
    assert "the bot's server has not answered the offer" in refusal.text


@leaves_nothing
async def test_nobody_is_there() -> None:
    """The port is closed."""
    async with serve_http(silent) as server:
        pass
    refusal = await refusal_of(server.url("/api/offer"))
    assert ("offer", None) == (refusal.stage, refusal.status)


# -- answers that are none -----------------------------------------------------------------------

ACCEPTS_NOTHING = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=msid-semantic:WMS *\r\n"


def without(beginning: str) -> Change:
    """Take lines out of the SDP."""
    return in_sdp(lambda sdp: re.sub(rf"(?m)^{re.escape(beginning)}.*\r?\n", "", sdp))


def replaced(pattern: str, by: str) -> Change:
    """Replace parts of the SDP."""
    return in_sdp(lambda sdp: re.sub(pattern, by, sdp))


ANSWERS: dict[str, Change] = {
    "a list": lambda answer: [answer],
    "a string": lambda answer: answer["sdp"],
    "an offer": lambda answer: {**answer, "type": "offer"},
    "no type": lambda answer: {"sdp": answer["sdp"], "pc_id": "x"},
    "no sdp": lambda answer: {**answer, "sdp": None},
    "a number for sdp": lambda answer: {**answer, "sdp": 7},
    "an empty sdp": lambda answer: {**answer, "sdp": ""},
    "what accepts nothing": lambda answer: {**answer, "sdp": ACCEPTS_NOTHING},
    "garbage": lambda answer: {**answer, "sdp": "\0\ud800garbage\r\n" * 100},
    "no pc_id": lambda answer: {**answer, "pc_id": None},
    "no media": without("m="),
    "no ufrag": without("a=ice-ufrag"),
    "no password": without("a=ice-pwd"),
    "no fingerprint": without("a=fingerprint"),
    "other media": replaced("m=audio", "m=video"),
    "no data": in_sdp(lambda sdp: sdp[: sdp.index("m=application")]),
    "unknown codecs": replaced("opus/48000/2", "zip/8000"),
    "over a megabyte": in_sdp(lambda sdp: sdp + "a=x:" + "x" * 2**20 + "\r\n"),
}


@pytest.mark.parametrize("name", ANSWERS)
@leaves_nothing
async def test_an_answer_that_is_none(name: str) -> None:
    """It is the offer that has failed, at once."""
    async with meddling(answer=ANSWERS[name]) as url:
        refusal = await refusal_of(url)
    assert "offer" == refusal.stage


FINGERPRINT = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32)
BLACK_HOLE = r"\g<1>192.0.2.1 9 typ host"
LATE: dict[str, tuple[Change, str, str]] = {
    "a wrong ice-pwd": (replaced("a=ice-pwd:.*", "a=ice-pwd:" + "x" * 22), "ice", "no packet"),
    "a wrong ice-ufrag": (replaced("a=ice-ufrag:.*", "a=ice-ufrag:xxxx"), "ice", "no packet"),
    "no candidate": (without("a=candidate"), "ice", "no packet of ours came to the bot and back"),
    "a black hole": (
        replaced(r"(a=candidate:\S+ 1 udp \d+ )\S+ \d+ typ \w+", BLACK_HOLE),
        "ice",
        "behind a NAT it takes ice_servers",
    ),
    "a wrong fingerprint": (replaced("a=fingerprint:sha-256.*", FINGERPRINT), "dtls", ""),
    "no fingerprint at all": (replaced("(a=fingerprint:sha-256).*", r"\1 xyz"), "dtls", ""),
}


@pytest.mark.parametrize("name", LATE)
@leaves_nothing
async def test_an_answer_that_leads_nowhere(name: str) -> None:
    """`connect_timeout`, if nothing else, says how far it came."""
    change, stage, words = LATE[name]
    # Each side finds the other by what it hears, so both are misled.
    lost = change if name == "a black hole" else same
    async with meddling(answer=change, offer=lost) as url:
        refusal = await refusal_of(url, connect_timeout=PATIENCE)
    assert stage == refusal.stage
    assert words in refusal.text


@leaves_nothing
async def test_a_large_answer() -> None:
    """A megabyte of nothing is read, and does no harm."""
    filler = "a=x:" + "x" * 1_000 + "\r\n"
    async with meddling(answer=in_sdp(lambda sdp: sdp + filler * 900)) as url:
        await use(url)


@leaves_nothing
async def test_a_bot_that_never_opens_the_data_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there, encrypted, and does not answer the channel's opening."""

    async def leave_unsaid(self: Any, stream_id: int, pp_id: int, data: bytes) -> None:
        if data[:1] != b"\2":
            await receive(self, stream_id, pp_id, data)

    from aiortc.rtcsctptransport import RTCSctpTransport

    receive = RTCSctpTransport._receive
    monkeypatch.setattr(RTCSctpTransport, "_receive", leave_unsaid)
    async with meddling() as url:
        refusal = await refusal_of(url, connect_timeout=PATIENCE)
    assert "data channel" == refusal.stage
    assert "the bot has not opened the data channel" in refusal.text


mutations = st.lists(
    st.tuples(
        st.sampled_from(["flip", "remove", "double", "swap", "cut", "insert", "upper"]),
        st.integers(0, 10_000),
        st.sampled_from(
            ["m=audio 0 UDP/TLS/RTP/SAVPF 0", "a=setup:actpass", "a=inactive", "=", "é"]
        ),
    ),
    min_size=1,
    max_size=4,
)


def mutate(sdp: str, kinds: list[tuple[str, int, str]]) -> str:
    """Return an SDP that was damaged."""
    lines = sdp.split("\r\n")
    for kind, place, text in kinds:
        at = place % len(lines)
        line = lines[at]
        match kind:
            case "flip" if line:
                column = place % len(line)
                lines[at] = line[:column] + chr(ord(line[column]) ^ 1) + line[column + 1 :]
            case "remove" if len(lines) > 1:
                del lines[at]
            case "double":
                lines.insert(at, line)
            case "swap":
                other = (place // 7) % len(lines)
                lines[at], lines[other] = lines[other], line
            case "cut":
                lines[at] = line[: len(line) // 2]
            case "insert":
                lines.insert(at, text)
            case "upper":
                lines[at] = line.upper()
    return "\r\n".join(lines)


@settings(max_examples=25)
@given(mutations)
@leaves_nothing
async def test_an_answer_that_was_damaged(kinds: list[tuple[str, int, str]]) -> None:
    """It still makes a session, or there is an error that says at which step there is none."""
    async with meddling(answer=in_sdp(lambda sdp: mutate(sdp, kinds))) as url:
        try:
            async with tp.open_session(webrtc_url=url, connect_timeout=0.7) as session:
                await session.wait_ready()
        except tp.PipecatError as error:
            kind, reason = type(error), session.end and session.end.reason
        else:
            kind, reason = None, session.end and session.end.reason
    assert (kind, reason) in {
        (None, "client"),
        (tp.TransportStartError, "startup_failed"),
        (tp.ConnectionLostError, "startup_failed"),
    }


# -- servers of ICE ------------------------------------------------------------------------------


@contextmanager
def dead_port() -> Any:
    """Have a port of UDP where everything is taken and nothing answered."""
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize("scheme", ["stun", "turn"])
@leaves_nothing
async def test_a_server_of_ice_that_is_dead(scheme: str) -> None:
    """It costs `gather_timeout`, and the session does without."""
    with dead_port() as port:
        server = {
            "urls": [f"{scheme}:127.0.0.1:{port}"],
            "username": "u",
            "credential": f"{SECRET}-credential",
        }
        async with meddling() as url:
            # The default of the library under this is five seconds, each time.
            with trio.fail_after(4.9):
                await use(url, ice_servers=[server], gather_timeout=0.3)


@leaves_nothing
async def test_a_dead_relay_and_no_other_way() -> None:
    """The error names the relay, and not its credential."""
    with dead_port() as port:
        server = {
            "urls": f"turn:127.0.0.1:{port}",
            "username": "u",
            "credential": f"{SECRET}-credential",
        }
        async with meddling(answer=without("a=candidate")) as url:
            refusal = await refusal_of(
                url, ice_servers=[server], gather_timeout=0.3, connect_timeout=PATIENCE
            )
    assert "ice" == refusal.stage
    assert "the TURN server gave no relay" in refusal.text


# -- offers for a connection that is there -------------------------------------------------------


async def renegotiate(session: tp.Session, bot: SimulatedBot) -> None:
    """Have the bot ask for another offer."""
    await session.request("ping")
    bot.conversations[-1].link.ask_to_renegotiate()


@asynccontextmanager
async def renegotiating(
    again: Callable[[Exchange], Awaitable[object]],
) -> AsyncGenerator[tuple[str, SimulatedBot, trio.Event], None]:
    """Serve a bot behind a server that takes one offer well, and the next as `again` does."""
    bot, asked = SimulatedBot(), trio.Event()
    async with serve_bot(bot, webrtc=True) as served:

        async def handle(exchange: Exchange) -> None:
            if "pc_id" in exchange.request.json:
                await again(exchange)
                asked.set()
                return
            async with httpx.AsyncClient(trust_env=False, verify=False) as http:
                got = await http.post(served.webrtc_url, json=exchange.request.json)
            await exchange.answer(200, got.json())

        async with serve_http(handle) as server:
            yield server.url("/api/offer"), bot, asked


@leaves_nothing
async def test_a_stale_pc_id() -> None:
    """A server that has forgotten us answers for another connection, which ends the session."""

    async def other(exchange: Exchange) -> None:
        await exchange.answer(200, {"type": "answer", "sdp": ANSWER, "pc_id": "another"})

    async with renegotiating(other) as (url, bot, _):

        async def body(session: tp.Session) -> None:
            await renegotiate(session, bot)
            await trio.sleep_forever()

        failure = await failure_of(url, body)
    assert (tp.ConnectionLostError, "connection_lost") == (failure.kind, failure.reason)
    assert "the bot's server does not know this connection any more" in failure.text


ANSWER = (
    "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-ufrag:4ZcD\r\n"
    "a=ice-pwd:2/1muCWoOi3uLifh0NuRHl\r\na=fingerprint:sha-256 AB:CD\r\n"
)
LATER: dict[str, Handler] = {
    "404": answering(404, "gone"),
    "500": answering(500, "Internal Server Error"),
    "garbage": answering(200, {"type": "answer", "sdp": "garbage", "pc_id": "x"}),
    "hanging up": hanging_up,
}


@pytest.mark.parametrize("name", LATER)
@leaves_nothing
async def test_another_offer_that_is_refused(name: str) -> None:
    """The session has no need of it, and lives."""
    async with renegotiating(LATER[name]) as (url, bot, asked):
        async with tp.open_session(webrtc_url=url) as session:
            await session.wait_ready()
            await renegotiate(session, bot)
            await asked.wait()
            assert {"pong": 2} == await session.request("ping", 2)
        assert "client" == session.end.reason


@pytest.mark.parametrize("name", LATER)
@leaves_nothing
async def test_a_restart_that_is_refused(name: str) -> None:
    """It raises where it was asked for, and the session lives on the old connection."""
    async with renegotiating(LATER[name]) as (url, _, _):
        async with tp.open_session(webrtc_url=url) as session:
            await session.wait_ready()
            kind, stage = None, None
            try:
                await session.restart_connection()
            except tp.TransportStartError as error:
                kind, stage = type(error), error.stage
            assert (tp.TransportStartError, "offer") == (kind, stage)
            assert {"pong": 2} == await session.request("ping", 2)
        assert "client" == session.end.reason


# -- messages ------------------------------------------------------------------------------------


@leaves_nothing
async def test_a_message_over_the_limit() -> None:
    """What the bot's SDP allows is the limit; nothing is sent, and the session lives."""
    bot = SimulatedBot()
    limit = replaced("a=max-message-size:.*", "a=max-message-size:5000")
    async with meddling(bot, answer=limit) as url:
        async with tp.open_session(webrtc_url=url) as session:
            await session.wait_ready()
            sizes = []
            for size in (5_000, 20_000):
                try:
                    await session.send_client_message("silent", "x" * size)
                except tp.MessageTooLargeError as error:
                    sizes.append((error.limit, error.size > size))
            assert [(5_000, True)] * 2 == sizes
            assert {"pong": 1} == await session.request("ping", 1)
        received = [command for _, command in bot.conversations[-1].received]
    messages = [command.t for command in received if isinstance(command, tp.ClientMessage)]
    assert ["ping"] == messages


def signalling(message: Json) -> str:
    """Return a signal as the wire has it."""
    return json.dumps({"type": "signalling", "message": message})


#: What is no message, or says nothing. Each with what comes of it: the number of malformed ones.
GARBAGE: dict[str, tuple[list[str | bytes], int]] = {
    "bytes": ([b"", b"\0\xff" * 1_000, b"ping: 1", b'{"label": "rtvi-ai"}'], 4),
    "texts": (["hello", "{", "\0", "é" * 1_000], 4),
    "json": (["null", "[]", "7", '"x"', "{}", "[" * 100_000], 6),
    "pings": (["ping", "ping: x", "ping: 1e999"], 0),
    "signals": (
        [
            signalling({"type": "unknown"}),
            signalling({"type": "trackStatus", "receiver_index": 10**30, "enabled": []}),
            signalling({"type": ["peerLeft"]}),
            signalling({"type": {}}),
            signalling(None),
            signalling("peerLeft"),
            signalling(["peerLeft"]),
            signalling({}),
            '{"type": "signalling"}',
            '{"type": "signalling", "message": {"type": "peer' + "x" * 10_000 + '"}}',
        ],
        0,
    ),
}


@pytest.mark.parametrize("name", GARBAGE)
@leaves_nothing
async def test_garbage_on_the_data_channel(name: str) -> None:
    """It is told as an event, or not minded, and the session lives."""
    messages, count = GARBAGE[name]

    async def send(conversation: Any) -> None:
        await conversation.ready.wait()
        for message in messages:
            await conversation.link._send(message)

    async with meddling(SimulatedBot(behaviours=[send])) as url:
        async with tp.open_session(webrtc_url=url) as session:
            malformed = 0
            with session.subscribe(tp.MalformedMessage) as events:
                await session.wait_ready()
                for _ in range(count):
                    malformed += isinstance(await events.receive(), tp.MalformedMessage)
                assert {"pong": 1} == await session.request("ping", 1)
                assert 0 == events.unread
            assert count == malformed
        assert "client" == session.end.reason


@leaves_nothing
async def test_a_large_message() -> None:
    """One of 300 KB is a message like any other."""
    text = "x" * 300_000

    async def send(conversation: Any) -> None:
        await conversation.ready.wait()
        await conversation.send(tp.ServerMessage(data=text))

    async with meddling(SimulatedBot(behaviours=[send])) as url:
        async with tp.open_session(webrtc_url=url) as session:
            with session.subscribe(tp.ServerMessage) as events:
                assert text == (await events.receive()).data
            await session.wait_ready()
            assert {"pong": 1} == await session.request("ping", 1)


@leaves_nothing
async def test_a_message_larger_than_we_take() -> None:
    """Our offer has said so. A bot that does not mind ends the session."""

    async def send(conversation: Any) -> None:
        await conversation.ready.wait()
        await conversation.send(tp.ServerMessage(data="x" * 30_000))

    bot, unlimited = SimulatedBot(behaviours=[send]), replaced("a=max-message-size:.*", "")
    async with meddling(bot, offer=unlimited) as url:

        async def body(session: tp.Session) -> None:
            await trio.sleep_forever()

        failure = await failure_of(url, body, max_receive_size=20_000)
    assert (tp.ConnectionLostError, "connection_lost") == (failure.kind, failure.reason)
    assert "(close code 1009)" in failure.text


@leaves_nothing
async def test_twenty_thousand_messages_at_once() -> None:
    """All are there, in order, for who reads them."""
    async with meddling() as url:
        async with tp.open_session(webrtc_url=url, event_buffer=100_000) as session:
            await session.wait_ready()
            with session.subscribe(tp.ServerMessage) as events:
                await session.send_client_message("flood", 20_000)
                numbers = [(await events.receive()).data["n"] for _ in range(20_000)]
            assert [*range(20_000)] == numbers
        assert "client" == session.end.reason


@leaves_nothing
async def test_twenty_thousand_messages_for_who_does_not_read() -> None:
    """The session ends with the error that is for that."""
    async with meddling() as url:

        async def body(session: tp.Session) -> None:
            with session.subscribe(tp.ServerMessage):
                await session.send_client_message("flood", 20_000)
                await trio.sleep_forever()

        failure = await failure_of(url, body, event_buffer=1_000)
    assert tp.SlowReaderError is failure.kind
