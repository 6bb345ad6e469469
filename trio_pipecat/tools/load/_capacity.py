"""How many callers a bot holds: more of them until a condition is fulfilled, then in between."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, final

import attrs
import trio

from ...reports import LoadResult, Threshold, Verdict
from ._plan import LoadPlan
from ._shape import Shape, Stage

#: Callers come within this share of a step, so that it is not the coming that is measured.
_COMING: Final = 0.2
#: How long a bot has to recover between two steps, in seconds.
_PAUSE: Final = 2.0


@attrs.frozen(kw_only=True)
class Step:
    """What came of so many callers."""

    callers: int
    result: LoadResult
    verdicts: tuple[Verdict, ...]

    @property
    def is_valid(self) -> bool:
        """Did this tool keep up?"""
        return not self.result.problems

    @property
    def held(self) -> bool:
        """Was no condition fulfilled, and did the bot live?"""
        return self.result.bot_died is None and not any(v.failed for v in self.verdicts)

    @property
    def cores(self) -> float:
        """How many cores this tool used."""
        return sum(part.cpu for part in self.result.parts)

    def __str__(self) -> str:
        if not self.is_valid:
            return f"{self.callers} callers: can't tell: {self.result.problems[0]}"
        if self.held:
            return f"{self.callers} callers: held"
        return f"{self.callers} callers: {self.why}"

    @property
    def why(self) -> str:
        """Why it did not hold, in words."""
        if self.result.bot_died is not None:
            return f"the bot died after {self.result.bot_died:.0f} s"
        failed = min(
            (verdict for verdict in self.verdicts if verdict.failed),
            key=lambda verdict: verdict.value is None,  # what was measured says more
        )
        if failed.value is None and not self.result.counts["reached"]:
            return "nobody got to a bot that was ready"
        return f"{failed.threshold.text} ({failed.threshold.tell(failed.value)})"


@final
@attrs.define(kw_only=True)
class Capacity:
    """What was found: the most callers that were held, and the fewest that were not."""

    steps: list[Step] = attrs.field(factory=list)

    @property
    def held(self) -> Step | None:
        """The most callers that were held."""
        steps = [step for step in self.steps if step.held and step.is_valid]
        return max(steps, key=lambda step: step.callers, default=None)

    @property
    def broke(self) -> Step | None:
        """The fewest callers that were not."""
        steps = [step for step in self.steps if not (step.held and step.is_valid)]
        return min(steps, key=lambda step: step.callers, default=None)

    @property
    def bot_has_died(self) -> bool:
        """Is there nobody to be asked any more?"""
        return any(step.result.bot_died is not None for step in self.steps)

    def __str__(self) -> str:
        held, broke = self.held, self.broke
        number = 0 if held is None else held.callers
        told = f"holds {number} caller{'' if number == 1 else 's'}"
        if broke is None:
            told = f"holds at least {number} callers: more were not tried"
        elif not broke.is_valid:
            told = (
                f"holds at least {number} callers: with {broke.callers}, this tool did not keep up "
                f"({broke.result.problems[0]})"
            )
        else:
            told += f": at {broke.callers}, {broke.why}"
        if held is not None and held.cores > 0:
            told += f"; this tool used {held.cores:.2f} cores for them, "
            told += f"{held.callers / held.cores:.0f} callers a core"
        return told

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        held, broke = self.held, self.broke
        return {
            "held": 0 if held is None else held.callers,
            "broke": None if broke is None else broke.callers,
            "told": str(self),
            "valid": broke is None or broke.is_valid,
            "steps": [
                {
                    "callers": step.callers,
                    "held": step.held,
                    "valid": step.is_valid,
                    "cores": round(step.cores, 3),
                    "verdicts": [verdict.as_json() for verdict in step.verdicts],
                    "result": step.result.as_json(),
                }
                for step in self.steps
            ],
        }


async def find_capacity(
    plan: LoadPlan,
    thresholds: Sequence[Threshold],
    run: Callable[[LoadPlan], Awaitable[LoadResult]],
    *,
    first: int,
    most: int,
    tell: Callable[[Step], object],
    stop: trio.Event,
) -> Capacity:
    """Find how many callers fulfil no condition, to one caller or one in fifty.

    Each number is tried for as long as the plan is, with callers that call again and again. From
    `first` on it is doubled while it holds, up to `most`, and then looked for in between.
    """
    capacity = Capacity()

    async def holds(callers: int) -> bool:
        if capacity.steps:
            await trio.sleep(_PAUSE)
        result = await run(at_constant(plan, callers))
        verdicts = tuple(threshold.check(result) for threshold in thresholds)
        step = Step(callers=callers, result=result, verdicts=verdicts)
        if result.interrupted and result.bot_died is None:
            return False  # of what was broken off nothing is known
        capacity.steps.append(step)
        tell(step)
        return step.held and step.is_valid

    low, high = 0, max(first, 1)
    while not stop.is_set() and await holds(high):
        if high >= most:
            return capacity
        low, high = high, min(2 * high, most)
    while not (stop.is_set() or capacity.bot_has_died) and high - low > max(1, low // 50):
        middle = (low + high) // 2
        if await holds(middle):
            low = middle
        elif not stop.is_set():
            high = middle
    return capacity


def at_constant(plan: LoadPlan, callers: int) -> LoadPlan:
    """Return the plan of one step: so many callers, who come in its first part."""
    coming = _COMING * plan.seconds
    shape = Shape(0, (Stage(coming, callers), Stage(plan.seconds - coming, callers)))
    return attrs.evolve(plan, shape=shape, warm_up=max(plan.warm_up, coming))
