"""The body of one ``async with open_session(...)``, and what it is told when its session ends.

Theory of operation
-------------------
When a session ends by itself, the rule is: whoever waits on the session *for a result* gets the
error there; a body that waits on something else is cancelled, after it has read what was received;
and inside the block the error is raised exactly once. Three questions have to be answered for that.

*Is this task inside the block?* It is if it is the block's own task, or a child, however deep, of a
nursery that was opened inside the block. trio lists a task's nurseries in the order in which they
were opened, so those after ours are inside. Tasks elsewhere may use a session too, the handlers of
functions among them: they are told with copies of the error, and they do not count.

*Does the block's own task wait for a result?* Then the error goes there and nothing is cancelled:
the body may handle it. Should it leave that wait in another way, it has not waited. Otherwise the
block is *ending*: it will be cancelled, and the error, if there is one, leaves it.

*Has the body read everything?* Somebody who is reading a stream with something in it gets `grace`
seconds. While the block is ending, a task of it that asks for more than there is, or that wants to
send, is not given an exception but parked, to be cancelled with the rest: a bot that has left is no
error.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import trio

from ._errors import InternalError, PipecatError, SessionEndedError
from ._service import Services
from ._state import SessionEnd
from ._streams import Stream


class Block:
    """One block: who is in it, who waits, and whether the error was told. Made by its own task."""

    def __init__(
        self, services: Services, streams: Callable[[], Iterable[Stream[Any]]], grace: float
    ) -> None:
        self._services = services
        self._streams = streams
        self._grace = grace
        self._task = trio.lowlevel.current_task()
        self._waiting: Counter[trio.lowlevel.Task] = Counter()
        self._parked: list[trio.lowlevel.Task] = []
        self._moved = trio.lowlevel.ParkingLot()
        self._left = False
        self._ending = False
        self._end: SessionEnd | None = None
        self._tellable = False

    def holds(self, task: trio.lowlevel.Task) -> bool:
        """Is `task` inside the block?"""
        ours = self._services.nursery
        if self._left:
            return False
        while task is not self._task:
            nursery = task.parent_nursery
            if nursery is None or task not in nursery.child_tasks:
                return False  # it is trio's own, or it is over
            if nursery is ours:
                return False  # a function's handler; it is the session that ends it
            parent = nursery.parent_task
            if parent is self._task:
                nurseries = parent.child_nurseries
                return nurseries.index(nursery) > nurseries.index(ours)
            task = parent
        return True

    def leave(self) -> None:
        """The body is gone. From now on every task is outside."""
        self._left = True
        self.moved()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around every wait for a result: an error of the session is raised here."""
        task = trio.lowlevel.current_task()
        self._waiting[task] += 1
        try:
            yield
        finally:
            self._waiting[task] -= 1
            if not self._waiting[task]:
                del self._waiting[task]
                if task is self._task and self._tellable and not (self._ending or self._left):
                    # It waited when the session ended, and something else came first: what it
                    # waited for, or a deadline of its own. Then it is told as if it had not waited.
                    self._ending = True
                    self._services.start(self.see_off, name="trio_pipecat: seeing the body off")

    # -- the end --

    def end(self, end: SessionEnd, *, cancel: bool, raise_to_waiters: bool) -> bool:
        """Take note that the session is over. Return whether the body has to be cancelled.

        Args:
            end: how it ended, with its error.
            cancel: an error leaves the block, and a body that waits on something else is cancelled.
                Otherwise whoever asks is told, and that is all.
            raise_to_waiters: the error is raised to whoever waits for a result. Otherwise it is not
                theirs, and they are cancelled with the rest.
        """
        self._end = end
        if not cancel:
            return False
        if self._left:
            # The body left after the session had begun to fail, and before it was over.
            self._services.failure = self._services.failure or end.error
            return False
        body_waits = raise_to_waiters and end.error is not None and self._task in self._waiting
        self._ending = not body_waits
        self._services.failure = self._services.failure or end.error
        self._tellable = raise_to_waiters and self._services.failure is end.error
        return self._ending

    async def see_off(self) -> None:
        """Let the body read what it is reading, then cancel it."""
        with trio.move_on_after(self._grace):
            while not self._left and any(map(self._is_reading, self._streams())):
                await self._moved.park()
        self._services.cancel_body()

    def moved(self) -> None:
        """A reader has come back for more, or left; or a task was parked."""
        self._moved.unpark_all()

    def _is_reading(self, stream: Stream[Any]) -> bool:
        return stream.unread > 0 and any(
            self.holds(task) and task not in self._parked for task in stream._reading_tasks()
        )

    async def over(self) -> None:
        """A reader found its stream over: return; if the block is ending, be cancelled with it."""
        if self._ending and self.holds(trio.lowlevel.current_task()):
            await self._park()

    async def tell(self, *, counts: bool = True, itself: bool = False) -> NoReturn:
        """Tell the calling task that the session is over.

        It gets the session's error if it is in the block, nobody there got it before, and this call
        `counts`; else it is parked if the block is ending, else it gets a `SessionEndedError` (or,
        if it asked for the error `itself`, a copy of that).
        """
        end = self._end
        if end is None:
            raise InternalError("a session that is over has no end")
        error, inside = end.error, self.holds(trio.lowlevel.current_task())
        if error is not None and inside and counts and self._tellable:
            self._tellable = False
            self._services.failure = None
            raise error
        if self._ending and inside:
            await self._park()
        if isinstance(error, PipecatError if itself else SessionEndedError):
            # A copy, so that each task has its own traceback.
            raise copy.copy(error) from error.__cause__
        raise SessionEndedError(end) from error

    async def _park(self) -> None:
        """Be cancelled with the body. Returns only in a task that is shielded from that."""
        task = trio.lowlevel.current_task()
        self._parked.append(task)
        self.moved()
        try:
            await self._services.body_cancelled.wait()
            await trio.lowlevel.checkpoint()
        finally:
            self._parked.remove(task)
