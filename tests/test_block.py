"""A block: who is inside, who is told, who is parked, and who may finish reading."""

import math
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_pipecat import (
    ConnectionLostError,
    InternalError,
    ReadyTimeoutError,
    SessionEndedError,
    TransportStartError,
)
from trio_pipecat._block import Block
from trio_pipecat._messages import Error
from trio_pipecat._service import open_services
from trio_pipecat._state import SessionEnd, State
from trio_pipecat._streams import EventStream, StreamOwner

BOT_LEFT = SessionEnd(reason="bot", last_state=State.READY, first="bot", code=1000)


def lost():
    """Return the end of a session whose link was lost, with its error."""
    end = SessionEnd(reason="connection_lost", last_state=State.READY, first="network", code=1006)
    return with_error(end, ConnectionLostError(end, "it broke"))


def with_error(end, error):
    """Return `end` with an error."""
    return SessionEnd(
        reason=end.reason, last_state=end.last_state, first=end.first, code=end.code, error=error
    )


def failed_to_start(error):
    """Return the end of a session that could not start."""
    end = SessionEnd(reason="startup_failed", last_state=State.CONNECTING, first="network")
    return with_error(end, error)


@asynccontextmanager
async def open_block(*, grace=3):
    """Open services and a block in the calling task, as a session does."""

    async def farewell(error):
        block.leave()
        await trio.lowlevel.checkpoint()

    async with open_services(farewell, grace=grace) as services:
        block = Block(services, tuple, grace)
        yield block, services


async def tell_task(*, task_status):
    """Say which task this is, and stay."""
    task_status.started(trio.lowlevel.current_task())
    await trio.sleep_forever()


async def tell_and_return(*, task_status):
    """Say which task this is, and be over."""
    task_status.started(trio.lowlevel.current_task())
    await trio.lowlevel.checkpoint()


async def tell_child(*, task_status):
    """Open a nursery, and say which task runs in it."""
    async with trio.open_nursery() as nursery:
        task_status.started(await nursery.start(tell_task))


class Status:
    """What `Nursery.start` hands to a task, for one that is started otherwise."""

    def __init__(self, started):
        self.started = started


async def start_service(services, what):
    """Start a service, and return the task that it tells of."""
    send, receive = trio.open_memory_channel(1)
    services.start(partial(what, task_status=Status(send.send_nowait)), name="service")
    return await receive.receive()


class Owner(StreamOwner):
    """Tells a block what moves, as a session does."""

    def __init__(self, block):
        self.block = block

    def stream_moved(self):
        self.block.moved()

    async def stream_over(self):
        await self.block.over()


def stream_of(block, *, count=3):
    """Return a stream of a session that is over, with so much unread."""
    stream = EventStream(Owner(block), "events", (), 100)
    for number in range(count):
        stream._feed(Error(error=str(number)))
    stream._finish()
    return stream


# -- who is inside -----------------------------------------------------------------------


async def test_own_task_is_inside():
    """The task that opened the block is inside, in a nursery or not."""
    async with open_block() as (block, _):
        assert block.holds(trio.lowlevel.current_task())
        async with trio.open_nursery():
            assert block.holds(trio.lowlevel.current_task())


@pytest.mark.parametrize("depth", [1, 2, 3])
async def test_tasks_of_nurseries_inside_are_inside(depth):
    """A task in a nursery that was opened inside the block is inside, however deep."""

    async def descend(levels, *, task_status):
        async with trio.open_nursery() as nursery:
            deeper = tell_task if levels == 1 else lambda **kw: descend(levels - 1, **kw)
            task_status.started(await nursery.start(deeper))

    async with open_block() as (block, _), trio.open_nursery() as nursery:
        task = await nursery.start(tell_task if depth == 1 else tell_child)
        assert block.holds(task)
        task = await nursery.start(descend, depth)
        assert block.holds(task)
        nursery.cancel_scope.cancel()


async def test_several_nurseries_inside():
    """Of several nurseries inside the block each task is inside."""
    async with (
        open_block() as (block, _),
        trio.open_nursery() as one,
        trio.open_nursery() as two,
    ):
        assert block.holds(await one.start(tell_task))
        assert block.holds(await two.start(tell_task))
        one.cancel_scope.cancel()
        two.cancel_scope.cancel()


@pytest.mark.parametrize("what", [tell_task, tell_child])
async def test_tasks_of_nurseries_before_are_outside(what):
    """A task in a nursery that was opened before the block is outside, and so are its children."""
    async with trio.open_nursery() as nursery:
        before = await nursery.start(what)
        async with open_block() as (block, _):
            assert not block.holds(before)
            assert not block.holds(await nursery.start(what))
        nursery.cancel_scope.cancel()


async def test_other_task_trees_are_outside():
    """A task that has nothing to do with the block is outside, and so are trio's own."""
    opened, checked = trio.Event(), trio.Event()
    blocks = []

    async def session():
        async with open_block() as (block, _):
            blocks.append(block)
            opened.set()
            await checked.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(session)
        await opened.wait()
        sibling = await nursery.start(tell_task)
        assert not blocks[0].holds(trio.lowlevel.current_task())
        assert not blocks[0].holds(sibling)
        assert not blocks[0].holds(trio.lowlevel.current_root_task())
        checked.set()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("what", [tell_task, tell_child])
async def test_services_are_outside(what):
    """A task in the block's services, a function's handler say, is none of the body's."""
    async with open_block() as (block, services):
        assert not block.holds(await start_service(services, what))


async def test_a_task_that_is_over_is_outside():
    """Whether the nursery that it ran in still runs, or is closed."""
    async with open_block() as (block, _), trio.open_nursery() as outer:
        async with trio.open_nursery() as nursery:
            closed = await nursery.start(tell_task)
            over = await outer.start(tell_and_return)
            nursery.cancel_scope.cancel()
        assert (False, False) == (block.holds(closed), block.holds(over))


async def test_blocks_nest():
    """The inner of two blocks of a task has fewer tasks inside than the outer."""
    async with open_block() as (outer, _), trio.open_nursery() as nursery:
        between = await nursery.start(tell_task)
        async with open_block() as (inner, _), trio.open_nursery() as deep_nursery:
            deep = await deep_nursery.start(tell_task)
            assert (True, True) == (outer.holds(deep), inner.holds(deep))
            assert (True, False) == (outer.holds(between), inner.holds(between))
            deep_nursery.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


async def test_services_of_nested_blocks():
    """A session inside a session belongs to the outer one's body, with its services."""
    async with open_block() as (outer, outer_services), open_block() as (inner, inner_services):
        task = await start_service(inner_services, tell_task)
        assert (True, False) == (outer.holds(task), inner.holds(task))
        task = await start_service(outer_services, tell_task)
        assert (False, False) == (outer.holds(task), inner.holds(task))


async def test_nobody_is_inside_when_the_body_has_left():
    """After the body has left every task is outside."""
    async with open_block() as (block, _), trio.open_nursery() as nursery:
        task = await nursery.start(tell_task)
        block.leave()
        assert not block.holds(task)
        assert not block.holds(trio.lowlevel.current_task())
        nursery.cancel_scope.cancel()


# -- the end is noted --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "cancel", "raise_to_waiters", "waits", "ends"),
    [
        (lost(), True, True, False, True),
        (lost(), True, True, True, False),  # the error goes to the waiter
        (lost(), True, False, True, True),
        (lost(), True, False, False, True),
        (BOT_LEFT, True, True, True, True),  # there is no error that it could get
        (BOT_LEFT, True, True, False, True),
        (BOT_LEFT, False, True, False, False),
        (lost(), False, True, False, False),
    ],
)
async def test_whether_the_body_must_end(end, cancel, raise_to_waiters, waits, ends):
    """The body is cancelled unless it waits for a result and gets an error, or nobody wants it."""
    async with open_block() as (block, services):
        if waits:
            with block.waiting():
                noted = block.end(end, cancel=cancel, raise_to_waiters=raise_to_waiters)
        else:
            noted = block.end(end, cancel=cancel, raise_to_waiters=raise_to_waiters)
        assert ends is noted
        assert (end.error if cancel else None) is services.failure
        services.failure = None


@pytest.mark.parametrize("cancel", [True, False])
async def test_end_when_the_body_has_left(cancel):
    """A body that has left is not cancelled, but an error that was on its way leaves the block."""
    async with open_block() as (block, services):
        block.leave()
        end = lost()
        assert not block.end(end, cancel=cancel, raise_to_waiters=True)
        assert (end.error if cancel else None) is services.failure
        services.failure = None


async def test_waits_nest():
    """A task waits until it has left the last of its waits."""
    async with open_block() as (block, services):
        with block.waiting():
            with block.waiting():
                pass
            assert not block.end(lost(), cancel=True, raise_to_waiters=True)
        assert block.end(lost(), cancel=True, raise_to_waiters=True)
        services.failure = None


async def test_a_waiter_elsewhere_does_not_count():
    """Only the block's own task keeps the block from ending by waiting."""
    async with open_block() as (block, services), trio.open_nursery() as nursery:

        async def wait():
            with block.waiting():
                await trio.sleep_forever()

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert block.end(lost(), cancel=True, raise_to_waiters=True)
        services.failure = None
        nursery.cancel_scope.cancel()


async def test_a_wait_that_is_cancelled_is_over():
    """A cancelled wait is no wait any more."""
    async with open_block() as (block, services):
        with trio.CancelScope() as scope, block.waiting():
            scope.cancel()
            await trio.lowlevel.checkpoint()
        assert block.end(lost(), cancel=True, raise_to_waiters=True)
        services.failure = None


# -- seeing the body off -----------------------------------------------------------------


async def see_off(block, services, streams, *, grace=math.inf):
    """End the block as a session does, in a service."""
    block.end(BOT_LEFT, cancel=True, raise_to_waiters=True)
    block._streams, block._grace = lambda: streams, grace
    services.start(block.see_off, name="driver")
    await wait_all_tasks_blocked()


async def test_body_that_reads_nothing_is_cancelled_at_once(mock_clock):
    """A body without anything unread of what it reads is cancelled without delay."""
    async with open_block() as (block, services):
        unread_by_anybody = stream_of(block)
        read_out = stream_of(block, count=1)
        await read_out.receive()
        await see_off(block, services, [unread_by_anybody, read_out])
        await trio.sleep_forever()
    assert services.body.cancelled_caught


async def test_body_reads_what_is_there():
    """A body that is reading gets everything, and is cancelled when it asks for more."""
    read = []
    async with open_block() as (block, services):
        stream = stream_of(block)
        reader = aiter(stream)
        await see_off(block, services, [stream])
        async for event in reader:
            await wait_all_tasks_blocked()
            read.append(event.error)
        raise AssertionError("a body that asks for more is parked")
    assert ["0", "1", "2"] == read
    assert services.body.cancelled_caught


async def test_body_that_reads_too_slowly_is_cancelled(autojump_clock):
    """A body has so many seconds to read, and no more."""
    read = []
    async with open_block() as (block, services):
        stream = stream_of(block)
        reader = aiter(stream)
        start = trio.current_time()
        await see_off(block, services, [stream], grace=3)
        async for event in reader:
            read.append(event.error)
            await trio.sleep(2)
    assert ["0", "1"] == read
    assert 3 == trio.current_time() - start


async def test_body_that_stops_reading_is_cancelled():
    """A body that leaves its loop with something unread is cancelled when its iterator is gone."""
    async with open_block() as (block, services):
        stream = stream_of(block)
        reader = aiter(stream)
        await see_off(block, services, [stream])
        async for _ in reader:
            break
        del reader
        await trio.sleep_forever()
    assert services.body.cancelled_caught


async def test_children_inside_may_read_too():
    """A task of a nursery inside the block counts as a reader of the block."""
    read = []

    async def child(stream):
        async for event in stream:
            await wait_all_tasks_blocked()
            read.append(event.error)

    async with open_block() as (block, services), trio.open_nursery() as nursery:
        stream = stream_of(block)
        nursery.start_soon(child, stream)
        await wait_all_tasks_blocked()
        await see_off(block, services, [stream])
        await trio.sleep_forever()
    assert ["0", "1", "2"] == read


async def test_readers_outside_do_not_count():
    """A reader outside the block with something unread does not keep it from ending."""
    async with trio.open_nursery() as nursery:
        async with open_block() as (block, services):
            stream = stream_of(block)
            kept = []

            async def outside():
                kept.append(aiter(stream))
                await trio.sleep_forever()

            nursery.start_soon(outside)
            await wait_all_tasks_blocked()
            await see_off(block, services, [stream])
            await trio.sleep_forever()
        assert services.body.cancelled_caught
        nursery.cancel_scope.cancel()


async def test_a_parked_reader_does_not_count():
    """A body that is parked at one stream does not read another."""
    async with open_block() as (block, services):
        empty, full = stream_of(block, count=0), stream_of(block)
        reader = aiter(full)
        await see_off(block, services, [empty, full])
        await empty.receive()
    assert services.body.cancelled_caught
    del reader


async def test_a_body_that_leaves_is_not_waited_for():
    """Seeing off ends when the body leaves by itself."""
    async with open_block() as (block, services):
        stream = stream_of(block)
        reader = aiter(stream)
        await see_off(block, services, [stream])
    assert not services.body.cancelled_caught
    del reader


# -- a stream that is over ---------------------------------------------------------------


async def test_reader_of_a_block_that_goes_on():
    """While the block is not ending, a reader of a stream that is over goes on."""
    async with open_block() as (block, _):
        block.end(BOT_LEFT, cancel=False, raise_to_waiters=True)
        await block.over()


async def test_reader_of_a_block_that_is_ending():
    """While the block is ending, a reader that asks for more is parked, to be cancelled with it."""
    async with open_block() as (block, services):
        await see_off(block, services, [])
        with trio.CancelScope(shield=True) as scope:
            services.start(cancel_when_blocked, scope, name="watch")
            await block.over()
        assert scope.cancelled_caught
        await block.over()
    assert services.body.cancelled_caught


async def cancel_when_blocked(scope):
    """Cancel a scope when nothing moves any more."""
    await wait_all_tasks_blocked()
    scope.cancel()


async def test_reader_outside_a_block_that_is_ending():
    """A reader elsewhere goes on, whether the block is ending or not."""
    async with trio.open_nursery() as nursery, open_block() as (block, services):
        await see_off(block, services, [])
        with trio.CancelScope(shield=True):
            passed = trio.Event()

            async def outside():
                await block.over()
                passed.set()

            nursery.start_soon(outside)
            await passed.wait()


# -- telling -----------------------------------------------------------------------------


async def told(block, **how):
    """Return what the calling task is told."""
    with pytest.raises(Exception) as caught:  # whatever it is, the test looks at it
        await block.tell(**how)
    return caught.value


async def test_error_is_told_once():
    """The first who asks inside gets the very error, and it does not leave the block any more."""
    end = lost()
    async with open_block() as (block, services):
        with block.waiting():
            block.end(end, cancel=True, raise_to_waiters=True)
            assert end.error is await told(block)
        assert services.failure is None
        again = await told(block)
        assert type(again) is ConnectionLostError
        assert again is not end.error
        assert (end.error.end, "it broke") == (again.end, again.detail)


async def test_error_may_be_told_to_a_child():
    """A child inside gets the very error, if it is the first."""
    end, seen = lost(), []

    async def child(block):
        with block.waiting():
            await wait_all_tasks_blocked()
            seen.append(await told(block))

    async with open_block() as (block, services), trio.open_nursery() as nursery:
        nursery.start_soon(child, block)
        with block.waiting():
            block.end(end, cancel=True, raise_to_waiters=True)
            await wait_all_tasks_blocked()
    assert [end.error] == seen
    assert services.failure is None


async def test_copies_are_told_outside():
    """Whoever asks outside gets a copy, and does not count; the error still leaves the block."""
    end, seen = lost(), []

    async def outside(block, asked):
        await asked.wait()
        seen.append(await told(block))

    async with trio.open_nursery() as nursery:
        with pytest.raises(ConnectionLostError) as caught:
            async with open_block() as (block, _):
                asked = trio.Event()
                nursery.start_soon(outside, block, asked)
                block.end(end, cancel=True, raise_to_waiters=True)
                asked.set()
                await wait_all_tasks_blocked()
    assert end.error is caught.value
    assert type(seen[0]) is ConnectionLostError
    assert seen[0] is not end.error


async def test_calls_that_do_not_count():
    """A call that does not count gets a copy when the block goes on, even inside."""
    end = lost()
    async with open_block() as (block, services):
        with block.waiting():
            block.end(end, cancel=True, raise_to_waiters=True)
            copy = await told(block, counts=False)
            assert type(copy) is ConnectionLostError
            assert copy is not end.error
            assert end.error is services.failure
            assert end.error is await told(block)


async def test_error_that_is_not_for_waiters():
    """An error of the whole block is raised by the block, and a waiter inside is parked."""
    error = InternalError("a function failed")
    end = with_error(BOT_LEFT, error)
    with pytest.raises(InternalError) as caught:
        async with open_block() as (block, services):
            with block.waiting():
                block.end(end, cancel=True, raise_to_waiters=False)
                services.start(block.see_off, name="driver")
                await block.tell()
    assert error is caught.value


async def test_sender_is_parked_when_the_bot_has_left():
    """While the block is ending without an error, a task that wants to send is parked."""
    async with open_block() as (block, services):
        await see_off(block, services, [])
        await block.tell()
    assert services.body.cancelled_caught


async def test_sender_is_told_when_the_block_goes_on():
    """A block that goes on without its bot tells that the session is over."""
    async with open_block() as (block, _):
        block.end(BOT_LEFT, cancel=False, raise_to_waiters=True)
        error = await told(block)
        assert type(error) is SessionEndedError
        assert (BOT_LEFT, None) == (error.end, error.__cause__)


@pytest.mark.parametrize(
    "error",
    [
        TransportStartError("connect", "refused"),
        ReadyTimeoutError(30, State.CONNECTED),
    ],
)
@pytest.mark.parametrize("itself", [False, True])
async def test_startup_error_is_told_again(error, itself):
    """Who comes late gets the end of the session, or, if it asked for the error, a copy of it."""
    error.__cause__ = OSError("refused")
    end = failed_to_start(error)
    async with open_block() as (block, _):
        with block.waiting():
            block.end(end, cancel=True, raise_to_waiters=True)
            assert error is await told(block)
        late = await told(block, itself=itself)
        assert late is not error
        if itself:
            assert type(error) is type(late)
            assert error.__cause__ is late.__cause__
        else:
            assert type(late) is SessionEndedError
            assert (end, error) == (late.end, late.__cause__)


async def test_error_of_another_kind_is_the_cause():
    """An error that is none of ours is the cause of what late callers are told."""
    error = ValueError("not ours")
    end = with_error(BOT_LEFT, error)
    async with open_block() as (block, _):
        with block.waiting():
            block.end(end, cancel=True, raise_to_waiters=True)
            assert error is await told(block)
        late = await told(block, itself=True)
        assert type(late) is SessionEndedError
        assert error is late.__cause__


async def test_telling_before_the_end_is_a_bug():
    """Nobody can be told of an end that has not come."""
    async with open_block() as (block, _):
        with pytest.raises(InternalError):
            await block.tell()
