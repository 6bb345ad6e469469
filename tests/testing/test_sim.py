"""The target ``sim:`` and its options."""

import pytest
import trio
from trio.testing import MockClock

import trio_pipecat as tp
from trio_pipecat.testing._sim import bot_of


async def test_options_come_in_the_address(autojump_clock: MockClock) -> None:
    """Delay, greeting, echo and thinking."""
    address = "sim:?ready_delay=3&greeting=Hi%20there&echo=no&think=0.5"
    async with tp.open_session(address) as session:
        await session.wait_ready()
        assert 3 == trio.current_time()
        assert "Hi there" == (await session.wait_event(tp.BotOutput)).text
    bot = bot_of(address)
    assert (False, 0.5) == (bot.echo_audio, bot.think_seconds)


@pytest.mark.parametrize("value", ["", "Hello!"])
def test_a_greeting_may_be_empty(value: str) -> None:
    """Then there is none."""
    assert (value or None) == bot_of(f"sim:?greeting={value}").greeting


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("sim:?voice=tenor", "voice"),
        ("sim:?ready_delay=soon", "ready_delay"),
        ("sim:?ready_delay=-1", "ready_delay"),
        ("sim:?ready_delay=inf", "ready_delay"),
        ("sim:?think=nan", "think"),
        ("sim:?echo=perhaps", "echo is 1 or 0, not 'perhaps'"),
        ("sim:?voice=", "voice is tone or silence"),
        ("sim:?flood=-1", "flood is a number of messages"),
        ("sim:?flood=many", "flood is a number of messages"),
        ("sim:?garbage=frame,noise", "garbage: no such garbage: noise"),
        ("sim:?wrong_version=2", "wrong_version: wrong_version is one of"),
        ("sim:?wrong_version=", "wrong_version is 0, 1 or 3"),
        ("sim:?leave=1", "no option 'leave'; there are greeting, ready_delay"),
        ("sim://host", "sim"),
        ("sim:bot", "sim"),
    ],
)
def test_an_option_that_cannot_be_is_refused_at_once(address: str, what: str) -> None:
    """By name, before the block."""
    with pytest.raises(tp.InvalidParamsError, match=what):
        tp.open_session(address)


@pytest.mark.parametrize(
    ("query", "event"),
    [
        ("flood=3", tp.ServerMessage),
        ("flood=", tp.ServerMessage),
        ("garbage=no%20json", tp.MalformedMessage),
        ("garbage", tp.MalformedMessage),
        ("report_error=odd", tp.Error),
        ("fatal_error=odd", tp.Error),
        ("function_call=f", tp.LlmFunctionCallStarted),
        ("leave_after=5", tp.BotDisconnected),
        ("crash=5", tp.BotDisconnected),
        ("half_open=5", tp.BotDisconnected),
        ("interrupt_on_speech=1&echo=0&voice=silence", tp.BotStartedSpeaking),
        ("interrupt_on_speech=0&never_ready=0", tp.BotStartedSpeaking),
        ("wrong_version=3", tp.ProtocolMismatch),
    ],
)
async def test_behaviours_come_in_the_address(
    autojump_clock: MockClock, query: str, event: type[tp.Event]
) -> None:
    """Those of `trio_pipecat.testing`, by their names."""
    options = {"disconnect_on_bot_disconnect": False}
    async with tp.open_session(f"sim:?{query}", **options) as session:
        await session.wait_event(event)


async def test_a_voice_may_be_silent(autojump_clock: MockClock) -> None:
    """Then there is sound, and nothing in it."""
    async with tp.open_session("sim:?voice=silence") as session:
        async for chunk in session.audio:
            assert not any(chunk.pcm)
            break


async def test_it_understands_what_it_is_told_to_hear(autojump_clock: MockClock) -> None:
    """Whatever was said: it answers when the user's voice has stopped."""
    async with tp.open_session("sim:?greeting=&hear=Good%20day") as session:
        await session.wait_ready()
        with session.subscribe(tp.UserInput) as heard:
            await session.stream_audio(tp.AudioChunk(b"\0\x20" * 16_000, 16_000))
            output = await session.wait_event(tp.BotOutput)
            texts = [heard.receive_nowait().text for _ in range(heard.unread)]
    assert ("Good day", "You said: Good day") == (texts[-1], output.text)
