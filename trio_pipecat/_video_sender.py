"""What the user shows, each picture in its time: sent by the task that streams it.

A frame that has a time goes out at that time after the first one came, so that a film takes as long
as it takes. A frame that is later than the next one is due is of no use any more and is skipped;
but one a second is sent in any case, so that of a source that is too slow something is seen. A
frame without a time goes out as it comes.
"""

from contextlib import aclosing
from typing import Final, Literal, TypeAlias, final

import attrs
import trio

from .audio import Lateness
from .video import VideoFrame
from .video._source import FrameReader

#: Where a picture is of: what is streamed at once is one of each.
VideoTrack: TypeAlias = Literal["camera", "screen"]

#: How long there may be nothing to see because everything is late, in seconds.
_LONGEST_GAP: Final = 1.0
#: How long it may take to say that a track is off, when the streaming task is cancelled.
_LAST_WORD: Final = 0.5


@attrs.define(kw_only=True)
class VideoReport:
    """What became of a stream of video."""

    #: How many frames were sent.
    frames: int = 0
    #: How many were not, because they were too late.
    skipped: int = 0
    #: How late the frames that have a time were handed over to the link.
    lateness: Lateness = attrs.field(factory=Lateness)


class SendsVideo:
    """What the sender asks of its session."""

    __slots__ = ()

    async def send_picture(self, frame: VideoFrame) -> bool:
        """Send a frame. False: the session takes no more."""
        raise NotImplementedError

    async def announce(self, track: VideoTrack, *, enabled: bool) -> bool:
        """Say that a track is on or off. False: the session takes no more."""
        raise NotImplementedError


@final
class VideoSender:
    """Sends one session's streams of video."""

    def __init__(self, session: SendsVideo) -> None:
        self._session = session
        #: Each is cancelled when the session ends.
        self._streams: dict[VideoTrack, trio.CancelScope] = {}
        self._over = False

    async def stream(self, frames: FrameReader, track: VideoTrack) -> VideoReport | None:
        """Send what `frames` yields. None: the session was over before the end.

        Raises:
            trio.BusyResourceError: another stream of this track is being sent.
        """
        if track in self._streams:
            raise trio.BusyResourceError(f"this session is streaming a {track} already")
        self._streams[track] = scope = trio.CancelScope()
        if self._over:
            scope.cancel()
        stream = _Outgoing(self._session, track)
        try:
            with scope:
                async with aclosing(frames):
                    async for frame in frames:
                        if not await stream.send(frame):
                            return None
                await stream.show_last()
                return stream.report
        finally:
            del self._streams[track]
            await stream.end()  # noqa: ASYNC102  # it has a shield and a deadline
        return None

    def finish(self) -> None:
        """The session is over: whoever streams is to stop."""
        self._over = True
        for scope in self._streams.values():
            scope.cancel()


@final
class _Outgoing:
    """One stream on its way."""

    def __init__(self, session: SendsVideo, track: VideoTrack) -> None:
        self.report = VideoReport()
        self._session = session
        self._track: VideoTrack = track
        self._is_on = False
        self._began = 0.0
        #: The time of the last frame that has one, and how long before it the one before was.
        self._time: float | None = None
        self._interval = 0.0
        self._sent_at = 0.0

    async def send(self, frame: VideoFrame) -> bool:
        """Send a frame in its time, or skip it. False: the session takes no more."""
        if not self._is_on:
            self._is_on = True  # even if what follows is cancelled: off is said once too often then
            if not await self._session.announce(self._track, enabled=True):
                return False
            self._began = self._sent_at = trio.current_time()
        late: float | None = None
        if frame.time is not None:
            if self._time is not None:
                self._interval = max(frame.time - self._time, 0.0)
            self._time = frame.time
            await trio.sleep_until(self._began + frame.time)
            late = trio.current_time() - self._began - frame.time
            if self._is_useless(late):
                self.report.skipped += 1
                return True
        if not await self._session.send_picture(frame):
            return False
        self._sent_at = trio.current_time()
        self.report.frames += 1
        if late is not None:
            self.report.lateness.add(late)
        return True

    def _is_useless(self, late: float) -> bool:
        return 0 < self._interval < late and trio.current_time() - self._sent_at < _LONGEST_GAP

    async def show_last(self) -> None:
        """Let the last frame be seen for as long as the one before it was."""
        if self._time is not None:
            await trio.sleep_until(self._began + self._time + self._interval)

    async def end(self) -> None:
        """Say that there is nothing more to see. Within a moment, even if this is cancelled."""
        if self._is_on:
            with trio.move_on_after(_LAST_WORD, shield=True):
                await self._session.announce(self._track, enabled=False)
