"""A group of sessions: who begins, what becomes of each, and how all of them end."""

import gc

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_pipecat import (
    BotOutput,
    ConnectionLostError,
    FatalBotError,
    InvalidParamsError,
    Outcome,
    ReadyTimeoutError,
    Session,
    SessionEndedError,
    State,
    open_session_group,
)
from trio_pipecat.testing import SimulatedBot, crash, fatal_error, leave_after, never_ready


async def ask(session: Session, question: str) -> str:
    """Ask the bot something, and return its answer."""
    await session.wait_ready()
    with session.subscribe(BotOutput) as outputs:
        await session.send_text(question)
        async for output in outputs:
            if question in output.text:
                return output.text
    raise AssertionError("there was no answer")


async def stay(session: Session) -> None:
    """Be ready, and talk for ever."""
    await session.wait_ready()
    await trio.sleep_forever()


async def fail(session: Session, after: float = 0) -> None:
    """Fail."""
    await session.wait_ready()
    await trio.sleep(after)
    raise ZeroDivisionError


# -- what becomes of them ----------------------------------------------------------------


async def test_everybody_is_over_when_the_block_is_left(autojump_clock: MockClock) -> None:
    """And what each has returned is there, with how its session ended."""
    async with open_session_group("sim:") as group:
        for number in range(5):
            group.start_soon(ask, f"number {number}", name=f"caller {number}")
        assert 5 == len(group)
    assert 0 == len(group)
    by_name = {outcome.name: outcome for outcome in group.outcomes}
    assert {f"caller {number}" for number in range(5)} == set(by_name)
    for number in range(5):
        outcome = by_name[f"caller {number}"]
        assert outcome.value == f"You said: number {number}"
        assert outcome.error is None
        assert "client" == outcome.end.reason
        assert outcome.began is not None
        assert outcome.began <= outcome.ended <= trio.current_time()


async def test_an_empty_group(autojump_clock: MockClock) -> None:
    """Nobody came."""
    async with open_session_group("sim:") as group:
        pass
    assert [] == group.outcomes
    assert (0, ()) == (len(group), group.sessions)


async def test_outcomes_may_go_somewhere_else(autojump_clock: MockClock) -> None:
    """Then they are not kept: a group may last."""
    seen: list[Outcome] = []
    async with open_session_group("sim:", on_outcome=seen.append) as group:
        group.start_soon(ask, "one")
        member = group.start_soon(ask, "two")
        assert "You said: two" == (await member.wait()).value
        assert member.outcome in seen
    assert [] == group.outcomes
    assert 2 == len(seen)


async def test_a_bot_that_leaves_is_no_failure(autojump_clock: MockClock) -> None:
    """It is told how the session ended."""
    bot = SimulatedBot([leave_after(1)])
    async with open_session_group(transport=bot.connect) as group:
        group.start_soon(stay)
    (outcome,) = group.outcomes
    assert (None, "bot") == (outcome.error, outcome.end.reason)


# -- how many ----------------------------------------------------------------------------


async def test_more_than_the_limit_wait_in_line(autojump_clock: MockClock) -> None:
    """And come, in order, as others leave."""
    bot = SimulatedBot()
    open_at_once: list[int] = []

    async def talk(session: Session) -> None:
        await session.wait_ready()
        open_at_once.append(len(group.sessions))
        await trio.sleep(1)

    async with open_session_group(transport=bot.connect, limit=3) as group:
        members = [group.start_soon(talk) for _ in range(10)]
        await wait_all_tasks_blocked()
        assert 10 == len(group)
        assert [member.session is not None for member in members] == [True] * 3 + [False] * 7
        assert "in line" in repr(members[9])
    assert 10 == len(group.outcomes)
    assert 3 == max(open_at_once)
    assert 4 <= trio.current_time() < 5
    assert ["1", "2", "3"] == sorted(outcome.name for outcome in group.outcomes[:3])


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_lets_somebody_in(limit: int) -> None:
    """It is refused at once."""
    with pytest.raises(ValueError, match="at least 1"):
        open_session_group("sim:", limit=limit)


def test_what_cannot_work_is_refused_at_once() -> None:
    """Before the block."""
    with pytest.raises(InvalidParamsError):
        open_session_group("gopher://host")
    with pytest.raises(ValueError, match="on_failure"):
        open_session_group("sim:", on_failure="panic")  # type: ignore[arg-type]


async def test_changes_that_cannot_work_are_refused_where_they_are_made(
    autojump_clock: MockClock,
) -> None:
    """In the frame of who asks for them, and nobody was counted."""
    async with open_session_group("sim:") as group:
        with pytest.raises(InvalidParamsError):
            group.start_soon(stay, ready_timeout=-1)
        assert 0 == len(group)
        member = group.start_soon(stay, ready_timeout=3)
        await member.wait_ready()
        group.cancel()


# -- failures ----------------------------------------------------------------------------


async def test_the_first_failure_ends_the_group(autojump_clock: MockClock) -> None:
    """Its error leaves the block, bare; the others have hung up."""
    bot = SimulatedBot()
    with pytest.raises(ZeroDivisionError):
        async with open_session_group(transport=bot.connect) as group:
            group.start_soon(stay)
            group.start_soon(fail, 1)
            group.start_soon(fail, 2)
            await trio.sleep_forever()
    assert 1 == trio.current_time()
    assert [ZeroDivisionError, None, None] == [
        outcome.error and type(outcome.error) for outcome in group.outcomes
    ]
    assert [1000] * 3 == [c.end and c.end.code for c in bot.conversations]


async def test_failures_may_be_collected(autojump_clock: MockClock) -> None:
    """Then the others go on."""
    async with open_session_group("sim:", on_failure="collect") as group:
        group.start_soon(fail)
        group.start_soon(ask, "still there?")
    errors = [type(outcome.error) for outcome in group.outcomes if outcome.error]
    assert [ZeroDivisionError] == errors
    assert ["You said: still there?"] == [o.value for o in group.outcomes if o.value]


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [(fatal_error("no more"), FatalBotError), (crash(), ConnectionLostError)],
)
async def test_errors_of_a_session_are_failures(
    behaviour: object, error: type[Exception], autojump_clock: MockClock
) -> None:
    """Whether they are waited for or not."""
    bot = SimulatedBot([behaviour])  # type: ignore[list-item]
    with pytest.raises(error):
        async with open_session_group(transport=bot.connect) as group:
            group.start_soon(stay)
    assert isinstance(group.outcomes[0].error, error)
    assert group.outcomes[0].end.error is group.outcomes[0].error


async def test_the_body_wins(autojump_clock: MockClock) -> None:
    """What it raises leaves the block, that very object, and everybody has hung up."""
    bot, error = SimulatedBot(), LookupError()
    with pytest.raises(LookupError) as caught:
        async with open_session_group(transport=bot.connect) as group:
            group.start_soon(stay)
            await group.members[0].wait_ready()
            raise error
    assert caught.value is error
    assert ["cancelled"] == [outcome.end.reason for outcome in group.outcomes]
    assert bot.conversations[0].end is not None
    assert 1000 == bot.conversations[0].end.code


async def test_a_group_that_the_body_raises_passes(autojump_clock: MockClock) -> None:
    """Untouched."""
    error = ExceptionGroup("mine", [ValueError()])
    with pytest.raises(ExceptionGroup) as caught:
        async with open_session_group("sim:"):
            raise error
    assert caught.value is error


async def test_ctrl_c_leaves_the_block_bare(autojump_clock: MockClock) -> None:
    """Wherever it strikes."""

    async def strike(session: Session) -> None:
        await session.wait_ready()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        async with open_session_group("sim:") as group:
            group.start_soon(strike)
            group.start_soon(stay)


async def test_cancelling_the_caller_has_all_hang_up(autojump_clock: MockClock) -> None:
    """And goes on afterwards."""
    bot = SimulatedBot()
    with trio.move_on_after(2) as scope:
        async with open_session_group(transport=bot.connect) as group:
            for _ in range(20):
                group.start_soon(stay)
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert ["cancelled"] * 20 == [outcome.end.reason for outcome in group.outcomes]
    assert [1000] * 20 == [c.end and c.end.code for c in bot.conversations]


# -- members -----------------------------------------------------------------------------


async def test_one_member_is_cancelled(autojump_clock: MockClock) -> None:
    """It hangs up; the others do not notice."""
    async with open_session_group("sim:") as group:
        member, other = group.start_soon(stay), group.start_soon(ask, "me?")
        session = await member.wait_ready()
        assert session is member.session
        assert "ready" in repr(member)
        member.cancel()
        outcome = await member.wait()
        assert (None, "cancelled") == (outcome.error, outcome.end.reason)
        assert "cancelled" in repr(member)
        assert "You said: me?" == (await other.wait()).value


async def test_one_in_line_is_cancelled(autojump_clock: MockClock) -> None:
    """It never began; who waits for it is told."""
    async with open_session_group("sim:", limit=1) as group:
        first, second = group.start_soon(stay), group.start_soon(stay)
        await first.wait_ready()
        second.cancel()
        with pytest.raises(SessionEndedError) as caught:
            await second.wait_ready()
        assert "cancelled" == caught.value.end.reason
        outcome = await second.wait()
        assert (None, None, State.IDLE) == (
            outcome.began,
            second.session,
            outcome.end.last_state,
        )
        first.cancel()


async def test_who_waits_for_a_member_gets_its_error(autojump_clock: MockClock) -> None:
    """Of starting too; it is the member's failure all the same."""
    bot = SimulatedBot([never_ready()])
    async with open_session_group(
        transport=bot.connect, on_failure="collect", ready_timeout=3
    ) as group:
        member = group.start_soon(stay)
        with pytest.raises(ReadyTimeoutError):
            await member.wait_ready()
        outcome = await member.wait()
        assert isinstance(outcome.error, ReadyTimeoutError)
    assert 3 <= trio.current_time() < 4


# -- all at once -------------------------------------------------------------------------


async def test_broadcast(autojump_clock: MockClock) -> None:
    """It goes to who is ready, and is done for all of them at once."""
    bot = SimulatedBot()

    async def tell(session: Session) -> None:
        await session.send_text("all of you!")
        await trio.sleep(1)

    async with open_session_group(transport=bot.connect, limit=4) as group:
        for _ in range(6):
            group.start_soon(stay)
        assert 0 == await group.broadcast(tell)
        for member in group.members[:4]:
            await member.wait_ready()
        began = trio.current_time()
        assert 4 == await group.broadcast(tell)
        assert 1 == pytest.approx(trio.current_time() - began, abs=0.1)
        group.cancel()
    assert 4 == sum("all of you!" in str(c.received) for c in bot.conversations)


async def test_broadcasting_does_not_count_who_leaves_meanwhile(
    autojump_clock: MockClock,
) -> None:
    """Their errors are their own; a mistake of who broadcasts is theirs."""
    bot = SimulatedBot([leave_after(1)])

    async def tell_late(session: Session) -> None:
        await trio.sleep(5)
        await session.send_text("too late")

    async def make_a_mistake(session: Session) -> None:
        raise LookupError

    async with open_session_group(transport=bot.connect) as group:
        member = group.start_soon(stay)
        await member.wait_ready()
        assert 0 == await group.broadcast(tell_late)
        member = group.start_soon(stay)
        await member.wait_ready()
        with pytest.raises(ExceptionGroup) as caught:
            await group.broadcast(make_a_mistake)
        assert [LookupError] == [type(error) for error in caught.value.exceptions]


# -- winding down ------------------------------------------------------------------------


async def test_winding_down_lets_them_finish(autojump_clock: MockClock) -> None:
    """Whoever still talks after so long hangs up; who is in line never begins."""
    bot = SimulatedBot()

    async def talk(session: Session, seconds: float) -> str:
        await session.wait_ready()
        await trio.sleep(seconds)
        return "done"

    async with open_session_group(transport=bot.connect, limit=2) as group:
        for seconds in (3, 100, 1):
            group.start_soon(talk, seconds)
        await group.members[1].wait_ready()
        assert not group.winding_down.is_set()
        began = trio.current_time()
        await group.wind_down(10)
        assert 10 == pytest.approx(trio.current_time() - began, abs=0.1)
        assert 0 == len(group)
        with pytest.raises(RuntimeError, match="winds down"):
            group.start_soon(talk, 1)
        await group.wind_down(10)  # once more does nothing
    assert group.winding_down.is_set()
    outcomes = {outcome.name: outcome for outcome in group.outcomes}
    assert ("done", None, None) == tuple(outcomes[name].value for name in "123")
    assert outcomes["3"].began is None
    assert [1000, 1000] == [c.end and c.end.code for c in bot.conversations]


async def test_who_talks_may_see_that_it_ends(autojump_clock: MockClock) -> None:
    """And come to an end by themselves."""

    async def talk(session: Session) -> str:
        await session.wait_ready()
        await group.winding_down.wait()
        return "goodbye"

    async with open_session_group("sim:") as group:
        group.start_soon(talk)
        await group.members[0].wait_ready()
        began = trio.current_time()
        await group.wind_down(60)
        assert trio.current_time() - began < 1
    assert "goodbye" == group.outcomes[0].value


async def test_cancelling_the_winding_down_hangs_up(autojump_clock: MockClock) -> None:
    """At once."""
    async with open_session_group("sim:") as group:
        group.start_soon(stay)
        await group.members[0].wait_ready()
        with trio.move_on_after(1) as scope:
            await group.wind_down(60)
        assert scope.cancelled_caught
    assert ["cancelled"] == [outcome.end.reason for outcome in group.outcomes]


async def test_nobody_begins_after_the_end(autojump_clock: MockClock) -> None:
    """A group that was left is over."""
    async with open_session_group("sim:") as group:
        pass
    with pytest.raises(RuntimeError):
        group.start_soon(stay)


async def test_nothing_stays_behind(autojump_clock: MockClock) -> None:
    """Neither tasks nor sessions."""
    before = trio.lowlevel.current_statistics().tasks_living
    async with open_session_group("sim:", limit=20) as group:
        for number in range(100):
            group.start_soon(ask, str(number))
    assert 100 == len(group.outcomes)
    del group
    gc.collect()
    assert before == trio.lowlevel.current_statistics().tasks_living
