"""Just enough of an HTTP/1.1 server to stand in front of a WebSocket: small requests and answers.

h11 speaks the protocol. A request that asks for an upgrade is not answered here: what was read of
it is given back as a stream, for whoever speaks what it asks for.
"""

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import attrs
import h11
import trio

from .._wire import Json

#: Larger requests are refused.
_MAX_BODY: Final = 2**20
#: How long a client may take over one request, and between two, in seconds.
_PATIENCE: Final = 30
_READ_SIZE: Final = 64 * 1024


@attrs.frozen(kw_only=True)
class Request:
    """A request, read whole; of one that asks for an upgrade only the head."""

    method: str
    target: str
    headers: dict[str, str] = attrs.field(repr=lambda headers: str([*headers]))
    body: bytes = attrs.field(default=b"", repr=False)

    @property
    def path(self) -> str:
        """The path, without the query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The query."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def wants_websocket(self) -> bool:
        """Does it ask to become a WebSocket?"""
        return self.headers.get("upgrade", "").lower() == "websocket"


@attrs.frozen(kw_only=True)
class Response:
    """An answer."""

    status: int = 200
    headers: dict[str, str] = attrs.field(factory=dict)
    body: bytes = b""


def json_response(value: Json, status: int = 200) -> Response:
    """Return an answer of JSON."""
    return Response(
        status=status,
        headers={"Content-Type": "application/json"},
        body=json.dumps(value).encode(),
    )


def text_response(text: str, status: int) -> Response:
    """Return an answer of plain text."""
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    return Response(status=status, headers=headers, body=text.encode())


class PrefixedStream(trio.abc.Stream):
    """A stream, with something before it that was already read."""

    def __init__(self, prefix: bytes, stream: trio.abc.Stream) -> None:
        self._prefix = prefix
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Give the prefix first."""
        if self._prefix:
            await trio.lowlevel.checkpoint()
            size = len(self._prefix) if max_bytes is None else max_bytes
            data, self._prefix = self._prefix[:size], self._prefix[size:]
            return data
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close."""
        await self._stream.aclose()


async def serve_connection(
    stream: trio.abc.Stream,
    answer: Callable[[Request], Awaitable[Response]],
    upgrade: Callable[[Request, trio.abc.Stream], Awaitable[Response | None]],
) -> None:
    """Answer the requests of one connection, until it closes or becomes something else.

    Args:
        stream: the connection. It is closed at the end.
        answer: makes the answer to a request.
        upgrade: is given a request that asks for a WebSocket, with a stream that begins with it.
            It serves it and returns None, or returns the answer that refuses it.
    """
    async with stream:
        try:
            while True:
                with trio.fail_after(_PATIENCE):
                    request, raw = await _read_request(stream)
                if request is None:
                    return
                if request.wants_websocket:
                    refusal = await upgrade(request, PrefixedStream(raw, stream))
                    if refusal is not None:
                        await _write(stream, refusal, keep_alive=False)
                    return
                response = await answer(request)
                keep_alive = request.headers.get("connection", "").lower() != "close"
                await _write(stream, response, keep_alive=keep_alive)
                if not keep_alive:
                    return
        except (h11.RemoteProtocolError, ValueError) as error:
            # ValueError: the target is no path.
            refusal = text_response("Bad Request", getattr(error, "error_status_hint", 400))
            await _write(stream, refusal, keep_alive=False)
        except (trio.TooSlowError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client is gone, or might as well be


async def _read_request(stream: trio.abc.Stream) -> tuple[Request | None, bytes]:
    """Read one request; return it and the bytes it was made of. None: the client has closed."""
    # A connection of h11's for each request: pipelining is not for us.
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_READ_SIZE)
    raw, body = b"", b""
    head: h11.Request | None = None
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            data = bytes(await stream.receive_some(_READ_SIZE))
            raw += data
            if not data and head is None:
                return None, raw
            connection.receive_data(data)
        elif isinstance(event, h11.Request):
            head = event
            request = _request_of(head, b"")
            if request.wants_websocket:
                return request, raw
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > _MAX_BODY:
                raise h11.RemoteProtocolError("too large", error_status_hint=413)
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return _request_of(head, body), raw
        else:
            return None, raw


def _request_of(head: h11.Request, body: bytes) -> Request:
    headers = {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in head.headers
    }
    return Request(
        method=head.method.decode("ascii"),
        target=head.target.decode("latin-1"),
        headers=headers,
        body=body,
    )


async def _write(stream: trio.abc.Stream, response: Response, *, keep_alive: bool) -> None:
    lines = [f"HTTP/1.1 {response.status} {_reason(response.status)}"]
    headers = {
        **response.headers,
        "Content-Length": str(len(response.body)),
        "Connection": "keep-alive" if keep_alive else "close",
    }
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    await stream.send_all(head + response.body)


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
