"""The state of one session as it changes: the table of `_state`, with events to wait for."""

from typing import final

import trio

from ._errors import InternalError
from ._state import TRANSITIONS, State, reached_by


@final
class StateEvents:
    """One `trio.Event` for each state: set once the session has reached it, or passed it by.

    A direct connection sets `authenticating` and `authenticated` when it enters *connecting*, so
    nobody waits for ever on a state that was skipped. `disconnected` is always set in the end;
    `ready` only if the bot was ready. To wait for a state or the end, whichever comes first, use
    `Session.wait_for`.
    """

    __slots__ = ("_events", "_reached")

    def __init__(self) -> None:
        self._reached: list[State] = []
        #: Those that somebody has asked for: most sessions need few.
        self._events: dict[State, trio.Event] = {}

    @property
    def idle(self) -> trio.Event:
        """Set when the session has reached `State.IDLE`, or passed it by."""
        return self.of(State.IDLE)

    @property
    def authenticating(self) -> trio.Event:
        """Set when the session has reached `State.AUTHENTICATING`, or passed it by."""
        return self.of(State.AUTHENTICATING)

    @property
    def authenticated(self) -> trio.Event:
        """Set when the session has reached `State.AUTHENTICATED`, or passed it by."""
        return self.of(State.AUTHENTICATED)

    @property
    def connecting(self) -> trio.Event:
        """Set when the session has reached `State.CONNECTING`, or passed it by."""
        return self.of(State.CONNECTING)

    @property
    def connected(self) -> trio.Event:
        """Set when the session has reached `State.CONNECTED`, or passed it by."""
        return self.of(State.CONNECTED)

    @property
    def ready(self) -> trio.Event:
        """Set when the session has reached `State.READY`, or passed it by."""
        return self.of(State.READY)

    @property
    def disconnecting(self) -> trio.Event:
        """Set when the session has reached `State.DISCONNECTING`, or passed it by."""
        return self.of(State.DISCONNECTING)

    @property
    def disconnected(self) -> trio.Event:
        """Set when the session has reached `State.DISCONNECTED`, or passed it by."""
        return self.of(State.DISCONNECTED)

    def of(self, state: State) -> trio.Event:
        """Return the event of `state`."""
        event = self._events.get(state)
        if event is None:
            event = self._events[state] = trio.Event()
            if state in self._reached:
                event.set()
        return event

    def _reach(self, state: State) -> None:
        if state not in self._reached:
            self._reached.append(state)
            if state in self._events:
                self._events[state].set()

    def __repr__(self) -> str:
        return f"<StateEvents set: {', '.join(s for s in State if self.of(s).is_set())}>"


class Lifecycle:
    """Where a session is, where it was, and the events that say so. Only `enter` changes it."""

    def __init__(self) -> None:
        self.events = StateEvents()
        self.state: State
        self.history: list[tuple[State, float]] = []
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
        # Not by the events: they are in users' hands, and can be set there.
        return state in self.events._reached

    def _note(self, state: State) -> None:
        self.state = state
        self.history.append((state, trio.current_time()))
        for reached in reached_by(state):
            self.events._reach(reached)
