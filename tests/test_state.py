"""The states of a session, which may follow which, and how it ended."""

import copy
import pickle
from itertools import pairwise
from typing import get_args

import attrs
import pytest

from trio_pipecat._state import TRANSITIONS, EndReason, SessionEnd, Side, State, reached_by

WAY_UP = [
    State.IDLE,
    State.AUTHENTICATING,
    State.AUTHENTICATED,
    State.CONNECTING,
    State.CONNECTED,
    State.READY,
]
WAY_DOWN = [State.DISCONNECTING, State.DISCONNECTED]


def ways_to(state):
    return {previous for previous, following in TRANSITIONS.items() if state in following}


# -- which state may follow which --------------------------------------------------------


def test_states_are_those_of_the_javascript_client():
    """States are strings, so that logs and tools need no table."""
    assert ["idle", "authenticating", "authenticated"] == list(State)[:3]
    assert ["connecting", "connected", "ready"] == list(State)[3:6]
    assert ["disconnecting", "disconnected"] == list(State)[6:]
    assert "ready" == str(State.READY)


def test_every_state_is_in_the_table():
    """The table says of each state what may follow, in the order in which they are entered."""
    assert list(State) == list(TRANSITIONS) == WAY_UP + WAY_DOWN


def test_no_state_follows_itself_or_an_earlier_one():
    """A session goes forward only: nothing is entered twice."""
    order = list(State)
    for state, following in TRANSITIONS.items():
        assert all(order.index(state) < order.index(after) for after in following)


@pytest.mark.parametrize(("state", "following"), list(pairwise(WAY_UP + WAY_DOWN)))
def test_each_state_leads_to_the_next(state, following):
    """The whole way can be gone step by step."""
    assert following in TRANSITIONS[state]


@pytest.mark.parametrize("state", WAY_UP)
def test_session_may_end_at_any_time(state):
    """Every state may be left for the goodbye, or without one."""
    assert set(WAY_DOWN) <= TRANSITIONS[state]


def test_disconnected_is_the_end():
    """Nothing follows the last state."""
    assert frozenset() == TRANSITIONS[State.DISCONNECTED]
    assert {State.DISCONNECTED} == TRANSITIONS[State.DISCONNECTING]


def test_only_a_connected_session_gets_ready():
    """Ready is entered from connected alone: it means that the bot's pipeline runs."""
    assert {State.CONNECTED} == ways_to(State.READY)


def test_only_authentication_may_be_skipped():
    """A direct connection passes the start endpoint by; nothing else on the way up is optional."""
    assert {State.IDLE, State.AUTHENTICATED} == ways_to(State.CONNECTING)
    for before, state in pairwise(WAY_UP[:3]):
        assert {before} == ways_to(state)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (State.IDLE, WAY_UP[:1]),
        (State.AUTHENTICATING, WAY_UP[:2]),
        (State.CONNECTING, WAY_UP[:4]),
        (State.READY, WAY_UP),
        (State.DISCONNECTING, WAY_DOWN[:1]),
        (State.DISCONNECTED, WAY_DOWN),
    ],
)
def test_states_that_were_skipped_on_the_way_count_as_reached(state, expected):
    """Entering a state reaches those before it on the same way; an end has not been ready."""
    assert tuple(expected) == reached_by(state)


# -- how it ended ------------------------------------------------------------------------

END = SessionEnd(reason="bot", last_state=State.READY, first="bot", code=1000)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (END, "bot in state ready (first: bot, closed with 1000)"),
        (attrs.evolve(END, text="bye"), "bot in state ready (first: bot, closed with 1000 'bye')"),
        (
            attrs.evolve(END, text="a\nb"),
            "bot in state ready (first: bot, closed with 1000 'a\\nb')",
        ),
        (
            SessionEnd(
                reason="startup_failed",
                last_state=State.CONNECTING,
                first="network",
                error=OSError("no route"),
            ),
            "startup_failed in state connecting (first: network): no route",
        ),
    ],
    ids=["code", "text", "lines", "error"],
)
def test_end_is_told_in_one_line(end, expected):
    """`str()` of an end has the reason, the state, who was first, and what else is known."""
    assert expected == str(end)


def test_end_without_a_link_has_no_code():
    """Where the link was never up there is no code, no text, and perhaps no error."""
    end = SessionEnd(reason="client", last_state=State.IDLE, first="client")
    assert (None, "", None) == (end.code, end.text, end.error)


def test_reasons_and_sides_are_few():
    """There are six reasons, and three sides that can be first."""
    assert 6 == len(get_args(EndReason))
    assert ("client", "bot", "network") == get_args(Side)


def test_end_is_a_value():
    """An end is frozen, is equal to its like, and can be copied and pickled."""
    assert END == copy.deepcopy(END) == pickle.loads(pickle.dumps(END))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        END.code = 1006
