"""The one timer of all who send on the beat."""

import random
from collections.abc import Awaitable, Callable
from functools import partial

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


# -- beats that are kept -------------------------------------------------------------------


class Beat:
    """A beat that notes when it is struck, and stops after so many times."""

    def __init__(self, times: int, *, error: Exception | None = None) -> None:
        self.ticks: list[int] = []
        self.late: list[float] = []
        self._times = times
        self._error = error

    def __call__(self, tick: int) -> bool:
        self.ticks.append(tick)
        self.late.append(round(seconds_since(tick), 9))
        if len(self.ticks) < self._times:
            return True
        if self._error is not None:
            raise self._error
        return False


async def test_a_beat_is_kept_until_it_says_so(autojump_clock: MockClock) -> None:
    """And the tick of that is returned."""
    beat = Beat(5)
    assert 26 == await Pacer().keep(10, 4, beat)
    assert [10, 14, 18, 22, 26] == beat.ticks
    assert [0.0] * 5 == beat.late
    assert 26 / TICKS_PER_SECOND == trio.current_time()


async def test_a_beat_does_not_drift(autojump_clock: MockClock) -> None:
    """The last of ten minutes is where it belongs."""
    beat = Beat(30_000)
    last = 4 * 29_999
    assert last == await Pacer().keep(0, 4, beat)
    assert {0.0} == {*beat.late}
    assert last / TICKS_PER_SECOND == pytest.approx(trio.current_time())


@given(
    st.lists(
        st.tuples(
            st.integers(0, 40),
            st.integers(-5, 20),
            st.integers(1, 9),
            st.integers(1, 8),
            st.none() | st.integers(0, 60),
        ),
        max_size=8,
    )
)
def test_every_beat_is_kept_whoever_leads(
    beats: list[tuple[int, int, int, int, int | None]],
) -> None:
    """Whenever each comes, how often it wants what, and whoever is cancelled meanwhile."""

    async def main() -> None:
        pacer = Pacer()

        async def keep(comes: int, waits: int, step: int, times: int, leaves: int | None) -> None:
            await trio.sleep((comes + 0.5) / TICKS_PER_SECOND)
            first, beat = comes + waits, Beat(times)
            limit = float("inf") if leaves is None else comes + leaves + 0.75
            with trio.move_on_at(limit / TICKS_PER_SECOND) as scope:
                assert first + step * (times - 1) == await pacer.keep(first, step, beat)
            due = [first + step * number for number in range(times)]
            if scope.cancelled_caught:
                assert due[: len(beat.ticks)] == beat.ticks
                # One that comes late is woken in the next step, if it is not cancelled before.
                assert len([tick for tick in due if comes + 1 <= tick <= limit]) <= len(
                    [tick for tick in beat.ticks if tick >= comes + 1]
                )
            else:
                assert due == beat.ticks
            for tick, late in zip(beat.ticks, beat.late, strict=True):
                assert pytest.approx(late) == max(0, (comes + 0.5 - tick) / TICKS_PER_SECOND)

        async with trio.open_nursery() as nursery:
            for each in beats:
                nursery.start_soon(keep, *each)
        assert 0 == pacer.sleeping

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_a_beat_of_somebody_else_costs_no_step(autojump_clock: MockClock) -> None:
    """The task sleeps while its beat is kept."""

    class Steps(trio.abc.Instrument):
        count = 0

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            self.count += task.name == "led"

    pacer, beat, steps = Pacer(), Beat(100), Steps()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pacer.sleep_until, 1_000)
        await wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(steps)
        nursery.start_soon(pacer.keep, 0, 4, beat, name="led")
        await trio.sleep(4)
        trio.lowlevel.remove_instrument(steps)
        assert 100 == len(beat.ticks)
    assert 2 == steps.count


async def test_late_beats_are_caught_up(autojump_clock: MockClock) -> None:
    """At once and in order, by whoever leads, of whoever is led."""
    pacer = Pacer()
    order: list[tuple[str, int]] = []

    def beat(name: str) -> Callable[[int], bool]:
        def note(tick: int) -> bool:
            order.append((name, tick))
            return tick < 50

        return note

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pacer.keep, 10, 10, beat("leader"))
        await wait_all_tasks_blocked()
        nursery.start_soon(pacer.keep, 10, 20, beat("led"))
        nursery.start_soon(pacer.keep, 20, 20, beat("led too"))
        await wait_all_tasks_blocked()
        autojump_clock.jump(1)
    assert [10, 20, 30, 40, 50] == [tick for name, tick in order if name == "leader"]
    led = [each for each in order if each[0] != "leader"]
    assert [("led", 10), ("led too", 20), ("led", 30), ("led too", 40), ("led", 50)] == led[:5]
    assert 1 == trio.current_time()


@pytest.mark.parametrize("leads", [True, False])
async def test_an_error_of_a_beat_comes_out(autojump_clock: MockClock, leads: bool) -> None:
    """Where it belongs, and the others' are kept."""
    pacer, others = Pacer(), [Beat(10), Beat(10)]
    error = ZeroDivisionError("mine")
    async with trio.open_nursery() as nursery:
        if not leads:
            nursery.start_soon(pacer.keep, 4, 4, others[0])
            await wait_all_tasks_blocked()

        async def fail() -> None:
            with pytest.raises(ZeroDivisionError) as caught:
                await pacer.keep(4, 4, Beat(3, error=error))
            assert error is caught.value
            assert 12 / TICKS_PER_SECOND == trio.current_time()

        nursery.start_soon(fail)
        await wait_all_tasks_blocked()
        nursery.start_soon(pacer.keep, 4, 4, others[1])
        if leads:
            nursery.start_soon(pacer.keep, 4, 4, others[0])
    assert [[*range(4, 44, 4)]] * 2 == [other.ticks for other in others]
    assert [[0.0] * 10] * 2 == [other.late for other in others]
    assert 0 == pacer.sleeping


@pytest.mark.parametrize("leads", [True, False])
@pytest.mark.parametrize("fails", [True, False])
async def test_a_beat_may_cancel_its_own_task(
    autojump_clock: MockClock, leads: bool, fails: bool
) -> None:
    """Then it is cancelled, whatever else it does; and the others' beats are kept."""
    pacer, other = Pacer(), Beat(10)

    def cancel(tick: int) -> bool:
        scope.cancel()
        if fails and not leads:
            raise ZeroDivisionError
        return True

    async with trio.open_nursery() as nursery:
        if not leads:
            nursery.start_soon(pacer.keep, 4, 4, other)
            await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            if leads:
                nursery.start_soon(_after_others, partial(pacer.keep, 4, 4, other))
            await pacer.keep(8, 4, cancel)
        assert scope.cancelled_caught
        assert 8 / TICKS_PER_SECOND == trio.current_time()
    assert [*range(4, 44, 4)] == other.ticks


async def _after_others(call: Callable[[], Awaitable[object]]) -> None:
    await wait_all_tasks_blocked()
    await call()


async def test_a_beat_may_cancel_others(autojump_clock: MockClock) -> None:
    """Of the same tick, and the leader."""
    pacer, last = Pacer(), Beat(3)
    async with trio.open_nursery() as nursery:
        scopes = [trio.CancelScope() for _ in range(3)]

        async def keep(scope: trio.CancelScope, beat: Callable[[int], bool]) -> None:
            with scope:
                await pacer.keep(8, 4, beat)

        def cancel_all(tick: int) -> bool:
            for scope in scopes:
                scope.cancel()
            return True

        beats = [Beat(99), Beat(99)]
        nursery.start_soon(keep, scopes[0], beats[0])
        await wait_all_tasks_blocked()
        nursery.start_soon(keep, scopes[1], cancel_all)
        await wait_all_tasks_blocked()
        nursery.start_soon(keep, scopes[2], beats[1])
        await wait_all_tasks_blocked()
        nursery.start_soon(pacer.keep, 8, 4, last)
    assert [8] * len(beats[0].ticks) == beats[0].ticks  # at most the one that was due
    assert [] == beats[1].ticks
    assert [8, 12, 16] == last.ticks
    assert [0.0] * 3 == last.late


async def test_who_was_woken_to_lead_may_be_cancelled(autojump_clock: MockClock) -> None:
    """Before it does: then the next one leads."""
    pacer, beat = Pacer(), Beat(3)
    async with trio.open_nursery() as nursery:
        leader, heir = trio.CancelScope(), trio.CancelScope()

        async def keep(scope: trio.CancelScope) -> None:
            with scope:
                await pacer.keep(100, 4, Beat(99))

        nursery.start_soon(keep, leader)
        await wait_all_tasks_blocked()
        nursery.start_soon(keep, heir)
        await wait_all_tasks_blocked()
        nursery.start_soon(pacer.keep, 120, 4, beat)
        await wait_all_tasks_blocked()
        leader.cancel()
        await trio.lowlevel.checkpoint()
        heir.cancel()
    assert [120, 124, 128] == beat.ticks
    assert [0.0] * 3 == beat.late
    assert 0 == pacer.sleeping


async def test_a_beat_is_a_checkpoint(autojump_clock: MockClock) -> None:
    """Also if it is over with the first one, which was due long ago."""
    pacer = Pacer()
    with assert_checkpoints():
        assert -100 == await pacer.keep(-100, 4, Beat(1))
    with trio.CancelScope() as scope:
        scope.cancel()
        await pacer.keep(-100, 4, Beat(1))
    assert scope.cancelled_caught


async def test_a_crowd_is_spread_over_the_ticks(autojump_clock: MockClock) -> None:
    """Who begins with many others does so at another tick; a few are not kept waiting for it."""
    pacer = Pacer()
    firsts: list[int] = []

    async def keep() -> None:
        tick = pacer.best_tick(8, 4)
        firsts.append(tick)
        await pacer.keep(tick, 4, lambda _: True)

    async with trio.open_nursery() as nursery:
        for number in (5, 995):
            for _ in range(number):
                nursery.start_soon(keep)
            await wait_all_tasks_blocked()
            if number == 5:
                assert [8] * 5 == firsts
        counts = [firsts.count(tick) for tick in range(8, 12)]
        assert 1000 == sum(counts)
        assert max(counts) - min(counts) <= 10
        nursery.cancel_scope.cancel()
    assert 77 == pacer.best_tick(77, 4)
