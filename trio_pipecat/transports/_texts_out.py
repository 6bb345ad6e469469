"""Messages, from trio to the thread that sends them."""

from collections import deque
from contextlib import suppress
from typing import Final, final

import trio

#: More than this unsent, in bytes, and senders wait.
_HIGH_WATER: Final = 256 * 1024


@final
class TextsOut:
    """Filled by trio (`wait_room`, then `put`), emptied by the other thread (`take`)."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._lot = trio.lowlevel.ParkingLot()
        self._texts: deque[tuple[str | bytes, int]] = deque()
        self._waiting = False
        self._over = False
        # Each is written by one thread alone, so their difference needs no lock.
        self._put = 0
        self._taken = 0

    def __bool__(self) -> bool:
        return bool(self._texts)

    @property
    def unsent(self) -> int:
        """How much waits, in bytes."""
        return self._put - self._taken

    # -- trio's --

    async def wait_room(self) -> None:
        """Wait until there is room. Cancelling loses nothing.

        Raises:
            trio.BrokenResourceError: the link has ended.
        """
        await trio.lowlevel.checkpoint()
        while self.unsent > _HIGH_WATER and not self._over:
            self._waiting = True
            if self.unsent > _HIGH_WATER:
                await self._lot.park()
        if self._over:
            raise trio.BrokenResourceError("the link has ended")

    def put(self, text: str | bytes) -> None:
        """Add a message."""
        size = len(text) if isinstance(text, bytes) else len(text.encode())
        self._put += size
        self._texts.append((text, size))

    def finish(self) -> None:
        """The link has ended: nobody shall wait."""
        self._over = True
        self._lot.unpark_all()

    # -- the other thread's --

    def take(self) -> str | bytes:
        """Take the next one."""
        text, size = self._texts.popleft()
        self._taken += size
        if self._waiting and self.unsent <= _HIGH_WATER:
            self._waiting = False
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._lot.unpark_all)
        return text
