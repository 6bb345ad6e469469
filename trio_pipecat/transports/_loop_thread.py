"""An asyncio loop in a thread, for a library that needs one, and the bridge to it from trio.

Theory of operation
-------------------
There is one such thread, however many need it: the first starts it, the last stops and joins it.
Several runs of trio may share it.

Towards the loop go functions. `LoopThread.run` waits for a coroutine there as one awaits any other:
a cancelled caller cancels the task in the loop and waits until that has ended, so nothing of it is
left when the cancellation goes on. Towards trio go wake-ups alone (`trio.TrioToken`); what is to be
told lies in a queue by then (`Inbox`).

A library that starts tasks of its own accord may forget them. All that are started on behalf of one
owner, by whatever detour, are known to its `TaskOwner`, by a context variable that asyncio carries
into every callback; so it can end them all.
"""

import asyncio
import contextvars
import logging
import os
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar, TypeVarTuple, cast, final

import trio

logger: Final = logging.getLogger("trio_pipecat")

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: How long the thread may take to end what still runs in its loop, in seconds.
_STOP_SECONDS: Final = 2
#: How long the threads may take that encode pictures, in seconds.
_WORKER_SECONDS: Final = 0.5
#: How often tasks that an owner has left are cancelled again, if they did not mind the first time.
_REAPINGS: Final = 5

_owner: "contextvars.ContextVar[TaskOwner | None]" = contextvars.ContextVar("owner", default=None)


@final
class TaskOwner:
    """Knows the tasks and the UDP sockets of its context. Used in the loop's thread."""

    def __init__(self) -> None:
        self.context = contextvars.copy_context()
        self.context.run(_owner.set, self)
        self.tasks: set[asyncio.Task[Any]] = set()
        self.sockets: weakref.WeakSet[asyncio.BaseTransport] = weakref.WeakSet()

    def start(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Start a task that is ended with the owner."""
        asyncio.get_running_loop().create_task(coroutine, context=self.context)

    async def reap(self) -> None:
        """Cancel every task but the one that calls this, wait for their ends, close the sockets."""
        for _ in range(_REAPINGS):
            left = self.tasks - {asyncio.current_task()}
            if not left:
                break
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=_STOP_SECONDS / _REAPINGS)
        # aioice forgets those that it has opened when it is cancelled before it has opened all.
        for socket in tuple(self.sockets):
            socket.close()


class _Loop(asyncio.SelectorEventLoop):
    """A loop that tells an owner of its sockets."""

    async def create_datagram_endpoint(self, *args: Any, **options: Any) -> Any:
        """Open a UDP socket."""
        made = await super().create_datagram_endpoint(*args, **options)
        owner = _owner.get()
        if owner is not None:
            owner.sockets.add(made[0])
        return made


def _make_task(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, T],
    context: contextvars.Context | None = None,
) -> "asyncio.Task[T]":
    task = asyncio.Task(coroutine, loop=loop, context=context)
    owner = _owner.get() if context is None else context.get(_owner)
    if owner is not None:
        owner.tasks.add(task)
        task.add_done_callback(owner.tasks.discard)
    return task


class _Call:
    """A coroutine that trio waits for. Its fields are the loop's, but for `raise_cancel`."""

    def __init__(self) -> None:
        self.task: asyncio.Task[Any] | None = None
        #: How trio wants the waiting task to be told of its cancellation.
        self.raise_cancel: Callable[[], Any] | None = None


@final
class LoopThread:
    """The thread and its loop. Made by `open_loop_thread`."""

    def __init__(self) -> None:
        # Not the policy's: a user's other loop has other faults.
        self._loop = _Loop()
        self._loop.set_task_factory(cast(Any, _make_task))
        self._loop.set_exception_handler(_note)
        self._thread = threading.Thread(
            target=self._serve, name="trio_pipecat: asyncio", daemon=True
        )
        self._over: Callable[[], object] = bool
        # One of our own: asyncio's waits at its end for whatever it has to do, a name server say.
        self._worker_name = f"trio_pipecat: worker of loop {id(self):x}"
        self._workers = ThreadPoolExecutor(thread_name_prefix=self._worker_name)
        self._loop.set_default_executor(self._workers)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<LoopThread {'running' if self._thread.is_alive() else 'over'}>"

    def call_soon(self, function: Callable[[*Ts], object], *args: *Ts) -> None:
        """Have the loop call something, if it is not over. Never waits."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *args)

    # Ctrl-C between the asking and the waiting would leave a wake-up for nobody, which trio does
    # not survive. While it waits, it is told of it as of any cancellation.
    @trio.lowlevel.enable_ki_protection
    async def run(
        self,
        function: Callable[[*Ts], Coroutine[Any, Any, T]],
        *args: *Ts,
        owner: TaskOwner | None = None,
    ) -> T:
        """Run a coroutine in the loop and return its result.

        Cancelling cancels it, and waits until it has ended; what it has done by then is done.

        Raises:
            trio.BrokenResourceError: it was cancelled from the other side.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        caller, token = trio.lowlevel.current_task(), trio.lowlevel.current_trio_token()
        call = _Call()

        def begin() -> None:
            if call.raise_cancel is not None:
                wake()
                return
            context = None if owner is None else owner.context
            call.task = self._loop.create_task(function(*args), context=context)
            call.task.add_done_callback(lambda task: wake())

        def wake() -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(trio.lowlevel.reschedule, caller)

        def cancel() -> None:
            if call.task is not None:
                call.task.cancel()

        def abort(raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
            call.raise_cancel = raise_cancel
            self.call_soon(cancel)
            return trio.lowlevel.Abort.FAILED

        self._loop.call_soon_threadsafe(begin)
        await trio.lowlevel.wait_task_rescheduled(abort)
        task = call.task
        if task is None or task.cancelled():
            if call.raise_cancel is not None:
                call.raise_cancel()
            raise trio.BrokenResourceError("what was asked for is over")
        return cast(T, task.result())

    async def stop(self) -> None:
        """End everything in the loop, and the thread."""
        token, over = trio.lowlevel.current_trio_token(), trio.Event()

        def tell() -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(over.set)

        self._over = tell
        self.call_soon(self._loop.stop)
        await over.wait()
        self._thread.join()

    def _serve(self) -> None:
        loop = self._loop
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left, timeout=_STOP_SECONDS / 2))
        finally:
            loop.close()
            self._workers.shutdown(wait=False, cancel_futures=True)
            _join(self._worker_name, _WORKER_SECONDS)
            self._over()


def _join(prefix: str, seconds: float) -> None:
    """Wait for the threads of a name, but not for long: one may wait for something itself."""
    deadline = time.monotonic() + seconds
    for thread in threading.enumerate():
        if thread.name.startswith(prefix):
            thread.join(max(deadline - time.monotonic(), 0))


def _note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Nobody asked for what failed here: what matters of it is told by the state of the link."""
    error = context.get("exception")
    logger.debug("in the asyncio loop: %s", context.get("message"), exc_info=error)


class _Shared:
    """The thread that all share, and how many they are."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything: in the child of a fork there is no such thread."""
        self._lock = threading.Lock()
        self._thread: LoopThread | None = None
        self._users = 0

    def join(self) -> LoopThread:
        with self._lock:
            if self._thread is None:
                self._thread = LoopThread()
            self._users += 1
            return self._thread

    def leave(self) -> LoopThread | None:
        """Return the thread if it is to be stopped: this was the last who needed it."""
        with self._lock:
            self._users -= 1
            if self._users:
                return None
            last, self._thread = self._thread, None
            return last


_shared: Final = _Shared()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_shared.reset)


@asynccontextmanager
async def open_loop_thread() -> AsyncGenerator[LoopThread, None]:
    """Have the shared thread, while the block lasts."""
    thread = _shared.join()
    try:
        yield thread
    finally:
        last = _shared.leave()
        if last is not None:
            with trio.move_on_after(_STOP_SECONDS, shield=True):
                await last.stop()
