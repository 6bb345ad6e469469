"""A kit for whoever writes a transport: does it keep every rule that sessions rely on?

Strategy: every rule is checked on a fresh pair of ends, once from the client's end and once from
the bot's, under a deadline. Nothing but the interface is used, so a rule can only be seen from
outside: what one end did, and what the other has of it. Where a rule is about a moment (a sender
that is cancelled), it is tried at one step after the other.
"""

from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeAlias, get_args

import trio

from .._causes import leaves
from .._errors import InvalidParamsError
from .._state import Side
from ..transports import Transport
from ._transport_ends import Deaf, Ends, TransportFeature
from ._transport_rules import RULES, Rule

#: Makes the two ends of a new link: an async context manager that gives (client's, bot's).
TransportMaker: TypeAlias = Callable[[], AbstractAsyncContextManager[tuple[Transport, Transport]]]

_SETTLING_STEPS: Final = 100


async def check_transport(
    maker: TransportMaker,
    *,
    patience: float = 10,
    without: Collection[TransportFeature] = (),
) -> None:
    """Check that a transport keeps the rules of `transports.Transport`.

    ::

        @asynccontextmanager
        async def maker():
            async with serve_my_bot() as bot_end, open_my_link() as client_end:
                yield client_end, bot_end


        async def test_my_transport():
            await check_transport(maker)

    It works with trio's `MockClock` and in real time. A transport with ``speaks_rtvi = False`` is
    spared the rules about messages.

    Args:
        maker: makes a new link; it is called for each rule, twice. Leaving its context ends
            the link.
        patience: how long one rule may take, in seconds.
        without: what this transport does not claim to have.

    Raises:
        AssertionError: a rule is broken; it says which, and from whose end.
        InvalidParamsError: `without` names no such thing.
    """
    unknown = set(without) - set(get_args(TransportFeature))
    if unknown:
        known = ", ".join(get_args(TransportFeature))
        raise InvalidParamsError(f"no such feature: {', '.join(unknown)}; there is {known}")
    for rule in RULES:
        for side in get_args(Side):
            if side != "network":
                await _check(rule, maker, side, patience, frozenset(without))


async def _check(
    rule: Rule,
    maker: TransportMaker,
    side: Side,
    patience: float,
    without: frozenset[TransportFeature],
) -> None:
    failures: list[BaseException] = []
    links: list[Transport] = []
    before = _tasks()
    with trio.move_on_after(patience) as deadline:
        try:
            async with maker() as (client, bot):
                links += [client, bot]
                if "exact audio" in without and not rule.hears:
                    ends = Ends(Deaf(client), Deaf(bot), side, without)
                else:
                    ends = Ends(client, bot, side, without)
                if rule.applies_to(ends):
                    try:
                        await rule.check(ends)
                    except* Exception as group:
                        failures += leaves(group)
        except* Exception as group:
            failures += leaves(group)
    if not failures and deadline.cancelled_caught:
        failures.append(AssertionError(f"it was not over within {patience:g} s"))
    if not failures and None in [link.end for link in links]:
        failures.append(AssertionError("the link has no end after its context was left"))
    if not failures:
        failures += await _look_for_left_tasks(before, patience)
    if failures:
        # What was not asserted by the rule is a symptom at best.
        failure = next((e for e in failures if isinstance(e, AssertionError)), failures[0])
        name = "" if isinstance(failure, AssertionError) else f"{type(failure).__name__}: "
        raise AssertionError(
            f"{rule.sentence} (seen from the {side}'s end): {name}{failure}"
        ) from failure


def _tasks() -> set[trio.lowlevel.Task]:
    """Return every task there is."""
    root = trio.lowlevel.current_root_task()
    found: set[trio.lowlevel.Task] = set()
    todo = [root] if root is not None else []
    while todo:
        task = todo.pop()
        found.add(task)
        todo += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return found


async def _look_for_left_tasks(
    before: set[trio.lowlevel.Task], patience: float
) -> list[BaseException]:
    """Give tasks that are on their way out the time for it, then name those that stay."""
    for _ in range(_SETTLING_STEPS):
        if not _tasks() - before:
            return []
        await trio.sleep(patience / _SETTLING_STEPS)
    names = sorted(task.name for task in _tasks() - before)
    return [AssertionError(f"leaving left tasks behind: {', '.join(names)}")] if names else []
