"""Addresses: checking them, naming them without secrets, and mending what servers hand out."""

import base64
import ipaddress
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import (
    SplitResult,
    parse_qsl,
    quote,
    unquote,
    unquote_plus,
    urlencode,
    urljoin,
    urlsplit,
    urlunsplit,
)

from ._errors import InvalidParamsError

_DEFAULT_PORTS: Final = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_TLS: Final = {"https", "wss"}
#: Path segments this long are taken for tokens. Pipecat's have over a hundred characters, its
#: session ids thirty-six.
_TOKEN_LENGTH: Final = 40
HIDDEN: Final = "***"
#: Names of headers and of query parameters that hold credentials.
_CREDENTIAL: Final = re.compile(r"(?i)auth(?!ors?\b)|cookie|token|secret|password|api.?key|^key$")
_ASSIGNED: Final = re.compile(r'=\s*"?([^\s";,]+)')


def check_url(url: object, *schemes: str) -> SplitResult:
    """Return the parts of an absolute URL.

    Raises:
        InvalidParamsError: it is not one, or its scheme is none of `schemes`.
    """
    if not isinstance(url, str):
        raise InvalidParamsError(f"a URL is a string, not {type(url).__name__}")
    parts = split_url(url)
    if parts.scheme not in schemes:
        wanted = " or ".join(f"{scheme}://" for scheme in schemes)
        raise InvalidParamsError(f"expected a {wanted} URL, not {redact(url)!r}")
    if parts.port == 0 or not _is_host(parts.hostname or ""):
        raise InvalidParamsError(f"a URL without a usable host or port: {redact(url)!r}")
    if " " in url or not url.isprintable():  # all other white space is not printable
        raise InvalidParamsError("a URL with white space or control characters in it")
    return parts


def split_url(url: str) -> SplitResult:
    """Return the parts of a URL, whose port can be read.

    Raises:
        InvalidParamsError: there are none. What `urlsplit` says of it may quote a password.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise InvalidParamsError("not a URL: its host or port can't be read") from None
    return parts


def redact(url: str) -> str:
    """Return `url` fit to be shown: no user, no password, no query values, no token in the path."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return HIDDEN
    if "@" in parts.path and not parts.netloc:
        return HIDDEN  # somebody forgot the scheme: user:password@host
    if ":" in host:
        host = f"[{host}]"
    path = "/".join(
        HIDDEN if len(segment) >= _TOKEN_LENGTH else segment for segment in parts.path.split("/")
    )
    # Without a value the key may be the secret; with "=" alone, base64's padding looks like one.
    query = "&".join(
        f"{key}={HIDDEN}" if value.strip("=") else HIDDEN
        for key, value in parse_qsl(parts.query, keep_blank_values=True)
    )
    netloc = f"{host}{port}" if parts.netloc else ""
    return urlunsplit((parts.scheme, netloc, path, query or (HIDDEN if parts.query else ""), ""))


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Return `text` with every one of `secrets` made unreadable: servers echo what they refuse."""
    # The longest first: a part of one may be another.
    for secret in sorted(secrets, key=len, reverse=True):
        # A secret of one or two characters would take ordinary words apart.
        if len(secret) >= 4:
            text = text.replace(secret, HIDDEN)
    return text


def header_secrets(headers: Iterable[str]) -> list[str]:
    """Return what must not be shown of these header values.

    Each as a whole, the token in ``Bearer …``, and what stands behind a ``=``, as in cookies.
    """
    return [
        part
        for value in headers
        for part in (value, value.partition(" ")[2], *_ASSIGNED.findall(value))
        if part
    ]


def basic_credentials(parts: SplitResult) -> str | None:
    """Return what HTTP's Basic authorization makes of a URL's user; None if it names none."""
    if parts.username is None:
        return None
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return base64.b64encode(user.encode()).decode("ascii")


def url_secrets(url: str) -> list[str]:
    """Return what `redact` hides of a URL, in every form in which a server may echo it."""
    parts = urlsplit(url)
    hidden = [item.partition("=")[2] or item for item in parts.query.split("&")]
    hidden += [segment for segment in parts.path.split("/") if len(segment) >= _TOKEN_LENGTH]
    hidden += [parts.username or "", parts.password or ""]
    if (basic := basic_credentials(parts)) is not None:
        hidden.append(basic)
    forms = {*hidden, *map(unquote, hidden), *map(unquote_plus, hidden)}
    forms |= {quote(form, safe="") for form in forms}
    return sorted(forms - {""})


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


def check_credentials(url: str, names: Iterable[str], *, allow_insecure: bool) -> None:
    """Refuse to send credentials for everyone to read.

    Args:
        url: where a request goes; its user and its query may be credentials.
        names: the names of the request's headers.
        allow_insecure: somebody has said that it may.

    Raises:
        InvalidParamsError: they would be.
    """
    parts = urlsplit(url)
    plain = not is_tls(parts.scheme) and not is_local(parts.hostname or "")
    names = [*names, *(name for name, _ in parse_qsl(parts.query, keep_blank_values=True))]
    credentials = parts.username is not None or any(map(_CREDENTIAL.search, names))
    if plain and credentials and not allow_insecure:
        raise InvalidParamsError(
            f"credentials would go to {redact(url)!r} unencrypted; use {parts.scheme}s://, or say "
            "allow_insecure_token=True"
        )


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
    # A start request's credentials are not the link's.
    answered = answered._replace(netloc=answered.netloc.rpartition("@")[2])
    given = _beside(ws_url, answered)
    scheme, netloc, path = given.scheme, given.netloc, given.path
    host = given.hostname or ""
    if base_url is not None:
        base = urlsplit(base_url)
        scheme, netloc, path = base.scheme, base.netloc, base.path.rstrip("/") + path
    elif given.scheme in _DEFAULT_PORTS and (
        not host
        or _is_unspecified(host)
        or (is_local(host) and not is_local(answered.hostname or ""))
    ):
        scheme, netloc = answered.scheme, answered.netloc
    elif _same_place(given, answered):
        scheme = answered.scheme
    scheme = "wss" if is_tls(scheme) else "ws" if scheme in ("http", "ws") else scheme
    repaired = urlunsplit((scheme, netloc, path, given.query, ""))
    check_url(repaired, "ws", "wss")
    return repaired


def find_upload_url(url: str, endpoint: str, *, base_url: str | None = None) -> str:
    """Return the address for uploads that a start answer means.

    An absolute one is taken at its word; a relative one is beside `endpoint`, or where `base_url`
    says.

    Raises:
        InvalidParamsError: the result is no address.
    """
    found = _beside(url, urlsplit(endpoint))
    if base_url is not None and not urlsplit(url).netloc:
        base = urlsplit(base_url)
        scheme = "https" if is_tls(base.scheme) else "http"
        path = base.path.rstrip("/") + found.path
        found = found._replace(scheme=scheme, netloc=base.netloc, path=path)
    return check_url(found.geturl(), "http", "https").geturl()


def _beside(url: str, endpoint: SplitResult) -> SplitResult:
    split_url(url)
    return split_url(urljoin(endpoint.geturl(), url))


def _same_place(one: SplitResult, other: SplitResult) -> bool:
    # A port that is spelt out is the same port whatever the scheme; one that is not depends on it.
    same_host = one.hostname == other.hostname
    both_local = is_local(one.hostname or "") and is_local(other.hostname or "")
    return port_of(one) == port_of(other) and (same_host or both_local)


def _is_host(host: str) -> bool:
    return all(0 < len(label) < 64 for label in host.removesuffix(".").split("."))


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
