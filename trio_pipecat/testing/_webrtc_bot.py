"""A bot's end of WebRTC: what answers a client's offer, and is a link from then on."""

import itertools
from contextlib import suppress
from typing import Any, Final, final
from uuid import uuid4

import trio

from ..audio import AudioChunk
from ..transports import LinkOptions, TrackName
from ..transports._loop_thread import LoopThread
from ..transports._rtc_peer import TRACKS
from ..transports._signalling import largest_message
from ..transports._webrtc_link import WebRtcTransport

_numbers: Final = itertools.count()


@final
class WebRtcBotTransport(WebRtcTransport):
    """The bot's end of a link."""

    def __init__(self, loop: LoopThread, options: LinkOptions) -> None:
        super().__init__("bot", loop, options)
        self.pc_id = ""
        self.is_open = False
        self._is_heard = False

    async def answer(self, sdp: str) -> str:
        """Answer the first offer, or one that replaces what there is.

        Raises:
            ProtocolError: it is no offer.
        """
        old, peer = self._peer, self._make_peer()
        try:
            answer = await self._loop.run(peer.make_answer, sdp, owner=peer.owner)
        except BaseException:
            await self._put_away(peer)  # noqa: ASYNC102  # it has a shield and a deadline
            raise
        if old is not None:
            await self._loop.run(old.count, False)
        self._peer = peer
        if self._is_heard:
            self._loop.call_soon(peer.begin_sound)
        self.pc_id = f"SimulatedConnection#{next(_numbers)}-{uuid4().hex}"
        self.max_message_size = largest_message(sdp)
        await self._loop.run(peer.count, True)
        if old is not None:
            await self._put_away(old)
        return answer

    async def answer_again(self, sdp: str) -> str:
        """Answer another offer for the connection there is.

        Raises:
            ProtocolError: it is no offer.
        """
        assert self._peer is not None
        return await self._loop.run(self._peer.make_answer, sdp, owner=self._peer.owner)

    async def add_candidate(self, candidate: str, mid: str | None, index: int | None) -> None:
        """Take one of the client's candidates.

        Raises:
            ProtocolError: it is none.
        """
        if self._peer is not None:
            owner = self._peer.owner
            await self._loop.run(self._peer.add_candidate, candidate, mid, index, owner=owner)

    async def wait_open(self) -> None:
        """Wait until messages can be sent, or there is an end."""
        peer = None
        while peer is not self._peer and self._peer is not None:
            peer = self._peer
            with suppress(trio.BrokenResourceError):  # another has taken its place
                await self._loop.run(peer.wait_open, owner=peer.owner)
                self.is_open = True

    def ask_to_renegotiate(self) -> None:
        """Have the client offer again, as a bot that has missed pictures."""
        if self._peer is not None:
            self._loop.call_soon(self._peer.signal, {"type": "renegotiate"})

    async def send_message(self, text: str) -> None:
        """Send a message. From the first thing that is sent on, silence is sent, too."""
        self._begin_sound()
        await super().send_message(text)

    async def send_audio(self, chunk: AudioChunk) -> None:
        """Send audio; likewise."""
        self._begin_sound()
        await super().send_audio(chunk)

    def _begin_sound(self) -> None:
        if not self._is_heard and self._peer is not None:
            self._is_heard = True
            self._loop.call_soon(self._peer.begin_sound)

    async def send_interruption(self) -> None:
        """Forget what was not heard yet. The wire has no signal for it.

        Raises:
            UnsupportedFeatureError: always.
        """
        self._loop.call_soon(self._sound.clear)
        await super().send_interruption()

    def _note_signal(self, signal: dict[str, Any]) -> None:
        place = signal.get("receiver_index")
        known: dict[Any, TrackName] = dict(enumerate(TRACKS))
        if signal.get("type") == "trackStatus" and isinstance(place, int) and place in known:
            self.tracks[known[place]] = bool(signal.get("enabled"))
