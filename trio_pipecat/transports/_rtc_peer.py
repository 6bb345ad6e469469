"""One peer connection, at either end. With `_rtc_tracks` the only file that knows aiortc.

Theory of operation
-------------------
A `Peer` lives in the loop's thread: whatever is not said to be trio's is called there. What comes
goes into the `Inbox`; what is to go out lies in `TextsOut` and `SoundOut`, which belong to the link
and outlive a peer that is replaced.

The order of the media is the contract: microphone, camera, screen, then the data channel. All share
one transport (max-bundle). Pipecat tells the tracks apart by their place, not by their names.

Three things aiortc does not do are done here:

* **Finding out.** Its ICE takes half a minute to notice that the other side is gone. Here a ping
  goes out every second, which the other side's SCTP acknowledges, so there is always something to
  hear. Pipecat's server takes the first ping as a promise: three seconds without another, and it
  puts away what it is sent, for good. So one goes before every message, if the last is old: a
  process that was stopped for a while loses nothing.
* **Delivering before leaving.** Closing aborts SCTP. A goodbye closes the data channel first, which
  the other side confirms when it has everything.
* **Ending what it started.** Closed in the middle of connecting, it leaves tasks behind; the
  `TaskOwner` ends them.
"""

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias, final

import attrs
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.sdp import candidate_from_sdp

from .._errors import ProtocolError, TransportStartError
from .._ice import IceServer
from .._state import Side
from .._wire import Json
from ..video import VideoFrame
from ..video._frame import PictureSource
from ._abc import LinkEnd, TrackName, Undecodable
from ._inbox import Inbox
from ._loop_thread import TaskOwner
from ._rtc_sound_in import SoundIn, SoundReader, take_packets
from ._rtc_tracks import OPUS, PictureTrack, SoundTrack, from_av
from ._sound_out import SoundOut
from ._texts_out import TextsOut

logger: Final = logging.getLogger("trio_pipecat")

#: The places of the tracks in an offer.
TRACKS: Final[tuple[TrackName, ...]] = ("microphone", "camera", "screen")
#: How often we look whether anything has come, in seconds.
_TICK: Final = 0.5
#: A message is not sent without a ping before it if the last one is older than this, in seconds.
#: Pipecat's server counts to three.
_OLD_PING: Final = 1.5
#: So much is handed to aiortc at a time, in bytes; the rest waits where it can be counted.
_CHANNEL_ROOM: Final = 64 * 1024
#: How long a peer connection may take to close, in seconds. It takes a few milliseconds.
_CLOSE_SECONDS: Final = 1
#: How often a goodbye looks whether everything is sent, in seconds.
_DRAIN_TICK: Final = 0.01
_LABEL: Final = "chat"

#: A candidate of ours: how it is written, and which media section it is for.
LocalCandidate: TypeAlias = tuple[str, str, int]


@attrs.frozen(kw_only=True)
class PeerSettings:
    """What a peer is told beside its queues. Times in seconds, sizes in bytes."""

    side: Side
    ice_servers: Sequence[IceServer] = ()
    sample_rate: int = 24_000
    ping_interval: float = 1
    silence_timeout: float = 5
    max_receive_size: int = 2**24


@attrs.frozen(kw_only=True)
class PeerQueues:
    """What connects a peer with its link. What is called is called in the loop's thread.

    `on_signal` is given what the other side signals, but for its goodbye. Pictures that nobody
    wants are not worth the work of taking them out of their frames.
    """

    inbox: Inbox
    texts: TextsOut
    sound: SoundOut
    wants_video: Callable[[], bool]
    on_signal: Callable[[dict[str, Any]], object]
    on_end: Callable[[], object]


@final
class Peer:
    """One peer connection. It is made in trio's thread, and used in the loop's."""

    def __init__(self, settings: PeerSettings, queues: PeerQueues) -> None:
        #: To be given to `LoopThread.run`, so that nothing it starts is left.
        self.owner = TaskOwner()
        #: Why it ended, once it has.
        self.end: LinkEnd | None = None
        self._settings = settings
        self._queues = queues
        self._other_side: Side = "bot" if settings.side == "client" else "client"
        #: False: another has taken its place, and what it hears is nobody's business.
        self._counts = True
        #: True: its end is the link's.
        self._carries_link = False
        self._pc: RTCPeerConnection | None = None
        self._channel: RTCDataChannel | None = None
        self._sound_begun = asyncio.Event()
        if settings.side == "client":
            self._sound_begun.set()
        self._microphone: SoundTrack | None = None
        self._cameras: dict[str, PictureTrack] = {}
        self._gathering: asyncio.Task[None] | None = None
        self._has_way = self._is_encrypted = False
        self._changed = asyncio.Event()
        self._closed = asyncio.Event()
        self._leaving = False
        self._heard = 0
        self._last_ping = 0.0
        self._was_pinged = False

    def __repr__(self) -> str:
        ended = "closed" if self._leaving else "new"
        state = ended if self._pc is None else self._pc.connectionState
        return f"<Peer of the {self._settings.side}: {state}>"

    # -- offering and answering --

    async def make_offer(self, *, gather: bool = True) -> str:
        """Return an offer, with our candidates in it unless they shall follow later."""
        if self._pc is None:
            pc = self._make_connection()
            self._microphone = SoundTrack(self._queues.sound, self._sound_begun)
            sound = pc.addTransceiver(self._microphone, direction="sendrecv")
            # Packets of anything else we have none.
            sound.setCodecPreferences(OPUS)
            for name, direction in (("camera", "sendrecv"), ("screen", "sendonly")):
                self._cameras[name] = PictureTrack()
                pc.addTransceiver(self._cameras[name], direction=direction)
            self._take_channel(pc.createDataChannel(_LABEL, ordered=True))
        else:
            pc = self._pc
        offer = await pc.createOffer()
        self._gathering = asyncio.ensure_future(pc.setLocalDescription(offer))
        if not gather:
            await asyncio.sleep(0)  # it is ours from its first step on
            return str(offer.sdp)
        await self._gathering
        return str(pc.localDescription.sdp)

    async def wait_gathered(self) -> None:
        """Wait until our candidates are known."""
        if self._gathering is not None:
            # Whoever gives up waiting closes all this; but a task that waits is not this one's.
            await asyncio.shield(self._gathering)

    async def local_candidates(self) -> list[LocalCandidate]:
        """Return our candidates, once they are all known."""
        pc = self._pc
        if pc is None or self._gathering is None:
            return []
        await self.wait_gathered()
        section = re.split(r"(?m)^m=", pc.localDescription.sdp)[1]
        mid = re.search(r"(?m)^a=mid:(\S+)", section)
        found = re.findall(r"(?m)^a=(candidate:[^\r\n]+)", section)
        return [(candidate, "0" if mid is None else mid[1], 0) for candidate in found]

    async def take_answer(self, sdp: str) -> None:
        """Connect to whoever has answered.

        Raises:
            TransportStartError: the answer is no answer to our offer.
        """
        assert self._pc is not None
        try:
            await self.wait_gathered()
            await self._pc.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="answer"))
        except Exception as error:
            detail = f"the answer does not fit our offer: {_words_of(error)}"
            raise TransportStartError("offer", detail) from error
        self._note_direction()

    async def make_answer(self, sdp: str) -> str:
        """Answer an offer, the first or a later one.

        Raises:
            ProtocolError: it is no offer.
        """
        if self._pc is None:
            pc = self._make_connection()
            pc.on("datachannel", self._take_channel)
        else:
            pc = self._pc
        if "m=audio" in sdp and "opus/48000" not in sdp.lower():
            raise ProtocolError("no offer: of its sound nothing is Opus")
        try:
            await pc.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="offer"))
            self._attach_tracks(pc)
            await pc.setLocalDescription(await pc.createAnswer())
        except Exception as error:
            raise ProtocolError(f"no offer: {_words_of(error)}") from error
        if not pc.getTransceivers():
            raise ProtocolError("no offer: it has no media")
        self._note_direction()
        return str(pc.localDescription.sdp)

    def _note_direction(self) -> None:
        """Is our sound wanted? Nobody would take it, and whoever sends it would wait for ever."""
        assert self._pc is not None
        tracks = self._pc.getTransceivers()
        found = [track.currentDirection for track in tracks if track.kind == "audio"]
        self._queues.sound.want(found[:1] in (["sendrecv"], ["sendonly"]))

    async def add_candidate(self, candidate: str, mid: str | None, index: int | None) -> None:
        """Take a candidate of the other side's; an empty one is the last.

        Raises:
            ProtocolError: it is none, or the connection is closed.
        """
        if self._pc is None:
            raise ProtocolError("no candidate: there is no connection")
        try:
            found = None
            if candidate:
                found = candidate_from_sdp(candidate.removeprefix("candidate:"))
                found.sdpMid, found.sdpMLineIndex = mid, index
            await self._pc.addIceCandidate(found)
        except Exception as error:
            raise ProtocolError(f"no candidate: {_words_of(error)}") from error

    def _make_connection(self) -> RTCPeerConnection:
        servers = [
            RTCIceServer(
                urls=list(server.urls), username=server.username, credential=server.credential
            )
            for server in self._settings.ice_servers
        ]
        # None would be a server of Google's.
        configuration = RTCConfiguration(
            iceServers=servers, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE
        )
        self._pc = pc = RTCPeerConnection(configuration)
        pc.on("connectionstatechange", self._note_state)
        pc.on("iceconnectionstatechange", self._note_state)
        pc.on("track", self._take_track)
        return pc

    def _attach_tracks(self, pc: RTCPeerConnection) -> None:
        """Send sound and pictures on the first of each kind, as Pipecat's server does."""
        kinds = set()
        for transceiver in pc.getTransceivers():
            is_first = transceiver.kind not in kinds
            kinds.add(transceiver.kind)
            transceiver.direction = "sendrecv" if is_first else "recvonly"
            present: Any = transceiver.sender.track
            if not is_first or present is not None:
                continue
            if transceiver.kind == "audio":
                self._microphone = SoundTrack(self._queues.sound, self._sound_begun)
                transceiver.sender.replaceTrack(self._microphone)
            else:
                self._cameras["camera"] = PictureTrack()
                transceiver.sender.replaceTrack(self._cameras["camera"])

    # -- connecting --

    async def wait_ice(self) -> bool:
        """Wait until there is a way to the other side; False: there is none to be had."""
        await self._wait(lambda: self._has_way)
        return self._has_way

    async def wait_connected(self) -> bool:
        """Wait until it is encrypted, too; False: it won't be."""
        await self._wait(lambda: self._is_encrypted)
        return self._is_encrypted

    async def wait_open(self) -> None:
        """Wait until messages can be sent."""
        await self._wait(self._is_open)

    async def _wait(self, is_so: Callable[[], bool]) -> None:
        while not is_so() and self.end is None:
            self._changed.clear()
            await self._changed.wait()

    def _is_open(self) -> bool:
        return self._channel is not None and self._channel.readyState == "open"

    def _note_state(self) -> None:
        pc = self._pc
        assert pc is not None
        # What comes next may have failed before anybody has looked.
        self._has_way |= pc.iceConnectionState == "completed"
        self._is_encrypted |= pc.connectionState == "connected"
        if pc.connectionState == "failed":
            how = "ICE" if pc.iceConnectionState == "failed" else "encryption"
            self._finish(LinkEnd(code=1006, first="network", detail=f"{how} failed"))
        elif pc.connectionState == "closed" and not self._leaving:
            self._lose_channel()
        self._changed.set()

    # -- the data channel --

    def _take_channel(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        channel.bufferedAmountLowThreshold = _CHANNEL_ROOM // 2
        channel.on("message", self._hear)
        channel.on("bufferedamountlow", self.flush)
        channel.on("close", self._channel_closed)
        if channel.readyState == "open":
            self._channel_open()
        else:
            channel.on("open", self._channel_open)

    def _channel_open(self) -> None:
        self._changed.set()
        self.owner.start(self._keep_alive())
        self.flush()

    def _channel_closed(self) -> None:
        self._closed.set()
        if not self._leaving:
            self._lose_channel()

    def _lose_channel(self) -> None:
        """The other side has closed, without a word: clients do so, Pipecat's server does not."""
        if self._settings.side == "bot":
            self._finish(LinkEnd(code=1000, first="client"))
        else:
            detail = "the bot closed the data channel without a goodbye"
            self._finish(LinkEnd(code=1006, first="bot", detail=detail))

    def _hear(self, data: str | bytes) -> None:
        self._heard += 1
        if not self._counts:
            return
        if isinstance(data, str) and data.startswith("ping"):
            self._was_pinged = True
            return
        limit = self._settings.max_receive_size
        if len(data) > limit:
            detail = f"a message of over {limit} bytes came"
            self._finish(LinkEnd(code=1009, first=self._settings.side, detail=detail))
        elif isinstance(data, bytes):
            self._put(Undecodable("a message of bytes, where there are only texts", raw=data[:64]))
        elif (signal := _read_signal(data)) is None:
            self._put(data)
        elif signal.get("type") == "peerLeft":
            self._finish(LinkEnd(code=1000, first=self._other_side))
        else:
            self._queues.on_signal(signal)

    def _put(self, item: str | Undecodable) -> None:
        if not self._queues.inbox.put_message(item):
            detail = "this program does not read its messages"
            self._finish(LinkEnd(code=1006, first=self._settings.side, detail=detail))

    def flush(self) -> None:
        """Hand over what waits to be sent, as far as there is room."""
        channel, texts = self._channel, self._queues.texts
        if channel is None or not self._counts:
            return
        while texts and channel.readyState == "open" and channel.bufferedAmount < _CHANNEL_ROOM:
            if self._settings.side == "client" and time.monotonic() - self._last_ping > _OLD_PING:
                self._ping()
            self._send(texts.take())

    def signal(self, message: dict[str, Any]) -> None:
        """Send a signal, which is no RTVI message."""
        self._send(json.dumps({"type": "signalling", "message": message}))

    def _ping(self) -> None:
        self._last_ping = time.monotonic()
        self._send(f"ping: {time.time() * 1000:.0f}")

    def _send(self, text: str | bytes) -> None:
        if self._channel is not None and self._channel.readyState == "open":
            try:
                self._channel.send(text)
            except ValueError as error:
                # The other side does not take it. Clients look before; Pipecat's server loses it.
                logger.debug("not sent: %s", error)

    # -- finding out --

    async def _keep_alive(self) -> None:
        """Ping, and find out when nothing comes any more."""
        settings = self._settings
        is_client = settings.side == "client"
        silent, heard, packets = 0, -1, -1
        while self.end is None:
            now = time.monotonic()
            if is_client and now - self._last_ping > settings.ping_interval - _TICK / 2:
                self._ping()
            await asyncio.sleep(min(_TICK, settings.silence_timeout / 2))
            if self._heard != heard:
                silent, heard = 0, self._heard
                continue
            received = await self._count_packets()
            # Counted, not measured: a process that was stopped has heard nothing for as long.
            silent = 0 if received != packets else silent + 1
            packets = received
            knows = is_client or self._was_pinged
            if knows and silent and (silent + 1) * _TICK >= settings.silence_timeout:
                who, seconds = self._other_side, settings.silence_timeout
                detail = f"nothing came from the {who} for {seconds:g} s"
                self._finish(LinkEnd(code=1006, first="network", detail=detail))

    async def _count_packets(self) -> int:
        """Return how many packets of whatever kind have come."""
        assert self._pc is not None
        report = await self._pc.getStats()
        return sum(stat.packetsReceived for stat in report.values() if stat.type == "transport")

    # -- sound and pictures --

    def _take_track(self, track: MediaStreamTrack) -> None:
        assert self._pc is not None
        receivers = [transceiver.receiver for transceiver in self._pc.getTransceivers()]
        place = next(n for n, receiver in enumerate(receivers) if receiver.track is track)
        if track.kind == "video":
            source: PictureSource = "screen" if place > 1 else "camera"
            self.owner.start(self._read_pictures(track, source))
        elif not take_packets(
            receivers[place], SoundIn(self._settings.sample_rate, self._hear_sound)
        ):
            self.owner.start(self._read_sound(track))

    def _hear_sound(self, pcm: bytes) -> None:
        self._heard += 1
        if self._counts:
            self._queues.inbox.put_sound(pcm, self._settings.sample_rate)

    async def _read_sound(self, track: MediaStreamTrack) -> None:
        reader = SoundReader(self._settings.sample_rate)

        def read(frame: Any) -> None:
            pcm = reader.read(frame)
            if pcm:
                self._hear_sound(pcm)

        await self._read(track, read)

    async def _read_pictures(self, track: MediaStreamTrack, source: PictureSource) -> None:
        def read(picture: Any) -> None:
            self._heard += 1
            if self._queues.wants_video() and self._counts:
                self._queues.inbox.put_picture(from_av(picture, source))

        await self._read(track, read)

    async def _read(self, track: MediaStreamTrack, read: Callable[[Any], None]) -> None:
        """Read a track to its end. aiortc keeps what nobody reads, so everything is read."""
        with suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                try:
                    read(frame)
                except Exception as error:
                    # A picture of one column, say. The next may be better.
                    logger.debug("of no use: %r: %s", frame, error)

    def begin_sound(self) -> None:
        """Send sound from now on, and silence between. A bot does when its pipeline runs."""
        self._sound_begun.set()

    def show(self, frame: VideoFrame) -> None:
        """Send a picture."""
        camera = self._cameras.get(frame.source)
        if camera is not None:
            camera.put(frame)

    # -- ending --

    async def count(self, counts: bool) -> None:
        """Say whether this is the peer that carries the link; if it has ended, that has, too."""
        self._counts = self._carries_link = counts
        if self._microphone is not None:
            self._microphone.counts = counts
        if counts and self.end is not None:
            self._tell(self.end)
        self.flush()

    def _finish(self, end: LinkEnd) -> None:
        if self.end is None:
            self.end = end
            if self._carries_link:
                self._tell(end)
        self._changed.set()

    def _tell(self, end: LinkEnd) -> None:
        self._queues.inbox.finish(end)
        self._queues.on_end()

    async def say_goodbye(self) -> None:
        """Send what waits, and close the data channel when the other side has it all."""
        channel, queues = self._channel, self._queues
        while self._is_open() and (queues.texts or queues.sound.depth > 0):  # noqa: ASYNC110
            await asyncio.sleep(_DRAIN_TICK)
        if channel is None or not self._is_open():
            return
        if self._settings.side == "bot":
            self.signal({"type": "peerLeft"})
        self._leaving = True
        channel.close()
        await self._closed.wait()

    async def vanish(self) -> None:
        """Be gone from the network, without a word."""
        self._leaving = True
        if self._pc is not None:
            for transceiver in self._pc.getTransceivers()[:1]:
                await transceiver.receiver.transport.transport.stop()

    def freeze(self) -> None:
        """Be gone from the network, and let nobody know, not even this side."""
        self._counts = False
        self.owner.start(self.vanish())

    async def close(self) -> None:
        """Close, and leave nothing behind."""
        self._leaving, self._counts = True, False
        for camera in self._cameras.values():
            camera.stop()
        try:
            if self._pc is not None:
                with suppress(asyncio.TimeoutError, Exception):
                    await asyncio.wait_for(self._pc.close(), _CLOSE_SECONDS)
        finally:
            await self.owner.reap()
            # Whoever keeps a session that is over keeps this: let it be little.
            self._pc = self._channel = self._microphone = self._gathering = None
            self._cameras.clear()


def _words_of(error: Exception) -> str:
    return str(error) or type(error).__name__


def _read_signal(text: str) -> dict[str, Any] | None:
    """Return the signal that a message is; None: it is a message."""
    if '"signalling"' not in text:
        return None
    try:
        value: Json = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or value.get("type") != "signalling" or "label" in value:
        return None
    message = value.get("message")
    return message if isinstance(message, dict) else {}
