"""The WebSocket client of aiohttp, on asyncio or uvloop."""

import asyncio
from collections.abc import Callable

import aiohttp
import on_asyncio


class AiohttpPeer:
    """One connection, with the task that reads it, as the library's documentation has it."""

    def __init__(
        self, connection: aiohttp.ClientWebSocketResponse, hear: Callable[[bytes], None]
    ) -> None:
        self._connection = connection
        self.send = connection.send_bytes
        self._reader = asyncio.create_task(self._read(hear))

    async def _read(self, hear: Callable[[bytes], None]) -> None:
        async for message in self._connection:
            hear(message.data)

    async def drain(self) -> None:
        """`send` does."""

    async def aclose(self) -> None:
        """Say goodbye. The reader must not be in the way of the answer."""
        self._reader.cancel()
        await asyncio.wait([self._reader])
        await self._connection.close()


class Connector:
    """Opens connections, all from one client session."""

    def __init__(self) -> None:
        self._client: aiohttp.ClientSession | None = None

    async def open_peer(self, url: str, hear: Callable[[bytes], None]) -> AiohttpPeer:
        """Connect."""
        if self._client is None:
            self._client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return AiohttpPeer(await self._client.ws_connect(url, compress=0), hear)


if __name__ == "__main__":
    on_asyncio.main(Connector().open_peer)
