"""Testing code that talks to a bot: a bot in memory, and a clock that does not wait."""

import trio
from trio.testing import MockClock

from trio_pipecat import BotOutput, Session, UserInput, open_session
from trio_pipecat.testing import SimulatedBot


async def ask_for_a_table(session: Session, people: int) -> str:
    """The code under test."""
    await session.wait_ready()
    sent = await session.send_text(f"A table for {people}, please.")
    await session.wait_event(UserInput, where=lambda taken: taken.msg_id == sent)
    answer = await session.wait_event(BotOutput, where=lambda o: o.spoken_status == "completed")
    return answer.text


async def test_a_slow_bot_is_waited_for(autojump_clock: MockClock) -> None:
    """A minute of waiting takes no time."""
    bot = SimulatedBot(greeting="Hello!", ready_delay=20, think_seconds=60)
    bot.reply = lambda text: "At eight?"
    async with open_session(transport=bot.connect) as session:
        assert await ask_for_a_table(session, 2) == "At eight?"
    assert trio.current_time() > 80
    assert bot.conversations[0].received[1][1].content == "A table for 2, please."
