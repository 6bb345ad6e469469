"""The engine, where a session cannot show it: strange connectors, wires without RTVI, bugs."""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from raw_server import BINARY, RawPeer, frame, serve_raw
from scripted import just_ready, scripted
from trio.testing import MockClock

import trio_pipecat as tp
from trio_pipecat._codec import decode_command, encode_event
from trio_pipecat._tap import Tap
from trio_pipecat.transports import MemoryTransport, memory_transport_pair
from trio_pipecat.transports._envelope import (
    decode,
    encode_audio,
    encode_interruption,
    encode_message,
)


class WithoutRtvi(MemoryTransport):
    """A wire that carries sound and nothing else, as a telephone line."""

    speaks_rtvi = False


async def test_a_wire_without_rtvi_is_ready_at_the_first_sign_of_life(
    autojump_clock: MockClock,
) -> None:
    """Nothing is asked, and the first sound is the answer."""
    heard: list[object] = []

    @asynccontextmanager
    async def connect(params: Any, options: Any) -> AsyncGenerator[Any, None]:
        client, bot = memory_transport_pair()
        client.__class__ = WithoutRtvi

        async def line() -> None:
            await trio.sleep(3)
            await bot.send_audio(tp.AudioChunk(bytes(320), 8_000))
            heard.append(await bot.receive())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(line)
            yield client
            nursery.cancel_scope.cancel()

    async with tp.open_session(transport=connect) as session:
        ready = await session.wait_ready()
        assert 3 == trio.current_time()
        assert ("", None) == (ready.version, session.protocol.bot)
        await session.send_audio(bytes(160), sample_rate=8_000)
        await trio.testing.wait_all_tasks_blocked()
    assert [tp.AudioChunk(bytes(160), 8_000)] == heard


@pytest.mark.parametrize(
    ("failure", "detail"),
    [
        (ConnectionRefusedError(111, "no"), "Connection refused"),
        (ssl.SSLCertVerificationError("bad"), "certificate refused"),
    ],
)
async def test_what_the_system_says_to_a_connector_of_ones_own_is_a_failed_start(
    autojump_clock: MockClock, failure: OSError, detail: str
) -> None:
    """Mapped to `TransportStartError`, with its cause."""

    @asynccontextmanager
    async def connect(params: Any, options: Any) -> AsyncGenerator[Any, None]:
        options.on_stage("dial")
        raise failure
        yield

    with pytest.raises(tp.TransportStartError) as failed:
        async with tp.open_session(transport=connect) as session:
            await session.wait_ready()
    assert "dial" == failed.value.stage
    assert detail in failed.value.detail
    assert failure is failed.value.__cause__


async def test_a_bug_is_called_a_bug(autojump_clock: MockClock) -> None:
    """`InternalError`, with what was raised as its cause; everyone is told, nothing hangs."""

    @asynccontextmanager
    async def connect(params: Any, options: Any) -> AsyncGenerator[Any, None]:
        raise ZeroDivisionError("oops")
        yield

    with pytest.raises(tp.InternalError) as bug:
        async with tp.open_session(transport=connect) as session:
            await session.wait_ready()
    assert isinstance(bug.value.__cause__, ZeroDivisionError)
    assert "report" in str(bug.value)
    assert tp.State.DISCONNECTED is session.state
    assert bug.value is session.end.error


async def test_a_predicate_does_not_run_in_the_engine(autojump_clock: MockClock) -> None:
    """What a user's code raises is the user's."""
    async with tp.open_session(transport=scripted(just_ready)) as session:
        with pytest.raises(RuntimeError):
            await session.wait_event(tp.BotReady, where=_raise)
        await session.wait_ready()
    assert None is session.end.error


def _raise(event: tp.Event) -> bool:
    raise RuntimeError


async def test_a_second_bot_ready_is_an_event_and_no_more(autojump_clock: MockClock) -> None:
    """A bot that says it by hand doubles it."""

    async def script(bot: Any) -> None:
        id_ = await bot.hear_of(tp.ClientReady)
        await bot.say(tp.BotReady(version="2.2.0"), tp.BotReady(id=id_, version="2.2.0"))
        await bot.say(tp.BotReady(id="another", version="9.9.9"), tp.ServerMessage(data=1))
        await bot.listen()

    async with tp.open_session(transport=scripted(script)) as session:
        with session.subscribe(tp.BotReady) as stream:
            await session.wait_event(tp.ServerMessage)
            assert 3 == stream.unread
        assert "2.2.0" == session.protocol.bot
    assert 1 == [state for state, _ in session.history].count(tp.State.READY)


async def test_a_start_that_gives_no_address_is_a_failed_start(autojump_clock: MockClock) -> None:
    """However it came about."""
    from trio_pipecat._options import SessionOptions
    from trio_pipecat._session import run_session
    from trio_pipecat._targets import make_plan

    options = SessionOptions(transport=scripted(just_ready))
    plan = make_plan(None, options)
    object.__setattr__(plan, "params", None)
    with pytest.raises(tp.StartBotError, match="without an address"):
        async with run_session(plan, options) as session:
            await session.wait_ready()


async def test_what_is_no_message_and_no_audio_is_an_event(autojump_clock: MockClock) -> None:
    """With what it was."""
    from trio_pipecat.transports import Undecodable

    async def script(bot: Any) -> None:
        await bot.become_ready()
        await bot.link._send(Undecodable("a frame of kind text", raw=b"abc"))
        await bot.listen()

    async with tp.open_session(transport=scripted(script)) as session:
        event = await session.wait_event(tp.MalformedMessage)
    assert ("a frame of kind text", b"abc") == (event.reason, event.raw)


async def test_a_stream_made_after_the_end_is_over(autojump_clock: MockClock) -> None:
    """Of events and of audio."""
    async with tp.open_session(transport=scripted(just_ready)) as session:
        await session.wait_ready()
    assert [] == [event async for event in session.subscribe()]
    assert [] == [chunk async for chunk in session.audio]
    with pytest.raises(tp.SessionEndedError):
        await session.wait_event(tp.BotReady)


async def test_a_reader_that_is_full_still_gets_the_end(autojump_clock: MockClock) -> None:
    """The last events are the session's own, and over the bound."""

    async def script(bot: Any) -> None:
        await bot.become_ready()
        await bot.leave()

    async with tp.open_session(
        transport=scripted(script), event_buffer=6, disconnect_on_bot_disconnect=False
    ) as session:
        reader = aiter(session)
        await session.states.disconnected.wait()
        kinds = [type(event) async for event in reader]
    assert tp.Disconnected is kinds[-1]
    assert 9 == len(kinds)


# -- sound that comes directly -----------------------------------------------------------------


class SocketBot:
    """A bot on a real socket: only there sound is given out as it comes, or left out."""

    def __init__(self) -> None:
        self._words, self._orders = trio.open_memory_channel[bytes](100)

    async def serve(self, peer: RawPeer) -> None:
        """Become ready, say what the test says, and be polite at the end."""
        await peer.accept()
        hello = await peer.frame()
        assert hello is not None
        received = decode_command(str(decode(hello.payload)))
        assert isinstance(received, tuple)
        ready = encode_event(tp.BotReady(id=received[0], version="2.2.0"))
        await peer.send(frame(BINARY, encode_message(ready)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._talk, peer)
            await peer.good_close()
            nursery.cancel_scope.cancel()

    async def _talk(self, peer: RawPeer) -> None:
        async for words in self._orders:
            await peer.send(words)

    def say(self, *items: tp.BotMessage | tp.AudioChunk | None) -> None:
        """Say all that, in one packet; None is an interruption."""
        data = b""
        for item in items:
            if isinstance(item, tp.AudioChunk):
                data += frame(BINARY, encode_audio(item))
            elif item is None:
                data += frame(BINARY, encode_interruption())
            else:
                data += frame(BINARY, encode_message(encode_event(item)))
        self._words.send_nowait(data)


@asynccontextmanager
async def talking() -> AsyncGenerator[tuple[SocketBot, tp.Session], None]:
    """A session with such a bot, which is ready."""
    bot = SocketBot()
    async with serve_raw(bot.serve) as server, tp.open_session(ws_url=server.url) as session:
        await session.wait_ready()
        yield bot, session


def sound(number: int, *, rate: int = 16_000, size: int = 640) -> tp.AudioChunk:
    """Return 20 ms of sound, which tells which it is."""
    return tp.AudioChunk(bytes([number]) * size, rate)


def mark(number: int) -> tp.BotMessage:
    """Return a message that a test can wait for."""
    return tp.ServerMessage(data=number)


async def heard_by(stream: Any) -> list[int]:
    """Return which sounds a stream has, unread."""
    numbers = []
    with suppress(trio.WouldBlock):
        while True:
            numbers.append(stream.receive_nowait().pcm[0])
    return numbers


@pytest.mark.socket
async def test_sound_that_nobody_hears_is_announced_all_the_same() -> None:
    """Once for each format, in its turn."""
    async with talking() as (bot, session):
        with session.subscribe(tp.AudioStarted, tp.ServerMessage) as events:
            bot.say(*map(sound, range(5)), mark(1))
            bot.say(sound(5, rate=24_000), sound(6, rate=24_000), mark(2), sound(7), sound(8))
            bot.say(sound(9), mark(3))
            seen = []
            while 3 not in seen:
                event = await events.receive()
                seen.append(event.sample_rate if isinstance(event, tp.AudioStarted) else event.data)
    assert [16_000, 1, 24_000, 2, 16_000, 3] == seen


@pytest.mark.socket
async def test_who_listens_later_hears_what_is_said_from_then_on() -> None:
    """All of it, and nothing of what was said before."""
    async with talking() as (bot, session):
        bot.say(*map(sound, range(5)), mark(1))
        await session.wait_event(tp.ServerMessage)
        assert 0 == session.audio.unread
        reader = aiter(session.audio)
        bot.say(*map(sound, range(5, 10)), mark(2))
        await session.wait_event(tp.ServerMessage)
        assert [5, 6, 7, 8, 9] == [(await anext(reader)).pcm[0] for _ in range(5)]
        del reader
        bot.say(*map(sound, range(10, 15)), mark(3))
        await session.wait_event(tp.ServerMessage)
        assert 0 == session.audio.unread
        assert [] == await heard_by(session.audio)  # now this task reads
        bot.say(sound(15), mark(4))
        await session.wait_event(tp.ServerMessage)
        assert [15] == await heard_by(session.audio)


@pytest.mark.socket
async def test_half_a_sample_that_nobody_heard_is_not_missed() -> None:
    """Whoever begins to listen in the middle of it hears whole samples."""
    async with talking() as (bot, session):
        bot.say(sound(1), sound(2, size=641), mark(1))
        await session.wait_event(tp.ServerMessage)
        reader = aiter(session.audio)
        bot.say(sound(3, size=639), sound(4))
        first, second = await anext(reader), await anext(reader)
        assert b"\2" + b"\3" * 639 == first.pcm
        assert sound(4) == second


@pytest.mark.socket
@pytest.mark.parametrize("packets", [1, 6])
async def test_sound_and_events_are_in_order(packets: int) -> None:
    """When an event is there, so is all the sound that was said before it."""
    async with talking() as (bot, session):
        reader = aiter(session.audio)
        items = [sound(1), sound(2), mark(1), sound(3), mark(2), sound(4)]
        if packets == 1:
            bot.say(*items)
        else:
            for item in items:
                bot.say(item)
        with session.subscribe(tp.ServerMessage) as marks:
            for number, said in ((1, 2), (2, 3)):
                assert number == (await marks.receive()).data
                assert said <= session.audio.unread
        assert [1, 2, 3, 4] == [(await anext(reader)).pcm[0] for _ in range(4)]


@pytest.mark.socket
async def test_an_interruption_takes_what_came_directly() -> None:
    """And nothing of what comes after it."""
    async with talking() as (bot, session):
        reader = aiter(session.audio)
        bot.say(*map(sound, range(1, 6)))
        bot.say(None, sound(6), mark(1))
        await session.wait_event(tp.ServerMessage)
        assert 6 == (await anext(reader)).pcm[0]
        assert 0.1 == pytest.approx(session.audio.flushed_seconds)


@pytest.mark.socket
async def test_a_tap_is_told_of_sound_that_nobody_hears() -> None:
    """Of each chunk, in its order, as long as it is there."""

    class Notes(Tap):
        def __init__(self) -> None:
            self.received_items: list[object] = []

        def received(self, item: object, at: float) -> None:
            is_sound = isinstance(item, tp.AudioChunk)
            self.received_items.append(item.pcm[0] if is_sound else "message")

    async with talking() as (bot, session):
        notes = Notes()
        bot.say(sound(1), sound(2), mark(1))
        await session.wait_event(tp.ServerMessage)
        session._driver.add_tap(notes)
        bot.say(sound(3), sound(4), mark(2), sound(5), mark(3))
        await session.wait_event(tp.ServerMessage, where=lambda event: event.data == 3)
        session._driver.remove_tap(notes)
        bot.say(sound(6), mark(4))
        await session.wait_event(tp.ServerMessage)
    assert [3, 4, "message", 5, "message"] == notes.received_items


@pytest.mark.socket
async def test_sound_does_not_wait_for_the_session_to_run() -> None:
    """It is there in the step in which it comes: no task of the session's had to be woken."""

    class Steps(trio.abc.Instrument):
        count = 0

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            self.count += task.name == "trio_pipecat: session"

    async with talking() as (bot, session):
        reader = aiter(session.audio)
        bot.say(sound(1), mark(1))
        await session.wait_event(tp.ServerMessage)
        await trio.testing.wait_all_tasks_blocked()
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        for number in range(2, 20):
            bot.say(sound(number))
            while session.audio.unread < number:
                await trio.sleep(0.001)
        trio.lowlevel.remove_instrument(steps)
        assert [*range(1, 20)] == [(await anext(reader)).pcm[0] for _ in range(19)]
    assert 0 == steps.count
