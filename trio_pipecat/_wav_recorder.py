"""A session's sound as one stereo WAV file, with marks: `WavRecorder`."""

import os
from typing import Final, final

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
from ._stereo_recorder import StereoRecorder, label
from ._tap import Tap
from .audio import AudioChunk
from .audio._stereo import BOT, USER
from .transports import Incoming

_WORDS: Final = ("word", "token")


@final
class WavRecorder(StereoRecorder, Tap):
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
        history = session.history
        super().__init__(path, sample_rate, began=history[0][1])
        self._driver = session._driver
        self._secrets: list[str] = []
        self._heard_input = False
        for state, at in history:
            self.entered(state, at)
        if session.end is None:
            self._driver.add_tap(self)
        else:
            self.finished(session.end, trio.current_time())

    # -- what happens --

    def sent(self, item: Incoming, at: float) -> None:
        """The client has said something."""
        if isinstance(item, AudioChunk):
            self._place(USER, item, at)
        elif isinstance(item, str) and SendText.TYPE in item:
            decoded = decode_command(item)
            if isinstance(decoded, tuple) and isinstance(decoded[1], SendText):
                self._mark(at, SendText.TYPE, decoded[1].content)

    def received(self, item: Incoming, at: float) -> None:
        """The bot has said something."""
        if isinstance(item, AudioChunk):
            self._place(BOT, item, at)

    def happened(self, event: Event) -> None:
        """What is worth a mark gets one."""
        match event:
            case BotInterrupted():
                self._cut(BOT, event.at)
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

    def _mark(self, at: float, what: str, text: str = "") -> None:
        self._mark_at(at, label(what, text, self._secrets))

    def _leave(self) -> None:
        self._driver.remove_tap(self)
