"""Where a session is: the table of states, walked every way, and the events that tell."""

import pytest
import trio
from trio.testing import MockClock

from trio_pipecat import InternalError
from trio_pipecat._lifecycle import Lifecycle, StateEvents
from trio_pipecat._state import TRANSITIONS, State, reached_by

WAY_TO = {
    State.IDLE: [],
    State.AUTHENTICATING: [State.AUTHENTICATING],
    State.AUTHENTICATED: [State.AUTHENTICATING, State.AUTHENTICATED],
    State.CONNECTING: [State.CONNECTING],
    State.CONNECTED: [State.CONNECTING, State.CONNECTED],
    State.READY: [State.CONNECTING, State.CONNECTED, State.READY],
    State.DISCONNECTING: [State.DISCONNECTING],
    State.DISCONNECTED: [State.DISCONNECTED],
}


def brought_to(state):
    """Return a lifecycle that has come to `state`."""
    lifecycle = Lifecycle()
    for step in WAY_TO[state]:
        lifecycle.enter(step)
    return lifecycle


def set_events(lifecycle):
    """Return the states whose events are set."""
    return {state for state in State if lifecycle.events.of(state).is_set()}


async def test_begins_idle():
    """A session begins in *idle*, and that counts as reached."""
    lifecycle = Lifecycle()
    assert State.IDLE == lifecycle.state
    assert {State.IDLE} == set_events(lifecycle)


@pytest.mark.parametrize(
    ("state", "following"),
    [(state, f) for state in State for f in State if f in TRANSITIONS[state]],
)
async def test_allowed_transitions(state, following):
    """Every transition of the table can be made, and returns the state before."""
    lifecycle = brought_to(state)
    assert state == lifecycle.enter(following)
    assert following == lifecycle.state


@pytest.mark.parametrize(
    ("state", "following"),
    [(state, f) for state in State for f in State if f not in TRANSITIONS[state]],
)
async def test_other_transitions(state, following):
    """Every other transition is a bug of ours, and changes nothing."""
    lifecycle = brought_to(state)
    before = (lifecycle.history.copy(), set_events(lifecycle))
    with pytest.raises(InternalError, match=f"from state {state} to {following}"):
        lifecycle.enter(following)
    assert before == (lifecycle.history, set_events(lifecycle))


@pytest.mark.parametrize("state", State)
async def test_events_of_a_state(state):
    """Entering a state sets its event, and those of the states that it passes by."""
    expected = {State.IDLE}.union(*map(reached_by, WAY_TO[state]))
    lifecycle = brought_to(state)
    assert expected == set_events(lifecycle)
    assert expected == {other for other in State if lifecycle.reached(other)}


async def test_a_failed_session_was_never_ready():
    """A session that ends early has reached its end, and not what it never came to."""
    lifecycle = brought_to(State.CONNECTING)
    lifecycle.enter(State.DISCONNECTED)
    assert not lifecycle.reached(State.CONNECTED)
    assert not lifecycle.reached(State.READY)
    assert lifecycle.reached(State.DISCONNECTING)


@pytest.mark.parametrize("state", State)
async def test_events_are_attributes(state):
    """Each state has an event of its own, by its name."""
    events = StateEvents()
    assert getattr(events, state.value) is events.of(state)
    assert not events.of(state).is_set()


async def test_history_says_when(mock_clock):
    """The history holds what really happened, with the time of it."""
    lifecycle = Lifecycle()
    for step in (State.CONNECTING, State.CONNECTED, State.DISCONNECTED):
        mock_clock.jump(1.5)
        lifecycle.enter(step)
    assert [
        (State.IDLE, 0),
        (State.CONNECTING, 1.5),
        (State.CONNECTED, 3),
        (State.DISCONNECTED, 4.5),
    ] == lifecycle.history


async def test_waiter_is_woken():
    """A task that waits for a state is woken when it is passed by."""
    lifecycle = Lifecycle()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lifecycle.events.authenticated.wait)
        await trio.testing.wait_all_tasks_blocked()
        lifecycle.enter(State.CONNECTING)


async def test_repr_of_the_events():
    """The events show which of them are set."""
    lifecycle = brought_to(State.CONNECTING)
    assert "<StateEvents set: idle, authenticating, authenticated, connecting>" == repr(
        lifecycle.events
    )


def test_state_of_a_session_is_made_in_trio():
    """A lifecycle reads trio's clock, so it is made where trio runs."""

    async def main():
        return Lifecycle().history

    assert [(State.IDLE, 7)] == trio.run(main, clock=jumped(7))
    with pytest.raises(RuntimeError):
        Lifecycle()


def jumped(seconds):
    """Return a clock that stands at `seconds`."""
    clock = MockClock()
    clock.jump(seconds)
    return clock
