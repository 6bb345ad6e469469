"""A run in this process, watched."""

import time

import trio

from ...reports import LoadResult
from ._plan import LoadPlan
from ._progress import PROGRESS_STEP, Progress, Watcher
from ._shard import new_result, run_shard
from ._spans import Spans, has_provider


async def run_here(
    plan: LoadPlan,
    watch: Watcher,
    stop: trio.Event,
    *,
    index: int = 0,
    of: int = 1,
    begin_at: float | None = None,
) -> LoadResult:
    """Run a part of a plan here, tell `watch` every second how far it is, and return the result."""
    began = time.time() if begin_at is None else begin_at
    result = new_result(plan, began)
    at = trio.current_time() + max(began - time.time(), 0)
    spans = Spans() if plan.spans else None
    if spans is not None and not has_provider():
        result.notes.append("spans are missing: a process has no tracer provider")

    async def tell() -> None:
        due = at
        while True:
            due += PROGRESS_STEP
            await trio.sleep_until(due)
            watch(Progress.of(result, trio.current_time() - at))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell)
        await run_shard(plan, index, of, begin_at=began, result=result, stop=stop, observer=spans)
        nursery.cancel_scope.cancel()
    return result
