"""JSON text to messages and back, for both ends of the wire. No I/O, no state.

The contract: `decode_event` returns an event or raises `ProtocolError`, never anything else,
whatever the text; what is recognisable but wrong is a `MalformedMessage`. The same holds for
`decode_command`, which the bot's side uses, with `MalformedCommand`. Each ``encode_*`` is the exact
inverse.
"""

import json
from typing import Final

import attrs

from ._errors import ProtocolError
from ._messages import (
    COMMAND_TYPES,
    EVENT_TYPES,
    RTVI_LABEL,
    Answer,
    BotMessage,
    Command,
    MalformedMessage,
    UnknownMessage,
)
from ._wire import Json, from_json, to_json

#: How much of a text that is no message goes into the error about it.
_EXCERPT: Final = 60


@attrs.frozen(kw_only=True)
class MalformedCommand:
    """What a bot makes of a command it can't read: the answer it owes, or none without an `id`."""

    reason: str
    id: str | None = None
    type: str | None = None


def decode_event(text: str | bytes, *, at: float) -> BotMessage:
    """Make an event of what the bot sent. `at` is when it came, on trio's clock.

    Raises:
        ProtocolError: the text is not JSON.
    """
    raw = _load(text)
    if not isinstance(raw, dict):
        return MalformedMessage(reason="not a JSON object", raw=raw, at=at)
    type_ = raw.get("type")
    if not isinstance(type_, str):
        return MalformedMessage(reason="no type", raw=raw, at=at)
    if raw.get("label") != RTVI_LABEL:
        return MalformedMessage(reason="not labelled rtvi-ai", type=type_, raw=raw, at=at)
    cls = EVENT_TYPES.get(type_)
    if cls is None:
        return UnknownMessage(type=type_, data=raw.get("data"), raw=raw, at=at)
    try:
        if issubclass(cls, Answer):
            # A bot that calls set_bot_ready by hand sends an empty id.
            id_ = raw.get("id") or ""
            if not isinstance(id_, str):
                return MalformedMessage(reason="id is no string", type=type_, raw=raw, at=at)
            return from_json(cls, raw.get("data"), raw=raw, at=at, id=id_)
        return from_json(cls, raw.get("data"), raw=raw, at=at)
    except (TypeError, RecursionError) as error:
        return MalformedMessage(reason=str(error), type=type_, raw=raw, at=at)


def encode_event(event: BotMessage) -> str:
    """Return the JSON text of an event, as a bot sends it."""
    if isinstance(event, UnknownMessage):
        return _dump(event.type, event.data)
    return _dump(event.TYPE, _to_json(event), id_=event.id if isinstance(event, Answer) else None)


def decode_command(text: str | bytes) -> tuple[str, Command] | MalformedCommand | None:
    """Make a command of what a client sent, with its id. None: not an RTVI message, to be ignored.

    Raises:
        ProtocolError: the text is not JSON.
    """
    raw = _load(text)
    if not isinstance(raw, dict) or raw.get("label") != RTVI_LABEL:
        return None
    type_, id_, data = raw.get("type"), raw.get("id"), raw.get("data")
    if not isinstance(type_, str) or not isinstance(id_, str):
        return MalformedCommand(reason="Invalid RTVI transport message: type and id are strings")
    if data is not None and not isinstance(data, dict):
        return MalformedCommand(reason="Invalid RTVI transport message: data is an object")
    cls = COMMAND_TYPES.get(type_)
    if cls is None:
        return MalformedCommand(reason=f"Unsupported type {type_}", id=id_, type=type_)
    try:
        return id_, from_json(cls, data)
    except (TypeError, RecursionError) as error:
        return MalformedCommand(reason=f"Invalid message: {error}", id=id_, type=type_)


def encode_command(command: Command, id_: str) -> str:
    """Return the JSON text of a command, as a client sends it.

    Raises:
        ValueError: the command holds what JSON can't carry (NaN, a lone surrogate…).
    """
    return encode_data(command.TYPE, _to_json(command), id_)


def encode_data(type_: str, data: Json, id_: str) -> str:
    """Return the JSON text of a message that need not be one we know.

    Raises:
        ValueError: `data` holds what JSON can't carry.
    """
    return _dump(type_, data, id_=id_)


def _load(text: str | bytes) -> Json:
    try:
        # NaN and Infinity are let in: the server does not keep them out.
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        excerpt = text[:_EXCERPT]
        dots = "…" if len(text) > _EXCERPT else ""
        raise ProtocolError(f"not JSON ({type(error).__name__}): {excerpt!r}{dots}") from error


def _to_json(message: BotMessage | Command) -> Json:
    try:
        return to_json(message)
    except RecursionError as error:
        raise ValueError(f"{message.TYPE}: nested too deep for JSON") from error


def _dump(type_: str, data: Json, *, id_: str | None = None) -> str:
    envelope: dict[str, Json] = {"label": RTVI_LABEL, "type": type_}
    if id_ is not None:
        envelope["id"] = id_
    if data is not None:
        envelope["data"] = data
    try:
        text = json.dumps(envelope, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{type_}: JSON can't carry this: {error}") from error
    return text
