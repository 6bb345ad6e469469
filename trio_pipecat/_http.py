"""One request over HTTP, and its redirects. The one file that knows httpx.

httpx is imported with this file, and this file when something is to be sent: a session that
connects directly does without, and httpx loads a command line of its own where it finds one.

Redirects are followed by hand. One that stays on the same origin, or goes from ``http`` to
``https`` on the same host, is followed with method and body unchanged; one that leads elsewhere is
refused: the request carries credentials, or data that is somebody's own.

What a server says may repeat our secrets, so its words pass `Request.show` on their way into an
error, and foreign errors that quote them become neither its cause nor its context.
"""

from collections.abc import AsyncIterator, Mapping
from pathlib import PurePath
from ssl import SSLContext
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import attrs
import httpcore
import httpx
import trio

from ._causes import root_cause
from ._errors import PipecatError
from ._tls import default_ssl_context
from ._urls import basic_credentials, header_secrets, is_tls, origin, redact, scrub, url_secrets
from ._version import USER_AGENT

#: Headers that a server may quote.
_HARMLESS: Final = frozenset({"origin", "user-agent"})
_REDIRECTS: Final = frozenset({301, 302, 307, 308})
_MAX_REDIRECTS: Final = 5
#: A start answer is a handful of addresses; this is a server that does not stop.
_MAX_ANSWER: Final = 2**20
#: How much of a server's own words goes into an error, and how much of them is looked at.
_MAX_DETAIL: Final = 500
_MAX_READ: Final = 4096


class HttpError(PipecatError):
    """What went wrong below the level of an answer."""

    def __init__(self, detail: str, status: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status


@attrs.frozen
class Answer:
    """What a server answered. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes = attrs.field(repr=False)

    @property
    def reason(self) -> str:
        """What HTTP calls this status."""
        return httpx.codes.get_reason_phrase(self.status) or "no reason given"


def multipart(name: str, content: bytes, format_: str) -> tuple[str, bytes]:
    """Return the content type and the body of a form with one file in it."""
    form = httpx.Request(
        "POST", "http://x", files={"file": (PurePath(name).name, content, format_)}
    )
    return form.headers["Content-Type"], form.read()


@attrs.define(repr=False)
class Request:
    """One request and its redirects. Afterwards `url` is where the answer came from.

    `secrets` are those that nobody can tell by the URL and the headers.
    """

    url: str
    given: dict[str, str]
    content_type: str
    content: bytes
    ssl_context: SSLContext | None
    method: str = "POST"
    secrets: list[str] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        basic = basic_credentials(urlsplit(self.url))
        if basic is not None and "authorization" not in map(str.lower, self.given):
            self.given = {**self.given, "Authorization": f"Basic {basic}"}
        values = [value for name, value in self.given.items() if name.lower() not in _HARMLESS]
        self.secrets = [*self.secrets, *header_secrets(values), *url_secrets(self.url)]

    async def send(self) -> Answer:
        """Send it, follow redirects, and return the answer, whatever its status.

        Raises:
            HttpError: there is none.
        """
        for _ in range(_MAX_REDIRECTS + 1):
            answer = await self._send_once()
            if answer.status not in _REDIRECTS or "location" not in answer.headers:
                return answer
            self.url = _follow(self.url, answer.headers["location"], answer.status)
            self.secrets += url_secrets(self.url)
        raise HttpError(f"more than {_MAX_REDIRECTS} redirects")

    async def _send_once(self) -> Answer:
        try:
            return await self._exchange()
        except httpx.ProtocolError as error:
            detail = root_cause(error)
        except httpx.HTTPError as error:
            raise self._error(root_cause(error)) from error
        except (httpx.InvalidURL, UnicodeError):
            detail = "this is no host or no URL"
        raise self._error(detail)

    async def _exchange(self) -> Answer:
        context = self.ssl_context
        if context is None and is_tls(urlsplit(self.url).scheme):
            context = default_ssl_context()
        connections: list[httpcore.AsyncNetworkStream] = []

        async def trace(name: str, info: Mapping[str, Any]) -> None:
            if name == "connection.connect_tcp.complete":
                connections.append(info["return_value"])

        request = httpx.Request(
            self.method,
            self.url,
            content=self.content,
            headers=self._headers(),
            extensions={"trace": trace},
        )
        request.stream = _Content(self.content)
        # Without TLS there is nothing to verify, and no certificates to load. A transport without
        # its client logs no URL, follows no redirect, and goes through no proxy of the environment,
        # which the WebSocket would not use either.
        verify: SSLContext | bool = False if context is None else context
        try:
            async with httpx.AsyncHTTPTransport(verify=verify) as transport:
                response = await transport.handle_async_request(request)
                content = await _read(response)
        finally:
            # httpcore forgets one whose TLS handshake is cancelled.
            for connection in connections:
                await connection.aclose()
        if len(content) > _MAX_ANSWER:
            raise HttpError(f"an answer of over {_MAX_ANSWER} bytes", response.status_code)
        return Answer(response.status_code, response.headers, content)

    def _headers(self) -> httpx.Headers:
        headers = httpx.Headers({"User-Agent": USER_AGENT}, encoding="latin-1")
        for name, value in self.given.items():
            headers[name] = value
        headers["Content-Type"] = self.content_type
        # What is compressed may be a thousand times as long as it looks.
        headers["Accept-Encoding"] = "identity"
        return headers

    def show(self, text: str) -> str:
        """Return a server's words as they may be seen: one line, not too long, no secrets."""
        text = scrub(text, self.secrets)[:_MAX_READ]
        words = "".join(c if c.isprintable() else " " for c in text).split()
        return " ".join(words)[:_MAX_DETAIL]

    def _error(self, detail: str) -> HttpError:
        return HttpError(f"{redact(self.url)}: {self.show(detail)}")


class _Content(httpx.AsyncByteStream):
    """The body of a request. httpx's own is an async generator, which a cancelled send abandons."""

    def __init__(self, content: bytes) -> None:
        self._chunks = iter([content])

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration


async def _read(response: httpx.Response) -> bytes:
    """Return the body; of one that is too long a little more than is allowed.

    The iterator is never left before its end: it is a tower of async generators.
    """
    content = bytearray()
    with trio.CancelScope() as scope:
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > _MAX_ANSWER:
                scope.cancel()
    return bytes(content)


def _follow(url: str, location: str, status: int) -> str:
    """Return where a redirect leads, if we may go there."""
    try:
        target = urljoin(url, location)
        place = origin(target)
    except ValueError:
        target, place = "", None
    if place is None:
        raise HttpError("a redirect to what is no URL", status)
    (scheme, host, port), (new_scheme, new_host, new_port) = origin(url), place
    same = (scheme, host, port) == (new_scheme, new_host, new_port)
    upgraded = host == new_host and (scheme, new_scheme) == ("http", "https")
    if not (same or upgraded):
        detail = f"a redirect to {redact(target)!r} was not followed: it is another origin"
        raise HttpError(detail, status)
    return target
