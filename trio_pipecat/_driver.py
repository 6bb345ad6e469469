"""The engine of a session: the one task that starts the bot, opens the link and reads it.

Theory of operation
-------------------
The driver starts the bot, opens the link, asks for ``bot-ready`` and reads until the end. What it
reads goes through `ClientProtocol`, and what comes out goes into the streams of whoever reads. It
never raises what can be expected: it puts down how the session ended (`_finish`, the one place),
wakes everyone, and the next call of each is told (`_block` decides what).

Whoever ends the session first decides why it ended: `_ending` is set once. There are three ways to
the end, and each goes through the driver:

* the link ends, and `_read` finds out;
* something here ends it (a fatal error, a deadline, a slow reader, a function that failed): the
  reading is stopped, and the driver says goodbye;
* the client hangs up (`hang_up`): it says goodbye in the task that leaves the block, and the driver
  finds the link ended.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import chain
from typing import Any, Final, NoReturn

import attrs
import trio

from ._audio_sender import AudioSender, SendsAudio
from ._block import Block
from ._bot_audio import BotAudio
from ._causes import root_cause, sole_leaf
from ._errors import (
    BotNotReadyError,
    ConnectionLostError,
    FatalBotError,
    InternalError,
    InvalidParamsError,
    MessageTooLargeError,
    PipecatError,
    ProtocolError,
    ReadyTimeoutError,
    SlowReaderError,
    StartBotError,
    TransportStartError,
    UnsupportedFeatureError,
)
from ._events import (
    AudioStarted,
    BotConnected,
    BotDisconnected,
    BotStarted,
    Connected,
    ConnectionRestarted,
    Disconnected,
    ProtocolMismatch,
    StateChanged,
)
from ._functions import FunctionCalls
from ._lifecycle import Lifecycle
from ._messages import (
    BotInterrupted,
    BotMessage,
    BotReady,
    BotStartedSpeaking,
    BotStoppedSpeaking,
    Error,
    Event,
    MalformedMessage,
)
from ._options import SessionOptions
from ._params import ConnectParams, StartedBot, without_secrets
from ._protocol import ClientProtocol, Outgoing
from ._service import Services, is_cancellation
from ._state import EndReason, SessionEnd, Side, State
from ._streams import AudioStream, Backlog, EventStream, Stream, StreamOwner, VideoStream
from ._tap import Tap
from ._targets import Plan
from ._video_sender import SendsVideo, VideoSender
from .audio import AudioChunk, Lateness
from .audio._chunk import can_sound
from .transports import (
    Incoming,
    Interruption,
    LinkOptions,
    TrackName,
    Transport,
    Undecodable,
)
from .video import VideoFrame

logger: Final = logging.getLogger("trio_pipecat")

#: How long a bot that has reported a fatal error may take to leave by itself, in seconds. Pipecat
#: needs about ten milliseconds, and says its last words meanwhile.
_LAST_WORDS: Final = 0.25
#: How long it may take to introduce ourselves on a new connection, in seconds. It takes a step.
_HELLO: Final = 1


@attrs.frozen(kw_only=True)
class Ending:
    """Why a session is ending: decided before it is over, by whoever is first."""

    reason: EndReason
    first: Side
    error: Callable[[SessionEnd], BaseException] | None = None
    #: Is the error for whoever waits for a result? A failed function's is the whole block's.
    raise_to_waiters: bool = True


class Driver(StreamOwner, SendsAudio, SendsVideo):
    """One session's engine. `run` is its task; `Session` is its face."""

    __slots__ = (
        "__weakref__",
        "_announced",
        "_audio_sender",
        "_bot_audio",
        "_ending",
        "_event_streams",
        "_hint",
        "_last_state",
        "_last_type",
        "_link",
        "_link_scope",
        "_reading",
        "_ready_again",
        "_restarting",
        "_seen",
        "_stage",
        "_video_streams",
        "_waiters",
        "_woke",
        "backlog",
        "block",
        "changed",
        "end",
        "finished",
        "functions",
        "lifecycle",
        "muted",
        "options",
        "pacing",
        "params",
        "plan",
        "protocol",
        "services",
        "started",
        "taps",
        "video_sender",
    )

    def __init__(self, plan: Plan, options: SessionOptions) -> None:
        self.plan = plan
        self.options = options
        self.lifecycle = Lifecycle()
        self.protocol = ClientProtocol(options.about)
        self.functions = FunctionCalls(self)
        self.started: StartedBot | None = plan.started
        self.params: ConnectParams | None = plan.params
        self.end: SessionEnd | None = None
        self.finished = trio.Event()
        #: Wakes whoever waits for a state, at every change and at the end.
        self.changed = trio.lowlevel.ParkingLot()
        self.backlog = Backlog(self, options.event_buffer)
        #: How late the frames of the user's voice were.
        self.pacing = Lateness()
        self.video_sender = VideoSender(self)
        #: The user's voice is sent as silence.
        self.muted = False
        #: Who is told of everything; as a rule nobody.
        self.taps: list[Tap] = []
        self.services: Services
        self.block: Block
        self._event_streams: list[EventStream[Any] | Backlog] = [self.backlog]
        self._bot_audio = BotAudio(self.fail)
        self._video_streams: list[VideoStream] = []
        self._link: Transport | None = None
        self._link_scope = trio.CancelScope()
        self._reading = trio.CancelScope()
        #: The step of the opening, and what may be the matter if it takes long.
        self._stage, self._hint = "connect", ""
        self._ending: Ending | None = None
        self._last_state = State.IDLE
        self._seen = 0
        self._last_type: str | None = None
        self._audio_sender: AudioSender | None = None
        #: What was said of the user's tracks on this connection. Unsaid, only the microphone is on.
        self._announced: dict[TrackName, bool] = {}
        self._restarting: trio.CancelScope | None = None
        #: Set when the bot is ready on another connection.
        self._ready_again: trio.Event | None = None
        self._waiters: list[trio.Event] = []
        self._woke = False

    @property
    def state(self) -> State:
        """Where the session is."""
        return self.lifecycle.state

    # -- the task --

    async def run(self) -> None:
        """Hold the session, from its start to its end; then see the body off."""
        try:
            with self._link_scope:
                try:
                    ending = await self._converse()
                except Exception as error:
                    ending = self._failure(error)
                self._ending = self._ending or ending
            if self._ending is None:
                # Nobody has ended it, so it was the deadline.
                self._ending = self._failure(self._late("the link was not open"))
        finally:
            # Even Ctrl-C, which Python may raise right here, must not leave anybody waiting.
            body_must_end = self._finish()
        if body_must_end:
            await self.block.see_off()

    async def _converse(self) -> Ending:
        if self.plan.start is not None:
            self._enter(State.AUTHENTICATING)
            self.started = await self.plan.start()
            self.params = self.started.params
            self._enter(State.AUTHENTICATED)
            answer = without_secrets(self.started.answer)
            self.emit(BotStarted(answer=answer, at=trio.current_time()))
            # Whoever waited for this goes on before anything is connected. Twice, because trio runs
            # in any order what can run: after one, they may be next.
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
        params = self.params
        if params is None:
            raise StartBotError("the bot was started without an address")
        connect = self.plan.connector_for(params)
        self._enter(State.CONNECTING)
        self._link_scope.deadline = trio.current_time() + self.options.connect_timeout
        async with connect(params, self._link_options(params)) as link:
            self._link_scope.deadline = float("inf")
            self._link = link
            link.on_audio = self._take_audio
            self._note_readers()
            self._enter(State.CONNECTED)
            self.emit(Connected(at=trio.current_time()))
            ending = await self._read(link)
            if link.end is None:
                await self._say_goodbye(link)
            return ending

    def _failure(self, error: Exception) -> Ending:
        """Say what it means that `_converse` raised: the start failed, or we have a bug."""
        starting = not self.lifecycle.reached(State.CONNECTED)
        error = sole_leaf(error)  # a connector may have a nursery
        if isinstance(error, PipecatError):
            failure: PipecatError = error
        elif isinstance(error, OSError) and starting:  # of a connector that is not ours
            failure = TransportStartError(self._stage, root_cause(error))
        else:
            failure = InternalError(f"{type(error).__name__}: {error}")
        if failure is not error:
            failure.__cause__ = error
        first: Side = "bot" if getattr(error, "status", None) is not None else "network"
        if isinstance(failure, InternalError | UnsupportedFeatureError | InvalidParamsError):
            first = "client"
        ready = self.lifecycle.reached(State.READY)
        reason: EndReason = "client" if ready else "startup_failed"
        return Ending(reason=reason, first=first, error=lambda end: failure)

    def _link_options(self, params: ConnectParams) -> LinkOptions:
        options = self.options
        return LinkOptions(
            headers=self.plan.headers_for(params, self.started),
            origin=options.origin,
            token_in=options.token_in,
            allow_insecure_token=options.allow_insecure_token,
            ssl_context=options.ssl_context,
            ping_interval=options.ping_interval,
            ping_timeout=options.ping_timeout,
            grace=options.disconnect_timeout,
            max_message_size=options.max_message_size,
            max_receive_size=options.max_receive_size,
            audio_out_sample_rate=options.audio_out_sample_rate,
            gather_timeout=options.gather_timeout,
            trickle_ice=options.trickle_ice,
            on_stage=self._note_stage,
        )

    def _note_stage(self, stage: str, hint: str = "") -> None:
        self._stage, self._hint = stage, hint

    def _late(self, what: str) -> TransportStartError:
        """Say that `what` was so at the end of `connect_timeout`, and how far it came."""
        late = f"{what} after {self.options.connect_timeout:g} s"
        return TransportStartError(self._stage, f"{late}: {self._hint}" if self._hint else late)

    async def _say_goodbye(self, link: Transport) -> None:
        if self.state is not State.DISCONNECTING:
            self._enter(State.DISCONNECTING)
        with trio.move_on_after(self.options.disconnect_timeout):
            await link.aclose()

    # -- reading --

    async def _read(self, link: Transport) -> Ending:
        """Read until the link has ended, or the reading was stopped; return why."""
        self._reading.deadline = trio.current_time() + self.options.ready_timeout
        with self._reading:
            try:
                if link.speaks_rtvi:
                    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                        await self._say_hello(link)
                while True:
                    item = await link.receive()
                    self._receive(item, link)
                    if self._woke:
                        # Whoever was woken goes on before the next event, and can wait for that.
                        self._woke = False
                        await trio.lowlevel.checkpoint()
            except trio.EndOfChannel:
                return self._ending or self._ending_of(link)
        return self._ending or Ending(
            reason="startup_failed", first="client", error=self._ready_timeout
        )

    async def _say_hello(self, link: Transport) -> None:
        for text in self.protocol.hello().texts:
            await link.send_message(text)
            self.note_sent(text)

    def _ready_timeout(self, end: SessionEnd) -> ReadyTimeoutError:
        return ReadyTimeoutError(
            self.options.ready_timeout, end.last_state, self._last_type, self._seen
        )

    def _ending_of(self, link: Transport) -> Ending:
        """Say what it means that the link has ended."""
        closed = link.end
        first: Side = "network" if closed is None else closed.first
        detail = "" if closed is None else closed.detail
        if not self.lifecycle.reached(State.READY):
            who = "the link broke" if first == "network" else "the bot closed the link"
            detail = detail or f"{who} before it was ready"
            return Ending(reason="startup_failed", first=first, error=_lost(detail))
        if closed is not None and closed.orderly and first != "client":
            return Ending(reason="bot", first=first)
        known = {1009: "a message was too large", 1011: "the server failed", 1012: "it restarts"}
        code = 1006 if closed is None else closed.code
        detail = detail or known.get(code, "it broke" if code == 1006 else "the bot closed it")
        return Ending(reason="connection_lost", first=first, error=_lost(detail))

    def _receive(self, item: Incoming, link: Transport) -> None:
        now = trio.current_time()
        if isinstance(item, AudioChunk) and min(item.sample_rate, item.num_channels) < 1:
            item = _no_sound(item)
        for tap in self.taps:
            tap.received(item, now)
        if isinstance(item, AudioChunk) and not can_sound(item):
            item = _no_sound(item)
        self._seen += 1
        if self._seen == 1:
            self.emit(BotConnected(at=now))
            if not link.speaks_rtvi:
                self._become_ready(BotReady(at=now))
        if isinstance(item, AudioChunk):
            self._receive_audio(item, now)
            return
        if isinstance(item, VideoFrame):
            self._receive_video(item)
            return
        events: list[Event]
        if isinstance(item, str):
            try:
                events = self.protocol.receive(item, at=now)
            except ProtocolError as error:
                events = [MalformedMessage(reason=str(error), raw=item, at=now)]
        elif isinstance(item, Interruption):
            self._bot_audio.interrupt()
            events = self.protocol.receive_interruption(at=now)
        elif isinstance(item, Undecodable):
            events = [MalformedMessage(reason=item.detail, raw=item.raw, at=now)]
        for event in events:
            self._handle(event)

    def _take_audio(self, chunk: AudioChunk) -> bool:
        """Give out sound as it comes, if there is nothing else to do because of it."""
        if self._ending is not None or self._woke or self.taps or not self._seen:
            return False
        if not self._bot_audio.knows_format(chunk):
            return False
        self._last_type = "audio"
        self._bot_audio.receive(chunk)
        return True

    def _receive_audio(self, chunk: AudioChunk, now: float) -> None:
        self._last_type = "audio"
        if self._bot_audio.is_new_format(chunk):
            rate, channels = chunk.sample_rate, chunk.num_channels
            self.emit(AudioStarted(sample_rate=rate, num_channels=channels, at=now))
        self._bot_audio.receive(chunk)

    def _receive_video(self, frame: VideoFrame) -> None:
        self._last_type = "video"
        for stream in self._video_streams:
            stream._feed(frame)
        self._note_readers()  # one that called `receive` may be over

    def _handle(self, event: Event) -> None:
        if isinstance(event, BotMessage):
            self._last_type = _type_of(event)
        self.emit(event)
        match event:
            case BotReady() if event is self.protocol.bot_ready:
                self._become_ready(event)
            case BotInterrupted():
                self._bot_audio.interrupt()
            case BotStartedSpeaking() | BotStoppedSpeaking():
                self._bot_audio.note_speaking(is_speaking=isinstance(event, BotStartedSpeaking))
            case Error(fatal=True):
                self._end(
                    Ending(reason="fatal_error", first="bot", error=_fatal(event.error)),
                    in_seconds=_LAST_WORDS,
                )
            case ProtocolMismatch():
                logger.warning("RTVI versions do not match: %s", event.detail)
            case _:
                self.functions.notice(event)

    def _become_ready(self, event: BotReady) -> None:
        if self.state is State.CONNECTED and self._ending is None:
            self.protocol.bot_ready = event
            self._reading.deadline = float("inf")
            self._enter(State.READY)
        elif self._ready_again is not None:
            waiter, self._ready_again = self._ready_again, None
            self.emit(ConnectionRestarted(bot=event, at=event.at))
            self.wake(waiter)

    # -- ending --

    def fail(self, error: BaseException) -> None:
        """End the session with an error of the client's own code, which leaves the block."""
        if self._ending is not None or self.end is not None:
            self.services.fail(error)
            return
        self._end(
            Ending(reason="client", first="client", error=lambda end: error, raise_to_waiters=False)
        )

    def _end(self, ending: Ending, *, in_seconds: float = 0) -> None:
        """Stop reading, and have the driver say goodbye."""
        if self._ending is not None or self.end is not None:
            return
        if ending.reason == "fatal_error" and not self.lifecycle.reached(State.READY):
            ending = attrs.evolve(ending, reason="startup_failed")
        self._ending = ending
        if in_seconds:
            self._reading.deadline = trio.current_time() + in_seconds
        else:
            self._reading.cancel()

    async def hang_up(self, reason: EndReason) -> None:
        """End the session from here: say goodbye, and wait until the driver has finished.

        Cancelling closes the link without waiting for the other side's goodbye.
        """
        if self.finished.is_set():
            return
        self._ending = self._ending or Ending(reason=reason, first="client")
        if self.state is not State.DISCONNECTING:
            self._enter(State.DISCONNECTING)
        try:
            if self._link is not None:
                with trio.move_on_after(self.options.disconnect_timeout):
                    await self._link.aclose()
                    await self.finished.wait()
        finally:
            self._link_scope.cancel()
        await self.finished.wait()

    async def farewell(self, error: BaseException | None) -> None:
        """The body has left: end what it has running, and hang up."""
        self.block.leave()
        self.functions.cancel_all()
        await self.hang_up("cancelled" if is_cancellation(error) else "client")

    def finish_abandoned(self) -> None:
        """Finish a session whose driver was stopped before it could."""
        self._finish()

    def _finish(self) -> bool:
        """Put down how the session ended, and tell everyone. Return whether the body must end."""
        if self.end is not None:
            return False
        ending = self._ending or Ending(reason="client", first="client")
        closed = None if self._link is None else self._link.end
        end = SessionEnd(
            reason=ending.reason,
            last_state=self._last_state,
            first=ending.first,
            code=None if closed is None else closed.code,
            text="" if closed is None else closed.text,
        )
        error = None if ending.error is None else ending.error(end)
        self.end = end = attrs.evolve(end, error=error)
        logger.debug("session ended: %s", end)
        left_by_bot = end.reason in ("bot", "fatal_error", "connection_lost")
        if left_by_bot or (closed is not None and closed.first != "client"):
            self.emit(BotDisconnected(end=end, at=trio.current_time()))
        self._enter(State.DISCONNECTED)
        self.emit(Disconnected(end=end, at=trio.current_time()))
        for tap in self.taps:
            tap.finished(end, trio.current_time())
        for stream in self.streams():
            stream._finish()
        cancel = self.options.disconnect_on_bot_disconnect if left_by_bot else end.error is not None
        ends = self.block.end(end, cancel=cancel, raise_to_waiters=ending.raise_to_waiters)
        for waiter in self._waiters:
            waiter.set()
        if self._audio_sender is not None:
            self._audio_sender.finish()
        self.video_sender.finish()
        if self._restarting is not None:
            self._restarting.cancel()
        self.finished.set()
        self.changed.unpark_all()
        return ends

    def _enter(self, state: State) -> None:
        previous = self.lifecycle.enter(state)
        logger.debug("session: %s -> %s", previous, state)
        if state not in (State.DISCONNECTING, State.DISCONNECTED):
            self._last_state = state
        for tap in self.taps:
            tap.entered(state, self.lifecycle.history[-1][1])
        self.emit(StateChanged(state=state, previous=previous, at=trio.current_time()))
        self.changed.unpark_all()
        self._woke = True

    # -- streams --

    def emit(self, event: Event) -> None:
        """Give an event to everyone who reads events."""
        for tap in self.taps:
            tap.happened(event)
        for stream in tuple(self._event_streams):
            stream._feed(event)

    def stream_woke(self) -> None:
        """A reader of events was waiting, and has one now."""
        self._woke = True

    def add_stream(self, stream: EventStream[Any] | AudioStream | VideoStream) -> None:
        """Fill `stream` from now on."""
        if self.end is not None:
            stream._finish()
        elif isinstance(stream, AudioStream):
            self._bot_audio.streams.append(stream)
        elif isinstance(stream, VideoStream):
            self._video_streams.append(stream)
        else:
            self._event_streams.append(stream)

    def streams(self) -> Iterator[Stream[Any]]:
        """Return every stream that is open."""
        return chain(self._event_streams, self._bot_audio.streams, self._video_streams)

    def stream_moved(self) -> None:
        """A reader came back for more and found nothing, or left."""
        self._note_readers()
        self.block.moved()

    def stream_read(self) -> None:
        """Somebody reads a stream of sound or video."""
        self._note_readers()

    def _note_readers(self) -> None:
        """Have the link decode the bot's sound and video while somebody wants them."""
        if self._link is not None:
            self._link.wants_video = any(stream._has_readers() for stream in self._video_streams)
            listeners = (stream._is_wanted() for stream in self._bot_audio.streams)
            self._link.wants_audio = bool(self.taps) or any(listeners)

    async def stream_over(self) -> None:
        """A reader found its stream over."""
        await self.block.over()

    def stream_overflowed(self, stream: Stream[Any], limit: int) -> bool:
        """A reader let its stream run full. Return whether there is anything left to end."""
        if self._ending is not None or self.end is not None:
            return False
        name = stream._describe()
        self._end(
            Ending(
                reason="client",
                first="client",
                error=lambda end: SlowReaderError(end, reader=name, limit=limit),
            )
        )
        return True

    def stream_closed(self, stream: Stream[Any]) -> None:
        """Nobody wants this stream any more."""
        for streams in (self._event_streams, self._bot_audio.streams, self._video_streams):
            with suppress(ValueError):
                streams.remove(stream)  # type: ignore[arg-type]  # it is in one of them

    # -- sending, and waiting for answers --

    async def send(self, encode: Callable[[], Outgoing]) -> str:
        """Send what `encode` makes, once the bot is ready; return its id.

        Cancelling: a message is sent whole or not at all.
        """
        link = await self.open_link()
        outgoing = encode()
        size = outgoing.size
        if size > link.max_message_size:
            raise MessageTooLargeError(size, link.max_message_size)
        with self.block.waiting():
            try:
                for text in outgoing.texts:
                    await link.send_message(text)
                    self.note_sent(text)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                await self.link_broke()
        return outgoing.id

    @property
    def audio_sender(self) -> AudioSender:
        """What sends the user's voice on the beat; it runs from the first time it is asked for."""
        if self._audio_sender is None:
            sender = AudioSender(self, self.options.audio_in_sample_rate, self.pacing)
            if self.end is not None:
                sender.finish()
            self.services.start(sender.run, name="trio_pipecat: audio")
            self._audio_sender = sender
        return self._audio_sender

    async def _send_if_ready(self, send: Callable[[Transport], Awaitable[None]]) -> bool:
        """Send something. False: the session takes no more."""
        link = self._link
        if link is None or self.state is not State.READY:
            return False
        try:
            await send(link)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True

    def send_frame_nowait(self, chunk: AudioChunk) -> bool:
        """Send a frame of the user's voice, if that needs no waiting."""
        link = self._link
        if link is None or self.lifecycle.state is not State.READY:
            return False
        if self.muted:
            chunk = self._as_heard(chunk)
        try:
            sent = link.send_audio_nowait(chunk)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        if sent and self.taps:
            self.note_sent(chunk)
        return sent

    async def send_frame(self, chunk: AudioChunk) -> bool:
        """Send a frame of the user's voice. False: the session takes no more."""
        return await self._send_if_ready(lambda link: self.send_audio(link, chunk))

    async def send_audio(self, link: Transport, chunk: AudioChunk) -> None:
        """Send sound of the user; while the user is muted, as much silence."""
        chunk = self._as_heard(chunk)
        await link.send_audio(chunk)
        self.note_sent(chunk)

    def _as_heard(self, chunk: AudioChunk) -> AudioChunk:
        if not self.muted:
            return chunk
        return AudioChunk(bytes(len(chunk.pcm)), chunk.sample_rate, chunk.num_channels)

    async def send_picture(self, frame: VideoFrame) -> bool:
        """Send a picture of the user's. False: the session takes no more."""
        return await self._send_if_ready(lambda link: self._send_video(link, frame))

    async def _send_video(self, link: Transport, frame: VideoFrame) -> None:
        # What is off, bots do not look at.
        if not self._announced.get(frame.source, False):
            await self._announce(link, frame.source, enabled=True)
        await link.send_video(frame)
        self.note_sent(frame)

    async def announce(self, track: TrackName, *, enabled: bool) -> bool:
        """Say that a track is on or off. False: the session takes no more."""
        return await self._send_if_ready(lambda link: self._announce(link, track, enabled=enabled))

    async def _announce(self, link: Transport, track: TrackName, *, enabled: bool) -> None:
        await link.announce_track(track, enabled=enabled)
        self._announced[track] = enabled

    async def set_muted(self, muted: bool) -> None:
        """Mute the user, or no more; tell the bot, unless it knows."""
        await self.open_link()
        self.muted = self.muted or muted
        with self.block.waiting():
            if self._announced.get("microphone", True) is not muted:
                await trio.lowlevel.checkpoint()
            elif not await self.announce("microphone", enabled=not muted):
                await self.link_broke()
        self.muted = muted

    async def restart(self) -> BotReady:
        """Have another connection carry the session, and wait until the bot is ready on it."""
        link = await self.open_link()
        if self._restarting is not None:
            raise trio.BusyResourceError("this session's connection is being restarted already")
        with self.block.waiting():
            try:
                return await self._restart(link)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                await self.link_broke()
            finally:
                self._restarting = None

    async def _restart(self, link: Transport) -> BotReady:
        options = self.options
        self._note_stage("restart")
        with trio.move_on_after(options.connect_timeout) as self._restarting:
            await link.restart()
        if self.end is not None:
            raise trio.BrokenResourceError
        if self._restarting.cancelled_caught:
            raise self._late("there was no other")
        self._ready_again = waiter = self.add_waiter()
        try:
            if link.speaks_rtvi:
                # Whoever is cancelled now has the new connection, and the bot has to know of it.
                with trio.move_on_after(_HELLO, shield=True):
                    await self._say_hello(link)
            else:
                self._become_ready(BotReady(at=trio.current_time()))
            with trio.move_on_after(options.ready_timeout) as self._restarting:
                await waiter.wait()
        finally:
            self.remove_waiter(waiter)
        if self.end is not None:
            raise trio.BrokenResourceError
        if self._ready_again is waiter or self.protocol.bot_ready is None:
            raise ReadyTimeoutError(options.ready_timeout, self.state, self._last_type, self._seen)
        return self.protocol.bot_ready

    def remove_tap(self, tap: Tap) -> None:
        """Tell this one no more."""
        # Not in place: somebody may be going through them.
        self.taps = [other for other in self.taps if other is not tap]
        self._note_readers()

    def add_tap(self, tap: Tap) -> None:
        """Tell this one of everything from now on."""
        self.taps.append(tap)
        self._note_readers()

    def note_sent(self, item: Incoming) -> None:
        """Tell the taps of something that the link has just taken."""
        for tap in self.taps:
            tap.sent(item, trio.current_time())

    def secrets(self) -> list[str]:
        """Return what must not be shown, as far as it is known by now."""
        return self.plan.secrets(self.params, self.started)

    async def send_when_ready(self, encode: Callable[[], Outgoing]) -> str:
        """Send what `encode` makes, as soon as the bot is ready."""
        while self.state is not State.READY and not self.finished.is_set():
            await self.changed.park()
        return await self.send(encode)

    async def open_link(self) -> Transport:
        """Return the link that may be sent on.

        Raises:
            BotNotReadyError: the bot is not ready.
            SessionEndedError: there is none any more.
        """
        if self.state in (State.DISCONNECTING, State.DISCONNECTED):
            await self.link_broke()
        if self._link is None or self.state is not State.READY:
            raise BotNotReadyError(self.state)
        return self._link

    async def link_broke(self) -> NoReturn:
        """A send found the link ended: wait until the driver knows too, then tell the caller."""
        with self.block.waiting():
            if not self.finished.is_set():
                await self.finished.wait()
            await self.block.tell()

    def add_waiter(self) -> trio.Event:
        """Return an event that is set at the end, if nobody sets it before."""
        waiter = trio.Event()
        if self.end is not None:
            waiter.set()
        self._waiters.append(waiter)
        return waiter

    def wake(self, waiter: trio.Event) -> None:
        """Set a waiter, and let its task go on before the next event."""
        waiter.set()
        self._woke = True

    def remove_waiter(self, waiter: trio.Event) -> None:
        """This one waits no more."""
        self._waiters.remove(waiter)


def _no_sound(chunk: AudioChunk) -> Undecodable:
    detail = f"audio of {chunk.sample_rate} Hz in {chunk.num_channels} channel(s)"
    return Undecodable(detail, raw=chunk.pcm)


def _lost(detail: str) -> Callable[[SessionEnd], BaseException]:
    return lambda end: ConnectionLostError(end, detail)


def _fatal(error: str) -> Callable[[SessionEnd], BaseException]:
    return lambda end: FatalBotError(end, error)


def _type_of(event: BotMessage) -> str:
    """Return what to call a message in an error: its wire type."""
    if isinstance(event, MalformedMessage):
        return f"{event.type or 'no message'} (malformed: {event.reason})"
    return event.TYPE or str(getattr(event, "type", "unknown"))
