"""A load tool that does not keep up says so."""

import gc
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from trio_pipecat.reports import LoadResult
from trio_pipecat.tools.load import _health
from trio_pipecat.tools.load._health import Health
from trio_pipecat.tools.load._plan import Budget


def health(**budget: float) -> Health:
    """Return what watches, with a budget."""
    return Health(LoadResult(), Budget(**budget), 0, 1)


@asynccontextmanager
async def being_watched(watching: Health) -> AsyncGenerator[None, None]:
    """Watch while the block lasts: to begin with that takes a while, on a busy machine."""
    callbacks = len(gc.callbacks)
    async with trio.open_nursery() as nursery:
        now = trio.current_time()
        nursery.start_soon(watching.watch, now, now + 60)
        while len(gc.callbacks) == callbacks:
            await trio.sleep(0.001)
        yield
        nursery.cancel_scope.cancel()


async def test_who_keeps_up_has_no_problems(autojump_clock: MockClock) -> None:
    """On a clock that jumps, everybody is in time."""
    watching = health(cpu=100, steal=2, gc_pause=100)
    await watching.watch(5, 15)
    part = watching.judge()
    assert [] == part.problems
    assert 15 == pytest.approx(trio.current_time(), abs=0.02)
    assert 1_000 == pytest.approx(len(watching._result.metrics["loop_lag"]), abs=2)
    assert part.loop_lag_p99 < 0.001


@pytest.mark.parametrize(
    ("metric", "problem"),
    [("lateness", "frames were late by 80 ms"), ("loop_lag", "event loop was late by 80 ms")],
)
def test_who_is_late(metric: str, problem: str) -> None:
    """By more than the budget, at the 99th percentile."""
    watching = health()
    for _ in range(100):
        watching._result.metric(metric).add(0.08)
    (found,) = watching.judge().problems
    assert problem in found
    assert "more than" in found


@pytest.mark.parametrize("metric", ["lateness", "loop_lag"])
def test_who_is_as_late_as_the_budget_is_in_time(metric: str) -> None:
    """Whatever a histogram makes of that number."""
    watching = health(lateness=0.02, loop_lag=0.02)
    watching._result.metric(metric).add(0.02, 100)
    assert [] == watching.judge().problems


async def test_an_event_loop_that_is_blocked_is_late() -> None:
    """In real time: that of whoever blocks it."""
    watching = health(cpu=100, steal=2, gc_pause=100)
    async with being_watched(watching):
        for _ in range(5):
            await trio.sleep(0.001)
            time.sleep(0.09)  # noqa: ASYNC251  # this is what is tested
    assert ["its event loop was late"] == [
        problem.partition(" by")[0] for problem in watching.judge().problems
    ]


async def test_pauses_of_the_garbage_collector_are_noticed() -> None:
    """While it watches, and not afterwards."""
    watching = health(cpu=100, steal=2, loop_lag=100, gc_pause=0.0)
    callbacks = len(gc.callbacks)
    async with being_watched(watching):
        gc.collect()
    assert callbacks == len(gc.callbacks)
    part = watching.judge()
    assert part.gc_pauses >= 1
    assert part.gc_longest > 0
    assert "garbage collector" in part.problems[0]


async def test_cpu_and_steal_are_shares(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of one core, and of all the machine's time."""
    clocks = iter([(0.0, 0.0, 0.0, 0.0), (10.0, 9.5, 300.0, 2_000.0)])
    monkeypatch.setattr(_health, "_clocks", lambda: next(clocks))
    watching = health(gc_pause=100)
    await watching.watch(0, 10)
    part = watching.judge()
    assert (0.95, 0.15) == (pytest.approx(part.cpu), pytest.approx(part.steal))
    assert [
        "it used 95 % of a core, more than 90 % of a core",
        "other machines took 15 % of the time, more than 10 % of the time",
    ] == part.problems


def test_a_system_that_tells_no_steal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """There is none, then."""
    monkeypatch.setattr(_health, "_STAT", tmp_path / "absent")
    assert (0.0, 0.0) == _health._clocks()[2:]
    (tmp_path / "stat").write_text("cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1\n")
    monkeypatch.setattr(_health, "_STAT", tmp_path / "stat")
    assert (8.0, 36.0) == _health._clocks()[2:]


async def test_stopped_before_its_time_it_has_what_it_saw(autojump_clock: MockClock) -> None:
    """A window that never began has nothing."""
    watching = health(cpu=100, steal=2, gc_pause=100)
    with trio.move_on_after(3):
        await watching.watch(1, 100)
    assert 200 == pytest.approx(len(watching._result.metrics["loop_lag"]), abs=2)
    watching = health()
    with trio.move_on_after(3):
        await watching.watch(trio.current_time() + 50, trio.current_time() + 100)
    assert [] == watching.judge().problems
