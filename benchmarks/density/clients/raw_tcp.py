"""What opening costs with nothing but a TCP stream of trio's: one request, and one answer.

The floor of what a handshake costs, and, with client-ready sent and awaited, of how soon a session
is ready. What is sent has the size of a WebSocket handshake and is one, for the server's sake.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import on_trio
import trio
from measuring import CLIENT_READY, Load, read_options

from trio_pipecat.transports._envelope import encode_message

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def _client_ready() -> bytes:
    """Return a WebSocket message with client-ready in it, whose mask is zeros."""
    payload = encode_message(CLIENT_READY)
    return b"\x82\xfe" + len(payload).to_bytes(2) + bytes(4) + payload


HELLO = _client_ready()


@asynccontextmanager
async def open_stream(url: str) -> AsyncIterator[trio.SocketStream]:
    """Connect, ask once and hear the answer; for the time of the block."""
    parts = urlsplit(url)
    async with await trio.open_tcp_stream(parts.hostname, parts.port) as stream:
        await stream.send_all(REQUEST)
        await hear(stream, b"\r\n\r\n")
        yield stream


async def become_ready(stream: trio.SocketStream) -> None:
    """Send client-ready and await its answer."""
    await stream.send_all(HELLO)
    await hear(stream, b"bot-ready")


async def hear(stream: trio.SocketStream, wanted: bytes) -> None:
    """Receive until it is there."""
    heard = b""
    while wanted not in heard:
        data = await stream.receive_some()
        if not data:
            raise EOFError("the server hung up")
        heard += data


if __name__ == "__main__":
    trio.run(on_trio.opening, open_stream, Load(read_options()))
