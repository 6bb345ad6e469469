"""What a client that is being checked has sent, and what a server holds against it."""

import json
import re
from collections.abc import Iterator
from typing import Final

import attrs

from .._codec import MalformedCommand, decode_command
from .._errors import ProtocolError
from .._messages import RTVI_LABEL, BotReady, ClientReady
from .._wire import Json
from ..audio import AudioChunk
from ..transports import Incoming, Interruption, LinkEnd, Undecodable
from ..transports._wires import Wire

_VERSION: Final = re.compile(r"\d+\.\d+\.\d+")


@attrs.define
class Journal:
    """Everything that came over one connection."""

    #: What came, and whether the bot was ready then.
    came: list[tuple[Incoming, bool]] = attrs.field(factory=list)
    bot_ready: bool = False
    #: How the connection ended, as the server saw it.
    end: LinkEnd | None = None
    #: Was it the bot that broke it off?
    aborted: bool = False

    def problems(self) -> Iterator[str]:
        """Tell what is wrong with the messages, whatever the bot did."""
        ids: set[str] = set()
        first = True
        for item, bot_was_ready in self.came:
            match item:
                case str():
                    type_ = _type_of(item)
                    if first and type_ != ClientReady.TYPE:
                        yield f"its first message is {type_}, not client-ready"
                    elif not bot_was_ready and type_ != ClientReady.TYPE:
                        yield f"it sends {type_} before the bot is ready"
                    first = False
                    yield from _message_problems(item, ids)
                case AudioChunk() | Interruption():
                    if not bot_was_ready:
                        kind = "sound" if isinstance(item, AudioChunk) else "an interruption"
                        yield f"it sends {kind} before the bot is ready"
                case Undecodable():
                    yield f"it sends what can't be read: {item.detail}"


class TappedWire:
    """A wire that writes a journal of what comes, and notices when the bot is ready."""

    def __init__(self, wire: Wire, journal: Journal) -> None:
        self._wire = wire
        self._journal = journal

    def message(self, text: str) -> str | bytes:
        """Encode an RTVI message."""
        if f'"{BotReady.TYPE}"' in text:
            self._journal.bot_ready = True
        return self._wire.message(text)

    def audio(self, chunk: AudioChunk) -> str | bytes | None:
        """Encode audio."""
        return self._wire.audio(chunk)

    def interruption(self) -> bytes | None:
        """Encode the interruption signal."""
        return self._wire.interruption()

    def decode(self, data: str | bytes, *, at: float) -> Incoming | None:
        """Return what came."""
        item = self._wire.decode(data, at=at)
        if item is not None:
            self._journal.came.append((item, self._journal.bot_ready))
        return item

    def repeats_format(self, data: str | bytes) -> bool:
        """Nothing is left out of a journal."""
        return False


def _load(text: str) -> Json:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _type_of(text: str) -> object:
    raw = _load(text)
    return raw.get("type") if isinstance(raw, dict) else "no message"


def _message_problems(text: str, ids: set[str]) -> Iterator[str]:
    raw = _load(text)
    if not isinstance(raw, dict):
        yield f"it sends what is no JSON object: {text[:40]!r}"
        return
    type_, id_, data = raw.get("type"), raw.get("id"), raw.get("data")
    if raw.get("label") != RTVI_LABEL:
        yield f"the label of {type_} is {raw.get('label')!r}"
    if not isinstance(id_, str) or not id_:
        yield f"the id of {type_} is {id_!r}, not a string"
    elif id_ in ids:
        yield f"the id of {type_}, {id_!r}, was used before"
    else:
        ids.add(id_)
    if data is not None and not isinstance(data, dict):
        yield f"the data of {type_} is neither an object nor null"
    elif type_ == ClientReady.TYPE:
        yield from _ready_problems(data or {})
    elif isinstance(type_, str) and isinstance(id_, str):
        yield from _refusals(text)


def _ready_problems(data: dict[str, Json]) -> Iterator[str]:
    version, about = data.get("version"), data.get("about")
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        yield f"the version in client-ready is {version!r}, not three numbers"
    if not isinstance(about, dict) or not isinstance(about.get("library"), str):
        yield "the about in client-ready names no library"


def _refusals(text: str) -> Iterator[str]:
    """Tell what a bot would answer with an error-response."""
    try:
        received = decode_command(text)
    except ProtocolError:
        return
    if isinstance(received, MalformedCommand):
        yield f"a bot refuses {received.type}: {received.reason}"
