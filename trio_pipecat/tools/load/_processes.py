"""A run by several processes of this machine, each on a core of its own if there are as many."""

import json
import subprocess
import sys
import time
from collections import deque
from functools import partial
from typing import Any, Final

import trio

from ...reports import LoadResult
from ._plan import LoadPlan
from ._progress import PROGRESS_STEP, Progress, Watcher, together
from ._shard import new_result
from ._spans import environment

#: How long processes may take to be there before the run begins, in seconds: in all, and each.
_START: Final = 1.0
_START_EACH: Final = 0.5
#: How long after its end a process may take to give its result, in seconds.
_PATIENCE: Final = 10.0
#: How long goodbyes may take, in seconds.
_GOODBYES: Final = 10.0
_COMMAND: Final = (sys.executable, "-m", "trio_pipecat.tools.load._worker")
#: What of a process's last words is told.
_LAST_WORDS: Final = 300


def lost_part(plan: LoadPlan, index: int, of: int, why: object) -> str:
    """Say which part of a plan is lost, and why."""
    if plan.model == "open":
        who = f"every {of}th caller, from the {index + 1}th"
    else:
        who = f"{sum(1 for _ in plan.callers(index, of))} of {round(plan.shape.peak)} callers"
    return f"part {index} of {of} ({who}) is lost, and with it what it measured: {why}"


async def run_processes(
    plan: LoadPlan, number: int, watch: Watcher, stop: trio.Event
) -> LoadResult:
    """Run a plan by so many processes, and return what they have measured together."""
    begin_at = time.time() + _START + _START_EACH * number
    result = new_result(plan, begin_at)
    seen: dict[int, Progress] = {}
    told_at = float("-inf")
    ending = trio.Event()

    async def end_when_stopped() -> None:
        await stop.wait()
        ending.set()

    async def run_one(index: int) -> None:
        try:
            part = await run_worker(plan, index, number, begin_at, partial(note, index), ending)
        except LostError as error:
            result.lost.append(lost_part(plan, index, number, error))
        else:
            result.merge(part)

    def note(index: int, progress: Progress) -> None:
        nonlocal told_at
        seen[index] = progress
        # All of them tell something once a second.
        if trio.current_time() - told_at > PROGRESS_STEP / 2:
            told_at = trio.current_time()
            whole = together([*seen.values()])
            watch(whole)
            if whole.result.bot_died is not None:
                ending.set()  # a part alone can't know

    async with trio.open_nursery() as nursery:
        nursery.start_soon(end_when_stopped)
        async with trio.open_nursery() as parts:
            for index in range(number):
                parts.start_soon(run_one, index)
        nursery.cancel_scope.cancel()
    return result


class LostError(Exception):
    """A process is gone without a result."""


async def run_worker(
    plan: LoadPlan, index: int, of: int, begin_at: float, watch: Watcher, stop: trio.Event
) -> LoadResult:
    """Run a part of a plan in a process of its own, which is gone when this returns.

    Raises:
        LostError: it is gone without a result.
    """
    process = await trio.lowlevel.open_process(
        _COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=environment(),
    )
    words: list[bytes] = []
    order = {"plan": plan.as_json(), "index": index, "of": of, "begin_at": begin_at}
    # Whatever its callers do, it is over by then.
    longest = plan.seconds + 2 * plan.wind_down + _GOODBYES + _PATIENCE
    deadline = trio.current_time() + begin_at - time.time() + longest
    result: LoadResult | None = None
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_collect, process.stderr, words)
            nursery.start_soon(_give_order, process.stdin, order, stop)
            nursery.start_soon(_be_patient, nursery.cancel_scope, deadline, stop, plan.wind_down)
            async for line in _Lines(process.stdout):
                message = json.loads(line)
                if "progress" in message:
                    watch(Progress.from_json(message["progress"]))
                else:
                    result = LoadResult.from_json(message["result"])
            with trio.move_on_after(_PATIENCE):
                await process.wait()
            nursery.cancel_scope.cancel()
    finally:
        if process.returncode is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()  # it was killed
        for stream in (process.stdin, process.stdout, process.stderr):
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)
    if result is None:
        last = b"".join(words).decode(errors="replace").strip()[-_LAST_WORDS:]
        raise LostError(f"exit code {process.returncode}{': ' if last else ''}{last}")
    return result


async def _be_patient(
    scope: trio.CancelScope, deadline: float, stop: trio.Event, wind_down: float
) -> None:
    """Give a process up that is not over in time, or has not stopped."""
    scope.deadline = deadline
    await stop.wait()
    scope.deadline = min(deadline, trio.current_time() + wind_down + _GOODBYES + _PATIENCE)


async def _give_order(stdin: trio.abc.SendStream, order: dict[str, Any], stop: trio.Event) -> None:
    """Say what is to be done, and when it is enough."""
    try:
        await stdin.send_all(json.dumps(order).encode() + b"\n")
        await stop.wait()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return  # it is gone: who reads its output finds out
    await stdin.aclose()


async def _collect(stream: trio.abc.ReceiveStream, words: list[bytes]) -> None:
    while data := await stream.receive_some():
        words.append(bytes(data))
        del words[:-50]


class _Lines:
    """The lines of a stream, as an async iterable."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._whole: deque[bytes] = deque()
        #: Of a line that has not ended.
        self._pieces: list[bytes] = []

    def __aiter__(self) -> "_Lines":
        return self

    async def __anext__(self) -> bytes:
        while not self._whole:
            data = bytes(await self._stream.receive_some())
            if not data:
                raise StopAsyncIteration
            first, *others = data.split(b"\n")
            self._pieces.append(first)
            for piece in others:
                self._whole.append(b"".join(self._pieces))
                self._pieces = [piece]
        return self._whole.popleft()
