"""What it takes to connect to a bot, and how a start answer says it.

A start endpoint is anybody's own code, so its answer is read tolerantly: unknown keys are kept but
not minded, null is absent, ``wsUrl`` and ``ws_url`` are the same, and an address that can't be
reached from here is mended (`_urls.repair_ws_url`).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias
from urllib.parse import quote, urlsplit, urlunsplit

import attrs

from ._errors import InvalidParamsError, StartBotError
from ._ice import usable_ice_servers
from ._urls import HIDDEN, check_url, find_upload_url, is_tls, redact, repair_ws_url
from ._wire import Json

#: Where a token travels: in ``Authorization: Bearer``, in ``?token=``, or as a path segment.
TokenPlace: TypeAlias = Literal["header", "query", "path"]

#: Keys that tell an answer for a transport we don't have.
_FOREIGN: Final = {"daily_room": "Daily", "moq": "MoQ"}
#: Stands for a session's id in a template.
_SESSION_ID: Final = ":sessionId"

_SECRET: Final = re.compile("auth|token|credential|password|secret|key|^body$", re.IGNORECASE)
#: How deep a start answer is shown. None goes deeper than this on purpose.
_MAX_DEPTH: Final = 20


def show_url(url: str | None) -> str:
    """Return the repr of a URL, without what is secret in it."""
    return "None" if url is None else repr(redact(url))


def _show_secret(secret: str | None) -> str:
    return "None" if secret is None else repr(HIDDEN)


@attrs.define(kw_only=True)
class ConnectParams:
    """Where a bot is and what it takes to get in. May be changed until it is used.

    `transport` names the wire (``websocket``, ``webrtc``, ``sim``). `body` is what Pipecat Cloud
    wants to see again as ``?body=``. `other` has the keys of a start answer that are unknown here.
    """

    transport: str
    ws_url: str | None = attrs.field(default=None, repr=show_url)
    token: str | None = attrs.field(default=None, repr=_show_secret)
    body: str | None = attrs.field(default=None, repr=_show_secret)
    webrtc_url: str | None = attrs.field(default=None, repr=show_url)
    ice_servers: Sequence[Json] | None = attrs.field(default=None, repr=False)
    request_data: Json = attrs.field(default=None, repr=False)
    sim_url: str | None = None
    session_id: str | None = None
    file_upload_url: str | None = attrs.field(default=None, repr=show_url)
    other: Mapping[str, Json] = attrs.field(factory=dict, repr=lambda other: str([*other]))


@attrs.define(kw_only=True)
class StartedBot:
    """A bot that was started and not yet connected to: look at it, change `params`, open a session.

    `answer` is what the start endpoint said, whole: it may hold a token.
    """

    endpoint: str = attrs.field(repr=show_url)
    answer: Json = attrs.field(repr=False)
    params: ConnectParams


def read_answer(
    answer: Json,
    endpoint: str,
    *,
    base_url: str | None = None,
    offer_url_template: str | None = None,
    transport: str | None = None,
    request_data: Json = None,
) -> ConnectParams:
    """Make of a start endpoint's answer what it takes to connect.

    Raises:
        StartBotError: the answer says nothing that can be connected to.
    """
    if not isinstance(answer, dict):
        kind = "null" if answer is None else "a list" if isinstance(answer, list) else "no object"
        raise StartBotError(f"the answer is {kind}, not an object with an address", 200)
    keys = {_snake(key): value for key, value in answer.items() if value is not None}

    def text(key: str) -> str | None:
        value = keys.pop(key, None)
        if value is None or isinstance(value, str):
            return value or None
        raise StartBotError(f"the answer's {key} is no string", 200)

    ws_url, token, session_id = text("ws_url"), text("token"), text("session_id")
    body, upload_url, sim_url = text("body"), text("file_upload_url"), text("sim_url")
    webrtc_url = text("webrtc_url")
    ice_config = keys.pop("ice_config", None)
    ice_servers = _ice_servers(ice_config) if isinstance(ice_config, dict) else None
    for key, name in _FOREIGN.items():
        if keys.get(key) and ws_url is None:
            raise StartBotError(f"the answer is for {name}, which this client does not speak", 200)
    if keys.get("url") and token is not None and ws_url is None:
        raise StartBotError("the answer is for LiveKit, which this client does not speak", 200)
    try:
        if ws_url is not None:
            ws_url = repair_ws_url(ws_url, endpoint, base_url=base_url)
        if upload_url is not None:
            upload_url = find_upload_url(upload_url, endpoint, base_url=base_url)
        if webrtc_url is not None:
            webrtc_url = find_upload_url(webrtc_url, endpoint, base_url=base_url)
    except InvalidParamsError as error:
        raise StartBotError(f"the answer has an address that can't be used: {error}", 200) from None
    told = transport == "webrtc" or (ws_url is None and sim_url is None)
    if webrtc_url is None and session_id is not None and told:
        webrtc_url = offer_url(endpoint, session_id, base_url=base_url, template=offer_url_template)
    addresses = {"websocket": ws_url, "sim": sim_url, "webrtc": webrtc_url}
    found = transport or next((name for name, url in addresses.items() if url is not None), None)
    if found is None or addresses.get(found, found) is None:
        raise StartBotError(f"the answer names no address; its keys are {sorted(answer)}", 200)
    return ConnectParams(
        transport=found,
        ws_url=ws_url,
        token=token,
        body=body,
        webrtc_url=webrtc_url,
        ice_servers=ice_servers,
        # An offer's would replace what the start request has told the bot.
        request_data=None if found == "webrtc" else request_data,
        sim_url=sim_url,
        session_id=session_id,
        file_upload_url=upload_url,
        other=keys,
    )


def without_secrets(answer: Json, depth: int = _MAX_DEPTH) -> Json:
    """Return a start answer fit to be shown: its secrets hidden, its URLs redacted."""
    if isinstance(answer, dict | list) and not depth:
        return HIDDEN
    if isinstance(answer, dict):
        return {
            key: HIDDEN
            if value is not None and _SECRET.search(key)
            else without_secrets(value, depth - 1)
            for key, value in answer.items()
        }
    if isinstance(answer, list):
        return [without_secrets(item, depth - 1) for item in answer]
    if isinstance(answer, str) and ("://" in answer or answer.startswith("/")):
        return redact(answer)
    return answer


def secrets_in(value: Json, depth: int = _MAX_DEPTH) -> list[str]:
    """Return the strings that `without_secrets` hides for their keys, however deep under them.

    A ``body`` counts where it is a string, which is how a start endpoint hands out a sealed one.
    """
    if not depth:
        return []
    if isinstance(value, list):
        return [secret for item in value for secret in secrets_in(item, depth - 1)]
    if not isinstance(value, Mapping):
        return []
    found = []
    for key, item in value.items():
        secret = _SECRET.search(key) is not None and (
            key.lower() != "body" or isinstance(item, str)
        )
        found += _strings(item, depth - 1) if secret else secrets_in(item, depth - 1)
    return found


def _strings(value: Json, depth: int) -> list[str]:
    if isinstance(value, str):
        return [value]
    if not depth or not isinstance(value, list | Mapping):
        return []
    items = value.values() if isinstance(value, Mapping) else value
    return [text for item in items for text in _strings(item, depth - 1)]


def check_offer_url_template(template: object) -> None:
    """Raise `InvalidParamsError` if no session's id makes a URL of `template`."""
    parts = check_url(template, "http", "https")
    if _SESSION_ID not in parts.path and _SESSION_ID not in parts.query:
        raise InvalidParamsError(f"offer_url_template has no {_SESSION_ID} in its path")


def offer_url(
    endpoint: str, session_id: str, *, base_url: str | None = None, template: str | None = None
) -> str:
    """Return where the offer of a WebRTC session goes: beside the start endpoint.

    Only the *last* path segment is replaced; a host or a folder called ``start`` stays. `base_url`
    is where the session's folder is otherwise, `template` is the whole address.
    """
    quoted = quote(session_id, safe="")
    if template is not None:
        return template.replace(_SESSION_ID, quoted)
    parts = urlsplit(endpoint)
    scheme, netloc, query = parts.scheme, parts.netloc, parts.query
    folder = parts.path.rstrip("/").rpartition("/")[0]
    if base_url is not None:
        base = urlsplit(base_url)
        scheme = "https" if is_tls(base.scheme) else "http"
        netloc, folder, query = base.netloc, base.path.rstrip("/"), ""
    return urlunsplit((scheme, netloc, f"{folder}/sessions/{quoted}/api/offer", query, ""))


def _ice_servers(ice_config: dict[str, Json]) -> Sequence[Json] | None:
    servers = {_snake(key): value for key, value in ice_config.items()}.get("ice_servers")
    return usable_ice_servers(servers) if isinstance(servers, list) else None


def _snake(key: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower()
