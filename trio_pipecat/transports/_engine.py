"""One poller and one clock for all the sockets of a trio run.

Theory of operation
-------------------
What a session costs is not its bytes but the turns of the scheduler that each of them takes: to
wake a task costs more than to read a message. So the sockets of all sessions are watched together.
They are in an epoll of our own, whose descriptor one task waits for; what came is read, and handed
on, in that task, and a session's own task is woken only if there is something for it to do. Sending
does not wait either (see `_carrier`), and the keepalives of all sessions share one timer.

An `Engine` is started by the first who wants it and is gone with the last, who waits for that. It
runs as a system task, because it belongs to no session: the first one may be over long before the
last. What a session's own code raises there is reported to that session, and hurts no other.

Where there is no epoll, sockets are carried one by one, and only the clock is shared.
"""

import heapq
import itertools
import select
import socket
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Final, final

import trio

from .._causes import root_cause
from .._errors import TransportStartError
from ._carrier import Carrier, Farewell, Receiver

#: How long those who still use the engine have when the run is over, in seconds.
_LAST_SECONDS: Final = 1.0
#: What is read at a time, in bytes. It is much more than comes between two turns of a process that
#: keeps up; one that does not would fall behind for ever if it read little in each of its turns.
_READ_SIZE: Final = 64 * 1024
#: So often is sent on one socket between two others, and so much at least is sent at a time.
_SENDS_A_TURN: Final = 4
_SENT_TOGETHER: Final = 64 * 1024
#: How much that nobody reads any more is taken out of a socket before it is closed: what is left
#: there would have the kernel reset the connection, and take our goodbye from the other side.
_MOST_DRAINED: Final = 1024 * 1024


@final
class Alarm:
    """Something to be done at some time. Made by `Engine.call_at`."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        """Do nothing, then."""
        self._callback = None

    def ring(self) -> None:
        """Do it."""
        if self._callback is not None:
            self._callback()


@final
class Engine:
    """Watches sockets, and the time. Made by `use_engine`."""

    def __init__(self) -> None:
        self.users = 0
        self.stopped = trio.Event()
        self._is_unused = trio.Event()
        #: What is read goes here first. Whoever it is for takes a copy of what it keeps.
        self.buffer = memoryview(bytearray(_READ_SIZE))
        self._scope = trio.CancelScope(shield=True)
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        self._carriers: dict[int, SocketCarrier] = {}
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._numbers = itertools.count()
        self._sleep = trio.CancelScope()

    @property
    def watches_sockets(self) -> bool:
        """Can sockets be watched here?"""
        return self._epoll is not None

    # -- as a task --

    async def run(self) -> None:
        """Watch until `stop`."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch)
                try:
                    await self._is_unused.wait()
                except trio.Cancelled:
                    # The run is over, and with it those who use this: their goodbyes are still to
                    # be answered. Who does not leave even then is in a generator that trio ends
                    # after this.
                    with trio.move_on_after(_LAST_SECONDS, shield=True):
                        await self._is_unused.wait()
                    raise
                finally:
                    self._scope.cancel()
        finally:
            epoll, self._epoll = self._epoll, None
            for carrier in [*self._carriers.values()]:
                carrier.lose()
            if epoll is not None:
                epoll.close()
            self.stopped.set()

    def stop(self) -> None:
        """Have `run` return."""
        self._is_unused.set()

    async def _watch(self) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_time)
                if self._epoll is not None:
                    nursery.start_soon(self._poll, self._epoll)

    # Ctrl-C strikes whoever runs, and must not strike what all sessions need.
    @trio.lowlevel.enable_ki_protection
    async def _poll(self, epoll: "select.epoll") -> None:
        descriptor = epoll.fileno()
        carriers = self._carriers
        while True:
            await trio.lowlevel.wait_readable(descriptor)
            for number, mask in epoll.poll(0):
                # One that came before in this batch may have closed it.
                carrier = carriers.get(number)
                if carrier is not None:
                    carrier.notice(mask)

    @trio.lowlevel.enable_ki_protection
    async def _keep_time(self) -> None:
        while True:
            due = self._alarms[0][0] if self._alarms else float("inf")
            with trio.CancelScope(deadline=due) as self._sleep:
                await trio.sleep_forever()
            now = trio.current_time()
            while self._alarms and self._alarms[0][0] <= now:
                heapq.heappop(self._alarms)[2].ring()

    # -- for carriers, and what they carry --

    def call_at(self, when: float, callback: Callable[[], object]) -> Alarm:
        """Have `callback`, which raises nothing, called at a time of trio's clock."""
        alarm = Alarm(callback)
        heapq.heappush(self._alarms, (when, next(self._numbers), alarm))
        self._sleep.deadline = min(self._sleep.deadline, when)
        return alarm

    def watch(self, carrier: "SocketCarrier", descriptor: int, mask: int) -> None:
        """Tell a carrier what is possible on its socket, from now on."""
        if self._epoll is not None:
            self._epoll.register(descriptor, mask)
            self._carriers[descriptor] = carrier

    def change(self, descriptor: int, mask: int) -> None:
        """Watch for something else."""
        if self._epoll is not None:
            self._epoll.modify(descriptor, mask)

    def forget(self, descriptor: int) -> None:
        """Watch a socket no more."""
        watched = self._carriers.pop(descriptor, None) is not None
        if self._epoll is not None and watched:
            with suppress(OSError):  # somebody has closed it behind our back
                self._epoll.unregister(descriptor)


_engine: trio.lowlevel.RunVar[Engine | None] = trio.lowlevel.RunVar("trio_pipecat engine", None)


def use_engine() -> Engine:
    """Return this run's engine, for who calls `leave_engine` in the end.

    Raises:
        TransportStartError: this process has no descriptor left for it.
    """
    engine = _engine.get()
    if engine is None:
        try:
            engine = Engine()
        except OSError as error:
            raise TransportStartError("connect", root_cause(error)) from error
        _engine.set(engine)
        trio.lowlevel.spawn_system_task(engine.run, name="trio_pipecat: engine")
    engine.users += 1
    return engine


async def leave_engine(engine: Engine) -> None:
    """Use the engine no more; the last who does so waits until it is gone."""
    engine.users -= 1
    if not engine.users:
        _engine.set(None)
        engine.stop()
        with trio.CancelScope(shield=True):
            await engine.stopped.wait()  # it takes two steps


@final
class SocketCarrier(Carrier):
    """Carries over a connected, non-blocking socket that the engine watches."""

    __slots__ = (
        "_descriptor",
        "_engine",
        "_is_broken",
        "_is_finishing",
        "_is_watched",
        "_mask",
        "_receiver",
        "_rest",
        "_socket",
        "_unsent",
    )

    def __init__(self, engine: Engine, sock: socket.socket) -> None:
        self._engine = engine
        self._socket = sock
        self._descriptor = sock.fileno()
        self._receiver: Receiver
        #: What the socket did not take; None: it took all.
        self._rest: deque[bytes | bytearray | memoryview] | None = None
        self._unsent = 0
        self._is_broken = False
        self._is_finishing = False
        self._is_watched = False
        self._mask = select.EPOLLIN

    @property
    def unsent(self) -> int:
        """How many bytes were written and have not gone out."""
        return self._unsent

    @property
    def is_broken(self) -> bool:
        """What is written goes nowhere any more."""
        return self._is_broken

    def carrying(
        self, receiver: Receiver, farewell: Farewell, grace: float
    ) -> AbstractAsyncContextManager[None]:
        """Carry while the block lasts."""
        self._receiver = receiver
        return _Carrying(self, farewell, grace)

    # -- writing --

    def write(self, data: bytes) -> None:
        """Send all of it, now or when there is room."""
        if self._is_broken or self._is_finishing or not data:
            return
        if self._rest is not None:
            self._keep_for_later(self._rest, data)
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            # Whoever reads finds out, after what has come before.
            self._is_broken = True
            return
        if sent < len(data):
            self._rest = deque([memoryview(data)[sent:]])
            self._unsent = len(data) - sent
            self._set_mask(self._mask | select.EPOLLOUT)

    def finish(self) -> None:
        """Close when what was written has gone out."""
        self._is_finishing = True
        if self._rest is None:
            self.close()

    def close(self) -> None:
        """Close now."""
        self._is_broken = True
        if self._descriptor < 0:
            return
        self._unwatch()
        self._forget_rest()
        with suppress(OSError):
            for _ in range(_MOST_DRAINED // _READ_SIZE):
                # Not into the buffer: what is there may be why this is closed.
                if not self._socket.recv(_READ_SIZE):
                    break
        self._socket.close()
        self._descriptor = -1

    def _keep_for_later(self, rest: "deque[bytes | bytearray | memoryview]", data: bytes) -> None:
        self._unsent += len(data)
        last = rest[-1]
        if len(data) >= _SENT_TOGETHER:
            rest.append(data)
        elif isinstance(last, bytearray) and len(last) < _SENT_TOGETHER:
            last += data  # a call of the system for each small piece would keep all others waiting
        else:
            rest.append(bytearray(data))

    def _write_rest(self, rest: "deque[bytes | bytearray | memoryview]") -> None:
        for _ in range(_SENDS_A_TURN):
            if not rest:
                break
            data = rest[0]
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                break
            except OSError:
                self._is_broken = True
                rest.clear()
                break
            self._unsent -= sent
            if sent < len(data):
                rest[0] = memoryview(data)[sent:]
                break
            rest.popleft()
        if not rest:
            self._forget_rest()
            self._set_mask(self._mask & ~select.EPOLLOUT)
        self._receiver.room_came()
        if self._is_finishing and not rest:
            self.close()

    def _forget_rest(self) -> None:
        self._rest = None
        self._unsent = 0

    # -- reading --

    def pause(self) -> None:
        """Read nothing until `resume`."""
        self._set_mask(self._mask & ~select.EPOLLIN)

    def resume(self) -> None:
        """Read again."""
        self._set_mask(self._mask | select.EPOLLIN)
        if not self._is_watched:
            self.watch()

    def notice(self, mask: int) -> None:
        """Do what can be done on the socket. Raises nothing."""
        try:
            if mask & select.EPOLLOUT and self._rest is not None:
                self._write_rest(self._rest)
            if mask & ~select.EPOLLOUT and self._is_watched:
                if self._mask & select.EPOLLIN:
                    self._read()
                else:
                    # It is over, and nobody reads: the kernel would not stop telling.
                    self._unwatch()
        except Exception as error:
            self.close()
            self._receiver.fail(error)

    def _read(self) -> None:
        try:
            size = self._socket.recv_into(self._engine.buffer)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if size:
            self._receiver.bytes_came(self._engine.buffer[:size])
        else:
            self.lose()

    def lose(self) -> None:
        """Close, and tell the receiver that nothing more comes."""
        self.close()
        self._receiver.end_came()
        self._receiver.room_came()

    def _set_mask(self, mask: int) -> None:
        if mask != self._mask:
            self._mask = mask
            if self._is_watched:
                try:
                    self._engine.change(self._descriptor, mask)
                except OSError:  # somebody has closed it behind our back
                    self.lose()

    def watch(self) -> None:
        """Have the engine watch the socket."""
        if self._descriptor >= 0:
            self._engine.watch(self, self._descriptor, self._mask)
            self._is_watched = True

    def _unwatch(self) -> None:
        if self._is_watched:
            self._engine.forget(self._descriptor)
            self._is_watched = False


@final
class _Carrying:
    """The block of `SocketCarrier.carrying`. There are as many as sessions, so it is small."""

    __slots__ = ("_carrier", "_farewell", "_grace")

    def __init__(self, carrier: SocketCarrier, farewell: Farewell, grace: float) -> None:
        self._carrier = carrier
        self._farewell = farewell
        self._grace = grace

    async def __aenter__(self) -> None:
        try:
            self._carrier.watch()
        except OSError as error:
            self._carrier.close()
            raise TransportStartError("connect", root_cause(error)) from error

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            with trio.move_on_after(self._grace, shield=True):
                await self._farewell(exc)
        finally:
            self._carrier.close()
