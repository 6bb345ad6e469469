"""Services: tasks that outlive the body, a farewell in between, and one exception at the end."""

from contextlib import asynccontextmanager, contextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_pipecat import InternalError, ProtocolError
from trio_pipecat._service import is_cancellation, open_services

EXITS = [KeyboardInterrupt, SystemExit]


@asynccontextmanager
async def open_block(farewell=None, *, grace=3):
    """Open services with a farewell that does nothing, unless one is given."""

    async def nothing(error):
        await trio.lowlevel.checkpoint()

    async with open_services(farewell or nothing, grace=grace) as services:
        yield services


async def fail_with(error):
    """A service, or a farewell, that fails."""
    await trio.lowlevel.checkpoint()
    raise error


def farewell_that_raises(error):
    """Return a farewell that fails."""

    async def farewell(body_error):
        await fail_with(error)

    return farewell


@contextmanager
def noting():
    """Give a list of what is raised in the block; it goes on all the same."""
    seen = []
    try:
        yield seen
    except BaseException as error:
        seen.append(error)
        raise


def contexts(error):
    """Return the chain of contexts of an exception, itself first. It is no ring."""
    chain = [error]
    while (error := error.__context__) is not None:
        assert error not in chain
        chain.append(error)
    return chain


# -- the body ----------------------------------------------------------------------------


async def test_normal_end():
    """When the body finishes the farewell is said, the services stop, and nothing is raised."""
    log = []

    async def serve():
        try:
            await trio.sleep_forever()
        finally:
            log.append("service stopped")

    async def farewell(error):
        log.append(("farewell", error))
        await trio.lowlevel.checkpoint()

    async with open_block(farewell) as services:
        services.start(serve, name="service")
        await wait_all_tasks_blocked()
        log.append("body done")
    assert ["body done", ("farewell", None), "service stopped"] == log


async def test_services_have_arguments_and_names():
    """A service is started with its arguments, under its name."""
    seen = []

    async def serve(one, two):
        seen.append((trio.lowlevel.current_task().name, one, two))

    async with open_block() as services:
        services.start(serve, 1, 2, name="the service")
        await wait_all_tasks_blocked()
    assert [("the service", 1, 2)] == seen


async def test_service_that_returns_ends_nothing():
    """A service may come to its end; the body goes on."""
    async with open_block() as services:
        services.start(trio.lowlevel.checkpoint, name="short")
        await wait_all_tasks_blocked()
        await trio.lowlevel.checkpoint()
    assert services.failure is None


@pytest.mark.parametrize(
    "error", [ValueError("mine"), ProtocolError("mine"), KeyboardInterrupt(), SystemExit()]
)
async def test_body_error_is_raised_bare(error):
    """What the body raises leaves the block, that very object, in no group."""
    seen = []

    async def farewell(body_error):
        seen.append(body_error)

    with pytest.raises(type(error)) as caught:
        async with open_block(farewell) as services:
            services.start(trio.sleep_forever, name="service")
            raise error
    assert error is caught.value
    assert [error] == seen
    assert error.__context__ is None
    assert error.__cause__ is None


@pytest.mark.parametrize("group", [ExceptionGroup, BaseExceptionGroup])
async def test_group_of_the_body_is_untouched(group):
    """A group that the body raises is the body's own, and leaves as it is."""
    inner = ValueError("mine") if group is ExceptionGroup else GeneratorExit()
    error = group("mine", [inner])
    with pytest.raises(group) as caught:
        async with open_block() as services:
            services.start(trio.sleep_forever, name="service")
            raise error
    assert error is caught.value
    assert (inner,) == caught.value.exceptions


async def test_body_is_ended_by_a_service():
    """A service that cancels the body ends the block, and nothing is raised."""
    async with open_block() as services:

        async def serve():
            services.body.cancel()

        services.start(serve, name="service")
        await trio.sleep_forever()
    assert services.body.cancelled_caught
    assert services.failure is None


# -- cancellation ------------------------------------------------------------------------


async def test_cancellation_goes_on():
    """The caller's cancellation leaves the block, when the farewell has been said."""
    log = []

    async def farewell(error):
        await wait_all_tasks_blocked()
        log.append(type(error))

    with trio.CancelScope() as scope:
        async with open_block(farewell) as services:
            services.start(trio.sleep_forever, name="service")
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert [trio.Cancelled] == log


async def test_services_outlive_a_cancelled_body():
    """A cancelled body leaves first; the services still work for the farewell."""
    send, receive = trio.open_memory_channel(0)

    async def serve():
        async for asked in receive:
            asked.set()

    async def farewell(error):
        asked = trio.Event()
        await send.send(asked)
        await asked.wait()

    with send, receive, trio.CancelScope() as scope:
        async with open_block(farewell) as services:
            services.start(serve, name="service")
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_some_services_do_not_outlive():
    """A service that shall not outlive the caller is cancelled with it, before the farewell."""
    log = []

    async def serve():
        try:
            await trio.sleep_forever()
        finally:
            log.append("service")

    async def farewell(error):
        await wait_all_tasks_blocked()
        log.append("farewell")

    with trio.CancelScope() as scope:
        async with open_block(farewell) as services:
            services.start(serve, name="service", outlive=False)
            await wait_all_tasks_blocked()
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert ["service", "farewell"] == log


async def test_cancellation_during_the_farewell_waits_for_its_end():
    """A caller that is cancelled when the body has left already gets the farewell all the same."""
    log = []
    with trio.CancelScope() as scope:

        async def farewell(error):
            scope.cancel()
            await wait_all_tasks_blocked()
            log.append("farewell")

        async with open_block(farewell) as services:
            services.start(trio.sleep_forever, name="service", outlive=False)
    assert scope.cancelled_caught
    assert ["farewell"] == log


async def test_cancellation_that_a_service_met_is_bare():
    """When only a service has met the caller's cancellation, no group of ours is left of it."""
    with trio.CancelScope() as scope:

        async def farewell(error):
            scope.cancel()
            await wait_all_tasks_blocked()

        with noting() as seen:
            async with open_block(farewell) as services:
                services.start(trio.sleep_forever, name="service", outlive=False)
    assert scope.cancelled_caught
    assert [trio.Cancelled] == [*map(type, seen)]


async def test_what_a_cancellation_is():
    """Cancelled is a cancellation, and so is a group of nothing else."""
    with trio.CancelScope() as scope, noting() as seen:
        scope.cancel()
        await trio.lowlevel.checkpoint()
    (cancelled,) = seen
    assert is_cancellation(cancelled)
    assert is_cancellation(BaseExceptionGroup("", [BaseExceptionGroup("", [cancelled])]))
    assert not is_cancellation(BaseExceptionGroup("", [cancelled, ValueError()]))
    assert not is_cancellation(ValueError())
    assert not is_cancellation(None)


async def test_stop_ends_every_service():
    """Stopping cancels the services that run, and those that were started just before or after."""
    started = []

    async def serve(name):
        started.append(name)
        await trio.sleep_forever()

    async def farewell(error):
        services.start(serve, "during", name="during")
        services.stop()
        services.start(serve, "after", name="after")

    async with open_block(farewell) as services:
        services.start(serve, "running", name="running")
        await wait_all_tasks_blocked()
        services.start(serve, "not yet running", name="not yet running")
    assert {"running", "not yet running", "during", "after"} == set(started)


async def test_service_may_say_goodbye_to_itself():
    """A stopped service gets its Cancelled, and may shield its own end."""
    log = []

    async def serve():
        try:
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(1, shield=True):
                await trio.lowlevel.checkpoint()
                log.append("cleaned up")

    async with open_block() as services:
        services.start(serve, name="service")
        await wait_all_tasks_blocked()
    assert ["cleaned up"] == log


# -- services that fail ------------------------------------------------------------------


@pytest.mark.parametrize(
    "crash", [ValueError("oh"), ExceptionGroup("two", [ValueError("oh"), KeyError("no")])]
)
async def test_crash_of_a_service_is_our_bug(crash):
    """A service that crashes ends the body, and is reported as a bug, with its cause."""
    with pytest.raises(InternalError) as caught:
        async with open_block() as services:
            services.start(fail_with, crash, name="service")
            await trio.sleep_forever()
    assert crash is caught.value.__cause__
    assert caught.value.__suppress_context__  # our own cancellation of the body is no news
    assert type(crash).__name__ in caught.value.detail


async def test_error_of_a_service_is_bare():
    """An error that a service raises on purpose leaves the block as it is."""
    error = ProtocolError("not what it promises")
    with pytest.raises(ProtocolError) as caught:
        async with open_block() as services:
            services.start(fail_with, error, name="service")
            await trio.sleep_forever()
    assert error is caught.value
    assert error.__cause__ is None
    assert error.__suppress_context__  # our own cancellation of the body is no news


async def test_cause_of_a_service_error_is_kept():
    """An error that a service raises from another keeps it as its cause."""
    cause = OSError("the system says")
    error = ProtocolError("not what it promises")
    error.__cause__ = cause
    with pytest.raises(ProtocolError) as caught:
        async with open_block() as services:
            services.start(fail_with, error, name="service")
            await trio.sleep_forever()
    assert cause is caught.value.__cause__


async def test_failure_may_be_put_there():
    """Whoever has the services may say what leaves the block; the first one counts."""
    first, second = ProtocolError("first"), ProtocolError("second")
    with pytest.raises(ProtocolError) as caught:
        async with open_block() as services:
            services.fail(first)
            services.fail(second)
            await trio.sleep_forever()
    assert first is caught.value


async def test_failure_may_be_taken_back():
    """A failure that was told otherwise does not leave the block."""
    async with open_block() as services:
        services.fail(ProtocolError("told"))
        services.failure = None
        await trio.sleep_forever()
    assert services.body.cancelled_caught


async def test_crash_after_the_caller_was_cancelled():
    """A service that crashes while the caller's cancellation goes on is the context of it."""
    error = ProtocolError("late")

    async def farewell(body_error):
        services.start(fail_with, error, name="late")
        await wait_all_tasks_blocked()

    with trio.CancelScope() as scope, noting() as seen:
        async with open_block(farewell) as services:
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert error is contexts(seen[0])[-1]


async def test_service_that_fails_when_it_is_stopped():
    """A service whose clean-up fails is reported, though it was stopped."""

    async def serve():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("in the clean-up")

    with pytest.raises(InternalError) as caught:
        async with open_block() as services:
            services.start(serve, name="service")
            await wait_all_tasks_blocked()
    (leaf,) = caught.value.__cause__.exceptions
    assert "in the clean-up" == str(leaf)


async def test_group_of_cancellations_is_no_failure():
    """A service with tasks of its own is stopped with them, and that is no failure."""

    async def serve():
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(trio.sleep_forever)

    async with open_block() as services:
        services.start(serve, name="service")
        await wait_all_tasks_blocked()
    assert services.failure is None


async def test_group_of_a_failure_and_cancellations():
    """Of a service's group only what failed is reported, its cancellations go their way."""

    async def serve():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            with trio.CancelScope(shield=True):
                await stopping.wait()
            nursery.start_soon(fail_with_cancelled)

    async def fail_with_cancelled():
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            raise BaseExceptionGroup("both", [cancelled, ValueError("oh")]) from None

    async def farewell(error):
        services.stop()
        stopping.set()

    stopping = trio.Event()
    with pytest.raises(InternalError) as caught:
        async with open_block(farewell) as services:
            services.start(serve, name="service")
            await wait_all_tasks_blocked()
    assert not caught.value.__cause__.subgroup(trio.Cancelled)
    assert "oh" == str(leaf_of(caught.value.__cause__))


def leaf_of(error):
    """Return the first exception in a group that is none."""
    return leaf_of(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


# -- Ctrl-C ------------------------------------------------------------------------------


@pytest.mark.parametrize("exit_", EXITS)
async def test_exit_in_a_service(exit_):
    """Ctrl-C that strikes in a service ends the body and leaves the block bare."""
    error = exit_()
    with pytest.raises(exit_) as caught:
        async with open_block() as services:
            services.start(fail_with, error, name="service")
            await trio.sleep_forever()
    assert error is caught.value


async def test_exit_in_a_task_of_a_service():
    """Ctrl-C in a service's own nursery comes out of its group."""
    error = KeyboardInterrupt()

    async def serve():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(fail_with, error)

    with pytest.raises(KeyboardInterrupt) as caught:
        async with open_block() as services:
            services.start(serve, name="service")
            await trio.sleep_forever()
    assert error is caught.value


@pytest.mark.parametrize("exit_", EXITS)
async def test_exit_in_the_farewell(exit_):
    """Ctrl-C that strikes in the farewell stops the services and leaves the block bare."""
    error = exit_()
    with pytest.raises(exit_) as caught:
        async with open_block(farewell_that_raises(error)) as services:
            services.start(trio.sleep_forever, name="service")
    assert error is caught.value


@pytest.mark.parametrize("where", ["service", "farewell", "both"])
async def test_exit_beats_the_body(where):
    """Ctrl-C beats what the body raised, which becomes its context."""
    error, body_error = KeyboardInterrupt(), ValueError("mine")
    farewell = None if where == "service" else farewell_that_raises(error)
    with pytest.raises(KeyboardInterrupt) as caught:
        async with open_block(farewell) as services:
            if where != "farewell":
                services.start(fail_with, error, name="service")
            try:
                with trio.CancelScope(shield=True):
                    await wait_all_tasks_blocked()
            finally:
                raise body_error
    assert error is caught.value
    assert body_error in contexts(caught.value)


async def test_exit_in_the_body_beats_a_failure():
    """Ctrl-C in the body leaves the block, whatever else has failed."""
    error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt) as caught:
        async with open_block(farewell_that_raises(ValueError("oh"))):
            raise error
    assert error is caught.value
    assert [KeyboardInterrupt, InternalError] == [*map(type, contexts(error))]
    assert error not in contexts(error.__context__.__cause__)


async def test_exit_in_a_group_of_the_body():
    """A group that the body raised passes untouched, Ctrl-C in it or not."""
    error = KeyboardInterrupt()
    group = BaseExceptionGroup("mine", [ValueError("oh"), BaseExceptionGroup("deep", [error])])
    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_block():
            raise group
    assert group is caught.value


async def test_exit_beats_an_earlier_failure():
    """Ctrl-C in a service replaces a failure that was there before."""
    error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt) as caught:
        async with open_block() as services:
            services.fail(ProtocolError("before"))
            services.start(fail_with, error, name="service")
            with trio.CancelScope(shield=True):
                await wait_all_tasks_blocked()
    assert error is caught.value


# -- two errors --------------------------------------------------------------------------


async def test_body_error_beats_a_failure():
    """When the body and a service fail, the body's error wins and has the other as context."""
    body_error, failure = ValueError("mine"), ProtocolError("theirs")
    with pytest.raises(ValueError) as caught:
        async with open_block(farewell_that_raises(failure)):
            raise body_error
    assert body_error is caught.value
    assert [body_error, failure] == contexts(body_error)


async def test_failure_goes_to_the_end_of_the_chain():
    """What the body's error has as context stays, and our failure comes after it."""
    earlier, failure = KeyError("earlier"), ProtocolError("theirs")
    body_error = ValueError("mine")
    with pytest.raises(ValueError):
        async with open_block(farewell_that_raises(failure)):
            try:
                raise earlier
            except KeyError:
                raise body_error  # noqa: B904
    assert [body_error, earlier, failure] == contexts(body_error)


async def test_our_cancellation_gives_way_in_the_chain():
    """An error that the body raises when it is ended by us shows why, not that it was cancelled."""
    body_error, failure = ValueError("mine"), ProtocolError("theirs")
    with pytest.raises(ValueError):
        async with open_block() as services:
            services.start(fail_with, failure, name="service")
            try:
                await trio.sleep_forever()
            finally:
                raise body_error
    assert failure is body_error.__context__


async def test_body_that_raises_the_failure_itself():
    """A failure that the body was told, and raises, is one error."""
    failure = ProtocolError("theirs")
    with pytest.raises(ProtocolError) as caught:
        async with open_block() as services:
            services.fail(failure)
            raise failure
    assert failure is caught.value
    assert failure.__context__ is None


async def test_body_error_that_has_the_failure_as_context():
    """A failure that the body knows of is not put into the chain again."""
    failure, body_error = ProtocolError("theirs"), ValueError("mine")
    with pytest.raises(ValueError):
        async with open_block() as services:
            services.fail(failure)
            try:
                raise failure
            except ProtocolError:
                raise body_error  # noqa: B904
    assert [body_error, failure] == contexts(body_error)


async def test_chain_that_is_a_ring():
    """An error whose contexts form a ring does not make us go round for ever."""
    one, two = ValueError("one"), ValueError("two")
    one.__context__, two.__context__ = two, one
    with pytest.raises(ValueError) as caught:
        async with open_block(farewell_that_raises(ProtocolError("theirs"))):
            raise one
    assert one is caught.value
    two.__context__ = None


# -- the farewell ------------------------------------------------------------------------


async def test_farewell_slower_than_its_grace(autojump_clock):
    """A farewell has so many seconds and no more; what it did not finish is no error."""
    cancelled = []

    async def farewell(error):
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(trio.current_time())

    async with open_block(farewell, grace=3) as services:
        services.start(trio.sleep_forever, name="service")
        start = trio.current_time()
    assert [start + 3] == cancelled


async def test_farewell_is_shielded(autojump_clock):
    """A caller's cancellation does not shorten the farewell."""

    async def farewell(error):
        await trio.sleep(2)

    with trio.move_on_after(1) as scope:
        async with open_block(farewell):
            await trio.sleep_forever()
    assert 3 == trio.current_time()
    assert scope.cancelled_caught


@pytest.mark.parametrize(
    ("error", "raised"),
    [(ProtocolError("oh"), ProtocolError), (ValueError("oh"), InternalError)],
)
async def test_farewell_that_fails(error, raised):
    """A farewell that fails is treated as a service that fails."""
    with pytest.raises(raised) as caught:
        async with open_block(farewell_that_raises(error)) as services:
            services.start(trio.sleep_forever, name="service")
    assert error in (caught.value, caught.value.__cause__)


async def test_block_that_is_cancelled_before_it_begins():
    """A block in a cancelled scope is entered, and left with its farewell."""
    log = []

    async def farewell(error):
        log.append(type(error))

    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_block(farewell):
            await trio.lowlevel.checkpoint()
    assert [trio.Cancelled] == log


async def test_blocks_nest():
    """One block's failure passes through another as the error of its body."""
    failure = ProtocolError("inner")
    seen = []

    async def outer_farewell(error):
        seen.append(error)

    with pytest.raises(ProtocolError) as caught:
        async with open_block(outer_farewell), open_block() as inner:
            inner.start(fail_with, failure, name="service")
            await trio.sleep_forever()
    assert failure is caught.value
    assert [failure] == seen
