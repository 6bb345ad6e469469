"""What a tap of a session sees: everything, in order, in the step in which it happens."""

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from scripted import ScriptedBot, scripted
from trio.testing import MockClock

import trio_pipecat as tp
from trio_pipecat._tap import Tap
from trio_pipecat.reports import TurnLog
from trio_pipecat.testing import Recorder, SimulatedBot, crash
from trio_pipecat.transports import Incoming, Interruption


class Notes(Tap):
    """Writes down what it is told."""

    def __init__(self, session: tp.Session) -> None:
        self.seen: list[tuple[str, Any, float]] = []
        session._driver.taps.append(self)

    def sent(self, item: Incoming, at: float) -> None:
        self.seen.append(("sent", item, at))

    def received(self, item: Incoming, at: float) -> None:
        self.seen.append(("received", item, at))

    def happened(self, event: tp.Event) -> None:
        self.seen.append(("happened", event, event.at))

    def entered(self, state: tp.State, at: float) -> None:
        self.seen.append(("entered", state, at))

    def finished(self, end: tp.SessionEnd, at: float) -> None:
        self.seen.append(("finished", end, at))

    def of(self, kind: str) -> list[Any]:
        return [item for what, item, _ in self.seen if what == kind]


def types(items: list[Any]) -> list[str]:
    """Return the types of messages, and what else there is by its class."""
    return [
        json.loads(item)["type"] if isinstance(item, str) else type(item).__name__ for item in items
    ]


async def test_nothing_is_missed_from_the_top_of_the_block(autojump_clock: MockClock) -> None:
    """Not the first message, nor the end: states but the first, messages, sound, interruptions."""
    async with tp.open_session(transport=SimulatedBot().connect) as session:
        notes = Notes(session)
        await session.wait_ready()
        await session.send_audio(bytes(640), sample_rate=16_000)
        await session.interrupt()
        await session.request("ping", 1)
    assert ["client-ready", "AudioChunk", "Interruption", "client-message"] == types(
        notes.of("sent")
    )
    heard = ["bot-ready", "AudioChunk", "Interruption", "bot-interrupted", "server-response"]
    assert heard == types(notes.of("received"))
    assert [state for state, _ in session.history[1:]] == notes.of("entered")
    assert [session.end] == notes.of("finished")
    assert "finished" == notes.seen[-1][0]
    times = [at for _, _, at in notes.seen]
    assert sorted(times) == times


async def test_an_answer_comes_after_its_question(autojump_clock: MockClock) -> None:
    """A tap is told of a message in the very step in which the link takes it."""
    async with tp.open_session("sim:?greeting=") as session:
        notes = Notes(session)
        await session.wait_ready()
        await session.request("ping", 1)
    said = [
        (what, types([item])[0]) for what, item, _ in notes.seen if what in ("sent", "received")
    ]
    assert [
        ("sent", "client-ready"),
        ("received", "bot-ready"),
        ("sent", "client-message"),
        ("received", "server-response"),
    ] == said


async def test_sound_in_parts_is_told_in_parts(autojump_clock: MockClock) -> None:
    """As it went out."""
    async with tp.open_session("sim:?greeting=&echo=0") as session:
        notes = Notes(session)
        await session.wait_ready()
        await session.send_audio(bytes(100_000), sample_rate=16_000)
    assert [65_536, 34_464] == [
        len(item.pcm) for item in notes.of("sent") if isinstance(item, tp.AudioChunk)
    ]


async def test_what_was_not_sent_is_not_told(autojump_clock: MockClock) -> None:
    """A send that was cancelled has sent nothing."""
    async with tp.open_session("sim:?greeting=") as session:
        notes = Notes(session)
        await session.wait_ready()
        with trio.CancelScope() as scope:
            scope.cancel()
            await session.send_text("hello")
    assert ["client-ready"] == types(notes.of("sent"))


async def test_a_lost_link_is_an_end(autojump_clock: MockClock) -> None:
    """With its error."""
    with pytest.raises(tp.ConnectionLostError) as lost:
        async with tp.open_session(transport=SimulatedBot([crash(after=1)]).connect) as session:
            notes = Notes(session)
            await trio.sleep_forever()
    assert lost.value is notes.of("finished")[0].error


async def test_a_session_that_was_abandoned_is_finished(autojump_clock: MockClock) -> None:
    """A tap is always told of the end, or its files would stay open."""
    notes: list[Notes] = []
    with trio.move_on_after(0):
        async with tp.open_session("sim:") as session:
            notes.append(Notes(session))
            await trio.sleep_forever()
    assert ["cancelled"] == [end.reason for end in notes[0].of("finished")]


def test_a_tap_need_not_mind_everything() -> None:
    """Each of its methods does nothing by itself."""
    tap = Tap()
    tap.sent("x", 0)
    tap.received(Interruption(), 0)
    tap.entered(tp.State.READY, 0)
    tap.finished(tp.SessionEnd(reason="client", last_state=tp.State.READY, first="client"), 0)


async def test_events_are_told_after_what_they_come_of(autojump_clock: MockClock) -> None:
    """All that a body would read, in that order."""
    async with tp.open_session(transport=SimulatedBot().connect) as session:
        notes = Notes(session)
        read = aiter(session)
        await session.wait_ready()
        await session.request("ping", 1)
        events = [await anext(read) for _ in range(len(notes.of("happened")))]
    told = notes.of("happened")
    assert events == told[: len(events)]
    assert isinstance(told[-1], tp.Disconnected)
    kinds = [(what, type(item).__name__) for what, item, _ in notes.seen]
    answered = kinds.index(("happened", "ServerResponse"))
    assert ("received", "str") == kinds[answered - 1]


async def test_recorders_outlive_sound_that_cannot_be(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Of a bot, or a transport, that says anything."""

    async def script(bot: ScriptedBot) -> None:
        await bot.become_ready()
        for rate, channels in [(0, 1), (8_000, 0), (2**32 - 1, 255), (1, 1), (8_000, 999), (-5, 1)]:
            await bot.link.send_audio(tp.AudioChunk(b"ab" * 50, rate, channels))
        await bot.link.send_audio(tp.AudioChunk(b"ab" * 24_000, 24_000))
        await bot.say(tp.ServerMessage(data=1))
        await bot.listen()

    async with tp.open_session(transport=scripted(script)) as session:
        recorders = tp.WavRecorder(session, tmp_path / "a.wav"), Recorder(session, tmp_path / "b.x")
        TurnLog(session)
        with session.subscribe(tp.MalformedMessage) as malformed:
            await session.wait_event(tp.ServerMessage)
            assert 6 == malformed.unread
        await trio.sleep(1)
    assert [None, None, None] == [session.end.error, *(recorder.error for recorder in recorders)]
    assert 1 <= recorders[0].seconds
