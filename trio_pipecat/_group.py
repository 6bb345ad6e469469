"""Many sessions in one nursery: `open_session_group`.

A group is to sessions what a nursery is to tasks: each member is a task that holds one session, and
the block is left when all of them are over. What a nursery does not know is here: how many talk at
a time, what became of each, whether one that fails ends the others, and how all of them hang up
under one deadline.

A member never raises into the nursery: what it raised is in its `Outcome`. So exactly one exception
leaves the block: what the body raised, that very object; else the first failure, if the group is to
be ended by one; else nothing.
"""

import copy
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Concatenate, Literal, ParamSpec, TypeAlias, Unpack, final

import attrs
import trio

from ._causes import leaves
from ._client import PipecatClient
from ._errors import PipecatError, SessionEndedError
from ._options import SessionKeywords
from ._params import ConnectParams, StartedBot
from ._session import Session
from ._state import SessionEnd, State
from ._targets import Target

P = ParamSpec("P")

#: What a group does when a member fails.
OnFailure: TypeAlias = Literal["cancel_all", "collect"]


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of one member of a group. Times are `trio.current_time`.

    `value` is what its caller returned. `error` is what it raised, or what ended its session; a bot
    that leaves and a member that is cancelled are no errors. `end` tells how the session ended; of
    a member that was cancelled before it had one, that.
    """

    name: str
    value: Any = None
    error: Exception | None = None
    end: SessionEnd
    #: When its session was opened; None: it never was.
    began: float | None = None
    ended: float


@final
class Member:
    """One session of a group, and the task that holds it. Made by `SessionGroup.start_soon`."""

    def __init__(self, name: str, group: "SessionGroup") -> None:
        self.name = name
        self._group = group
        #: Its session, once it is opened: still there afterwards.
        self.session: Session | None = None
        #: What became of it; None while it goes on.
        self.outcome: Outcome | None = None
        self._scope = trio.CancelScope()
        self._opened = trio.Event()
        self._over = trio.Event()

    def __repr__(self) -> str:
        state: str
        if self.outcome is not None:
            state = self.outcome.end.reason
        else:
            state = "in line" if self.session is None else self.session.state.value
        return f"<Member {self.name!r}: {state}>"

    def cancel(self) -> None:
        """Have it hang up; if it has not begun, it never will."""
        self._scope.cancel()
        self._group._leave_line(self)

    async def wait_ready(self) -> Session:
        """Wait until its bot is ready, and return the session. Cancelling is safe.

        Raises:
            SessionEndedError: it was over before that.
            StartBotError, TransportStartError, ReadyTimeoutError…: why it did not come to that. It
                is the member's failure all the same.
        """
        await self._opened.wait()
        if self.session is not None:
            await self.session.wait_ready()
            return self.session
        assert self.outcome is not None
        error = self.outcome.error
        if error is not None:
            raise copy.copy(error) from error
        raise SessionEndedError(self.outcome.end)

    async def wait(self) -> Outcome:
        """Wait until it is over, and return what became of it. Cancelling is safe."""
        await self._over.wait()
        assert self.outcome is not None
        return self.outcome

    def _finish(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self._opened.set()
        self._over.set()


@final
class SessionGroup:
    """Sessions that begin and end together. Made by `open_session_group`."""

    def __init__(
        self,
        client: PipecatClient,
        nursery: trio.Nursery,
        *,
        limit: int | None,
        on_failure: OnFailure,
        on_outcome: Callable[[Outcome], object] | None,
    ) -> None:
        #: What became of those who are over, in that order. Empty where they go to ``on_outcome``.
        self.outcomes: list[Outcome] = []
        #: Set when nobody begins any more; who talks may look at it, to come to an end.
        self.winding_down = trio.Event()
        self._client = client
        self._nursery = nursery
        self._limit = limit
        self._on_failure = on_failure
        self._on_outcome = on_outcome or self.outcomes.append
        self._members: dict[Member, None] = {}
        #: Who has to wait until somebody is over, in order, with what begins them.
        self._line: dict[Member, Callable[[], object]] = {}
        self._number = 0
        self._emptied = trio.lowlevel.ParkingLot()
        #: What ends the group.
        self._failure: Exception | None = None

    def __repr__(self) -> str:
        return f"<SessionGroup: {len(self.sessions)} of {len(self._members)} are ready>"

    def __len__(self) -> int:
        """How many members are not over, those in line included."""
        return len(self._members)

    @property
    def members(self) -> tuple[Member, ...]:
        """Who is not over, in the order in which they came."""
        return tuple(self._members)

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The sessions whose bots are ready."""
        sessions = (member.session for member in self._members)
        return tuple(
            session for session in sessions if session is not None and session.state is State.READY
        )

    def start_soon(
        self,
        caller: Callable[Concatenate[Session, P], Awaitable[object]],
        *args: Any,
        target: StartedBot | ConnectParams | None = None,
        name: str | None = None,
        **changes: Unpack[SessionKeywords],
    ) -> Member:
        """Open a session, and hold it while ``await caller(session, *args)`` lasts.

        It waits in line if as many as may talk at a time do.

        Args:
            caller: what it does; its session may not be ready yet.
            *args: what `caller` is given beside the session.
            target: a bot that `start_bot` has started, instead of the group's own address.
            name: what the outcome calls it; a number, if it has none.
            **changes: keywords of `open_session`, for this one only.

        Raises:
            InvalidParamsError: the changes can't work.
            RuntimeError: the group is winding down, or over.
        """
        if self.winding_down.is_set():
            raise RuntimeError("nobody begins in a group that winds down")
        block = self._client.open_session(target, **changes)
        self._number += 1
        member = Member(str(self._number) if name is None else name, self)

        def begin() -> None:
            self._nursery.start_soon(self._hold, member, block, caller, args, name=member)

        if self._limit is None or len(self._members) < self._limit:
            begin()
        else:
            self._line[member] = begin
        self._members[member] = None
        return member

    async def broadcast(self, send: Callable[[Session], Awaitable[object]]) -> int:
        """Call ``await send(session)`` for each session that is ready, all at once.

        Returns how many it was done for: not those that ended meanwhile, whose errors are their
        own. Anything else that `send` raises is raised here, the other calls being cancelled, in a
        group, as a nursery does it. Cancelled, it has been done for some.
        """
        done = 0

        async def send_to(session: Session) -> None:
            nonlocal done
            try:
                await send(session)
            except PipecatError:
                if session.end is None:
                    raise
            else:
                done += 1

        async with trio.open_nursery() as nursery:
            for session in self.sessions:
                nursery.start_soon(send_to, session)
        return done

    async def wind_down(self, seconds: float) -> None:
        """Come to an end: nobody begins any more, and whoever still talks in so long hangs up.

        Who is in line never begins. The goodbyes are said all at once, and have a session's
        ``disconnect_timeout`` on top. Cancelled, everybody hangs up at once.
        """
        self._stop_starting()
        try:
            with trio.move_on_after(seconds):
                await self._wait_until_empty()
        finally:
            self.cancel()
        await self._wait_until_empty()

    def cancel(self) -> None:
        """Have everybody hang up, now. Nobody begins any more."""
        self._stop_starting()
        for member in [*self._members]:
            member.cancel()

    # -- inside --

    def _leave_line(self, member: Member) -> None:
        if self._line.pop(member, None) is not None:
            self._note(member, None, None, None)

    def _stop_starting(self) -> None:
        self.winding_down.set()
        for member in [*self._line]:
            member.cancel()

    async def _wait_until_empty(self) -> None:
        await trio.lowlevel.checkpoint()
        while self._members:
            await self._emptied.park()

    async def _hold(
        self,
        member: Member,
        block: AbstractAsyncContextManager[Session],
        caller: Callable[..., Awaitable[object]],
        args: tuple[Any, ...],
    ) -> None:
        value: Any = None
        error: Exception | None = None
        began: float | None = None
        try:
            with member._scope:
                began = trio.current_time()
                async with block as session:
                    member.session = session
                    member._opened.set()
                    value = await caller(session, *args)
        except Exception as raised:
            error = raised
        finally:
            self._note(member, value, error, began)

    def _note(
        self, member: Member, value: Any, error: Exception | None, began: float | None
    ) -> None:
        end = None if member.session is None else member.session.end
        outcome = Outcome(
            name=member.name,
            value=value,
            error=error,
            end=end or _never_opened(error),
            began=began,
            ended=trio.current_time(),
        )
        member._finish(outcome)
        del self._members[member]
        if error is not None and self._on_failure == "cancel_all" and self._failure is None:
            self._failure = error
            self._stop_starting()
            self._nursery.cancel_scope.cancel()
        may_begin = not self.winding_down.is_set()
        if may_begin and self._line and len(self._members) - len(self._line) < (self._limit or 0):
            following = next(iter(self._line))
            self._line.pop(following)()
        self._emptied.unpark_all()
        self._on_outcome(outcome)


def _never_opened(error: Exception | None) -> SessionEnd:
    reason: Literal["cancelled", "startup_failed"] = (
        "cancelled" if error is None else "startup_failed"
    )
    return SessionEnd(reason=reason, last_state=State.IDLE, first="client", error=error)


def open_session_group(
    target: Target = None,
    *,
    limit: int | None = None,
    on_failure: OnFailure = "cancel_all",
    on_outcome: Callable[[Outcome], object] | None = None,
    **keywords: Unpack[SessionKeywords],
) -> AbstractAsyncContextManager[SessionGroup]:
    """Open a group of sessions with one bot, or many of its kind: a nursery of sessions.

    ::

        async def ask(session, question):
            await session.wait_ready()
            await session.send_text(question)
            return (await session.wait_event(BotOutput)).text

        async with open_session_group("sim:", limit=10) as group:
            for question in questions:
                group.start_soon(ask, question)
        print([outcome.value for outcome in group.outcomes])

    The block is left when all of them are over; a body that raises, or is cancelled, has all hang
    up, and each goodbye is said. What leaves the block is what the body raised; else the first
    failure of a member, bare, if that ends the group.

    Args:
        target: as of `open_session`.
        limit: how many sessions there are at a time; more wait in line. None: any number.
        on_failure: ``"cancel_all"``: the first member that fails has the others hang up, and its
            error leaves the block. ``"collect"``: it is in the `Outcome`, and the others go on.
        on_outcome: called with each `Outcome`, which is not kept then: for groups that last. It
            may not wait.
        **keywords: see `SessionKeywords`; of `disconnect_timeout` the goodbyes have as much.

    Raises:
        InvalidParamsError: at once, if the parameters can't work.
        UnsupportedFeatureError: at once, if the transport is not available.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit is at least 1, not {limit}")
    if on_failure not in ("cancel_all", "collect"):
        raise ValueError(f"on_failure is 'cancel_all' or 'collect', not {on_failure!r}")
    client = PipecatClient(target, **keywords)
    return _open(client, limit, on_failure, on_outcome)


@asynccontextmanager
async def _open(
    client: PipecatClient,
    limit: int | None,
    on_failure: OnFailure,
    on_outcome: Callable[[Outcome], object] | None,
) -> AsyncGenerator[SessionGroup, None]:
    body_error: BaseException | None = None
    group: SessionGroup | None = None
    try:
        async with trio.open_nursery() as nursery:
            group = SessionGroup(
                client, nursery, limit=limit, on_failure=on_failure, on_outcome=on_outcome
            )
            try:
                yield group
            except BaseException as error:  # noqa: ASYNC103  # raised below, outside the nursery
                body_error = error
                nursery.cancel_scope.cancel()
    except BaseException as error:  # noqa: ASYNC103  # the body's is raised at the end
        exits = [leaf for leaf in leaves(error) if isinstance(leaf, KeyboardInterrupt | SystemExit)]
        if exits:
            raise exits[0] from None  # noqa: ASYNC104  # Ctrl-C is more
        if body_error is None:
            raise
    finally:
        if group is not None:
            group.winding_down.set()
    failure = None if group is None else group._failure
    if body_error is not None and (failure is None or not _is_only_cancelled(body_error)):
        raise body_error
    if failure is not None:
        raise failure


def _is_only_cancelled(error: BaseException) -> bool:
    return all(isinstance(leaf, trio.Cancelled) for leaf in leaves(error))
