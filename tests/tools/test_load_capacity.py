"""How many callers a bot holds: which numbers are tried, and what is said of them."""

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from trio_pipecat.reports import LoadResult, Part, parse_threshold
from trio_pipecat.testing import BotLink, SimulatedBot
from trio_pipecat.tools.load._capacity import Capacity, Step, at_constant, find_capacity
from trio_pipecat.tools.load._plan import Budget, LoadPlan
from trio_pipecat.tools.load._shape import profile
from trio_pipecat.tools.load._shard import run_shard

SLOW = parse_threshold("v2v.p95 > 1.5s")
PLAN = LoadPlan(target="sim:", shape=profile("constant", 1, 20))


class Bot:
    """What a run against a bot measures that holds so many callers, and a tool that does."""

    def __init__(self, holds: int, *, tool_holds: int = 10**9, dies_at: int = 10**9) -> None:
        self.holds = holds
        self.tool_holds = tool_holds
        self.dies_at = dies_at
        self.tried: list[int] = []
        self.stop = trio.Event()

    async def run(self, plan: LoadPlan) -> LoadResult:
        """Measure."""
        await trio.sleep(plan.seconds)
        callers = round(plan.shape.peak)
        self.tried.append(callers)
        part = Part(index=0, cpu=callers / 100)
        if callers > self.tool_holds:
            part.problems.append("its event loop was late")
        result = LoadResult(parts=[part])
        result.metric("v2v").add(1.0 if callers <= self.holds else 2.0)
        if callers >= self.dies_at:
            result.bot_died, result.interrupted = 3.0, True
        return result

    async def find(self, *, first: int = 1, most: int = 10**9) -> Capacity:
        """Find how many it holds."""
        told: list[Step] = []
        found = await find_capacity(
            *(PLAN, [SLOW], self.run),
            first=first,
            most=most,
            tell=told.append,
            stop=self.stop,
        )
        assert told == found.steps
        return found


async def test_it_is_doubled_and_then_looked_for_in_between(autojump_clock: MockClock) -> None:
    """And what was found is a sentence."""
    bot = Bot(42)
    found = await bot.find()
    assert [1, 2, 4, 8, 16, 32, 64, 48, 40, 44, 42, 43] == bot.tried
    assert found.held is not None
    assert 42 == found.held.callers
    assert (
        "holds 42 callers: at 43, v2v.p95 > 1.5s (2.00 s); this tool used 0.42 cores for them, "
        "100 callers a core" == str(found)
    )
    assert 43 == found.as_json()["broke"]
    assert 12 == len(found.as_json()["steps"])


@given(st.integers(0, 400), st.integers(1, 50))
def test_whatever_it_holds_is_found(holds: int, first: int) -> None:
    """To a caller, or to one in fifty; in few steps."""
    bot = Bot(holds)
    found = trio.run(lambda: bot.find(first=first), clock=MockClock(autojump_threshold=0))
    held = 0 if found.held is None else found.held.callers
    assert held <= holds < held + max(2, held // 50 + 1)
    assert len(bot.tried) <= 20
    assert len(set(bot.tried)) == len(bot.tried)


async def test_no_more_are_tried_than_wanted(autojump_clock: MockClock) -> None:
    """Then it holds at least so many."""
    bot = Bot(1_000)
    found = await bot.find(most=50)
    assert 50 == max(bot.tried)
    assert str(found).startswith("holds at least 50 callers: more were not tried")
    assert found.broke is None


async def test_a_bot_that_holds_nobody(autojump_clock: MockClock) -> None:
    """That is said."""
    found = await Bot(0).find()
    assert found.held is None
    assert str(found).startswith("holds 0 callers: at 1, v2v.p95 > 1.5s")


async def test_a_tool_that_does_not_keep_up_says_nothing_of_the_bot(
    autojump_clock: MockClock,
) -> None:
    """Only that it holds at least as many as it could tell."""
    found = await Bot(1_000, tool_holds=20).find()
    assert "holds at least 20 callers: with 21, this tool did not keep up" in str(found)
    assert not found.as_json()["valid"]
    assert "can't tell" in str(found.broke)


async def test_a_bot_that_dies(autojump_clock: MockClock) -> None:
    """Has not held them, and can't be asked any more."""
    bot = Bot(1_000, dies_at=12)
    found = await bot.find()
    assert [1, 2, 4, 8, 16] == bot.tried
    assert found.held is not None
    assert 8 == found.held.callers
    assert "at 16, the bot died after 3 s" in str(found)


async def test_it_can_be_stopped(autojump_clock: MockClock) -> None:
    """What was found by then stands; of what was broken off nothing is known."""
    bot = Bot(1_000)

    async def run(plan: LoadPlan) -> LoadResult:
        result = await Bot.run(bot, plan)
        if plan.shape.peak == 8:
            bot.stop.set()
            result.interrupted = True
        return result

    found = await find_capacity(
        PLAN, [SLOW], run, first=1, most=99, tell=lambda _: None, stop=bot.stop
    )
    assert [1, 2, 4] == [step.callers for step in found.steps]
    assert "holds at least 4 callers" in str(found)


@attrs.define(kw_only=True, eq=False)
class Full(SimulatedBot):
    """A bot with so many places: who comes when all are taken is sent away, or kept waiting."""

    places: int
    hangs: bool
    talking: int = 0

    async def converse(self, link: BotLink) -> None:
        """Hold a conversation, if there is a place."""
        if self.talking >= self.places:
            if not self.hangs:
                await link.aclose()
            return
        self.talking += 1
        try:
            await super().converse(link)
        finally:
            self.talking -= 1
            self.conversations.clear()


@pytest.mark.parametrize(("first", "parts"), [(1, 1), (16, 1), (1, 4), (16, 4)])
@pytest.mark.parametrize("hangs", [True, False])
@pytest.mark.parametrize("places", [0, 1, 5])
async def test_a_bot_that_refuses(
    autojump_clock: MockClock, places: int, hangs: bool, first: int, parts: int
) -> None:
    """At once, or by keeping callers waiting: they have no latency that could be too long.

    A part of several may have none but those who wait.
    """
    bot = Full(places=places, hangs=hangs, think_seconds=0.5)
    plan = attrs.evolve(
        PLAN,
        keywords={"transport": bot.connect},
        texts=("Hello",),
        greeting=0.0,
        budget=Budget(cpu=100, steal=2, gc_pause=100, loop_lag=100),
    )

    async def run(step: LoadPlan) -> LoadResult:
        whole = LoadResult(measured_until=step.window[1])

        async def run_part(index: int) -> None:
            whole.merge(await run_shard(step, index, parts))

        async with trio.open_nursery() as nursery:
            for index in range(parts):
                nursery.start_soon(run_part, index)
        whole.settle()
        return whole

    found = await find_capacity(
        plan,
        [parse_threshold("t2v.p95 > 5s"), parse_threshold("error_rate > 1%")],
        run,
        first=first,
        most=99,
        tell=lambda _: None,
        stop=trio.Event(),
    )
    assert places == found.as_json()["held"]
    assert found.broke is not None
    if not places and not hangs:
        assert f"at {first}, the bot died" in str(found)
        return
    why = "error_rate > 1%" if places else "nobody got to a bot that was ready"
    assert f"at {places + 1}, {why}" in str(found)


def test_callers_of_a_step_come_in_its_first_part() -> None:
    """Which is not measured."""
    plan = at_constant(PLAN, 30)
    assert (4.0, 20.0) == plan.window
    assert [0, 30, 30] == [round(plan.shape.value(at)) for at in (0, 4, 19.9)]


async def test_a_pause_between_two_steps(autojump_clock: MockClock) -> None:
    """In which the bot recovers."""
    await Bot(1).find()
    assert trio.current_time() == pytest.approx(2 * 20 + 2)
