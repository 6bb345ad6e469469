"""The shared cases, on an unmodified pipecat bot, over both of its wires."""

import random
import signal
import subprocess
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import trio
from cases import CASES, BotUnderTest, Case, Seen, Wire, name
from real_bot import RealBot, running_bot

import trio_pipecat as tp


class Pipecat(BotUnderTest):
    """The real bot."""

    def __init__(self, bot: RealBot, wire: Wire) -> None:
        self._bot = bot
        self.wire = wire

    def open(self, case: str, **keywords: Any) -> AbstractAsyncContextManager[tp.Session]:
        return tp.open_session(**self._bot.way(self.wire, case=case), **keywords)

    def echo(self, case: str, **keywords: Any) -> AbstractAsyncContextManager[tp.Session]:
        return tp.open_session(**self._bot.way(self.wire, case=case, echo=1), **keywords)

    async def seen(self, case: str) -> Seen:
        connection = await self._bot.seen(case)
        if self.wire == "webrtc":
            return Seen(1000 if connection["goodbye"] else 1006, connection["received"])
        return Seen(connection["close_code"], connection["received"])

    def refused(self, **keywords: Any) -> AbstractAsyncContextManager[tp.Session]:
        url = self._bot.start_url.replace("/start", "/nowhere")
        return tp.open_session(endpoint=url, transport=self.wire, **keywords)

    def never_ready(self, case: str, **keywords: Any) -> AbstractAsyncContextManager[tp.Session]:
        return tp.open_session(**self._bot.way(self.wire, case=case, mode="hang"), **keywords)


@pytest.fixture(params=["websocket", "webrtc"])
def wire(request: pytest.FixtureRequest) -> Wire:
    """What carries the session: each test that asks for it runs on both."""
    return request.param


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_real_bot(case: Case, real_bot: RealBot, wire: Wire) -> None:
    """Every case holds for the real bot."""
    await case(Pipecat(real_bot, wire))


# -- starting ------------------------------------------------------------------------------------


async def test_start_and_connect(real_bot: RealBot) -> None:
    """A start endpoint's answer is followed, though the runner names a scheme it does not have."""
    async with tp.open_session(endpoint=real_bot.start_url) as session:
        await session.wait_ready()
        assert session.started.answer["wsUrl"].startswith("wss://")
        assert f"ws://127.0.0.1:{real_bot.port}/ws-client" == session.started.params.ws_url
        assert {"pong": 1} == await session.request("ping", 1)
    assert list(tp.State) == [state for state, _ in session.history]


async def test_start_and_connect_over_webrtc(real_bot: RealBot) -> None:
    """The offer goes to the session that the start endpoint's answer names."""
    async with tp.open_session(endpoint=real_bot.start_url, transport="webrtc") as session:
        await session.wait_ready()
        id_ = session.started.answer["sessionId"]
        base = real_bot.start_url.removesuffix("/start")
        assert f"{base}/sessions/{id_}/api/offer" == session.started.params.webrtc_url
        assert {"pong": 1} == await session.request("ping", 1)
    assert list(tp.State) == [state for state, _ in session.history]


async def test_both_phases_by_hand(real_bot: RealBot) -> None:
    """What was started can be looked at, changed, and connected to."""
    started = await tp.start_bot(real_bot.start_url)
    assert started.params.session_id
    case = name()
    started.params.ws_url += f"?greet=1&case={case}"
    async with tp.open_session(started) as session:
        greeting = await session.wait_event(tp.BotOutput)
    assert "Hello there." == greeting.text
    assert 1000 == (await real_bot.seen(case))["close_code"]


async def test_both_phases_by_hand_over_webrtc(real_bot: RealBot) -> None:
    """What the start request told the bot need not be told again, and may be told anew."""
    case, other = name(), name()
    body = {"body": {"greet": 1, "case": case}}
    started = await tp.start_bot(real_bot.start_url, transport="webrtc", request_data=body)
    async with tp.open_session(started) as session:
        greeting = await session.wait_event(tp.BotOutput)
    assert "Hello there." == greeting.text
    assert started.params.session_id == (await real_bot.seen(case))["session_id"]
    started = await tp.start_bot(real_bot.start_url, transport="webrtc", request_data=body)
    started.params.request_data = {"case": other}
    async with tp.open_session(started) as session:
        await session.wait_ready()
    assert {"case": other} == (await real_bot.seen(other))["query"]


async def test_a_client_opens_many_sessions(real_bot: RealBot, wire: Wire) -> None:
    """One after another and at once, from one object."""
    client = tp.PipecatClient(real_bot.start_url, transport=wire)
    for _ in range(2):
        async with client.open_session() as one, client.open_session() as other:
            await one.wait_ready()
            await other.wait_ready()
            assert {"pong": 1} == await one.request("ping", 1)
            assert {"pong": 2} == await other.request("ping", 2)


@pytest.mark.parametrize("transport", ["daily", "nonsense"])
async def test_a_refused_start_says_why(real_bot: RealBot, transport: str) -> None:
    """In the server's own words."""
    with pytest.raises(tp.StartBotError) as refused:
        await tp.start_bot(real_bot.start_url, request_data={"transport": transport})
    assert 400 == refused.value.status
    assert transport in refused.value.detail


@pytest.mark.parametrize("place", ["header", "query", "path"])
async def test_a_token_opens_the_door_once(guarded_bot: RealBot, place: tp.TokenPlace) -> None:
    """In each of the three places; a used one is refused."""
    keywords: dict[str, Any] = {"token_in": place, "origin": "http://app.example"}
    started = await tp.start_bot(guarded_bot.start_url)
    assert started.params.token is not None
    assert started.params.token not in repr(started)
    async with tp.open_session(started, **keywords) as session:
        await session.wait_ready()
        about = await session.request("about")
    assert "http://app.example" == about["headers"]["origin"]
    with pytest.raises(tp.TransportStartError) as refused:
        async with tp.open_session(started, **keywords) as session:
            await session.wait_ready()
    assert ("upgrade", 403) == (refused.value.stage, refused.value.status)
    assert started.params.token not in str(refused.value)


@pytest.mark.parametrize("origin", [None, "http://evil.example"])
async def test_an_origin_that_is_not_allowed_is_refused(
    guarded_bot: RealBot, origin: str | None
) -> None:
    """So is a missing one."""
    with pytest.raises(tp.TransportStartError) as refused:
        async with tp.open_session(guarded_bot.start_url, origin=origin) as session:
            await session.wait_ready()
    assert 403 == refused.value.status
    assert "Origin" in refused.value.detail


def test_the_first_program_of_the_documentation(real_bot: RealBot) -> None:
    """Unchanged but for the port: it prints what the bot says, and Ctrl-C hangs up properly."""
    example = Path(__file__).parents[2] / "examples" / "first_conversation.py"
    program = example.read_text().replace("localhost:7860", f"127.0.0.1:{real_bot.port}")
    before = len(real_bot.get("/seen"))
    process = subprocess.Popen(
        [sys.executable, "-u", "-W", "error", "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=20)
    assert "bot: You said: What is the capital of Japan?\n" == line
    assert "KeyboardInterrupt" == complaint.strip().splitlines()[-1]
    (connection,) = real_bot.get("/seen")[before:]
    assert (1000, ["client-ready", "send-text"]) == (
        connection["close_code"],
        connection["received"],
    )


# -- being ready, or not -------------------------------------------------------------------------


async def test_a_bot_that_crashes_at_start(real_bot: RealBot) -> None:
    """The start failed, because the link was lost before the bot was ready."""
    with pytest.raises(tp.ConnectionLostError) as lost:
        async with tp.open_session(real_bot.ws_url(mode="crash")) as session:
            await session.wait_ready()
    assert 1006 == lost.value.end.code
    assert "startup_failed" == session.end.reason


async def test_a_bot_that_is_slow(real_bot: RealBot, wire: Wire) -> None:
    """Nothing can be sent before it is ready, and everything after."""
    async with tp.open_session(**real_bot.way(wire, mode="slow", delay=0.7)) as session:
        await session.wait_for(tp.State.CONNECTED)
        with pytest.raises(tp.BotNotReadyError):
            await session.send_text("hello?")
        with pytest.raises(tp.BotNotReadyError):
            await session.send_audio(bytes(640), sample_rate=16_000)
        with pytest.raises(tp.BotNotReadyError):
            await session.request("ping")
        await session.wait_ready()
        assert {"pong": 1} == await session.request("ping", 1)
    (connected,) = [at for state, at in session.history if state is tp.State.CONNECTED]
    (became_ready,) = [at for state, at in session.history if state is tp.State.READY]
    # The delay begins with the offer, and over WebRTC the link is open a little later.
    assert became_ready - connected > (0.2 if wire == "webrtc" else 0.6)


async def test_what_a_bot_says_before_it_is_ready_is_delivered(
    real_bot: RealBot, wire: Wire
) -> None:
    """Events and audio may precede bot-ready."""
    events: list[tp.Event] = []
    seconds = 0.0
    async with tp.open_session(**real_bot.way(wire, mode="early")) as session:
        stream = aiter(session.audio)
        async for event in session:
            events.append(event)
            if isinstance(event, tp.BotReady):
                break
        with trio.fail_after(5):
            while seconds < 0.18:
                chunk = await anext(stream)
                seconds += chunk.duration if chunk.peak > 0.1 else 0
    assert {"early": True} in [e.data for e in events if isinstance(e, tp.ServerMessage)]
    assert any(isinstance(event, tp.AudioStarted) for event in events)


async def test_a_bot_that_leaves_at_once(real_bot: RealBot, wire: Wire) -> None:
    """Ready and gone in one packet: ready it was, and the block ends normally."""
    async with tp.open_session(**real_bot.way(wire, mode="close")) as session:
        await session.wait_ready()
        await trio.sleep_forever()
    assert ("bot", tp.State.READY) == (session.end.reason, session.end.last_state)


# -- audio and files -----------------------------------------------------------------------------


# Opus is not made to keep samples; what WebRTC carries is in the cases, by its tone.
async def test_every_sample_of_the_users_audio_arrives(real_bot: RealBot) -> None:
    """One second of noise in 20 ms frames comes back byte for byte."""
    noise = random.Random(1).randbytes(32_000)
    heard = b""
    async with tp.open_session(real_bot.ws_url(echo=1, out_rate=16_000)) as session:
        await session.wait_ready()
        echo = aiter(session.audio)
        for start in range(0, len(noise), 640):
            await session.send_audio(noise[start : start + 640], sample_rate=16_000)
        with trio.fail_after(20):
            while len(heard) < len(noise):
                heard += (await anext(echo)).pcm
    assert noise == heard


async def test_a_file_is_uploaded_and_used(real_bot: RealBot, wire: Wire, tmp_path: Path) -> None:
    """By its path, and by what the upload returned."""
    path = tmp_path / "notes ü.txt"
    path.write_bytes(b"0123456789")
    async with tp.open_session(endpoint=real_bot.start_url, transport=wire) as session:
        await session.wait_ready()
        file = await session.upload_file(path)
        assert ("text/plain", path.name) == (file.format, file.name)
        assert isinstance(file.source, tp.UrlSource)
        await session.send_file(file, "first")
        said = await session.wait_event(tp.BotOutput)
        assert "10 bytes" in said.text
        await session.send_file(path, "second")
        said = await session.wait_event(tp.BotOutput, where=lambda o: "second" in o.text)
        assert "10 bytes" in said.text


async def test_a_server_that_stops_is_a_lost_link() -> None:
    """Close code 1012 is no goodbye of the bot's."""
    with running_bot() as bot:
        with pytest.raises(tp.ConnectionLostError) as lost:
            async with tp.open_session(bot.ws_url()) as session:
                await session.wait_ready()
                bot.stop()
                await trio.sleep_forever()
    assert 1012 == lost.value.end.code


async def test_a_server_that_stops_waits_for_its_peers() -> None:
    """Over WebRTC nobody is sent away: it stops when the last session is over."""
    with running_bot() as bot:
        async with tp.open_session(**bot.way("webrtc")) as session:
            await session.wait_ready()
            bot.stop()
            await trio.sleep(1)
            assert {"pong": 1} == await session.request("ping", 1)
        assert 0 == await trio.to_thread.run_sync(bot.process.wait, 10)
    assert "client" == session.end.reason


async def test_many_sessions_at_once(real_bot: RealBot, wire: Wire) -> None:
    """Each is its own."""
    answers: set[int] = set()
    count = 10 if wire == "webrtc" else 30  # whose sound is coded all the time, silence too

    async def talk(number: int) -> None:
        async with tp.open_session(**real_bot.way(wire)) as session:
            await session.wait_ready()
            answer = await session.request("ping", number)
            answers.add(answer["pong"])

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(talk, number)
    assert set(range(count)) == answers
