"""What a session's readers read: streams of events, which never drop, and of audio and video.

A stream is filled by the session and emptied by whoever iterates over it. The session never waits
for a reader. So each stream is bounded, and the two kinds differ in what happens at the bound: an
event stream calls `overflow`, which ends the session and names the reader; a stream of audio or
video drops what is oldest and counts it.

A stream knows whether somebody is reading it: an iterator is a reader until it is garbage (when
the ``async for`` is left, on CPython at once), a task that called `receive` until it is over. The
session asks, because a body with something unread may finish reading before it is cancelled, and
what nobody reads is not kept, or not counted against anybody.
"""

import inspect
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar, cast, final

import trio

from ._events import EventsSkipped
from ._messages import Event
from .audio import AudioChunk
from .video import VideoFrame

#: So many chunks of sound are given out, if they are there, before other tasks have their turn.
_CHUNKS_A_TURN: Final = 16

T = TypeVar("T")
E = TypeVar("E", bound=Event)


class StreamOwner:
    """What a stream asks of its session."""

    __slots__ = ()

    def stream_moved(self) -> None:
        """A reader came back for more and found nothing, or left."""

    def stream_woke(self) -> None:
        """A reader of events was waiting, and has one now."""

    def stream_read(self) -> None:
        """Somebody reads a stream that may cost something to fill."""

    async def stream_over(self) -> None:
        """A reader found the stream over. Returns, or never does: the reader's block is ending."""

    def stream_overflowed(self, stream: "Stream[Any]", limit: int) -> bool:
        """A reader let its stream run full. False: take it all the same, it is the last."""
        return False

    def stream_closed(self, stream: "Stream[Any]") -> None:
        """Nobody wants this stream any more."""


@final
class StreamReader(Generic[T]):
    """An iterator over a stream. Made by ``async for``."""

    __slots__ = ("__weakref__", "_stream", "task")

    def __init__(self, stream: "Stream[T]") -> None:
        self._stream = stream
        self.task = trio.lowlevel.current_task()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        self.task = trio.lowlevel.current_task()
        try:
            return await self._stream._next()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None


class Stream(Generic[T]):
    """A buffer with readers. Iterate over it, or call `receive`.

    Several tasks may read one stream; each item goes to one of them. As a context manager
    (``with``) a stream is closed at the end of the block.
    """

    def __init__(self, owner: StreamOwner, name: str) -> None:
        self.name = name
        #: Its reader waits for one event, as for a result: at the end it is told, not parked.
        self._for_one_event = False
        self._owner = owner
        #: A list, though it is emptied from the front: it is short, and an empty deque is large.
        self._buffer: list[T] = []
        self._readers: list[weakref.ref[StreamReader[T]]] = []
        self._direct_reader: trio.lowlevel.Task | None = None
        self._trio_token = trio.lowlevel.current_trio_token()
        self._waiting = trio.lowlevel.ParkingLot()
        self._over = False
        self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "over" if self._over else "open"
        return f"<{type(self).__name__} {self.name}: {state}, {len(self._buffer)} unread>"

    @property
    def unread(self) -> int:
        """How many items wait to be read."""
        return len(self._buffer)

    def __aiter__(self) -> StreamReader[T]:
        reader = StreamReader(self)
        self._readers.append(weakref.ref(reader, self._reader_left))
        self._on_read()
        return reader

    async def receive(self) -> T:
        """Return the next item. Cancelling loses nothing.

        Raises:
            trio.EndOfChannel: the session is over, and everything was read.
            trio.ClosedResourceError: this stream was closed.
        """
        self._direct_reader = trio.lowlevel.current_task()
        self._on_read()
        return await self._next()

    def receive_nowait(self) -> T:
        """Return the next item if there is one.

        Raises:
            trio.WouldBlock: there is none now.
            trio.EndOfChannel: the session is over, and everything was read.
            trio.ClosedResourceError: this stream was closed.
        """
        self._direct_reader = trio.lowlevel.current_task()
        self._on_read()
        if self._closed:
            raise trio.ClosedResourceError
        if self._buffer:
            return self._take()
        if self._over:
            raise trio.EndOfChannel
        raise trio.WouldBlock

    def close(self) -> None:
        """Read no more. What is unread is forgotten; who waits gets `trio.ClosedResourceError`."""
        if not self._closed:
            self._closed = True
            self._clear()
            self._waiting.unpark_all()
            self._owner.stream_closed(self)
            self._owner.stream_moved()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # -- for the session --

    def _reading_tasks(self) -> set[trio.lowlevel.Task]:
        """Return the tasks that are reading this stream."""
        readers = [reader for reference in self._readers if (reader := reference()) is not None]
        tasks = {reader.task for reader in readers} | {self._direct_reader}
        return {task for task in tasks if task is not None and _is_alive(task)}

    def _has_readers(self) -> bool:
        return bool(self._readers) or (
            self._direct_reader is not None and _is_alive(self._direct_reader)
        )

    def _describe(self) -> str:
        """Name the stream and who reads it, for an error."""
        tasks = sorted(task.name for task in self._reading_tasks())
        return (
            f"{self.name}, read by {', '.join(tasks)}" if tasks else f"{self.name}, read by nobody"
        )

    def _finish(self) -> None:
        """Nothing more will come."""
        self._over = True
        self._waiting.unpark_all()

    # -- inside --

    async def _next(self) -> T:
        # First the checkpoint, then the item: a reader that was woken goes on in the same step, and
        # what it does next comes before the next event.
        if self._buffer or self._over or self._closed:
            await trio.lowlevel.checkpoint()
        while True:
            if self._closed:
                raise trio.ClosedResourceError
            if self._buffer:
                return self._take()
            if self._over:
                if not self._for_one_event:
                    self._owner.stream_moved()
                    await self._owner.stream_over()
                raise trio.EndOfChannel
            await self._waiting.park()

    def _reader_left(self, reference: "weakref.ref[StreamReader[T]]") -> None:
        self._readers.remove(reference)
        try:
            at_home = trio.lowlevel.current_trio_token() is self._trio_token
        except RuntimeError:
            at_home = False
        if at_home:
            self._note_departure()
        else:
            # The garbage collector may come by in any thread, and after the end.
            with suppress(trio.RunFinishedError):
                self._trio_token.run_sync_soon(self._note_departure)

    def _note_departure(self) -> None:
        if not self._has_readers():
            self._on_unread()
        self._owner.stream_moved()

    def _put(self, item: T) -> None:
        self._buffer.append(item)
        if self._waiting.unpark():
            self._on_woken()

    def _on_woken(self) -> None:
        """A reader was waiting, and has something now."""
        self._owner.stream_woke()

    def _take(self) -> T:
        return self._buffer.pop(0)

    def _clear(self) -> None:
        self._buffer.clear()

    def _on_read(self) -> None:
        """Somebody began to read."""

    def _on_unread(self) -> None:
        """Nobody reads any more."""


def _is_alive(task: trio.lowlevel.Task) -> bool:
    return inspect.getcoroutinestate(task.coro) != inspect.CORO_CLOSED


@final
class EventStream(Stream[E]):
    """Events of some types, from the moment it was made. Nothing is dropped.

    Made by `Session.subscribe`.
    """

    def __init__(
        self, owner: StreamOwner, name: str, types: tuple[type[E], ...], limit: int
    ) -> None:
        super().__init__(owner, name)
        self.limit = limit
        self._types = types

    def _feed(self, event: Event) -> None:
        """Add an event, if it is of our types."""
        if self._over or (self._types and not isinstance(event, self._types)):
            return
        full = len(self._buffer) >= self.limit
        if full and self._owner.stream_overflowed(self, self.limit):
            return
        self._put(cast(E, event))


@final
class Backlog(Stream[Event]):
    """A session's own stream: every event since the beginning, for a body that begins to read.

    A body need not: while nobody reads, what is over `limit` is skipped from the old end, and
    whoever begins after all is told by `EventsSkipped`. From then on nothing is dropped, and what
    had piled up before does not count against the limit. A body that has left its loop no longer
    reads.
    """

    def __init__(self, owner: StreamOwner, limit: int) -> None:
        super().__init__(owner, "the session's own stream")
        self.limit = limit
        self._begun = False
        self._skipped = 0
        #: How many of the unread were there when the body began.
        self._inherited = 0

    def _feed(self, event: Event) -> None:
        """Add an event."""
        if self._over:
            return
        if len(self._buffer) - self._inherited >= self.limit:
            if not self._begun:
                self._skipped += 1
                if isinstance(skipped := self._buffer.pop(0), EventsSkipped):
                    self._skipped += skipped.count - 1
            elif self._owner.stream_overflowed(self, self.limit):
                return
        self._put(event)

    def _on_read(self) -> None:
        if self._begun:
            return
        self._begun = True
        if self._skipped:
            self._buffer.insert(
                0, EventsSkipped(count=self._skipped, at=self._buffer[0].at if self._buffer else 0)
            )
            self._skipped = 0
        self._inherited = len(self._buffer)

    def _on_unread(self) -> None:
        self._begun = False
        self._inherited = 0

    def _take(self) -> Event:
        self._inherited = max(self._inherited - 1, 0)
        return super()._take()


@final
class AudioStream(Stream[AudioChunk]):
    """The bot's audio while somebody reads it, at most `max_seconds` of it, the newest.

    When the bot is interrupted, what is unread is forgotten: it is the rest of a sentence that
    nobody should hear any more.

    Each chunk that is read is a point at which one can be cancelled; other tasks run at least after
    every sixteenth that was there already.
    """

    def __init__(self, owner: StreamOwner, name: str, max_seconds: float) -> None:
        super().__init__(owner, name)
        self.max_seconds = max_seconds
        #: Seconds of audio that were dropped because they were read too slowly.
        self.dropped_seconds = 0.0
        #: Seconds of audio that were forgotten because the bot was interrupted.
        self.flushed_seconds = 0.0
        #: Seconds of audio that nobody should hear and that was given out all the same: what would
        #: still sound when the bot was interrupted, if it was played as it was read, and what came
        #: of the same utterance afterwards.
        self.stale_seconds = 0.0
        #: Called at once when the stream is flushed: whoever has read some of it and not used it
        #: yet forgets that too. One that raises ends the session with its error.
        self.on_flush: list[Callable[[], object]] = []
        self._taps: tuple[Callable[[AudioChunk], object], ...] = ()
        self._seconds = 0.0
        self._sounds_until = 0.0
        self._is_stale = False
        self._left_of_turn = 0

    @property
    def unread_seconds(self) -> float:
        """How much audio waits to be read."""
        return self._seconds

    def tap(self, hear: Callable[[AudioChunk], object]) -> AbstractContextManager[None]:
        """Have `hear` called with each chunk, at once, as it comes, until the block is left::

            with session.audio.tap(meter.feed):
                ...

        For who looks at the sound and is done with it, such as a meter or a detector: no task wakes
        up for it, so it costs a fraction of an ``async for``. Nothing is kept for it or dropped,
        and whoever reads the stream hears all the same. When the bot is interrupted, `on_flush` is
        told.

        It is called from within the session, where sound is received: not in your task, and for all
        sessions of a process in turn, so it can't wait, and has to be quick. One that raises ends
        its session with that.

        Raises:
            trio.ClosedResourceError: this stream was closed.
            TypeError: `hear` is an async function.
        """
        if inspect.iscoroutinefunction(hear):
            raise TypeError(f"a tap can't wait, and {hear!r} is async: read the stream instead")
        if self._closed:
            raise trio.ClosedResourceError
        # An object of its own, that one function may be there twice.
        return self._tapping(partial(hear))

    @contextmanager
    def _tapping(self, entry: Callable[[AudioChunk], object]) -> Iterator[None]:
        self._taps = (*self._taps, entry)
        self._owner.stream_read()
        try:
            yield
        finally:
            self._taps = tuple(one for one in self._taps if one is not entry)
            self._owner.stream_read()

    def close(self) -> None:
        """Read no more, and tell no tap. What is unread is forgotten.

        Who waits gets `trio.ClosedResourceError`.
        """
        self._taps = ()
        super().close()

    def _feed(self, chunk: AudioChunk) -> None:
        """Add a chunk, if anybody reads, and give it to the taps."""
        if self._over:
            return
        if self._has_readers():
            self._put(chunk)
            self._seconds += chunk.duration
        elif self._taps:
            self._note_given(chunk)
        else:
            return
        if self._is_stale:
            self.stale_seconds += chunk.duration
        # One chunk always stays: pipecat's last one alone is two seconds of silence.
        while self._seconds > self.max_seconds and len(self._buffer) > 1:
            self.dropped_seconds += self._pop().duration
        for hear in self._taps:
            if not self._closed:  # by one of them
                hear(chunk)

    def flush(self) -> float:
        """Forget what is unread, and tell `on_flush`; return how many seconds that was."""
        flushed = self._seconds
        self.flushed_seconds += flushed
        self._clear()
        for told in [*self.on_flush]:
            told()
        return flushed

    def _interrupt(self, *, is_speaking: bool) -> None:
        """The bot was interrupted. If it was speaking, what comes until it stops is stale too."""
        now = trio.current_time()
        self.stale_seconds += max(self._sounds_until - now, 0)
        self._sounds_until = now
        self._is_stale = is_speaking
        self.flush()

    def _refresh(self) -> None:
        """What comes now belongs to something new."""
        self._is_stale = False

    def _on_read(self) -> None:
        self._owner.stream_read()

    def _on_unread(self) -> None:
        # Whoever comes later wants to hear what is said then.
        self._clear()

    def _on_woken(self) -> None:
        """Audio is a flow; nobody waits for one chunk and then for the next event."""

    async def _next(self) -> AudioChunk:
        # A turn for each chunk: then a process in which turns are long would hear less in each than
        # comes in it, and be behind for ever.
        if self._left_of_turn and self._buffer:
            self._left_of_turn -= 1
            await trio.lowlevel.checkpoint_if_cancelled()
            return self._take()
        self._left_of_turn = _CHUNKS_A_TURN - 1
        return await super()._next()

    def _take(self) -> AudioChunk:
        chunk = self._pop()
        self._note_given(chunk)
        return chunk

    def _note_given(self, chunk: AudioChunk) -> None:
        self._sounds_until = max(self._sounds_until, trio.current_time()) + chunk.duration

    def _is_wanted(self) -> bool:
        """Does anybody read, or listen?"""
        return bool(self._taps) or self._has_readers()

    def _pop(self) -> AudioChunk:
        chunk = super()._take()
        self._seconds = self._seconds - chunk.duration if self._buffer else 0.0
        return chunk

    def _clear(self) -> None:
        super()._clear()
        self._seconds = 0.0


@final
class VideoStream(Stream[VideoFrame]):
    """The bot's video while somebody reads it, at most `max_frames` of it, the newest."""

    def __init__(self, owner: StreamOwner, name: str, max_frames: int) -> None:
        super().__init__(owner, name)
        self.max_frames = max_frames
        #: Frames that were dropped because they were read too slowly.
        self.dropped_frames = 0

    def _feed(self, frame: VideoFrame) -> None:
        """Add a frame, if anybody reads."""
        if self._over or not self._has_readers():
            return
        self._put(frame)
        if len(self._buffer) > self.max_frames:
            self._take()
            self.dropped_frames += 1

    def _on_read(self) -> None:
        self._owner.stream_read()

    def _on_unread(self) -> None:
        self._clear()

    def _on_woken(self) -> None:
        """Video is a flow; nobody waits for one frame and then for the next event."""
