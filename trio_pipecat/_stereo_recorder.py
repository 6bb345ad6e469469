"""What recorders of two voices have in common: a stereo WAV file that is written as they speak."""

import errno
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self

import trio

from ._urls import scrub
from .audio import AudioChunk
from .audio._resample import load_engine
from .audio._soundtrack import Soundtrack

logger: Final = logging.getLogger("trio_pipecat")

#: What of a text is put into a mark, before it is cut to the bytes that one has.
_MAX_TEXT: Final = 200


def label(what: str, text: str, secrets: Sequence[str]) -> str:
    """Return what a mark says: what happened and, on one line and without the secrets, a text."""
    shown = " ".join(scrub(text, secrets).split())[:_MAX_TEXT]
    return f"{what}: {shown}" if shown else what


class StereoRecorder:
    """Writes a stereo WAV file with marks, until it is stopped or can't go on.

    Times are trio's, and the file begins at `began`. A rate of None is that of the first sound of
    the right side.
    """

    def __init__(
        self, path: "str | os.PathLike[str]", sample_rate: int | None, *, began: float
    ) -> None:
        self.path = Path(path)
        #: Why the recording has stopped before its time; None: it has not.
        self.error: OSError | None = None
        self._began = began
        self._sound = Soundtrack(self.path, sample_rate, cues=True)
        # What it imports takes a moment, which is cheaper now than when somebody speaks.
        load_engine()
        self._sound.open()
        self._recording = True

    def __repr__(self) -> str:
        state = "recording" if self._recording else "closed"
        return f"<{type(self).__name__} {self.path}: {state}, {self.seconds:.1f} s>"

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

    # -- for the kinds of them --

    def _leave(self) -> None:
        """The file is closed: listen no more."""
        raise NotImplementedError

    def _place(self, side: int, chunk: AudioChunk, at: float) -> None:
        self._do(self._write, at, side, chunk)

    def _cut(self, side: int, at: float) -> None:
        """What a side has said, and what had not sounded by then, is not heard."""
        self._do(lambda seconds: self._sound.cut(side, seconds), at)

    def _mark_at(self, at: float, text: str) -> None:
        self._do(self._sound.mark, at, text)

    def _end(self, at: float) -> None:
        self._do(self._sound.end, at)
        self._close()

    # -- inside --

    def _write(self, seconds: float, side: int, chunk: AudioChunk) -> None:
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
        self._leave()
        try:
            self._sound.close()
        except OSError as error:
            logger.debug("closing the recording failed: %s", error)
