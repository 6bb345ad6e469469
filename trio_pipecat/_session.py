"""A session: one conversation with a bot, as a scope. What users hold; `_driver` does the work."""

import mimetypes
import os
import warnings
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal, TypeVar, cast, final, get_args, overload

import trio

from ._audio_sender import IdleAudio, StreamReport
from ._block import Block
from ._driver import Driver
from ._errors import (
    MessageTooLargeError,
    RequestError,
    RequestTimeoutError,
    UnsupportedFeatureError,
)
from ._functions import FunctionHandler
from ._lifecycle import StateEvents
from ._messages import (
    Answer,
    AppendToContext,
    BotReady,
    ClientMessage,
    Command,
    DisconnectBot,
    Dtmf,
    ErrorResponse,
    Event,
    File,
    InlineSource,
    SendFile,
    SendText,
    ServerResponse,
    UiCancelJobGroup,
    UiEvent,
    UiSnapshot,
    UiTree,
)
from ._options import SessionOptions
from ._params import StartedBot
from ._protocol import ProtocolVersions
from ._service import open_services
from ._start import upload
from ._state import SessionEnd, State
from ._streams import AudioStream, EventStream, StreamReader, VideoStream
from ._targets import Plan
from ._urls import origin
from ._video_sender import VideoReport
from ._wire import Json, from_json
from .audio import AudioSource, Lateness
from .audio._chunk import check_format
from .audio._source import read_source
from .transports import Interruption
from .video import VideoFrame, VideoSource
from .video._source import read_frames

E = TypeVar("E", bound=Event)
E2 = TypeVar("E2", bound=Event)

#: Audio is sent in frames of at most this many bytes: two seconds at 16 kHz.
_MAX_AUDIO_FRAME = 64 * 1024
_DTMF_KEYS = frozenset("0123456789*#")


@final
class Session:
    """One conversation with a bot. Made by `open_session`; do not make one yourself.

    Iterating (``async for event in session``) gives every event since the beginning, in order, and
    ends when the session is over. `subscribe` gives an independent, filtered stream.

    Every method that sends waits while the link is backed up, raises `BotNotReadyError` before the
    bot is ready and `SessionEndedError` (or the session's own error) after the end. In a block that
    is ending the error is raised once, and who comes later is cancelled instead.

    A send that returned has sent everything. A send of one message that was cancelled has sent
    nothing; the methods that may do more (`request`, `send_audio`, `stream_audio`, `stream_video`,
    `send_dtmf`, `send_file`, `upload_file`, `mute`, `restart_connection`) say what is left then.

    A session may be used by any task. Which tasks are told of an error, and which are cancelled, is
    described in *How a session ends*, in the documentation.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._audio: AudioStream | None = None
        self._video: VideoStream | None = None

    def __repr__(self) -> str:
        end = "" if self.end is None else f", ended: {self.end.reason}"
        return f"<Session {self.state}{end}>"

    # -- where it is --

    @property
    def state(self) -> State:
        """Where the session is now."""
        return self._driver.state

    @property
    def states(self) -> StateEvents:
        """A `trio.Event` for each state, set once the session has reached it or passed it by."""
        return self._driver.lifecycle.events

    @property
    def history(self) -> tuple[tuple[State, float], ...]:
        """What really happened: each state that was entered, with `trio.current_time` of then."""
        return tuple(self._driver.lifecycle.history)

    @property
    def end(self) -> SessionEnd | None:
        """How the session ended; None while it has not. Still there after the block."""
        return self._driver.end

    @property
    def protocol(self) -> ProtocolVersions:
        """The protocol versions on both sides, and what is wrong between them."""
        return self._driver.protocol.versions

    @property
    def bot(self) -> BotReady | None:
        """What the bot said when it became ready; None before."""
        return self._driver.protocol.bot_ready

    @property
    def started(self) -> StartedBot | None:
        """The start endpoint's answer, where a bot was started."""
        return self._driver.started

    async def wait_ready(self) -> BotReady:
        """Wait until the bot is ready, and return what it said.

        May be called from any task, and often. Cancelling is safe.

        Raises:
            StartBotError, TransportStartError, ReadyTimeoutError, ConnectionLostError…: why it did
                not become ready.
        """
        driver = self._driver
        await trio.lowlevel.checkpoint()
        with driver.block.waiting():
            while not driver.lifecycle.reached(State.READY):
                if driver.finished.is_set():
                    await driver.block.tell(itself=True)
                await driver.changed.park()
        return cast(BotReady, self.bot)

    async def wait_for(self, state: State) -> None:
        """Wait until the session has reached `state`, or passed it by. Cancelling is safe.

        If the session ends before, a task of a block that is ending is cancelled with it. Any other
        is told.

        Raises:
            SessionEndedError: the session ended before.
            ValueError: there is no such state.
        """
        driver, state = self._driver, State(state)
        await trio.lowlevel.checkpoint()
        while not driver.lifecycle.reached(state):
            if driver.finished.is_set():
                await driver.block.tell(counts=False)
            await driver.changed.park()

    # -- what happens --

    def __aiter__(self) -> StreamReader[Event]:
        return aiter(self._driver.backlog)

    @overload
    def subscribe(self, *, name: str | None = None) -> EventStream[Event]: ...
    @overload
    def subscribe(self, first: type[E], /, *, name: str | None = None) -> EventStream[E]: ...
    @overload
    def subscribe(
        self, first: type[E], second: type[E2], /, *, name: str | None = None
    ) -> EventStream[E | E2]: ...
    @overload
    def subscribe(
        self,
        first: type[Event],
        second: type[Event],
        third: type[Event],
        /,
        *more: type[Event],
        name: str | None = None,
    ) -> EventStream[Event]: ...

    def subscribe(self, *types: type[Event], name: str | None = None) -> EventStream[Any]:
        """Return a stream of the events of `types` (none: all) that happen from now on.

        Use it as a context manager, so that it is closed when you are done::

            with session.subscribe(BotOutput, UserInput) as stream:
                async for event in stream: ...

        A subclass counts as its base: ``subscribe(BotMessage)`` is all that came over the wire.
        Subscribing does not wait, so what is subscribed before the first ``await`` of the block
        misses nothing. `name` is what an error calls the stream if it is read too slowly.
        """
        driver = self._driver
        _check_types(types)
        if name is None:
            name = f"subscribe({', '.join(cls.__name__ for cls in types)})"
        stream = EventStream(driver, name, types, driver.options.event_buffer)
        driver.add_stream(stream)
        return stream

    async def wait_event(  # noqa: RET503  # tell() never returns
        self, *types: type[E], where: Callable[[E], bool] = lambda event: True
    ) -> E:
        """Wait for the next event of one of `types` for which `where` is true, and return it.

        Events from the call on count. A call that follows another of the session's without an
        ``await`` of something else in between misses nothing: what is sent is answered after it
        was sent, and whoever is woken by an event goes on before the next one. Else `subscribe`
        first. Cancelling is safe.

        If the session ends before, with an error that nobody in the block was told yet, that is
        raised here. Else a task of a block that is ending is cancelled with it. Any other is told.

        Raises:
            SessionEndedError: the session ended, and it did not come.
        """
        driver = self._driver
        _check_types(types)
        stream: EventStream[E] = EventStream(
            driver, "wait_event", types, driver.options.event_buffer
        )
        stream._for_one_event = True
        driver.add_stream(stream)
        with stream, driver.block.waiting():
            while True:
                try:
                    event = await stream.receive()
                except trio.EndOfChannel:
                    break
                if where(event):
                    return event
            await driver.block.tell()

    # -- audio --

    @property
    def audio(self) -> AudioStream:
        """The bot's audio, for ``async for chunk in session.audio``.

        It is kept from the moment somebody begins to read it, at most `audio_buffer` seconds; while
        nobody does, it costs nothing. What is unread is forgotten when the bot is interrupted.
        """
        if self._audio is None:
            self._audio = self.subscribe_audio(name="session.audio")
        return self._audio

    def subscribe_audio(self, *, name: str = "subscribe_audio()") -> AudioStream:
        """Return an independent stream of the bot's audio, for one more reader."""
        stream = AudioStream(self._driver, name, self._driver.options.audio_buffer)
        self._driver.add_stream(stream)
        return stream

    async def send_audio(
        self, pcm: bytes | bytearray | memoryview, *, sample_rate: int, num_channels: int = 1
    ) -> None:
        """Send sound of the user now: signed 16-bit little-endian samples, channels interleaved.

        Bots do not announce the rate they listen at; Pipecat's default is 16000, mono, and a
        WebSocket bot does not convert. Send in real time: a bot that gets a minute of sound at once
        hears a minute, and cannot tell when a turn ended. When it is cancelled, what is left of
        more than 64 KiB is not sent.

        Raises:
            TypeError, ValueError: this can't be sound.
        """
        chunk = check_format(pcm, sample_rate, num_channels)
        driver = self._driver
        link = await driver.open_link()
        with driver.block.waiting():
            try:
                for part in chunk.split(_MAX_AUDIO_FRAME):
                    await driver.send_audio(link, part)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                await driver.link_broke()

    async def stream_audio(
        self,
        source: AudioSource,
        *,
        sample_rate: int | None = None,
        num_channels: int = 1,
        idle_audio: IdleAudio = "silence",
        report: StreamReport | None = None,
    ) -> StreamReport:
        """Send sound as a user speaks it: on the beat of real time, in frames of 20 ms.

        It is converted to mono of `audio_in_sample_rate`. Returns when the last of it has sounded,
        and says how late the frames were. When it is cancelled, what was not sent by then is not.

        Args:
            source: the path of a WAV file, a chunk, PCM as bytes, or many of the latter two: an
                iterable (which may block: one that is no sequence is iterated over in a thread) or
                an async iterable, such as a microphone. An async generator is closed at the end.
            sample_rate: of bytes, in Hz. Chunks and files know theirs.
            num_channels: of bytes, interleaved.
            idle_audio: what is sent while the source has nothing, and from its end until the next
                stream: ``"silence"``, by which bots know that a turn is over, or ``"none"``.
            report: a new one, to be kept up to date and returned: for whoever looks at it
                meanwhile, or cancels this and wants to know what was sent.

        Raises:
            trio.BusyResourceError: another stream is being sent.
            TypeError, ValueError: this can't be sound.
            WavError: the file is not one that can be read.
            OSError: the file can't be read. What a source raises comes out as it is, when what it
                gave before was sent.
        """
        if idle_audio not in get_args(IdleAudio):
            raise ValueError(f"idle_audio is one of {get_args(IdleAudio)}, not {idle_audio!r}")
        driver = self._driver
        pieces = read_source(
            source,
            to_rate=driver.options.audio_in_sample_rate,
            sample_rate=sample_rate,
            num_channels=num_channels,
        )
        await driver.open_link()
        with driver.block.waiting():
            sent = await driver.audio_sender.stream(pieces, idle_audio, report)
            if sent is None:
                await driver.link_broke()
        return sent

    @property
    def muted(self) -> bool:
        """Is the user muted?"""
        return self._driver.muted

    async def mute(self) -> None:
        """Send silence from now on, of the same length as what there is to hear.

        That goes for all that `send_audio` and `stream_audio` send. The bot is told, on wires that
        have a word for it. Muting twice is muting once. When it is cancelled, the user is muted,
        and the bot was not told.
        """
        await self._driver.set_muted(True)

    async def unmute(self) -> None:
        """Be heard again. When it is cancelled, the user is still muted."""
        await self._driver.set_muted(False)

    @property
    def pacing(self) -> Lateness:
        """How late the frames of all streams were, and of the silence between them."""
        return self._driver.pacing

    async def interrupt(self) -> None:
        """Interrupt the bot without saying anything, on wires that can.

        Raises:
            UnsupportedFeatureError: this one can't.
        """
        driver = self._driver
        link = await driver.open_link()
        with driver.block.waiting():
            try:
                await link.send_interruption()
                driver.note_sent(Interruption())
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                await driver.link_broke()

    # -- video --

    @property
    def video(self) -> VideoStream:
        """The bot's video, for ``async for frame in session.video``.

        It is kept from the moment somebody begins to read it, at most 30 frames; while nobody does,
        it costs nothing. Wires without video have none.
        """
        if self._video is None:
            self._video = self.subscribe_video(name="session.video")
        return self._video

    def subscribe_video(
        self, *, max_frames: int = 30, name: str = "subscribe_video()"
    ) -> VideoStream:
        """Return an independent stream of the bot's video, for one more reader.

        It keeps at most `max_frames` that are not read; then the oldest is dropped, and counted.

        Raises:
            ValueError: `max_frames` is less than 1.
        """
        if max_frames < 1:
            raise ValueError(f"a stream keeps 1 frame or more, not {max_frames}")
        stream = VideoStream(self._driver, name, max_frames)
        self._driver.add_stream(stream)
        return stream

    async def send_video(self, frame: VideoFrame) -> None:
        """Send a picture of the user now: `VideoFrame.source` says of what.

        What can't be sent in time is dropped, if another one follows.

        Raises:
            TypeError: this is no picture.
            UnsupportedFeatureError: this wire has no video.
        """
        if not isinstance(frame, VideoFrame):
            raise TypeError(f"what is sent is a VideoFrame, not {type(frame).__name__}")
        driver = self._driver
        await driver.open_link()
        with driver.block.waiting():
            if not await driver.send_picture(frame):
                await driver.link_broke()

    async def stream_video(self, source: VideoSource, *, screen: bool = False) -> VideoReport:
        """Send video as a camera does: each frame in its time.

        Frames that have a `VideoFrame.time` go out at that time after the first one came; those
        that are later than the next one is due are skipped and counted. Frames without go out as
        they come. The bot is told when the first one is there, and when it is over, also if that is
        because this was cancelled; what was not sent by then is not. Returns when the last has been
        seen.

        A camera and a screen may be streamed at once.

        Args:
            source: the path of a video file, or frames: an iterable (which may block: one that is
                no sequence is iterated over in a thread) or an async iterable, such as a camera. An
                async generator is closed at the end.
            screen: this is what is on the user's screen, and not a camera's.

        Raises:
            trio.BusyResourceError: another camera, or another screen, is being streamed.
            TypeError, ValueError: this can't be sent, or the file can't be read as video.
            OSError: the file can't be read. What a source raises comes out as it is, when what it
                gave before was sent.
            UnsupportedFeatureError: this wire has no video, or the extra ``webrtc``, which files
                need, is not installed.
        """
        shows: Literal["camera", "screen"] = "screen" if screen else "camera"
        frames = read_frames(source, shows)
        driver = self._driver
        await driver.open_link()
        with driver.block.waiting():
            report = await driver.video_sender.stream(frames, shows)
            if report is None:
                await driver.link_broke()
        return report

    # -- sending --

    async def send_text(
        self, content: str, *, run_immediately: bool = True, audio_response: bool = True
    ) -> str:
        """Send text as the user's message; return its id.

        A bot of RTVI 2.2 acknowledges it with a `UserInput` whose `msg_id` is that id.

        Args:
            content: the text.
            run_immediately: interrupt the bot and have it answer now. Otherwise the text only joins
                the conversation.
            audio_response: whether the answer is spoken.
        """
        return await self._send(
            SendText(
                content=content, run_immediately=run_immediately, audio_response=audio_response
            )
        )

    async def send_client_message(self, t: str, d: Json = None) -> str:
        """Send the bot's application a message of type `t` with data `d`; return its id."""
        return await self._send(ClientMessage(t=t, d=d))

    async def request(
        self,
        t: str,
        d: Json = None,
        *,
        timeout: float = 10,  # noqa: ASYNC109  # an application may be silent about a `t`
    ) -> Json:
        """Send the bot's application a message and return the data of its answer.

        An application that does not know `t` need not answer at all, so there is a `timeout`, in
        seconds. When it is cancelled, the request may have been sent; its answer then comes as an
        event only.

        Raises:
            RequestError: the application refused.
            RequestTimeoutError: no answer came.
            SessionEndedError: the session ended before the answer came.
        """
        driver = self._driver
        answered = driver.add_waiter()
        answers: list[Answer] = []

        def on_answer(answer: Answer) -> None:
            answers.append(answer)
            driver.wake(answered)

        try:
            with driver.block.waiting():
                with trio.move_on_after(timeout) as deadline:
                    await driver.send(lambda: driver.protocol.request(t, d, on_answer))
                    await answered.wait()
                if not answers and (driver.end is not None or not deadline.cancelled_caught):
                    await driver.link_broke()
        finally:
            driver.remove_waiter(answered)
            driver.protocol.forget_request(on_answer)
        match answers:
            case [ServerResponse() as response]:
                return response.d
            case [ErrorResponse() as refusal]:
                raise RequestError(t, refusal.error)
            case _:
                raise RequestTimeoutError(t, timeout)

    async def send_dtmf(self, keys: str) -> str:
        """Press keys of a telephone, such as ``"123#"``, in this order.

        A bot of RTVI 2.0 gets a message for each key: when this is cancelled, it may have got the
        first of them.

        Raises:
            ValueError: there are other characters than ``0123456789*#``, or none.
            UnsupportedFeatureError: the bot speaks RTVI 1.
        """
        if not keys or not _DTMF_KEYS.issuperset(keys):
            raise ValueError(f"keys are some of 0123456789*#, not {keys!r}")
        return await self._send(Dtmf(buttons=tuple(keys)))

    async def send_file(
        self,
        file: "File | os.PathLike[str]",
        content: str = "",
        *,
        run_immediately: bool = True,
        audio_response: bool = True,
        custom_options: Mapping[str, Json] | None = None,
    ) -> str:
        """Send a file as the user's message, with the text `content` beside it; return its id.

        A path is uploaded if the bot takes uploads, else it goes inside the message if it is small
        enough. A `File` goes as it is: one that `upload_file` returned, one with bytes, or one with
        an address that the bot can reach. Bots do not acknowledge files. Cancelled: the bot got no
        message, but its server may have the file.

        Raises:
            UnsupportedFeatureError: the bot speaks an RTVI before 2.2.
            MessageTooLargeError: the file is too large to go inside the message.
            OSError: the path can't be read.
        """
        link = await self._driver.open_link()
        if not isinstance(file, File):
            # What this bot can't take is not read, and not uploaded, first.
            self._driver.protocol.check_supported(SendFile.TYPE)
            if self._upload_url is not None:
                file = await self.upload_file(file)
            else:
                file = await _inline(file, link.max_message_size)
        return await self._send(
            SendFile(
                content=content,
                file=file,
                run_immediately=run_immediately,
                audio_response=audio_response,
                custom_options=custom_options,
            )
        )

    async def upload_file(self, path: "os.PathLike[str]", *, format: str | None = None) -> File:  # noqa: A002
        """Upload a file to the bot's server, and return what `send_file` takes.

        Pipecat's runner takes at most 50 MiB, keeps the newest ten files, and deletes one when it
        has been used. `format` is its MIME type, by default what its name says. Cancelling: the
        server may have it all the same.

        Raises:
            UnsupportedFeatureError: the bot takes no uploads.
            UploadError: the server refused.
            OSError: the path can't be read.
        """
        await self._driver.open_link()
        url = self._upload_url
        if url is None:
            raise UnsupportedFeatureError("uploading a file", "a start answer with fileUploadUrl")
        options, started = self._driver.options, self.started
        same_origin = started is not None and origin(url) == origin(started.endpoint)
        content = await trio.Path(path).read_bytes()
        return await upload(
            url,
            content,
            name=os.fspath(path),
            format=format or _guess_format(path),
            headers=options.headers if same_origin else {},
            ssl_context=options.ssl_context,
        )

    @property
    def _upload_url(self) -> str | None:
        params = self._driver.params
        return None if params is None else params.file_upload_url

    async def send_ui_event(self, event: str, payload: Json = None) -> str:
        """Tell the bot that something happened in the user interface; return the message's id."""
        return await self._send(UiEvent(event=event, payload=payload))

    async def send_ui_snapshot(self, tree: UiTree | Mapping[str, Json]) -> str:
        """Show the bot what the user sees, as an accessibility tree; return the message's id.

        Raises:
            TypeError: a mapping that is no such tree.
        """
        if not isinstance(tree, UiTree):
            tree = from_json(UiTree, {**tree})
        return await self._send(UiSnapshot(tree=tree))

    async def cancel_ui_job_group(self, job_id: str, reason: str | None = None) -> str:
        """Tell the bot that the user does not want these background jobs any more."""
        return await self._send(UiCancelJobGroup(job_id=job_id, reason=reason))

    async def append_to_context(
        self, role: str, content: Json, *, run_immediately: bool = False
    ) -> str:
        """Add to the LLM's context. Deprecated: current bots refuse it; use `send_text`."""
        warnings.warn(
            "append_to_context was removed from RTVI; use send_text",
            DeprecationWarning,
            stacklevel=2,
        )
        return await self._send(
            AppendToContext(role=role, content=content, run_immediately=run_immediately)
        )

    async def send_raw(self, type_: str, data: Json = None) -> str:
        """Send a message of any type with any data, unchecked; return its id."""
        return await self._driver.send(lambda: self._driver.protocol.send_raw(type_, data))

    async def _send(self, command: Command) -> str:
        return await self._driver.send(lambda: self._driver.protocol.send(command))

    # -- functions --

    def handle_function_call(self, name: str, handler: FunctionHandler | None) -> None:
        """Answer the bot's calls of the function `name` with `handler`. None: no more.

        ``await handler(call)`` runs as a task of the session; what it returns, an object, a string
        or None (an empty object), is the result. A call that the bot cancels cancels the handler.
        A handler that raises has an error sent as the result, and ends the session with what it
        raised.

        The bot has to tell its functions' names and arguments: by default Pipecat tells neither
        (``RTVIObserverParams.function_call_report_level``). A call that comes without is announced
        as `FunctionCallUnanswerable`.
        """
        handlers = self._driver.functions.handlers
        if not (handler is None or callable(handler)):
            raise TypeError(f"a handler is an async function, not {handler!r}")
        if handler is None:
            handlers.pop(name, None)
        else:
            handlers[name] = handler

    # -- the connection --

    async def restart_connection(self) -> BotReady:
        """Have another connection carry this session: for a network that has changed.

        Returns what the bot said when it was ready again. The session stays `ready` all the time,
        and `ConnectionRestarted` is among its events. What was on its way is lost, in both
        directions: a request that was not answered may never be. Most bots greet again; a server
        that had lost the bot starts another one, and says nothing of it.

        When it fails, or is cancelled, the session goes on as it was; unless the bot's server has
        given up the old connection by then, which it does when it is asked for another one: then
        the session ends, as one whose link is lost. Once there is another connection, it goes on
        with that, and only the bot's answer was not waited for.

        Raises:
            UnsupportedFeatureError: this wire can't.
            trio.BusyResourceError: it is being restarted already.
            TransportStartError: there was no other connection within `connect_timeout` seconds.
            ReadyTimeoutError: there is, and the bot was not ready on it within `ready_timeout`.
        """
        return await self._driver.restart()

    # -- ending --

    async def disconnect_bot(self) -> None:
        """Ask the bot to leave. It finishes what it is saying, and closes the link."""
        await self._send(DisconnectBot())

    async def disconnect(self) -> None:
        """Hang up now, without leaving the block. Leaving the block does the same.

        Returns when the session is disconnected, after `disconnect_timeout` at the latest. Nothing
        is cancelled: streams end after what was received, and what is sent afterwards raises
        `SessionEndedError`. Cancelling closes the link without waiting for the bot's goodbye.
        """
        await trio.lowlevel.checkpoint()
        await self._driver.hang_up("client")


def run_session(plan: Plan, options: SessionOptions) -> AbstractAsyncContextManager[Session]:
    """Return the block of a session that follows `plan`."""
    return _run_session(plan, options)


@asynccontextmanager
async def _run_session(plan: Plan, options: SessionOptions) -> AsyncGenerator[Session, None]:
    if not trio.lowlevel.in_trio_task():
        raise RuntimeError("a session needs trio: run this with trio.run, not with asyncio.run")
    driver = Driver(plan, options)
    try:
        async with open_services(driver.farewell, grace=options.disconnect_timeout) as services:
            driver.services = services
            driver.block = Block(services, driver.streams, options.disconnect_timeout)
            services.start(driver.run, name="trio_pipecat: session")
            yield Session(driver)
    finally:
        driver.finish_abandoned()


def _check_types(types: tuple[Any, ...]) -> None:
    for kind in types:
        if not (isinstance(kind, type) and issubclass(kind, Event)):
            raise TypeError(f"expected classes of events, such as BotOutput, not {kind!r}")


async def _inline(path: "os.PathLike[str]", limit: int) -> File:
    size = (await trio.Path(path).stat()).st_size
    if size > limit:  # as base64 it is larger still
        raise MessageTooLargeError(size, limit)
    content = await trio.Path(path).read_bytes()
    return File(
        format=_guess_format(path),
        name=os.path.basename(path),  # noqa: PTH119
        source=InlineSource(content=content),
    )


def _guess_format(path: "os.PathLike[str]") -> str:
    return mimetypes.guess_type(os.fspath(path))[0] or "application/octet-stream"
