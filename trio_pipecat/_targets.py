"""What the caller asked to connect to, made into a plan: start a bot or not, then which link."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, cast

import attrs

from ._errors import InvalidParamsError
from ._options import SessionOptions
from ._params import ConnectParams, StartedBot
from ._start import start_bot
from ._urls import check_credentials, check_url, redact
from .transports import Connector, find_connector
from .transports._registry import find_starter

#: What `open_session` takes first: an address, a bot that was started, or parameters at hand.
Target: TypeAlias = str | StartedBot | ConnectParams | None

Starter: TypeAlias = Callable[[], Awaitable[StartedBot]]

_SIM: Final = "sim:"


@attrs.frozen(kw_only=True)
class Plan:
    """How a session gets its link: `start`, if there is one, then `connector` with the parameters.

    `upgrade_headers` go with the opening of the link. A start request's headers never do: the link
    may lead somewhere else.
    """

    start: Starter | None
    params: ConnectParams | None
    started: StartedBot | None
    connector: Connector | None
    upgrade_headers: dict[str, str]

    def connector_for(self, params: ConnectParams) -> Connector:
        """Return what opens the link."""
        return self.connector or find_connector(params.transport)


def make_plan(target: Target, options: SessionOptions) -> Plan:
    """Decide which of the three ways of starting a session was meant.

    Raises:
        InvalidParamsError: none of them, or more than one.
        UnsupportedFeatureError: the transport is not available.
    """
    own_connector = None if isinstance(options.transport, str) else options.transport
    name = options.transport if isinstance(options.transport, str) else None
    if name is not None and name != "webrtc":
        find_connector(name)
    if not isinstance(target, Target):
        raise InvalidParamsError(
            "the first argument is an address, a StartedBot or ConnectParams, "
            f"not {type(target).__name__}"
        )
    if options.base_url is not None:
        check_url(options.base_url, "http", "https", "ws", "wss")
    if isinstance(target, str):
        options = _sort_address(target, options)
        target = None if not target.startswith(_SIM) else target
    if target is None and isinstance(options.endpoint, str) and options.endpoint.startswith(_SIM):
        target, options = options.endpoint, attrs.evolve(options, endpoint=None)
    given = [
        key for key in ("endpoint", "ws_url", "webrtc_url") if getattr(options, key) is not None
    ]
    if target is not None:
        given.insert(0, "the first argument")
    if len(given) > 1:
        raise InvalidParamsError(f"{' and '.join(given)} were given; one of them, please")
    if not given and own_connector is None:
        raise InvalidParamsError(
            "nothing to connect to: give an address, endpoint=, ws_url= or webrtc_url="
        )

    start: Starter | None = None
    params: ConnectParams | None = None
    started = target if isinstance(target, StartedBot) else None
    upgrade_headers = options.headers
    if started is not None:
        params = _changed(started.params, options, name)
    elif isinstance(target, ConnectParams):
        params = _changed(target, options, name)
    elif isinstance(target, str):
        start = _sim_starter(target, options)
    elif options.endpoint is not None:
        check_url(options.endpoint, "http", "https")
        check_credentials(
            options.endpoint, options.headers, allow_insecure=options.allow_insecure_token
        )
        start = _http_starter(options.endpoint, options, name)
        upgrade_headers = {}
    elif options.ws_url is not None:
        check_url(options.ws_url, "ws", "wss")
        params = _direct(options, name or "websocket")
    elif options.webrtc_url is not None:
        check_url(options.webrtc_url, "http", "https")
        params = _direct(options, name or "webrtc")
    else:
        params = _direct(options, "custom")
    if params is not None and own_connector is None:
        find_connector(params.transport)
        _check_params(params, options)
    return Plan(
        start=start,
        params=params,
        started=started,
        connector=own_connector,
        upgrade_headers=upgrade_headers,
    )


def _sort_address(address: str, options: SessionOptions) -> SessionOptions:
    """Put an address that came as the first argument where its scheme says it belongs."""
    scheme = address.partition(":")[0].lower()
    key = {"ws": "ws_url", "wss": "ws_url", "http": "endpoint", "https": "endpoint"}.get(scheme)
    if key is None:
        if address.startswith(_SIM):
            return options
        raise InvalidParamsError(
            f"expected a ws://, wss://, http://, https:// or sim: address, not {redact(address)!r}"
        )
    if getattr(options, key) is not None:
        raise InvalidParamsError(f"the first argument and {key} were given; one of them, please")
    if key == "ws_url":
        return attrs.evolve(options, ws_url=address)
    return attrs.evolve(options, endpoint=address)


def _direct(options: SessionOptions, transport: str) -> ConnectParams:
    return ConnectParams(
        transport=transport,
        ws_url=options.ws_url,
        token=options.token,
        webrtc_url=options.webrtc_url,
        ice_servers=options.ice_servers,
        request_data=options.request_data,
    )


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
        names = [*options.headers, *(["token"] if params.token is not None else [])]
        check_credentials(params.ws_url, names, allow_insecure=options.allow_insecure_token)


def _http_starter(endpoint: str, options: SessionOptions, transport: str | None) -> Starter:
    async def start() -> StartedBot:
        started = await start_bot(
            endpoint,
            request_data=options.request_data,
            headers=options.headers,
            transport=transport,
            base_url=options.base_url,
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


def _sim_starter(url: str, options: SessionOptions) -> Starter:
    return cast(Starter, find_starter("sim")(url, options.request_data))
