"""What the caller asked to connect to, made into a plan: start a bot or not, then which link."""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias, cast
from urllib.parse import quote

import attrs

from ._errors import InvalidParamsError
from ._ice import read_ice_servers
from ._options import SessionOptions
from ._params import ConnectParams, StartedBot, check_offer_url_template, secrets_in
from ._start import start_bot
from ._urls import check_credentials, check_url, header_secrets, origin, redact, url_secrets
from .transports import Connector, find_connector
from .transports._registry import find_starter

#: What `open_session` takes first: an address, a bot that was started, or parameters at hand.
Target: TypeAlias = str | StartedBot | ConnectParams | None

Starter: TypeAlias = Callable[[], Awaitable[StartedBot]]

_SIM: Final = "sim:"


@attrs.frozen(kw_only=True)
class Plan:
    """How a session gets its link: `start`, if there is one, then `connector` with the parameters.

    `kind` names what was asked for, without saying where: ``sim``, ``endpoint``, or the wire.
    """

    kind: str
    options: SessionOptions = attrs.field(repr=False)
    start: Starter | None = None
    params: ConnectParams | None = None
    started: StartedBot | None = None
    connector: Connector | None = None

    def connector_for(self, params: ConnectParams) -> Connector:
        """Return what opens the link."""
        return self.connector or find_connector(params.transport)

    def headers_for(self, params: ConnectParams, started: StartedBot | None) -> dict[str, str]:
        """Return the headers that go with the opening of the link.

        A start request's stay behind, for the link may lead somewhere else. Only a WebRTC offer to
        the very server that answered the start request takes them along: Pipecat Cloud wants to see
        the same ``Authorization`` again.
        """
        headers = self.options.headers
        if self.kind != "endpoint":
            return headers
        if started is None or params.transport != "webrtc" or params.webrtc_url is None:
            return {}
        if origin(params.webrtc_url) != origin(started.endpoint):
            return {}
        # A token is there to let us in, so it goes before what let us start.
        superseded = {"authorization"} if params.token is not None else set()
        return {name: value for name, value in headers.items() if name.lower() not in superseded}

    def secrets(self, params: ConnectParams | None, started: StartedBot | None) -> list[str]:
        """Return all that nobody should see, in the forms it may take, as far as it is known."""
        options = self.options
        urls = [options.endpoint, options.ws_url, options.webrtc_url, options.base_url]
        urls.append(options.offer_url_template)
        secrets = [options.token, *header_secrets(options.headers.values())]
        secrets += [*secrets_in(options.request_data), *secrets_in([*(options.ice_servers or ())])]
        if started is not None:
            urls.append(started.endpoint)
            secrets += secrets_in(started.answer)
        if params is not None:
            urls += [params.ws_url, params.webrtc_url, params.file_upload_url]
            secrets += [params.token, params.body, *secrets_in(params.request_data)]
            secrets += [*secrets_in([*(params.ice_servers or ())]), *secrets_in(params.other)]
        forms = [secret for secret in secrets if secret is not None]
        # A token travels in a URL, too, and comes back as it stood there.
        forms += [quote(secret, safe="") for secret in forms]
        forms += [form for url in urls if url is not None for form in url_secrets(url)]
        return sorted({*forms} - {""})


def make_plan(target: Target, options: SessionOptions) -> Plan:
    """Decide which of the three ways of starting a session was meant.

    Raises:
        InvalidParamsError: none of them, or more than one.
        UnsupportedFeatureError: the transport is not available.
    """
    name = options.transport if isinstance(options.transport, str) else None
    connector = None if isinstance(options.transport, str) else options.transport
    if name is not None:
        find_connector(name)
    if options.base_url is not None:
        check_url(options.base_url, "http", "https", "ws", "wss")
    if options.offer_url_template is not None:
        check_offer_url_template(options.offer_url_template)
    target, options = _sort_address(target, options)
    _check_one_way(target, options, connector)
    if isinstance(target, str):
        make_starter = find_starter("sim")
        over_webrtc = name == "webrtc"
        start = cast(Starter, make_starter(target, options.request_data, webrtc=over_webrtc))
        return Plan(kind="sim", options=options, start=start, connector=connector)
    if options.endpoint is not None:
        check_url(options.endpoint, "http", "https")
        check_credentials(
            options.endpoint, options.headers, allow_insecure=options.allow_insecure_token
        )
        starter = _http_starter(options.endpoint, options, name)
        return Plan(kind="endpoint", options=options, start=starter, connector=connector)
    started = target if isinstance(target, StartedBot) else None
    given = target.params if isinstance(target, StartedBot) else target
    params = _direct(options, name) if given is None else _changed(given, options, name)
    if connector is None:
        find_connector(params.transport)
        _check_params(params, options)
    return Plan(
        kind=params.transport,
        options=options,
        params=params,
        started=started,
        connector=connector,
    )


def _sort_address(
    target: Target, options: SessionOptions
) -> tuple["StartedBot | ConnectParams | str | None", SessionOptions]:
    """Put an address where it says it belongs. What stays a string is a ``sim:`` one."""
    if target is None and isinstance(options.endpoint, str) and options.endpoint.startswith(_SIM):
        return options.endpoint, attrs.evolve(options, endpoint=None)
    if not isinstance(target, Target):
        raise InvalidParamsError(
            "the first argument is an address, a StartedBot or ConnectParams, "
            f"not {type(target).__name__}"
        )
    if not isinstance(target, str) or target.startswith(_SIM):
        return target, options
    scheme = target.partition(":")[0].lower()
    key = {"ws": "ws_url", "wss": "ws_url", "http": "endpoint", "https": "endpoint"}.get(scheme)
    if key is None:
        raise InvalidParamsError(
            f"expected a ws://, wss://, http://, https:// or sim: address, not {redact(target)!r}; "
            "a bot on this machine is http://localhost:7860/start"
        )
    if key == "endpoint" and _takes_offers(target):
        key = "webrtc_url"
    if getattr(options, key) is not None:
        raise InvalidParamsError(f"the first argument and {key} were given; one of them, please")
    changes: dict[str, Any] = {key: target}
    return None, attrs.evolve(options, **changes)


def _takes_offers(url: str) -> bool:
    path = re.split(r"[?#]", url, maxsplit=1)[0]
    return path.rstrip("/").endswith("/api/offer")


def _check_one_way(target: object, options: SessionOptions, connector: Connector | None) -> None:
    ways = [
        key for key in ("endpoint", "ws_url", "webrtc_url") if getattr(options, key) is not None
    ]
    if target is not None:
        ways.insert(0, "the first argument")
    if len(ways) > 1:
        raise InvalidParamsError(f"{' and '.join(ways)} were given; one of them, please")
    if not ways and connector is None:
        raise InvalidParamsError(
            "nothing to connect to: give an address, endpoint=, ws_url= or webrtc_url="
        )


def _direct(options: SessionOptions, transport: str | None) -> ConnectParams:
    """Return the parameters that were given as keywords."""
    if options.ws_url is not None:
        check_url(options.ws_url, "ws", "wss")
        found = "websocket"
        _refuse_useless(options, "ws_url", "request_data", "base_url", "ice_servers")
    elif options.webrtc_url is not None:
        check_url(options.webrtc_url, "http", "https")
        found = "webrtc"
        _refuse_useless(options, "webrtc_url", "base_url")
    else:
        found = "custom"
    if transport is not None and transport != found:
        hint = "; bots take offers at http://…/api/offer" if transport == "webrtc" else ""
        raise InvalidParamsError(f"transport {transport!r} does not fit a {found} address{hint}")
    return ConnectParams(
        transport=transport or found,
        ws_url=options.ws_url,
        token=options.token,
        webrtc_url=options.webrtc_url,
        ice_servers=options.ice_servers,
        request_data=options.request_data,
    )


def _refuse_useless(options: SessionOptions, address: str, *keys: str) -> None:
    """Refuse keywords of a start where nothing is started. A connector may have a use for them."""
    for key in (*keys, "offer_url_template"):
        if getattr(options, key) is not None and not callable(options.transport):
            raise InvalidParamsError(f"{key} has no use with {address}: nothing is started")


def _changed(
    params: ConnectParams, options: SessionOptions, transport: str | None
) -> ConnectParams:
    """Return `params` as the keywords want them."""
    return attrs.evolve(
        params,
        transport=transport or params.transport,
        token=params.token if options.token is None else options.token,
        ice_servers=params.ice_servers if options.ice_servers is None else options.ice_servers,
    )


def _check_params(params: ConnectParams, options: SessionOptions) -> None:
    if params.transport == "websocket":
        if params.ws_url is None:
            raise InvalidParamsError("a WebSocket needs a ws_url")
        check_url(params.ws_url, "ws", "wss")
        _check_credentials(params.ws_url, params, options)
    elif params.transport == "webrtc":
        if params.webrtc_url is None:
            raise InvalidParamsError("WebRTC needs a webrtc_url")
        check_url(params.webrtc_url, "http", "https")
        read_ice_servers(params.ice_servers or ())
        _check_credentials(params.webrtc_url, params, options)


def _check_credentials(url: str, params: ConnectParams, options: SessionOptions) -> None:
    names = [*options.headers, *(["token"] if params.token is not None else [])]
    check_credentials(url, names, allow_insecure=options.allow_insecure_token)


def _http_starter(endpoint: str, options: SessionOptions, transport: str | None) -> Starter:
    async def start() -> StartedBot:
        started = await start_bot(
            endpoint,
            request_data=options.request_data,
            headers=options.headers,
            transport=transport,
            base_url=options.base_url,
            offer_url_template=options.offer_url_template,
            ssl_context=options.ssl_context,
            allow_insecure_token=options.allow_insecure_token,
            start_timeout=options.start_timeout,
        )
        if options.token is not None:
            started.params.token = options.token
        if options.ice_servers is not None:
            started.params.ice_servers = options.ice_servers
        return started

    return start
