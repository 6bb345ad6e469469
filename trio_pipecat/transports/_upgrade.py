"""How a link's opening asks to be let in: the address, the headers, the token. No I/O."""

import re
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

import attrs

from .._causes import page_title
from .._errors import InvalidParamsError, TransportStartError
from .._params import ConnectParams
from .._urls import (
    add_query,
    add_segment,
    basic_credentials,
    check_credentials,
    check_url,
    header_secrets,
    is_tls,
    port_of,
    scrub,
    url_secrets,
)
from .._version import USER_AGENT
from ._abc import LinkOptions
from ._ws_client import MAX_ANSWER, Refusal

#: How much of what a server answered goes into the error.
_EXCERPT: Final = 200
#: What a request target may hold as it is; everything else is percent-encoded.
_URL_CHARACTERS: Final = "/?%:@!$&'()*+,;=-._~"
#: What the value of a header may hold.
_HEADER_VALUE: Final = re.compile(r"[\t -~\x80-\xff]*")


@attrs.frozen(kw_only=True)
class UpgradeRequest:
    """What is asked, and where. `secrets` must not be shown of what the server answers."""

    host: str
    port: int
    tls: bool
    netloc: str
    target: str = attrs.field(repr=False)
    headers: list[tuple[bytes, bytes]] = attrs.field(repr=False)
    secrets: list[str] = attrs.field(repr=False)


def upgrade_request(params: ConnectParams, options: LinkOptions) -> UpgradeRequest:
    """Return the request that opens the link.

    Raises:
        InvalidParamsError: the address, a header or the token can't be used.
    """
    if params.ws_url is None:
        raise InvalidParamsError("a WebSocket needs a ws_url")
    check_url(params.ws_url, "ws", "wss")
    url, headers = ask_admission(params.ws_url, params.token, options)
    if params.body is not None:
        url = add_query(url, body=params.body)
    parts = check_url(url, "ws", "wss")
    harmless = {"origin", "user-agent"}
    secrets = header_secrets(value for name, value in headers.items() if name not in harmless)
    target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    return UpgradeRequest(
        host=parts.hostname or "",
        port=port_of(parts),
        tls=is_tls(parts.scheme),
        netloc=parts.netloc.rpartition("@")[2],
        target=quote(target, safe=_URL_CHARACTERS),
        headers=[(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
        secrets=[*secrets, *url_secrets(url), params.token or ""],
    )


def refused(request: UpgradeRequest, refusal: Refusal) -> TransportStartError:
    """Return the error that says how the server refused, without the secrets it may have echoed."""
    if refusal.status is not None:
        words = _excerpt(refusal.said, request)
        detail = _explain_refusal(refusal.status, words)
        return TransportStartError("upgrade", detail, refusal.status)
    if refusal.is_endless:
        detail = f"the answer to the upgrade has over {MAX_ANSWER} bytes"
    elif refusal.said:
        detail = f"this is no WebSocket server: it answered {_excerpt(refusal.said, request)!r}"
    else:
        detail = "the server hung up without an answer"
    return TransportStartError("upgrade", detail)


def _excerpt(answer: bytes, request: UpgradeRequest) -> str:
    words = scrub(page_title(answer.decode("utf-8", "replace")), request.secrets)
    return words[:_EXCERPT].strip()


def _explain_refusal(status: int, text: str) -> str:
    if status == 101:
        return "the server's consent to the upgrade is not valid"
    if status == 403:
        # Pipecat's runner closes before it accepts, so all three look alike.
        known = "the token was bad or used up, the Origin is not allowed, or there is no such path"
        return f"{known} ({text})" if text else known
    return text or "the server refused the upgrade"


def ask_admission(url: str, token: str | None, options: LinkOptions) -> tuple[str, dict[str, str]]:
    """Return the URL and the headers with the token, and the URL's user, where they belong.

    Header names are in lower case.

    Raises:
        InvalidParamsError: a header or the token can't be used.
    """
    headers = {"user-agent": USER_AGENT}
    headers |= {name.lower(): value for name, value in options.headers.items()}
    names = [*options.headers, *(["token"] if token is not None else [])]
    check_credentials(url, names, allow_insecure=options.allow_insecure_token)
    url = _present_token(url, token, headers, options)
    if options.origin is not None:
        headers["origin"] = options.origin
    for name, value in headers.items():
        if value != value.strip() or not _HEADER_VALUE.fullmatch(value):
            raise InvalidParamsError(f"the header {name} holds what can't be sent in a header")
    return url, headers


def _present_token(
    url: str, token: str | None, headers: dict[str, str], options: LinkOptions
) -> str:
    authorized = ["headers"] if "authorization" in headers else []
    basic = basic_credentials(urlsplit(url))
    if basic is not None and not authorized:
        headers["authorization"] = f"Basic {basic}"
        authorized = ["the URL"]
    if token is None:
        return url
    match options.token_in:
        case "query":
            return add_query(url, token=token)
        case "path":
            return add_segment(url, token)
        case _ if authorized:
            raise InvalidParamsError(
                f"two authorizations, by {authorized[0]} and by token; say "
                "token_in='query', or leave one out"
            )
        case _:
            headers["authorization"] = f"Bearer {token}"
            return url
