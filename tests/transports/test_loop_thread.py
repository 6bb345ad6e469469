"""A loop in a thread of its own: counted, joined by the last, and nothing of it is left."""

import asyncio
import os
import signal
import sys
import threading
import time

import pytest
import trio

from trio_pipecat.transports._loop_thread import LoopThread, TaskOwner, open_loop_thread


def loops() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "asyncio" in thread.name]


async def test_all_share_one_thread() -> None:
    """The first starts it, the last joins it."""
    assert [] == loops()
    async with open_loop_thread() as one:
        async with open_loop_thread() as other:
            assert one is other
            assert 1 == len(loops())
        assert 1 == len(loops())
        assert "<LoopThread running>" == repr(one)
    assert [] == loops()
    assert "<LoopThread over>" == repr(one)


async def test_runs_of_trio_share_it_too() -> None:
    """Another run in another thread finds the same loop, and may leave first or last."""

    async def other() -> LoopThread:
        async with open_loop_thread() as thread:
            assert 2 == await thread.run(asyncio.sleep, 0, 2)
            return thread

    async with open_loop_thread() as thread:
        assert thread is await trio.to_thread.run_sync(trio.run, other)
        assert 1 == await thread.run(asyncio.sleep, 0, 1)


async def test_a_new_one_after_the_last() -> None:
    """What was joined is not used again."""
    async with open_loop_thread() as one:
        pass
    async with open_loop_thread() as other:
        assert one is not other
        assert 1 == await other.run(asyncio.sleep, 0, 1)


async def test_a_result_comes_back() -> None:
    """As one awaits any other function."""
    async with open_loop_thread() as thread:
        assert "it" == await thread.run(asyncio.sleep, 0.001, "it")


async def test_an_error_comes_back() -> None:
    """The very one that was raised."""
    error = KeyError("it")

    async def fail() -> None:
        raise error

    async with open_loop_thread() as thread:
        with pytest.raises(KeyError) as failed:
            await thread.run(fail)
    assert error is failed.value


async def test_cancelling_waits_for_the_end() -> None:
    """What the loop's task does about it is done when trio goes on."""
    steps: list[str] = []
    started = threading.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            steps.append("cancelled")
            await asyncio.sleep(0.02)
            steps.append("cleaned up")

    async with open_loop_thread() as thread, trio.open_nursery() as nursery:
        nursery.start_soon(thread.run, work)
        while not started.is_set():
            await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    assert ["cancelled", "cleaned up"] == steps


async def test_cancelled_before_it_began() -> None:
    """It does not begin."""
    begun: list[bool] = []

    async def work() -> None:
        begun.append(True)

    async with open_loop_thread() as thread:
        with trio.CancelScope() as scope:
            scope.cancel()
            await thread.run(work)
        assert scope.cancelled_caught
        await thread.run(asyncio.sleep, 0)
    assert [] == begun


async def test_a_result_beats_a_cancellation() -> None:
    """What is done is done: it is not thrown away."""
    finishing = threading.Event()

    async def stubborn() -> str:
        finishing.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass
        return "done all the same"

    results: list[str] = []
    async with open_loop_thread() as thread:
        with trio.CancelScope() as scope:

            async def cancel() -> None:
                while not finishing.is_set():
                    await trio.sleep(0.001)
                scope.cancel()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel)
                results.append(await thread.run(stubborn))
    assert ["done all the same"] == results


async def test_cancelled_from_the_other_side() -> None:
    """Is told as a broken resource, and not as asyncio's own exception."""
    owner = TaskOwner()
    async with open_loop_thread() as thread, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def wait() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await thread.run(asyncio.sleep, 60, owner=owner)

        await trio.sleep(0.02)
        await thread.run(owner.reap)


async def test_an_owner_closes_the_sockets_that_were_forgotten() -> None:
    """Whoever opened them was cancelled before it had put them down."""

    async def open_and_forget() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(3):
            await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
            )
        await asyncio.sleep(60)

    owner = TaskOwner()
    async with open_loop_thread() as thread:
        with trio.move_on_after(0.2):
            await thread.run(open_and_forget, owner=owner)
        sockets = tuple(owner.sockets)
        assert [False] * 3 == [socket.is_closing() for socket in sockets]
        await thread.run(owner.reap)
        assert [True] * 3 == [socket.is_closing() for socket in sockets]


async def test_an_owner_reaps_what_was_started_by_detours() -> None:
    """Tasks of tasks, and of callbacks; but not those of others."""
    owner, ended = TaskOwner(), []
    kept: list[asyncio.Task[None]] = []

    async def linger(name: str) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(name)

    async def begin() -> None:
        loop = asyncio.get_running_loop()
        kept.append(loop.create_task(linger("task")))
        loop.call_soon(lambda: asyncio.ensure_future(linger("callback")))
        loop.call_later(0.001, lambda: asyncio.ensure_future(linger("timer")))
        owner.start(linger("started"))
        await asyncio.sleep(0.02)

    async def other() -> None:
        kept.append(asyncio.get_running_loop().create_task(linger("another's")))
        await asyncio.sleep(0)

    async with open_loop_thread() as thread:
        await thread.run(begin, owner=owner)
        await thread.run(other, owner=TaskOwner())
        assert 4 == len(owner.tasks)
        await thread.run(owner.reap, owner=owner)
        assert ["callback", "started", "task", "timer"] == sorted(ended)
        assert set() == owner.tasks
    assert "another's" in ended


async def test_a_task_that_minds_no_cancellation_is_given_up() -> None:
    """The thread is joined all the same."""
    calls = 0

    async def stubborn() -> None:
        nonlocal calls
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                calls += 1
                if calls > 6:
                    raise

    async with open_loop_thread() as thread:
        owner = TaskOwner()

        async def begin() -> None:
            owner.start(stubborn())

        await thread.run(begin, owner=owner)
        await thread.run(asyncio.sleep, 0)
        await thread.run(owner.reap)
    assert [] == loops()
    assert 5 < calls


async def test_calls_after_the_end_are_nothing() -> None:
    """Somebody may be late."""
    async with open_loop_thread() as thread:
        pass
    thread.call_soon(print, "never")


async def test_what_nobody_asked_for_is_not_shouted(caplog: pytest.LogCaptureFixture) -> None:
    """A callback that fails is told at the level of debugging."""

    def fail() -> None:
        raise RuntimeError("stray")

    with caplog.at_level("DEBUG", logger="trio_pipecat"):
        async with open_loop_thread() as thread:
            thread.call_soon(fail)
            await thread.run(asyncio.sleep, 0)
    told = [record for record in caplog.records if "in the asyncio loop" in record.message]
    assert any("Exception in callback" in record.message for record in told)
    assert {"DEBUG"} == {record.levelname for record in told}


async def test_ctrl_c_at_any_moment() -> None:
    """It comes out as itself, and neither trio nor the thread is the worse for it."""
    for delay in range(12):
        interrupted = False
        async with open_loop_thread() as thread:
            try:
                for number in range(200):
                    if number == 100 + delay:
                        signal.raise_signal(signal.SIGINT)
                    assert number == await thread.run(asyncio.sleep, 0, number)
            except KeyboardInterrupt:
                interrupted = True
            assert 1 == await thread.run(asyncio.sleep, 0, 1)
        assert interrupted
    assert [] == loops()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
async def test_the_child_of_a_fork_has_a_thread_of_its_own() -> None:
    """What it has of its parent's is only a memory."""
    async with open_loop_thread() as thread:
        assert 1 == await thread.run(asyncio.sleep, 0, 1)
        program = """
import asyncio, os, sys, trio
from trio_pipecat.transports._loop_thread import open_loop_thread

async def main():
    async with open_loop_thread() as thread:
        await thread.run(asyncio.sleep, 0)
        child = os.fork()
        if not child:
            # The run that it is in is the parent's; it begins another in a thread.
            import threading
            async def again():
                async with open_loop_thread() as other:
                    assert 7 == await other.run(asyncio.sleep, 0, 7)
            done = threading.Thread(target=trio.run, args=(again,), daemon=True)
            done.start()
            done.join(10)
            os._exit(3 if done.is_alive() else 0)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

trio.run(main)
"""
        done = await trio.run_process(
            [sys.executable, "-W", "ignore", "-c", program], check=False, capture_stderr=True
        )
        assert (0, "") == (done.returncode, done.stderr.decode())


async def test_a_worker_that_is_stuck_keeps_nobody() -> None:
    """One that asks a name server, say."""
    release = threading.Event()
    began = time.monotonic()
    async with open_loop_thread() as thread:

        async def begin() -> None:
            asyncio.get_running_loop().run_in_executor(None, release.wait)

        await thread.run(begin)
    assert time.monotonic() - began < 2
    release.set()
