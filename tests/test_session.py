"""Sessions: what a body meets, on a virtual clock, with bots that do exactly what a test says."""

import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import trio
from http_server import answering, serve_http
from scripted import ScriptedBot, just_ready, scripted
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

import trio_pipecat as tp
from trio_pipecat._tap import Tap
from trio_pipecat.audio import AudioChunk, write_wav
from trio_pipecat.reports import TurnLog
from trio_pipecat.testing import SimulatedBot, Voice, serve_bot, virtual_network
from trio_pipecat.transports._websocket import WebSocketTransport


def ready_then(*steps: Callable[[ScriptedBot], Awaitable[Any]]) -> Any:
    """Return a connector to a bot that becomes ready, then does `steps`, then listens."""

    async def script(bot: ScriptedBot) -> None:
        await bot.become_ready()
        for step in steps:
            await step(bot)
        await bot.listen()

    return scripted(script)


def says(*events: tp.BotMessage) -> Callable[[ScriptedBot], Awaitable[None]]:
    return lambda bot: bot.say(*events)


def leaves(code: int = 1000, text: str = "") -> Callable[[ScriptedBot], Awaitable[None]]:
    return lambda bot: bot.leave(code, text)


async def vanishes(bot: ScriptedBot) -> None:
    bot.link.vanish()


def pauses(seconds: float) -> Callable[[ScriptedBot], Awaitable[None]]:
    async def pause(bot: ScriptedBot) -> None:
        await trio.sleep(seconds)

    return pause


# -- states --------------------------------------------------------------------------------------


async def test_the_block_is_entered_at_once(autojump_clock: MockClock) -> None:
    """Startup runs behind the body, which begins in state idle."""
    async with tp.open_session(transport=scripted(just_ready)) as session:
        assert tp.State.IDLE is session.state
        assert None is session.bot
        assert None is session.end
        await session.wait_ready()
        assert tp.State.READY is session.state


async def test_a_direct_connection_passes_the_start_by(autojump_clock: MockClock) -> None:
    """Skipped states have their events set when a later one is entered; history is the truth."""
    async with tp.open_session(transport=scripted(just_ready)) as session:
        assert not session.states.authenticated.is_set()
        await session.wait_for(tp.State.AUTHENTICATED)
        assert session.states.authenticating.is_set()
        await session.wait_ready()
    assert [
        tp.State.IDLE,
        tp.State.CONNECTING,
        tp.State.CONNECTED,
        tp.State.READY,
        tp.State.DISCONNECTING,
        tp.State.DISCONNECTED,
    ] == [state for state, _ in session.history]


async def test_sim_goes_through_every_state(autojump_clock: MockClock) -> None:
    """The simulated bot is started as well as connected to."""
    async with tp.open_session("sim:") as session:
        await session.wait_ready()
    assert list(tp.State) == [state for state, _ in session.history]
    assert "sim:" == session.started.answer["simUrl"]


async def test_history_has_the_times_of_trios_clock(autojump_clock: MockClock) -> None:
    """A bot that takes five seconds to be ready is seen to."""

    async def slow(bot: ScriptedBot) -> None:
        await trio.sleep(5)
        await just_ready(bot)

    began = trio.current_time()
    async with tp.open_session(transport=scripted(slow)) as session:
        await session.wait_ready()
    times = {state: at - began for state, at in session.history}
    assert (0, 5) == (times[tp.State.CONNECTED], times[tp.State.READY])


async def test_wait_for_a_state_that_will_not_come_raises(autojump_clock: MockClock) -> None:
    """`SessionEndedError`, outside the block too."""
    waited: list[BaseException] = []

    async def wait(session: tp.Session) -> None:
        try:
            await session.wait_for(tp.State.READY)
        except tp.SessionEndedError as error:
            waited.append(error)

    async with (
        trio.open_nursery() as nursery,
        tp.open_session(transport=scripted(lambda bot: bot.listen())) as session,
    ):
        nursery.start_soon(wait, session)
        await wait_all_tasks_blocked()
    assert [tp.SessionEndedError] == [type(error) for error in waited]
    assert "client" == waited[0].end.reason


async def test_waits_are_checkpoints_even_when_there_is_nothing_to_wait_for(
    autojump_clock: MockClock,
) -> None:
    """Every public async function is one on every success path."""
    async with tp.open_session("sim:") as session:
        await session.wait_ready()
        for call in (
            session.wait_ready,
            lambda: session.wait_for(tp.State.READY),
            lambda: session.send_text("x"),
            lambda: session.send_audio(bytes(320), sample_rate=16_000),
            lambda: session.send_client_message("silent"),
            lambda: session.request("ping"),
            lambda: session.send_video(PICTURE),
            lambda: session.stream_video([PICTURE]),
            session.mute,
            session.mute,
            session.unmute,
            session.restart_connection,
            session.interrupt,
            session.disconnect,
            session.disconnect,
        ):
            with assert_checkpoints():
                await call()


async def test_repr_says_where_it_is(autojump_clock: MockClock) -> None:
    """The state, and how it ended."""
    async with tp.open_session("sim:") as session:
        await session.wait_ready()
        assert "<Session ready>" == repr(session)
    assert "<Session disconnected, ended: client>" == repr(session)


# -- sending ---------------------------------------------------------------------------------------


PICTURE = tp.VideoFrame(data=bytes(24), width=4, height=4)

SENDS: list[Callable[[tp.Session], Awaitable[object]]] = [
    lambda s: s.send_text("x"),
    lambda s: s.send_client_message("x"),
    lambda s: s.request("x"),
    lambda s: s.send_dtmf("1"),
    lambda s: s.send_ui_event("x"),
    lambda s: s.send_raw("x"),
    lambda s: s.send_audio(bytes(2), sample_rate=16_000),
    lambda s: s.send_video(PICTURE),
    lambda s: s.stream_video([PICTURE]),
    lambda s: s.mute(),
    lambda s: s.unmute(),
    lambda s: s.restart_connection(),
    lambda s: s.interrupt(),
    lambda s: s.disconnect_bot(),
    lambda s: s.cancel_ui_job_group("x"),
    lambda s: s.send_file(tp.File(format="a/b", source=tp.UrlSource(url="http://x"))),
]


@pytest.mark.parametrize("send", SENDS)
async def test_nothing_is_sent_before_the_bot_is_ready(
    autojump_clock: MockClock,
    send: Callable[[tp.Session], Awaitable[object]],
) -> None:
    """`BotNotReadyError` says the state, and the bot has heard client-ready only."""
    heard: list[str] = []

    async def script(bot: ScriptedBot) -> None:
        await bot.listen()
        heard.extend(command.TYPE for _, command in bot.commands)

    async with tp.open_session(transport=scripted(script)) as session:
        with pytest.raises(tp.BotNotReadyError) as early:
            await send(session)
        assert tp.State.IDLE is early.value.state
        await session.wait_for(tp.State.CONNECTED)
        with pytest.raises(tp.BotNotReadyError) as early:
            await send(session)
        assert tp.State.CONNECTED is early.value.state
        await wait_all_tasks_blocked()
    assert ["client-ready"] == heard


@pytest.mark.parametrize("send", SENDS)
async def test_after_the_end_sending_raises(
    autojump_clock: MockClock,
    send: Callable[[tp.Session], Awaitable[object]],
) -> None:
    """`SessionEndedError` carries how it ended, in the block and after it."""
    async with tp.open_session(transport=scripted(just_ready)) as session:
        await session.wait_ready()
        await session.disconnect()
        with pytest.raises(tp.SessionEndedError) as inside:
            await send(session)
    with pytest.raises(tp.SessionEndedError) as after:
        await send(session)
    assert session.end == inside.value.end == after.value.end


async def test_a_message_that_is_too_large_is_refused(autojump_clock: MockClock) -> None:
    """With its size and the limit; nothing was sent, and the next one is."""
    async with tp.open_session("sim:", max_message_size=1000) as session:
        await session.wait_ready()
        with pytest.raises(tp.MessageTooLargeError) as large:
            await session.send_text("é" * 600)
        assert 1000 == large.value.limit
        assert large.value.size > 1200
        assert {"pong": 1} == await session.request("ping", 1)


async def test_what_json_cannot_carry_is_refused(autojump_clock: MockClock) -> None:
    """NaN, a lone surrogate, an object of one's own: a ValueError that names the message."""
    async with tp.open_session("sim:") as session:
        await session.wait_ready()
        for bad in (float("nan"), "\ud800", object(), {1j}):
            with pytest.raises(ValueError, match="client-message"):
                await session.send_client_message("x", bad)
        assert {"pong": 1} == await session.request("ping", 1)


@pytest.mark.parametrize("keys", ["", "a", "12 3", "１"])
async def test_keys_that_no_telephone_has_are_refused(autojump_clock: MockClock, keys: str) -> None:
    """Also wide digits, which Python takes for digits."""
    async with tp.open_session("sim:") as session:
        await session.wait_ready()
        with pytest.raises(ValueError, match="keys"):
            await session.send_dtmf(keys)


@pytest.mark.parametrize(
    ("version", "send", "feature"),
    [
        (
            "2.1.0",
            lambda s: s.send_file(tp.File(format="a", source=tp.UrlSource(url="b"))),
            "send-file",
        ),
        ("1.4.0", lambda s: s.send_dtmf("1"), "dtmf"),
        ("1.3.0", lambda s: s.cancel_ui_job_group("x"), "ui-cancel-job-group"),
        ("1.0.0", lambda s: s.send_text("x"), "send-text"),
    ],
)
async def test_what_an_older_bot_does_not_have_is_refused(
    autojump_clock: MockClock,
    version: str,
    send: Callable[[tp.Session], Awaitable[object]],
    feature: str,
) -> None:
    """`UnsupportedFeatureError` names the feature and the version that has it."""

    async def script(bot: ScriptedBot) -> None:
        await bot.become_ready(version)
        await bot.listen()

    async with tp.open_session(transport=scripted(script)) as session:
        await session.wait_ready()
        with pytest.raises(tp.UnsupportedFeatureError) as unsupported:
            await send(session)
    assert feature == unsupported.value.feature
    assert version in unsupported.value.needs


async def test_keys_go_one_by_one_to_a_2_0_bot(autojump_clock: MockClock) -> None:
    """Pipecat 1.5 takes one key a message."""
    heard: list[object] = []

    async def script(bot: ScriptedBot) -> None:
        await bot.become_ready("2.0.0")
        for _ in range(3):
            heard.append(await bot.link.receive())
        await bot.listen()

    async with tp.open_session(transport=scripted(script)) as session:
        await session.wait_ready()
        await session.send_dtmf("12#")
        await wait_all_tasks_blocked()
    assert ['{"button":"1"}', '{"button":"2"}', '{"button":"#"}'] == [
        str(text).partition('"data":')[2][:-1] for text in heard
    ]


@pytest.mark.parametrize(
    ("pcm", "rate", "channels", "what"),
    [
        (b"abc", 16_000, 1, "bytes"),
        (bytes(2), 16_000, 2, "bytes"),
        (b"", 0, 1, "rate"),
        (b"", 1, 0, "channels"),
    ],
)
async def test_what_cannot_be_sound_is_refused(
    autojump_clock: MockClock, pcm: bytes, rate: int, channels: int, what: str
) -> None:
    """Half a sample, a rate of zero, no channels."""
    async with tp.open_session("sim:") as session:
        await session.wait_ready()
        with pytest.raises(ValueError, match=what):
            await session.send_audio(pcm, sample_rate=rate, num_channels=channels)


async def test_much_audio_goes_in_whole_frames(autojump_clock: MockClock) -> None:
    """What is larger than a frame is cut between samples, and nothing is lost."""
    pcm = bytes(range(256)) * 1000
    heard: list[tp.AudioChunk] = []

    async def script(bot: ScriptedBot) -> None:
        await bot.become_ready()
        for _ in range(4):
            heard.append(await bot.link.receive())
        await bot.listen()

    async with tp.open_session(transport=scripted(script)) as session:
        await session.wait_ready()
        await session.send_audio(pcm, sample_rate=48_000, num_channels=2)
        await wait_all_tasks_blocked()
    assert pcm == b"".join(chunk.pcm for chunk in heard)
    assert {(48_000, 2)} == {(chunk.sample_rate, chunk.num_channels) for chunk in heard}


# -- files --------------------------------------------------------------------------------------


def heard(bot: list[ScriptedBot]) -> bytes:
    """Return the sound that a bot was sent."""
    return b"".join(chunk.pcm for chunk in bot[0].sounds)


async def listening(bot: ScriptedBot) -> None:
    await bot.become_ready()
    await bot.listen()


async def test_a_stream_comes_in_frames_on_the_beat(autojump_clock: MockClock) -> None:
    """Converted to what the bot listens to, and silence follows."""
    bots: list[ScriptedBot] = []

    async def script(bot: ScriptedBot) -> None:
        bots.append(bot)
        await listening(bot)

    tone = AudioChunk(b"\x00\x10" * 48_000, 48_000)
    async with tp.open_session(transport=scripted(script), audio_in_sample_rate=8_000) as session:
        await session.wait_ready()
        before = trio.current_time()
        report = await session.stream_audio(tone)
        assert 1.0 == pytest.approx(trio.current_time() - before, abs=0.006)
        await trio.sleep(0.5)
    frames = bots[0].sounds
    assert {(8_000, 1, 160)} == {(f.sample_rate, f.num_channels, f.num_frames) for f in frames}
    assert 8_000 == pytest.approx(len(heard(bots).rstrip(b"\0")) / 2, abs=2)
    assert 74 <= len(frames) <= 76
    assert (1.0, 50) == (pytest.approx(report.seconds), report.lateness.count)
    assert len(frames) == session.pacing.count


async def test_a_stream_that_is_cancelled_tells_what_was_sent(autojump_clock: MockClock) -> None:
    """To whoever has handed in a report."""
    async with tp.open_session("sim:?greeting=") as session:
        await session.wait_ready()
        report = tp.StreamReport()
        with trio.move_on_after(1):
            await session.stream_audio(AudioChunk.silence(5, 16_000), report=report)
        assert 1 == pytest.approx(report.seconds, abs=0.03)


@pytest.mark.parametrize(
    ("source", "options", "error", "text"),
    [
        (5, {}, TypeError, "path, sound, or an iterable"),
        (b"", {}, ValueError, "sample_rate"),
        (b"", {"sample_rate": 8_000, "idle_audio": "noise"}, ValueError, "idle_audio is one of"),
        ("none.wav", {}, FileNotFoundError, "none.wav"),
    ],
)
async def test_what_cannot_be_streamed_is_refused(
    autojump_clock: MockClock, source: Any, options: Any, error: type[Exception], text: str
) -> None:
    """And the session goes on."""
    async with tp.open_session(transport=scripted(just_ready)) as session:
        await session.wait_ready()
        with pytest.raises(error, match=text):
            await session.stream_audio(source, **options)
        await session.stream_audio(AudioChunk.silence(0.1, 16_000))


async def test_a_file_is_there_before_the_beat_begins(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A disk is slower than a virtual clock, and may be slower than a real one."""
    path = tmp_path / "hello.wav"
    write_wav(path, AudioChunk(b"\1\1" * 16_000 * 30, 16_000))
    async with tp.open_session(transport=scripted(just_ready)) as session:
        await session.wait_ready()
        report = await session.stream_audio(path)
    assert (30, 0, 0) == (report.seconds, report.silence_seconds, report.waited_seconds)


async def test_nothing_is_streamed_before_the_bot_is_ready(autojump_clock: MockClock) -> None:
    """Nor is the source touched."""
    async with tp.open_session(transport=scripted(just_ready)) as session:
        with pytest.raises(tp.BotNotReadyError):
            await session.stream_audio("none.wav")


@pytest.mark.parametrize("gone", [leaves(), vanishes])
async def test_a_stream_ends_with_its_session(autojump_clock: MockClock, gone: Any) -> None:
    """Whether it has something to send or waits for its source; errors are raised here."""
    for source in ([AudioChunk.silence(10, 8_000)], never()):
        bot = ready_then(pauses(1), gone)
        with trio.fail_after(5):
            try:
                async with tp.open_session(transport=bot) as session:
                    await session.wait_ready()
                    await session.stream_audio(source, idle_audio="none")
            except tp.ConnectionLostError:
                assert gone is vanishes
        assert session.end is not None


async def never() -> AsyncIterator[bytes]:
    """A source that has nothing, for ever."""
    await trio.sleep_forever()
    yield b""


async def test_a_stream_may_outlive_the_bot_of_a_session_that_is_kept(
    autojump_clock: MockClock,
) -> None:
    """It is told; so is the next."""
    bot = ready_then(pauses(1), leaves())
    async with tp.open_session(transport=bot, disconnect_on_bot_disconnect=False) as session:
        await session.wait_ready()
        for _ in range(2):
            with pytest.raises(tp.SessionEndedError):
                await session.stream_audio(never())


@pytest.mark.parametrize(
    ("rate", "channels"), [(0, 1), (16_000, 0), (1, 1), (4_000_000_000, 255), (16_000, 256)]
)
async def test_audio_that_cannot_be_is_a_malformed_message(
    autojump_clock: MockClock, rate: int, channels: int
) -> None:
    """Whoever listens hears nothing of it, and goes on."""

    async def script(bot: ScriptedBot) -> None:
        await bot.become_ready()
        await bot.link.send_audio(AudioChunk(b"\0\x40" * 510, rate, channels))
        await bot.link.send_audio(AudioChunk(b"\0\x40" * 320, 16_000))
        await bot.listen()

    async with tp.open_session(transport=scripted(script)) as session:
        TurnLog(session)
        with session.subscribe(tp.MalformedMessage) as malformed:
            async for chunk in session.audio:
                assert 16_000 == chunk.sample_rate
                break
            reason = malformed.receive_nowait().reason
            assert f"audio of {rate} Hz in {channels} channel(s)" == reason


async def test_a_flush_that_raises_ends_the_session_with_that(
    autojump_clock: MockClock,
) -> None:
    """It is not the package's bug; other streams are flushed all the same."""
    bot = ready_then(pauses(1), lambda bot: bot.interrupt(), pauses(9))
    flushed = []
    with pytest.raises(KeyError, match="mine"):
        async with tp.open_session(transport=bot) as session:
            other = session.subscribe_audio()
            others = [session.subscribe_audio() for _ in range(2)]
            session.audio.on_flush.append(lambda: {}["mine"])
            other.on_flush.append(other.close)
            others[0].on_flush.append(lambda: flushed.append(trio.current_time()))
            await trio.sleep_forever()
    assert {1} == {*flushed}
    assert trio.current_time() < 5


@pytest.mark.parametrize("network", [virtual_network, nullcontext])
async def test_a_tap_hears_what_nobody_reads(network: Any) -> None:
    """Until its block is left; and one that raises ends its session alone, with that."""
    heard: list[AudioChunk] = []
    bot = SimulatedBot(voice=Voice(word_seconds=0.02), think_seconds=0)
    with network():
        async with serve_bot(bot) as served, tp.open_session(served.ws_url) as session:
            await session.wait_ready()
            with session.audio.tap(heard.append):
                await _hear_out(session)
            assert 0.02 < sum(chunk.duration for chunk in heard)
            assert 0 == session.audio.unread
            before = len(heard)
            await _hear_out(session)
            assert before == len(heard)
            with pytest.raises(KeyError, match="mine"):
                async with tp.open_session(served.ws_url) as other:
                    await other.wait_ready()
                    with other.audio.tap(lambda chunk: {}["mine"]):
                        await _hear_out(other)
                        await trio.sleep_forever()
            await _hear_out(session)


async def _hear_out(session: tp.Session) -> None:
    await session.send_text("hello")
    await session.wait_event(tp.BotStoppedSpeaking)


async def test_last_words_can_be_streamed_by_who_is_cancelled(autojump_clock: MockClock) -> None:
    """As they can be sent: what sends them outlives the body, as the link does."""
    async with trio.open_nursery() as nursery:
        async with tp.open_session(transport=scripted(just_ready)) as session:
            await session.wait_ready()
            await session.stream_audio(AudioChunk.silence(0.1, 16_000))
            nursery.cancel_scope.cancel()
            with trio.fail_after(2, shield=True):
                report = await session.stream_audio(AudioChunk.silence(1, 16_000))
            assert 1 == pytest.approx(report.seconds)


async def test_the_bots_own_voice_can_be_streamed_back(autojump_clock: MockClock) -> None:
    """A session's audio is a source like any other."""
    bots: list[ScriptedBot] = []

    async def script(bot: ScriptedBot) -> None:
        bots.append(bot)
        await bot.become_ready()
        for number in range(10):
            await bot.link.send_audio(AudioChunk(bytes([number + 1]) * 640, 16_000))
            await trio.sleep(0.02)
        await bot.listen()

    async with tp.open_session(transport=scripted(script)) as session:
        await session.wait_ready()
        with trio.move_on_after(2):
            await session.stream_audio(session.audio)
    echo = heard(bots).strip(b"\0")
    assert bytes(range(2, 11)) == bytes(dict.fromkeys(echo.lstrip(b"\1")))


def uploading(url: str | None) -> tp.StartedBot:
    """Return a bot that was started at `url`'s origin and takes uploads there."""
    params = tp.ConnectParams(transport="websocket", file_upload_url=url)
    return tp.StartedBot(endpoint=f"{url or 'http://x'}/start", answer={}, params=params)


async def test_a_path_goes_inside_the_message_where_no_uploads_are_taken(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """With its name, and the format that its name says."""
    path = tmp_path / "cat.png"
    path.write_bytes(b"picture")
    bot = SimulatedBot()
    async with tp.open_session(transport=bot.connect) as session:
        await session.wait_ready()
        await session.send_file(path, "look", custom_options={"a": 1})
        await session.request("ping")
        with pytest.raises(tp.UnsupportedFeatureError, match="fileUploadUrl"):
            await session.upload_file(path)
        with pytest.raises(FileNotFoundError):
            await session.send_file(tmp_path / "nothing")
        path.write_bytes(bytes(2**20))
        with pytest.raises(tp.MessageTooLargeError):
            await session.send_file(path)
    sent = bot.conversations[0].received[1][1]
    file = tp.File(format="image/png", name="cat.png", source=tp.InlineSource(content=b"picture"))
    assert tp.SendFile(content="look", file=file, custom_options={"a": 1}) == sent


@pytest.mark.socket
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_path_is_uploaded_where_uploads_are_taken(tmp_path: Path, elsewhere: bool) -> None:
    """The message says where; headers go along to the origin of the start request only."""
    path = tmp_path / "notes"
    path.write_bytes(b"some text")
    described = {"name": "notes", "format": "text/plain", "source": {"type": "url", "url": "p:1"}}
    bot = SimulatedBot()
    async with serve_http(answering(200, described)) as server:
        started = uploading(server.url("/files"))
        if elsewhere:
            started.endpoint = "http://localhost:1/start"
        headers = {"X-Key": "k"}
        async with tp.open_session(started, transport=bot.connect, headers=headers) as session:
            await session.wait_ready()
            await session.send_file(path)
            uploaded = await session.upload_file(path, format="text/plain")
            await session.request("ping")
    assert (
        tp.UrlSource(url="p:1")
        == uploaded.source
        == bot.conversations[0].received[1][1].file.source
    )
    first, second = server.requests
    assert b"application/octet-stream" in first.body
    assert b"text/plain" in second.body
    assert ([] if elsewhere else ["k"]) == first.header("x-key")


async def test_nothing_is_read_or_uploaded_before_the_bot_is_ready(tmp_path: Path) -> None:
    """The answer would be of no use."""
    async with tp.open_session(uploading(None), transport=scripted(just_ready)) as session:
        with pytest.raises(tp.BotNotReadyError):
            await session.send_file(tmp_path / "nothing")


async def test_a_tree_may_be_a_mapping(autojump_clock: MockClock) -> None:
    """It is checked like any other."""
    bot = SimulatedBot()
    root = {"ref": "1", "role": "button", "pressed": True}
    async with tp.open_session(transport=bot.connect) as session:
        await session.wait_ready()
        await session.send_ui_snapshot({"root": root, "captured_at": 5})
        with pytest.raises(TypeError, match=r"root\.role is missing"):
            await session.send_ui_snapshot({"root": {"ref": "1"}, "captured_at": 5})
        await session.request("ping")
    tree = bot.conversations[0].received[1][1].tree
    assert (
        tp.UiTree(root=tp.UiNode(ref="1", role="button", other={"pressed": True}), captured_at=5)
        == tree
    )


# -- a link that breaks under a send ---------------------------------------------------------------


@pytest.mark.parametrize(
    "send",
    [
        lambda s: s.send_text("x" * 1000),
        lambda s: s.send_audio(bytes(1000), sample_rate=16_000),
        lambda s: s.send_video(PICTURE),
        lambda s: s.stream_video([PICTURE] * 1000),
        lambda s: s.interrupt(),
    ],
)
async def test_a_sender_that_waits_gets_the_error(
    autojump_clock: MockClock, send: Callable[[tp.Session], Awaitable[object]]
) -> None:
    """It was waiting for the other side to read."""

    async def deaf(bot: ScriptedBot) -> None:
        await bot.become_ready()
        await trio.sleep(5)
        bot.link.vanish()

    async with tp.open_session(transport=scripted(deaf)) as session:
        await session.wait_ready()
        with pytest.raises(tp.ConnectionLostError):
            while True:
                await send(session)
    assert 5 == trio.current_time()
    assert "connection_lost" == session.end.reason


async def test_a_sender_that_is_cancelled_has_sent_nothing(autojump_clock: MockClock) -> None:
    """And the next message is whole."""

    async def deaf(bot: ScriptedBot) -> None:
        await bot.become_ready()
        await trio.sleep(5)
        await bot.listen()
        heard.extend(command.content for _, command in bot.commands[1:])

    heard: list[str] = []
    sent = 0
    async with tp.open_session(transport=scripted(deaf)) as session:
        await session.wait_ready()
        with trio.move_on_after(1):
            while True:
                await session.send_text(str(sent))
                sent += 1
        await session.send_text("after")
        await wait_all_tasks_blocked()
    assert [*map(str, range(sent)), "after"] == heard
    assert sent > 100


# -- waiting for events: nothing between a call and the next is missed -----------------------------


async def test_an_answer_cannot_come_before_it_is_waited_for(autojump_clock: MockClock) -> None:
    """What is waited for right after a send, a wait or a request is not missed, however it is
    scheduled."""

    async def script(bot: ScriptedBot) -> None:
        id_ = await bot.hear_of(tp.ClientReady)
        await bot.say(tp.BotReady(id=id_, version="2.2.0"), tp.ServerMessage(data="greeting"))
        await bot.hear_of(tp.SendText)
        await bot.say(tp.BotLlmStarted(), tp.BotLlmStopped())
        id_ = await bot.hear_of(tp.ClientMessage)
        await bot.say(tp.ServerResponse(id=id_, t="x", d=1), tp.ServerMessage(data="after"))
        await bot.listen()

    for _ in range(50):
        with trio.fail_after(60):
            async with tp.open_session(transport=scripted(script)) as session:
                await session.wait_ready()
                assert "greeting" == (await session.wait_event(tp.ServerMessage)).data
                await session.send_text("x")
                await session.wait_event(tp.BotLlmStarted)
                await session.wait_event(tp.BotLlmStopped)
                assert 1 == await session.request("x")
                assert "after" == (await session.wait_event(tp.ServerMessage)).data


async def test_wait_event_takes_the_first_for_which_where_is_true(
    autojump_clock: MockClock,
) -> None:
    """Others of its type are passed over."""
    bot = ready_then(says(*(tp.ServerMessage(data=number) for number in range(5))))
    async with tp.open_session(transport=bot) as session:
        event = await session.wait_event(tp.ServerMessage, where=lambda e: e.data > 2)
        assert 3 == event.data


async def test_what_where_raises_comes_out(autojump_clock: MockClock) -> None:
    """In the waiting task, and the session goes on."""
    async with tp.open_session("sim:") as session:
        with pytest.raises(ZeroDivisionError):
            await session.wait_event(tp.BotReady, where=lambda e: 1 / 0 > 0)
        await session.wait_ready()
        assert {"pong": 1} == await session.request("ping", 1)


async def test_wait_event_outside_the_block_is_told_of_the_end(autojump_clock: MockClock) -> None:
    """`SessionEndedError`."""
    told: list[tp.SessionEndedError] = []

    async def wait(session: tp.Session) -> None:
        with pytest.raises(tp.SessionEndedError) as ended:
            await session.wait_event(tp.BotOutput)
        told.append(ended.value)

    async with trio.open_nursery() as nursery, tp.open_session("sim:?greeting=") as session:
        await session.wait_ready()
        nursery.start_soon(wait, session)
        await wait_all_tasks_blocked()
    assert ["client"] == [error.end.reason for error in told]


# -- streams ---------------------------------------------------------------------------------------


async def test_iterating_gives_every_event_since_the_beginning(autojump_clock: MockClock) -> None:
    """Even if the body begins to read late."""
    bot = ready_then(says(tp.ServerMessage(data=1)))
    async with tp.open_session(transport=bot) as session:
        await session.wait_ready()
        await trio.sleep(10)
        events = []
        async for event in session:
            events.append(event)
            if isinstance(event, tp.ServerMessage):
                break
    assert [
        tp.StateChanged,
        tp.StateChanged,
        tp.Connected,
        tp.BotConnected,
        tp.BotReady,
        tp.StateChanged,
        tp.ServerMessage,
    ] == [type(event) for event in events]
    assert all(event.at >= 0 for event in events)
    assert {"label": "rtvi-ai", "type": "server-message", "data": 1} == events[-1].raw


async def test_subscribing_before_the_first_await_misses_nothing(autojump_clock: MockClock) -> None:
    """It does not wait."""
    async with tp.open_session("sim:") as session:
        with session.subscribe(tp.StateChanged) as states:
            assert tp.State.IDLE is session.state
            await session.wait_ready()
            seen = [states.receive_nowait().state for _ in range(states.unread)]
    assert list(tp.State)[1:6] == seen


async def test_streams_are_independent(autojump_clock: MockClock) -> None:
    """Two subscriptions and the session's own each give everything of theirs."""
    bot = ready_then(says(*(tp.ServerMessage(data=number) for number in range(10))))
    async with tp.open_session(transport=bot) as session:
        one, other = session.subscribe(tp.ServerMessage), session.subscribe(tp.BotMessage)
        await session.wait_event(tp.ServerMessage, where=lambda e: e.data == 9)
        assert [10, 11] == [one.unread, other.unread]
        own = [event async for event in _until(session, lambda e: getattr(e, "data", None) == 9)]
        assert 10 == sum(isinstance(event, tp.ServerMessage) for event in own)


async def _until_list(session: tp.Session, last: Callable[[tp.Event], bool]) -> list[tp.Event]:
    events = []
    async for event in session:
        events.append(event)
        if last(event):
            break
    return events


def _until(session: tp.Session, last: Callable[[tp.Event], bool]) -> Any:
    class Events:
        def __init__(self) -> None:
            self._done = False
            self._reader = aiter(session)

        def __aiter__(self) -> Any:
            return self

        async def __anext__(self) -> tp.Event:
            if self._done:
                raise StopAsyncIteration
            event = await anext(self._reader)
            self._done = last(event)
            return event

    return Events()


async def test_a_reader_that_is_too_slow_ends_the_session_and_is_named(
    autojump_clock: MockClock,
) -> None:
    """Events never drop, so the one who does not read them has to go."""
    flood = says(*(tp.ServerMessage(data=number) for number in range(100)))
    with pytest.raises(tp.SlowReaderError) as slow:
        async with tp.open_session(transport=ready_then(flood), event_buffer=20) as session:
            session.subscribe(tp.ServerMessage, name="captions")
            await trio.sleep_forever()
    assert ("captions", 20) == (slow.value.reader.partition(",")[0], slow.value.limit)
    assert "client" == session.end.reason


async def test_a_body_that_does_not_read_is_not_slow(autojump_clock: MockClock) -> None:
    """It may begin late, and is told how much was not kept."""
    flood = says(*(tp.ServerMessage(data=number) for number in range(100)))
    async with tp.open_session(transport=ready_then(flood), event_buffer=20) as session:
        await session.wait_event(tp.ServerMessage, where=lambda e: e.data == 99)
        events = await _until_list(session, lambda e: getattr(e, "data", None) == 99)
    assert tp.EventsSkipped is type(events[0])
    assert 20 == len(events) - 1
    assert 106 == events[0].count + 20


async def test_malformed_and_unknown_messages_are_events(autojump_clock: MockClock) -> None:
    """Neither ends the session, and nothing of them is lost."""

    async def script(bot: ScriptedBot) -> None:
        await bot.become_ready()
        for text in (
            "garbage",
            "[1]",
            '{"label":"rtvi-ai","type":"bot-output","data":{"text":5}}',
            '{"label":"rtvi-ai","type":"from-the-future","data":{"a":1}}',
            '{"type":"bot-output","data":{"text":"unlabelled"}}',
        ):
            await bot.link.send_message(text)
        await bot.say(tp.ServerMessage(data="end"))
        await bot.listen()

    async with tp.open_session(transport=scripted(script)) as session:
        with session.subscribe(tp.MalformedMessage, tp.UnknownMessage) as odd:
            await session.wait_event(tp.ServerMessage)
            events = [odd.receive_nowait() for _ in range(odd.unread)]
    assert [
        "not JSON (JSONDecodeError): 'garbage'",
        "not a JSON object",
        "text: expected a string, got an integer",
        ("from-the-future", {"a": 1}),
        "not labelled rtvi-ai",
    ] == [e.reason if isinstance(e, tp.MalformedMessage) else (e.type, e.data) for e in events]
    assert "garbage" == events[0].raw


async def test_a_version_that_does_not_match_is_loud(autojump_clock: MockClock) -> None:
    """An event, `protocol`, and a line in the log."""

    async def script(bot: ScriptedBot) -> None:
        id_ = await bot.hear_of(tp.ClientReady)
        await bot.say(tp.ErrorResponse(id=id_, error="not compatible"))
        await bot.say(tp.BotReady(id=id_, version="1.3.0"))
        await bot.listen()

    async with tp.open_session(transport=scripted(script)) as session:
        mismatch = await session.wait_event(tp.ProtocolMismatch)
        await session.wait_ready()
        assert ("2.2.0", "1.3.0", "not compatible") == (
            mismatch.ours,
            mismatch.bot,
            mismatch.detail,
        )
        assert "not compatible" == session.protocol.problem


# -- audio -----------------------------------------------------------------------------------------


def sounds(*seconds: float, rate: int = 16_000) -> Callable[[ScriptedBot], Awaitable[None]]:
    async def send(bot: ScriptedBot) -> None:
        for number, duration in enumerate(seconds):
            pcm = bytes([number]) * (round(rate * duration) * 2)
            await bot.link.send_audio(tp.AudioChunk(pcm, rate))

    return send


async def test_audio_is_kept_from_when_somebody_begins_to_read(autojump_clock: MockClock) -> None:
    """Before, it costs nothing; what comes then is stamped with when it came."""
    bot = ready_then(sounds(0.1), pauses(1), sounds(0.2))
    async with tp.open_session(transport=bot) as session:
        await session.wait_ready()
        await trio.sleep(0.5)
        assert 0 == session.audio.unread
        reader = aiter(session.audio)
        chunk = await anext(reader)
        assert (0.2, 1) == (chunk.duration, chunk.at)


async def test_unread_audio_is_bounded_in_seconds(autojump_clock: MockClock) -> None:
    """The oldest goes first, and is counted."""
    bot = ready_then(sounds(*[0.5] * 10))
    async with tp.open_session(transport=bot, audio_buffer=2) as session:
        reader = aiter(session.audio)
        await trio.sleep(1)
        assert (2.0, 3.0) == (session.audio.unread_seconds, session.audio.dropped_seconds)
        assert 6 == (await anext(reader)).pcm[0]


@pytest.mark.parametrize("by_the_wire", [True, False])
async def test_an_interruption_flushes_unread_audio(
    autojump_clock: MockClock, by_the_wire: bool
) -> None:
    """On either of the two signals."""
    signal = (lambda bot: bot.interrupt()) if by_the_wire else says(tp.BotInterrupted())
    bot = ready_then(sounds(0.5, 0.5), pauses(1), signal, sounds(0.25))
    async with tp.open_session(transport=bot) as session:
        reader = aiter(session.audio)
        await trio.sleep(2)
        assert (0.25, 1.0) == (session.audio.unread_seconds, session.audio.flushed_seconds)
        assert 0.25 == (await anext(reader)).duration


@pytest.mark.parametrize("by_the_wire", [True, False])
async def test_stale_audio_is_a_number(autojump_clock: MockClock, by_the_wire: bool) -> None:
    """What was read and would still sound, and what came of it after the interruption."""
    signal = (lambda bot: bot.interrupt()) if by_the_wire else says(tp.BotInterrupted())
    bot = ready_then(
        says(tp.BotStartedSpeaking()),
        sounds(0.5, 0.5),
        pauses(0.3),
        signal,
        sounds(0.25),
        says(tp.BotStoppedSpeaking()),
        sounds(0.5),
    )
    async with tp.open_session(transport=bot) as session:
        reader = aiter(session.audio)
        for _ in range(2):
            await anext(reader)
        await trio.sleep(1)
        assert 0.7 + 0.25 == pytest.approx(session.audio.stale_seconds)
        assert (0, 0.75) == (session.audio.flushed_seconds, session.audio.unread_seconds)


async def test_audio_that_is_read_in_time_is_not_stale(autojump_clock: MockClock) -> None:
    """A bot that sends in real time leaves at most a chunk."""
    bot = ready_then(*[sounds(0.02), pauses(0.02)] * 50, says(tp.BotInterrupted()))
    async with tp.open_session(transport=bot) as session:
        with trio.move_on_after(2):
            async for _ in session.audio:
                pass
        assert 0.02 >= session.audio.stale_seconds


async def test_a_change_of_format_is_announced(autojump_clock: MockClock) -> None:
    """`AudioStarted`, once for each format in a row."""
    bot = ready_then(sounds(0.1, 0.1), sounds(0.1, rate=8_000), says(tp.ServerMessage(data=1)))
    async with tp.open_session(transport=bot) as session:
        with session.subscribe(tp.AudioStarted) as started:
            await session.wait_event(tp.ServerMessage)
            rates = [started.receive_nowait().sample_rate for _ in range(started.unread)]
    assert [16_000, 8_000] == rates


def pieces(*cut: bytes, rate: int = 16_000, channels: int = 1) -> Callable[..., Awaitable[None]]:
    async def send(bot: ScriptedBot) -> None:
        for pcm in cut:
            await bot.link.send_audio(tp.AudioChunk(pcm, rate, channels))

    return send


async def heard_of(*steps: Callable[[ScriptedBot], Awaitable[None]]) -> list[tp.AudioChunk]:
    """Return all that a session hears of a bot that does this, and leaves."""
    heard: list[tp.AudioChunk] = []
    async with tp.open_session(transport=ready_then(*steps, leaves())) as session:
        async for chunk in session.audio:
            heard.append(chunk)
    return heard


async def test_sound_that_is_cut_within_a_frame_is_put_together(autojump_clock: MockClock) -> None:
    """What is no frame yet waits for its end; chunks of nothing are not handed out."""
    heard = await heard_of(pieces(b"abc", b"d", b"", b"e", b"fghijklmn", b"op", channels=2))
    assert [b"abcd", b"efghijkl", b"mnop"] == [chunk.pcm for chunk in heard]
    assert [1, 2, 1] == [chunk.num_frames for chunk in heard]


async def test_half_a_frame_of_another_format_is_forgotten(autojump_clock: MockClock) -> None:
    """What comes at another rate begins with a frame."""
    heard = await heard_of(pieces(b"abc"), pieces(b"defg", rate=8_000), pieces(b"hi"))
    assert [b"ab", b"defg", b"hi"] == [chunk.pcm for chunk in heard]


@pytest.mark.parametrize("by_the_wire", [True, False])
async def test_half_a_frame_is_forgotten_on_an_interruption(
    autojump_clock: MockClock, by_the_wire: bool
) -> None:
    """Its end does not come."""
    signal = (lambda bot: bot.interrupt()) if by_the_wire else says(tp.BotInterrupted())
    heard = await heard_of(pieces(b"abc"), signal, pieces(b"defg"))
    assert b"defg" == heard[-1].pcm


async def test_whole_frames_are_handed_out_as_they_came(autojump_clock: MockClock) -> None:
    """Without a copy; a recorder sees what came, whole or not."""
    chunk = tp.AudioChunk(bytes(640), 16_000)
    taken: list[object] = []

    class Watching(Tap):
        def received(self, item: object, at: float) -> None:
            taken.append(item)

    async def send(bot: ScriptedBot) -> None:
        await bot.link.send_audio(chunk)
        await bot.link.send_audio(tp.AudioChunk(b"abc", 16_000))

    heard: list[tp.AudioChunk] = []
    async with tp.open_session(transport=ready_then(send, leaves())) as session:
        session._driver.taps.append(Watching())
        async for item in session.audio:
            heard.append(item)
    assert chunk.pcm is heard[0].pcm
    assert [chunk.pcm, b"abc"] == [i.pcm for i in taken if isinstance(i, tp.AudioChunk)]


async def test_an_interruption_is_one_event(autojump_clock: MockClock) -> None:
    """A 1.x bot has only the wire's signal; with that of a 2.x bot comes a message."""
    for version in ("1.3.0", "2.2.0"):

        async def script(bot: ScriptedBot, version: str = version) -> None:
            await bot.become_ready(version)
            await bot.interrupt()
            if version == "2.2.0":
                await bot.say(tp.BotInterrupted())
            await bot.say(tp.ServerMessage(data=1))
            await bot.listen()

        async with tp.open_session(transport=scripted(script)) as session:
            with session.subscribe(tp.BotInterrupted) as interrupted:
                await session.wait_event(tp.ServerMessage)
                assert 1 == interrupted.unread


# -- the end: who is told, who is cancelled --------------------------------------------------------


async def test_a_goodbye_in_the_same_packet_is_delivered(autojump_clock: MockClock) -> None:
    """What was received is read first, then the block is cancelled."""
    bot = ready_then(says(tp.ServerMessage(data="goodbye")), leaves(1000, "done"))
    heard = []
    async with tp.open_session(transport=bot) as session:
        async for event in session:
            heard.append(event)
        raise AssertionError("the body was cancelled")
    assert "goodbye" in [event.data for event in heard if isinstance(event, tp.ServerMessage)]
    assert (1000, "done") == (session.end.code, session.end.text)


async def test_a_body_may_take_its_time_with_the_last_event(autojump_clock: MockClock) -> None:
    """It has `disconnect_timeout` to come back for more."""
    bot = ready_then(says(tp.ServerMessage(data="goodbye")), leaves())
    done = []
    async with tp.open_session(transport=bot, disconnect_timeout=5) as session:
        async for event in session:
            await trio.sleep(0.1)
            done.append(type(event))
    assert tp.Disconnected is done[-1]


async def test_a_body_that_does_not_finish_reading_is_cancelled_after_the_grace(
    autojump_clock: MockClock,
) -> None:
    """Then, and not later."""
    bot = ready_then(pauses(1), leaves())
    async with tp.open_session(transport=bot, disconnect_timeout=5) as session:
        async for _ in session:
            await trio.sleep(100)
    assert 6 == trio.current_time()


async def test_a_body_that_stopped_reading_is_cancelled_at_once(autojump_clock: MockClock) -> None:
    """A loop that was left is no reader any more."""
    bot = ready_then(says(tp.ServerMessage(data=1)), pauses(1), leaves())
    async with tp.open_session(transport=bot, disconnect_timeout=5) as session:
        async for event in session:
            if isinstance(event, tp.BotReady):
                break
        await trio.sleep_forever()
    assert 1 == trio.current_time()
    assert "bot" == session.end.reason


async def test_a_body_that_sends_after_the_bot_left_is_cancelled_there(
    autojump_clock: MockClock,
) -> None:
    """A bot that has left is no error, so the send does not raise."""
    bot = ready_then(says(tp.ServerMessage(data=1), tp.ServerMessage(data=2)), leaves())
    async with tp.open_session(transport=bot, disconnect_timeout=5) as session:
        async for event in session:
            if isinstance(event, tp.ServerMessage):
                await session.states.disconnected.wait()
                await session.send_text("too late")
                raise AssertionError("not reached")
    assert 0 == trio.current_time()


async def test_the_first_waiter_in_the_block_gets_the_error_itself(
    autojump_clock: MockClock,
) -> None:
    """A later call gets a copy, and nothing leaves the block."""
    async with tp.open_session(transport=ready_then(pauses(1), vanishes)) as session:
        await session.wait_ready()
        with pytest.raises(tp.ConnectionLostError) as first:
            await session.request("x", timeout=60)
        with pytest.raises(tp.ConnectionLostError) as second:
            await session.request("x")
    assert first.value is session.end.error
    assert second.value is not first.value
    assert str(first.value) == str(second.value)


@pytest.mark.parametrize(
    "wait",
    [
        lambda session: session.request("x", timeout=60),
        lambda session: session.wait_event(tp.BotOutput),
    ],
)
async def test_an_error_that_a_child_task_swallows_is_not_raised_again(
    autojump_clock: MockClock, wait: Callable[[tp.Session], Awaitable[object]]
) -> None:
    """It was told where it was waited for; the rest of the block is cancelled."""

    async def ask(session: tp.Session) -> None:
        with pytest.raises(tp.ConnectionLostError):
            await wait(session)

    async with tp.open_session(transport=ready_then(pauses(1), vanishes)) as session:
        await session.wait_ready()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, session)
            await trio.sleep_forever()
    assert 1 == trio.current_time()
    assert "connection_lost" == session.end.reason


async def test_a_waiter_outside_the_block_does_not_count(autojump_clock: MockClock) -> None:
    """It gets a copy of the error, and the block raises the error itself."""
    told = []

    async def ask(session: tp.Session) -> None:
        with pytest.raises(tp.ConnectionLostError) as lost:
            await session.request("x", timeout=60)
        told.append(lost.value)

    async with trio.open_nursery() as nursery:
        with pytest.raises(tp.ConnectionLostError) as left:
            async with tp.open_session(transport=ready_then(pauses(1), vanishes)) as session:
                await session.wait_ready()
                nursery.start_soon(ask, session)
                await trio.sleep_forever()
    assert left.value is session.end.error
    assert 1 == len(told)
    assert told[0] is not left.value


async def test_wait_ready_raises_the_startup_error_every_time(autojump_clock: MockClock) -> None:
    """The first time itself, then copies; outside the block and after it too."""
    async with tp.open_session(transport=scripted(lambda bot: bot.leave(1011, "boom"))) as session:
        with pytest.raises(tp.ConnectionLostError) as first:
            await session.wait_ready()
        with pytest.raises(tp.ConnectionLostError):
            await session.wait_ready()
    with pytest.raises(tp.ConnectionLostError):
        await session.wait_ready()
    assert first.value is session.end.error
    assert ("startup_failed", 1011, "boom") == (
        session.end.reason,
        session.end.code,
        session.end.text,
    )


async def test_wait_for_is_told_and_does_not_count(autojump_clock: MockClock) -> None:
    """The body that waits in it is cancelled, and the error leaves the block."""
    with pytest.raises(tp.ConnectionLostError):
        async with tp.open_session(transport=scripted(vanishes)) as session:
            await session.wait_for(tp.State.READY)


async def test_the_bodys_own_error_wins(autojump_clock: MockClock) -> None:
    """Ours is its context."""
    with pytest.raises(ValueError, match="mine") as raised:
        async with tp.open_session(transport=ready_then(pauses(1), vanishes)) as session:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("mine")
    assert raised.value.__context__ is session.end.error
    assert isinstance(session.end.error, tp.ConnectionLostError)


async def test_ctrl_c_beats_both(autojump_clock: MockClock) -> None:
    """Wherever it strikes."""

    async def interrupted(call: tp.FunctionCall) -> None:
        raise KeyboardInterrupt

    call = tp.LlmFunctionCallInProgress(tool_call_id="1", function_name="f", arguments={})
    with pytest.raises(KeyboardInterrupt):
        async with tp.open_session(transport=ready_then(says(call))) as session:
            session.handle_function_call("f", interrupted)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("mine")


async def test_a_caller_that_is_cancelled_while_the_bot_leaves(autojump_clock: MockClock) -> None:
    """`Cancelled` goes on."""
    with trio.CancelScope() as scope:
        async with tp.open_session(transport=ready_then(pauses(1), leaves())):
            try:
                await trio.sleep_forever()
            finally:
                scope.cancel()
        await trio.lowlevel.checkpoint()
        raise AssertionError("not reached")
    assert scope.cancelled_caught


async def test_a_goodbye_that_is_not_answered_costs_the_grace(autojump_clock: MockClock) -> None:
    """Half-open: the other side is there, and silent."""

    async def frozen(bot: ScriptedBot) -> None:
        await bot.become_ready()
        bot.link.freeze()
        await trio.sleep_forever()

    async with tp.open_session(transport=scripted(frozen), disconnect_timeout=4) as session:
        await session.wait_ready()
    assert 4 == trio.current_time()
    assert "client" == session.end.reason


async def test_a_fatal_error_gives_the_bot_a_moment_for_its_last_words(
    autojump_clock: MockClock,
) -> None:
    """What it says within it is delivered; then it is hung up on."""
    bot = ready_then(says(tp.Error(error="dying", fatal=True), tp.ServerMessage(data="last words")))
    heard = []
    with pytest.raises(tp.FatalBotError) as fatal:
        async with tp.open_session(transport=bot) as session:
            async for event in session:
                heard.append(event)
    assert "dying" == fatal.value.error
    assert "last words" in [event.data for event in heard if isinstance(event, tp.ServerMessage)]
    assert 0.25 == trio.current_time()
    assert ("fatal_error", "bot", 1000) == (
        session.end.reason,
        session.end.first,
        session.end.code,
    )


async def test_a_fatal_error_before_the_bot_is_ready_is_a_failed_start(
    autojump_clock: MockClock,
) -> None:
    """`wait_ready` raises it."""

    async def script(bot: ScriptedBot) -> None:
        await bot.say(tp.Error(error="no key", fatal=True))
        await bot.listen()

    with pytest.raises(tp.FatalBotError):
        async with tp.open_session(transport=scripted(script)) as session:
            await session.wait_ready()
    assert "startup_failed" == session.end.reason


@pytest.mark.parametrize("late_in", ["connect", "ready"])
async def test_deadlines_of_our_own(autojump_clock: MockClock, late_in: str) -> None:
    """Each names what it waited for."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def never(params: Any, options: Any) -> Any:
        options.on_stage("upgrade")
        await trio.sleep_forever()
        yield

    connector = never if late_in == "connect" else scripted(lambda bot: bot.listen())
    expected = tp.TransportStartError if late_in == "connect" else tp.ReadyTimeoutError
    with pytest.raises(expected) as late:
        async with tp.open_session(
            transport=connector, connect_timeout=7, ready_timeout=7
        ) as session:
            await session.wait_ready()
    assert 7 == trio.current_time()
    assert "7 s" in str(late.value)
    assert "startup_failed" == session.end.reason


async def test_a_ready_timeout_tells_the_last_message(autojump_clock: MockClock) -> None:
    """And how many there were."""

    async def script(bot: ScriptedBot) -> None:
        await bot.say(tp.ServerMessage(data=1), tp.Metrics())
        await bot.link.send_message('{"label":"rtvi-ai","type":"bot-ready","data":{"version":2}}')
        await bot.listen()

    with pytest.raises(tp.ReadyTimeoutError) as late:
        async with tp.open_session(transport=scripted(script)) as session:
            await session.wait_ready()
    assert 3 == late.value.received
    assert "bot-ready (malformed: version: expected a string" in late.value.last_message


async def test_leaving_at_any_moment_is_over_within_the_grace(autojump_clock: MockClock) -> None:
    """Whatever the state, no task stays behind."""
    for delay in range(12):

        async def slow(bot: ScriptedBot) -> None:
            await trio.sleep(3)
            await bot.become_ready()
            await trio.sleep(3)
            await bot.leave()

        began = trio.current_time()
        with trio.move_on_after(delay * 0.75):
            async with tp.open_session(transport=scripted(slow), disconnect_timeout=2) as session:
                await trio.sleep_forever()
        assert trio.current_time() - began <= delay * 0.75 + 2
        assert tp.State.DISCONNECTED is session.state
        assert session.end is not None
    await wait_all_tasks_blocked()
    assert 1 == trio.lowlevel.current_statistics().tasks_living - _SYSTEM_TASKS


#: trio's own: init, the entry queue, pytest-trio's two.
_SYSTEM_TASKS = 3


async def test_a_session_leaves_nothing_to_the_garbage_collector(autojump_clock: MockClock) -> None:
    """No cycle keeps it alive."""
    import weakref

    async with tp.open_session("sim:?greeting=") as session:
        await session.wait_ready()
        reference = weakref.ref(session._driver)
    del session
    gc.collect()
    assert None is reference()


# -- what hostile testers found --------------------------------------------------------------------


async def test_readers_that_are_over_do_not_keep_the_body(autojump_clock: MockClock) -> None:
    """A child read once, its nursery closed, and something is unread: the bot leaves, at once."""
    bot = ready_then(says(tp.ServerMessage(data=1), tp.ServerMessage(data=2)), pauses(1), leaves())
    async with tp.open_session(transport=bot) as session:
        stream = session.subscribe(name="mine")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.receive)
        await trio.sleep_forever()
    assert ("bot", 1) == (session.end.reason, trio.current_time())


async def test_a_body_that_was_waiting_for_something_else_is_cancelled(
    autojump_clock: MockClock,
) -> None:
    """It waited for an event of the end, and got it: the error leaves the block all the same."""
    with pytest.raises(tp.ConnectionLostError):
        async with tp.open_session(transport=ready_then(vanishes)) as session:
            await session.wait_event(tp.Disconnected)
            await trio.sleep_forever()
    assert 0 == trio.current_time()


async def test_a_deadline_that_strikes_with_the_end(autojump_clock: MockClock) -> None:
    """The body's own deadline ends its wait in the same step: it is not left on a dead session."""
    async with trio.open_nursery() as nursery:
        for steps in range(8):
            with pytest.raises(tp.ConnectionLostError):
                async with tp.open_session(transport=ready_then(pauses(1), vanishes)) as session:
                    await session.wait_ready()
                    with trio.CancelScope() as scope:
                        nursery.start_soon(_cancel_after, steps, scope)
                        await session.request("silent", timeout=60)
                    await trio.sleep_forever()
            assert session.end.reason == "connection_lost"


async def _cancel_after(steps: int, scope: trio.CancelScope) -> None:
    await trio.sleep(1)
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def test_shielded_cleanup_is_told_instead_of_parked(autojump_clock: MockClock) -> None:
    """A body that shields itself and uses the session gets SessionEndedError; it is not stuck."""
    raised = []
    async with tp.open_session(transport=ready_then(leaves())) as session:
        await session.wait_ready()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                try:
                    await session.send_text("bye")
                except tp.SessionEndedError as error:
                    raised.append(error)
                async for _ in session:
                    pass
    assert 1 == len(raised)
    assert trio.current_time() < 3


async def test_a_requests_deadline_does_not_strike_at_the_end(autojump_clock: MockClock) -> None:
    """The bot has left, and somebody reads on: a request is cancelled with the block."""

    async def ask(session: tp.Session) -> None:
        await session.states.disconnected.wait()
        await session.request("x", timeout=0.5)

    bot = ready_then(says(*[tp.ServerMessage(data=n) for n in range(9)]), leaves())
    async with tp.open_session(transport=bot) as session, trio.open_nursery() as nursery:
        nursery.start_soon(ask, session)
        async for _ in session:
            await trio.sleep(0.2)
    assert "bot" == session.end.reason


async def test_ready_after_a_fatal_error_is_no_ready(autojump_clock: MockClock) -> None:
    """The bot fails, and then says that it is ready: it was not."""

    async def script(bot: ScriptedBot) -> None:
        id_ = await bot.hear_of(tp.ClientReady)
        await bot.say(tp.Error(error="broken", fatal=True))
        await trio.sleep(0.05)
        await bot.say(tp.BotReady(id=id_, version="2.2.0"))
        await bot.listen()

    with pytest.raises(tp.FatalBotError):
        async with tp.open_session(transport=scripted(script)) as session:
            await session.wait_ready()
    assert tp.State.READY not in [state for state, _ in session.history]


async def test_a_fatal_error_leaves_a_body_that_has_just_finished(
    autojump_clock: MockClock,
) -> None:
    """It was read, and the body left before the bot's last words were over."""
    bot = ready_then(says(tp.Error(error="broken", fatal=True)))
    with pytest.raises(tp.FatalBotError, match="broken"):
        async with tp.open_session(transport=bot) as session:
            await session.wait_event(tp.Error)
    assert "fatal_error" == session.end.reason


async def test_last_words_are_not_dropped(autojump_clock: MockClock) -> None:
    """A stream that is full when the session is ending already takes what still comes."""
    words = [tp.ServerMessage(data=n) for n in range(60)]
    bot = ready_then(says(tp.Error(error="broken", fatal=True), *words), leaves())
    heard: list[Any] = []
    with pytest.raises(tp.FatalBotError):
        async with tp.open_session(transport=bot, event_buffer=10) as session:
            with session.subscribe(tp.ServerMessage) as stream:
                async for event in stream:
                    heard.append(event.data)
                    await trio.sleep(0.01)
    assert [*range(60)] == heard


async def test_a_body_that_has_left_its_loop_reads_no_more(autojump_clock: MockClock) -> None:
    """Nobody is too slow then; whoever reads again is told what was skipped."""
    bot = ready_then(says(*[tp.ServerMessage(data=n) for n in range(200)]), pauses(1))
    async with tp.open_session(transport=bot, event_buffer=50) as session:
        async for event in session:
            if isinstance(event, tp.BotReady):
                break
        await trio.sleep(5)
        async for event in session:
            assert isinstance(event, tp.EventsSkipped)
            break
        assert 100 < event.count < 200
    assert "client" == session.end.reason


@pytest.mark.parametrize("types", [("bot-output",), (str,), (tp.BotOutput, 5)])
async def test_what_is_no_event_is_refused_at_once(autojump_clock: MockClock, types: Any) -> None:
    """In the caller's own frame."""
    async with tp.open_session("sim:") as session:
        with pytest.raises(TypeError, match="expected classes of events"):
            session.subscribe(*types)
        with pytest.raises(TypeError, match="expected classes of events"):
            await session.wait_event(*types)
        await session.wait_for("ready")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="redy"):
            await session.wait_for("redy")  # type: ignore[arg-type]


async def test_requests_that_were_not_sent_are_forgotten(autojump_clock: MockClock) -> None:
    """Too large, cancelled or timed out: no entry stays."""
    async with tp.open_session("sim:", max_message_size=1000) as session:
        await session.wait_ready()
        for _ in range(5):
            with pytest.raises(tp.MessageTooLargeError):
                await session.request("ping", "x" * 2000)
            with trio.CancelScope() as scope:
                scope.cancel()
                await session.request("ping")
            with pytest.raises(tp.RequestTimeoutError):
                await session.request("silent", timeout=1)
        assert {} == session._driver.protocol._requests


async def test_a_connector_may_have_a_nursery(autojump_clock: MockClock) -> None:
    """Its own error comes out of it in a group, and leaves the block bare."""

    def connector(params: tp.ConnectParams, options: Any) -> Any:
        return _Connector()

    with pytest.raises(tp.TransportStartError, match="no way"):
        async with tp.open_session(transport=connector):
            await trio.sleep_forever()


class _Connector:
    async def __aenter__(self) -> Any:
        async with trio.open_nursery():
            raise tp.TransportStartError("connect", "no way")

    async def __aexit__(self, *_: object) -> None: ...


async def test_a_file_is_not_uploaded_to_a_bot_that_takes_none(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Its version says so; and one that is too large is not read."""
    (tmp_path / "x").write_bytes(b"x" * 5000)

    async def old(bot: ScriptedBot) -> None:
        await bot.become_ready("2.1.0")
        await bot.listen()

    async with tp.open_session(transport=scripted(old)) as session:
        await session.wait_ready()
        with pytest.raises(tp.UnsupportedFeatureError):
            await session.send_file(tmp_path / "nowhere")
    async with tp.open_session("sim:", max_message_size=1000) as session:
        with pytest.raises(tp.BotNotReadyError):
            await session.upload_file(tmp_path / "x")
        await session.wait_ready()
        with pytest.raises(tp.MessageTooLargeError) as large:
            await session.send_file(tmp_path / "x")
        assert (5000, 1000) == (large.value.size, large.value.limit)


def test_asyncio_is_told_where_to_go() -> None:
    """Most users of pipecat come from there."""
    import asyncio

    async def main() -> None:
        async with tp.open_session("sim:"):
            pass

    with pytest.raises(RuntimeError, match=r"run this with trio\.run, not with asyncio\.run"):
        asyncio.run(main())


# -- goodbyes of those who are cancelled ----------------------------------------------------------


@pytest.mark.parametrize("steps", range(6))
async def test_a_cancelled_disconnect_says_goodbye(autojump_clock: MockClock, steps: int) -> None:
    """Wherever in it the caller is cancelled, the server sees a clean close."""
    with virtual_network():
        async with serve_bot(SimulatedBot()) as served:
            async with trio.open_nursery() as nursery:
                with trio.CancelScope() as scope:
                    async with tp.open_session(served.ws_url) as session:
                        await session.wait_ready()
                        nursery.start_soon(_cancel_soon, steps, scope)
                        await session.disconnect()
                        await trio.sleep_forever()
            await trio.sleep(1)
            assert 1000 == served.bot.conversations[0].end.code
    assert session.end.reason in ("client", "cancelled")  # it may not have begun


async def _cancel_soon(steps: int, scope: trio.CancelScope) -> None:
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    scope.cancel()


@pytest.mark.parametrize("steps", range(0, 60, 2))
async def test_a_session_cancelled_at_any_step_says_goodbye(
    autojump_clock: MockClock, steps: int
) -> None:
    """Every bot that was given a link sees it closed in order; the upgrade may be in flight."""
    with virtual_network() as network:
        async with serve_bot(SimulatedBot()) as served:
            async with trio.open_nursery() as nursery:
                with trio.CancelScope() as scope:
                    nursery.start_soon(_cancel_soon, steps, scope)
                    async with tp.open_session(served.ws_url) as session:
                        await trio.sleep_forever()
            await trio.sleep(1)
            assert {1000} >= {talk.end.code for talk in served.bot.conversations}
        assert 0 == network.open_sockets
    assert "cancelled" == session.end.reason
    assert trio.current_time() < 2


@pytest.mark.parametrize("network", [virtual_network, nullcontext])
async def test_ctrl_c_does_not_strike_who_reads(
    network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever wire it is: who reads for a session is not whom Python interrupts."""
    protected = set()
    bytes_came = WebSocketTransport.bytes_came

    def note(self: WebSocketTransport, data: bytes | memoryview) -> None:
        if data:
            protected.add(trio.lowlevel.currently_ki_protected())
        bytes_came(self, data)

    monkeypatch.setattr(WebSocketTransport, "bytes_came", note)
    with network():
        async with (
            serve_bot(SimulatedBot()) as served,
            tp.open_session(served.ws_url) as session,
        ):
            await session.wait_ready()
            await session.request("ping")
    assert {True} == protected
