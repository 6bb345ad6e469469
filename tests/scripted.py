"""A bot that does exactly what a test says, over the memory transport."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import trio

import trio_pipecat as tp
from trio_pipecat._codec import decode_command, encode_event
from trio_pipecat.transports import (
    Connector,
    LinkOptions,
    MemoryTransport,
    Transport,
    memory_transport_pair,
)

Script = Callable[["ScriptedBot"], Awaitable[None]]


class ScriptedBot:
    """The bot's end of a link, with words for what a test wants of it."""

    def __init__(self, link: MemoryTransport) -> None:
        self.link = link
        self.commands: list[tuple[str, tp.Command]] = []
        #: What was heard on the way to the next command.
        self.sounds: list[tp.AudioChunk] = []
        self.pictures: list[tp.VideoFrame] = []

    async def hear(self) -> tuple[str, tp.Command]:
        """Return the next command of the client, and its id."""
        while isinstance(item := await self.link.receive(), tp.AudioChunk | tp.VideoFrame):
            if isinstance(item, tp.AudioChunk):
                self.sounds.append(item)
            else:
                self.pictures.append(item)
        assert isinstance(item, str), item
        received = decode_command(item)
        assert isinstance(received, tuple), received
        self.commands.append(received)
        return received

    async def hear_of(self, kind: type[tp.Command]) -> str:
        """Return the id of the next command, which is of this kind."""
        id_, command = await self.hear()
        assert isinstance(command, kind), command
        return id_

    async def say(self, *events: tp.BotMessage) -> None:
        """Send messages."""
        for event in events:
            await self.link.send_message(encode_event(event))

    async def become_ready(self, version: str = "2.2.0") -> None:
        """Hear client-ready and answer it."""
        id_ = await self.hear_of(tp.ClientReady)
        await self.say(tp.BotReady(id=id_, version=version))

    async def listen(self) -> None:
        """Take everything until the client leaves."""
        try:
            while True:
                await self.hear()
        except trio.EndOfChannel:
            pass

    async def leave(self, code: int = 1000, text: str = "") -> None:
        """Say goodbye."""
        await self.link.aclose(code, text)

    async def interrupt(self) -> None:
        """Send the wire's own signal."""
        await self.link.send_interruption()


def scripted(script: Script) -> Connector:
    """Return a connector to a bot that runs `script`, once for each link."""

    @asynccontextmanager
    async def connect(
        params: tp.ConnectParams, options: LinkOptions
    ) -> AsyncGenerator[Transport, None]:
        await trio.lowlevel.checkpoint()
        client, bot = memory_transport_pair(max_message_size=options.max_message_size)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_run, script, ScriptedBot(bot))
            yield client
            if client.end is None:
                await client.aclose()
            nursery.cancel_scope.cancel()

    return connect


async def _run(script: Script, bot: ScriptedBot) -> None:
    with suppress(trio.BrokenResourceError):  # the client has hung up in the middle of it
        await script(bot)


async def just_ready(bot: ScriptedBot) -> None:
    """Become ready, and listen."""
    await bot.become_ready()
    await bot.listen()
