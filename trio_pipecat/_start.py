"""Starting a bot, and uploading a file to it: what is asked, and what the answers mean."""

import json
import math
from collections.abc import Mapping
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import trio

from ._causes import page_title
from ._errors import StartBotError, UploadError
from ._messages import File
from ._options import check_headers, check_request_data, check_seconds
from ._params import StartedBot, read_answer
from ._urls import check_credentials, check_url
from ._wire import Json, from_json

if TYPE_CHECKING:
    from ._http import Answer, Post

_NO_JSON: Final = object()


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
    from ._http import HttpError, Post

    check_url(endpoint, "http", "https")
    if base_url is not None:
        check_url(base_url, "http", "https", "ws", "wss")
    check_seconds("start_timeout", start_timeout)
    check_request_data(request_data)
    checked = check_headers(headers or {})
    check_credentials(endpoint, checked, allow_insecure=allow_insecure_token)
    post = Post(
        url=endpoint,
        given=checked,
        content_type="application/json",
        content=_start_request(request_data, transport or "websocket"),
        ssl_context=ssl_context,
    )
    try:
        with trio.fail_after(start_timeout):
            got = await post.send()
    except trio.TooSlowError:
        raise StartBotError(f"no answer within {start_timeout:g} s") from None
    except HttpError as error:
        raise StartBotError(error.detail, error.status) from error.__cause__
    if not 200 <= got.status < 300:
        raise StartBotError(_explain(post, got), got.status, _retry_after(got.headers))
    answer = _parse(got.content)
    if answer is _NO_JSON:
        excerpt = post.show(got.content.decode("utf-8", "replace"))[:60]
        raise StartBotError(f"the answer is not JSON: {excerpt!r}", got.status)
    try:
        params = read_answer(
            answer,
            post.url,
            base_url=base_url,
            transport=transport,
            request_data=request_data,
        )
        return StartedBot(endpoint=post.url, answer=answer, params=params)
    except StartBotError as error:
        detail = post.show(error.detail)
    raise StartBotError(detail, got.status)


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
        InvalidParamsError: `format` or a header can't be sent.
        UploadError: the server did not take it.
    """
    from ._http import HttpError, Post, multipart

    checked = check_headers(headers)
    check_headers({"Content-Type": format})
    content_type, form = multipart(name, content, format)
    post = Post(
        url=url, given=checked, content_type=content_type, content=form, ssl_context=ssl_context
    )
    try:
        got = await post.send()
    except HttpError as error:
        raise UploadError(error.detail, error.status) from error.__cause__
    if not 200 <= got.status < 300:
        raise UploadError(_explain(post, got), got.status)
    described = _parse(got.content)
    try:
        return from_json(File, described)
    except TypeError as error:
        detail = "it is not JSON" if described is _NO_JSON else str(error)
    raise UploadError(f"the answer describes no file: {detail}", got.status)


def _start_request(request_data: Mapping[str, Json] | None, transport: str) -> bytes:
    data = {**(request_data or {})}
    if data.get("transport") is None:
        data["transport"] = transport
    return json.dumps(data, allow_nan=False).encode()


def _explain(post: "Post", got: "Answer") -> str:
    """Return what a server says of its refusal."""
    said = post.show(_read_error(got.content)) or got.reason
    if got.status in (404, 405) and urlsplit(post.url).path in ("", "/"):
        said += "; Pipecat's start endpoint is /start"
    return said


def _parse(content: bytes) -> Json:
    # The errors of json hold the whole text.
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return _NO_JSON


def _read_error(content: bytes) -> str:
    """Return what a server says of an error, in whichever of the known shapes it says it.

    ``detail`` (FastAPI: a string, or for 422 a list), ``info`` (custom endpoints), ``error`` with
    ``code``, or ``message`` with ``code`` (Pipecat Cloud), or plain text, or a page's title.
    """
    body = _parse(content)
    if body is _NO_JSON:
        return page_title(content.decode("utf-8", "replace"))
    if isinstance(body, str):
        return body
    if not isinstance(body, dict):
        return ""
    for key in ("detail", "info", "error", "message"):
        if text := _read_detail(body.get(key)):
            code = body.get("code")
            return f"{text} ({code})" if isinstance(code, str | int) else text
    return ""


def _read_detail(detail: Json) -> str:
    if isinstance(detail, str):
        return detail
    if isinstance(detail, dict):
        words = (detail.get(key) for key in ("message", "msg"))
        return next((text for text in words if isinstance(text, str) and text), "")
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


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        seconds = float(headers["retry-after"])
    except (KeyError, ValueError):
        return None
    return seconds if 0 <= seconds < math.inf else None
