"""The simulated bot: what it is like, and how to reach it. `_conversation` is what it does."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import attrs

from .._params import ConnectParams
from ..transports import LinkOptions, Transport
from ._conversation import Behaviour, BotLink, Conversation, RequestHandler
from ._memory_link import connect_in_memory
from ._personality import Personality
from ._requests import REQUESTS


@attrs.define(kw_only=True, eq=False)
class SimulatedBot(Personality):
    """A bot in this process: no server, no keys, no network, and it speaks as pipecat does.

    In memory, for tests and tutorials::

        bot = SimulatedBot()
        async with open_session(transport=bot.connect) as session: ...

    or, with nothing to configure, ``open_session("sim:")``. On a real port: `serve_bot`.

    Attributes:
        behaviours: what it does of its own accord with each conversation, as it begins: async
            functions of the `Conversation`, such as those beside this class.
        greeting: what it says when a client is ready; None: nothing.
        reply: what it answers to a text of the user; by default it repeats it.
        report: what it says of a function's result.
        echo_audio: send the user's sound back.
        echo_video: send the user's pictures back, on wires that have them.
        ready_delay: seconds from ``client-ready`` to ``bot-ready``.
        think_seconds: seconds from the user's text to the first word of the answer; or what is
            called for each answer, to say how many.
        voice: how it sounds.
        requests: what it does with a client-message, by its type: an async function of the
            `Conversation` and the message's data. What it returns, unless None, is the answer;
            raising `RefusedError` is an error-response.
        conversations: every conversation it has had, the newest last.
    """

    behaviours: Sequence[Behaviour] = attrs.field(default=(), kw_only=False)
    requests: dict[str, RequestHandler] = attrs.field(factory=lambda: dict(REQUESTS))
    conversations: list[Conversation] = attrs.field(factory=list, init=False, repr=False)

    async def converse(self, link: BotLink) -> None:
        """Hold a conversation over `link`, the bot's end of it, until it ends."""
        conversation = Conversation(self, link, self.requests, self.behaviours)
        self.conversations.append(conversation)
        await conversation.run()

    @asynccontextmanager
    async def connect(
        self, params: ConnectParams, options: LinkOptions
    ) -> AsyncGenerator[Transport, None]:
        """Open a link to this bot in memory: a connector, for ``open_session(transport=…)``."""
        async with connect_in_memory(self, options) as link:
            yield link
