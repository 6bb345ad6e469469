"""What is to be played: filled by one thread, emptied by another, without a lock.

Each number has one thread that writes it, and what is shared is a deque whose single steps are
atomic. To forget everything one begins a new list: the other thread may be in the middle of a block
of the old one, and that block is the last of it.
"""

from collections import deque
from typing import final

import attrs


@final
@attrs.define(eq=False)
class Playlist:
    """PCM in the order in which it will sound."""

    #: Bytes that were put in, and taken out, since it was made.
    put: int = 0
    taken: int = 0
    _pieces: deque[bytes] = attrs.field(factory=deque, init=False)
    #: How much of the first piece is gone. The taker's.
    _gone: int = attrs.field(default=0, init=False)

    @property
    def queued(self) -> int:
        """How many bytes wait."""
        return self.put - self.taken

    def add(self, pcm: bytes) -> None:
        """Put PCM at the end."""
        if pcm:
            self.put += len(pcm)
            self._pieces.append(pcm)

    def take(self, size: int) -> bytes:
        """Take as many bytes from the front, or what there is."""
        taken = []
        missing = size
        while missing and self._pieces:
            first = self._pieces[0]
            piece = first[self._gone : self._gone + missing]
            self._gone += len(piece)
            if self._gone == len(first):
                self._pieces.popleft()
                self._gone = 0
            missing -= len(piece)
            taken.append(piece)
        self.taken += size - missing
        return b"".join(taken)
