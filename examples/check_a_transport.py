"""A transport of one's own, checked: a wire that carries sound and nothing else."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from trio_pipecat.audio import AudioChunk
from trio_pipecat.testing import check_transport
from trio_pipecat.transports import Incoming, LinkEnd, Transport, memory_transport_pair


class SoundOnAWire(Transport):
    """Stands for a telephone line; what is beneath it would be a socket."""

    speaks_rtvi = False
    max_message_size = 0

    def __init__(self, wire: Transport) -> None:
        self._wire = wire

    @property
    def end(self) -> LinkEnd | None:
        return self._wire.end

    async def receive(self) -> Incoming:
        return await self._wire.receive()

    async def send_message(self, text: str) -> None:
        raise NotImplementedError("a telephone has no messages")

    async def send_audio(self, chunk: AudioChunk) -> None:
        await self._wire.send_audio(chunk)

    async def aclose(self, code: int = 1000, text: str = "") -> None:
        await self._wire.aclose(code, text)

    async def abort(self, detail: str) -> None:
        await self._wire.abort(detail)


@asynccontextmanager
async def maker() -> AsyncGenerator[tuple[Transport, Transport], None]:
    client, bot = memory_transport_pair()
    yield SoundOnAWire(client), SoundOnAWire(bot)
    await client.abort("over")


async def main() -> None:
    await check_transport(maker, without=["stereo"])
    print("Sound on a wire keeps every rule.")


trio.run(main)
