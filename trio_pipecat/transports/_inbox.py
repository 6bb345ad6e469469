"""What another thread has received, on its way to trio.

Messages never drop, sound and pictures do: each kind has a queue of its own, and messages go first
(on a wire where they have no order among each other), sound last, of which there is always more.
Putting never waits. trio is woken only if
somebody waits, and once, however much comes: its run loop may be busy, and would then find a
thousand calls.
"""

import time
from collections import deque
from contextlib import suppress
from typing import Final, final

import attrs
import trio

from ..audio import AudioChunk
from ..video import VideoFrame
from ._abc import Incoming, LinkEnd

#: How many messages may be unread, and how many characters in all. The session reads them at once,
#: so this is a program whose trio has stood still for long.
MAX_MESSAGES: Final = 16_384
MAX_CHARACTERS: Final = 64 * 2**20
#: How much sound is kept meanwhile, in pieces of 20 ms, and how many pictures.
_MAX_SOUNDS: Final = 500
_MAX_PICTURES: Final = 4


@final
class Inbox:
    """Filled by the other thread (`put_…`, `finish`), emptied by trio (`receive`)."""

    def __init__(self) -> None:
        #: How the link ended; None while it has not.
        self.end: LinkEnd | None = None
        #: True: the end is not to be told yet, though it is known.
        self.holds_end = False
        #: How many pieces of sound, and how many pictures, nobody has taken in time.
        self.dropped_sounds = 0
        self.dropped_pictures = 0
        self._token = trio.lowlevel.current_trio_token()
        self._lot = trio.lowlevel.ParkingLot()
        self._waiting = False
        self._waking = False
        self._messages: deque[Incoming] = deque()
        # Each is written by one thread alone, so their difference needs no lock.
        self._put = 0
        self._taken = 0
        self._sounds: deque[tuple[float, bytes, int]] = deque(maxlen=_MAX_SOUNDS)
        self._pictures: deque[tuple[float, VideoFrame]] = deque(maxlen=_MAX_PICTURES)

    # -- the other thread's --

    def put_message(self, item: Incoming) -> bool:
        """Add a message. False: there are too many, and the link has to end."""
        if self.end is not None:
            return True
        unread = self._put - self._taken
        if len(self._messages) >= MAX_MESSAGES or unread > MAX_CHARACTERS:
            return False
        self._put += _size(item)
        self._messages.append(item)
        self._wake()
        return True

    def put_sound(self, pcm: bytes, sample_rate: int) -> None:
        """Add mono sound; the oldest goes if nobody takes it."""
        if self.end is not None:
            return
        self.dropped_sounds += len(self._sounds) == _MAX_SOUNDS
        self._sounds.append((time.perf_counter(), pcm, sample_rate))
        self._wake()

    def put_picture(self, frame: VideoFrame) -> None:
        """Add a picture; the oldest goes if nobody takes it."""
        if self.end is not None:
            return
        self.dropped_pictures += len(self._pictures) == _MAX_PICTURES
        self._pictures.append((time.perf_counter(), frame))
        self._wake()

    def finish(self, end: LinkEnd) -> None:
        """Nothing more comes; the first to say so says why. May be called by both threads."""
        if self.end is None:
            self.end = end
        self._wake()

    def _wake(self) -> None:
        # Who waits says so before it looks for the last time, so nobody is forgotten.
        if self._waiting and not self._waking:
            self._waking = True
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self.awake)

    # -- trio's --

    def awake(self) -> None:
        """Have who waits look again."""
        self._waking = self._waiting = False
        self._lot.unpark_all()

    @property
    def is_over(self) -> bool:
        """Has the link ended, and may that be told?"""
        return self.end is not None and not self.holds_end

    async def wait(self) -> None:
        """Wait until there may be something to take, or the end."""
        self._waiting = True
        if self._messages or self._sounds or self._pictures or self.is_over:
            await trio.lowlevel.checkpoint()
        else:
            await self._lot.park()

    def take(self) -> Incoming | None:
        """Take what is next, if there is anything."""
        if self._messages:
            item = self._messages.popleft()
            self._taken += _size(item)
            return item
        if self._pictures:
            came, frame = self._pictures.popleft()
            return attrs.evolve(frame, at=_on_trios_clock(came))
        if self._sounds:
            came, pcm, rate = self._sounds.popleft()
            return AudioChunk(pcm, rate, 1, _on_trios_clock(came))
        return None


def _size(item: Incoming) -> int:
    return len(item) if isinstance(item, str) else 0


def _on_trios_clock(came: float) -> float:
    """Return when something came: trio may have been busy with something else since."""
    ago = time.perf_counter() - came
    return trio.current_time() - ago
