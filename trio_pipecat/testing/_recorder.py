"""Writing down a session: see `_recording` for the file that comes of it."""

import base64
import json
import logging
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self, TextIO, final

import trio

from .._messages import COMMAND_TYPES, EVENT_TYPES, BotInterrupted
from .._session import Session
from .._state import SessionEnd, State
from .._tap import Tap
from .._urls import scrub
from .._version import __version__
from .._wire import Json
from ..audio import AudioChunk
from ..audio._soundtrack import Soundtrack
from ..audio._stereo import BOT, USER
from ..transports import Incoming, Interruption, Undecodable
from ..video import VideoFrame
from ._recording import MAGIC, VERSION

logger: Final = logging.getLogger("trio_pipecat.testing")

#: What was written before is on its way to the disk when something is, after so many seconds.
_FLUSH_SECONDS: Final = 1
_KNOWN_TYPES: Final = {*EVENT_TYPES, *COMMAND_TYPES}
#: Nothing has gone over the link before these are passed.
_BEFORE_THE_FIRST_WORD: Final = frozenset(
    {State.IDLE, State.AUTHENTICATING, State.AUTHENTICATED, State.CONNECTING}
)


@final
class Recorder(Tap):
    """Writes down a session: messages and states to a file, sound to a WAV file beside it.

    Make one at the top of the block, before the first ``await``, and nothing is missed::

        async with open_session("sim:") as session:
            with Recorder(session, "call.jsonl"):
                ...

    It records until the session is over, goodbye included, and then closes its files by itself; so
    the ``with`` is optional, and leaving it does not stop the recording. What can't be written (the
    disk is full) ends the recording, never the session: it is in `error`, and raised on leaving the
    ``with``, if it has happened by then. `load_recording` reads the file.

    Nothing that the session knows to be secret (tokens, headers, what is in the query of an
    address, or under a key that says so in the start request and its answer) is written.

    Args:
        session: what to record.
        path: the file, overwritten if there is one. The sound goes beside it: for ``call.jsonl``,
            to ``call.wav``.
        sample_rate: the rate of the WAV file. By default that of the bot's first sound, so that it
            is kept as it is; the user's is converted to it.

    Raises:
        OSError: the file can't be written.
        ValueError: the file would be its own WAV file, or there is no such rate.
    """

    def __init__(
        self,
        session: Session,
        path: "str | os.PathLike[str]",
        *,
        sample_rate: int | None = None,
    ) -> None:
        self.path = Path(path)
        #: The WAV file. There is none while there was no sound.
        self.audio_path = self.path.with_suffix(".wav")
        if self.audio_path == self.path:
            raise ValueError(f"the sound goes to {self.path.name}; call the recording otherwise")
        self._sound = Soundtrack(self.audio_path, sample_rate)
        #: Why the recording has stopped before the session was over; None: it has not.
        self.error: OSError | None = None
        #: How many messages were written, and how many seconds of sound, by who said them.
        self.messages = {"client": 0, "bot": 0}
        self.audio_seconds = {"client": 0.0, "bot": 0.0}
        self._driver = session._driver
        history = session.history
        self._began = history[0][1]
        self._secrets: list[str] = []
        self._flushed = trio.current_time()
        # Closed at the end of the session, or by stop().
        self._file: TextIO | None = self.path.open("w", encoding="ascii", newline="\n")
        try:
            # A leftover of another call would be taken for this one's sound.
            self.audio_path.unlink(missing_ok=True)
        except OSError:
            self._file.close()
            raise
        self._write_header(complete=session.state in _BEFORE_THE_FIRST_WORD)
        self._flush()
        for state, at in history:
            self._write(at, state=str(state))
        self._learn_secrets()
        if session.end is None:
            self._driver.add_tap(self)
        else:
            self.finished(session.end, trio.current_time())

    def __repr__(self) -> str:
        state = "recording" if self._file is not None else "closed"
        return f"<Recorder {self.path}: {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: object, exc: BaseException | None, traceback: object) -> None:
        if self.error is not None and exc is None:
            raise self.error

    def stop(self) -> None:
        """Record no more, and close the files. The recording has no end then."""
        if self._file is not None:
            self._write(trio.current_time(), end=None)
            self._close()

    # -- what happens --

    def sent(self, item: Incoming, at: float) -> None:
        """The client has said something."""
        self._put("sent", "client", item, at)

    def received(self, item: Incoming, at: float) -> None:
        """The bot has said something."""
        self._put("received", "bot", item, at)

    def entered(self, state: State, at: float) -> None:
        """The session is in another state, and may know more secrets."""
        self._learn_secrets()
        self._write(at, state=str(state))

    def finished(self, end: SessionEnd, at: float) -> None:
        """The session is over: so is the recording."""
        error = None
        if end.error is not None:
            error = {"type": type(end.error).__name__, "text": self._show(str(end.error))}
        told = {
            "reason": end.reason,
            "first": end.first,
            "last_state": str(end.last_state),
            "code": end.code,
            "text": self._show(end.text),
            "error": error,
        }
        self._write(at, end=told)
        self._close()

    # -- lines --

    def _put(self, key: str, by: str, item: Incoming, at: float) -> None:
        if self._file is None:
            return
        try:
            match item:
                case str():
                    self.messages[by] += 1
                    what = self._message(key, item)
                    message = what[key]
                    if isinstance(message, dict) and message.get("type") == BotInterrupted.TYPE:
                        what |= self._cut(by, at)
                case VideoFrame():
                    return  # a recording has no place for pictures
                case AudioChunk():
                    what = {key: "audio", **self._audio(by, item, at)}
                case Interruption():
                    what = {key: "interruption", **self._cut(by, at)}
                case Undecodable():
                    raw = self._show(item.raw.decode("latin-1"))
                    what = {
                        key: "undecodable",
                        "detail": self._show(item.detail),
                        "raw": base64.b64encode(raw.encode("latin-1", "replace")).decode("ascii"),
                    }
        except OSError as error:
            self._give_up(error)
        else:
            self._write(at, **what)

    def _message(self, key: str, text: str) -> dict[str, Json]:
        try:
            message = json.loads(text)
            if isinstance(message, dict):
                shown = self._hide(message)
                if message.get("type") in _KNOWN_TYPES:  # which no secret can be
                    shown["type"] = message["type"]
                json.dumps(shown)
                return {key: shown}
        except (TypeError, ValueError, RecursionError):
            pass
        return {key: "text", "text": self._show(text)}

    def _hide(self, value: Json) -> Json:
        """Return a JSON value without secrets in its strings."""
        if not self._secrets:
            return value
        if isinstance(value, str):
            return self._show(value)
        if isinstance(value, list):
            return [self._hide(item) for item in value]
        if isinstance(value, dict):
            return {self._show(key): self._hide(item) for key, item in value.items()}
        return value

    def _show(self, text: str) -> str:
        return scrub(text, self._secrets) if self._secrets else text

    def _learn_secrets(self) -> None:
        secrets = self._driver.secrets()
        # As bytes that are no message may have them.
        secrets += [secret.encode("utf-8", "replace").decode("latin-1") for secret in secrets]
        self._secrets = sorted({secret for secret in secrets if len(secret) >= 4})

    def _write_header(self, *, complete: bool) -> None:
        ago = trio.current_time() - self._began
        began = datetime.fromtimestamp(time.time() - ago, UTC)
        self._write_line(
            {
                MAGIC: VERSION,
                "began": began.isoformat(timespec="milliseconds"),
                "library": __version__,
                "target": self._driver.plan.kind,
                "complete": complete,
                "audio": self.audio_path.name,
            }
        )

    def _write(self, at: float, **what: Any) -> None:
        now = trio.current_time()
        wall = time.time() - (now - at)
        self._write_line({"t": round(at - self._began, 6), "wall": round(wall, 6), **what})
        if now - self._flushed >= _FLUSH_SECONDS:
            self._flushed = now
            self._flush()

    def _write_line(self, line: dict[str, Json]) -> None:
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
        except OSError as error:
            self._give_up(error)

    def _flush(self) -> None:
        try:
            # The sound is there: a line whose sound is missing would be worse than the reverse.
            if self._file is not None:
                self._file.flush()
        except OSError as error:
            self._give_up(error)

    def _close(self) -> None:
        self._driver.remove_tap(self)
        file, self._file = self._file, None
        try:
            self._sound.close()
            if file is not None:
                file.close()
        except OSError as error:
            self.error = self.error or error
            logger.error("the recording %s is not whole: %s", self.path, error)
            if file is not None:
                _close_quietly(file)

    def _give_up(self, error: OSError) -> None:
        self.error = error
        self._close()

    # -- sound --

    def _audio(self, by: str, chunk: AudioChunk, at: float) -> dict[str, Json]:
        side = BOT if by == "bot" else USER
        placed = self._sound.place(side, chunk, at - self._began)
        self.audio_seconds[by] += placed.frames / chunk.sample_rate
        return {
            "rate": chunk.sample_rate,
            "channels": chunk.num_channels,
            "frames": placed.frames,
            "at_frame": placed.begin,
        }

    def _cut(self, by: str, at: float) -> dict[str, Json]:
        """The bot was interrupted: what has not sounded yet never will."""
        cut = self._sound.cut(BOT, at - self._began) if by == "bot" else None
        return {} if cut is None else {"cut_at": cut}


def _close_quietly(file: TextIO) -> None:
    try:
        file.close()
    except OSError as error:
        logger.debug("closing a recording failed: %s", error)
