"""A load run by several processes, in real time, against a bot in another one."""

import math
import os
import signal

import attrs
import pytest
import trio
from load_bot import Running, running_bot, unmeasured

from trio_pipecat.reports import LoadResult, Threshold, parse_threshold
from trio_pipecat.tools.load._capacity import find_capacity
from trio_pipecat.tools.load._plan import Budget, LoadPlan
from trio_pipecat.tools.load._processes import run_processes
from trio_pipecat.tools.load._progress import Progress
from trio_pipecat.tools.load._run_here import run_here
from trio_pipecat.tools.load._shape import profile

pytestmark = pytest.mark.socket

#: A machine that does something else meanwhile makes a run say that it is not valid; then again.
ATTEMPTS = 5


def plan_for(bot: Running, callers: int, seconds: float) -> LoadPlan:
    """Return a plan of callers who say little, and say it often."""
    return LoadPlan(
        target=bot.url,
        shape=profile("constant", callers, seconds),
        texts=("Hi",) * 20,
        greeting=0.0,
        turn_pause=0.05,
        cool_down=2.0,
        wind_down=0.0,
        budget=Budget(steal=1.0, loop_lag=0.02),
    )


def check_percentiles(result: LoadResult, bot: Running) -> None:
    """Are those that were measured those of the bot, within 2 % or 5 ms?"""
    window = (result.began + at for at in (result.measured_from, result.measured_until))
    true = bot.stop(*window)
    measured = result.metrics["t2v"]
    assert 0 == result.counts["cut"]
    # A turn that begins with the window, or ends it, is counted by one of them.
    assert len(measured) == pytest.approx(len(true), abs=2)
    delays = sorted(true)
    for percent in (50, 90, 95):
        # So few delays are far apart, and one more or less is the next one.
        rank = math.ceil(len(delays) * percent / 100) - 1
        low, high = delays[max(rank - 2, 0)], delays[min(rank + 2, len(delays) - 1)]
        found = measured.percentile(percent)
        assert min(low * 0.98, low - 0.005) <= found <= max(high * 1.02, high + 0.005)


#: Of a tool that need not keep up.
IN_NO_HURRY = Budget(lateness=1, loop_lag=1, cpu=2, steal=1, gc_pause=1)


async def test_four_processes_measure_what_the_bot_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their histograms put together have the percentiles of its delays."""
    for name in set(os.environ) - set(unmeasured()):
        monkeypatch.delenv(name)
    for attempt in range(ATTEMPTS):
        with running_bot(seed=attempt) as bot:
            seen: list[Progress] = []
            plan = plan_for(bot, 12, 12)
            result = await run_processes(plan, 4, seen.append, trio.Event())
            assert [] == result.lost
            assert [0, 1, 2, 3] == [part.index for part in result.parts]
            assert 4 == len({part.pid for part in result.parts})
            assert 12 == sum(part.callers for part in result.parts)
            assert 12 == max(moment.ready for moment in result.timeline)
            assert seen
            assert seen[-1].result.counts["turns"] <= result.counts["turns"]
            if not result.problems:
                check_percentiles(result, bot)
                return
    raise AssertionError("this machine was too busy in all attempts")


async def test_stopping_reaches_all_of_them() -> None:
    """They hang up, and give what they have measured."""
    stop = trio.Event()

    def watch(progress: Progress) -> None:
        if progress.result.counts["turns"]:
            stop.set()

    with running_bot() as bot:
        result = await run_processes(plan_for(bot, 6, 600), 2, watch, stop)
    assert result.interrupted
    assert [] == result.lost
    assert 2 == len(result.parts)
    assert result.counts["turns"]
    assert result.seconds < 60


async def test_a_process_that_is_lost_is_named() -> None:
    """With its part of the plan; the others' measures are there, and the run is not valid."""
    pids: list[int] = []

    def watch(progress: Progress) -> None:
        if not pids:
            workers = children_of(os.getpid(), "_worker")
            pids.append(workers[0])
            os.kill(workers[0], signal.SIGKILL)

    with running_bot() as bot:
        result = await run_processes(plan_for(bot, 4, 4), 2, watch, trio.Event())
    (lost,) = result.lost
    assert "of 2 (2 of 4 callers) is lost" in lost
    assert "-9" in lost
    assert lost in result.problems
    assert 1 == len(result.parts)
    assert result.counts["turns"]


async def test_cancelling_leaves_no_process() -> None:
    """All of them are gone when it returns."""
    with running_bot() as bot:
        with trio.move_on_after(3):
            await run_processes(plan_for(bot, 2, 60), 2, lambda _: None, trio.Event())
    assert [] == children_of(os.getpid(), "_worker")


async def test_a_bot_that_dies_ends_the_run() -> None:
    """Of all processes, and when it was is told."""
    with running_bot() as bot:

        def watch(progress: Progress) -> None:
            if progress.result.counts["turns"]:
                bot.kill()

        result = await run_processes(plan_for(bot, 4, 120), 2, watch, trio.Event())
    assert result.bot_died is not None
    assert result.seconds < 60
    assert result.counts["answered"]


async def test_the_capacity_that_is_found_is_the_bots() -> None:
    """Within one step: from one more caller on it is slower than the condition allows."""
    threshold: Threshold = parse_threshold("t2v.p50 > 700ms")
    with running_bot(holds=6) as bot:
        plan = attrs.evolve(plan_for(bot, 1, 5), budget=IN_NO_HURRY)

        async def run(step: LoadPlan) -> LoadResult:
            return await run_here(step, lambda _: None, trio.Event())

        capacity = await find_capacity(
            plan, [threshold], run, first=2, most=100, tell=lambda _: None, stop=trio.Event()
        )
    assert capacity.held is not None
    assert capacity.broke is not None
    assert capacity.held.callers in (6, 7)
    assert capacity.broke.callers == capacity.held.callers + 1
    assert "t2v.p50 > 700ms" in str(capacity)
    assert f"holds {capacity.held.callers} callers" in str(capacity)


def children_of(pid: int, word: str) -> list[int]:
    """Return the processes that this one has started, with a word in their commands."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            with open(f"/proc/{name}/stat") as stat, open(f"/proc/{name}/cmdline") as command:
                parent = int(stat.read().rpartition(")")[2].split()[1])
                if parent == pid and word in command.read():
                    found.append(int(name))
        except OSError:
            continue
    return found
