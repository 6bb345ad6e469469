"""Every keyword of `open_session`, in one place, checked before anything is tried."""

import json
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from ssl import SSLContext
from types import NoneType
from typing import Any, Final, TypedDict, get_args

import attrs

from ._codec import encode_command
from ._errors import InvalidParamsError
from ._ice import read_ice_servers
from ._messages import RTVI_VERSION, AboutClient, ClientReady
from ._params import TokenPlace, show_url
from ._version import __version__
from ._wire import Json
from .audio._resample import MAX_RATE, MIN_RATE
from .transports._abc import Connector

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: Headers that say how a message is framed. Whoever sets them breaks it.
_FRAMING: Final = frozenset({"connection", "content-length", "transfer-encoding", "upgrade"})


class SessionKeywords(TypedDict, total=False):
    """The keywords of `open_session` and `PipecatClient`. Times are in seconds, sizes in bytes."""

    #: Where to start a bot: an ``http(s)://`` address that is POSTed to.
    endpoint: str | None
    #: Where a bot is listening: a ``ws(s)://`` address.
    ws_url: str | None
    #: Where a bot takes WebRTC offers: an ``http(s)://`` address.
    webrtc_url: str | None
    #: What lets us in. Pipecat's tokens are good for one connection, within five minutes.
    token: str | None
    #: The JSON object that the start request carries; the WebRTC offer where nothing is started.
    request_data: Mapping[str, Json] | None
    #: HTTP headers of the start request; of the WebSocket upgrade or the WebRTC offer where there
    #: is no start request, and of offers to the very server that was asked to start the bot.
    headers: Mapping[str, str] | None
    #: The wire: ``"websocket"``, ``"webrtc"``, or a connector of your own.
    transport: str | Connector | None
    #: Scheme, host, port and path prefix to use instead of those the start answer names.
    base_url: str | None
    #: Where the offer of a WebRTC session goes that was started: an address with ``:sessionId`` in
    #: it. By default it goes beside the start endpoint.
    offer_url_template: str | None
    #: For ``https`` and ``wss``. The default trusts what the system and certifi trust.
    ssl_context: SSLContext | None
    #: The ``Origin`` header of the upgrade or the offer: servers that check it refuse a missing one
    #: too.
    origin: str | None
    #: How the token is presented: ``"header"``, ``"query"`` or (to a WebSocket) ``"path"``.
    token_in: TokenPlace
    #: Send tokens over plain ``ws`` and ``http`` to hosts other than this machine.
    allow_insecure_token: bool
    #: STUN and TURN servers, as the start answer's ``iceServers``.
    ice_servers: Sequence[Json] | None
    #: What the client says of itself in ``client-ready``: an `AboutClient`.
    about: AboutClient
    #: End the block when the bot leaves, fails, or its link is lost.
    disconnect_on_bot_disconnect: bool
    #: How long the start endpoint may take.
    start_timeout: float
    #: How long opening the link may take.
    connect_timeout: float
    #: How long the bot may take from then on until it is ready.
    ready_timeout: float
    #: The grace of a goodbye, and of a body that is still reading when the bot has left.
    disconnect_timeout: float
    #: How long STUN and TURN servers may take to say how we can be reached (WebRTC).
    gather_timeout: float
    #: Offer a WebRTC connection at once, and send our addresses afterwards, when they are known.
    trickle_ice: bool
    #: How often the link is tested with a ping. None: what suits the wire, which is every 20 s on a
    #: WebSocket and every second on WebRTC.
    ping_interval: float | None
    #: How long the bot may be silent after a ping. None: 20 s on a WebSocket, 5 s on WebRTC.
    ping_timeout: float | None
    #: How many unread events one stream holds before its reader is declared too slow.
    event_buffer: int
    #: How many seconds of unread audio are kept.
    audio_buffer: float
    #: The rate at which the bot listens, in Hz: what is streamed to it is converted to that. Bots
    #: do not announce it; Pipecat's own option of this name is 16000 by default.
    audio_in_sample_rate: int
    #: The rate at which the bot's sound is given, in Hz, on wires where that can be chosen, which
    #: is WebRTC: from 8000 to 48000. On the others it comes at the bot's own.
    audio_out_sample_rate: int
    #: The largest message that is sent.
    max_message_size: int
    #: The largest message that is accepted.
    max_receive_size: int


def about_this_client() -> AboutClient:
    """Return what this package says of itself."""
    return AboutClient(
        library="trio-pipecat",
        library_version=__version__,
        platform=platform.system() or None,
        platform_version=f"Python {platform.python_version()}",
    )


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return `headers` as a dict.

    Raises:
        InvalidParamsError: one of them can't be sent. The text names it, without its value.
    """
    try:
        items = dict(headers).items()
    except (TypeError, ValueError):
        raise InvalidParamsError("headers are a mapping of names to values") from None
    checked = {}
    for name, value in items:
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidParamsError("headers are strings")
        token = _HEADER_NAME.match(name)
        if token is None or token.end() < len(name):
            # Only the beginning: somebody may have put the whole header there.
            start = "" if token is None else token[0]
            raise InvalidParamsError(f"not the name of a header: {start!r}…")
        if name.lower() in _FRAMING:
            raise InvalidParamsError(f"the header {name} is HTTP's own business")
        if any(_is_control(character) and character != "\t" for character in value):
            raise InvalidParamsError(f"the header {name} holds a line break or control character")
        if any(ord(character) > 255 for character in value):
            raise InvalidParamsError(f"the header {name} is not Latin-1 text")
        checked[name] = value.strip()
    return checked


def check_seconds(name: str, value: object) -> None:
    """Raise `InvalidParamsError` if `value` is no positive number (NaN is none either)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise InvalidParamsError(f"{name} is a positive number, not {value!r}")


def check_request_data(data: Mapping[str, Json] | None) -> None:
    """Raise `InvalidParamsError` if `data` is no JSON object."""
    if data is None:
        return
    if not isinstance(data, Mapping):
        raise InvalidParamsError("request_data is an object (a mapping)")
    try:
        json.dumps({**data}, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidParamsError(f"request_data can't be JSON: {error}") from None


def _is_control(character: str) -> bool:
    return ord(character) < 32 or ord(character) == 127


def _headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    return check_headers({} if headers is None else headers)


def _check_type(*types: type) -> Callable[[Any, "attrs.Attribute[Any]", Any], None]:
    names = " or ".join("None" if kind is NoneType else kind.__name__ for kind in types)

    def check(options: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
        if not isinstance(value, types):
            raise InvalidParamsError(f"{attribute.name} is {names}, not {type(value).__name__}")

    return check


def _finite(options: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    check_seconds(attribute.name, value)
    if value == float("inf"):
        raise InvalidParamsError(f"{attribute.name} can't be endless: it is shielded")


def _ice_servers(options: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    if value is not None:
        read_ice_servers(value)


def _positive(options: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    check_seconds(attribute.name, value)


def _positive_or_none(options: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    if value is not None:
        check_seconds(attribute.name, value)


def _whole(options: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise InvalidParamsError(f"{attribute.name} is a positive integer, not {value!r}")


def _sample_rate(options: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    _whole(options, attribute, value)
    if not MIN_RATE <= value <= MAX_RATE:
        raise InvalidParamsError(
            f"{attribute.name} is from {MIN_RATE} to {MAX_RATE} Hz, not {value}"
        )


def _opus_rate(options: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    _whole(options, attribute, value)
    if not 8_000 <= value <= 48_000:
        raise InvalidParamsError(f"{attribute.name} is from 8000 to 48000 Hz, not {value}")


def _json_object(options: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    check_request_data(value)


def _printable(options: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, str) or not (value.isascii() and value.isprintable()):
        raise InvalidParamsError(f"{attribute.name} is a string of printable ASCII characters")


def _about(options: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    if not isinstance(value, AboutClient):
        raise InvalidParamsError(f"about is an AboutClient, not {type(value).__name__}")
    try:
        encode_command(ClientReady(version=RTVI_VERSION, about=value), "")
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidParamsError(f"about can't be sent: {error}") from None


def _transport(options: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    if value is not None and not isinstance(value, str) and not callable(value):
        raise InvalidParamsError("transport is a name or a connector")


def _token_place(options: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    if value not in get_args(TokenPlace):
        raise InvalidParamsError(f"token_in is one of {get_args(TokenPlace)}, not {value!r}")


@attrs.frozen(kw_only=True)
class SessionOptions:
    """The keywords of `SessionKeywords` with their defaults, checked."""

    endpoint: str | None = attrs.field(default=None, repr=show_url)
    ws_url: str | None = attrs.field(default=None, repr=show_url)
    webrtc_url: str | None = attrs.field(default=None, repr=show_url)
    token: str | None = attrs.field(default=None, validator=_printable, repr=False)
    request_data: Mapping[str, Json] | None = attrs.field(
        default=None, validator=_json_object, repr=False
    )
    headers: dict[str, str] = attrs.field(
        factory=dict, converter=_headers, repr=lambda headers: str([*headers])
    )
    transport: str | Connector | None = attrs.field(default=None, validator=_transport)
    base_url: str | None = attrs.field(default=None, repr=show_url)
    offer_url_template: str | None = attrs.field(default=None, repr=show_url)
    ssl_context: SSLContext | None = attrs.field(
        default=None, validator=_check_type(SSLContext, NoneType), repr=False
    )
    origin: str | None = attrs.field(default=None, validator=_printable)
    token_in: TokenPlace = attrs.field(default="header", validator=_token_place)
    allow_insecure_token: bool = attrs.field(default=False, validator=_check_type(bool))
    ice_servers: Sequence[Json] | None = attrs.field(
        default=None, validator=_ice_servers, repr=False
    )
    about: AboutClient = attrs.field(factory=about_this_client, validator=_about)
    disconnect_on_bot_disconnect: bool = attrs.field(default=True, validator=_check_type(bool))
    start_timeout: float = attrs.field(default=30, validator=_positive)
    connect_timeout: float = attrs.field(default=15, validator=_positive)
    ready_timeout: float = attrs.field(default=30, validator=_positive)
    disconnect_timeout: float = attrs.field(default=3, validator=_finite)
    gather_timeout: float = attrs.field(default=2, validator=_positive)
    trickle_ice: bool = attrs.field(default=False, validator=_check_type(bool))
    ping_interval: float | None = attrs.field(default=None, validator=_positive_or_none)
    ping_timeout: float | None = attrs.field(default=None, validator=_positive_or_none)
    event_buffer: int = attrs.field(default=16_384, validator=_whole)
    audio_buffer: float = attrs.field(default=30, validator=_positive)
    audio_in_sample_rate: int = attrs.field(default=16_000, validator=_sample_rate)
    audio_out_sample_rate: int = attrs.field(default=24_000, validator=_opus_rate)
    max_message_size: int = attrs.field(default=2**20, validator=_whole)
    max_receive_size: int = attrs.field(default=2**24, validator=_whole)


def check_options(keywords: Mapping[str, Any]) -> SessionOptions:
    """Return the options that `keywords` mean.

    Raises:
        InvalidParamsError: one of them can't be.
        TypeError: there is no such keyword.
    """
    unknown = keywords.keys() - attrs.fields_dict(SessionOptions).keys()
    if unknown:
        raise TypeError(f"a session has no option {', '.join(sorted(unknown))}")
    return SessionOptions(**keywords)
