"""Whether this process keeps up with what it measures: a load tool that is late itself lies."""

import gc
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, final

import trio

from ...reports import LoadResult, Part
from ._plan import Budget

#: How often it is looked whether the event loop is in time, in seconds.
_STEP: Final = 0.01
#: So long before it begins to measure, in seconds, it does what would keep everybody waiting.
_BEFORE: Final = 0.5
#: A histogram tells a value up to 0.1 % too large.
_ROUNDED: Final = 1.001
_STAT: Final = Path("/proc/stat")


@final
class Health:
    """Watches this process during the measuring window: `watch` is its task."""

    def __init__(self, result: LoadResult, budget: Budget, index: int, of: int) -> None:
        self.part = Part(index=index, of=of, host=socket.gethostname(), pid=os.getpid())
        self._result = result
        self._budget = budget
        self._since: tuple[float, float, float, float] | None = None
        self._pause_began = 0.0

    async def watch(self, begin: float, end: float) -> None:
        """Watch from `begin` until `end`, on trio's clock."""
        await trio.sleep_until(begin - _BEFORE)
        with _fewer_pauses(), self._watching_gc():
            await trio.sleep_until(begin)
            self._since = _clocks()
            lag = self._result.metric("loop_lag")
            try:
                due = trio.current_time()
                while due < end:
                    due += _STEP
                    await trio.sleep_until(due)
                    late = max(trio.current_time() - due, 0.0)
                    lag.add(late)
                    # Whoever wanted to run meanwhile was late too, each by what was left of it.
                    while late >= _STEP:
                        late -= _STEP
                        due += _STEP
                        lag.add(late)
            finally:
                self._note_clocks()

    def judge(self) -> Part:
        """Return what was seen, with what is over the budget."""
        part, budget, metrics = self.part, self._budget, self._result.metrics
        for name in ("lateness", "loop_lag"):
            latencies = metrics.get(name)
            if latencies is not None and len(latencies):
                setattr(part, f"{name}_p99", latencies.percentile(99))
        for what, value, most, told in (
            ("its frames were late", part.lateness_p99, budget.lateness, _ms),
            ("its event loop was late", part.loop_lag_p99, budget.loop_lag, _ms),
            ("it used", part.cpu, budget.cpu, _of_a_core),
            ("other machines took", part.steal, budget.steal, _share),
            ("its garbage collector paused", part.gc_longest, budget.gc_pause, _longest),
        ):
            if value > most * _ROUNDED:
                part.problems.append(f"{what} {told(value)}, more than {told(most)}")
        return part

    @contextmanager
    def _watching_gc(self) -> Iterator[None]:
        gc.callbacks.append(self._note_gc)
        try:
            yield
        finally:
            gc.callbacks.remove(self._note_gc)

    def _note_gc(self, phase: str, info: dict[str, Any]) -> None:
        now = time.perf_counter()
        if phase == "start":
            self._pause_began = now
        else:
            self.part.gc_pauses += 1
            self.part.gc_longest = max(self.part.gc_longest, now - self._pause_began)

    def _note_clocks(self) -> None:
        if self._since is None:
            return
        wall, cpu, stolen, all_cores = (
            now - before for now, before in zip(_clocks(), self._since, strict=True)
        )
        self.part.cpu = cpu / wall if wall > 0 else 0.0
        self.part.steal = stolen / all_cores if all_cores > 0 else 0.0


@contextmanager
def _fewer_pauses() -> Iterator[None]:
    """Have the garbage collector leave alone what is there already: hundreds of sessions.

    To look through them all takes a tenth of a second, in which everybody is late.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _clocks() -> tuple[float, float, float, float]:
    """Return wall time, this process's CPU time, the machine's stolen time, and all of its time."""
    try:
        ticks = [int(word) for word in _STAT.read_text().partition("\n")[0].split()[1:9]]
    except (OSError, ValueError):
        ticks = []
    stolen = float(ticks[7]) if len(ticks) > 7 else 0.0
    return time.perf_counter(), time.process_time(), stolen, float(sum(ticks))


def _ms(seconds: float) -> str:
    return f"by {1000 * seconds:.0f} ms at the 99th percentile"


def _longest(seconds: float) -> str:
    return f"for {1000 * seconds:.0f} ms"


def _of_a_core(share: float) -> str:
    return f"{100 * share:.0f} % of a core"


def _share(share: float) -> str:
    return f"{100 * share:.0f} % of the time"
