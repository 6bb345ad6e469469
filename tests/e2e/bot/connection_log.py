"""What the server saw of each connection: `/seen`, and no tokens in any log.

WebSockets are watched by an ASGI middleware, peer connections by their events.
"""

import asyncio
import json
import logging
import re
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from aiortc import RTCDataChannel, RTCPeerConnection
from fastapi import FastAPI
from pipecat.frames.protobufs import frames_pb2
from pipecat.runner.types import SmallWebRTCRunnerArguments, WebSocketRunnerArguments
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection

MAX_RECORDED_MESSAGES = 1000
REDACTED = "<redacted>"
SECRET_HEADERS = ("authorization", "cookie")
TOKEN_IN_PATH = re.compile(r"(?<=/ws/)[^?\s]+|(?<=/ws-client/)[^?\s]+")
TOKEN_IN_URL = re.compile(rf"{TOKEN_IN_PATH.pattern}|(?<=[?&]token=)[^&\s]+")


@dataclass
class Connection:
    """One connection as the server saw it. It never holds a token.

    What the client asked of the bot is the query of a WebSocket, and the ``request_data`` of a
    WebRTC offer.
    """

    query: dict[str, str]
    headers: dict[str, str | None] = field(default_factory=dict)
    received: list[str] = field(default_factory=list)
    client_ready: dict[str, Any] = field(default_factory=dict)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def mode(self) -> str:
        """The behaviour the client asked for."""
        return self.query.get("mode", "normal")

    def flag(self, name: str) -> bool:
        """Whether the query switches ``name`` on."""
        return self.query.get(name) == "1"

    def note_message(self, message: dict[str, Any] | None) -> None:
        """Remember an RTVI message from the client."""
        if message and len(self.received) < MAX_RECORDED_MESSAGES:
            self.received.append(str(message.get("type")))
        if message and message.get("type") == "client-ready":
            self.client_ready = message.get("data") or {}

    def summary(self) -> dict[str, Any]:
        """This connection as `/seen` lists it."""
        names = ("query", "mode", "received")
        return {name: getattr(self, name) for name in names} | {"closed": self.gone.is_set()}


# -- WebSocket ---------------------------------------------------------------------------------


@dataclass(kw_only=True)
class WebSocketLink(Connection):
    """A WebSocket, accepted or not."""

    path: str
    opened: bool = False
    close_code: int | None = None
    close_reason: str | None = None

    @classmethod
    def from_scope(cls, scope: dict[str, Any]) -> "WebSocketLink":
        """The connection an ASGI scope describes."""
        query = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
        if "token" in query:
            query["token"] = REDACTED
        headers: dict[str, str | None] = {"origin": None, "user-agent": None}
        for raw_name, raw_value in scope["headers"]:
            name = raw_name.decode("latin-1").lower()
            headers[name] = REDACTED if name in SECRET_HEADERS else raw_value.decode("latin-1")
        return cls(query, headers, path=TOKEN_IN_PATH.sub(REDACTED, scope["path"]))

    def summary(self) -> dict[str, Any]:
        """With how the WebSocket was closed."""
        names = ("path", "opened", "close_code", "close_reason")
        return super().summary() | {name: getattr(self, name) for name in names}

    def note(self, event: dict[str, Any]) -> None:
        """Remember what an ASGI event from the client says."""
        if event["type"] == "websocket.disconnect":
            if self.opened:  # uvicorn makes up a code for a connection it refused
                self.close_code, self.close_reason = event.get("code"), event.get("reason")
            # uvicorn calls a connection lost without a close frame 1005, the code of a close
            # frame without a code. Only the missing reason tells the two apart.
            if self.close_code == 1005 and self.close_reason is None:
                self.close_code = 1006
            self.gone.set()
        elif event["type"] == "websocket.receive":
            self.note_message(rtvi_message(event.get("bytes")))


def rtvi_message(payload: bytes | None) -> dict[str, Any] | None:
    """The RTVI envelope inside a WebSocket message, if there is one."""
    with suppress(Exception):  # whatever a client sends, watching it must not end the session
        message = json.loads(frames_pb2.Frame.FromString(payload or b"").message.data)
        return message if isinstance(message, dict) else None
    return None


class WebSocketWatch:
    """ASGI middleware that keeps a `WebSocketLink` for every WebSocket, accepted or not.

    It reads ahead of the application, so it sees a client leave even while the bot does not read
    (hang, slow) or no longer runs (crash).
    """

    def __init__(self, app, connections: list[Connection]):
        self._app = app
        self._connections = connections
        self._pumps: set[asyncio.Task] = set()

    async def __call__(self, scope, receive, send):
        """Run the application with an observed ``receive`` and ``send``."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return

        connection = scope["e2e.connection"] = WebSocketLink.from_scope(scope)
        self._connections.append(connection)
        inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

        async def pump():
            while not connection.gone.is_set():
                event = await receive()
                connection.note(event)
                inbox.put_nowait(event)

        async def watched_send(event):
            connection.opened |= event["type"] == "websocket.accept"
            await send(event)

        task = asyncio.create_task(pump())
        self._pumps.add(task)
        task.add_done_callback(self._pumps.discard)
        await self._app(scope, inbox.get, watched_send)


# -- WebRTC ------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class PeerLink(Connection):
    """A peer connection, through every restart of it."""

    states: list[str] = field(default_factory=list)
    #: What the client said of its microphone (0), camera (1) and screen (2): index, on or off.
    track_statuses: list[tuple[int, bool]] = field(default_factory=list)
    pings: int = 0
    #: How many offers came for a peer connection that there was.
    renegotiations: int = 0
    #: Whether it was closed with a word, of either side's: the data channel goes before the rest.
    goodbye: bool = False
    session_id: str | None = None
    _peer: RTCPeerConnection | None = None

    @classmethod
    def from_arguments(cls, args: SmallWebRTCRunnerArguments) -> "PeerLink":
        """The connection that an offer asked for, watched from now on."""
        body = args.body if isinstance(args.body, dict) else {}
        query = {name: str(value) for name, value in body.items()}
        link = cls(query, session_id=args.session_id)
        link._watch(args.webrtc_connection)
        return link

    def summary(self) -> dict[str, Any]:
        """With the states it went through, and what beside messages came."""
        names = ("states", "track_statuses", "pings", "renegotiations", "goodbye", "session_id")
        return super().summary() | {name: getattr(self, name) for name in names}

    def _watch(self, connection: SmallWebRTCConnection) -> None:
        for state in ("connecting", "connected", "disconnected", "failed", "closed"):
            connection.add_event_handler(state, partial(self._note_state, state))
        connection.add_event_handler("track-status", self._note_track_status)
        self._watch_peer(connection)

    def _watch_peer(self, connection: SmallWebRTCConnection) -> None:
        peer = connection.pc
        if peer is not self._peer:  # a restart replaces it
            self._peer = peer
            peer.on("datachannel", partial(self._watch_channel, peer))
            peer.on("signalingstatechange", partial(self._note_signalling, peer))

    def _watch_channel(self, peer: RTCPeerConnection, channel: RTCDataChannel) -> None:
        # Not the connection's app-message: it waits until the bot is there, which it may never be.
        @channel.on("message")
        def note(payload: str | bytes) -> None:
            if isinstance(payload, str) and payload.startswith("ping"):
                self.pings += 1
                return
            with suppress(ValueError):
                message = json.loads(payload)
                if isinstance(message, dict) and message.get("type") != "signalling":
                    self.note_message(message)

        @channel.on("close")
        def note_close() -> None:
            self.goodbye = peer.connectionState == "connected"

    def _note_signalling(self, peer: RTCPeerConnection) -> None:
        # The first offer was answered before the bot came to be.
        if peer.signalingState == "have-remote-offer" and peer.connectionState == "connected":
            self.renegotiations += 1

    def _note_state(self, state: str, connection: SmallWebRTCConnection) -> None:
        self.states.append(state)
        self._watch_peer(connection)
        if state == "closed":
            self.gone.set()

    def _note_track_status(
        self, connection: SmallWebRTCConnection, index: int, enabled: bool
    ) -> None:
        self.track_statuses.append((index, enabled))


# -- both --------------------------------------------------------------------------------------


class TokenFilter(logging.Filter):
    """Takes tokens out of the URLs in log records."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record; never drop it."""
        if isinstance(record.args, tuple):
            record.args = tuple(
                TOKEN_IN_URL.sub(REDACTED, arg) if isinstance(arg, str) else arg
                for arg in record.args
            )
        return True


class ConnectionLog:
    """Every connection so far, open and finished, in the order they came."""

    def __init__(self) -> None:
        self._connections: list[Connection] = []

    def watch(self, app: FastAPI) -> None:
        """Log every connection of ``app``, and list them at `/seen`."""
        app.add_middleware(WebSocketWatch, connections=self._connections)
        for name in ("uvicorn.error", "uvicorn.access"):
            logging.getLogger(name).addFilter(TokenFilter())

        @app.get("/seen")
        async def seen() -> list[dict[str, Any]]:
            return [connection.summary() for connection in self._connections]

    def connection_of(
        self, args: WebSocketRunnerArguments | SmallWebRTCRunnerArguments
    ) -> Connection:
        """What is kept of the connection that Pipecat's runner runs a bot for."""
        if isinstance(args, WebSocketRunnerArguments):
            return args.websocket.scope["e2e.connection"]
        link = PeerLink.from_arguments(args)
        self._connections.append(link)
        return link
