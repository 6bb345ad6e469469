"""A simulated bot on a real port: the routes of pipecat's development runner.

``POST /start`` (with CORS, for browsers), ``GET /status``, and WebSockets, with a token if they are
asked for: ``/ws-client`` speaks protobuf; ``/ws``, where the runner expects pipecat's evaluations,
and ``/``, where ``RTVIClientTransport`` looks for a bot, speak JSON. Where it is asked for,
``/api/offer`` takes WebRTC offers. What the bot saw is in ``bot.conversations``.
"""

import json
import logging
import secrets
from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload
from uuid import uuid4

import attrs
import trio

from .._errors import ProtocolError
from .._service import Services, open_services
from .._wire import Json
from ..transports import LinkOptions, find_connector
from ..transports._websocket_server import accept_websocket
from ..transports._wires import JsonWire, ProtobufWire, Wire
from ._bot import SimulatedBot
from ._http_server import Request, Response, json_response, serve_connection, text_response
from ._memory_link import Bot
from ._personality import GREETING

if TYPE_CHECKING:
    from ..transports._loop_thread import LoopThread
    from ._offers import OfferDesk

logger: Final = logging.getLogger("trio_pipecat.testing")

_WS_PATH: Final = "/ws-client"
_JSON_PATH: Final = "/ws"
_OFFER_PATH: Final = "/api/offer"
_MANY_CONNECTIONS: Final = 512
_STOP_SECONDS: Final = 1


B = TypeVar("B", bound=Bot)


@attrs.frozen(kw_only=True)
class ServedBot(Generic[B]):
    """Where a served bot is."""

    bot: B
    host: str
    port: int
    tls: bool = False
    #: Does it take WebRTC offers?
    webrtc: bool = False

    @property
    def start_url(self) -> str:
        """The start endpoint."""
        return self._url("http", "/start")

    @property
    def ws_url(self) -> str:
        """The WebSocket."""
        return self._url("ws", _WS_PATH)

    @property
    def json_url(self) -> str:
        """The WebSocket that speaks JSON only. With ``?capture_bot_audio=1`` it has sound, too."""
        return self._url("ws", _JSON_PATH)

    @property
    def webrtc_url(self) -> str:
        """Where WebRTC offers are taken, if they are."""
        return self._url("http", _OFFER_PATH)

    def _url(self, scheme: str, path: str) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}{'s' if self.tls else ''}://{host}:{self.port}{path}"


@overload
def serve_bot(
    bot: B,
    *,
    host: str = ...,
    port: int = ...,
    token_auth: bool = ...,
    allowed_origins: Iterable[str] = ...,
    ssl_context: SSLContext | None = ...,
    webrtc: bool = ...,
) -> AbstractAsyncContextManager[ServedBot[B]]: ...
@overload
def serve_bot(
    bot: None = None,
    *,
    host: str = ...,
    port: int = ...,
    token_auth: bool = ...,
    allowed_origins: Iterable[str] = ...,
    ssl_context: SSLContext | None = ...,
    webrtc: bool = ...,
) -> AbstractAsyncContextManager[ServedBot[SimulatedBot]]: ...


def serve_bot(
    bot: Bot | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token_auth: bool = False,
    allowed_origins: Iterable[str] = (),
    ssl_context: SSLContext | None = None,
    webrtc: bool = False,
) -> AbstractAsyncContextManager[ServedBot[Any]]:
    """Serve a bot while the block lasts.

    Args:
        bot: a `SimulatedBot`, a `ReplayBot`, or anything else with a ``converse``; by default a
            simulated one that greets.
        host: the interface to listen on.
        port: the port; 0: a free one.
        token_auth: only let in who brings a token of ``/start``; each is good for one connection.
        allowed_origins: only let in who sends one of these as ``Origin``; empty: everybody.
        ssl_context: serve ``https`` and ``wss`` with it.
        webrtc: take WebRTC offers, too.

    Raises:
        OSError: the port can't be had.
        UnsupportedFeatureError: WebRTC takes an extra, which is not installed.
    """
    if webrtc:
        find_connector("webrtc")
    server = BotServer(
        SimulatedBot(greeting=GREETING) if bot is None else bot,
        token_auth=token_auth,
        allowed_origins=allowed_origins,
        ssl_context=ssl_context,
        webrtc=webrtc,
    )
    return serve_with(server, host=host, port=port)


@asynccontextmanager
async def serve_with(
    server: "BotServer", *, host: str, port: int = 0
) -> AsyncGenerator[ServedBot[Any], None]:
    """Listen for a server while the block lasts."""
    listeners = await trio.open_tcp_listeners(port, host=host, backlog=_MANY_CONNECTIONS)
    try:
        # With port 0 each interface gets a port of its own, so only one can be meant.
        listener, *others = listeners
        for other in others:
            await other.aclose()
        bound = listener.socket.getsockname()[1]
        async with AsyncExitStack() as stack:
            loop = await stack.enter_async_context(_loop_thread()) if server.webrtc else None
            opening = open_services(_no_farewell, grace=_STOP_SECONDS)
            services = await stack.enter_async_context(opening)
            if loop is not None:
                server.take_offers(loop, services)
            serve = partial(trio.serve_listeners, server.serve, [listener])
            services.start(serve, name="trio_pipecat: bot server")
            yield ServedBot(
                bot=server.bot, host=host, port=bound, tls=server.tls, webrtc=server.webrtc
            )
    finally:
        for listener in listeners:
            await trio.aclose_forcefully(listener)


def _loop_thread() -> AbstractAsyncContextManager["LoopThread"]:
    from ..transports._loop_thread import open_loop_thread

    return open_loop_thread()


async def _no_farewell(error: BaseException | None) -> None:
    """Stopping is enough: each connection says its own goodbye."""


class BotServer:
    """Serves the connections of a bot. What may go wrong on purpose is in methods of their own."""

    def __init__(
        self,
        bot: Bot,
        *,
        token_auth: bool = False,
        allowed_origins: Iterable[str] = (),
        ssl_context: SSLContext | None = None,
        webrtc: bool = False,
    ) -> None:
        self.bot = bot
        self.webrtc = webrtc
        self._token_auth = token_auth
        self._ssl_context = ssl_context
        self._origins = {origin.lower() for origin in allowed_origins}
        self._tokens: set[str] = set()
        self._desk: OfferDesk | None = None

    def take_offers(self, loop: "LoopThread", services: Services) -> None:
        """Take WebRTC offers, as long as the services run."""
        from ._offers import OfferDesk

        self._desk = OfferDesk(self.bot, loop, services)

    @property
    def tls(self) -> bool:
        """Is it served with TLS?"""
        return self._ssl_context is not None

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection."""
        connection: trio.abc.Stream = stream
        if self._ssl_context is not None:
            connection = trio.SSLStream(
                stream, self._ssl_context, server_side=True, https_compatible=True
            )
        try:
            await serve_connection(connection, self._answer, self.upgrade)
        except trio.BrokenResourceError:
            await trio.aclose_forcefully(stream)  # a TLS handshake that failed
        except Exception:
            # One connection must not end the others.
            logger.exception("serving a connection failed")
            await trio.aclose_forcefully(stream)

    async def _answer(self, request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        if request.method == "OPTIONS":
            return _allow_origin(request, Response(status=200))
        if self._desk is not None:
            answer = await self._desk.handle(request)
            if answer is not None:
                return _allow_origin(request, answer)
        match request.method, request.path:
            case "POST", "/start":
                response = await self.start(request)
            case "GET", "/status":
                known = ["websocket", *(["webrtc"] if self.webrtc else [])]
                response = json_response({"status": "ready", "transports": known})
            case _, "/start" | "/status":
                response = json_response({"detail": "Method Not Allowed"}, 405)
            case _:
                response = json_response({"detail": "Not Found"}, 404)
        return _allow_origin(request, response)

    async def start(self, request: Request) -> Response:
        """Answer a start request."""
        await trio.lowlevel.checkpoint()
        wanted = _start_request(request.body)
        if not isinstance(wanted, dict):
            return text_response("Internal Server Error", 500)
        transport = wanted.get("transport") or "websocket"
        if transport == "webrtc" and self._desk is not None:
            return json_response({"sessionId": self._desk.promise_session()})
        if transport != "websocket":
            return json_response({"detail": f"Transport '{transport}' is not allowed."}, 400)
        token = None
        if self._token_auth:
            token = secrets.token_urlsafe(48)
            self._tokens.add(token)
        host = request.headers.get("host", "localhost")
        return json_response(
            {
                "wsUrl": f"{'wss' if self.tls else 'ws'}://{host}{_WS_PATH}",
                "sessionId": str(uuid4()),
                "token": token,
            }
        )

    async def upgrade(self, request: Request, stream: trio.abc.Stream) -> Response | None:
        """Serve a WebSocket, or return the answer that refuses it."""
        path, _, token = request.path.removeprefix("/").partition("/")
        wire = _wire_at(f"/{path}", request)
        if wire is None or not self._lets_in(request, token):
            # pipecat's runner closes before it accepts, so every refusal is this one.
            return text_response("", 403)
        try:
            await self.converse(stream, wire)
        except ProtocolError:
            pass  # the client changed its mind
        return None

    async def converse(self, stream: trio.abc.Stream, wire: Wire) -> None:
        """Have the bot's conversation with the client that is at the other end of `stream`."""
        async with accept_websocket(stream, LinkOptions(), wire) as link:
            raised = False
            try:
                await self.bot.converse(link)
            except Exception:
                # One conversation must not end the others. It is logged before the link is cut:
                # the client that sees that may stop the server, and us with it.
                logger.exception("the bot's code raised")
                raised = True
            if raised:
                await link.abort("the bot's code raised")

    def _lets_in(self, request: Request, token_in_path: str) -> bool:
        if self._origins and request.headers.get("origin", "").lower() not in self._origins:
            return False
        if not self._token_auth:
            return not token_in_path
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        token = token_in_path or bearer or request.query.get("token", "")
        if token not in self._tokens:
            return False
        self._tokens.discard(token)
        return True


def _wire_at(path: str, request: Request) -> Wire | None:
    """Return what is spoken at a path; None: it is no WebSocket."""
    if path == _WS_PATH:
        return ProtobufWire(takes_texts=False)
    if path in (_JSON_PATH, "/"):
        wanted = request.query.get("capture_bot_audio", "")
        return JsonWire(sends_audio=wanted.lower() in ("1", "true", "yes"))
    return None


def _start_request(body: bytes) -> Json:
    try:
        return json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return {}  # as pipecat's runner takes it


def _allow_origin(request: Request, response: Response) -> Response:
    origin = request.headers.get("origin")
    if origin is None:
        return response
    wanted = request.headers.get("access-control-request-headers", "*")
    headers = {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": "GET, POST, PATCH, OPTIONS",
        "Access-Control-Allow-Headers": wanted,
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin",
    }
    return attrs.evolve(response, headers={**response.headers, **headers})
