"""Where a client is checked: one fault, and what is awaited of the client meanwhile."""

from typing import Final

import attrs
import trio

from .._messages import SendText
from ._client_journal import Journal
from ._conversation import Conversation

#: The text that the client sends when the bot is ready.
HELLO: Final = "hello"
#: The word of the bot at which the client hangs up.
GOODBYE: Final = "goodbye"


@attrs.frozen(kw_only=True)
class ClientPatience:
    """How long a client may take, in seconds. Its own deadlines have to be shorter.

    Attributes:
        connect: to start the bot and connect, or to give that up.
        ready: to give up on a bot that never gets ready; and, when it is, to send its text.
        close: to hang up when the bot has said goodbye.
        leave: to notice that the bot has left or failed.
        lost: to notice that the link is dead, though nobody said so.
        answer: to answer a function call; after that it counts as not answered.
        ping: to answer the server's pings.
    """

    connect: float = 60
    ready: float = 60
    close: float = 10
    leave: float = 10
    lost: float = 60
    answer: float = 3
    ping: float = 5


@attrs.define(eq=False)
class Stage:
    """One case, while it is played."""

    patience: ClientPatience
    #: The client runs in it.
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    journals: list[Journal] = attrs.field(factory=list)
    problems: list[str] = attrs.field(factory=list)
    #: Was there a start request, a request for a WebSocket?
    started: bool = False
    asked: bool = False
    said_goodbye: bool = False
    bot_left: bool = False
    bot_frozen: bool = False
    #: Unparked when a connection is over.
    changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    _awaited: tuple[str, float] = ("", 0)

    def expect(self, what: str, seconds: float) -> None:
        """Give the client `seconds` from now to do the next thing."""
        self._awaited = (what, seconds)
        self.scope.deadline = trio.current_time() + seconds

    @property
    def missed(self) -> str:
        """What the client has not done in time."""
        what, seconds = self._awaited
        return f"it did not {what} within {seconds:g} s"

    @property
    def given_up(self) -> bool:
        """Was the client cancelled, because it took too long?"""
        return self.scope.cancelled_caught

    def leaving(self) -> None:
        """The bot is about to go; the client should notice."""
        self.bot_left = True
        self.expect("notice that the bot has gone", self.patience.leave)

    async def wait_all_over(self) -> None:
        """Wait until every connection is over; those of a frozen bot never are."""
        await trio.lowlevel.checkpoint()
        while not self.bot_frozen and any(journal.end is None for journal in self.journals):
            await self.changed.park()

    async def hear_hello(self, conversation: Conversation) -> None:
        """Wait for the client's text."""
        with conversation.listening(SendText) as ear:
            while HELLO not in (await ear.receive()).content.lower():
                pass
