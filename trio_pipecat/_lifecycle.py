"""The state of one session as it changes: the table of `_state`, with events to wait for."""

import attrs
import trio

from ._errors import InternalError
from ._state import TRANSITIONS, State, reached_by


@attrs.frozen
class StateEvents:
    """One `trio.Event` for each state: set once the session has reached it, or passed it by.

    A direct connection sets `authenticating` and `authenticated` when it enters *connecting*, so
    nobody waits for ever on a state that was skipped. `disconnected` is always set in the end;
    `ready` only if the bot was ready. To wait for a state or the end, whichever comes first, use
    `Session.wait_for`.
    """

    idle: trio.Event = attrs.field(factory=trio.Event)
    authenticating: trio.Event = attrs.field(factory=trio.Event)
    authenticated: trio.Event = attrs.field(factory=trio.Event)
    connecting: trio.Event = attrs.field(factory=trio.Event)
    connected: trio.Event = attrs.field(factory=trio.Event)
    ready: trio.Event = attrs.field(factory=trio.Event)
    disconnecting: trio.Event = attrs.field(factory=trio.Event)
    disconnected: trio.Event = attrs.field(factory=trio.Event)

    def of(self, state: State) -> trio.Event:
        """Return the event of `state`."""
        event: trio.Event = getattr(self, state.value)
        return event

    def __repr__(self) -> str:
        return f"<StateEvents set: {', '.join(s for s in State if self.of(s).is_set())}>"


class Lifecycle:
    """Where a session is, where it was, and the events that say so. Only `enter` changes it."""

    def __init__(self) -> None:
        self.events = StateEvents()
        self.state: State
        self.history: list[tuple[State, float]] = []
        #: The events are in users' hands, and can be set there.
        self._reached: set[State] = set()
        self._note(State.IDLE)

    def enter(self, state: State) -> State:
        """Go to `state`, and return the one before.

        Raises:
            InternalError: the table does not have this transition.
        """
        previous = self.state
        if state not in TRANSITIONS[previous]:
            raise InternalError(f"no way from state {previous} to {state}")
        self._note(state)
        return previous

    def reached(self, state: State) -> bool:
        """Has the session reached `state`, or passed it by?"""
        return state in self._reached

    def _note(self, state: State) -> None:
        self.state = state
        self.history.append((state, trio.current_time()))
        for reached in reached_by(state):
            self._reached.add(reached)
            self.events.of(reached).set()
