"""A bot that costs next to nothing: it becomes ready, and throws away what it hears.

So that what is measured is the client. Run in a process of its own; it prints its port.
"""

import asyncio
import base64
import hashlib
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from trio_pipecat import BotReady
from trio_pipecat._codec import decode_command, encode_event
from trio_pipecat.transports._envelope import decode, encode_message

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Sink(asyncio.Protocol):
    """One connection: HTTP's upgrade, the answer to client-ready, and then silence."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._data = b""
        self._answer = self._upgrade

    def data_received(self, data: bytes) -> None:
        if self._answer is not None:
            self._data += data
            self._answer()

    def _upgrade(self) -> None:
        head, found, self._data = self._data.partition(b"\r\n\r\n")
        if not found:
            self._data = head
            return
        lines = (line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        headers = {name.lower(): value for name, value in lines}
        digest = hashlib.sha1(headers[b"sec-websocket-key"] + _GUID).digest()
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
        )
        self._answer = self._become_ready
        self._become_ready()

    def _become_ready(self) -> None:
        data = self._data
        if len(data) < 8 or (data[1] & 127 == 126 and len(data) < 8 + int.from_bytes(data[2:4])):
            return
        start = 4 if data[1] & 127 == 126 else 2
        size = int.from_bytes(data[2:4]) if start == 4 else data[1] & 127
        mask, masked = data[start : start + 4], data[start + 4 : start + 4 + size]
        payload = bytes(byte ^ mask[number % 4] for number, byte in enumerate(masked))
        decoded = decode_command(str(decode(payload, at=0)))
        if not isinstance(decoded, tuple):
            raise TypeError("the first message is client-ready")
        answer = encode_message(encode_event(BotReady(id=decoded[0], version="2.2.0")))
        size = len(answer)
        length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2)
        self._transport.write(b"\x82" + length + answer)
        self._answer = None


async def _serve(certificate: str | None) -> None:
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Sink, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def running_sink(certificate: str | None = None) -> Iterator[str]:
    """Run one in a process of its own; give its WebSocket's address.

    With the path of a certificate and its key, it is served with TLS.
    """
    command = [sys.executable, "-m", "benchmarks.sink", *([certificate] if certificate else [])]
    scheme = "wss" if certificate else "ws"
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"{scheme}://127.0.0.1:{int(process.stdout.readline())}/"
        finally:
            process.terminate()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1] if len(sys.argv) > 1 else None))
