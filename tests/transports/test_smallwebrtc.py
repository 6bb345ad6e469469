"""The client's end of WebRTC, on a simulated bot's: opening, staying, restarting, ending."""

import gc
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import assert_checkpoints

pytest.importorskip("aiortc", reason='type: pip install "trio-pipecat[webrtc]"')
from aiortc import RTCIceTransport, RTCPeerConnection

import trio_pipecat as tp
from trio_pipecat.testing import Conversation, ServedBot, SimulatedBot, serve_bot
from trio_pipecat.testing._transport_ends import frequency, sine
from trio_pipecat.testing._webrtc_bot import WebRtcBotTransport
from trio_pipecat.video import VideoFrame

pytestmark = pytest.mark.socket


@asynccontextmanager
async def served(*behaviours: Any, **traits: Any) -> AsyncGenerator[ServedBot[SimulatedBot], None]:
    async with serve_bot(SimulatedBot(behaviours, **traits), webrtc=True) as bot:
        yield bot


@asynccontextmanager
async def ready(bot: ServedBot[SimulatedBot], **keywords: Any) -> AsyncGenerator[tp.Session, None]:
    async with tp.open_session(bot.webrtc_url, **keywords) as session:
        await session.wait_ready()
        yield session


def link_of(bot: ServedBot[SimulatedBot]) -> WebRtcBotTransport:
    link = bot.bot.conversations[-1].link
    assert isinstance(link, WebRtcBotTransport)
    return link


async def until(is_so: Callable[[], object], seconds: float = 10) -> None:
    with trio.fail_after(seconds):
        while not is_so():
            await trio.sleep(0.01)


# -- opening -------------------------------------------------------------------------------------


async def test_by_the_start_endpoint() -> None:
    """The offer goes beside it, to the session that it has promised."""
    async with served() as bot:
        async with tp.open_session(bot.start_url, transport="webrtc") as session:
            await session.wait_ready()
            assert session.started is not None
            assert f"/sessions/{session.started.params.session_id}/api/offer" in str(
                session.started.params.webrtc_url
            )
            assert {"pong": 1} == await session.request("ping", 1)
        assert list(tp.State) == [state for state, _ in session.history]


async def test_a_session_that_has_ended_is_gone() -> None:
    """Its offers are refused with 404, by name."""
    async with served() as bot:
        started = await tp.start_bot(bot.start_url, transport="webrtc")
        async with tp.open_session(started) as session:
            await session.wait_ready()
        await until(lambda: bot.bot.conversations[-1].end)
        await trio.sleep(0.1)
        with pytest.raises(tp.TransportStartError) as gone:
            async with tp.open_session(started) as session:
                await session.wait_ready()
    assert ("offer", 404) == (gone.value.stage, gone.value.status)
    assert "the session has ended" in str(gone.value)


async def test_candidates_may_follow_the_offer() -> None:
    """With `trickle_ice`: the offer has none, a PATCH has them all and says that these were all."""
    async with served() as bot, ready(bot, trickle_ice=True) as session:
        assert {"pong": 1} == await session.request("ping", 1)


@pytest.mark.parametrize("trickle", [False, True])
async def test_a_server_that_is_not_there_costs_the_gather_timeout(trickle: bool) -> None:
    """And no more, for STUN and for TURN: the session goes without them."""
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as silent:
        await silent.bind(("127.0.0.1", 0))
        host, port = silent.getsockname()
        dead = [{"urls": [f"stun:{host}:{port}"]}]
        dead += [{"urls": f"turn:{host}:{port}", "username": "a", "credential": "b"}]
        async with served() as bot:
            began = time.monotonic()
            async with ready(
                bot, ice_servers=dead, gather_timeout=0.2, trickle_ice=trickle
            ) as session:
                took = time.monotonic() - began
                assert {"pong": 1} == await session.request("ping", 1)
    assert 0.4 <= took < 4


async def test_no_way_to_the_bot_says_so() -> None:
    """The deadline names the stage and what may be the matter."""

    async def wander(conversation: Conversation) -> None:
        await trio.sleep_forever()

    async with served(wander) as bot:
        late = tp.open_session(bot.webrtc_url, connect_timeout=0.001)
        with pytest.raises(tp.TransportStartError) as failed:
            async with late as session:
                await session.wait_ready()
    assert "the link was not open after 0.001 s" in failed.value.detail


# -- messages ------------------------------------------------------------------------------------


async def test_large_messages_go_both_ways() -> None:
    """Up to what the other side takes."""
    async with served() as bot, ready(bot) as session:
        text = "é" * 100_000
        assert {"pong": text} == await session.request("ping", text, timeout=30)
        with pytest.raises(tp.MessageTooLargeError) as large:
            await session.request("ping", "x" * 262_144)
        assert 262_144 == large.value.limit
        assert {"pong": 1} == await session.request("ping", 1)


async def test_messages_are_not_dropped_while_trio_stands_still() -> None:
    """The loop's thread keeps pings going, and keeps what comes."""
    async with served() as bot, ready(bot) as session:
        with session.subscribe(tp.ServerMessage) as stream:
            await session.send_client_message("flood", {"count": 500})
            await stream.receive()
            time.sleep(0.5)  # noqa: ASYNC251  # on purpose
            numbers = [(await stream.receive()).data["n"] for _ in range(499)]
    assert list(range(1, 500)) == numbers


async def test_garbage_on_the_channel_is_an_event() -> None:
    """A binary message, texts that are no messages, and signals that nobody knows."""

    async def misbehave(conversation: Conversation) -> None:
        await conversation.ready.wait()
        link = conversation.link
        assert isinstance(link, WebRtcBotTransport)
        await link.send_bytes(b"\xff\x00")
        for text in ("no json", '{"type":"signalling"}', '{"type":"signalling","message":7}'):
            await link.send_message(text)
        await link.send_message('{"type":"signalling","message":{"type":"what"}}')

    async with served(misbehave) as bot:
        async with tp.open_session(bot.webrtc_url) as session:
            with session.subscribe(tp.MalformedMessage) as stream:
                reasons = [(await stream.receive()).reason for _ in range(2)]
                assert {"pong": 1} == await session.request("ping", 1)
                assert 0 == stream.unread
    assert "a message of bytes" in reasons[0]


# -- sound ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100, 48_000])
async def test_sound_of_any_rate_goes_there_and_back(rate: int) -> None:
    """As the tone that it is."""
    async with served() as bot, ready(bot) as session:
        heard: list[tp.AudioChunk] = []

        async def listen() -> None:
            async for chunk in session.audio:
                if chunk.peak > 0.2:
                    heard.append(chunk)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            tone = tp.AudioChunk(sine(440, 0.6, rate), rate)
            for piece in tone.split(rate // 50 * 2):
                await session.send_audio(piece.pcm, sample_rate=rate)
            await until(lambda: sum(chunk.duration for chunk in heard) > 0.5)
            nursery.cancel_scope.cancel()
    pcm = b"".join(chunk.pcm for chunk in heard[1:-1])
    assert {(24_000, 1)} == {(chunk.sample_rate, chunk.num_channels) for chunk in heard}
    assert 440 == pytest.approx(frequency(pcm, 24_000), rel=0.03)


async def test_the_rate_of_the_bots_sound_is_ours_to_choose() -> None:
    """It comes as it is wanted."""
    async with served(greeting="Hello."), served(greeting="Hello.") as bot:
        async with tp.open_session(bot.webrtc_url, audio_out_sample_rate=16_000) as session:
            chunk = await session.audio.receive()
    assert (16_000, 1, 640) == (chunk.sample_rate, chunk.num_channels, len(chunk.pcm))


async def test_a_sender_waits_in_real_time() -> None:
    """A fifth of a second waits, and then the sender: a second takes most of a second."""
    async with served(echo_audio=False) as bot, ready(bot) as session:
        began = time.monotonic()
        for _ in range(50):
            await session.send_audio(bytes(640), sample_rate=16_000)
        assert 0.6 < time.monotonic() - began


async def test_sending_is_a_checkpoint() -> None:
    """Each of the three."""
    async with served() as bot, ready(bot) as session:
        with assert_checkpoints():
            await session.send_audio(bytes(640), sample_rate=16_000)
        with assert_checkpoints():
            await session.send_client_message("silent")
        with assert_checkpoints():
            await session.send_video(VideoFrame(data=bytes(6), width=2, height=2))


async def test_muting_is_told_and_heard() -> None:
    """The bot hears silence, and knows why."""
    async with served() as bot, ready(bot) as session:
        link = link_of(bot)
        assert link.tracks["microphone"]
        await session.mute()
        await until(lambda: not link.tracks["microphone"])
        await session.unmute()
        await until(lambda: link.tracks["microphone"])


# -- pictures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["camera", "screen"])
async def test_pictures_go_there_and_back(source: Any) -> None:
    """What the camera sees, and the screen; bots have one picture to send."""
    gray = VideoFrame(data=bytes([90]) * (64 * 48) + bytes([128]) * (64 * 24), width=64, height=48)

    class Film:
        def __aiter__(self) -> "Film":
            return self

        async def __anext__(self) -> VideoFrame:
            await trio.sleep(0.05)
            return gray

    async with served(echo_video=True) as bot, ready(bot) as session:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def show() -> None:
                await session.stream_video(Film(), screen=source == "screen")

            with trio.fail_after(20):
                seen = await session.video.receive()
            assert link_of(bot).tracks[source]
            nursery.cancel_scope.cancel()
        await until(lambda: not link_of(bot).tracks[source])
    assert (64, 48) == (seen.width, seen.height)
    assert 90 == pytest.approx(seen.data[32 * 24], abs=8)
    assert 0 < bot.bot.conversations[-1].pictures


async def test_a_bot_that_speaks_sees_and_is_restarted() -> None:
    """All at once: what it says, the echo of what it hears and sees, another connection."""
    picture = VideoFrame(data=bytes(64 * 48 * 3 // 2), width=64, height=48)
    async with served(greeting="one two three", echo_video=True) as bot, ready(bot) as session:
        seen: list[VideoFrame] = []

        async def see() -> None:
            async for frame in session.video:
                seen.append(frame)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(see)
            for _ in range(2):
                for _ in range(15):
                    await session.send_video(picture)
                    await trio.sleep(0.05)
                await until(lambda: len(seen) > 5)
                seen.clear()
                await session.restart_connection()
                assert {"pong": 1} == await session.request("ping", 1)
            nursery.cancel_scope.cancel()


# -- restarting and renegotiating ----------------------------------------------------------------


async def test_a_restart_keeps_the_bot() -> None:
    """Another connection, the same conversation; the greeting is said again."""
    async with served(greeting="Hello.") as bot, ready(bot) as session:
        first = link_of(bot).pc_id
        said = await session.restart_connection()
        assert "2.2.0" == said.version
        assert tp.State.READY is session.state
        assert first != link_of(bot).pc_id
        assert {"pong": 2} == await session.request("ping", 2)
        await session.wait_event(tp.BotStoppedSpeaking)
    assert "client" == session.end.reason
    assert 1 == len(bot.bot.conversations)
    hellos = [c for _, c in bot.bot.conversations[0].received if isinstance(c, tp.ClientReady)]
    assert 2 == len(hellos)


async def test_a_restart_that_is_refused_changes_nothing() -> None:
    """If the server has not given the old connection up."""
    async with served() as bot, ready(bot) as session:
        link: Any = session._driver._link

        async def refuse(*args: Any, **kind: Any) -> Any:
            await trio.lowlevel.checkpoint()
            raise tp.TransportStartError("offer", "no", 503)

        offer, link._signalling.offer = link._signalling.offer, refuse
        with pytest.raises(tp.TransportStartError, match="503"):
            await session.restart_connection()
        assert {"pong": 1} == await session.request("ping", 1)
        link._signalling.offer = offer
        await session.restart_connection()
        assert {"pong": 2} == await session.request("ping", 2)


@pytest.mark.parametrize("seconds", [0.0, 0.005, 0.02, 0.05, 0.08])
async def test_a_restart_that_is_cancelled_leaves_a_session_or_its_end(seconds: float) -> None:
    """Never one that hangs; and it can be left."""
    async with served() as bot:
        try:
            async with ready(bot) as session:
                with trio.move_on_after(seconds):
                    await session.restart_connection()
                with trio.move_on_after(1):
                    await session.request("ping", 1)
        except tp.ConnectionLostError:
            pass
        assert session.end is not None


async def test_leaving_in_the_middle_of_a_restart() -> None:
    """Costs no grace, and what was said before arrives, if the old connection is still there."""
    async with served() as bot:
        began = time.monotonic()
        async with ready(bot) as session, trio.open_nursery() as nursery:
            link: Any = session._driver._link
            waiting = trio.Event()

            async def never(*args: Any, **kind: Any) -> Any:
                waiting.set()
                await trio.sleep_forever()

            link._signalling.offer = never

            @nursery.start_soon
            async def restart() -> None:
                with pytest.raises(tp.SessionEndedError):
                    await session.restart_connection()

            await waiting.wait()
            await session.send_client_message("silent", "the last word")
            await session.disconnect()
        assert time.monotonic() - began < 2.5
        await until(lambda: bot.bot.conversations[0].end)
    said = [c for _, c in bot.bot.conversations[0].received if isinstance(c, tp.ClientMessage)]
    assert ["the last word"] == [message.d for message in said]


async def test_a_bot_that_asks_for_offers_without_end() -> None:
    """Gets one at a time, and not one after the other."""

    async def ask(conversation: Conversation) -> None:
        await conversation.introduced.wait()
        link = conversation.link
        assert isinstance(link, WebRtcBotTransport)
        for _ in range(500):
            link.ask_to_renegotiate()

    async with served(ask) as bot:
        async with tp.open_session(bot.webrtc_url) as session:
            link: Any = None
            await session.wait_ready()
            link = session._driver._link
            offers, offer = [], link._signalling.offer

            async def count(*args: Any, **kind: Any) -> Any:
                offers.append(kind)
                return await offer(*args, **kind)

            link._signalling.offer = count
            for number in range(5):
                assert {"pong": number} == await session.request("ping", number)
            await trio.sleep(1.2)
            assert len(offers) <= 2


async def test_a_bot_that_takes_no_sound() -> None:
    """Keeps nobody waiting: what is sent is gone."""
    async with served() as bot, ready(bot) as session:
        link: Any = session._driver._link
        link._sound.want(False)
        with trio.fail_after(2):
            for _ in range(100):
                await session.send_audio(bytes(6_400), sample_rate=16_000)


async def test_a_picture_that_can_not_be_sent() -> None:
    """Is refused where it is sent, and the next one is seen."""
    line = VideoFrame(data=bytes(30), width=10, height=1, format="rgb24")
    square = VideoFrame(data=bytes(3 * 64 * 64), width=64, height=64, format="rgb24")
    async with served(echo_video=True) as bot, ready(bot) as session:
        with pytest.raises(ValueError, match="height"):
            await session.send_video(line)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def show() -> None:
                while True:
                    await session.send_video(square)
                    await trio.sleep(0.1)

            with trio.fail_after(20):
                seen = await session.video.receive()
            nursery.cancel_scope.cancel()
    assert (64, 64) == (seen.width, seen.height)


async def test_sound_as_aiortc_decodes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its packets can't be had, its frames will do."""
    monkeypatch.setattr(
        "trio_pipecat.transports._rtc_peer.take_packets", lambda receiver, sound: False
    )
    words = "one two three four five"
    async with served(greeting=words) as bot, tp.open_session(bot.webrtc_url) as session:
        heard = 0.0
        with trio.fail_after(10):
            while heard < 0.3:
                chunk = await session.audio.receive()
                heard += chunk.duration if chunk.peak > 0.2 else 0
    assert (24_000, 1, 960) == (chunk.sample_rate, chunk.num_channels, len(chunk.pcm))


async def test_names_of_servers_are_resolved_by_trio() -> None:
    """One that there is not is done without; those with TLS keep theirs."""
    from trio_pipecat._ice import IceServer

    async with served() as bot, ready(bot) as session:
        link: Any = session._driver._link
        servers = [
            IceServer(urls=("stun:localhost:3478", "turns:localhost?transport=tcp")),
            IceServer(urls=("turn:no-such-host.invalid:99",), username="a", credential="b"),
        ]
        found = await link._resolved(servers)
    assert [("stun:127.0.0.1:3478", "turns:localhost?transport=tcp")] == [s.urls for s in found]


async def test_a_bot_that_has_come_late_may_renegotiate() -> None:
    """The connection stays, and so does what is said on it."""
    async with served() as bot, ready(bot) as session:
        link = link_of(bot)
        for _ in range(2):
            link.ask_to_renegotiate()
            await trio.sleep(0.1)
            assert {"pong": 1} == await session.request("ping", 1)
        peer: Any = link._peer
        assert 2 <= peer._pc.remoteDescription.sdp.count("m=video")


async def test_a_server_that_has_forgotten_us_is_a_lost_link() -> None:
    """A renegotiation that gets another bot is no renegotiation."""
    async with served() as bot:
        with pytest.raises(tp.ConnectionLostError, match="does not know this connection"):
            async with ready(bot) as session:
                link: Any = session._driver._link
                link._pc_id = "SimulatedConnection#0-stale"
                link_of(bot).ask_to_renegotiate()
                await trio.sleep_forever()
    assert ("connection_lost", "bot") == (session.end.reason, session.end.first)


# -- ending --------------------------------------------------------------------------------------


async def test_what_was_said_last_arrives() -> None:
    """A goodbye waits until the other side has it all."""
    async with served() as bot:
        async with ready(bot) as session:
            for number in range(50):
                await session.send_client_message("silent", {"n": number, "x": "y" * 2_000})
        await until(lambda: bot.bot.conversations[-1].end)
    said = [c for _, c in bot.bot.conversations[0].received if isinstance(c, tp.ClientMessage)]
    assert list(range(50)) == [message.d["n"] for message in said]


async def test_a_bot_that_is_gone_is_found_out() -> None:
    """Its machine, and not only its program: in five seconds, or in as many as are wanted."""
    async with served() as bot:
        began = time.monotonic()
        with pytest.raises(tp.ConnectionLostError, match=r"nothing came from the bot for 1\.5 s"):
            async with ready(bot, ping_timeout=1.5) as session:
                await session.send_client_message("vanish")
                await trio.sleep_forever()
        assert time.monotonic() - began < 5
    assert ("connection_lost", "network", 1006) == (
        session.end.reason,
        session.end.first,
        session.end.code,
    )


async def test_a_channel_that_is_closed_without_a_goodbye() -> None:
    """Is a lost link; nobody knows why."""

    async def slam(conversation: Conversation) -> None:
        await conversation.ready.wait()
        link: Any = conversation.link
        link._loop.call_soon(lambda: link._peer._channel.close())
        await trio.sleep_forever()

    async with served(slam) as bot:
        with pytest.raises(tp.ConnectionLostError, match="without a goodbye"):
            async with tp.open_session(bot.webrtc_url) as session:
                await trio.sleep_forever()
    assert ("connection_lost", "bot") == (session.end.reason, session.end.first)


async def test_a_message_that_is_too_large_ends_the_link() -> None:
    """It says which limit. Servers are told it, and lose what is larger; this one does not mind."""
    async with served() as bot:
        with pytest.raises(tp.ConnectionLostError, match="over 5000 bytes"):
            async with ready(bot, max_receive_size=5_000) as session:
                peer: Any = link_of(bot)._peer
                peer._pc.sctp._remote_max_message_size = 0
                await session.request("ping", "x" * 6_000)
    assert 1009 == session.end.code


def left_behind() -> tuple[int, list[str]]:
    """Return how many objects of aiortc there are, and the names of the loop's threads."""
    gc.collect()
    kinds = (RTCPeerConnection, RTCIceTransport)
    count = sum(isinstance(item, kinds) for item in gc.get_objects())
    return count, [t.name for t in threading.enumerate() if "asyncio" in t.name]


async def test_nothing_is_left_behind() -> None:
    """Of sessions that were left, nor of such that were cancelled while they opened."""
    async with served() as bot, ready(bot):
        pass
    before, _ = left_behind()
    assert [] == left_behind()[1]
    async with served() as bot:
        for number in range(8):
            with trio.move_on_after(0.012 * number):
                async with ready(bot):
                    await trio.sleep(0.02)
    bot.bot.conversations.clear()
    assert (before, []) == left_behind()


async def test_sim_over_webrtc() -> None:
    """Two ways to say it."""
    for keywords in ({}, {"transport": "webrtc"}):
        target = "sim:?greeting=Hi" + ("" if keywords else "&webrtc=1")
        async with tp.open_session(target, **keywords) as session:  # type: ignore[arg-type]
            await session.wait_ready()
            assert "Hi" == (await session.wait_event(tp.BotOutput)).text
            with pytest.raises(tp.UnsupportedFeatureError):
                await session.interrupt()
