"""A bot of this process, joined to a session in memory."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

import trio

from .._service import open_services
from ..transports import LinkOptions, Transport, memory_transport_pair
from ._conversation import BotLink


class Bot(Protocol):
    """What `serve_bot` serves: something that can hold a conversation."""

    async def converse(self, link: BotLink) -> None:
        """Hold a conversation over `link`, the bot's end of it, until it ends."""


@asynccontextmanager
async def connect_in_memory(bot: Bot, options: LinkOptions) -> AsyncGenerator[Transport, None]:
    """Open a link to `bot` in memory: what the connector of such a bot does."""
    await trio.lowlevel.checkpoint()
    client, other = memory_transport_pair(max_message_size=options.max_message_size)

    async def say_goodbye(error: BaseException | None) -> None:
        if client.end is None:
            await client.aclose()

    async with open_services(say_goodbye, grace=options.grace) as services:
        services.start(bot.converse, other, name="trio_pipecat: simulated bot")
        keep_alive = partial(client.keep_alive, options.ping_interval, options.ping_timeout)
        services.start(keep_alive, name="trio_pipecat: memory keepalive")
        yield client
