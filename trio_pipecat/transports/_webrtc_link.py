"""A link over a peer connection, at either end: what does not depend on who has offered.

The peer works in the loop's thread (`_loop_thread`), this in trio's. Between them lie queues:
`Inbox`, `TextsOut` and `SoundOut`. They belong to the link, and outlive a peer that is replaced.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import trio

from .._ice import IceServer
from .._state import Side
from ..audio import AudioChunk
from ..video import VideoFrame
from ._abc import Incoming, LinkEnd, LinkOptions, TrackName, Transport
from ._inbox import Inbox
from ._loop_thread import LoopThread
from ._rtc_peer import TRACKS, Peer, PeerQueues, PeerSettings
from ._sound_out import SoundOut
from ._texts_out import TextsOut

#: How often pings go out, and how long nothing may come, in seconds, if nobody says otherwise.
#: Pipecat's server wants a ping every three seconds once it has had one.
_PING_INTERVAL: Final = 1.0
_MAX_PING_INTERVAL: Final = 2.0
_SILENCE_TIMEOUT: Final = 5.0
#: How long it may take to put a peer connection away, in seconds. It takes a few milliseconds.
_DISPOSE_SECONDS: Final = 2.0


class WebRtcTransport(Transport):
    """A link over a peer connection."""

    def __init__(self, side: Side, loop: LoopThread, options: LinkOptions) -> None:
        self.max_message_size = options.max_message_size
        self._side: Side = side
        self._loop = loop
        self._options = options
        self._inbox = Inbox()
        self._texts = TextsOut()
        self._sound = SoundOut()
        self._token = trio.lowlevel.current_trio_token()
        self._peer: Peer | None = None
        self._peers: list[Peer] = []
        #: What the user sends, as far as the bot was told (or, at the bot's end, was told).
        self.tracks: dict[TrackName, bool] = {"microphone": True, "camera": False, "screen": False}
        self._goodbye = trio.CancelScope()
        self._goodbye_over: trio.Event | None = None

    def __repr__(self) -> str:
        state = "open" if self.end is None else str(self.end)
        return f"<{type(self).__name__} of the {self._side}: {state}>"

    @property
    def end(self) -> LinkEnd | None:
        """How the link ended, None while it has not."""
        return self._inbox.end

    @property
    def dropped_seconds(self) -> float:
        """How much sound came in that this program was too busy to take."""
        return self._inbox.dropped_sounds * 0.02

    # -- peers --

    def _make_peer(self, ice_servers: Sequence[IceServer] = ()) -> Peer:
        options = self._options
        settings = PeerSettings(
            side=self._side,
            ice_servers=ice_servers,
            sample_rate=options.audio_out_sample_rate,
            ping_interval=min(options.ping_interval or _PING_INTERVAL, _MAX_PING_INTERVAL),
            silence_timeout=options.ping_timeout or _SILENCE_TIMEOUT,
            max_receive_size=options.max_receive_size,
        )
        queues = PeerQueues(
            inbox=self._inbox,
            texts=self._texts,
            sound=self._sound,
            wants_video=lambda: self.wants_video,
            on_signal=self._note_signal,
            on_end=lambda: self._tell(self._note_end),
        )
        peer = Peer(settings, queues)
        self._peers.append(peer)
        return peer

    def _tell(self, function: Callable[[], object]) -> None:
        """Call something in trio's thread, once however often this is asked. For the loop's."""
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(function, idempotent=True)

    def _note_signal(self, signal: dict[str, Any]) -> None:
        """The other side has signalled something. Called in the loop's thread."""

    def _note_end(self) -> None:
        self._texts.finish()
        self._sound.finish()
        self._inbox.awake()

    async def _put_away(self, peer: Peer) -> None:
        """Close a peer, and leave nothing of it behind."""
        if peer in self._peers:
            self._peers.remove(peer)
            with trio.move_on_after(_DISPOSE_SECONDS, shield=True):
                await self._loop.run(peer.close, owner=peer.owner)

    async def dispose(self) -> None:
        """Leave nothing behind. The link has ended, or nobody has had it."""
        for peer in tuple(self._peers):
            await self._put_away(peer)

    # -- receiving --

    async def receive(self) -> Incoming:
        """Return what arrives next. Cancelling loses nothing."""
        while True:
            await self._inbox.wait()
            item = self._inbox.take()
            if item is not None:
                return item
            if self._inbox.is_over:
                raise trio.EndOfChannel

    # -- sending --

    async def send_message(self, text: str) -> None:
        """Send a message. Waits while the link is backed up. Cancelled: nothing was sent."""
        await self._send(text)

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message, which nobody expects: for servers that misbehave on purpose."""
        await self._send(data)

    async def _send(self, data: str | bytes) -> None:
        await self._texts.wait_room()
        self._texts.put(data)
        if self._peer is not None:
            self._loop.call_soon(self._peer.flush)

    async def send_audio(self, chunk: AudioChunk) -> None:
        """Send audio. It is heard in real time: a fifth of a second waits, and then the sender."""
        await self._sound.put(chunk)

    async def send_video(self, frame: VideoFrame) -> None:
        """Send a picture. One that was not encoded yet is replaced by it.

        Raises:
            ValueError: it is one that can't be encoded: of one row or column.
        """
        if frame.format == "yuv420p":
            await trio.lowlevel.checkpoint()
        else:
            frame = await trio.to_thread.run_sync(frame.converted, "yuv420p")
        if self.end is not None:
            raise trio.BrokenResourceError("the link has ended")
        if self._peer is not None:
            self._loop.call_soon(self._peer.show, frame)

    async def announce_track(self, track: TrackName, *, enabled: bool) -> None:
        """Tell the bot that the user's microphone, camera or screen is on or off."""
        await self._texts.wait_room()
        self.tracks[track] = enabled
        self._announce(track)

    def _announce(self, track: TrackName) -> None:
        if self._peer is not None:
            status = {
                "type": "trackStatus",
                "receiver_index": TRACKS.index(track),
                "enabled": self.tracks[track],
            }
            self._loop.call_soon(self._peer.signal, status)

    # -- ending --

    def _finish(self, end: LinkEnd) -> None:
        self._inbox.finish(end)
        self._note_end()

    async def aclose(self, code: int = 1000, text: str = "") -> None:
        """Close the data channel, when what was sent is there. Cancelling closes without the wait.

        There is no word for `code` and `text` on this wire; the other side sees an orderly end.
        """
        if self.end is None:
            await self._say_goodbye(LinkEnd(code=code, text=text, first=self._side))
        elif self._goodbye_over is not None and not self._goodbye_over.is_set():
            # Another task is about it.
            try:
                await self._goodbye_over.wait()
            except trio.Cancelled:
                self._goodbye.cancel()
                raise
        else:
            await self.dispose()
        await trio.lowlevel.checkpoint()

    async def _say_goodbye(self, end: LinkEnd) -> None:
        self._goodbye_over = trio.Event()
        self._inbox.holds_end = True
        self._finish(end)
        try:
            with self._goodbye:
                await self._settle()
                if self._peer is not None:
                    await self._loop.run(self._peer.say_goodbye, owner=self._peer.owner)
        except trio.BrokenResourceError:
            pass  # it is put away already
        finally:
            await self.dispose()  # noqa: ASYNC102  # it has a shield and a deadline
            self._inbox.holds_end = False
            self._inbox.awake()
            self._goodbye_over.set()

    async def _settle(self) -> None:
        """See to it that one peer carries the link, before it says goodbye."""

    async def abort(self, detail: str) -> None:
        """Be gone at once, without a goodbye: the other side has to find out."""
        self._finish(LinkEnd(code=1006, first="network", detail=detail))
        for peer in tuple(self._peers):
            with trio.move_on_after(_DISPOSE_SECONDS, shield=True):
                await self._loop.run(peer.vanish, owner=peer.owner)
        await self.dispose()
        await trio.lowlevel.checkpoint()

    def freeze(self) -> None:
        """Hear and say nothing any more, but stay: what half-open looks like."""
        for peer in self._peers:
            self._loop.call_soon(peer.freeze)
