"""A scripted HTTP server on loopback: real sockets, and answers of every shape.

`serve_http` reads each request whole with h11, records it, and leaves the answer to a function,
which may say it well (`Exchange.answer`), badly (`Exchange.send`), or not at all (`Exchange.hang`).
When the function returns the connection is closed, so returning at once is hanging up.
"""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from socket import EAI_NONAME, gaierror
from ssl import SSLContext
from typing import Any, TypeAlias

import attrs
import h11
import trio

HOST = "127.0.0.1"


@attrs.frozen
class Request:
    """A request as it came. Header names are in lower case."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> list[str]:
        """Return every value of one header."""
        return [value for key, value in self.headers if key == name]

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


@attrs.define(eq=False)
class Exchange:
    """One request, and the means to answer it."""

    request: Request
    _stream: trio.abc.Stream
    _connection: h11.Connection

    async def answer(
        self, status: int = 200, body: Any = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer properly. A `body` that is not bytes or text goes as JSON."""
        if isinstance(body, str):
            body = body.encode()
        elif not isinstance(body, bytes):
            body = json.dumps(body).encode()
        headers = {"Content-Length": str(len(body)), "Connection": "close", **(headers or {})}
        await self._say(h11.Response(status_code=status, headers=[*headers.items()]))
        await self._say(h11.Data(data=body))
        await self._say(h11.EndOfMessage())

    async def answer_in_chunks(self, *chunks: bytes, status: int = 200) -> None:
        """Answer properly, in the chunked encoding."""
        await self._say(h11.Response(status_code=status, headers=[]))
        for chunk in chunks:
            await self._say(h11.Data(data=chunk))
        await self._say(h11.EndOfMessage())

    async def send(self, raw: bytes) -> None:
        """Answer anything."""
        await self._stream.send_all(raw)

    async def hang(self) -> None:
        """Say nothing (more) until the client leaves."""
        await wait_for_eof(self._stream)

    async def _say(self, event: h11.Event) -> None:
        await self._stream.send_all(self._connection.send(event) or b"")


Handler: TypeAlias = Callable[[Exchange], Awaitable[object]]


@attrs.define(eq=False)
class HttpServer:
    """A server that runs. `requests` are those that were read, `open` counts connections."""

    handler: Handler
    ssl_context: SSLContext | None
    port: int = 0
    requests: list[Request] = attrs.field(factory=list)
    connections: int = 0
    open: int = 0
    _changed: trio.Event = attrs.field(factory=trio.Event)

    def url(self, path: str = "/start", *, host: str = HOST, user: str = "") -> str:
        """Return an address on this server."""
        scheme = "http" if self.ssl_context is None else "https"
        return f"{scheme}://{user}{host}:{self.port}{path}"

    async def wait_connected(self) -> None:
        """Wait until somebody has connected."""
        while not self.connections:
            await self._changed.wait()

    async def wait_request(self) -> None:
        """Wait until a request was read."""
        while not self.requests:
            await self._changed.wait()

    async def wait_idle(self) -> None:
        """Wait until every connection is over: a client that left a socket open is waited for."""
        while self.open:
            await self._changed.wait()

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one connection."""
        self.connections += 1
        self.open += 1
        self._notify()
        try:
            await self._serve(stream)
        except trio.BrokenResourceError:
            pass  # the client has left, or wants no TLS with us
        finally:
            self.open -= 1
            self._notify()

    async def _serve(self, stream: trio.abc.Stream) -> None:
        if self.ssl_context is not None:
            stream = trio.SSLStream(stream, self.ssl_context, server_side=True)
        connection = h11.Connection(h11.SERVER)
        try:
            request = await _read_request(stream, connection)
        except h11.RemoteProtocolError:
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return
        if request is not None:
            self.requests.append(request)
            self._notify()
            await self.handler(Exchange(request, stream, connection))

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


async def _read_request(stream: trio.abc.Stream, connection: h11.Connection) -> Request | None:
    """Return the next request, or None if the client leaves before it is whole."""
    head: h11.Request | None = None
    body = b""
    while True:
        match connection.next_event():
            case h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())
            case h11.Request() as head:
                pass
            case h11.Data(data=data):
                body += data
            case h11.EndOfMessage() if head is not None:
                headers = [(name.decode(), value.decode("latin-1")) for name, value in head.headers]
                return Request(head.method.decode(), head.target.decode(), (*headers,), body)
            case _:
                return None


async def wait_for_eof(stream: trio.abc.Stream) -> None:
    """Read until the other side leaves."""
    while await stream.receive_some():
        pass


@asynccontextmanager
async def serve_tcp(
    serve: Callable[[trio.SocketStream], Awaitable[object]],
) -> AsyncGenerator[int, None]:
    """Run a TCP server that may do anything with a connection; gives its port."""
    listeners = await trio.open_tcp_listeners(0, host=HOST)
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, serve, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def serve_http(
    handler: Handler, *, ssl_context: SSLContext | None = None
) -> AsyncGenerator[HttpServer, None]:
    """Run a server whose requests `handler` answers."""
    server = HttpServer(handler, ssl_context)
    async with serve_tcp(server.serve) as server.port:
        yield server


def answering(
    status: int = 200, body: Any = b"", headers: Mapping[str, str] | None = None
) -> Handler:
    """Return a handler that always answers the same."""

    async def handle(exchange: Exchange) -> None:
        await exchange.answer(status, body, headers)

    return handle


def sending(raw: bytes) -> Handler:
    """Return a handler that sends these bytes and hangs up."""

    async def handle(exchange: Exchange) -> None:
        await exchange.send(raw)

    return handle


async def hanging_up(exchange: Exchange) -> None:
    """Close the connection without an answer. A handler."""


async def silent(exchange: Exchange) -> None:
    """Never answer. A handler."""
    await exchange.hang()


async def half_an_answer(exchange: Exchange) -> None:
    """Begin to answer, and stop. A handler."""
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    await exchange.hang()


async def endless_body(exchange: Exchange) -> None:
    """Answer, and never stop. A handler."""
    await exchange.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await exchange.send(65_536 * b"x")


def redirecting(status: int, location: str, then: Any) -> Handler:
    """Return a handler that redirects what comes to ``/start``, and answers the rest."""

    async def handle(exchange: Exchange) -> None:
        if exchange.request.target.startswith("/start"):
            await exchange.answer(status, b"moved", {"Location": location})
        else:
            await exchange.answer(200, then)

    return handle


class LoopbackNames(trio.abc.HostnameResolver):
    """Names that lead to loopback, and none besides: no test asks a real name server."""

    def __init__(self, *names: str) -> None:
        self._names = names

    async def getaddrinfo(self, host: Any, port: Any, *options: int, **more: int) -> Any:
        """Resolve one of our names."""
        name = host.decode() if isinstance(host, bytes) else host
        if name not in self._names:
            raise gaierror(EAI_NONAME, "Name or service not known")
        return await trio.socket.getaddrinfo(HOST, port, *options, **more)

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        """Nobody asks."""
        raise NotImplementedError
