"""The bot's half of RTVI, without I/O: the other side of `_protocol`, as pipecat 1.14 plays it."""

from typing import Final

import attrs

from .._codec import MalformedCommand, decode_command, encode_event
from .._errors import ProtocolError
from .._messages import (
    RTVI_VERSION,
    AppendToContext,
    BotMessage,
    BotReady,
    Capabilities,
    ClientReady,
    Command,
    Error,
    ErrorResponse,
)
from .._protocol import parse_version
from .._version import __version__
from .._wire import replace

CAPABILITIES: Final = Capabilities(
    audio_in=True, audio_out=True, video_in=False, screen_in=False, video_out=False, metrics=False
)


@attrs.frozen
class Received:
    """What a client's message comes to: a command to obey, or texts to send back, or neither."""

    id: str = ""
    command: Command | None = None
    replies: tuple[str, ...] = ()


class BotProtocol:
    """One connection's half. It reads commands, and gives the answers that the protocol owes."""

    def __init__(self, *, version: str = RTVI_VERSION) -> None:
        self.version = version
        self.client_ready: ClientReady | None = None
        self._hello_id = ""

    @property
    def client_version(self) -> tuple[int, int, int]:
        """What the client speaks; 0.0.0 while it has not said."""
        ready = self.client_ready
        return (ready and parse_version(ready.version)) or (0, 0, 0)

    def sends(self, major: int, minor: int) -> bool:
        """Is this a server of RTVI `major`.`minor`, or a later one?"""
        return (parse_version(self.version) or (0, 0, 0)) >= (major, minor, 0)

    @property
    def word_by_word(self) -> bool:
        """Is what is said told as RTVI 1 has it, each word a message?"""
        return self.client_version[0] == 1 or not self.sends(2, 0)

    def receive(self, text: str) -> Received:
        """Say what a client's message means."""
        try:
            received = decode_command(text)
        except ProtocolError:
            return Received()  # pipecat logs it and goes on
        if received is None:
            return Received()
        if isinstance(received, MalformedCommand):
            return self._refuse(received)
        id_, command = received
        if isinstance(command, AppendToContext):  # gone from pipecat
            return Received(replies=self._complain(id_, f"Unsupported type {command.TYPE}"))
        if not isinstance(command, ClientReady):
            return Received(id_, command)
        self._hello_id = id_
        self.client_ready = command
        return Received(id_, command, self._complain(id_, self._problem(command.version)))

    def _refuse(self, malformed: MalformedCommand) -> Received:
        if malformed.id is None:
            return Received(replies=(encode_event(Error(error=malformed.reason)),))
        if malformed.type != ClientReady.TYPE:
            return Received(replies=self._complain(malformed.id, malformed.reason))
        # A client-ready without a version gets its bot-ready all the same.
        self._hello_id = malformed.id
        replies = self._complain(malformed.id, "Client version unknown.")
        return Received(malformed.id, ClientReady(version=""), replies)

    def _complain(self, id_: str, problem: str | None) -> tuple[str, ...]:
        if problem is None:
            return ()
        return (encode_event(ErrorResponse(id=id_, error=problem)),)

    def ready(self, *, video: bool = False) -> str:
        """The answer to ``client-ready``. A 1.x client is told its own version."""
        sees = {"video_in": video, "screen_in": video, "video_out": video}
        theirs = self.client_ready
        echoed = theirs is not None and self.client_version[0] == 1 and self.sends(2, 0)
        return self.send(
            BotReady(
                id=self._hello_id,
                version=theirs.version if theirs is not None and echoed else self.version,
                about={"library": "trio-pipecat simulated bot", "library_version": __version__},
                capabilities=replace(CAPABILITIES, **sees) if self.sends(2, 2) else None,
            )
        )

    def send(self, event: BotMessage) -> str:
        """Encode an event."""
        return encode_event(event)

    def _problem(self, version: str) -> str | None:
        parsed = parse_version(version)
        if parsed is None:
            return "Invalid client version format"
        ours, *_ = parse_version(self.version) or (0,)
        if parsed[0] != ours and not (parsed[0] == 1 and ours == 2):
            return f"RTVI version {version} is not compatible. Compatibility issues may occur."
        return None
