"""A bot of one's own in memory."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_pipecat.testing import BotLink
from trio_pipecat.testing._memory_link import connect_in_memory
from trio_pipecat.transports import LinkOptions


class Parrot:
    """A bot that is no `SimulatedBot`."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    async def converse(self, link: BotLink) -> None:
        try:
            while True:
                self.heard.append(await link.receive())
                await link.send_message("polly")
        except trio.EndOfChannel:
            self.heard.append(link.end)


async def test_any_bot_can_be_joined(autojump_clock: MockClock) -> None:
    """What is said goes both ways."""
    bot = Parrot()
    async with connect_in_memory(bot, LinkOptions(max_message_size=99)) as link:
        assert 99 == link.max_message_size
        await link.send_message("hello")
        assert "polly" == await link.receive()
    assert "hello" == bot.heard[0]


async def test_leaving_is_a_goodbye(autojump_clock: MockClock) -> None:
    """The bot sees it."""
    bot = Parrot()
    async with connect_in_memory(bot, LinkOptions()) as link:
        await wait_all_tasks_blocked()
    assert link.end is not None
    assert (1000, "client") == (link.end.code, link.end.first)
    assert [link.end] == bot.heard


async def test_a_goodbye_is_said_once(autojump_clock: MockClock) -> None:
    """A link that has ended ended as it did."""
    async with connect_in_memory(Parrot(), LinkOptions()) as link:
        await link.aclose(1001)
    assert 1001 == link.end.code
