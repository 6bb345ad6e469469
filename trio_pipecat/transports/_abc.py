"""What a link to a bot is, whatever carries it.

A transport knows a wire and nothing of sessions; it moves two things, messages and audio, and tells
how it ended. It need not be a WebSocket, nor one socket, nor speak RTVI: one that doesn't says so,
and its session is ready at the first sign of life.

Rules that every transport keeps, and that `Session` relies on:

* `receive` yields everything that arrived before the end, and only then raises `trio.EndOfChannel`;
  after that, `end` says how the link ended.
* Sending waits first and hands over last: when ``send_…`` is cancelled nothing was sent, and when
  it has handed over it returns in the same step, without another checkpoint. So a message is sent
  whole or not at all, and a sender that goes on to wait for the answer cannot miss it.
* `receive` is a checkpoint each time.
* As long as `receive` is called the link is read, so that keepalives are answered; a sender that
  waits keeps nobody from reading.
* `aclose` says goodbye as the wire does it and waits for the other side's; when it is cancelled it
  closes all the same, without the wait. It may be called often, and while `receive` waits.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from ssl import SSLContext
from typing import ClassVar, Literal, Protocol, TypeAlias

import attrs
import trio

from .._errors import UnsupportedFeatureError
from .._params import ConnectParams, TokenPlace
from .._state import Side
from ..audio import AudioChunk
from ..video import VideoFrame

#: What a user sends: said by name where a wire tells the bot that it begins or ends.
TrackName: TypeAlias = Literal["microphone", "camera", "screen"]


@attrs.frozen
class Interruption:
    """The wire's own signal that the bot was interrupted (or, towards the bot: interrupt it)."""


@attrs.frozen
class Undecodable:
    """Something arrived that is no message and no audio. `raw` is what it was."""

    detail: str
    raw: bytes = attrs.field(default=b"", repr=False)


#: What `Transport.receive` gives: the text of a message, audio, a picture, or one of the rarer two.
Incoming: TypeAlias = str | AudioChunk | VideoFrame | Interruption | Undecodable


@attrs.frozen(kw_only=True)
class LinkEnd:
    """How a link ended.

    `code` and `text` are WebSocket's close code and reason, or what comes closest on another wire
    (1000: in order; 1006: without a goodbye). `first` is who ended it; `detail` adds what this side
    knows.
    """

    code: int
    text: str = ""
    first: Side
    detail: str = ""

    @property
    def orderly(self) -> bool:
        """A goodbye: done, or going away, or closed without a word."""
        return self.code in (1000, 1001, 1005)


class Transport(ABC):
    """One open link. Made by a `Connector`."""

    #: False for wires that carry audio and no RTVI messages.
    speaks_rtvi: ClassVar[bool] = True
    #: The largest message, in bytes of UTF-8, that this link takes.
    max_message_size: int
    #: Set by the session while somebody wants the bot's pictures: taking them out costs something.
    wants_video: bool = False
    #: Cleared by the session while nobody wants the bot's sound. Then a transport may leave what
    #: is like the last chunk it gave out: of the same rate and number of channels, in whole frames.
    wants_audio: bool = True
    #: Set by the session to be given sound as it comes, which saves a turn of the scheduler for
    #: each chunk. False: not now, have it received. Only sound that comes after everything else was
    #: received may go this way, and a transport need not use it.
    on_audio: Callable[[AudioChunk], bool] | None = None

    @property
    @abstractmethod
    def end(self) -> LinkEnd | None:
        """How the link ended, None while it has not."""

    @abstractmethod
    async def receive(self) -> Incoming:
        """Return what arrives next. Cancelling loses nothing.

        Raises:
            trio.EndOfChannel: the link has ended, and everything that came was received.
        """

    @abstractmethod
    async def send_message(self, text: str) -> None:
        """Send a message. Waits while the link is backed up. Cancelled: nothing was sent.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: the link has ended.
        """

    @abstractmethod
    async def send_audio(self, chunk: AudioChunk) -> None:
        """Send audio; otherwise as `send_message`."""

    def send_audio_nowait(self, chunk: AudioChunk) -> bool:
        """Send audio, if that needs no waiting. False: `send_audio` it has to be.

        It saves a turn of the scheduler for each frame, and there are fifty a second. A transport
        need not have it.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: the link has ended.
        """
        return False

    async def send_video(self, frame: VideoFrame) -> None:
        """Send a picture, on wires that have them; otherwise as `send_message`.

        What can't be sent in time may be dropped: the next one replaces it.

        Raises:
            UnsupportedFeatureError: this wire has none.
        """
        await trio.lowlevel.checkpoint()
        raise UnsupportedFeatureError("video", "WebRTC")

    async def announce_track(self, track: TrackName, *, enabled: bool) -> None:
        """Tell the bot that the user's microphone, camera or screen is on or off.

        Wires that have no word for it say nothing. Otherwise as `send_message`.
        """
        await trio.lowlevel.checkpoint()

    async def restart(self) -> None:
        """Replace what carries the link, without losing the bot: for a network that has changed.

        What was announced of tracks is announced again. What was sent before and did not arrive is
        lost. When it fails, or is cancelled, the link goes on as it was, or has ended, if the other
        side has given it up.

        Raises:
            TransportStartError: there is no other way to the bot.
            trio.BrokenResourceError, trio.ClosedResourceError: the link has ended.
            UnsupportedFeatureError: this wire has no such thing.
        """
        await trio.lowlevel.checkpoint()
        raise UnsupportedFeatureError("restarting the connection", "WebRTC")

    async def send_interruption(self) -> None:
        """Interrupt the bot, on wires that have a signal for it; otherwise as `send_message`.

        Raises:
            UnsupportedFeatureError: this wire has none.
        """
        await trio.lowlevel.checkpoint()
        raise UnsupportedFeatureError("interrupting the bot", "a transport with a signal for it")

    @abstractmethod
    async def aclose(self, code: int = 1000, text: str = "") -> None:
        """Say goodbye, wait for the other side's, close. Cancelling it closes without the wait."""

    @abstractmethod
    async def abort(self, detail: str) -> None:
        """Be gone at once, without a goodbye; `detail` says why, for `end`."""


class OnStage(Protocol):
    """Is told each step of an opening as it begins, and what may be the matter if it takes long."""

    def __call__(self, stage: str, hint: str = "") -> object:
        """Note it."""


def _ignore(stage: str, hint: str = "") -> None:
    """Nobody wants to know."""


@attrs.frozen(kw_only=True)
class LinkOptions:
    """What a transport is told beside where to go. Times in seconds, sizes in bytes.

    `on_stage` is told each step of the opening as it begins, so that a deadline that strikes can
    say where. `grace` is for the goodbye when nobody has called `aclose`. A ping interval or
    timeout of None is the wire's own. `audio_out_sample_rate` is how the bot's sound is wanted on
    wires where that can be chosen. The last two are for wires with ICE: how long its servers may
    take, and whether our candidates follow the offer.
    """

    headers: Mapping[str, str] = attrs.field(factory=dict, repr=lambda headers: str([*headers]))
    origin: str | None = None
    token_in: TokenPlace = "header"
    allow_insecure_token: bool = False
    ssl_context: SSLContext | None = attrs.field(default=None, repr=False)
    ping_interval: float | None = None
    ping_timeout: float | None = None
    grace: float = 3
    max_message_size: int = 2**20
    max_receive_size: int = 2**24
    audio_out_sample_rate: int = 24_000
    gather_timeout: float = 2
    trickle_ice: bool = False
    on_stage: OnStage = attrs.field(default=_ignore, repr=False)


#: Opens a link: an async context manager that gives a `Transport` which works, and which on leaving
#: ends everything the transport has running. It raises `TransportStartError` where it can't.
Connector: TypeAlias = Callable[
    [ConnectParams, LinkOptions], AbstractAsyncContextManager[Transport]
]
