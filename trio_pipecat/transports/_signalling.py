"""Offers and answers of a WebRTC session, over HTTP. Nothing here knows what WebRTC does with them.

Pipecat answers what it can't read with 200 and an answer that accepts nothing, so an answer is
looked at before it is believed.
"""

import json
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs

from .._errors import InvalidParamsError, TransportStartError
from .._http_answer import NO_JSON, explain, not_json, parse
from .._params import ConnectParams, secrets_in
from .._urls import check_url
from .._wire import Json
from ._abc import LinkOptions
from ._upgrade import ask_admission

if TYPE_CHECKING:
    from .._http import Answer as HttpAnswer
    from .._http import Request

#: The largest message of a side that announces none (RFC 8841).
_DEFAULT_MAX_MESSAGE: Final = 65_536
_MAX_MESSAGE: Final = re.compile(r"^a=max-message-size:([0-9]{1,18})\s*$", re.MULTILINE)
_PASSWORD: Final = re.compile(r"^a=ice-pwd:(\S+)", re.MULTILINE)
#: What an answer must have for there to be a connection.
_NEEDED: Final = {
    "m= line": re.compile(r"^m=\S", re.MULTILINE),
    "ice-ufrag": re.compile(r"^a=ice-ufrag:\S", re.MULTILINE),
    "ice-pwd": _PASSWORD,
    "fingerprint": re.compile(r"^a=fingerprint:\S", re.MULTILINE),
}


@attrs.frozen(kw_only=True)
class Answer:
    """What the bot answered to an offer. `max_message_size` is the largest message it takes."""

    sdp: str = attrs.field(repr=False)
    pc_id: str
    max_message_size: int


@attrs.frozen
class Candidate:
    """One of our addresses. An empty `candidate` says that these were all."""

    candidate: str
    sdp_mid: str
    sdp_mline_index: int


class Signalling:
    """Offers and answers of one WebRTC session over HTTP. Deadlines are the caller's.

    Raises:
        InvalidParamsError: the address, a header, the token or the request data can't be used.
    """

    def __init__(self, params: ConnectParams, options: LinkOptions) -> None:
        if params.webrtc_url is None:
            raise InvalidParamsError("WebRTC needs a webrtc_url")
        check_url(params.webrtc_url, "http", "https")
        if params.token is not None and options.token_in == "path":
            raise InvalidParamsError("the token of a WebRTC offer goes in the header or the query")
        try:
            json.dumps(params.request_data, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidParamsError(f"request_data can't be JSON: {error}") from None
        self._url, self._headers = ask_admission(params.webrtc_url, params.token, options)
        self._request_data = params.request_data
        self._ssl_context = options.ssl_context
        self._secrets = secrets_in(params.request_data)
        self._passwords: list[str] = []

    async def offer(self, sdp: str, *, pc_id: str | None = None, restart: bool = False) -> Answer:
        """Send an offer, and return the answer.

        Args:
            sdp: the offer.
            pc_id: what the bot calls the connection, once it has said so.
            restart: have the bot throw that connection away and make another.

        Raises:
            TransportStartError: there is no answer, or none that makes a connection.
        """
        offer: dict[str, Any] = {"sdp": sdp, "type": "offer"}
        if pc_id is not None:
            offer["pc_id"] = pc_id
        # Every time: a server that has lost the connection starts another bot, and that wants it.
        if self._request_data is not None:
            offer["request_data"] = self._request_data
        if restart:
            offer["restart_pc"] = True
        self._passwords = _PASSWORD.findall(sdp)
        request, got = await self._send("offer", "POST", offer)
        if not got.content.strip():
            said = "the answer is empty; is this an address for offers?"
            raise TransportStartError("offer", said, got.status)
        answer = parse(got.content)
        if answer is NO_JSON:
            raise TransportStartError("offer", not_json(request, got), got.status)
        return _read_answer(answer, got.status)

    async def trickle(self, pc_id: str, candidates: Sequence[Candidate]) -> None:
        """Tell the bot of addresses that were found since the offer.

        Raises:
            TransportStartError: it did not take them.
        """
        found = [attrs.asdict(candidate) for candidate in candidates]
        await self._send("trickle", "PATCH", {"pc_id": pc_id, "candidates": found})

    async def _send(
        self, stage: str, method: str, content: dict[str, Any]
    ) -> tuple["Request", "HttpAnswer"]:
        from .._http import HttpError, Request

        request = Request(
            url=self._url,
            given=self._headers,
            content_type="application/json",
            content=json.dumps(content).encode(),
            ssl_context=self._ssl_context,
            method=method,
            secrets=[*self._secrets, *self._passwords],
        )
        try:
            got = await request.send()
        except HttpError as error:
            raise TransportStartError(stage, error.detail, error.status) from error.__cause__
        if not 200 <= got.status < 300:
            said = explain(request, got)
            if got.status == 404:
                said = f"the session has ended, or there is no such path ({said})"
            raise TransportStartError(stage, said, got.status)
        self._url = request.url
        return request, got


def _read_answer(answer: Json, status: int) -> Answer:
    if not isinstance(answer, dict):
        raise TransportStartError("offer", "the answer is no JSON object", status)
    if answer.get("type") != "answer":
        raise TransportStartError("offer", "the answer is not of type 'answer'", status)
    sdp = answer.get("sdp")
    if not isinstance(sdp, str):
        raise TransportStartError("offer", "the answer has no sdp", status)
    missing = [name for name, pattern in _NEEDED.items() if pattern.search(sdp) is None]
    if missing:
        said = f"the answer accepts nothing: its SDP has no {' and no '.join(missing)}"
        raise TransportStartError("offer", said, status)
    pc_id = answer.get("pc_id") or answer.get("pcId")
    if not isinstance(pc_id, str):
        raise TransportStartError("offer", "the answer has no pc_id", status)
    return Answer(sdp=sdp, pc_id=pc_id, max_message_size=largest_message(sdp))


def largest_message(sdp: str) -> int:
    """Return how large a message may be that goes to the side that wrote this, in bytes."""
    size = _MAX_MESSAGE.search(sdp)
    limit = _DEFAULT_MAX_MESSAGE if size is None else int(size[1])
    return limit or sys.maxsize
