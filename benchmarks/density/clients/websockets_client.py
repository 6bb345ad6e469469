"""The client of the websockets library, on asyncio or uvloop."""

import asyncio
from collections.abc import Callable

import on_asyncio
import websockets.asyncio.client


class WebsocketsPeer:
    """One connection, with the task that reads it, as the library's documentation has it."""

    def __init__(
        self, connection: websockets.asyncio.client.ClientConnection, hear: Callable[[bytes], None]
    ) -> None:
        self._connection = connection
        self.send = connection.send
        self._reader = asyncio.create_task(self._read(hear))

    async def _read(self, hear: Callable[[bytes], None]) -> None:
        async for data in self._connection:
            hear(data)

    async def drain(self) -> None:
        """`send` does."""

    async def aclose(self) -> None:
        """Say goodbye."""
        await self._connection.close()
        await self._reader


async def open_peer(url: str, hear: Callable[[bytes], None]) -> WebsocketsPeer:
    """Connect."""
    connect = websockets.asyncio.client.connect
    return WebsocketsPeer(await connect(url, compression=None, open_timeout=60), hear)


if __name__ == "__main__":
    on_asyncio.main(open_peer)
