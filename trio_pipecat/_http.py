"""Starting a bot and uploading a file. The one file that knows httpx.

Redirects are followed by hand. One that stays on the same origin, or goes from ``http`` to
``https`` on the same host, is followed with method and body unchanged; one that leads elsewhere is
refused: the request carries credentials, or data that is somebody's own.
"""

import json
from collections.abc import Mapping
from pathlib import PurePath
from ssl import SSLContext
from typing import Any, Final
from urllib.parse import urljoin, urlsplit, urlunsplit

import attrs
import httpx
import trio

from ._causes import root_cause
from ._errors import InvalidParamsError, PipecatError, StartBotError, UploadError
from ._messages import File
from ._options import check_headers
from ._params import StartedBot, read_answer
from ._tls import default_ssl_context
from ._urls import check_url, header_secrets, is_local, is_tls, origin, redact, scrub
from ._version import USER_AGENT
from ._wire import Json, from_json

_REDIRECTS: Final = frozenset({301, 302, 307, 308})
_MAX_REDIRECTS: Final = 5
#: A start answer is a handful of addresses; this is a server that does not stop.
_MAX_ANSWER: Final = 2**20
#: How much of a server's own words goes into an error.
_MAX_DETAIL: Final = 500


async def start_bot(
    endpoint: str,
    *,
    request_data: Mapping[str, Json] | None = None,
    headers: Mapping[str, str] | None = None,
    transport: str | None = None,
    base_url: str | None = None,
    ssl_context: SSLContext | None = None,
    allow_insecure_token: bool = False,
    start_timeout: float = 30,
) -> StartedBot:
    """Ask a start endpoint for a bot, and return what it takes to connect to it.

    The first half of `open_session` on its own: look at ``started.params``, change them if need be,
    then ``open_session(started)``.

    Args:
        endpoint: an ``http(s)://`` address; it is POSTed to.
        request_data: the JSON object of the request. ``transport`` is added if it has none, because
            a Pipecat runner that is not told answers for WebRTC.
        headers: more headers, such as ``Authorization``.
        transport: ``"websocket"`` (the default) or ``"webrtc"``.
        base_url: scheme, host, port and path prefix to use instead of those in the answer.
        ssl_context: for ``https``.
        allow_insecure_token: send credentials over plain ``http`` to another machine.
        start_timeout: how many seconds the server may take.

    Raises:
        InvalidParamsError: the parameters can't work; nothing was sent.
        StartBotError: there is no bot, or no way to it.

    Cancelling ends the request. Whether the server starts the bot all the same, nobody knows; a
    Pipecat runner starts it when somebody connects.
    """
    check_url(endpoint, "http", "https")
    checked = check_headers(headers or {})
    _check_credentials(endpoint, checked, allow_insecure=allow_insecure_token)
    body = _start_request(request_data, transport or "websocket")
    secrets = _secrets(endpoint, checked)
    post = _Post(
        url=endpoint,
        headers={**checked, "Content-Type": "application/json"},
        content=body,
        ssl_context=ssl_context,
    )
    try:
        with trio.fail_after(start_timeout):
            status, answer_headers, content = await post.send()
    except trio.TooSlowError:
        raise StartBotError(f"no answer within {start_timeout:g} s") from None
    except _HttpError as error:
        raise StartBotError(scrub(error.detail, secrets), error.status) from error.__cause__
    if not 200 <= status < 300:
        detail = scrub(_read_error(content) or httpx.codes.get_reason_phrase(status), secrets)
        raise StartBotError(detail, status, _retry_after(answer_headers))
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError) as error:
        excerpt = scrub(repr(content[:60]), secrets)
        raise StartBotError(f"the answer is not JSON: {excerpt}", status) from error
    params = read_answer(
        answer,
        post.url,
        base_url=base_url,
        transport=transport,
        request_data=request_data,
    )
    return StartedBot(endpoint=post.url, answer=answer, params=params)


async def upload(
    url: str,
    content: bytes,
    *,
    name: str,
    format: str,  # noqa: A002  # the wire's word
    headers: Mapping[str, str],
    ssl_context: SSLContext | None,
) -> File:
    """Upload a file to a Pipecat server, and return what `SendFile` wants of it.

    Raises:
        UploadError: the server did not take it.
    """
    request = httpx.Request("POST", url, files={"file": (PurePath(name).name, content, format)})
    post = _Post(
        url=url,
        headers={**headers, "Content-Type": request.headers["Content-Type"]},
        content=request.read(),
        ssl_context=ssl_context,
    )
    secrets = _secrets(url, headers)
    try:
        status, _, answer = await post.send()
    except _HttpError as error:
        raise UploadError(scrub(error.detail, secrets), error.status) from error.__cause__
    if status != 200:
        detail = _read_error(answer) or httpx.codes.get_reason_phrase(status)
        raise UploadError(scrub(detail, secrets), status)
    try:
        return from_json(File, json.loads(answer))
    except (TypeError, ValueError, RecursionError) as error:
        raise UploadError(f"the answer describes no file: {error}", status) from error


class _HttpError(PipecatError):
    """What went wrong below the level of an answer."""

    def __init__(self, detail: str, status: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status


@attrs.define
class _Post:
    """One POST and its redirects. Afterwards `url` is where the answer came from."""

    url: str
    headers: dict[str, str]
    content: bytes
    ssl_context: SSLContext | None

    async def send(self) -> tuple[int, httpx.Headers, bytes]:
        for _ in range(_MAX_REDIRECTS + 1):
            try:
                status, headers, content = await self._send_once()
            except httpx.InvalidURL as error:
                raise _HttpError(f"not a URL: {redact(self.url)!r}") from error
            except httpx.HTTPError as error:
                raise _HttpError(f"{redact(self.url)}: {root_cause(error)}") from error
            if status not in _REDIRECTS or "location" not in headers:
                return status, headers, content
            self.url = _follow(self.url, headers["location"], status)
        raise _HttpError(f"more than {_MAX_REDIRECTS} redirects")

    async def _send_once(self) -> tuple[int, httpx.Headers, bytes]:
        parts = urlsplit(self.url)
        # httpx logs the URL of each request. The query, which may hold a token, travels beside it.
        shown = urlunsplit((parts.scheme, parts.netloc, parts.path or "/", "", ""))
        target = httpx.URL(self.url).raw_path
        context = self.ssl_context
        if context is None and is_tls(parts.scheme):
            context = default_ssl_context()
        # Without TLS there is nothing to verify, and no certificates to load.
        verify: SSLContext | bool = False if context is None else context
        async with (
            httpx.AsyncClient(verify=verify, timeout=None) as client,  # noqa: S113
            client.stream(
                "POST",
                shown,
                content=self.content,
                headers={"User-Agent": USER_AGENT, **self.headers},
                extensions={"target": target},
            ) as response,
        ):
            content = b""
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > _MAX_ANSWER:
                    raise _HttpError(f"an answer of over {_MAX_ANSWER} bytes", response.status_code)
            return response.status_code, response.headers, content


def _follow(url: str, location: str, status: int) -> str:
    """Return where a redirect leads, if we may go there."""
    target = urljoin(url, location)
    (scheme, host, port), (new_scheme, new_host, new_port) = origin(url), origin(target)
    same = (scheme, host, port) == (new_scheme, new_host, new_port)
    upgraded = host == new_host and (scheme, new_scheme) == ("http", "https")
    if not (same or upgraded):
        detail = f"a redirect to {redact(target)!r} was not followed: it is another origin"
        raise _HttpError(detail, status)
    return target


def _check_credentials(url: str, headers: Mapping[str, str], *, allow_insecure: bool) -> None:
    parts = urlsplit(url)
    plain = not is_tls(parts.scheme) and not is_local(parts.hostname or "")
    names = {name.lower() for name in headers}
    credentials = names & {"authorization", "cookie", "proxy-authorization", "x-api-key"}
    if plain and (credentials or parts.password) and not allow_insecure:
        raise InvalidParamsError(
            f"credentials would go to {redact(url)!r} unencrypted; use https://, or say "
            "allow_insecure_token=True"
        )


def _start_request(request_data: Mapping[str, Json] | None, transport: str) -> bytes:
    data = {**(request_data or {})}
    if data.get("transport") is None:
        data["transport"] = transport
    try:
        return json.dumps(data, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidParamsError(f"request_data can't be JSON: {error}") from None


def _secrets(url: str, headers: Mapping[str, str]) -> list[str]:
    parts = urlsplit(url)
    query = [item.partition("=")[2] for item in parts.query.split("&")]
    return [*header_secrets(headers.values()), *query, parts.password or ""]


def _read_error(content: bytes) -> str:
    """Return what a server says of an error, in whichever of the known shapes it says it.

    ``detail`` (FastAPI: a string, or for 422 a list), ``info`` (custom endpoints), ``error`` with
    ``code``, or ``message`` with ``code`` (Pipecat Cloud), or plain text.
    """
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return content.decode("utf-8", "replace").strip()[:_MAX_DETAIL]
    if isinstance(body, str):
        return body[:_MAX_DETAIL]
    if not isinstance(body, dict):
        return ""
    for key in ("detail", "info", "error", "message"):
        if text := _read_detail(body.get(key)):
            code = body.get("code")
            known = f"{text} ({code})" if isinstance(code, str | int) else text
            return known[:_MAX_DETAIL]
    return ""


def _read_detail(detail: Json) -> str:
    if isinstance(detail, str):
        return detail
    if isinstance(detail, dict):
        return next(filter(None, (_read_detail(detail.get(k)) for k in ("message", "msg"))), "")
    if not isinstance(detail, list):
        return ""
    # FastAPI's validation errors. Their "input" repeats what we sent, so it is left out.
    items = [item for item in detail if isinstance(item, dict)]
    return "; ".join(
        ": ".join(filter(None, (".".join(map(str, _as_list(item.get("loc")))), str(item["msg"]))))
        for item in items
        if item.get("msg")
    )


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _retry_after(headers: httpx.Headers) -> float | None:
    try:
        return float(headers["retry-after"])
    except (KeyError, ValueError):
        return None
