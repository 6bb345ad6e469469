"""Addresses: checking them, naming them without secrets, and mending what servers hand out."""

import ipaddress
from collections.abc import Iterable
from typing import Final
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit, urlunsplit

from ._errors import InvalidParamsError

_DEFAULT_PORTS: Final = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_TLS: Final = {"https", "wss"}
#: Path segments this long are taken for tokens. Pipecat's have over a hundred characters, its
#: session ids thirty-six.
_TOKEN_LENGTH: Final = 40
HIDDEN: Final = "***"


def check_url(url: str, *schemes: str) -> SplitResult:
    """Return the parts of an absolute URL.

    Raises:
        InvalidParamsError: it is not one, or its scheme is none of `schemes`.
    """
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise InvalidParamsError(f"not a URL: {error}") from None
    if parts.scheme not in schemes:
        wanted = " or ".join(f"{scheme}://" for scheme in schemes)
        raise InvalidParamsError(f"expected a {wanted} URL, not {redact(url)!r}")
    if not host or port == 0:
        raise InvalidParamsError(f"a URL without a usable host or port: {redact(url)!r}")
    if any(character.isspace() or not character.isprintable() for character in url):
        raise InvalidParamsError("a URL with white space or control characters in it")
    return parts


def redact(url: str) -> str:
    """Return `url` fit to be shown: no user, no password, no query values, no token in the path."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return HIDDEN
    if ":" in host:
        host = f"[{host}]"
    path = "/".join(
        HIDDEN if len(segment) >= _TOKEN_LENGTH else segment for segment in parts.path.split("/")
    )
    query = "&".join(f"{key}={HIDDEN}" for key, _ in parse_qsl(parts.query, keep_blank_values=True))
    netloc = f"{host}{port}" if parts.netloc else ""
    return urlunsplit((parts.scheme, netloc, path, query or (HIDDEN if parts.query else ""), ""))


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Return `text` with every one of `secrets` made unreadable: servers echo what they refuse."""
    for secret in secrets:
        # A secret of one or two characters would take ordinary words apart.
        if len(secret) >= 4:
            text = text.replace(secret, HIDDEN)
    return text


def header_secrets(headers: Iterable[str]) -> list[str]:
    """Return what must not be shown of these header values: each, and the token in ``Bearer …``."""
    return [part for value in headers for part in (value, value.partition(" ")[2]) if part]


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), port_of(parts)


def port_of(parts: SplitResult) -> int:
    """Return the port, the scheme's own where none is given."""
    return parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)


def is_local(host: str) -> bool:
    """Is this host the machine we run on?"""
    host = host.lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def is_tls(scheme: str) -> bool:
    """Does this scheme encrypt?"""
    return scheme in _TLS


def add_query(url: str, **values: str) -> str:
    """Return `url` with more query parameters."""
    parts = urlsplit(url)
    query = "&".join(filter(None, (parts.query, urlencode(values, quote_via=quote))))
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


def add_segment(url: str, segment: str) -> str:
    """Return `url` with one more path segment."""
    parts = urlsplit(url)
    path = f"{parts.path.rstrip('/')}/{quote(segment, safe='')}"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def repair_ws_url(ws_url: str, endpoint: str, *, base_url: str | None = None) -> str:
    """Return the WebSocket address that a start answer means, as it can be reached from here.

    Pipecat's runner makes it of the interface it listens on, and says ``wss`` for every one but the
    literal ``localhost``, though it has no TLS: ``wss://0.0.0.0:7860/ws-client``. What is known to
    work is `endpoint`, which has just answered. So:

    * a relative address is one beside `endpoint`;
    * an unspecified host, or a loopback host where `endpoint` is not local, means `endpoint`'s
      host, port and security;
    * the very host and port of `endpoint` has `endpoint`'s security;
    * `base_url` replaces scheme, host and port in any case, and its path goes before the path.

    Raises:
        InvalidParamsError: the result is no WebSocket address.
    """
    answered = urlsplit(endpoint)
    given = urlsplit(ws_url)
    scheme, netloc, path = given.scheme, given.netloc, given.path
    if base_url is not None:
        base = urlsplit(base_url)
        scheme, netloc, path = base.scheme, base.netloc, base.path.rstrip("/") + path
    else:
        host = (given.hostname or "").lower()
        elsewhere = not host or _is_unspecified(host)
        elsewhere = elsewhere or (is_local(host) and not is_local(answered.hostname or ""))
        if elsewhere:
            scheme, netloc = answered.scheme, answered.netloc.rpartition("@")[2]
        elif _same_place(given, answered):
            scheme = answered.scheme
    scheme = "wss" if is_tls(scheme) else "ws" if scheme in ("http", "ws") else scheme
    repaired = urlunsplit((scheme, netloc, path, given.query, ""))
    check_url(repaired, "ws", "wss")
    return repaired


def _same_place(one: SplitResult, other: SplitResult) -> bool:
    # A port that is spelt out is the same port whatever the scheme; one that is not depends on it.
    ports = (one.port, other.port) if one.port else (port_of(one), port_of(other))
    same_host = (one.hostname or "").lower() == (other.hostname or "").lower()
    both_local = is_local(one.hostname or "") and is_local(other.hostname or "")
    return ports[0] == ports[1] and (same_host or both_local)


def _is_unspecified(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_unspecified


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else ipaddress.IPv4Address(mapped)
