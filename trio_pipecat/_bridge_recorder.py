"""The sound of two bots that talk to each other as one stereo WAV file: `BridgeRecorder`."""

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self, final

import trio

from ._messages import BotInterrupted, BotOutput, BotReady, Error, Event
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
class BridgeRecorder:
    """Records two bots that talk to each other to a stereo WAV file: `a` left, `b` right.

    Make one at the top of the block, before the first ``await``, and nothing is missed::

        async with open_session(one) as a, open_session(other) as b:
            BridgeRecorder(a, b, "talk.wav")
            await bridge(a, b)

    Both sides are what came from the bots, each sample where a listener would have heard it, on one
    timeline that begins with the first of the sessions: see `WavRecorder`, of which all else is
    true, too. The other bot has heard it later by as much as the bridge took. Marks say who said
    what, who was interrupted, who left, and what went wrong.

    It records until both sessions are over, and then closes the file by itself.

    Args:
        a: whose voice is on the left.
        b: whose voice is on the right.
        path: the file, overwritten if there is one.
        sample_rate: the rate of the file. Sound that has it is written as it is.

    Raises:
        OSError: the file can't be written.
        TypeError: the rate is no integer.
        ValueError: the rate is not from 1000 to 192000 Hz.
    """

    def __init__(
        self, a: Session, b: Session, path: "str | os.PathLike[str]", *, sample_rate: int = 24_000
    ) -> None:
        self.path = Path(path)
        #: Why the recording has stopped before the sessions were over; None: it has not.
        self.error: OSError | None = None
        self._began = min(session.history[0][1] for session in (a, b))
        self._sound = Soundtrack(self.path, sample_rate, cues=True)
        # What it imports takes a moment, which is cheaper now than when somebody speaks.
        load_engine()
        self._sound.open()
        self._recording = True
        self._sides = [_Side(self, a, USER, "a"), _Side(self, b, BOT, "b")]
        for side in tuple(self._sides):
            side.begin()

    def __repr__(self) -> str:
        state = "recording" if self._recording else "closed"
        return f"<BridgeRecorder {self.path}: {state}, {self.seconds:.1f} s>"

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
        self._do(self._sound.end, trio.current_time())
        self._close()

    # -- for the sides --

    def _heard(self, side: int, chunk: AudioChunk, at: float) -> None:
        self._do(self._place, at, side, chunk)

    def _interrupted(self, side: int, at: float) -> None:
        self._do(lambda seconds: self._sound.cut(side, seconds), at)

    def _mark(self, at: float, label: str) -> None:
        self._do(self._sound.mark, at, label)

    def _left(self, side: "_Side", at: float) -> None:
        """One of them has left; when both have, the recording is over."""
        self._interrupted(side.channel, at)
        self._mark(at, f"{side.name} left")
        self._sides.remove(side)
        if not self._sides:
            self._do(self._sound.end, at)
            self._close()

    # -- writing --

    def _place(self, seconds: float, side: int, chunk: AudioChunk) -> None:
        self._sound.place(side, chunk, seconds)
        if self._sound.is_full:
            raise OSError(errno.EFBIG, "a WAV file has no room for more")

    def _do(self, act: Callable[..., Any], at: float, *args: Any) -> None:
        if not self._recording:
            return
        try:
            act(at - self._began, *args)
        except OSError as error:
            self.error = error
            logger.error("the recording %s is not whole: %s", self.path, error)
            self._close()

    def _close(self) -> None:
        self._recording = False
        for side in self._sides:
            side.end()
        try:
            self._sound.close()
        except OSError as error:
            logger.debug("closing the recording failed: %s", error)


@final
class _Side(Tap):
    """One of the bots: what it says."""

    def __init__(self, recorder: BridgeRecorder, session: Session, channel: int, name: str) -> None:
        self.channel = channel
        self._recorder = recorder
        self._session = session
        self._driver = session._driver
        self.name = name
        self._secrets = self._driver.secrets()

    def begin(self) -> None:
        """Listen."""
        if self._session.end is None:
            self._driver.add_tap(self)
        else:
            self._recorder._left(self, trio.current_time())

    def end(self) -> None:
        """Listen no more."""
        self._driver.remove_tap(self)

    def received(self, item: Incoming, at: float) -> None:
        """The bot has said something."""
        if isinstance(item, AudioChunk):
            self._recorder._heard(self.channel, item, at)

    def happened(self, event: Event) -> None:
        """What is worth a mark gets one."""
        match event:
            case BotInterrupted():
                self._recorder._interrupted(self.channel, event.at)
                self._mark(event.at, event.TYPE)
            case BotReady():
                self._mark(event.at, event.TYPE)
            case BotOutput(spoken_status=None | "new") if event.output_type not in _WORDS:
                self._mark(event.at, event.TYPE, event.text)
            case Error():
                self._mark(event.at, event.TYPE, event.error)
            case _:
                pass

    def entered(self, state: State, at: float) -> None:
        """The session is in another state, and may know more secrets."""
        self._secrets = self._driver.secrets()

    def finished(self, end: SessionEnd, at: float) -> None:
        """The session is over."""
        self._recorder._left(self, at)

    def _mark(self, at: float, what: str, text: str = "") -> None:
        shown = " ".join(scrub(text, self._secrets).split())[:_MAX_TEXT]
        label = f"{self.name} {what}"
        self._recorder._mark(at, f"{label}: {shown}" if shown else label)
