"""A link in memory: two ends, no socket, no bytes but the messages themselves.

It behaves as the WebSocket does where a session can tell, but for the size of what is received,
which is not limited: what was sent before a goodbye arrives before it, a goodbye waits for the
other side's answer, senders wait when the other end does not read. It carries pictures as well, and
can be restarted, as WebRTC can. With trio's `MockClock` a whole conversation takes no time.
"""

from collections import deque
from collections.abc import Callable

import attrs
import trio

from .._errors import ProtocolError
from .._state import Side
from ..audio import AudioChunk
from ..video import VideoFrame
from ._abc import Incoming, Interruption, LinkEnd, TrackName, Transport, Undecodable
from ._envelope import decode

#: How many items may wait unread in one direction before its sender has to wait: what two seconds
#: of audio in 40 ms frames and the messages beside them come to.
_BACKLOG = 256
#: How often it is found out whether the other end is frozen, and how long that takes, in seconds.
_PING_INTERVAL = _PING_TIMEOUT = 20


class MemoryTransport(Transport):
    """One end of a link in memory. Made in pairs by `memory_transport_pair`."""

    def __init__(self, side: Side, max_message_size: int) -> None:
        self.max_message_size = max_message_size
        #: What the other end has said of its tracks, in order, and how often it has restarted.
        self.announced: list[tuple[TrackName, bool]] = []
        self.restarts = 0
        self._side: Side = side
        self._other: MemoryTransport
        self._inbox: deque[Incoming] = deque()
        self._arrived = trio.lowlevel.ParkingLot()
        self._taken = trio.lowlevel.ParkingLot()
        self._end: LinkEnd | None = None
        self._frozen = False
        self._closing = False
        self._goodbye_answered = trio.Event()

    def __repr__(self) -> str:
        state = "open" if self._end is None else f"ended with {self._end.code}"
        return f"<MemoryTransport of the {self._side}, {state}, {len(self._inbox)} unread>"

    @property
    def end(self) -> LinkEnd | None:
        """How the link ended, None while it has not."""
        return self._end

    async def receive(self) -> Incoming:
        """Return what arrives next. Cancelling loses nothing."""
        waited = False
        while True:
            while not self._inbox and (self._end is None or self._closing):
                await self._arrived.park()
                waited = True
            if waited:
                break
            # Whoever did not have to wait gives way, once; another may be served meanwhile.
            await trio.lowlevel.checkpoint()
            waited = True
        if not self._inbox:
            raise trio.EndOfChannel
        item = self._inbox.popleft()
        self._other._taken.unpark_all()
        return item

    async def send_message(self, text: str) -> None:
        """Send a message. Waits while the other end is backed up. Cancelled: it was not sent."""
        await self._send(text)

    async def send_audio(self, chunk: AudioChunk) -> None:
        """Send audio; otherwise as `send_message`."""
        await self._send(
            AudioChunk(chunk.pcm, chunk.sample_rate, chunk.num_channels, trio.current_time())
        )

    async def send_video(self, frame: VideoFrame) -> None:
        """Send a picture; otherwise as `send_message`."""
        await self._send(attrs.evolve(frame, at=trio.current_time()))

    async def announce_track(self, track: TrackName, *, enabled: bool) -> None:
        """Tell the other end, which keeps it in `announced`."""
        await self._wait_for_turn()
        self._other.announced.append((track, enabled))

    async def restart(self) -> None:
        """Go on over another link, if the other end is not frozen: what it has not read is lost."""
        await self._wait_for_turn(lambda: not self._other._frozen)
        self._other._inbox.clear()
        self._taken.unpark_all()
        self._other.restarts += 1
        # The bot has forgotten it, as on a real wire.
        self._other.announced += dict(self._other.announced).items()

    async def send_interruption(self) -> None:
        """Send the signal; otherwise as `send_message`."""
        await self._send(Interruption())

    async def send_bytes(self, data: bytes) -> None:
        """Send what a binary WebSocket message of `data` would be; otherwise as `send_message`."""
        try:
            item = decode(data, at=trio.current_time())
        except ProtocolError as error:
            item = Undecodable(str(error), raw=data[:64])
        await self._send(item)

    async def _send(self, item: Incoming) -> None:
        await self._wait_for_turn(lambda: len(self._other._inbox) < _BACKLOG)
        self._other._inbox.append(item)
        self._other._arrived.unpark_all()

    async def _wait_for_turn(self, is_it: Callable[[], bool] = lambda: True) -> None:
        await trio.lowlevel.checkpoint()
        while self._end is None and not is_it():
            await self._taken.park()
        if self._end is not None:
            raise trio.BrokenResourceError(f"the link has ended: {self._end}")

    async def aclose(self, code: int = 1000, text: str = "") -> None:
        """Say goodbye and wait for the other end's. Cancelling it closes without the wait."""
        if self._end is None:
            end = LinkEnd(code=code, text=text, first=self._side)
            self._closing = True
            self._finish(end)
            self._other._goodbye(end)
            try:
                await self._goodbye_answered.wait()
            except trio.Cancelled:
                self._other._finish(LinkEnd(code=1006, first="network"))
                raise
            finally:
                self._closing = False
                self._wake()
        await trio.lowlevel.checkpoint()

    async def abort(self, detail: str) -> None:
        """Be gone at once, without a goodbye."""
        self.vanish(detail)
        await trio.lowlevel.checkpoint()

    def vanish(self, detail: str = "the other end is gone") -> None:
        """Be gone without a goodbye: both ends find the link broken."""
        for transport in (self, self._other):
            transport._finish(LinkEnd(code=1006, first="network", detail=detail))
            transport._goodbye_answered.set()

    def freeze(self) -> None:
        """Go on existing, but never answer: what a half-open connection looks like."""
        self._frozen = True

    async def keep_alive(
        self,
        interval: float | None,
        timeout: float | None,  # noqa: ASYNC109
    ) -> None:
        """Do as a WebSocket that pings at intervals: find out when the other end is frozen."""
        interval, timeout = interval or _PING_INTERVAL, timeout or _PING_TIMEOUT
        while self._end is None:
            await trio.sleep(interval)
            if self._other._frozen:
                await trio.sleep(timeout)
                detail = f"no answer to a ping within {timeout:g} s"
                self._finish(LinkEnd(code=1006, first="network", detail=detail))

    def _goodbye(self, end: LinkEnd) -> None:
        if not self._frozen:
            self._finish(end)
            self._other._goodbye_answered.set()

    def _finish(self, end: LinkEnd) -> None:
        if self._end is None:
            self._end = end
        self._wake()

    def _wake(self) -> None:
        self._arrived.unpark_all()
        self._taken.unpark_all()


def memory_transport_pair(
    *, max_message_size: int = 2**20
) -> tuple[MemoryTransport, MemoryTransport]:
    """Return the client's and the bot's end of a link in memory."""
    client = MemoryTransport("client", max_message_size)
    bot = MemoryTransport("bot", max_message_size)
    client._other, bot._other = bot, client
    return client, bot
