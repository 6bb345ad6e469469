"""Running a command: Ctrl-C, SIGTERM and SIGHUP end it in order, a second one at once."""

import errno
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeVar

import trio

E = TypeVar("E", bound=BaseException)

#: The exit code of a command that was interrupted, as shells have it.
INTERRUPTED: Final = 130
#: The exit code of a command whose output nobody reads any more.
PIPE_CLOSED: Final = 141


def run(
    command: Callable[[], Awaitable[int]],
    *,
    interrupted: int = INTERRUPTED,
    clock: trio.abc.Clock | None = None,
) -> int:
    """Run `command` on `clock` and return its exit code, or `interrupted` if it was.

    The first signal cancels the command, so that its sessions say goodbye; the second is Python's.
    """
    return guard(lambda: trio.run(_run, command, interrupted, clock=clock))


def run_stoppable(command: Callable[[trio.Event], Awaitable[int]]) -> int:
    """Run `command` and return its exit code; the first signal sets the event that it is given.

    The second one cancels it, so that its sessions say goodbye, and the third is Python's.
    """
    return guard(lambda: trio.run(_run_stoppable, command))


def guard(command: Callable[[], int]) -> int:
    """Call `command` and return its exit code; what is no fault of ours becomes one."""
    code = INTERRUPTED
    try:
        code = command()
        sys.stdout.flush()
    except* KeyboardInterrupt:
        pass
    except* BrokenPipeError:
        # Whoever read our output has left, as "head" does. Python would complain at exit too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = PIPE_CLOSED
    except* OSError as group:
        failures = list(leaves(group))
        if any(failure.errno != errno.ENOSPC for failure in failures):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"can't print: {failures[0].strerror}", file=sys.stderr)
        code = 1
    return code


def leaves(group: BaseExceptionGroup[E]) -> Iterator[E]:
    """Yield the exceptions in a group, however deep."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


async def _run(command: Callable[[], Awaitable[int]], interrupted: int) -> int:
    code, failure = interrupted, None
    async with trio.open_nursery() as nursery:
        await nursery.start(_cancel_on_signal, nursery.cancel_scope)
        try:
            code = await command()
        except Exception as error:
            failure = error  # raised outside, so that it does not come in a group
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return code


async def _run_stoppable(command: Callable[[trio.Event], Awaitable[int]]) -> int:
    stop = trio.Event()

    async def stop_on_signal(
        *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        with trio.open_signal_receiver(*_signals()) as signals:
            task_status.started()
            async for _ in signals:
                stop.set()
                break
            async for _ in signals:
                break
        cancel_scope.cancel()

    code, failure = INTERRUPTED, None
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as cancel_scope:
            await nursery.start(stop_on_signal)
            try:
                code = await command(stop)
            except Exception as error:
                failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return code


async def _cancel_on_signal(
    scope: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(*_signals()) as signals:
        task_status.started()
        async for _ in signals:
            break
    scope.cancel()


def _signals() -> list[signal.Signals]:
    """Return the signals that end a command; nohup has one of them ignored."""
    signals = [signal.SIGINT, signal.SIGTERM]
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is not None and signal.getsignal(hang_up) != signal.SIG_IGN:
        signals.append(hang_up)
    return signals
