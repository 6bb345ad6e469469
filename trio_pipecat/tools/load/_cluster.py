"""A run by the workers of a Dask cluster. Only this module knows Dask, of the extra ``cluster``.

Each worker has a part of the plan, and no other worker takes it over: it would begin too late. All
begin at one time, each by its own clock, which was compared with ours. What a worker that is lost
has measured is lost with it, and named.

A worker has threads of Dask's, and whoever shares an interpreter with them is late by several
milliseconds now and then. So the callers are in a process of their own, beside the worker; it ends
with the worker, whatever becomes of that.
"""

import time
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, Final, TypeVar

import attrs
import trio

from ... import UnsupportedFeatureError
from ...reports import LoadResult
from ._plan import LoadPlan
from ._processes import lost_part, run_worker
from ._progress import Progress, Watcher, together
from ._shard import new_result
from ._sounds import put_sounds, recording_here, take_sounds
from ._spans import check_spans

T = TypeVar("T")

#: How long from the order to the beginning, in seconds.
_START: Final = 2.0
#: How long a scheduler may take to answer, in seconds.
_CONNECT: Final = 10
#: And to answer later on: Dask itself would wait for ever.
_ANSWER: Final = 60.0
#: How often it is looked whether workers are still there, and told how far they are, in seconds.
_STEP: Final = 0.5
#: How long workers may take beyond the end of a run, and a scheduler to say goodbye, in seconds.
_PATIENCE: Final = 60.0
_GOODBYE: Final = 5.0
#: Who begins later than this does not begin: its part would be of another run.
_TOO_LATE: Final = 5.0


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        line = 'pip install "trio-pipecat[cluster]"'
        raise UnsupportedFeatureError("a Dask cluster", line) from error
    return distributed


async def run_cluster(plan: LoadPlan, address: str, watch: Watcher, stop: trio.Event) -> LoadResult:
    """Run a plan by the workers of the scheduler at `address`, a part each.

    Raises:
        UnsupportedFeatureError: the extra ``cluster`` is not installed.
        OSError: there is no scheduler, it has no workers, or does not answer any more.
        ValueError: a worker can't do it: it lacks a file, or this package.
    """
    distributed = _distributed()
    client = await _in_thread(lambda: _connect(distributed, address))
    try:
        run = _ClusterRun(distributed, client, plan, watch)
        return await run.hold(stop)
    finally:
        await _without_waiting_long(client.close)  # noqa: ASYNC102  # it has both


class _ClusterRun:
    def __init__(self, distributed: Any, client: Any, plan: LoadPlan, watch: Watcher) -> None:
        self._distributed = distributed
        self._client = client
        # Their disks are not ours: what is recorded there comes with the result.
        self._plan = attrs.evolve(plan, audio_folder=None)
        self._audio_folder = plan.audio_folder
        self._watch = watch
        self._name = f"trio-pipecat-load-{uuid.uuid4()}"
        self._seen: dict[int, Progress] = {}
        self._has_died = False

    async def hold(self, stop: trio.Event) -> LoadResult:
        clocks = await _in_thread(self._check_workers)
        workers = sorted(clocks)
        begin_at = time.time() + _START
        result = new_result(self._plan, begin_at)

        def lose(index: int, why: str) -> None:
            result.lost.append(lost_part(self._plan, index, len(workers), why))

        stopping = await _in_thread(lambda: self._distributed.Event(self._name, self._client))
        futures = await _in_thread(lambda: self._submit(workers, clocks, begin_at))
        waiting = dict(enumerate(futures))
        try:
            deadline = (
                trio.current_time() + self._plan.seconds + 2 * self._plan.wind_down + _PATIENCE
            )
            while waiting and trio.current_time() < deadline:
                with trio.move_on_after(_STEP):
                    await stop.wait()
                if stop.is_set() or self._has_died:
                    await _in_thread(stopping.set)
                    await trio.sleep(_STEP)
                there = set(await _in_thread(self._workers))
                for index, future in [*waiting.items()]:
                    if future.done():
                        del waiting[index]
                        await self._take(future, partial(lose, index), result)
                    elif workers[index] not in there:
                        del waiting[index]
                        lose(index, f"the worker {workers[index]} has left the cluster")
                await self._tell(len(workers))
            for index in waiting:
                lose(index, "it never ended")
        finally:
            cancel = partial(self._client.cancel, futures)
            await _without_waiting_long(cancel)  # noqa: ASYNC102  # it has a shield and a timeout
            await _without_waiting_long(stopping.set)  # noqa: ASYNC102
        return result

    async def _take(self, future: Any, lose: Callable[[str], object], result: LoadResult) -> None:
        try:
            document, sounds = await _in_thread(future.result)
        except Exception as error:
            lose(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
        else:
            part = LoadResult.from_json(document)
            put_sounds(part, sounds, self._audio_folder)
            result.merge(part)

    def _submit(self, workers: list[str], clocks: dict[str, float], begin_at: float) -> list[Any]:
        return [
            self._client.submit(
                _run_part,
                _Order(self._plan.as_json()),
                index,
                len(workers),
                begin_at + clocks[worker],
                self._name,
                records=self._audio_folder is not None,
                workers=[worker],
                allow_other_workers=False,
                retries=0,
                pure=False,
            )
            for index, worker in enumerate(workers)
        ]

    def _workers(self) -> list[str]:
        return [*self._client.scheduler_info(n_workers=-1)["workers"]]

    def _check_workers(self) -> dict[str, float]:
        """Return by how much each worker's clock is ahead of ours, once each can do it."""
        workers = self._workers()
        if not workers:
            raise OSError("the cluster has no workers")
        problems = self._client.run(_check, _Order(self._plan.as_json()))
        for worker, problem in sorted(problems.items()):
            if problem:
                raise ValueError(f"worker {worker}: {problem}")
        clocks = {}
        for worker in workers:
            sent = time.time()
            theirs = self._client.run(time.time, workers=[worker])[worker]
            clocks[worker] = theirs - (sent + time.time()) / 2
        return clocks

    async def _tell(self, number: int) -> None:
        for index in range(number):
            document = await _in_thread(partial(self._progress_of, index))
            if document is not None:
                self._seen[index] = Progress.from_json(document)
        if self._seen:
            # Of one that tells nothing at the moment what it told last: no figure goes back.
            whole = together([*self._seen.values()])
            self._watch(whole)
            self._has_died = whole.result.bot_died is not None

    def _progress_of(self, index: int) -> dict[str, Any] | None:
        variable = self._distributed.Variable(f"{self._name}-{index}", self._client)
        try:
            found: dict[str, Any] = variable.get(timeout=0.1)
        except Exception:  # Dask's TimeoutError has changed its place; it has told nothing yet
            return None
        return found


class _Order(dict[str, Any]):
    """A plan on its way to a worker. Dask logs what it is given, and there are tokens in it."""

    def __repr__(self) -> str:
        return "<a plan>"


# -- in a worker ---------------------------------------------------------------------------------


def _check(plan: dict[str, Any]) -> str:
    """Return why a worker can't do its part; nothing: it can."""
    try:
        checked = LoadPlan.from_json(plan)
        checked.check()
        if checked.spans:
            check_spans()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _run_part(
    plan: dict[str, Any], index: int, of: int, begin_at: float, name: str, *, records: bool
) -> tuple[dict[str, Any], list[bytes | None]]:
    """Run a part of a plan, in a thread of a worker; return what it measured, and recorded."""
    late = time.time() - begin_at
    if late > _TOO_LATE:
        raise TimeoutError(f"it was to begin {late:.0f} s ago")
    own_plan = LoadPlan.from_json(plan)
    with recording_here(own_plan) if records else nullcontext(own_plan) as own_plan:
        result = trio.run(_work, own_plan, index, of, begin_at, name)
        if records and own_plan.audio_folder is None:
            result.notes.append("recordings are missing: a worker has no place for them")
        return result.as_json(), take_sounds(result)


async def _work(plan: LoadPlan, index: int, of: int, begin_at: float, name: str) -> LoadResult:
    distributed = _distributed()
    stopping = distributed.Event(name)
    told = distributed.Variable(f"{name}-{index}")
    stop = trio.Event()
    newest: list[Progress] = []

    async def look() -> None:
        while not await _in_thread(stopping.is_set):
            await trio.sleep(_STEP)
            if newest:
                document = newest[-1].as_json()
                newest.clear()
                await _in_thread(partial(told.set, document))
        stop.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        result = await run_worker(plan, index, of, begin_at, newest.append, stop)
        nursery.cancel_scope.cancel()
    return result


def _connect(distributed: Any, address: str) -> Any:
    try:
        return distributed.Client(address, timeout=_CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise OSError(f"no Dask scheduler at {address}: {error}") from error


async def _without_waiting_long(call: Callable[[], object]) -> None:
    """Call something that a scheduler answers to, also if this is cancelled; it may be gone."""
    with trio.move_on_after(_GOODBYE, shield=True):
        await trio.to_thread.run_sync(call, abandon_on_cancel=True)


async def _in_thread(call: Callable[[], T]) -> T:
    """Call something that a scheduler answers to. Cancelling leaves it to itself.

    Raises:
        OSError: there is no answer.
    """
    with trio.move_on_after(_ANSWER):
        return await trio.to_thread.run_sync(call, abandon_on_cancel=True)
    raise OSError(f"the scheduler has not answered for {_ANSWER:.0f} s")
