"""The session's own events: what happens in a session and is no message of the bot.

They come in the same streams as the bot's messages, in the order in which things happened. Their
`raw` is None.
"""

from typing import Any

import attrs

from ._messages import BotReady, Event
from ._state import SessionEnd, State
from ._wire import Json, record


@record
class StateChanged(Event):
    """The session entered `state`."""

    state: State
    previous: State


@record
class BotStarted(Event):
    """The start endpoint answered. `answer` is what it said, its token left out."""

    answer: Json


@record
class Connected(Event):
    """The link is open."""


@record
class BotConnected(Event):
    """The bot gave its first sign of life: a message, sound, or a picture."""


@record
class AudioStarted(Event):
    """The bot's audio came for the first time, or came in another format than before."""

    sample_rate: int
    num_channels: int


@record
class ConnectionRestarted(Event):
    """Another connection carries the session, and the bot is ready on it; `bot` is what it said.

    It follows the `BotReady`. A server that had lost the bot has started another one.
    """

    bot: BotReady


@record
class ProtocolMismatch(Event):
    """The bot does not speak our protocol. The session goes on, and may not understand all.

    `ours` is the version this package speaks, `bot` the bot's own (None if it said none), `detail`
    what is wrong, in the server's words where it complained.
    """

    ours: str
    bot: str | None
    detail: str


@record
class FunctionCallUnanswerable(Event):
    """The bot calls a function and handlers are registered, but the call came without its name.

    Servers hide names by default; the bot's RTVI function-call report level has to be ``arguments``
    or ``full``.
    """

    tool_call_id: str


@record
class BotDisconnected(Event):
    """The bot is gone: it left, failed, or its link broke; `end` says which."""

    end: SessionEnd = attrs.field(repr=str)


@record
class Disconnected(Event):
    """The session is over. Nothing comes after this event."""

    end: SessionEnd = attrs.field(repr=str)


@record
class EventsSkipped(Event):
    """The body began to read the session's events so late that the first `count` were not kept."""

    count: int


#: Everything above, for the exports.
SESSION_EVENTS: tuple[type[Any], ...] = (
    StateChanged,
    BotStarted,
    Connected,
    BotConnected,
    AudioStarted,
    ConnectionRestarted,
    EventsSkipped,
    ProtocolMismatch,
    FunctionCallUnanswerable,
    BotDisconnected,
    Disconnected,
)
