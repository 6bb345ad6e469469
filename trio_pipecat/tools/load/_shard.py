"""One part of a load run, in this process: callers, a group of sessions, and what is measured."""

import time
from typing import Final, final

import trio

from ... import Member, Outcome, SessionGroup, open_session_group
from ...reports import LoadResult
from .._options import shown_target
from ._call import Call, Observer
from ._health import Health
from ._plan import LoadPlan
from ._words import load_caller, prepare

#: A timeline has about so many stretches, none of which is shorter than a second.
_STRETCHES: Final = 120
#: Who begins later than this, in seconds, has another part of the run to tell of than the others.
_LATEST: Final = 1.0
#: How often it is counted how many callers there are, in seconds.
_COUNT_STEP: Final = 0.1
#: A closed model's caller whose call has failed waits so long before the next, in seconds: a bot
#: that refuses at once would be called ten thousand times a second.
_AFTER_FAILURE: Final = 0.5
#: When so many more calls in a row have failed than are being tried, and nobody is left who talks,
#: the bot has died. That ends a run of one part; of several, who sees all of them says so.
_DEATH: Final = 5


def new_result(plan: LoadPlan, began: float) -> LoadResult:
    """Return what a run is measured into; `began` is in seconds of the epoch."""
    begin, end = plan.window
    return LoadResult(
        target=shown_target(plan.target),
        plan=plan.described(),
        began=began,
        measured_from=begin,
        measured_until=end,
        step=max(1.0, round(plan.seconds / _STRETCHES)),
    )


async def run_shard(
    plan: LoadPlan,
    index: int = 0,
    of: int = 1,
    *,
    begin_at: float | None = None,
    result: LoadResult | None = None,
    stop: trio.Event | None = None,
    observer: Observer | None = None,
) -> LoadResult:
    """Run a part of a plan, and return what it has measured.

    Every ``of``-th caller is this part's, from the one of number `index` on. `begin_at` is when the
    run begins, in seconds of the epoch, the same for all parts; None: now. `stop` ends it before
    its time, and callers hang up. Cancelled, `result`, if one was given, has what was measured.
    `observer` is told of each call.
    """
    at = time.time() if begin_at is None else begin_at
    measured = new_result(plan, at) if result is None else result
    stop = trio.Event() if stop is None else stop
    shard = _Shard(plan, index, of, measured, stop, observer or Observer())
    await shard.run(trio.current_time() + at - time.time())
    return measured


@final
class _Shard:
    def __init__(
        self,
        plan: LoadPlan,
        index: int,
        of: int,
        result: LoadResult,
        stop: trio.Event,
        observer: Observer,
    ) -> None:
        self._plan = plan
        self._index = index
        self._of = of
        self._result = result
        self._stop = stop
        self._observer = observer
        self._words = prepare(plan.texts, plan.wavs)
        self._function = None if plan.caller is None else load_caller(plan.caller)
        self._began = 0.0
        self._leaving = trio.Event()
        self._calls: dict[str, Call] = {}
        self._recorded = 0
        self._failed_in_a_row = 0
        self._failing_since = 0.0
        self._health = Health(result, plan.budget, index, of)

    async def run(self, began: float) -> None:
        """Run it; it begins at a time of trio's clock."""
        plan, result = self._plan, self._result
        self._began = began
        late = trio.current_time() - began
        if late > _LATEST:
            self._health.part.problems.append(f"it began {late:.1f} s late")
        with trio.move_on_at(began):
            await self._stop.wait()
        try:
            async with trio.open_nursery() as nursery:
                begin, end = plan.window
                nursery.start_soon(self._health.watch, self._began + begin, self._began + end)
                nursery.start_soon(self._count)
                nursery.start_soon(self._measure_lateness)
                await self._hold()
                nursery.cancel_scope.cancel()
        finally:
            result.seconds = trio.current_time() - self._began
            result.measured_until = min(result.measured_until, result.seconds)
            if dropped := result.counts["dropped"]:
                self._health.part.problems.append(f"{dropped} callers found no place to call from")
            result.interrupted |= self._stop.is_set() or result.seconds < plan.seconds
            result.parts.append(self._health.judge())

    async def _hold(self) -> None:
        """Have everybody call, until the time is over or it is stopped."""
        plan = self._plan
        async with open_session_group(
            plan.target, on_failure="collect", on_outcome=self._note, **plan.keywords
        ) as group:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._leave_on_stop, nursery.cancel_scope)
                if plan.model == "closed":
                    await self._call_again_and_again(group)
                else:
                    await self._come(group)
                nursery.cancel_scope.cancel()
            self._leaving.set()
            await group.wind_down(plan.wind_down)

    async def _leave_on_stop(self, scope: trio.CancelScope) -> None:
        await self._stop.wait()
        scope.cancel()

    # -- who calls when --

    async def _call_again_and_again(self, group: SessionGroup) -> None:
        async with trio.open_nursery() as nursery:
            for caller, spans in self._plan.callers(self._index, self._of):
                self._health.part.callers += 1
                nursery.start_soon(self._be_there, group, caller, spans)
        await trio.sleep_until(self._began + self._plan.seconds)

    async def _be_there(
        self, group: SessionGroup, caller: int, spans: list[tuple[float, float]]
    ) -> None:
        """Be a caller of the closed model."""
        rng = self._plan.rng("pause", caller)
        number = 0
        for begin, end in spans:
            await trio.sleep_until(self._began + begin)
            leaving = trio.Event()
            member: Member | None = None
            try:
                with trio.move_on_at(self._began + end):
                    while True:
                        number += 1
                        member = self._call(group, caller, number, leaving)
                        outcome = await member.wait()
                        failed = outcome.error is not None or outcome.end.first != "client"
                        pause = rng.uniform(*self._plan.think)
                        await trio.sleep(max(pause, _AFTER_FAILURE if failed else 0.0))
            finally:
                leaving.set()
            if member is not None:
                with trio.move_on_after(self._plan.wind_down):
                    await member.wait()
                member.cancel()

    async def _come(self, group: SessionGroup) -> None:
        """Have callers of the open model come."""
        for caller, at in self._plan.arrivals(self._index, self._of):
            await trio.sleep_until(self._began + at)
            if len(group) >= self._plan.max_callers / self._of:
                if self._plan.window[0] <= at < self._plan.window[1]:
                    self._result.counts["dropped"] += 1
                continue
            self._health.part.callers += 1
            self._call(group, caller, 1, self._leaving)
        await trio.sleep_until(self._began + self._plan.seconds)

    # -- one call --

    def _call(self, group: SessionGroup, caller: int, number: int, leaving: trio.Event) -> Member:
        call = Call(
            plan=self._plan,
            words=self._words,
            function=self._function,
            caller=caller,
            number=number,
            result=self._result,
            began=self._began,
            leaving=leaving,
            is_recorded=self._may_record(),
        )
        self._recorded += call.is_recorded
        name = f"{caller}-{number}"
        self._calls[name] = call
        with self._observer.beginning(call) as more:
            return group.start_soon(call.hold, name=name, **more)

    def _may_record(self) -> bool:
        return self._plan.audio_folder is not None and self._recorded < self._plan.recorded

    def _note(self, outcome: Outcome) -> None:
        """A call is over."""
        call = self._calls.pop(outcome.name)
        call.finish(outcome.error)
        self._observer.over(call)
        self._recorded -= call.is_recorded
        if call.cause is None:
            self._failed_in_a_row = 0
            return
        if not self._failed_in_a_row:
            self._failing_since = outcome.ended - self._began
        self._failed_in_a_row += 1
        if self._leaving.is_set():
            return  # everybody hangs up: nobody is there who could tell that the bot lives
        nobody_is_ready = not any(other.is_ready for other in self._calls.values())
        if nobody_is_ready and self._failed_in_a_row >= _DEATH + len(self._calls):
            self._result.bot_died = self._failing_since
            if self._of == 1:
                self._stop.set()

    async def _measure_lateness(self) -> None:
        begin, end = self._plan.window
        with trio.move_on_at(self._began + begin):
            await self._stop.wait()
        for call in self._calls.values():
            call.begin_to_measure()
        with trio.move_on_at(self._began + end):
            await self._stop.wait()
        for call in self._calls.values():
            call.end_measuring()

    async def _count(self) -> None:
        """Count the callers, and put down who became ready."""
        at = self._began
        while True:
            starting = ready = 0
            for call in self._calls.values():
                if call.note_if_ready():
                    ready += 1
                else:
                    starting += 1
            if ready and self._result.bot_died is not None and not self._stop.is_set():
                # It lives: callers of other parts had taken all places.
                self._result.bot_died = None
                self._failed_in_a_row = 0
            moment = self._result.moment(trio.current_time() - self._began)
            if starting + ready >= moment.starting + moment.ready:
                moment.starting, moment.ready = starting, ready
            at += _COUNT_STEP
            await trio.sleep_until(at)
