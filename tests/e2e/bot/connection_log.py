"""What the server saw of each WebSocket: `/seen`, an ASGI middleware, and no tokens in any log."""

import asyncio
import json
import logging
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from fastapi import FastAPI
from pipecat.frames.protobufs import frames_pb2
from starlette.websockets import WebSocket

MAX_RECORDED_MESSAGES = 1000
REDACTED = "<redacted>"
SECRET_HEADERS = ("authorization", "cookie")
TOKEN_IN_PATH = re.compile(r"(?<=/ws/)[^?\s]+|(?<=/ws-client/)[^?\s]+")
TOKEN_IN_URL = re.compile(rf"{TOKEN_IN_PATH.pattern}|(?<=[?&]token=)[^&\s]+")


@dataclass
class Connection:
    """One WebSocket connection as the server saw it. It never holds a token."""

    path: str
    query: dict[str, str]
    headers: dict[str, str | None]
    opened: bool = False
    close_code: int | None = None
    close_reason: str | None = None
    received: list[str] = field(default_factory=list)
    client_ready: dict[str, Any] = field(default_factory=dict)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def from_scope(cls, scope: dict[str, Any]) -> "Connection":
        """The connection an ASGI scope describes."""
        query = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
        if "token" in query:
            query["token"] = REDACTED
        headers: dict[str, str | None] = {"origin": None, "user-agent": None}
        for raw_name, raw_value in scope["headers"]:
            name = raw_name.decode("latin-1").lower()
            headers[name] = REDACTED if name in SECRET_HEADERS else raw_value.decode("latin-1")
        return cls(TOKEN_IN_PATH.sub(REDACTED, scope["path"]), query, headers)

    @property
    def mode(self) -> str:
        """The behaviour the client asked for."""
        return self.query.get("mode", "normal")

    def flag(self, name: str) -> bool:
        """Whether the query switches ``name`` on."""
        return self.query.get(name) == "1"

    def summary(self) -> dict[str, Any]:
        """This connection as `/seen` lists it."""
        names = ("path", "query", "mode", "opened", "close_code", "close_reason", "received")
        return {name: getattr(self, name) for name in names} | {"closed": self.gone.is_set()}

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
            message = rtvi_message(event.get("bytes"))
            if message and len(self.received) < MAX_RECORDED_MESSAGES:
                self.received.append(str(message.get("type")))
            if message and message.get("type") == "client-ready":
                self.client_ready = message.get("data") or {}


def rtvi_message(payload: bytes | None) -> dict[str, Any] | None:
    """The RTVI envelope inside a WebSocket message, if there is one."""
    with suppress(Exception):  # whatever a client sends, watching it must not end the session
        message = json.loads(frames_pb2.Frame.FromString(payload or b"").message.data)
        return message if isinstance(message, dict) else None
    return None


class ConnectionLog:
    """ASGI middleware that keeps a `Connection` for every WebSocket, accepted or not.

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

        connection = scope["e2e.connection"] = Connection.from_scope(scope)
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


def connection_of(websocket: WebSocket) -> Connection:
    """What the log keeps of an open WebSocket."""
    return websocket.scope["e2e.connection"]


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


def watch_connections(app: FastAPI) -> None:
    """Log every WebSocket connection of ``app``, and list them at `/seen`."""
    connections: list[Connection] = []
    app.add_middleware(ConnectionLog, connections=connections)
    for name in ("uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).addFilter(TokenFilter())

    @app.get("/seen")
    async def seen() -> list[dict[str, Any]]:
        """All WebSocket connections so far, open and finished, in the order they came."""
        return [connection.summary() for connection in connections]
