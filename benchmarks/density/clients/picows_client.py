"""The client of picows, on asyncio or uvloop."""

import asyncio
from collections.abc import Callable

import on_asyncio
import picows


class PicowsPeer(picows.WSListener):
    """One connection. picows calls its listener, and sends without waiting."""

    def __init__(self, hear: Callable[[bytes], None]) -> None:
        super().__init__()
        self._hear = hear
        self._transport: picows.WSTransport | None = None
        self._room = asyncio.Event()
        self._room.set()

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        """Keep the connection."""
        self._transport = transport

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """Hear what comes."""
        if frame.msg_type == picows.WSMsgType.BINARY:
            self._hear(frame.get_payload_as_bytes())
        elif frame.msg_type == picows.WSMsgType.CLOSE:
            transport.disconnect()

    def send(self, data: bytes) -> None:
        """Send a message."""
        self._transport.send(picows.WSMsgType.BINARY, data)

    def pause_writing(self) -> None:
        """There is no more room."""
        self._room.clear()

    def resume_writing(self) -> None:
        """There is room again."""
        self._room.set()

    async def drain(self) -> None:
        """Wait until there is room."""
        await asyncio.sleep(0)
        await self._room.wait()

    async def aclose(self) -> None:
        """Say goodbye."""
        self._transport.send_close(picows.WSCloseCode.OK)
        await self._transport.wait_disconnected()


async def open_peer(url: str, hear: Callable[[bytes], None]) -> PicowsPeer:
    """Connect."""
    _, peer = await picows.ws_connect(lambda: PicowsPeer(hear), url)
    return peer


if __name__ == "__main__":
    on_asyncio.main(open_peer)
