"""The engine, where a session cannot show it: strange connectors, wires without RTVI, bugs."""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from scripted import just_ready, scripted
from trio.testing import MockClock

import trio_pipecat as tp
from trio_pipecat.transports import MemoryTransport, memory_transport_pair


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
