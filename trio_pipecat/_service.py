"""Tasks that outlive the body of the context manager that opened them, and one error at its end.

Theory of operation
-------------------
A conversation ends by cancellation all the time, and it has to end politely: the goodbye needs the
tasks that read and write the link, so they must still run when the body is already gone. trio
cancels a nursery's body and its children together. So:

* each service task runs in a shielded scope of its own, and only `Services.stop` ends it;
* the body runs in `Services.body`, a scope that services may cancel: to say that it is over;
* when the body has left, however it left, the *farewell* runs, shielded and under a deadline;
* then the services are stopped, and joined by the nursery as usual.

Because a service never raises into the nursery (what it raises is recorded, and the body
cancelled) the nursery never has a group to give, and exactly one exception leaves the block:

1. `KeyboardInterrupt` or `SystemExit`, wherever it struck, but not out of a group of the body's;
2. else what the body raised, that very object, untouched if it is a group; with `failure` at
   the end of its context;
3. else `failure`, if there is one: what a service raised, or what somebody put there;
4. else `Cancelled`, if the caller's scope was cancelled meanwhile; else nothing.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVarTuple

import trio

from ._causes import leaves
from ._errors import InternalError, PipecatError

Ts = TypeVarTuple("Ts")


class Services:
    """The services of one block, and the scope of its body. Made by `open_services`."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.body = trio.CancelScope()
        #: Set when the body was cancelled from here.
        self.body_cancelled = trio.Event()
        self.nursery = nursery
        #: What leaves the block if the body has nothing better. None: nothing has failed.
        self.failure: BaseException | None = None
        self._scopes: list[trio.CancelScope] = []
        self._stopped = False

    def start(
        self,
        service: Callable[[*Ts], Awaitable[object]],
        *args: *Ts,
        name: str,
        outlive: bool = True,
    ) -> None:
        """Start a task that runs until it returns, or until `stop`.

        One that shall not `outlive` the block's caller is cancelled with the caller, at once.
        """
        self.nursery.start_soon(self._serve, service, args, outlive, name=name)

    def fail(self, error: BaseException) -> None:
        """Record `error` as what leaves the block, unless an earlier one is there; end the body."""
        if self.failure is None or _exit_in(error):
            self.failure = error
        self.cancel_body()

    def cancel_body(self) -> None:
        """End the body; its farewell follows."""
        self.body.cancel()
        self.body_cancelled.set()

    def stop(self) -> None:
        """Cancel every service, those that were not yet running too."""
        self._stopped = True
        for scope in self._scopes:
            scope.cancel()

    # Ctrl-C strikes whoever runs, and must not strike what the goodbye needs. trio then delivers it
    # to the main task.
    @trio.lowlevel.enable_ki_protection
    async def _serve(
        self, service: Callable[[*Ts], Awaitable[object]], args: tuple[*Ts], outlive: bool
    ) -> None:
        with trio.CancelScope(shield=outlive) as scope:
            self._scopes.append(scope)
            if self._stopped:
                scope.cancel()
            try:
                await service(*args)
            except trio.Cancelled:
                raise
            except PipecatError as error:
                self.fail(error)
            except Exception as error:
                self.fail(as_bug(error))
            except BaseException as error:  # Ctrl-C, or a group that holds a Cancelled
                if isinstance(error, BaseExceptionGroup):
                    cancelled, failed = error.split(trio.Cancelled)
                    if failed is not None:
                        self.fail(as_bug(failed) if isinstance(failed, Exception) else failed)
                    if cancelled is not None:
                        raise cancelled from None
                else:
                    self.fail(error)
            finally:
                self._scopes.remove(scope)


@asynccontextmanager
async def open_services(
    farewell: Callable[[BaseException | None], Awaitable[object]], *, grace: float
) -> AsyncGenerator[Services, None]:
    """Open a block whose services outlive its body.

    Args:
        farewell: what to do when the body has left and the services still run. It is given what the
            body raised, and has `grace` seconds.
        grace: how long the farewell may take.

    The module's docstring says which exception leaves the block.
    """
    body_error: BaseException | None = None
    leftover: BaseException | None = None
    services: Services | None = None
    try:
        async with trio.open_nursery() as nursery:
            services = Services(nursery)
            try:
                with services.body:
                    yield services
            except BaseException as error:  # noqa: ASYNC103  # raised at the end, if it is what leaves
                body_error = error
            finally:
                try:
                    with trio.move_on_after(grace, shield=True):
                        await farewell(body_error)
                except Exception as error:
                    services.fail(error if isinstance(error, PipecatError) else as_bug(error))
                finally:
                    services.stop()
    except BaseException as error:  # noqa: ASYNC103  # the same
        # Services raise nothing, so this is the caller's cancellation, met on leaving, or Ctrl-C.
        leftover = error
    failure = None if services is None else services.failure
    exit_ = _exit_in(leftover) or _exit_in(failure)
    if exit_ is not None and _exit_in(body_error) is None:
        raise _with_context(exit_, body_error)
    if body_error is not None:
        raise _with_context(body_error, failure)
    if failure is not None:
        # "from" what it comes from already, so that our own Cancelled is not shown as its context.
        raise failure from failure.__cause__
    if leftover is not None:
        raise next(leaves(leftover))


def _exit_in(error: BaseException | None) -> BaseException | None:
    """Return the Ctrl-C (or `sys.exit`) that `error` is or holds."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_exit_in, error.exceptions)), None)
    return error if isinstance(error, KeyboardInterrupt | SystemExit) else None


def is_cancellation(error: BaseException | None) -> bool:
    """Is this `trio.Cancelled`, or a group of nothing else?"""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_cancellation, error.exceptions))
    return isinstance(error, trio.Cancelled)


def as_bug(error: Exception) -> InternalError:
    """Return the error that says that this one should not have been possible."""
    bug = InternalError(f"{type(error).__name__}: {error}")
    bug.__cause__ = error
    return bug


def _with_context(error: BaseException, context: BaseException | None) -> BaseException:
    """Hang `context` at the end of `error`'s chain of contexts, unless it is there already."""
    if context is None or error is context:
        return error
    # What was raised in the farewell has the body's error as its context: no rings, please.
    _cut(context, error)
    last, seen = error, {id(error)}
    # Our own cancellation of the body is no news in a traceback, so it gives way.
    while last.__context__ is not None and not isinstance(last.__context__, trio.Cancelled):
        last = last.__context__
        if id(last) in seen or last is context:
            return error
        seen.add(id(last))
    last.__context__ = context
    return error


def _cut(chain: BaseException, error: BaseException) -> None:
    """Take `error`, and what comes after it, from the end of a chain of causes and contexts."""
    link: BaseException | None = chain
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        if link.__context__ is error:
            link.__context__ = None
            return
        seen.add(id(link))
        link = link.__cause__ or link.__context__
