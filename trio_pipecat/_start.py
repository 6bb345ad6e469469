"""Starting a bot, and uploading a file to it: what is asked, and what the answers mean."""

import json
from collections.abc import Mapping
from ssl import SSLContext
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

from ._errors import StartBotError, UploadError
from ._http_answer import NO_JSON, explain, not_json, parse, retry_after
from ._messages import File
from ._options import check_headers, check_request_data, check_seconds
from ._params import StartedBot, check_offer_url_template, read_answer
from ._urls import check_credentials, check_url
from ._wire import Json, from_json

if TYPE_CHECKING:
    from ._http import Answer, Request


async def start_bot(
    endpoint: str,
    *,
    request_data: Mapping[str, Json] | None = None,
    headers: Mapping[str, str] | None = None,
    transport: str | None = None,
    base_url: str | None = None,
    offer_url_template: str | None = None,
    ssl_context: SSLContext | None = None,
    allow_insecure_token: bool = False,
    start_timeout: float = 30,
) -> StartedBot:
    """Ask a start endpoint for a bot, and return what it takes to connect to it.

    The first half of `open_session` on its own: look at ``started.params``, change them if need be,
    then ``open_session(started)``. What `headers` say goes no further: if a WebRTC offer needs them
    too, as with Pipecat Cloud, give them again there.

    Args:
        endpoint: an ``http(s)://`` address; it is POSTed to.
        request_data: the JSON object of the request. ``transport`` is added if it has none, because
            a Pipecat runner that is not told answers for WebRTC.
        headers: more headers, such as ``Authorization``.
        transport: ``"websocket"`` (the default) or ``"webrtc"``.
        base_url: scheme, host, port and path prefix to use instead of those in the answer.
        offer_url_template: where the offer of a WebRTC session goes, with ``:sessionId`` in it;
            by default beside the endpoint.
        ssl_context: for ``https``.
        allow_insecure_token: send credentials over plain ``http`` to another machine.
        start_timeout: how many seconds the server may take.

    Raises:
        InvalidParamsError: the parameters can't work; nothing was sent.
        StartBotError: there is no bot, or no way to it.

    Cancelling ends the request. Whether the server starts the bot all the same, nobody knows; a
    Pipecat runner starts it when somebody connects.
    """
    from ._http import HttpError, Request

    check_url(endpoint, "http", "https")
    if base_url is not None:
        check_url(base_url, "http", "https", "ws", "wss")
    if offer_url_template is not None:
        check_offer_url_template(offer_url_template)
    check_seconds("start_timeout", start_timeout)
    check_request_data(request_data)
    checked = check_headers(headers or {})
    check_credentials(endpoint, checked, allow_insecure=allow_insecure_token)
    request = Request(
        url=endpoint,
        given=checked,
        content_type="application/json",
        content=_start_request(request_data, transport or "websocket"),
        ssl_context=ssl_context,
    )
    try:
        with trio.fail_after(start_timeout):
            got = await request.send()
    except trio.TooSlowError:
        raise StartBotError(f"no answer within {start_timeout:g} s") from None
    except HttpError as error:
        raise StartBotError(error.detail, error.status) from error.__cause__
    if not 200 <= got.status < 300:
        raise StartBotError(_explain(request, got), got.status, retry_after(got.headers))
    answer = parse(got.content)
    if answer is NO_JSON:
        raise StartBotError(not_json(request, got), got.status)
    try:
        params = read_answer(
            answer,
            request.url,
            base_url=base_url,
            offer_url_template=offer_url_template,
            transport=transport,
            request_data=request_data,
        )
        return StartedBot(endpoint=request.url, answer=answer, params=params)
    except StartBotError as error:
        detail = request.show(error.detail)
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
    from ._http import HttpError, Request, multipart

    checked = check_headers(headers)
    check_headers({"Content-Type": format})
    content_type, form = multipart(name, content, format)
    request = Request(
        url=url, given=checked, content_type=content_type, content=form, ssl_context=ssl_context
    )
    try:
        got = await request.send()
    except HttpError as error:
        raise UploadError(error.detail, error.status) from error.__cause__
    if not 200 <= got.status < 300:
        raise UploadError(_explain(request, got), got.status)
    described = parse(got.content)
    try:
        return from_json(File, described)
    except TypeError as error:
        detail = "it is not JSON" if described is NO_JSON else str(error)
    raise UploadError(f"the answer describes no file: {detail}", got.status)


def _start_request(request_data: Mapping[str, Json] | None, transport: str) -> bytes:
    data = {**(request_data or {})}
    if data.get("transport") is None:
        data["transport"] = transport
    if data["transport"] == "webrtc" and data.get("body", "") is None:
        del data["body"]  # Pipecat's runner would never let anybody into that session
    return json.dumps(data, allow_nan=False).encode()


def _explain(request: "Request", got: "Answer") -> str:
    said = explain(request, got)
    if got.status in (404, 405) and urlsplit(request.url).path in ("", "/"):
        said += "; Pipecat's start endpoint is /start"
    return said
