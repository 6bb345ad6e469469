"""A session's sound as one stereo WAV file, with marks: `WavRecorder`."""

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self, final

import trio

from ._codec import decode_command
from ._messages import (
    BotInterrupted,
    BotOutput,
    BotReady,
    BotStartedSpeaking,
    BotStoppedSpeaking,
    Error,
    ErrorResponse,
    Event,
    LlmFunctionCallInProgress,
    SendText,
    UserInput,
    UserMuteStarted,
    UserMuteStopped,
    UserStartedSpeaking,
    UserStoppedSpeaking,
    UserTranscription,
)
from ._session import Session
from ._state import SessionEnd, State
from ._tap import Tap
from ._urls import scrub
from .audio import AudioChunk
from .audio._resample import load_engine
from .audio._soundtrack import Soundtrack
from .audio._stereo import BOT, USER
from .transports import Incoming

logger: Final = logging.getLogger("trio_pipecat")

#: What of the text is put into a mark, before it is cut to the bytes that one has.
_MAX_TEXT: Final = 200
_WORDS: Final = ("word", "token")


@final
class WavRecorder(Tap):
    """Records the sound of a session to a stereo WAV file: the user left, the bot right.

    Make one at the top of the block, before the first ``await``, and nothing is missed::

        async with open_session("sim:") as session:
            WavRecorder(session, "call.wav")
            ...

    Each sample is where it was heard: a chunk that comes while the one before still sounds follows
    it, one that comes later leaves a gap, and what had not sounded when the bot was interrupted, or
    when the session was over, is not there. The file's time is the session's, counted in samples:
    it does not drift. Marks (cue points, with labels) say when the session entered a state, who
    began and stopped to speak, what was said and written, and what went wrong. The secrets that the
    session knows (tokens, headers…) are taken out of them.

    It records until the session is over and then closes the file by itself; so a ``with`` is
    optional, and leaving it does not stop the recording. What can't be written (the disk is full,
    or the file has 4 GB, which are 12 hours at 24000 Hz) ends the recording, never the session: it
    is in `error`, and raised on leaving the ``with``, if it has happened by then.

    All is written at once, by the task that sends or receives: some kilobytes for each chunk, to
    the system's memory, as a rule in microseconds. A process that is killed leaves a whole file.

    Args:
        session: what to record.
        path: the file, overwritten if there is one.
        sample_rate: the rate of the file. By default that of the bot's first sound, which is
            written as it is; the user's is converted to it.

    Raises:
        OSError: the file can't be written.
        TypeError: the rate is no integer.
        ValueError: the rate is not from 1000 to 192000 Hz.
    """

    def __init__(
        self,
        session: Session,
        path: "str | os.PathLike[str]",
        *,
        sample_rate: int | None = None,
    ) -> None:
        self.path = Path(path)
        #: Why the recording has stopped before the session was over; None: it has not.
        self.error: OSError | None = None
        self._driver = session._driver
        history = session.history
        self._began = history[0][1]
        self._secrets: list[str] = []
        self._heard_input = False
        self._sound = Soundtrack(self.path, sample_rate, cues=True)
        # What it imports takes a moment, which is cheaper now than when the bot begins to speak.
        load_engine()
        self._sound.open()
        self._recording = True
        for state, at in history:
            self.entered(state, at)
        if session.end is None:
            self._driver.add_tap(self)
        else:
            self.finished(session.end, trio.current_time())

    def __repr__(self) -> str:
        state = "recording" if self._recording else "closed"
        return f"<WavRecorder {self.path}: {state}, {self.seconds:.1f} s>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: object, exc: BaseException | None, traceback: object) -> None:
        if self.error is not None and exc is None:
            raise self.error

    @property
    def seconds(self) -> float:
        """How long the file is."""
        return self._sound.seconds

    def stop(self) -> None:
        """Record no more, and close the file."""
        self._end(trio.current_time())

    # -- what happens --

    def sent(self, item: Incoming, at: float) -> None:
        """The client has said something."""
        if isinstance(item, AudioChunk):
            self._do(self._place, USER, item, at - self._began)
        elif isinstance(item, str) and SendText.TYPE in item:
            decoded = decode_command(item)
            if isinstance(decoded, tuple) and isinstance(decoded[1], SendText):
                self._mark(at, SendText.TYPE, decoded[1].content)

    def received(self, item: Incoming, at: float) -> None:
        """The bot has said something."""
        if isinstance(item, AudioChunk):
            self._do(self._place, BOT, item, at - self._began)

    def happened(self, event: Event) -> None:
        """What is worth a mark gets one."""
        match event:
            case BotInterrupted():
                self._do(self._sound.cut, BOT, event.at - self._began)
                self._mark(event.at, event.TYPE)
            case UserStartedSpeaking() | UserStoppedSpeaking() | UserMuteStarted():
                self._mark(event.at, event.TYPE)
            case BotStartedSpeaking() | BotStoppedSpeaking() | UserMuteStopped() | BotReady():
                self._mark(event.at, event.TYPE)
            case UserInput(final=True):
                self._heard_input = True
                self._mark(event.at, event.TYPE, event.text)
            case UserTranscription(final=True) if not self._heard_input:
                self._mark(event.at, event.TYPE, event.text)
            case BotOutput(spoken_status=None | "new") if event.output_type not in _WORDS:
                self._mark(event.at, event.TYPE, event.text)
            case LlmFunctionCallInProgress(function_name=str() as name):
                self._mark(event.at, event.TYPE, name)
            case Error() | ErrorResponse():
                self._mark(event.at, event.TYPE, event.error)
            case _:
                pass

    def entered(self, state: State, at: float) -> None:
        """The session is in another state, and may know more secrets."""
        self._secrets = self._driver.secrets()
        self._mark(at, "state", str(state))

    def finished(self, end: SessionEnd, at: float) -> None:
        """The session is over: so is the recording."""
        self._end(at)

    # -- writing --

    def _place(self, side: int, chunk: AudioChunk, seconds: float) -> None:
        self._sound.place(side, chunk, seconds)
        if self._sound.is_full:
            raise OSError(errno.EFBIG, "a WAV file has no room for more")

    def _mark(self, at: float, what: str, text: str = "") -> None:
        shown = " ".join(scrub(text, self._secrets).split())[:_MAX_TEXT]
        self._do(self._sound.mark, at - self._began, f"{what}: {shown}" if shown else what)

    def _end(self, at: float) -> None:
        self._do(self._sound.end, at - self._began)
        self._close()

    def _do(self, act: Callable[..., Any], *args: Any) -> None:
        if not self._recording:
            return
        try:
            act(*args)
        except OSError as error:
            self.error = error
            logger.error("the recording %s is not whole: %s", self.path, error)
            self._close()

    def _close(self) -> None:
        self._recording = False
        self._driver.remove_tap(self)
        try:
            self._sound.close()
        except OSError as error:
            logger.debug("closing the recording failed: %s", error)
