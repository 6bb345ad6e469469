"""The client of trio-websocket, bare, with the buffer and the queue that suit audio."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import on_trio
import trio_websocket
from measuring import CLIENT_READY

from trio_pipecat import AudioChunk
from trio_pipecat.transports._envelope import decode, encode_audio, encode_message


@asynccontextmanager
async def open_peer(url: str) -> AsyncIterator[on_trio.Peer]:
    """Connect for the time of the block."""
    opening = trio_websocket.open_websocket_url(
        url, receive_buffer_size=65_536, message_queue_size=64
    )
    async with opening as connection:

        async def receive() -> object:
            return decode(await connection.get_message())

        async def send(chunk: AudioChunk) -> None:
            await connection.send_message(encode_audio(chunk))

        async def become_ready() -> None:
            await connection.send_message(encode_message(CLIENT_READY))

        yield on_trio.Peer(receive, send, lambda chunk: False, become_ready)


if __name__ == "__main__":
    on_trio.main(open_peer)
