"""Two bots that talk to each other: what one says is what the other's user says.

For each direction there is a task that has what one bot says streamed to the other: the beat, the
conversion and the silence in between are `Session.stream_audio`'s. Here is what that can't know:

* A bot that is interrupted has nothing more to say. The stream is cut off, with what was read
  ahead of the beat, and another one begins.
* A bot that falls silent has said the last of it, and that may be half a frame, which would wait
  for what is said next. A little silence is put behind it, and it goes out.
* How late the sound was. Each frame that is sent is compared with when somebody with a speaker
  would have heard it: a burst is heard in real time, one sample after the other.
"""

import math
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self, final

import attrs
import trio

from ._audio_sender import FRAME_SECONDS, StreamReport
from ._causes import leaves
from ._errors import SessionEndedError
from ._session import Session
from ._tap import Tap
from .audio import AudioChunk, Lateness
from .transports import Incoming

if TYPE_CHECKING:
    from .reports import Turn, TurnLog

#: Silence follows a bot of which nothing came for so long after the last of it was to be sent. The
#: beat waits a little longer than that.
_TAIL: Final = 0.03
#: After so much silence it begins anew; what is missing for less is missing in the middle.
_PAUSE: Final = 0.3
#: Less than a sample. Places in a stream are added up.
_NOTHING: Final = 1e-6
#: What is not louder is silence: -50 dBFS.
_SILENCE: Final = 0.003
#: What the reports of several streams come to.
_ADDED_UP: Final = (
    "seconds",
    "silence_seconds",
    "waited_seconds",
    "hurried_seconds",
    "stalls",
    "stalled_seconds",
)
_DIGITS: Final = 4


@attrs.define(kw_only=True)
class BridgeSide:
    """What became of what one of the bots said. Times are in seconds."""

    #: How it was sent to the other: what it said, the silence in between, how late frames were.
    sent: StreamReport = attrs.field(factory=StreamReport)
    #: What the other was not sent of it: it was interrupted, or not its turn, or the end.
    unsent_seconds: float = 0.0
    #: What was not kept, because it came faster than it is spoken, by more than `audio_buffer`.
    dropped_seconds: float = 0.0
    #: How often it was interrupted with something still to be sent.
    interruptions: int = 0
    #: How often there was a pause in the middle of what it said, because the rest came too late.
    underruns: int = 0
    #: How much later than it could be heard each frame was sent to the other.
    delay: Lateness = attrs.field(factory=Lateness)
    #: Its turns, in which the user is the other bot. Times are since its session began.
    turns: "list[Turn]" = attrs.field(factory=list, repr=lambda turns: f"<{len(turns)}>")

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            **{name: round(getattr(self.sent, name), _DIGITS) for name in _ADDED_UP},
            "unsent_seconds": round(self.unsent_seconds, _DIGITS),
            "dropped_seconds": round(self.dropped_seconds, _DIGITS),
            "interruptions": self.interruptions,
            "underruns": self.underruns,
            "delay": _in_milliseconds(self.delay),
            "lateness": _in_milliseconds(self.sent.lateness),
            "turns": [turn.as_json() for turn in self.turns],
        }


@attrs.define(kw_only=True)
class BridgeReport:
    """What became of a conversation of two bots; see `bridge`."""

    #: What `a` said, and `b` was sent.
    a: BridgeSide = attrs.field(factory=BridgeSide)
    #: What `b` said, and `a` was sent.
    b: BridgeSide = attrs.field(factory=BridgeSide)

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {"a": self.a.as_json(), "b": self.b.as_json()}


async def bridge(
    a: Session,
    b: Session,
    *,
    first: Literal["a", "b"] | None = None,
    report: BridgeReport | None = None,
) -> BridgeReport:
    """Have two bots talk to each other: what one says, the other hears, until one has left.

    ::

        report = BridgeReport()
        async with open_session("sim:?hear=Hello") as a, open_session(url) as b:
            await bridge(a, b, first="a", report=report)

    Each is sent what the other says as a user would speak it: on the beat of real time, at the rate
    it listens at, with silence in between. When one is interrupted, what it had still to say is
    forgotten. What one says before the other is ready is kept for it, up to `audio_buffer` seconds.
    Nothing but sound goes over; what else happens in the sessions is theirs.

    It returns when one of the sessions is over, and the last of what was said there has been sent
    to the other. A session that ends its block ends this too, as all that is in the block: as a
    rule a bot that leaves has this cancelled, so hand in a `report` to be filled. With
    `disconnect_on_bot_disconnect` false, it returns. What a session fails with is raised here,
    bare, or leaves its block. Cancelling loses what was not sent by then.

    Two bots that both send back what they hear do so for ever: one such bot is all right.

    Args:
        a: a session, ready or not, in which nobody else streams sound.
        b: another one.
        first: who begins: the other is not heard until this one has spoken. None: whoever does.
        report: a new one, to be filled and returned.

    Raises:
        ValueError: a session can't be bridged to itself; there is no such `first`.
        trio.BusyResourceError: somebody else is streaming sound to one of them.
        SessionEndedError, ReadyTimeoutError…: a session has failed.
    """
    # Whoever has no bridge has no use for it.
    from .reports import TurnLog

    if a is b:
        raise ValueError("a session can't be bridged to itself: it takes another one")
    if first not in (None, "a", "b"):
        raise ValueError(f"first is 'a', 'b' or None, not {first!r}")
    report = BridgeReport() if report is None else report
    logs = TurnLog(a), TurnLog(b)
    report.a.turns, report.b.turns = logs[0].turns, logs[1].turns
    ways = (
        _Way(a, b, report.a, after=logs[1] if first == "b" else None),
        _Way(b, a, report.b, after=logs[0] if first == "a" else None),
    )
    try:
        await _run(ways)
    finally:
        for way in ways:
            way.close()
        for log in logs:
            log.stop()
    return report


async def _run(ways: "tuple[_Way, _Way]") -> None:
    """Keep both directions up until both are over. What one fails with is raised, bare."""
    failures: list[Exception] = []
    leftover: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            for way in ways:
                nursery.start_soon(way.run, failures, nursery.cancel_scope)
    except BaseException as error:  # noqa: ASYNC103  # raised below, unless there is something better
        # The directions raise nothing, so this was cancelled, or it is Ctrl-C.
        leftover = error
    found = [] if leftover is None else [*leaves(leftover)]
    exits = [leaf for leaf in found if isinstance(leaf, KeyboardInterrupt | SystemExit)]
    if exits or (found and not failures):
        raise (exits or found)[0]
    if failures:
        # What a session has told here it tells nobody else; so it goes before a cancellation.
        failure, *others = failures
        if others and failure.__context__ is None:
            failure.__context__ = others[0]
        raise failure


class _Mark(NamedTuple):
    """What was put into a stream: from where to where in it, in seconds, and when it was heard."""

    begin: float
    end: float
    #: When its first sample could be heard, on trio's clock; None: it is silence of ours.
    heard: float | None


@final
class _Way(Tap):
    """What one bot says, on its way to the other: an async iterable, and a tap of the listener."""

    def __init__(
        self, speaker: Session, listener: Session, side: BridgeSide, *, after: "TurnLog | None"
    ) -> None:
        self._listener = listener
        self._driver = listener._driver
        self._side = side
        #: Whose first turn has to be over before anything goes this way.
        self._after = after
        self._audio = speaker.subscribe_audio(name="bridge()")
        self._audio.on_flush.append(self._cut)
        # From now on it is kept.
        self._reader = aiter(self._audio)
        self._is_over = False
        self._format = (self._driver.options.audio_in_sample_rate, 1)
        #: There is something that silence has not followed. At first that is to begin with: then
        #: there is a beat, as there is with a microphone.
        self._is_speaking = True
        #: When the last of what was put will have been sent, if nothing is late.
        self._sends_until = -math.inf
        #: When the last of what came can be heard, and the last before its turn that is not silent.
        self._heard_until = self._audible_until = -math.inf
        self._begin_stream()
        if listener.end is None:
            self._driver.add_tap(self)

    def _begin_stream(self) -> None:
        self._scope = trio.CancelScope()
        self._report = StreamReport()
        #: How much was put into it, how much of that was said, and up to where it was sent.
        self._put = self._said = self._place = 0.0
        #: What was put and not wholly sent.
        self._marks: deque[_Mark] = deque()

    async def run(self, failures: list[Exception], scope: trio.CancelScope) -> None:
        """Stream until it is over. A failure is put down, and ends the other direction too."""
        try:
            await self._listener.wait_ready()
            while not self._is_over:
                await self._stream()
        except Exception as error:
            # One that has left is no failure, and the last of what it said is still on its way.
            # What a session fails with is told by a subclass, or is the cause.
            if type(error) is not SessionEndedError or error.end.error is not None:
                failures.append(error)
                scope.cancel()

    async def _stream(self) -> None:
        """Stream until the speaker has left, or is interrupted."""
        self._begin_stream()
        flushed = self._audio.flushed_seconds
        try:
            with self._scope:
                await self._listener.stream_audio(self, report=self._report)
        finally:
            unsent = self._settle()
        if self._scope.cancelled_caught and (unsent or self._audio.flushed_seconds > flushed):
            self._side.interruptions += 1

    def _settle(self) -> float:
        """Add a stream to the report; return how much of what was said was not sent."""
        total, part = self._side.sent, self._report
        unsent = sum(
            mark.end - max(mark.begin, part.seconds)
            for mark in self._marks
            if mark.heard is not None and mark.end > part.seconds + _NOTHING
        )
        self._marks.clear()
        self._side.unsent_seconds += unsent
        total.seconds += self._said - unsent
        for name in _ADDED_UP[1:]:
            setattr(total, name, getattr(total, name) + getattr(part, name))
        if total.began is None:
            total.began = part.began
        total.lateness.merge(part.lateness)
        return unsent

    def close(self) -> None:
        """Listen no more."""
        self._driver.remove_tap(self)
        audio = self._audio
        self._side.unsent_seconds += audio.flushed_seconds + audio.unread_seconds
        self._side.dropped_seconds += audio.dropped_seconds
        audio.on_flush.clear()
        audio.close()

    # -- as a source of sound --

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AudioChunk:
        while True:
            chunk = await self._hear()
            if chunk is None:
                return self._put_silence()
            if self._may_speak(chunk):
                return self._put_chunk(chunk)
            self._side.unsent_seconds += chunk.duration

    async def _hear(self) -> AudioChunk | None:
        """Return what is said next; None: there is a pause, which is told once."""
        if self._is_speaking and not self._audio.unread:
            with trio.move_on_at(self._sends_until + _TAIL):
                return await self._receive()
            if not self._audio.unread:  # it may have come late, with the deadline
                self._is_speaking = False
                return None
        return await self._receive()

    async def _receive(self) -> AudioChunk:
        try:
            return await anext(self._reader)
        except StopAsyncIteration:
            self._is_over = True
            raise

    def _may_speak(self, chunk: AudioChunk) -> bool:
        """Is it this one's turn? Nobody begins in the middle of what it says."""
        if self._after is None:
            return True
        now = trio.current_time()
        if now > self._audible_until + _PAUSE and any(
            turn.bot_ended is not None for turn in self._after.turns
        ):
            self._after = None
            return True
        self._heard_until = max(self._heard_until, now) + chunk.duration
        if chunk.level > _SILENCE:
            self._audible_until = self._heard_until
        return False

    def _put_silence(self) -> AudioChunk:
        chunk = AudioChunk.silence(FRAME_SECONDS, *self._format)
        self._mark(chunk, None)
        return chunk

    def _put_chunk(self, chunk: AudioChunk) -> AudioChunk:
        now = trio.current_time()
        if _TAIL < now - self._sends_until < _PAUSE:
            self._side.underruns += 1
        self._format = (chunk.sample_rate, chunk.num_channels)
        self._is_speaking = True
        self._sends_until = max(self._sends_until, now) + chunk.duration
        heard = max(self._heard_until, now if chunk.at is None else chunk.at)
        self._heard_until = heard + chunk.duration
        self._said += chunk.duration
        self._mark(chunk, heard)
        return chunk

    def _mark(self, chunk: AudioChunk, heard: float | None) -> None:
        begin, self._put = self._put, self._put + chunk.duration
        self._marks.append(_Mark(begin, self._put, heard))

    def _cut(self) -> None:
        """The speaker was interrupted."""
        self._scope.cancel()
        self._is_speaking = False
        self._sends_until = self._heard_until = self._audible_until = -math.inf

    # -- as a tap --

    def sent(self, item: Incoming, at: float) -> None:
        """The listener was sent something: a frame of the stream, if there is more sent of that."""
        begin, self._place = self._place, self._report.seconds
        if self._place == begin:
            return
        while self._marks and self._marks[0].end <= begin + _NOTHING:
            self._marks.popleft()
        mark = self._marks[0] if self._marks else None
        if mark is not None and mark.heard is not None:
            self._side.delay.add(at - mark.heard - (begin - mark.begin))


def _in_milliseconds(times: Lateness) -> dict[str, float]:
    return {
        "p50_ms": round(1000 * times.percentile(50), 2),
        "p99_ms": round(1000 * times.percentile(99), 2),
        "max_ms": round(1000 * times.max, 2),
    }
