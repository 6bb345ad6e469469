"""What a recorder sees of a session: everything, in order, in the step in which it happens."""

from ._messages import Event
from ._state import SessionEnd, State
from .transports import Incoming


class Tap:
    """Something that is told of all that goes in and out of a session, and of its states.

    A tap does not wait, and does not raise: it is called from within the session. Times are on
    trio's clock.
    """

    def sent(self, item: Incoming, at: float) -> None:
        """A message, audio, a picture or an interruption has been handed over to the link."""

    def received(self, item: Incoming, at: float) -> None:
        """The link has given this, and nobody has seen it yet."""

    def happened(self, event: Event) -> None:
        """An event is given to whoever reads events; of a message, after it was `received`."""

    def entered(self, state: State, at: float) -> None:
        """The session has entered a state."""

    def finished(self, end: SessionEnd, at: float) -> None:
        """The session is over. Nothing more will come."""
