"""The one timer of all who send on the beat."""

import random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from trio_pipecat._pacer import (
    TICKS_PER_SECOND,
    Pacer,
    next_tick,
    seconds_since,
    shared_pacer,
)


async def test_a_tick_is_a_time(autojump_clock: MockClock) -> None:
    """The next one is now, if now is one."""
    autojump_clock.jump(1.0)
    assert TICKS_PER_SECOND == next_tick()
    autojump_clock.jump(0.001)
    assert TICKS_PER_SECOND + 1 == next_tick()
    assert 0.001 == pytest.approx(seconds_since(TICKS_PER_SECOND))


async def test_who_sleeps_alone_is_woken_in_time(autojump_clock: MockClock) -> None:
    """And nobody is left."""
    pacer = Pacer()
    await pacer.sleep_until(20)
    assert 20 / TICKS_PER_SECOND == trio.current_time()
    assert 0 == pacer.sleeping


async def test_a_tick_that_is_over_is_a_checkpoint(autojump_clock: MockClock) -> None:
    """For the leader, and for who is not."""
    pacer = Pacer()
    with assert_checkpoints():
        await pacer.sleep_until(-1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pacer.sleep_until, 1_000)
        await wait_all_tasks_blocked()
        await pacer.sleep_until(-1)
        assert 0 == trio.current_time()


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 40), st.none() | st.integers(0, 60)),
        max_size=12,
    )
)
def test_everybody_is_woken_at_their_tick_whoever_leaves(
    sleepers: list[tuple[int, int, int | None]],
) -> None:
    """Whenever each comes, however long each sleeps, and whoever is cancelled meanwhile."""

    async def main() -> None:
        pacer = Pacer()

        async def sleeper(comes: int, sleeps: int, leaves: int | None) -> None:
            # Half a tick off, so that nothing else happens at the same moment.
            await trio.sleep((comes + 0.5) / TICKS_PER_SECOND)
            due = comes + sleeps
            limit = float("inf") if leaves is None else (comes + leaves) / TICKS_PER_SECOND
            with trio.move_on_at(limit + 0.25 / TICKS_PER_SECOND) as scope:
                await pacer.sleep_until(due)
            expected = min(
                max(due / TICKS_PER_SECOND, (comes + 0.5) / TICKS_PER_SECOND),
                max(limit + 0.25 / TICKS_PER_SECOND, (comes + 0.5) / TICKS_PER_SECOND),
            )
            assert expected == pytest.approx(trio.current_time()), scope

        async with trio.open_nursery() as nursery:
            for each in sleepers:
                nursery.start_soon(sleeper, *each)
        assert 0 == pacer.sleeping

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_a_thousand_sleepers_have_one_timer(autojump_clock: MockClock) -> None:
    """Trio knows of a single deadline."""
    pacer = Pacer()
    rng = random.Random(1)
    async with trio.open_nursery() as nursery:
        for _ in range(1_000):
            nursery.start_soon(pacer.sleep_until, rng.randrange(100, 200))
        await wait_all_tasks_blocked()
        assert 1_000 == pacer.sleeping
        deadlines = trio.lowlevel.current_statistics()
        assert 0 < deadlines.seconds_to_next_deadline <= 1
        assert 1 == _active_deadlines()
    assert 0 == pacer.sleeping


def _active_deadlines() -> int:
    """Return how many deadlines trio waits for, the clock's own aside."""
    runner = trio._core._run.GLOBAL_RUN_CONTEXT.runner
    return int(runner.deadlines._active)


async def test_one_pacer_for_a_run() -> None:
    """And another one for the next."""
    pacer = shared_pacer()
    assert pacer is shared_pacer()

    async def other() -> Pacer:
        return shared_pacer()

    assert pacer is not await trio.to_thread.run_sync(trio.run, other)
