"""Testing with the plugin: needs pytest-trio, and trio_pipecat.testing.pytest in pytest_plugins."""

import pytest
import trio
from trio.testing import MockClock

from trio_pipecat import BotOutput, Session
from trio_pipecat.testing import SimulatedBot, leave_after


@pytest.fixture
def bot() -> SimulatedBot:
    """The fixture of the plugin, with another bot."""
    return SimulatedBot([leave_after(600)], reply=lambda text: f"{text}, of course.")


async def test_an_order(virtual_time: MockClock, bot: SimulatedBot, session: Session) -> None:
    """A session with that bot, ready; it is recorded, in case the test fails."""
    await session.send_text("Tea")
    answer = await session.wait_event(BotOutput, where=lambda o: o.spoken_status == "completed")
    assert answer.text == "Tea, of course."


async def test_the_end_of_a_long_call(virtual_time: MockClock, session: Session) -> None:
    """Ten minutes, which take no time."""
    await session.states.disconnected.wait()
    assert session.end is not None
    assert session.end.reason == "bot"
    assert trio.current_time() > 600
