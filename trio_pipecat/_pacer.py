"""One timer for everybody who sends on the beat.

A timer for each session is what limits how many sessions a process can hold, so those who sleep
here share one. Time is cut into ticks, and who sleeps until the same tick is woken together. There
is no task behind it: the first who sleeps is the leader, and has the timer; it wakes the others,
and whoever leaves, cancelled or not, hands the lead on.

To wake a task costs more than to send a frame. So who has something simple to do on each beat says
what (`Pacer.keep`), and it is done by the leader; the task is woken when it is not so simple.

Ticks are integers, so a beat of so many ticks never drifts.
"""

import heapq
import math
from collections.abc import Callable
from typing import Final

import attrs
import outcome
import trio

#: How many ticks a second has.
TICKS_PER_SECOND: Final = 200
#: So many may have their beat at the same tick before others are looked at.
_CROWD: Final = 8


def next_tick() -> int:
    """Return the first tick that is not over."""
    # Rounded first: a time that is a tick in all but its last bit is one.
    return math.ceil(round(trio.current_time() * TICKS_PER_SECOND, 6))


def seconds_since(tick: int) -> float:
    """Return how long ago a tick was, negative if it is to come."""
    return trio.current_time() - tick / TICKS_PER_SECOND


@attrs.define(eq=False)
class _Sleeper:
    """Somebody who sleeps until a tick, or whose beat is kept from that tick on."""

    task: trio.lowlevel.Task
    tick: int
    step: int
    beat: Callable[[int], bool]
    is_gone: bool = False


class Pacer:
    """Wakes tasks at ticks. Made by `shared_pacer`."""

    def __init__(self) -> None:
        #: Who is asleep, by when to wake them. The leader is not among them.
        self._sleepers: dict[int, list[_Sleeper]] = {}
        self._ticks: list[int] = []
        #: The lead is taken, or on its way to somebody who was woken for it.
        self._is_led = False
        self._timer = trio.CancelScope()

    @property
    def sleeping(self) -> int:
        """How many tasks sleep, the leader included."""
        asleep = (sleeper for sleepers in self._sleepers.values() for sleeper in sleepers)
        return sum(not sleeper.is_gone for sleeper in asleep) + self._is_led

    def best_tick(self, tick: int, step: int) -> int:
        """Return from which tick on to keep a beat: `tick`, or up to `step` later.

        Who begins together, as after a pause of this process, would have their beat together for
        ever, and the last of them be late each time. So a tick that is crowded is passed over.
        """
        crowd = [0] * step
        for taken, sleepers in self._sleepers.items():
            crowd[taken % step] += len(sleepers)
        return min(range(tick, tick + step), key=lambda tick: crowd[tick % step] // _CROWD)

    async def sleep_until(self, tick: int) -> None:
        """Sleep until a tick. Cancelling is safe."""
        await self.keep(tick, 1, _wake)

    # Ctrl-C between being woken and leading would leave everybody asleep.
    @trio.lowlevel.enable_ki_protection
    async def keep(self, tick: int, step: int, beat: Callable[[int], bool]) -> int:
        """Have `beat` called at `tick` and every `step` ticks after it, until it returns False.

        Returns the tick of that. It is called wherever the pacer is just led, so it may not wait;
        what it raises comes out here. Cancelling is safe.
        """
        sleeper = _Sleeper(trio.lowlevel.current_task(), tick, step, beat)
        if not self._is_led or await self._is_woken_to_lead(sleeper):
            await self._lead(sleeper)
        return sleeper.tick

    async def _is_woken_to_lead(self, sleeper: _Sleeper) -> bool:
        """Sleep, until it is time or there is nobody else to lead."""
        self._add(sleeper)

        def abort(raise_cancel: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            sleeper.is_gone = True
            return trio.lowlevel.Abort.SUCCEEDED

        return bool(await trio.lowlevel.wait_task_rescheduled(abort))

    def _add(self, sleeper: _Sleeper) -> None:
        tick = sleeper.tick
        sleepers = self._sleepers.get(tick)
        if sleepers is None:
            self._sleepers[tick] = [sleeper]
            heapq.heappush(self._ticks, tick)
            self._timer.deadline = min(self._timer.deadline, tick / TICKS_PER_SECOND)
        else:
            sleepers.append(sleeper)

    async def _lead(self, sleeper: _Sleeper) -> None:
        """Keep one's own beat, and meanwhile everybody else's."""
        self._is_led = True
        try:
            while True:
                due = sleeper.tick / TICKS_PER_SECOND
                first = min(due, self._ticks[0] / TICKS_PER_SECOND) if self._ticks else due
                with trio.CancelScope(deadline=first) as self._timer:
                    await trio.sleep_forever()
                now = trio.current_time()
                self._wake_until(now)
                while sleeper.tick / TICKS_PER_SECOND <= now:
                    if not sleeper.beat(sleeper.tick):
                        return
                    sleeper.tick += sleeper.step
        finally:
            self._hand_over()

    def _wake_until(self, now: float) -> None:
        while self._ticks and self._ticks[0] / TICKS_PER_SECOND <= now:
            for sleeper in self._sleepers.pop(heapq.heappop(self._ticks)):
                if sleeper.is_gone:
                    continue
                self._beat(sleeper)

    def _beat(self, sleeper: _Sleeper) -> None:
        try:
            goes_on = sleeper.beat(sleeper.tick)
        except Exception as error:
            if not sleeper.is_gone:
                trio.lowlevel.reschedule(sleeper.task, outcome.Error(error))
            return
        if sleeper.is_gone:
            return  # it has cancelled itself
        if goes_on:
            sleeper.tick += sleeper.step
            self._add(sleeper)
        else:
            trio.lowlevel.reschedule(sleeper.task, outcome.Value(False))

    def _hand_over(self) -> None:
        """Have somebody else lead: one of those who are next."""
        while self._ticks:
            sleepers = self._sleepers[self._ticks[0]]
            while sleepers:
                sleeper = sleepers.pop()
                if not sleeper.is_gone:
                    trio.lowlevel.reschedule(sleeper.task, outcome.Value(True))
                    return
            del self._sleepers[heapq.heappop(self._ticks)]
        self._is_led = False


def _wake(tick: int) -> bool:
    return False


_pacer: trio.lowlevel.RunVar[Pacer] = trio.lowlevel.RunVar("trio_pipecat pacer")


def shared_pacer() -> Pacer:
    """Return the pacer of this trio run."""
    try:
        return _pacer.get()
    except LookupError:
        pacer = Pacer()
        _pacer.set(pacer)
        return pacer
