"""STUN and TURN servers: what a list of them says, as JSON has it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from ._errors import InvalidParamsError
from ._wire import Json

#: A URL of RFC 7064 or 7065, as far as aiortc reads them: no addresses in brackets.
_URL: Final = re.compile(
    r"(?:stuns?|turns?):[\w-]{1,63}(?:\.[\w-]{1,63})*\.?"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<query>\?transport=(?:udp|tcp))?"
)


@attrs.frozen(kw_only=True)
class IceServer:
    """A server that says how we can be reached (STUN), or that lends an address (TURN)."""

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = attrs.field(default=None, repr=False)


def read_ice_servers(value: object) -> tuple[IceServer, ...]:
    """Return the servers of a list as a start answer has it, or as JavaScript does.

    ``urls`` is a string or a list of them; its old name is ``url``.

    Raises:
        InvalidParamsError: one of them can't be used. The text says which, and shows nothing of it.
    """
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise InvalidParamsError("ice_servers is a list")
    return tuple(_read(entry, f"ICE server {number}") for number, entry in enumerate(value, 1))


def usable_ice_servers(value: Sequence[Json]) -> list[Json]:
    """Return those of a list that can be used: a server may know some that we don't."""
    return [entry for entry in value if _is_usable(entry)]


def _is_usable(entry: Json) -> bool:
    try:
        _read(entry, "")
    except InvalidParamsError:
        return False
    return True


def _read(entry: object, name: str) -> IceServer:
    if not isinstance(entry, Mapping):
        raise InvalidParamsError(f"{name} is no object with urls")
    urls = entry.get("urls")
    if urls is None:
        urls = entry.get("url")
    if isinstance(urls, str):
        urls = [urls]
    if not isinstance(urls, list | tuple) or not urls:
        raise InvalidParamsError(f"{name} has no urls")
    if not all(map(_is_url, urls)):
        raise InvalidParamsError(
            f"{name} has a URL that can't be used: expected stun:host, turn:host:port or "
            "turns:host?transport=tcp"
        )
    return IceServer(
        urls=tuple(urls),
        username=_text(entry, "username", name),
        credential=_text(entry, "credential", name),
    )


def _is_url(url: object) -> bool:
    found = _URL.fullmatch(url) if isinstance(url, str) else None
    if found is None or (found["query"] and found[0].startswith("stun")):
        return False
    return found["port"] is None or 0 < int(found["port"]) < 65_536


def _text(entry: Mapping[Any, Any], key: str, name: str) -> str | None:
    value = entry.get(key)
    if value is not None and not isinstance(value, str):
        raise InvalidParamsError(f"{name} has a {key} that is no string")
    return value
