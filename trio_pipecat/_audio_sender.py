"""What the user says, on the beat of real time: one task a session, from its first stream on.

The beat is counted in the shared pacer's ticks, so it does not drift. On each beat a frame goes
out: of the stream there is, or silence between streams. As long as there is one to send and the
link takes it, the pacer does that by itself, and the task sleeps. A stream is filled by the task
that called `Session.stream_audio`, which reads the source a little ahead, and emptied here.

Three things can be too slow, and each is treated in its own way:

* this process, or the link: a frame is late and is sent all the same, so the next ones catch up;
  what is later than `MAX_CATCH_UP` is not caught up in a burst, the beat begins anew;
* a source that is hardly too slow, as microphones are: the beat waits for it, up to `PATIENCE`, and
  goes on from there, so that in the end it is as late as the source is at its worst;
* a source that pauses: silence is sent meanwhile, if there is to be any.

A live source that was held up has all of that to say at once. It would be late by as much for the
rest of its life, so it is sent up to three times as fast until it is not (what is in time is what
came with the least delay so far). Only what was heard by somebody (its chunks say when) is live;
what is made may be made ahead of its time.
"""

from contextlib import aclosing
from typing import Final, Literal, TypeAlias, final

import attrs
import trio

from ._pacer import TICKS_PER_SECOND, next_tick, seconds_since, shared_pacer
from .audio import AudioChunk
from .audio._lateness import Lateness
from .audio._pcm import SAMPLE_WIDTH
from .audio._source import Piece, SourceReader

#: What is sent while there is nothing to say.
IdleAudio: TypeAlias = Literal["silence", "none"]

#: The length of a frame. Pipecat's bots take any; 20 ms is what telephones use.
FRAME_SECONDS: Final = 0.02
_TICKS: Final = round(FRAME_SECONDS * TICKS_PER_SECOND)
#: How late, in seconds, a frame may be for the next ones to catch up.
MAX_CATCH_UP: Final = 0.5
#: How long the beat waits for a source before there is silence instead, in seconds.
PATIENCE: Final = 0.06
#: How much later than at its best a live source may be, in seconds, and how far that is made up.
MAX_LAG: Final = 0.1
_LEAST_LAG: Final = 0.03
_HURRY: Final = 2
#: So much is read ahead of the beat, in seconds.
READ_AHEAD: Final = 0.4


@attrs.define(kw_only=True)
class StreamReport:
    """What became of a stream: times are in seconds, of sound."""

    #: When the first of it was handed over to the link, on trio's clock; None: nothing was.
    began: float | None = None
    #: What the source gave, as it was sent.
    seconds: float = 0.0
    #: Silence that was sent within the stream, because the source had nothing.
    silence_seconds: float = 0.0
    #: How long the beat has waited for the source.
    waited_seconds: float = 0.0
    #: Sound that was sent faster than it was spoken, because a live source had been held up.
    hurried_seconds: float = 0.0
    #: How often, and how long in all, the beat began anew because this process or the link was
    #: held up for longer than can be caught up.
    stalls: int = 0
    stalled_seconds: float = 0.0
    #: How late the frames were handed over to the link.
    lateness: Lateness = attrs.field(factory=Lateness)


@final
class _Outgoing:
    """One stream on its way: filled at one end, emptied at the other."""

    def __init__(self, rate: int, idle: IdleAudio, report: StreamReport) -> None:
        self.idle: IdleAudio = idle
        self.report = report
        #: Cancelled when the session ends.
        self.scope = trio.CancelScope()
        #: Set when the last of it has sounded.
        self.over = trio.Event()
        self.source_ended = False
        #: The source has given something: the beat does not begin before it can go on.
        self.begun = False
        #: When the last that was put was heard; and the least by which that was ago.
        self._heard_until: float | None = None
        self._least_lag = float("inf")
        self._hurries = False
        #: The source has nothing, and the beat does not wait for it any more.
        self.pausing = False
        self._rate = rate
        self._frames = 0
        self._frame = self._size_of_frame()
        self._ahead = round(rate * READ_AHEAD) * SAMPLE_WIDTH
        #: What was put and not taken: of the first piece, from a place on.
        self._pieces: list[bytes | memoryview] = []
        self._place = 0
        self._size = 0
        self._taken = 0
        self._arrived = trio.lowlevel.ParkingLot()
        self._wanted = trio.lowlevel.ParkingLot()

    async def put(self, piece: Piece) -> None:
        """Add sound; wait if there is enough for now. Cancelling: it is added whole."""
        self._pieces.append(piece.pcm)
        self._size += len(piece.pcm)
        self._heard_until = piece.until
        self._arrived.unpark_all()
        if self._size > self._ahead:
            await self._wanted.park()

    async def send_rest(self) -> None:
        """Nothing more will be put: wait until the last of it has sounded."""
        self._end_source()
        await self.over.wait()

    def drop(self) -> None:
        """Forget what was not sent."""
        self._pieces.clear()
        self._size = 0
        self._end_source()

    def _end_source(self) -> None:
        self.source_ended = True
        self._arrived.unpark_all()

    def _size_of_frame(self) -> int:
        """How many bytes the next frame has: of 11025 Hz, frames are not all equally long."""
        ticks = self._rate * _TICKS
        begin = self._frames * ticks // TICKS_PER_SECOND
        return ((self._frames + 1) * ticks // TICKS_PER_SECOND - begin) * SAMPLE_WIDTH

    @property
    def has_frame(self) -> bool:
        """Is there something to send: a frame, or the last piece of one?"""
        return self._size >= (1 if self.source_ended else self._frame)

    def must_hurry(self) -> bool:
        """Is what is next of a live source much later than it need be?"""
        if self._heard_until is None:
            return False
        waiting = self._size / SAMPLE_WIDTH / self._rate
        lag = trio.current_time() - self._heard_until + waiting
        self._least_lag = min(self._least_lag, lag)
        late = lag - self._least_lag
        self._hurries = late > (_LEAST_LAG if self._hurries else MAX_LAG)
        return self._hurries and self.has_frame

    async def wait_for_frame(self) -> None:
        """Wait until there is something to send, or the source has ended."""
        while not (self.has_frame or self.source_ended):
            await self._arrived.park()

    def take(self) -> bytes:
        """Take a frame. The last is short; if silence follows, that begins in the same frame."""
        size = self._frame
        pcm = self._cut(size)
        self._size -= len(pcm)
        self._frames += 1
        self._frame = self._size_of_frame()
        if self._size <= self._ahead // 2:  # not at every frame: that would cost a switch each
            self._wanted.unpark_all()
        self._taken += len(pcm)
        self.report.seconds = self._taken / SAMPLE_WIDTH / self._rate
        return pcm if self.idle == "none" else pcm.ljust(size, b"\0")

    def note_sent(self, late: float) -> None:
        """A frame was handed over to the link, so late."""
        report = self.report
        report.lateness.add(late)
        if report.began is None:
            report.began = trio.current_time()

    def _cut(self, size: int) -> bytes:
        """Take so many bytes from the front, or all there are."""
        taken = []
        while size and self._pieces:
            piece = self._pieces[0]
            part = bytes(piece[self._place : self._place + size])
            taken.append(part)
            size -= len(part)
            self._place += len(part)
            if self._place == len(piece):
                del self._pieces[0]
                self._place = 0
        return taken[0] if len(taken) == 1 else b"".join(taken)


def _next_beat() -> int:
    """Return the tick at which to begin a beat."""
    return shared_pacer().best_tick(next_tick(), _TICKS)


class SendsAudio:
    """What the sender asks of its session."""

    __slots__ = ()

    def send_frame_nowait(self, chunk: AudioChunk) -> bool:
        """Send a frame, if that needs no waiting. False: `send_frame` it has to be."""
        return False

    async def send_frame(self, chunk: AudioChunk) -> bool:
        """Send a frame. False: the session takes no more."""
        raise NotImplementedError


@final
class AudioSender:
    """Sends one session's streams, and silence between them. `run` is its task."""

    def __init__(self, session: SendsAudio, rate: int, lateness: Lateness) -> None:
        self.rate = rate
        self._lateness = lateness
        self._session = session
        self._stream: _Outgoing | None = None
        self._idle: IdleAudio = "none"
        self._work = trio.Event()
        self._silence = AudioChunk.silence(FRAME_SECONDS, rate)
        #: A frame of this beat that could not be sent without waiting.
        self._held: AudioChunk | None = None
        self._over = False

    async def stream(
        self, pieces: SourceReader, idle: IdleAudio, report: StreamReport | None = None
    ) -> StreamReport | None:
        """Send what `pieces` yields: mono PCM of our rate, in pieces of a few frames at most.

        Returns when the last of it has sounded; None: the session was over before that. What was
        yielded before an error is sent before that is raised. When it is cancelled, what was not
        sent yet is not; `report` is for whoever wants to know what was.

        Raises:
            trio.BusyResourceError: another stream is being sent.
        """
        if self._stream is not None:
            raise trio.BusyResourceError("this session is streaming audio already")
        report = StreamReport() if report is None else report
        self._stream = stream = _Outgoing(self.rate, idle, report)
        if self._over:
            stream.scope.cancel()
        try:
            with stream.scope:
                failure: Exception | None = None
                try:
                    async with aclosing(pieces):
                        async for piece in pieces:
                            if not stream.begun:
                                self._begin(stream)
                            await stream.put(piece)
                except Exception as error:
                    failure = error
                await self._send_rest(stream)
                if failure is not None:
                    raise failure
        finally:
            stream.drop()
            if self._stream is stream:
                self._stream = None
        return stream.report if stream.over.is_set() else None

    def _begin(self, stream: _Outgoing) -> None:
        stream.begun = True
        self._idle = stream.idle
        self._work.set()

    async def _send_rest(self, stream: _Outgoing) -> None:
        if not stream.begun:
            self._begin(stream)
        await stream.send_rest()

    def finish(self) -> None:
        """The session is over: whoever streams is to stop."""
        self._over = True
        if self._stream is not None:
            self._stream.scope.cancel()

    async def run(self) -> None:
        """Send until the session takes no more."""
        while True:
            await self._work.wait()
            self._work = trio.Event()
            if not await self._keep_the_beat():
                return

    @property
    def _begun_stream(self) -> _Outgoing | None:
        return self._stream if self._stream is not None and self._stream.begun else None

    async def _keep_the_beat(self) -> bool:
        """Send while there is something to send. False: the session takes no more."""
        pacer, tick = shared_pacer(), _next_beat()
        while self._begun_stream is not None or self._idle == "silence":
            tick = await pacer.keep(tick, _TICKS, self._send_on_beat)
            stream = self._begun_stream
            chunk, self._held = self._held, None
            if chunk is None:
                if stream is not None:
                    tick += await self._wait_for_source(stream, tick)
                    if stream.source_ended and not stream.has_frame:
                        self._end(stream)
                # It may have been given up while the beat waited for its source.
                stream = self._begun_stream
                chunk = self._next(stream)
            if chunk is not None:
                if not await self._send(chunk):
                    return False
                tick = self._count(tick, stream)
            tick += _TICKS
            if stream is not None and not await self._hurry(stream):
                return False
        return True

    def _send_on_beat(self, tick: int) -> bool:
        """Send a frame, if that is all there is to do on this beat."""
        stream = self._begun_stream
        if stream is None:
            if self._idle == "none":
                return False
            chunk = self._silence
        elif stream.has_frame and not stream.pausing:
            chunk = AudioChunk(stream.take(), self.rate)
        else:
            return False
        late = seconds_since(tick)
        if late > MAX_CATCH_UP or not self._session.send_frame_nowait(chunk):
            self._held = chunk
            return False
        self._lateness.add(late)
        if stream is not None:
            stream.note_sent(late)
            for _ in range(_HURRY):
                if not stream.must_hurry():
                    break
                stream.report.hurried_seconds += FRAME_SECONDS
                chunk = AudioChunk(stream.take(), self.rate)
                if not self._session.send_frame_nowait(chunk):
                    self._held = chunk
                    return False
        return True

    async def _wait_for_source(self, stream: _Outgoing, tick: int) -> int:
        """Wait for a source that is hardly too slow; return how many ticks the beat has waited."""
        if stream.has_frame or stream.source_ended:
            stream.pausing = False
            return 0
        if stream.pausing:
            return 0
        with trio.move_on_after(PATIENCE if stream.idle == "silence" else float("inf")) as patience:
            await stream.wait_for_frame()
        stream.pausing = patience.cancelled_caught
        waited = max(_next_beat() - tick, 0)
        stream.report.waited_seconds += waited / TICKS_PER_SECOND
        return waited

    async def _hurry(self, stream: _Outgoing) -> bool:
        """Send some of what a live source is late with. False: the session takes no more."""
        for _ in range(_HURRY):
            if not stream.must_hurry():
                break
            stream.report.hurried_seconds += FRAME_SECONDS
            if not await self._send(AudioChunk(stream.take(), self.rate)):
                return False
        return True

    async def _send(self, chunk: AudioChunk) -> bool:
        session = self._session
        return session.send_frame_nowait(chunk) or await session.send_frame(chunk)

    def _next(self, stream: _Outgoing | None) -> AudioChunk | None:
        if stream is not None and stream.has_frame:
            return AudioChunk(stream.take(), self.rate)
        if self._idle == "none":
            return None
        if stream is not None:
            stream.report.silence_seconds += FRAME_SECONDS
        return self._silence

    def _count(self, tick: int, stream: _Outgoing | None) -> int:
        """Note how late a frame of `tick` was; return the tick from which the beat goes on."""
        late = seconds_since(tick)
        self._lateness.add(late)
        if stream is not None:
            stream.note_sent(late)
        if late <= MAX_CATCH_UP:
            return tick
        if stream is not None:
            stream.report.stalls += 1
            stream.report.stalled_seconds += late
        return _next_beat() - _TICKS

    def _end(self, stream: _Outgoing) -> None:
        stream.over.set()
        if self._stream is stream:  # it may be the next one's turn already
            self._stream = None
