"""One timer for everybody who sends on the beat.

A timer for each session is what limits how many sessions a process can hold, so those who sleep
here share one. Time is cut into ticks, and who sleeps until the same tick is woken together. There
is no task behind it: the first who sleeps is the leader, and has the timer; it wakes the others,
and whoever leaves, cancelled or not, hands the lead on.

Ticks are integers, so a beat of so many ticks never drifts.
"""

import heapq
import math
from typing import Final

import trio
from outcome import Value

#: How many ticks a second has.
TICKS_PER_SECOND: Final = 200


def next_tick() -> int:
    """Return the first tick that is not over."""
    # Rounded first: a time that is a tick in all but its last bit is one.
    return math.ceil(round(trio.current_time() * TICKS_PER_SECOND, 6))


def seconds_since(tick: int) -> float:
    """Return how long ago a tick was, negative if it is to come."""
    return trio.current_time() - tick / TICKS_PER_SECOND


class Pacer:
    """Wakes tasks at ticks. Made by `shared_pacer`."""

    def __init__(self) -> None:
        #: Who is asleep, by when to wake them. The leader is not among them.
        self._sleepers: dict[int, set[trio.lowlevel.Task]] = {}
        self._ticks: list[int] = []
        #: The lead is taken, or on its way to somebody who was woken for it.
        self._is_led = False
        self._timer = trio.CancelScope()

    @property
    def sleeping(self) -> int:
        """How many tasks sleep, the leader included."""
        return sum(map(len, self._sleepers.values())) + self._is_led

    # Ctrl-C between being woken and leading would leave everybody asleep.
    @trio.lowlevel.enable_ki_protection
    async def sleep_until(self, tick: int) -> None:
        """Sleep until a tick. Cancelling is safe."""
        if not self._is_led or await self._is_woken_to_lead(tick):
            await self._lead(tick)

    async def _is_woken_to_lead(self, tick: int) -> bool:
        """Sleep, until it is time or there is nobody else to lead."""
        task = trio.lowlevel.current_task()
        if tick not in self._sleepers:
            self._sleepers[tick] = set()
            heapq.heappush(self._ticks, tick)
            self._timer.deadline = min(self._timer.deadline, tick / TICKS_PER_SECOND)
        self._sleepers[tick].add(task)

        def abort(raise_cancel: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            self._sleepers[tick].discard(task)
            return trio.lowlevel.Abort.SUCCEEDED

        return bool(await trio.lowlevel.wait_task_rescheduled(abort))

    async def _lead(self, tick: int) -> None:
        """Sleep until a tick, and meanwhile wake whoever else is due."""
        self._is_led = True
        due = tick / TICKS_PER_SECOND
        try:
            while True:
                first = min(due, self._ticks[0] / TICKS_PER_SECOND) if self._ticks else due
                with trio.CancelScope(deadline=first) as self._timer:
                    await trio.sleep_forever()
                now = trio.current_time()
                self._wake_until(now)
                if now >= due:
                    return
        finally:
            self._hand_over()

    def _wake_until(self, now: float) -> None:
        while self._ticks and self._ticks[0] / TICKS_PER_SECOND <= now:
            for task in self._sleepers.pop(heapq.heappop(self._ticks)):
                trio.lowlevel.reschedule(task, Value(False))

    def _hand_over(self) -> None:
        """Have somebody else lead: one of those who are next."""
        while self._ticks:
            sleepers = self._sleepers[self._ticks[0]]
            if sleepers:
                trio.lowlevel.reschedule(sleepers.pop(), Value(True))
                return
            del self._sleepers[heapq.heappop(self._ticks)]
        self._is_led = False


_pacer: trio.lowlevel.RunVar[Pacer] = trio.lowlevel.RunVar("trio_pipecat pacer")


def shared_pacer() -> Pacer:
    """Return the pacer of this trio run."""
    try:
        return _pacer.get()
    except LookupError:
        pacer = Pacer()
        _pacer.set(pacer)
        return pacer
