"""A session over WebRTC with an unmodified pipecat bot: what is this wire's own."""

import signal
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from cases import name
from real_bot import RealBot, running_bot

import trio_pipecat as tp
from trio_pipecat.video import VideoFrame

#: How soon a bot that is gone without a word is missed: five seconds, and not the half minute that
#: WebRTC's own tests of the link take.
MISSED_SECONDS = 10
#: What pipecat's server takes, as it says in its answer.
MAX_MESSAGE = 262_144
#: A picture's Y, U and V, and its red, green and blue.
CARMINE = ((88, 116, 200), (200, 30, 60))
GREEN = ((132, 89, 56), (20, 200, 60))


@asynccontextmanager
async def ready(bot: RealBot, **choices: Any) -> AsyncGenerator[tp.Session, None]:
    async with tp.open_session(**bot.way("webrtc", **choices)) as session:
        await session.wait_ready()
        yield session


def pictures(colour: tuple[int, int, int], seconds: float) -> list[VideoFrame]:
    """Return video of one colour, of 320x240 and 15 frames a second."""
    planes = zip(colour, (320 * 240, 160 * 120, 160 * 120), strict=True)
    data = b"".join(bytes([value]) * size for value, size in planes)
    count = round(seconds * 15)
    return [VideoFrame(data=data, width=320, height=240, time=n / 15) for n in range(count)]


# -- how a session ends --------------------------------------------------------------------------


@pytest.mark.parametrize("request_", ["end", "cancel", "crash"])
async def test_a_bot_that_leaves(real_bot: RealBot, request_: str) -> None:
    """It says that it does, whether it is done, gives up, or has raised: nothing tells these."""
    case = name()
    async with ready(real_bot, case=case) as session:
        await session.send_client_message(request_)
        await trio.sleep_forever()
    assert ("bot", "bot", 1000) == (session.end.reason, session.end.first, session.end.code)
    assert session.end.error is None
    seen = await real_bot.seen(case)
    assert ["connecting", "connected", "closed"] == seen["states"]
    assert seen["goodbye"]


async def test_a_fatal_error(real_bot: RealBot) -> None:
    """It comes before the goodbye."""
    with pytest.raises(tp.FatalBotError, match="no more tea"):
        async with ready(real_bot) as session:
            await session.send_client_message("fatal", "no more tea")
            await trio.sleep_forever()
    assert ("fatal_error", "bot") == (session.end.reason, session.end.first)


async def test_an_error_that_is_not_fatal(real_bot: RealBot) -> None:
    """The session lives."""
    async with ready(real_bot) as session:
        await session.send_client_message("error", "out of tea")
        assert not (await session.wait_event(tp.Error)).fatal
        assert {"pong": 1} == await session.request("ping", 1)
    assert "client" == session.end.reason


@pytest.mark.parametrize("mode", ["crash", "hang"])
async def test_a_bot_that_is_never_there(real_bot: RealBot, mode: str) -> None:
    """The link is open and silent, as pipecat's runner does not close it: the deadline strikes."""
    case = name()
    with pytest.raises(tp.ReadyTimeoutError) as late:
        way = real_bot.way("webrtc", mode=mode, case=case)
        async with tp.open_session(**way, ready_timeout=1) as session:
            await session.wait_ready()
    assert (tp.State.CONNECTED, 0) == (late.value.stage, late.value.received)
    assert "startup_failed" == session.end.reason
    seen = await real_bot.seen(case)
    assert (True, ["client-ready"]) == (seen["goodbye"], seen["received"])


@pytest.mark.parametrize("fate", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_server_that_is_gone(fate: signal.Signals) -> None:
    """Dead or frozen: it is missed in seconds."""
    with running_bot() as bot:
        try:
            with pytest.raises(tp.ConnectionLostError) as lost:
                async with ready(bot) as session:
                    bot.process.send_signal(fate)
                    with trio.fail_after(MISSED_SECONDS):
                        await trio.sleep_forever()
        finally:
            bot.process.send_signal(signal.SIGCONT)
    assert 1006 == lost.value.end.code
    assert ("connection_lost", "network") == (session.end.reason, session.end.first)


async def test_a_client_that_leaves_is_missed_at_once(real_bot: RealBot) -> None:
    """The bot sees it go while its connection stands, and not when it has been silent for long."""
    case = name()
    async with ready(real_bot, case=case):
        pass
    with trio.fail_after(5):
        seen = await real_bot.seen(case)
    assert (["connecting", "connected", "closed"], True) == (seen["states"], seen["goodbye"])


# -- offers --------------------------------------------------------------------------------------


async def test_a_session_that_has_ended(real_bot: RealBot) -> None:
    """Its address is gone with it."""
    started = await tp.start_bot(real_bot.start_url, transport="webrtc")
    async with tp.open_session(started) as session:
        await session.wait_ready()
    await ended(real_bot, started.params.session_id)
    with pytest.raises(tp.TransportStartError) as refused:
        async with tp.open_session(started) as session:
            await session.wait_ready()
    assert ("offer", 404) == (refused.value.stage, refused.value.status)
    assert "startup_failed" == session.end.reason


async def ended(bot: RealBot, session_id: str) -> None:
    """Return when the server has forgotten a session: whatever is asked of it is not found."""
    url = f"http://127.0.0.1:{bot.port}/sessions/{session_id}/anything"

    def is_there() -> bool:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError as error:
            error.close()
            return error.code != 404
        return True

    with trio.fail_after(10):
        while await trio.to_thread.run_sync(is_there):
            await trio.sleep(0.05)


async def test_there_is_no_server(real_bot: RealBot) -> None:
    """Nobody takes the offer."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/api/offer"
        with pytest.raises(tp.TransportStartError) as refused:
            async with tp.open_session(webrtc_url=url) as session:
                await session.wait_ready()
    assert ("offer", None) == (refused.value.stage, refused.value.status)


async def test_an_address_that_takes_no_offers(real_bot: RealBot) -> None:
    """The server's own words, and its status."""
    with pytest.raises(tp.TransportStartError) as refused:
        url = real_bot.offer_url.replace("offer", "nowhere")
        async with tp.open_session(webrtc_url=url) as session:
            await session.wait_ready()
    assert ("offer", 404) == (refused.value.stage, refused.value.status)


async def test_addresses_may_be_sent_after_the_offer(real_bot: RealBot) -> None:
    """The server takes them one by one, and their end."""
    async with tp.open_session(**real_bot.way("webrtc"), trickle_ice=True) as session:
        await session.wait_ready()
        assert {"pong": 1} == await session.request("ping", 1)


async def test_a_slow_bot_asks_for_another_offer(real_bot: RealBot) -> None:
    """It gets it, on the same peer connection, and nothing is lost meanwhile."""
    case = name()
    async with ready(real_bot, case=case, mode="slow", delay=0.7) as session:
        with trio.fail_after(5):
            while not (now := await seen_now(real_bot, case))["renegotiations"]:
                await trio.sleep(0.05)
        assert {"pong": 1} == await session.request("ping", 1)
        await session.send_text("hello")
        await session.wait_event(tp.BotStoppedSpeaking)
    assert (1, ["connecting", "connected"]) == (now["renegotiations"], now["states"])


async def seen_now(bot: RealBot, case: str) -> dict[str, Any]:
    """Return what the server has seen so far of a connection that may be open."""
    connections = await trio.to_thread.run_sync(bot.get, "/seen")
    return [item for item in connections if item["query"].get("case") == case][-1]


async def test_a_restarted_connection(real_bot: RealBot) -> None:
    """The same bot, which greets again, on another peer connection; everything works."""
    case = name()
    async with ready(real_bot, case=case, greet=1) as session:
        await session.wait_event(tp.BotStoppedSpeaking)
        with session.subscribe(tp.BotOutput, tp.ConnectionRestarted) as stream:
            said = await session.restart_connection()
            assert "2.2.0" == said.version
            greeting = await session.wait_event(tp.BotOutput)
            assert "Hello there." == greeting.text
            assert [said] == [
                event.bot
                for event in (stream.receive_nowait() for _ in range(stream.unread))
                if isinstance(event, tp.ConnectionRestarted)
            ]
        assert {"pong": 1} == await session.request("ping", 1)
        assert tp.State.READY is session.state
        await session.send_text("Are you there?")
        await heard(session)
    assert "client" == session.end.reason
    seen = await real_bot.seen(case)
    again = ["connecting", "connected"]
    assert [*again, "disconnected", *again, "closed"] == seen["states"]
    assert ["client-ready", "client-ready"] == seen["received"][:2]


async def heard(session: tp.Session) -> None:
    """Return when the bot is heard."""
    with trio.fail_after(5):
        async for chunk in session.audio:
            if chunk.peak > 0.1:
                return


async def test_a_restart_that_finds_another_bot(real_bot: RealBot) -> None:
    """A server that has lost the connection starts a new bot and does not say so.

    What the offer told the first bot, this one is told, too.
    """
    case = name()
    async with ready(real_bot, case=case) as session:
        await session.send_client_message("vanish")
        await trio.sleep(0.5)
        said = await session.restart_connection()
        assert "2.2.0" == said.version
        assert case == (await session.request("about"))["query"]["case"]


# -- messages ------------------------------------------------------------------------------------


async def test_large_messages(real_bot: RealBot) -> None:
    """What the server's answer allows goes both ways, and no byte more is tried."""
    async with ready(real_bot) as session:
        text = "é" + "x" * 200_000
        assert {"pong": text} == await session.request("ping", text)
        with pytest.raises(tp.MessageTooLargeError) as large:
            await session.send_client_message("silent", "x" * MAX_MESSAGE)
        assert MAX_MESSAGE == large.value.limit
        room = MAX_MESSAGE - large.value.size
        await session.send_client_message("silent", "x" * (MAX_MESSAGE + room))
        assert {"pong": 1} == await session.request("ping", 1)


async def test_nothing_is_said_for_a_while(real_bot: RealBot) -> None:
    """The server is pinged all the time, or it would take us for gone after three seconds."""
    case = name()
    async with ready(real_bot, case=case) as session:
        await trio.sleep(10)
        assert {"pong": 1} == await session.request("ping", 1)
        await session.send_text("hello")
        await session.wait_event(tp.BotStoppedSpeaking)
    assert (await real_bot.seen(case))["pings"] >= 8


# -- sound and pictures --------------------------------------------------------------------------


async def test_the_bot_is_told_what_the_user_sends(real_bot: RealBot) -> None:
    """Microphone, camera and screen, when the channel opens and whenever it changes."""
    case = name()
    async with ready(real_bot, case=case) as session:
        await session.mute()
        await session.unmute()
        await session.stream_video(pictures(CARMINE[0], 0.2))
        await session.stream_video(pictures(GREEN[0], 0.2), screen=True)
    said = [tuple(status) for status in (await real_bot.seen(case))["track_statuses"]]
    assert {0: True, 1: False, 2: False} == dict(said[:3])
    changes = [(0, False), (0, True), (1, True), (1, False), (2, True), (2, False)]
    assert changes == said[3:]


async def test_a_muted_user_is_silent(real_bot: RealBot) -> None:
    """The bot hears nothing of what is streamed meanwhile, and hears it again afterwards."""
    loud = tp.AudioChunk(b"\0\x20\0\xe0" * 8_000, 16_000)
    muted: list[tp.AudioChunk] = []

    async def listen(session: tp.Session) -> None:
        async for chunk in session.audio:
            muted.append(chunk)

    async with ready(real_bot, echo=1) as session:
        await session.mute()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, session)
            await session.stream_audio(loud)
            await trio.sleep(0.5)
            nursery.cancel_scope.cancel()
        await session.unmute()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(heard, session)
            await session.stream_audio(loud)
    assert sum(chunk.duration for chunk in muted) > 1
    assert max(chunk.peak for chunk in muted) < 0.01


@pytest.mark.alone
async def test_pictures_come_back(real_bot: RealBot) -> None:
    """As many as were sent, or nearly, in their size and their colours."""
    sent = pictures(CARMINE[0], 3)
    back: list[VideoFrame] = []
    async with ready(real_bot, echo_video=1) as session, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def watch() -> None:
            async for frame in session.video:
                back.append(frame)

        report = await session.stream_video(sent)
        await trio.sleep(0.5)
        seen = (await session.request("video"))["camera"]
        nursery.cancel_scope.cancel()
    assert len(sent) == report.frames + report.skipped
    assert len(sent) // 2 < len(back) <= len(sent)
    assert len(back) <= seen["count"] <= report.frames
    assert {(320, 240, "yuv420p")} == {(f.width, f.height, f.format) for f in back}
    assert CARMINE[0] == pytest.approx(colour_of(back[-1]), abs=8)
    assert ([320, 240], pytest.approx(CARMINE[1], abs=12)) == (seen["size"], seen["colour"])


def colour_of(frame: VideoFrame) -> tuple[float, float, float]:
    """Return the mean of Y, of U and of V."""
    size = frame.width * frame.height
    planes = frame.data[:size], frame.data[size : size * 5 // 4], frame.data[size * 5 // 4 :]
    y, u, v = (sum(plane) / len(plane) for plane in planes)
    return y, u, v


@pytest.mark.alone
async def test_camera_and_screen_at_once(real_bot: RealBot) -> None:
    """The bot can tell one from the other."""
    async with ready(real_bot, echo_video=1) as session:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.stream_video, pictures(CARMINE[0], 3))
            nursery.start_soon(share_screen, session)
        await trio.sleep(0.3)
        seen = await session.request("video")
    assert {"camera", "screenVideo"} == set(seen)
    assert pytest.approx(CARMINE[1], abs=12) == seen["camera"]["colour"]
    assert pytest.approx(GREEN[1], abs=12) == seen["screenVideo"]["colour"]
    assert min(seen["camera"]["count"], seen["screenVideo"]["count"]) > 10


async def share_screen(session: tp.Session) -> None:
    await session.stream_video(pictures(GREEN[0], 3), screen=True)
