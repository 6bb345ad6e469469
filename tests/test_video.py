"""Video in a session: what a body sends and what it sees, on a virtual clock."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from films import write_film
from scripted import ScriptedBot, scripted
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_pipecat as tp
from trio_pipecat._tap import Tap
from trio_pipecat.reports import TurnLog
from trio_pipecat.testing import Recorder, serve_bot, virtual_network
from trio_pipecat.transports import Incoming

BLACK = tp.VideoFrame(data=bytes(24), width=4, height=4)
#: So that a body can go on reading after the bot has shown what it has.
KEPT = {"disconnect_on_bot_disconnect": False}


class Stage:
    """A session's bot, once it runs."""

    def __init__(self, *steps: Callable[[ScriptedBot], Awaitable[None]]) -> None:
        self.bot: ScriptedBot
        self._steps = steps
        self.connect = scripted(self._play)

    async def _play(self, bot: ScriptedBot) -> None:
        self.bot = bot
        await bot.become_ready()
        for step in self._steps:
            await step(bot)
        await bot.listen()


def film(count: int, rate: float = 10) -> list[tp.VideoFrame]:
    """Return frames that can be told apart, each with its time."""
    return [
        attrs.evolve(BLACK, data=bytes([number % 256]) * 24, time=number / rate)
        for number in range(count)
    ]


def shows(count: int, every: float = 0.1) -> Callable[[ScriptedBot], Awaitable[None]]:
    """Have the bot show so many frames."""

    async def show(bot: ScriptedBot) -> None:
        for frame in film(count):
            await bot.link.send_video(frame)
            await trio.sleep(every)

    return show


# -- what the user shows ---------------------------------------------------------------------------


async def test_a_picture_is_sent_now(autojump_clock: MockClock) -> None:
    """As it is; before the first of a kind, bots are told to look."""
    stage = Stage()
    screen = attrs.evolve(BLACK, source="screen")
    async with tp.open_session(transport=stage.connect) as session:
        await session.wait_ready()
        for _ in range(2):
            await session.send_video(screen)
        await wait_all_tasks_blocked()
        assert [screen] * 2 == stage.bot.pictures
        assert [("screen", True)] == stage.bot.link.announced


async def test_a_film_takes_its_time(autojump_clock: MockClock) -> None:
    """The bot is told when it begins and when it is over."""
    stage = Stage()
    async with tp.open_session(transport=stage.connect) as session:
        await session.wait_ready()
        began = trio.current_time()
        report = await session.stream_video(film(5))
        assert 0.5 == pytest.approx(trio.current_time() - began)
        await wait_all_tasks_blocked()
    assert (5, 0) == (report.frames, report.skipped)
    assert film(5) == stage.bot.pictures
    assert [("camera", True), ("camera", False)] == stage.bot.link.announced


async def test_a_screen_is_shown_as_one(autojump_clock: MockClock) -> None:
    """Whatever its frames said that they are; beside a camera, if need be."""
    stage = Stage()
    async with tp.open_session(transport=stage.connect) as session:
        await session.wait_ready()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: session.stream_video(film(3), screen=True))
            nursery.start_soon(session.stream_video, film(3))
            await trio.sleep(0.05)
            with pytest.raises(trio.BusyResourceError):
                await session.stream_video(film(3))
        await wait_all_tasks_blocked()
    assert ["camera"] * 3 + ["screen"] * 3 == sorted(frame.source for frame in stage.bot.pictures)


async def test_a_picture_after_a_film_is_seen(autojump_clock: MockClock) -> None:
    """Of a camera that is off bots see nothing, so it is on again."""
    stage = Stage()
    async with tp.open_session(transport=stage.connect) as session:
        await session.wait_ready()
        await session.stream_video(film(2))
        await session.send_video(BLACK)
        await session.send_video(BLACK)
        assert [True, False, True] == [enabled for _, enabled in stage.bot.link.announced]


async def test_what_is_cancelled_is_off(autojump_clock: MockClock) -> None:
    """The bot is told, and has got what was sent by then."""
    stage = Stage()
    async with tp.open_session(transport=stage.connect) as session:
        await session.wait_ready()
        with trio.move_on_after(0.25):
            await session.stream_video(film(100))
        assert [True, False] == [enabled for _, enabled in stage.bot.link.announced]
        await wait_all_tasks_blocked()
        assert film(3) == stage.bot.pictures
    assert "client" == session.end.reason


async def test_a_picture_that_is_cancelled_was_not_sent(autojump_clock: MockClock) -> None:
    """Nor told of."""
    stage = Stage()
    async with tp.open_session(transport=stage.connect) as session:
        await session.wait_ready()
        notes = Notes(session)
        with trio.CancelScope() as scope:
            scope.cancel()
            await session.send_video(BLACK)
        await wait_all_tasks_blocked()
        assert ([], []) == (stage.bot.pictures, notes.sent_items)


@pytest.mark.parametrize("goes", [lambda bot: bot.leave(), lambda bot: bot.link.abort("gone")])
async def test_the_end_of_the_session_ends_a_film(
    autojump_clock: MockClock, goes: Callable[[ScriptedBot], Awaitable[None]]
) -> None:
    """As it ends every send."""

    async def soon(bot: ScriptedBot) -> None:
        await trio.sleep(0.55)
        await goes(bot)

    async with tp.open_session(transport=Stage(soon).connect, **KEPT) as session:
        await session.wait_ready()
        with pytest.raises(tp.SessionEndedError):
            await session.stream_video(film(1000))
    assert 0.55 == pytest.approx(trio.current_time())


async def test_leaving_the_block_ends_a_film_in_order(autojump_clock: MockClock) -> None:
    """Its task is in a nursery inside, so the bot is told before the goodbye."""
    stage = Stage()
    async with (
        tp.open_session(transport=stage.connect) as session,
        trio.open_nursery() as nursery,
    ):
        await session.wait_ready()
        nursery.start_soon(session.stream_video, film(1000))
        await trio.sleep(0.25)
        nursery.cancel_scope.cancel()
    assert [("camera", True), ("camera", False)] == stage.bot.link.announced


@pytest.mark.parametrize(
    ("source", "error", "text"),
    [
        (5, TypeError, "a path or an iterable of VideoFrames, not int"),
        (b"film.mp4", TypeError, "not bytes"),
        ([b""], TypeError, "item 1 is of type bytes"),
        ("none.mp4", FileNotFoundError, r"none\.mp4"),
    ],
)
async def test_what_cannot_be_shown_is_refused(
    autojump_clock: MockClock, source: Any, error: type[Exception], text: str
) -> None:
    """And the session goes on."""
    stage = Stage()
    async with tp.open_session(transport=stage.connect) as session:
        await session.wait_ready()
        with pytest.raises(error, match=text):
            await session.stream_video(source)
        with pytest.raises(TypeError, match="a VideoFrame, not bytes"):
            await session.send_video(b"")  # type: ignore[arg-type]
        await session.stream_video([BLACK])


async def test_a_websocket_has_no_video(autojump_clock: MockClock) -> None:
    """`UnsupportedFeatureError` says what has."""
    with virtual_network():
        async with (
            serve_bot() as served,
            tp.open_session(served.ws_url) as session,
        ):
            await session.wait_ready()
            for send in (
                lambda: session.send_video(BLACK),
                lambda: session.stream_video([BLACK]),
            ):
                with pytest.raises(tp.UnsupportedFeatureError, match="WebRTC"):
                    await send()
            await session.request("ping")


async def test_a_file_is_shown(tmp_path: Path) -> None:
    """In real time, because it is read in a thread."""
    path = tmp_path / "film.mp4"
    write_film(path, count=6, rate=30)
    stage = Stage()
    async with tp.open_session(transport=stage.connect) as session:
        await session.wait_ready()
        began = trio.current_time()
        report = await session.stream_video(path)
        assert trio.current_time() - began > 0.19
        await wait_all_tasks_blocked()
    assert 6 == report.frames + report.skipped
    assert {(64, 48, "yuv420p")} == {(f.width, f.height, f.format) for f in stage.bot.pictures}


# -- what the bot shows ----------------------------------------------------------------------------


async def test_the_bots_video_is_seen(autojump_clock: MockClock) -> None:
    """With the time at which it came."""
    async with tp.open_session(transport=Stage(shows(3)).connect) as session:
        await session.wait_ready()
        seen = []
        async for frame in session.video:
            seen.append(frame)
            if len(seen) == 3:
                break
    assert film(3) == seen
    assert [0, 0.1, 0.2] == [pytest.approx(frame.at) for frame in seen]


async def test_there_is_one_stream_and_there_may_be_more(autojump_clock: MockClock) -> None:
    """Each reader of its own stream sees everything."""
    async with tp.open_session(transport=Stage(shows(2)).connect) as session:
        assert session.video is session.video
        with session.subscribe_video() as another:
            first, second = aiter(session.video), aiter(another)
            assert await anext(first) == await anext(second)
        with pytest.raises(ValueError, match="1 frame or more"):
            session.subscribe_video(max_frames=0)


async def test_a_slow_reader_loses_old_video(autojump_clock: MockClock) -> None:
    """And the session goes on."""
    async with tp.open_session(transport=Stage(shows(20)).connect, **KEPT) as session:
        with session.subscribe_video(max_frames=4) as stream:
            reader = aiter(stream)
            await session.wait_ready()
            await trio.sleep(5)
            assert (16, 4) == (stream.dropped_frames, stream.unread)
            assert film(20)[16] == await anext(reader)


async def test_the_link_is_told_whether_anybody_looks(autojump_clock: MockClock) -> None:
    """Decoding costs something; one that has left does not look."""
    async with tp.open_session(transport=Stage(shows(100)).connect) as session:
        reader = aiter(session.video)
        await session.wait_ready()
        link = session._driver._link
        assert link.wants_video
        del reader
        assert not link.wants_video
        with session.subscribe_video() as stream:
            assert not link.wants_video
            with trio.move_on_after(0.25):
                while True:
                    await stream.receive()
            assert link.wants_video
        assert not link.wants_video

        async def glance() -> None:
            await another.receive()

        another = session.subscribe_video()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(glance)
            await wait_all_tasks_blocked()
            assert link.wants_video
        await trio.sleep(0.15)
        assert not link.wants_video


async def test_a_picture_is_a_sign_of_life(autojump_clock: MockClock) -> None:
    """Before the bot is ready, too; and it is what an error names as the last that came."""

    async def script(bot: ScriptedBot) -> None:
        await bot.link.send_video(BLACK)
        await bot.listen()

    with pytest.raises(tp.ReadyTimeoutError) as late:
        async with tp.open_session(transport=scripted(script), ready_timeout=3) as session:
            await session.wait_event(tp.BotConnected)
            assert 0 == trio.current_time()
            await session.wait_ready()
    assert "video" == late.value.last_message


async def test_unread_video_is_read_at_the_end(autojump_clock: MockClock) -> None:
    """Then the stream is over."""

    async def show_and_leave(bot: ScriptedBot) -> None:
        await shows(3, every=0)(bot)
        await bot.leave()

    async with tp.open_session(transport=Stage(show_and_leave).connect, **KEPT) as session:
        assert film(3) == [frame async for frame in session.video]
        assert [] == [frame async for frame in session.subscribe_video()]


# -- who looks on ----------------------------------------------------------------------------------


class Notes(Tap):
    """Writes down what it is told."""

    def __init__(self, session: tp.Session) -> None:
        self.sent_items: list[Incoming] = []
        self.received_items: list[Incoming] = []
        session._driver.taps.append(self)

    def sent(self, item: Incoming, at: float) -> None:
        self.sent_items.append(item)

    def received(self, item: Incoming, at: float) -> None:
        self.received_items.append(item)


async def test_taps_see_pictures(autojump_clock: MockClock) -> None:
    """Both ways, whether anybody looks or not."""
    async with tp.open_session(transport=Stage(shows(1)).connect) as session:
        await session.wait_ready()
        notes = Notes(session)
        await session.send_video(BLACK)
        await trio.sleep(1)
    assert ([BLACK], film(1)) == (notes.sent_items, notes.received_items)


async def test_recorders_have_no_place_for_pictures(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """And no trouble with them."""
    async with tp.open_session(transport=Stage(shows(2)).connect) as session:
        recorder = Recorder(session, tmp_path / "call.jsonl")
        wav = tp.WavRecorder(session, tmp_path / "sound.wav")
        log = TurnLog(session)
        await session.wait_ready()
        await session.stream_video(film(2))
        await trio.sleep(1)
    assert (None, None, []) == (recorder.error, wav.error, log.turns)
    assert "video" not in (tmp_path / "call.jsonl").read_text()


async def test_the_simulated_bot_looks_away(autojump_clock: MockClock) -> None:
    """It goes on as if nothing had been shown."""
    async with tp.open_session("sim:") as session:
        await session.wait_ready()
        await session.stream_video(film(3))
        assert {"pong": 1} == await session.request("ping", 1)
