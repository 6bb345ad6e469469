"""The sound of two bots that talk to each other as one stereo WAV file: `BridgeRecorder`."""

import os
from typing import Final, final

import trio

from ._messages import BotInterrupted, BotOutput, BotReady, Error, Event
from ._session import Session
from ._state import SessionEnd, State
from ._stereo_recorder import StereoRecorder, label
from ._tap import Tap
from .audio import AudioChunk
from .audio._stereo import BOT, USER
from .transports import Incoming

_WORDS: Final = ("word", "token")


@final
class BridgeRecorder(StereoRecorder):
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
        began = min(session.history[0][1] for session in (a, b))
        super().__init__(path, sample_rate, began=began)
        self._sides = [_Side(self, a, USER, "a"), _Side(self, b, BOT, "b")]
        for side in tuple(self._sides):
            side.begin()

    def _left(self, side: "_Side", at: float) -> None:
        """One of them has left; when both have, the recording is over."""
        self._cut(side.channel, at)
        self._mark_at(at, f"{side.name} left")
        self._sides.remove(side)
        if not self._sides:
            self._end(at)

    def _leave(self) -> None:
        for side in self._sides:
            side.end()


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
            self._recorder._place(self.channel, item, at)

    def happened(self, event: Event) -> None:
        """What is worth a mark gets one."""
        match event:
            case BotInterrupted():
                self._recorder._cut(self.channel, event.at)
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
        self._recorder._mark_at(at, label(f"{self.name} {what}", text, self._secrets))
