"""Streams: who reads them, what they keep, and what they tell the session."""

import gc
import math
from contextlib import ExitStack

import pytest
import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from trio_pipecat import BotOutput, Error, EventsSkipped, VideoFrame
from trio_pipecat._messages import Event
from trio_pipecat._streams import AudioStream, Backlog, EventStream, StreamOwner, VideoStream
from trio_pipecat.audio import AudioChunk


class Session(StreamOwner):
    """What a session does for its streams: here it writes down what it is told."""

    def __init__(self, *, ends=False):
        self.told = []
        self.over = trio.Event()
        self._ends = ends

    def stream_moved(self):
        self.told.append("moved")

    def stream_read(self):
        self.told.append("read")

    def stream_woke(self):
        self.told.append("woke")

    async def stream_over(self):
        self.told.append("over")

    def stream_overflowed(self, stream, limit):
        self.told.append(f"overflow at {limit}: {stream._describe()}")
        return self._ends

    def stream_closed(self, stream):
        self.told.append(f"closed {stream.name}")


def error(number):
    """Return an event that can be told from others."""
    return Error(error=str(number), at=float(number))


def numbers(events):
    """Return which events these are."""
    return [int(event.error) for event in events]


def filled(*, limit=100, count=3, owner=None):
    """Return a stream of events with some in it."""
    stream = EventStream(owner or Session(), "events", (), limit)
    for number in range(count):
        stream._feed(error(number))
    return stream


def sound(seconds, value=0):
    """Return a chunk that sounds so long, of samples that tell it from others."""
    return AudioChunk(bytes([value, 0]) * round(seconds * 1000), 1000)


def audio(*, max_seconds=10.0, owner=None):
    """Return a stream of audio."""
    return AudioStream(owner or Session(), "audio", max_seconds)


async def take(stream, count):
    """Read so many items."""
    return [await stream.receive() for _ in range(count)]


async def read_to_the_end(stream):
    """Read everything."""
    return [item async for item in stream]


# -- reading -----------------------------------------------------------------------------


async def test_items_come_in_order():
    """What was put in comes out, in order; when the session is over, so is the iteration."""
    stream = filled(count=3)
    stream._finish()
    assert [0, 1, 2] == numbers(await read_to_the_end(stream))


async def test_readers_wait():
    """A reader that has read everything waits for the next item, and for the end."""
    stream = filled(count=0)
    seen = []

    async def read():
        async for event in stream:
            seen.append(event)
        seen.append(error(99))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        stream._feed(error(1))
        await wait_all_tasks_blocked()
        assert [1] == numbers(seen)
        stream._finish()
    assert [1, 99] == numbers(seen)


async def test_direct_readers_wait():
    """A call of receive waits in the same way, and tells of the end with an exception."""
    stream = filled(count=0)
    seen = []

    async def read():
        seen.append(await stream.receive())
        with pytest.raises(trio.EndOfChannel):
            await stream.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        stream._feed(error(1))
        await wait_all_tasks_blocked()
        stream._finish()
    assert [1] == numbers(seen)


async def test_receiving_is_a_checkpoint():
    """Reading is a checkpoint, even if there is something to read."""
    stream = filled(count=2)
    with assert_checkpoints():
        await stream.receive()
    reader = aiter(stream)
    with assert_checkpoints():
        await anext(reader)


async def turns_of_others(turns):
    """Count the turns that other tasks have."""
    while True:
        turns.append(None)
        await trio.lowlevel.checkpoint()


async def test_sound_that_is_there_is_read_in_few_turns():
    """Sixteen chunks a turn: who was behind catches up, and others are not kept waiting."""
    stream = audio()
    stream._feed(sound(0.01))  # nobody reads: it is gone
    reader = aiter(stream)
    for value in range(160):
        stream._feed(sound(0.01, value))
    turns, heard = [], []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(turns_of_others, turns)
        for _ in range(160):
            heard.append((await anext(reader)).pcm[0])
        nursery.cancel_scope.cancel()
    assert [*range(160)] == heard
    assert 8 <= len(turns) <= 12


@pytest.mark.parametrize("read_before", range(4))
async def test_reading_sound_is_a_point_of_cancelling(read_before):
    """Also if it is no turn of other tasks, and nothing is lost."""
    stream = audio()
    reader = aiter(stream)
    for value in range(5):
        stream._feed(sound(0.01, value))
    for _ in range(read_before):
        await anext(reader)
    with trio.CancelScope() as scope:
        scope.cancel()
        await anext(reader)
    assert scope.cancelled_caught
    assert read_before == (await anext(reader)).pcm[0]


async def test_iterating_over_an_iterator():
    """An iterator can be iterated over: it is the same one."""
    stream = filled(count=1)
    reader = aiter(stream)
    assert reader is aiter(reader)


async def test_receive_nowait():
    """What is there can be had without waiting; else one is told why there is none."""
    stream = filled(count=1)
    assert [0] == numbers([stream.receive_nowait()])
    with pytest.raises(trio.WouldBlock):
        stream.receive_nowait()
    stream._feed(error(1))
    stream._finish()
    assert [1] == numbers([stream.receive_nowait()])
    with pytest.raises(trio.EndOfChannel):
        stream.receive_nowait()
    stream.close()
    with pytest.raises(trio.ClosedResourceError):
        stream.receive_nowait()


async def test_reader_at_the_end_asks_the_session():
    """A reader that finds the stream over tells the session, which may keep it for ever."""
    owner = Session()
    stream = filled(count=0, owner=owner)
    stream._finish()
    assert [] == await read_to_the_end(stream)
    assert ["moved", "over", "moved"] == owner.told  # then the iterator is gone


async def test_reader_that_waits_for_one_event_does_not_ask():
    """Whoever waits for one event only is told of the end at once, whatever the session does."""
    owner = Session()
    stream = filled(count=0, owner=owner)
    stream._for_one_event = True
    stream._finish()
    with pytest.raises(trio.EndOfChannel):
        await stream.receive()
    assert [] == owner.told


async def test_a_woken_reader_is_told_to_the_session():
    """The session learns that a reader of events was waiting, not of those that were busy."""
    owner = Session()
    stream = filled(count=1, owner=owner)
    assert [] == owner.told
    async with trio.open_nursery() as nursery:
        nursery.start_soon(take, stream, 2)
        await wait_all_tasks_blocked()
        stream._feed(error(1))
        assert ["woke"] == owner.told


async def test_a_woken_reader_goes_on_in_the_same_step():
    """A reader that was waiting has the item, and goes on with it, before it yields again."""
    stream = filled(count=0)
    order = []

    async def read():
        await stream.receive()
        order.append("read")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        stream._feed(error(1))
        await trio.lowlevel.checkpoint()
        order.append("one step later")
        await trio.lowlevel.checkpoint()
    assert "read" in order[:2]


async def test_owner_without_opinions():
    """What a stream asks of its session has answers that do nothing."""
    owner = StreamOwner()
    stream = EventStream(owner, "events", (), 1)
    stream._feed(error(0))
    stream._feed(error(1))
    async with trio.open_nursery() as nursery:
        await take(stream, 2)
        nursery.start_soon(take, stream, 1)
        await wait_all_tasks_blocked()
        stream._feed(error(2))
    stream._finish()
    assert [] == await read_to_the_end(stream)
    stream.close()


# -- cancelling, and several readers -----------------------------------------------------


async def test_cancelled_reader_loses_nothing():
    """A reader that is cancelled while it waits leaves what comes to the next."""
    stream = filled(count=0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.receive)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    stream._feed(error(1))
    assert [1] == numbers([await stream.receive()])


async def test_reader_that_is_cancelled_already_takes_nothing():
    """A read in a cancelled scope takes nothing."""
    stream = filled(count=1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.receive()
    assert scope.cancelled_caught
    assert 1 == stream.unread


async def test_reader_that_is_cancelled_when_it_was_woken_keeps_its_item():
    """An item that has woken a reader is read by it, or still there, when it is cancelled then."""
    stream = filled(count=0)
    seen = []

    async def read():
        seen.append(await stream.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        stream._feed(error(1))
        nursery.cancel_scope.cancel()
    assert 1 == len(seen) + stream.unread


async def test_two_readers_share():
    """Of two readers each item goes to one."""
    stream = filled(count=0)
    seen = []

    async def read(name):
        async for event in stream:
            seen.append((name, event.error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, "one")
        nursery.start_soon(read, "two")
        await wait_all_tasks_blocked()
        for number in range(6):
            stream._feed(error(number))
        await wait_all_tasks_blocked()
        stream._finish()
    assert [0, 1, 2, 3, 4, 5] == sorted(int(number) for _, number in seen)
    assert {"one", "two"} == {name for name, _ in seen}


async def test_item_that_another_reader_took():
    """A reader that was woken for an item that is gone waits on."""
    stream = filled(count=0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(take, stream, 1)
        await wait_all_tasks_blocked()
        stream._feed(error(1))
        assert [1] == numbers([stream.receive_nowait()])
        await wait_all_tasks_blocked()
        stream._feed(error(2))
    assert 0 == stream.unread


# -- who reads ---------------------------------------------------------------------------


async def test_nobody_reads_a_new_stream():
    """A stream that nobody has read has no readers, and says so."""
    stream = filled()
    assert set() == stream._reading_tasks()
    assert "events, read by nobody" == stream._describe()


async def test_direct_reader():
    """A call of receive makes a reader of the task, and it stays one."""
    for call in ("receive", "receive_nowait"):
        stream = filled()
        taken = getattr(stream, call)()
        if call == "receive":
            await taken
        task = trio.lowlevel.current_task()
        assert {task} == stream._reading_tasks()
        assert f"events, read by {task.name}" == stream._describe()


@pytest.mark.parametrize("how", ["break", "return", "raise", "cancel", "end"])
async def test_iterating_reader_is_forgotten(how):
    """Whoever iterates is a reader until the loop is left, however it is left."""
    owner = Session()
    stream = filled(owner=owner)
    if how == "end":
        stream._finish()
    during = []

    async def read():
        async for _ in stream:
            during.append(stream._reading_tasks())
            match how:
                case "break":
                    break
                case "return":
                    return
                case "raise":
                    raise ValueError
                case "cancel":
                    scope.cancel()

    with trio.CancelScope() as scope:
        if how == "raise":
            with pytest.raises(ValueError):
                await read()
        else:
            await read()
    await trio.lowlevel.checkpoint()  # trio itself holds what it raised until then
    gc.collect()
    assert {trio.lowlevel.current_task()} == during[0]
    assert set() == stream._reading_tasks()
    assert "moved" == owner.told[-1]


async def test_iterator_is_a_reader_until_it_is_garbage():
    """An iterator that is kept keeps its task a reader; deleting it tells the session."""
    owner = Session()
    stream = filled(owner=owner)
    reader = aiter(stream)
    assert {trio.lowlevel.current_task()} == stream._reading_tasks()
    assert [] == owner.told
    del reader
    gc.collect()
    assert set() == stream._reading_tasks()
    assert ["moved"] == owner.told


async def test_garbage_may_be_collected_anywhere():
    """An iterator in a ring of references, found by the collector in another thread."""
    owner = Session()
    stream = filled(owner=owner)
    ring = [aiter(stream)]
    ring.append(ring)
    del ring
    await trio.to_thread.run_sync(gc.collect)
    await wait_all_tasks_blocked()
    assert set() == stream._reading_tasks()
    assert ["moved"] == owner.told


async def test_readers_in_several_tasks():
    """The readers of a stream are named, in alphabetical order."""
    stream = filled(count=0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_to_the_end, stream, name="zoe")
        nursery.start_soon(read_to_the_end, stream, name="ann")
        await wait_all_tasks_blocked()
        assert "events, read by ann, zoe" == stream._describe()
        stream._finish()


# -- closing -----------------------------------------------------------------------------


async def test_closing_forgets_and_tells():
    """A closed stream has nothing in it; the session is told once."""
    owner = Session()
    stream = filled(owner=owner)
    stream.close()
    stream.close()
    assert 0 == stream.unread
    assert ["closed events", "moved"] == owner.told
    with pytest.raises(trio.ClosedResourceError):
        await stream.receive()
    with pytest.raises(trio.ClosedResourceError):
        await read_to_the_end(stream)


async def test_closing_wakes_who_waits():
    """Readers that wait are told that their stream was closed."""
    stream = filled(count=0)
    refused = []

    async def read(receive):
        with pytest.raises(trio.ClosedResourceError):
            await receive(stream)
        refused.append(receive)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, read_to_the_end)
        nursery.start_soon(read, EventStream.receive)
        await wait_all_tasks_blocked()
        stream.close()
    assert 2 == len(refused)


async def test_stream_as_a_context():
    """A stream is closed at the end of its block."""
    owner = Session()
    with pytest.raises(ValueError), filled(owner=owner) as stream:
        assert 3 == stream.unread
        raise ValueError
    assert ["closed events", "moved"] == owner.told


async def test_repr_says_where_it_is():
    """A stream shows its kind, its name, its state and what is unread."""
    stream = filled(count=2)
    assert "<EventStream events: open, 2 unread>" == repr(stream)
    stream._finish()
    assert "<EventStream events: over, 2 unread>" == repr(stream)
    stream.close()
    assert "<EventStream events: closed, 0 unread>" == repr(stream)


# -- streams of events -------------------------------------------------------------------


async def test_events_of_some_types():
    """A stream of some types takes events of these and of no other."""
    stream = EventStream(Session(), "outputs", (BotOutput, EventsSkipped), 10)
    output, skipped = BotOutput(text="hi"), EventsSkipped(count=1)
    for event in (error(1), output, error(2), skipped):
        stream._feed(event)
    assert [output, skipped] == await take(stream, 2)
    assert 0 == stream.unread


async def test_events_of_a_base_class():
    """A class stands for everything derived from it."""
    stream = EventStream(Session(), "all", (Event,), 10)
    stream._feed(error(1))
    assert 1 == stream.unread


async def test_nothing_comes_after_the_end():
    """When the session is over nothing more is taken."""
    for stream in (filled(count=1), Backlog(Session(), 10)):
        before = stream.unread
        stream._finish()
        stream._feed(error(9))
        assert before == stream.unread


@pytest.mark.parametrize("ends", [False, True])
async def test_overflow(ends):
    """At its limit a stream names its readers to the session, which ends, or lets it overflow."""
    owner = Session(ends=ends)
    stream = filled(limit=2, count=2, owner=owner)
    assert [] == owner.told
    reader = aiter(stream)
    stream._feed(error(2))
    name = trio.lowlevel.current_task().name
    assert [f"overflow at 2: events, read by {name}"] == owner.told
    assert (2 if ends else 3) == stream.unread
    del reader


async def test_events_of_other_types_do_not_overflow():
    """What a stream does not want does not fill it."""
    owner = Session(ends=True)
    stream = EventStream(owner, "outputs", (BotOutput,), 1)
    for event in (BotOutput(text="hi"), error(1), error(2)):
        stream._feed(event)
    assert [] == owner.told


# -- the session's own stream ------------------------------------------------------------


def backlog(*, limit=3, count=0, owner=None):
    """Return a session's own stream with events in it."""
    stream = Backlog(owner or Session(), limit)
    for number in range(count):
        stream._feed(error(number))
    return stream


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_backlog_keeps_what_fits(count):
    """A body that begins to read in time gets every event since the beginning."""
    stream = backlog(limit=3, count=count)
    assert list(range(count)) == numbers(await take(stream, count))


@pytest.mark.parametrize("how", ["receive", "receive_nowait", "iterate"])
async def test_backlog_skips_what_is_too_old(how):
    """A body that begins late is told how many events were skipped, before the oldest it gets."""
    stream = backlog(limit=3, count=5)
    assert 3 == stream.unread
    match how:
        case "receive":
            first = await stream.receive()
        case "receive_nowait":
            first = stream.receive_nowait()
        case "iterate":
            first = await anext(aiter(stream))
    assert EventsSkipped(count=2) == first
    assert 2.0 == first.at
    assert [2, 3, 4] == numbers(await take(stream, 3))


async def test_backlog_skips_silently_and_for_ever():
    """A body that never reads costs no more than the limit, and nobody is told."""
    owner = Session()
    stream = backlog(limit=3, count=1000, owner=owner)
    assert (3, []) == (stream.unread, owner.told)


async def test_backlog_of_a_reader_never_drops():
    """Once the body has begun to read, a full stream is an overflow."""
    owner = Session(ends=True)
    stream = backlog(limit=3, count=1, owner=owner)
    await take(stream, 1)
    for number in range(1, 5):
        stream._feed(error(number))
    assert 1 == len(owner.told)
    assert "overflow at 3: the session's own stream, read by" in owner.told[0]
    assert [1, 2, 3] == numbers(await take(stream, 3))


async def test_backlog_may_be_told_to_take_the_last():
    """When the session is ending anyway, a full stream takes the last events all the same."""
    stream = backlog(limit=1, owner=Session(ends=False))
    reader = aiter(stream)
    stream._feed(error(0))
    stream._feed(error(1))
    assert 2 == stream.unread
    del reader


async def test_backlog_that_is_full_when_the_body_begins():
    """A body that begins late has the whole limit from then on, not only what is left of it."""
    owner = Session(ends=True)
    stream = backlog(limit=3, count=5, owner=owner)
    reader = aiter(stream)
    for number in range(5, 8):
        stream._feed(error(number))
    assert [] == owner.told
    skipped, *events = [await anext(reader) for _ in range(7)]
    assert (EventsSkipped(count=2), [2, 3, 4, 5, 6, 7]) == (skipped, numbers(events))
    for number in range(8, 12):
        stream._feed(error(number))
    assert 1 == len(owner.told)


async def test_backlog_is_told_once():
    """The note about skipped events comes once."""
    stream = backlog(limit=1, count=3)
    first = await stream.receive()
    assert EventsSkipped(count=2) == first
    assert [2] == numbers(await take(stream, 1))
    stream._feed(error(3))
    assert [3] == numbers(await take(stream, 1))


async def test_backlog_that_was_closed():
    """A backlog whose events are forgotten has the note, without a time of its own."""
    stream = backlog(limit=1, count=3)
    stream.close()
    with pytest.raises(trio.ClosedResourceError):
        await stream.receive()


# -- audio -------------------------------------------------------------------------------


async def test_audio_that_nobody_reads_is_not_kept():
    """A stream of audio keeps nothing until somebody reads."""
    stream = audio()
    stream._feed(sound(1))
    assert (0, 0.0, 0.0) == (stream.unread, stream.unread_seconds, stream.dropped_seconds)


@pytest.mark.parametrize("how", ["iterator", "receive_nowait"])
async def test_audio_that_somebody_reads_is_kept(how):
    """From the first read on audio is kept, and measured."""
    stream = audio()
    if how == "iterator":
        reader = aiter(stream)
    else:
        with pytest.raises(trio.WouldBlock):
            stream.receive_nowait()
    stream._feed(sound(1, 1))
    stream._feed(sound(0.5, 2))
    assert (2, 1.5) == (stream.unread, stream.unread_seconds)
    assert sound(1, 1) == await (anext(reader) if how == "iterator" else stream.receive())
    assert 0.5 == stream.unread_seconds
    assert sound(0.5, 2) == stream.receive_nowait()
    assert 0.0 == stream.unread_seconds


async def test_audio_after_the_reader_left():
    """When the last reader has left, what is unread is forgotten, and nothing more comes."""
    stream = audio()
    reader = aiter(stream)
    stream._feed(sound(1))
    del reader
    gc.collect()
    stream._feed(sound(1))
    assert (0.0, 0) == (stream.unread_seconds, stream.unread)


async def test_old_audio_is_dropped():
    """More than so many seconds are not kept: the oldest chunk goes first, and is counted."""
    stream = audio(max_seconds=2)
    reader = aiter(stream)
    for value in range(5):
        stream._feed(sound(1, value))
    assert (2.0, 3.0) == (stream.unread_seconds, stream.dropped_seconds)
    assert [sound(1, 3), sound(1, 4)] == [await anext(reader), await anext(reader)]


async def test_one_chunk_always_stays():
    """A chunk that is longer than all that is kept is kept alone."""
    stream = audio(max_seconds=1)
    reader = aiter(stream)
    stream._feed(sound(0.5, 1))
    stream._feed(sound(2, 2))
    assert (2.0, 0.5) == (stream.unread_seconds, stream.dropped_seconds)
    assert sound(2, 2) == await anext(reader)


async def test_reader_that_waits_gets_audio_at_once():
    """A reader that waits for audio is woken by it, and the session has not to mind that."""
    owner = Session()
    stream = audio(max_seconds=0.1, owner=owner)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(take, stream, 1)
        await wait_all_tasks_blocked()
        stream._feed(sound(1))
    assert ["read"] == owner.told


async def test_interruption_flushes_audio():
    """Flushing forgets what is unread, says how much that was, and adds it up."""
    stream = audio()
    reader = aiter(stream)
    stream._feed(sound(1))
    stream._feed(sound(0.25))
    assert 1.25 == stream.flush()
    assert (0, 0.0) == (stream.unread, stream.unread_seconds)
    assert 0.0 == stream.flush()
    stream._feed(sound(0.5))
    assert 0.5 == stream.flush()
    assert (1.75, 0.0) == (stream.flushed_seconds, stream.dropped_seconds)
    del reader


async def test_flushing_is_told():
    """Everyone is told in the same moment, once each, and nobody who has left; nothing is there."""
    stream = audio()
    reader = aiter(stream)
    told = []

    def once():
        told.append(("once", stream.unread))
        stream.on_flush.remove(once)

    stream.on_flush += [once, lambda: told.append(("always", stream.unread))]
    stream._feed(sound(1))
    stream.flush()
    stream.flush()
    assert [("once", 0), ("always", 0), ("always", 0)] == told
    del reader


async def test_a_tap_is_told_of_each_chunk_at_once():
    """Whether anybody reads or not; who reads hears all the same. The session learns of it."""
    owner = Session()
    stream = audio(owner=owner)
    heard = []
    with stream.tap(heard.append):
        assert stream._is_wanted()
        assert not stream._has_readers()
        stream._feed(sound(1))
        assert (1, 0) == (len(heard), stream.unread)
        reader = aiter(stream)
        stream._feed(sound(0.5))
        assert heard[1] is await anext(reader)
        del reader
    assert not stream._is_wanted()
    stream._feed(sound(1))
    assert 2 == len(heard)
    assert ["read", "read", "moved", "read"] == owner.told
    assert 0.0 == stream.dropped_seconds


async def test_one_function_may_tap_twice():
    """Each block takes its own away, in whatever order they are left."""
    stream = audio()
    heard = []
    first, second = stream.tap(heard.append), stream.tap(heard.append)
    with first:
        with second:
            stream._feed(sound(0.1))
        stream._feed(sound(0.2))
    assert [0.1, 0.1, 0.2] == [chunk.duration for chunk in heard]


async def test_a_tap_may_leave_while_it_is_told():
    """Then it is told of that chunk still, and of no other; the rest go on."""
    stream = audio()
    heard = []
    with ExitStack() as stack, stream.tap(lambda chunk: stack.close()), stream.tap(heard.append):
        stack.enter_context(stream.tap(heard.append))
        stream._feed(sound(1))
        stream._feed(sound(1))
    assert 3 == len(heard)


async def test_a_closed_stream_tells_no_tap():
    """Not even of the chunk at which one of them closes it; nor takes one."""
    stream = audio()
    heard = []
    with stream.tap(lambda chunk: stream.close()), stream.tap(heard.append):
        stream._feed(sound(1))
        assert not stream._is_wanted()
    with pytest.raises(trio.ClosedResourceError):
        stream.tap(heard.append)
    over = audio()
    over._finish()
    with over.tap(heard.append):
        over._feed(sound(1))
    assert [] == heard


async def test_a_tap_cannot_wait():
    """What is async would never be awaited."""

    async def hear(chunk):
        """Wait."""

    with pytest.raises(TypeError, match=r"hear.* is async"):
        audio().tap(hear)


async def test_what_a_tap_was_told_may_be_stale(autojump_clock):
    """It has been given out, as what was read; whoever reads as well counts once."""
    stream = audio()
    with stream.tap(lambda chunk: None):
        stream._feed(sound(1))
        stream._feed(sound(1))
        await trio.sleep(0.5)
        stream._interrupt(is_speaking=True)
        assert 1.5 == pytest.approx(stream.stale_seconds)
        reader = aiter(stream)
        stream._feed(sound(0.25))
        await anext(reader)
        assert 1.75 == pytest.approx(stream.stale_seconds)


async def test_rounding_does_not_add_up():
    """An empty stream has no seconds at all, however odd the chunks were."""
    stream = audio(max_seconds=math.inf)
    reader = aiter(stream)
    for _ in range(1000):
        stream._feed(AudioChunk(b"\0\0" * 7, 22_050))
    for _ in range(1000):
        await anext(reader)
    assert 0.0 == stream.unread_seconds


async def test_closed_audio():
    """Closing forgets what is unread, and counts it nowhere."""
    stream = audio()
    reader = aiter(stream)
    stream._feed(sound(1))
    stream.close()
    assert (0, 0.0, 0.0) == (stream.unread, stream.unread_seconds, stream.flushed_seconds)
    del reader


async def test_audio_after_the_end():
    """When the session is over, what is unread is still read, and nothing more comes."""
    stream = audio()
    reader = aiter(stream)
    stream._feed(sound(1, 1))
    stream._finish()
    stream._feed(sound(1, 2))
    assert [sound(1, 1)] == [chunk async for chunk in reader]


# -- video -------------------------------------------------------------------------------


def picture(number):
    """Return a frame that can be told from others."""
    return VideoFrame(data=bytes([number]) * 6, width=2, height=2)


async def test_video_that_nobody_reads_is_not_kept():
    """And begins with the first frame after somebody does; the session is told that he does."""
    session = Session()
    stream = VideoStream(session, "video", 3)
    stream._feed(picture(1))
    assert (0, []) == (stream.unread, session.told)
    reader = aiter(stream)
    stream._feed(picture(2))
    assert picture(2) == await anext(reader)
    assert ["read"] == session.told


async def test_old_video_is_dropped():
    """The newest stays, and what went is counted."""
    stream = VideoStream(Session(), "video", 3)
    reader = aiter(stream)
    for number in range(5):
        stream._feed(picture(number))
    assert (3, 2) == (stream.unread, stream.dropped_frames)
    assert [picture(n) for n in (2, 3, 4)] == [await anext(reader) for _ in range(3)]


async def test_video_after_the_reader_left():
    """What was unread is forgotten, and nothing more is kept."""
    session = Session()
    stream = VideoStream(session, "video", 3)
    reader = aiter(stream)
    stream._feed(picture(1))
    del reader
    gc.collect()
    stream._feed(picture(2))
    assert (0, 0, "moved") == (stream.unread, stream.dropped_frames, session.told[-1])


async def test_reader_that_waits_gets_video_at_once():
    """It is a flow: the next event does not wait for its reader."""
    session = Session()
    stream = VideoStream(session, "video", 3)
    frames = []

    async def read():
        frames.append(await stream.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        stream._feed(picture(1))
    assert [picture(1)] == frames
    assert "woke" not in session.told


async def test_video_after_the_end():
    """What was received is read, then the stream is over."""
    stream = VideoStream(Session(), "video", 3)
    reader = aiter(stream)
    stream._feed(picture(1))
    stream._finish()
    stream._feed(picture(2))
    assert picture(1) == await anext(reader)
    with pytest.raises(StopAsyncIteration):
        await anext(reader)
