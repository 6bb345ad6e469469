"""Every error of the package, in one tree.

::

    PipecatError
    ├── InvalidParamsError           the caller's parameters can't work (also a ValueError)
    ├── StartBotError                the start endpoint did not start a bot
    ├── TransportStartError          the link could not be opened
    ├── ReadyTimeoutError            the link is up, but the bot never said it is ready
    ├── BotNotReadyError             something was sent before the bot was ready
    ├── SessionEndedError            the session is over
    │   ├── ConnectionLostError      ... because the link broke or was closed with an error
    │   ├── FatalBotError            ... because the bot reported a fatal error
    │   └── SlowReaderError          ... because a reader let its stream overflow
    ├── RequestError                 the bot answered a request with an error
    ├── RequestTimeoutError          the bot did not answer a request in time
    ├── UploadError                  a file was not accepted
    ├── UnsupportedFeatureError      this bot, transport or installation can't do that
    ├── MessageTooLargeError         a message is larger than the link carries
    ├── ProtocolError                bytes that are not what the wire promises
    ├── DeviceError                  a microphone or speaker
    ├── RecordingError               a file that is no recording, or not a whole one
    ├── WavError                     a file that is no WAV file, or none that can be read
    └── InternalError                a bug of ours; please report it

Errors carry facts as attributes; `str()` puts them into one line. None of them holds a token, a
header or a URL's query. All can be copied and pickled.
"""

import attrs

from ._state import SessionEnd, State


class PipecatError(Exception):
    """The base of every error that this package raises on purpose."""


def _one_line(words: str) -> str:
    """What others wrote, servers above all, may hold line breaks."""
    return " ".join(words.split())


@attrs.define(eq=False)
class InvalidParamsError(PipecatError, ValueError):
    """The parameters can't work, whatever the network does: nothing was tried."""

    detail: str

    def __str__(self) -> str:
        return self.detail


@attrs.define(eq=False)
class StartBotError(PipecatError):
    """The start endpoint did not start a bot, or its answer can't be used.

    `status` is the HTTP status, None if there was no answer; `detail` is the server's own words
    where it had any; `retry_after` is the server's advice in seconds.
    """

    detail: str
    status: int | None = None
    retry_after: float | None = None

    def __str__(self) -> str:
        status = "" if self.status is None else f"HTTP {self.status}: "
        retry = "" if self.retry_after is None else f" (retry after {self.retry_after:g} s)"
        return f"the bot was not started: {status}{_one_line(self.detail)}{retry}"


@attrs.define(eq=False)
class TransportStartError(PipecatError):
    """The link to the bot could not be opened.

    `stage` is where it failed (``resolve``, ``connect``, ``tls``, ``upgrade``…), `status` the HTTP
    status of a refused upgrade.
    """

    stage: str
    detail: str
    status: int | None = None

    def __str__(self) -> str:
        status = "" if self.status is None else f"HTTP {self.status}: "
        return f"no link to the bot ({self.stage}): {status}{_one_line(self.detail)}"


@attrs.define(eq=False)
class ReadyTimeoutError(PipecatError):
    """The link was up, but *bot-ready* did not come within `timeout` seconds.

    `last_message` is the type of the last message that did come (None: not one), `received` how
    many there were.
    """

    timeout: float
    stage: State
    last_message: str | None = None
    received: int = 0

    def __str__(self) -> str:
        seen = (
            "it sent nothing"
            if self.last_message is None
            else f"of {self.received} messages the last was {self.last_message!r}"
        )
        return f"the bot was not ready after {self.timeout:g} s in state {self.stage}: {seen}"


@attrs.define(eq=False)
class BotNotReadyError(PipecatError):
    """Something was sent before the bot was ready. Await `Session.wait_ready` first."""

    state: State

    def __str__(self) -> str:
        return f"the bot is not ready (state {self.state}); await session.wait_ready() first"


@attrs.define(eq=False)
class SessionEndedError(PipecatError):
    """The session is over; `end` says how."""

    end: SessionEnd

    def __str__(self) -> str:
        return f"the session has ended: {attrs.evolve(self.end, error=None)}"


@attrs.define(eq=False)
class ConnectionLostError(SessionEndedError):
    """The link broke, fell silent, or was closed with an error code."""

    detail: str = ""

    def __str__(self) -> str:
        code = "" if self.end.code is None else f" (close code {self.end.code})"
        text = f": {self.end.text}" if self.end.text else ""
        where = f"in state {self.end.last_state}{code}"
        return f"the link to the bot was lost {where}: {_one_line(self.detail + text)}"


@attrs.define(eq=False)
class FatalBotError(SessionEndedError):
    """The bot reported an error that it called fatal; `error` is its text."""

    error: str = ""

    def __str__(self) -> str:
        return f"the bot failed: {_one_line(self.error)}"


@attrs.define(eq=False)
class SlowReaderError(SessionEndedError):
    """A reader let `limit` unread events pile up, and events never drop; `reader` names it."""

    reader: str = ""
    limit: int = 0

    def __str__(self) -> str:
        return f"too many unread events (over {self.limit}) in {self.reader}"


@attrs.define(eq=False)
class RequestError(PipecatError):
    """The bot answered the request `t` with an error; `error` is its text."""

    t: str
    error: str

    def __str__(self) -> str:
        return f"the bot refused {self.t!r}: {_one_line(self.error)}"


@attrs.define(eq=False)
class RequestTimeoutError(PipecatError):
    """The bot did not answer the request `t` within `timeout` seconds."""

    t: str
    timeout: float

    def __str__(self) -> str:
        return f"the bot did not answer {self.t!r} within {self.timeout:g} s"


@attrs.define(eq=False)
class UploadError(PipecatError):
    """The server did not take a file. `status` is the HTTP status, None if there was no answer."""

    detail: str
    status: int | None = None

    def __str__(self) -> str:
        status = "" if self.status is None else f"HTTP {self.status}: "
        return f"the file was not uploaded: {status}{_one_line(self.detail)}"


@attrs.define(eq=False)
class UnsupportedFeatureError(PipecatError):
    """This bot, transport or installation can't do `feature`; `needs` says what it takes."""

    feature: str
    needs: str

    def __str__(self) -> str:
        return f"{self.feature} needs {self.needs}"


@attrs.define(eq=False)
class MessageTooLargeError(PipecatError):
    """A message of `size` bytes does not fit the link's `limit`. Nothing of it was sent."""

    size: int
    limit: int

    def __str__(self) -> str:
        return f"a message of {self.size} bytes is over the limit of {self.limit}"


@attrs.define(eq=False)
class ProtocolError(PipecatError):
    """Bytes or messages that are not what the wire promises."""

    detail: str

    def __str__(self) -> str:
        return self.detail


@attrs.define(eq=False)
class DeviceError(PipecatError):
    """A microphone or speaker can't be used."""

    device: str
    detail: str

    def __str__(self) -> str:
        return _one_line(f"{self.device}: {self.detail}")


@attrs.define(eq=False)
class RecordingError(PipecatError):
    """A file is no recording, or not a whole one. `line` says where; None: it is the sound."""

    path: str
    line: int | None
    detail: str

    def __str__(self) -> str:
        line = "" if self.line is None else f", line {self.line}"
        return f"{self.path}{line}: {_one_line(self.detail)}"


@attrs.define(eq=False)
class WavError(PipecatError):
    """A file is no WAV file, or none that can be read. `offset` is the byte that says so."""

    path: str
    offset: int
    detail: str

    def __str__(self) -> str:
        return f"{self.path}, byte {self.offset}: {_one_line(self.detail)}"


@attrs.define(eq=False)
class InternalError(PipecatError):
    """A bug in trio_pipecat. Please report it, with the traceback of its cause."""

    detail: str

    def __str__(self) -> str:
        return f"a bug in trio_pipecat, please report it: {_one_line(self.detail)}"
