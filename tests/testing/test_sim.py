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
        ("sim:?echo=perhaps", "echo"),
        ("sim://host", "sim"),
        ("sim:bot", "sim"),
    ],
)
def test_an_option_that_cannot_be_is_refused_at_once(address: str, what: str) -> None:
    """By name, before the block."""
    with pytest.raises(tp.InvalidParamsError, match=what):
        tp.open_session(address)
