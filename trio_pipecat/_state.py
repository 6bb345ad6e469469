"""The lifecycle of a session as data: its states, their order, and how it ended.

Everything that decides which state may follow which lives in this file, as a table; the diagram in
the documentation is drawn from it. Nothing here waits or does I/O.
"""

from enum import StrEnum
from typing import Literal, TypeAlias

import attrs


class State(StrEnum):
    """Where a session is.

    `READY` is entered when the bot's *bot-ready* message arrives, never before: it means that the
    bot's pipeline runs, and it is the gate before which nothing is sent.
    """

    IDLE = "idle"
    AUTHENTICATING = "authenticating"
    AUTHENTICATED = "authenticated"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    READY = "ready"
    DISCONNECTING = "disconnecting"
    DISCONNECTED = "disconnected"


#: Which states may follow which. A link that is lost, and a start that fails, need no goodbye, so
#: every state but the last may go straight to `DISCONNECTED`.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.IDLE: frozenset(
        {State.AUTHENTICATING, State.CONNECTING, State.DISCONNECTING, State.DISCONNECTED}
    ),
    State.AUTHENTICATING: frozenset({State.AUTHENTICATED, State.DISCONNECTING, State.DISCONNECTED}),
    State.AUTHENTICATED: frozenset({State.CONNECTING, State.DISCONNECTING, State.DISCONNECTED}),
    State.CONNECTING: frozenset({State.CONNECTED, State.DISCONNECTING, State.DISCONNECTED}),
    State.CONNECTED: frozenset({State.READY, State.DISCONNECTING, State.DISCONNECTED}),
    State.READY: frozenset({State.DISCONNECTING, State.DISCONNECTED}),
    State.DISCONNECTING: frozenset({State.DISCONNECTED}),
    State.DISCONNECTED: frozenset(),
}

_WAY_UP = (
    State.IDLE,
    State.AUTHENTICATING,
    State.AUTHENTICATED,
    State.CONNECTING,
    State.CONNECTED,
    State.READY,
)
_WAY_DOWN = (State.DISCONNECTING, State.DISCONNECTED)


def reached_by(state: State) -> tuple[State, ...]:
    """Return the states that count as reached once `state` is entered, itself included.

    A state that was skipped on the way up counts: a direct connection passes *authenticating* by.
    A session that fails has not passed *ready* by.
    """
    way = _WAY_UP if state in _WAY_UP else _WAY_DOWN
    return way[: way.index(state) + 1]


EndReason: TypeAlias = Literal[
    "client", "bot", "fatal_error", "connection_lost", "startup_failed", "cancelled"
]
#: Who ended the session first. ``network`` is neither: the link broke without a goodbye.
Side: TypeAlias = Literal["client", "bot", "network"]


@attrs.frozen(kw_only=True)
class SessionEnd:
    """How a session ended, as a value. Still there after the block.

    `reason` says what happened; `code` and `text` are what the link was closed with (on WebSocket
    the close code and its reason; None where the link was never up). Code 1000 alone proves little:
    pipecat closes with it when the bot is done, when it was cancelled, and when it could not read
    what we sent.
    """

    reason: EndReason
    last_state: State
    first: Side
    code: int | None = None
    text: str = ""
    error: BaseException | None = None

    def __str__(self) -> str:
        closed = "" if self.code is None else f", closed with {self.code}"
        text = f" {self.text!r}" if self.text else ""
        error = "" if self.error is None else f": {self.error}"
        return (
            f"{self.reason} in state {self.last_state} (first: {self.first}{closed}{text}){error}"
        )
