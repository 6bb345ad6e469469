"""Peers that behave as badly as a test wants: real TCP servers, scripted byte by byte.

A *script* is an async function that is given the server's end of one connection. What it returns is
the server's view of the conversation, and `RawServer.view` waits for it.

`serve_raw` also keeps the books: everything that a test opens inside must be gone at its end, tasks
and sockets alike, and all of it has a bounded time.
"""

import base64
import hashlib
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import trio

#: Nothing here takes more than a second or two, on a machine that is not very busy.
BOUND = 30
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Frame(NamedTuple):
    """One WebSocket frame as it came, unmasked."""

    opcode: int
    payload: bytes
    fin: bool = True


class Request(NamedTuple):
    """The request of an upgrade."""

    target: str
    headers: dict[str, str]

    def accept_token(self) -> bytes:
        """Return the right answer to this request's key."""
        key = self.headers["sec-websocket-key"].encode()
        return base64.b64encode(hashlib.sha1(key + _GUID).digest())


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, bits: int = 0) -> bytes:
    """Return the bytes of an unmasked frame; `bits` goes into its first byte."""
    head = bytes([(0x80 if fin else 0) | bits | opcode])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    if len(payload) < 2**16:
        return head + struct.pack("!BH", 126, len(payload)) + payload
    return head + struct.pack("!BQ", 127, len(payload)) + payload


def masked_frame(opcode: int, payload: bytes) -> bytes:
    """Return the bytes of a masked frame, as only a client may send it (the mask is nought)."""
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload


def close_frame(code: int | None = None, text: str = "") -> bytes:
    """Return the bytes of a close frame."""
    payload = b"" if code is None else struct.pack("!H", code) + text.encode()
    return frame(CLOSE, payload)


def close_code(closing: Frame) -> int | None:
    """Return the code in a close frame, None if there is none."""
    return struct.unpack("!H", closing.payload[:2])[0] if closing.payload else None


class RawPeer:
    """The server's end of one connection."""

    def __init__(self, stream: trio.abc.Stream, sock: trio.socket.SocketType) -> None:
        self.stream = stream
        self._socket = sock
        self._buffer = bytearray()

    async def send(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        await self.stream.send_all(data)

    async def request(self) -> Request:
        """Read the request of the upgrade."""
        while b"\r\n\r\n" not in self._buffer:
            assert await self._read_more(), f"hung up after {bytes(self._buffer)!r}"
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        self._buffer[:] = rest
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return Request(
            first.split(" ")[1], {name.lower(): value.strip() for name, _, value in pairs}
        )

    async def read(self, count: int) -> bytes:
        """Read so many bytes."""
        while len(self._buffer) < count:
            assert await self._read_more(), f"hung up after {bytes(self._buffer)!r}"
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    async def accept(self, *, and_send: bytes = b"") -> Request:
        """Read the request, agree to it, and send more in the same packet."""
        request = await self.request()
        await self.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + request.accept_token() + b"\r\n\r\n" + and_send
        )
        return request

    async def frame(self) -> Frame | None:
        """Read one frame; None at the end of the stream. A torn frame is an error."""
        while (found := self._parse()) is None:
            if not await self._read_more():
                assert not self._buffer, f"a torn frame: {bytes(self._buffer[:20])!r}"
                return None
        return found

    async def frames(self) -> list[Frame]:
        """Read frames to the end of the stream."""
        found = []
        while (one := await self.frame()) is not None:
            found.append(one)
        return found

    async def until_close(self) -> list[Frame]:
        """Read frames up to the close frame, which is the last."""
        found = []
        while (one := await self.frame()) is not None:
            found.append(one)
            if one.opcode == CLOSE:
                return found
        raise AssertionError(f"no close frame, only {found}")

    async def good_close(self) -> int | None:
        """Read up to the close frame, answer it as it should be, and return its code."""
        closing = (await self.until_close())[-1]
        await self.send(frame(CLOSE, closing.payload))
        return close_code(closing)

    def reset(self) -> None:
        """Tear the connection down with a TCP reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    async def _read_more(self) -> bool:
        try:
            data = await self.stream.receive_some()
        except trio.BrokenResourceError:
            data = b""
        self._buffer += data
        return bool(data)

    def _parse(self) -> Frame | None:
        data = self._buffer
        if len(data) < 2:
            return None
        length, start = data[1] & 0x7F, 2
        if length >= 126:
            size = 2 if length == 126 else 8
            if len(data) < 2 + size:
                return None
            length, start = int.from_bytes(data[2 : 2 + size], "big"), 2 + size
        assert data[1] & 0x80, "a client's frames are masked"
        end = start + 4 + length
        if len(data) < end:
            return None
        mask = data[start : start + 4]
        payload = _unmask(bytes(data[start + 4 : end]), bytes(mask))
        found = Frame(data[0] & 0x0F, payload, bool(data[0] & 0x80))
        del data[:end]
        return found


def _unmask(payload: bytes, mask: bytes) -> bytes:
    whole = (mask * (len(payload) // 4 + 1))[: len(payload)]
    number = int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")
    return number.to_bytes(len(payload), "big")


Script = Callable[[RawPeer], Awaitable[Any]]


class RawServer:
    """A server that runs a script for every connection. Made by `serve_raw`."""

    def __init__(self, script: Script, listener: trio.SocketListener, *, tls: bool) -> None:
        host, port, *_ = listener.socket.getsockname()
        self.port: int = port
        self.url = (
            f"{'wss' if tls else 'ws'}://{f'[{host}]' if ':' in host else host}:{port}/ws-client"
        )
        self._script = script
        self._views: list[Any] = []
        self._ended = trio.Event()

    async def view(self) -> Any:
        """Wait until the first connection's script has ended, and return what it returned."""
        await self._ended.wait()
        return self._views[0]

    async def handle(self, stream: trio.SocketStream, context: ssl.SSLContext | None) -> None:
        """Run the script for one connection."""
        talk: trio.abc.Stream = stream
        if context is not None:
            talk = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        peer = RawPeer(talk, stream.socket)
        try:
            self._views.append(await self._script(peer))
        finally:
            self._ended.set()
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def serve_raw(
    script: Script, *, host: str = "127.0.0.1", ssl_context: ssl.SSLContext | None = None
) -> AsyncGenerator[RawServer, None]:
    """Listen on a port of its own, and run `script` for every connection."""
    with nothing_left(), trio.fail_after(BOUND):
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host=host)
            server = RawServer(script, listener, tls=ssl_context is not None)

            async def handle(stream: trio.SocketStream) -> None:
                await server.handle(stream, ssl_context)

            nursery.start_soon(trio.serve_listeners, handle, [listener])
            yield server
            nursery.cancel_scope.cancel()


@contextmanager
def nothing_left() -> Iterator[None]:
    """Check that as many tasks live and as many sockets are open at the end as there were."""
    before = _living_tasks(), _open_sockets()
    yield
    assert before == (_living_tasks(), _open_sockets()), "tasks or sockets are left over"


def _living_tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


def _open_sockets() -> int:
    count, folder = 0, Path("/proc/self/fd")
    for descriptor in folder.iterdir() if folder.exists() else ():
        with suppress(OSError):  # the folder's own descriptor is closed by now
            count += str(descriptor.readlink()).startswith("socket:")
    return count
