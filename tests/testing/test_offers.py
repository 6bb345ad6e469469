"""The offers that a simulated bot takes: what pipecat's runner answers, it answers."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

pytest.importorskip("aiortc", reason='type: pip install "trio-pipecat[webrtc]"')

import trio_pipecat as tp
from trio_pipecat._http import Answer, Request
from trio_pipecat.testing import Conversation, ServedBot, SimulatedBot, serve_bot
from trio_pipecat.testing._webrtc_bot import WebRtcBotTransport

pytestmark = pytest.mark.socket


@asynccontextmanager
async def served(*behaviours: Any, **traits: Any) -> AsyncGenerator[ServedBot[SimulatedBot], None]:
    async with serve_bot(SimulatedBot(behaviours, **traits), webrtc=True) as bot:
        yield bot


async def ask(url: str, body: Any, method: str = "POST", **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = Request(
        url=url,
        given=headers,
        content_type="application/json",
        content=content,
        ssl_context=None,
        method=method,
    )
    return await request.send()


@pytest.mark.parametrize("body", [b"", b"no json", [], {}, {"sdp": "x"}, {"sdp": 1, "type": "x"}])
async def test_what_is_missing_is_told(body: Any) -> None:
    """As FastAPI tells it; of a session's offer nothing is told."""
    async with served() as bot:
        got = await ask(bot.webrtc_url, body)
        assert 422 == got.status
        assert "Field required" == json.loads(got.content)["detail"][0]["msg"]
        started = await tp.start_bot(bot.start_url, transport="webrtc")
        got = await ask(str(started.params.webrtc_url), body)
        assert (400, b"Invalid WebRTC request") == (got.status, got.content)


async def test_garbage_is_refused() -> None:
    """Pipecat's would take it, and answer nothing."""
    async with served() as bot:
        got = await ask(bot.webrtc_url, {"sdp": "garbage", "type": "offer"})
    assert 400 == got.status
    assert "no offer" in json.loads(got.content)["detail"]


async def test_a_session_that_nobody_has_promised() -> None:
    """Is not there."""
    async with served() as bot:
        url = bot.start_url.replace("/start", "/sessions/what/api/offer")
        got = await ask(url, {})
    assert (404, b"Invalid or not-yet-ready session_id") == (got.status, got.content)


async def test_candidates_for_nobody() -> None:
    """Are refused."""
    async with served() as bot:
        got = await ask(bot.webrtc_url, {"pc_id": "what", "candidates": []}, "PATCH")
        assert (404, "Peer connection not found") == (
            got.status,
            json.loads(got.content)["detail"],
        )


@pytest.mark.parametrize(
    ("candidate", "status"),
    [
        ({"candidate": "", "sdp_mid": "0", "sdp_mline_index": 0}, 200),
        ({"candidate": "candidate:what", "sdp_mid": "0", "sdp_mline_index": 0}, 400),
        ({"candidate": "", "sdp_mid": None, "sdp_mline_index": 0}, 422),
        ({"candidate": 7, "sdp_mid": "0", "sdp_mline_index": 0}, 422),
    ],
)
async def test_candidates(candidate: Any, status: int) -> None:
    """Those that are none are refused."""
    async with served() as bot, tp.open_session(bot.webrtc_url) as session:
        await session.wait_ready()
        link = bot.bot.conversations[0].link
        assert isinstance(link, WebRtcBotTransport)
        body = {"pc_id": link.pc_id, "candidates": [candidate]}
        assert status == (await ask(bot.webrtc_url, body, "PATCH")).status


async def test_what_is_not_ours_is_answered_as_ever() -> None:
    """Other methods, other paths."""
    async with served() as bot:
        assert 404 == (await ask(bot.start_url.replace("start", "what"), {})).status
        started = await tp.start_bot(bot.start_url, transport="webrtc")
        url = str(started.params.webrtc_url).replace("/api/offer", "/files")
        assert 404 == (await ask(url, {})).status


async def test_without_webrtc_there_is_no_such_path() -> None:
    """Nor such a transport to start."""
    async with serve_bot() as bot:
        assert not bot.webrtc
        assert 404 == (await ask(bot.webrtc_url, {})).status
        with pytest.raises(tp.StartBotError, match="not allowed"):
            await tp.start_bot(bot.start_url, transport="webrtc")


async def test_browsers_may_come() -> None:
    """Cross-origin requests are allowed, PATCH too."""
    async with served() as bot:
        got = await ask(bot.webrtc_url, {}, "OPTIONS", Origin="http://page.example")
    assert "PATCH" in got.headers["access-control-allow-methods"]
    assert "http://page.example" == got.headers["access-control-allow-origin"]


async def test_a_bot_whose_code_raises_says_goodbye() -> None:
    """Pipecat's does, over WebRTC; the wire can't tell it from one that leaves."""

    async def fail(conversation: Conversation) -> None:
        await conversation.ready.wait()
        raise RuntimeError("a bug")

    async with served(fail) as bot:
        async with tp.open_session(bot.webrtc_url) as session:
            await trio.sleep_forever()
    assert ("bot", 1000) == (session.end.reason, session.end.code)
    assert isinstance(bot.bot.conversations[0].failure, RuntimeError)


async def test_a_bot_of_ones_own_that_raises_ends_its_own_conversation() -> None:
    """And nobody else's."""

    class Broken:
        calls = 0

        async def converse(self, link: Any) -> None:
            self.calls += 1
            raise RuntimeError("a bug")

    broken = Broken()
    async with serve_bot(broken, webrtc=True) as bot:
        for _ in range(2):
            # It leaves at once: before the client knows that the connection is open, or after.
            with pytest.raises((tp.ConnectionLostError, tp.TransportStartError)):
                async with tp.open_session(bot.webrtc_url) as session:
                    await session.wait_ready()
    assert 2 == broken.calls


async def test_a_server_that_stops_says_goodbye_for_its_bots() -> None:
    """Each of them."""
    async with trio.open_nursery() as nursery:
        ends: list[Any] = []
        up = [trio.Event() for _ in range(3)]

        async def call(url: str, number: int) -> None:
            async with tp.open_session(url) as session:
                await session.wait_ready()
                up[number].set()
                await trio.sleep_forever()
            ends.append(session.end.reason)

        async with served() as bot:
            for number in range(3):
                nursery.start_soon(call, bot.webrtc_url, number)
            for event in up:
                await event.wait()
    assert ["bot"] * 3 == ends


async def test_a_restart_that_is_refused_leaves_the_conversation_as_it_is() -> None:
    """An offer that is none takes nobody's place."""
    async with served() as bot, tp.open_session(bot.webrtc_url) as session:
        await session.wait_ready()
        link = bot.bot.conversations[0].link
        assert isinstance(link, WebRtcBotTransport)
        bad = {"sdp": "garbage", "type": "offer", "pc_id": link.pc_id, "restart_pc": True}
        assert 400 == (await ask(bot.webrtc_url, bad)).status
        assert {"pong": 1} == await session.request("ping", 1)


async def test_sound_that_is_not_opus_is_refused() -> None:
    """There would be packets that nobody understands."""
    sdp = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=rtpmap:0 PCMU/8000\r\n"
    async with served() as bot:
        got = await ask(bot.webrtc_url, {"sdp": sdp, "type": "offer"})
    assert "nothing is Opus" in json.loads(got.content)["detail"]
