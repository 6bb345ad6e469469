"""One client's conversation with a simulated bot: what such a bot can do.

What it says comes in the order, the pace and the frames of a real pipecat 1.14 bot: a turn is LLM
events, then synthesis, then audio on the beat with ``bot-output`` from word to word. One task
listens, and handles what the client says one message at a time, as the server does; one speaks, a
turn at a time. An interruption cancels the turn and forgets those that wait.
"""

import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, TypeVarTuple

import attrs
import trio

from .._causes import sole_leaf
from .._errors import UnsupportedFeatureError
from .._messages import (
    BotInterrupted,
    BotLlmStarted,
    BotLlmStopped,
    BotLlmText,
    BotMessage,
    BotOutput,
    BotStartedSpeaking,
    BotStoppedSpeaking,
    BotTranscription,
    ClientMessage,
    ClientReady,
    Command,
    DisconnectBot,
    Dtmf,
    ErrorResponse,
    LlmFunctionCallInProgress,
    LlmFunctionCallResult,
    LlmFunctionCallStarted,
    LlmFunctionCallStopped,
    RawAudio,
    RawAudioBatch,
    SendFile,
    SendText,
    ServerResponse,
    UserInput,
    UserLlmText,
    UserStartedSpeaking,
    UserStoppedSpeaking,
    UserTranscription,
)
from .._wire import Json
from ..audio import AudioChunk
from ..audio._chunk import check_format
from ..transports import Incoming, Interruption, LinkEnd, MemoryTransport, Undecodable
from ..transports._websocket_server import ServedWebSocket
from ..video import VideoFrame
from ._bot_protocol import BotProtocol
from ._personality import Personality
from ._utterance import utterance
from ._voice import (
    END_SILENCE_SECONDS,
    FRAME_SECONDS,
    SENTENCE_ENDS,
    sentences,
    tokens,
)

if TYPE_CHECKING:
    from ._webrtc_bot import WebRtcBotTransport

logger: Final = logging.getLogger("trio_pipecat.testing")

#: How long the parts of a simulated user's turn are apart.
_HEARING_SECONDS: Final = 0.03

#: Sound of no higher peak is silence that went through Opus.
_INAUDIBLE: Final = 0.001
#: How many things that were heard may wait in one ear.
_EAR: Final = 16_384
_LINK_IS_OVER: Final = (trio.BrokenResourceError, trio.ClosedResourceError)

Job: TypeAlias = Callable[[], Awaitable[None]]
#: The bot's end of a link: one that can also misbehave.
BotLink: TypeAlias = "MemoryTransport | ServedWebSocket | WebRtcBotTransport"
#: What an ear gets: a command of the client, or sound.
Heard: TypeAlias = Command | AudioChunk
Ts = TypeVarTuple("Ts")
H = TypeVar("H", bound=Command | AudioChunk)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class RefusedError(Exception):
    """A request that gets an error-response with this text."""


class BotCrashedError(Exception):
    """The bot is to be gone without a goodbye, as one whose code raised."""


@attrs.define
class _OpenCall:
    function_name: str
    done: trio.Event


class Conversation:
    """One connection, from the bot's side. Made by `SimulatedBot.converse`."""

    def __init__(
        self,
        bot: Personality,
        link: BotLink,
        requests: Mapping[str, "RequestHandler"],
        behaviours: Sequence["Behaviour"] = (),
    ) -> None:
        self.bot = bot
        self.link = link
        self.protocol = BotProtocol()
        #: What is answered to a text of the user; None: nothing. At first the bot's.
        self.reply: Callable[[str], str] | None = bot.reply
        #: Is the user's sound sent back? At first the bot's.
        self.echo_audio = bot.echo_audio
        #: Are the user's pictures sent back? At first the bot's.
        self.echo_video = bot.echo_video
        #: How many pictures came, while somebody wanted them.
        self.pictures = 0
        #: Set when ``client-ready`` has come.
        self.introduced = trio.Event()
        #: Set when ``bot-ready`` was sent.
        self.ready = trio.Event()
        #: Every command that came, in order, with its id; but for sound, which is only measured.
        self.received: list[tuple[str, Command]] = []
        #: Seconds of audio that came.
        self.heard_seconds = 0.0
        #: What the bot's own code raised, if it did: the client sees a link that broke.
        self.failure: BaseException | None = None
        self._requests = requests
        self._behaviours = behaviours
        self._scope = trio.CancelScope()
        self._frozen = False
        self._holds = 0
        self._ears: list[tuple[tuple[type[Any], ...], trio.MemorySendChannel[Any]]] = []
        self._jobs: deque[Job] = deque()
        self._job_scope: trio.CancelScope | None = None
        self._changed = trio.lowlevel.ParkingLot()
        self._speaking = False
        self._segments = itertools.count(1)
        self._calls: dict[str, _OpenCall] = {}
        self._call_count = 0
        #: Of the calls that wait for their turn or for an answer.
        self._asked: set[trio.Event] = set()
        self._interrupting = trio.Lock()
        self._leaving = False

    @property
    def end(self) -> LinkEnd | None:
        """How the link ended, as the bot saw it; None while it has not."""
        return self.link.end

    async def run(self) -> None:
        """Hold the conversation until it ends. What the bot's own code raises is its `failure`."""
        self.link.wants_video = self.echo_video
        try:
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    for behaviour in self._behaviours:
                        self._start(behaviour, self)
                    self._start(self._speak)
                    # Two, and every behaviour has taken its first step before anything is heard.
                    await trio.lowlevel.checkpoint()
                    await trio.lowlevel.checkpoint()
                    await self._listen()
                    self._nursery.cancel_scope.cancel()
            if self._frozen:
                await trio.sleep_forever()
        except* Exception as group:
            failure: Exception | None = group
            if self.end is not None:
                failure = group.split(_LINK_IS_OVER)[1]  # the client is gone, or we have left
            if failure is not None:
                await self._crash(sole_leaf(failure))

    async def _crash(self, failure: Exception) -> None:
        """Do what pipecat does: drop a socket without a word; over WebRTC, say goodbye."""
        self.failure = failure
        if not isinstance(failure, BotCrashedError):
            logger.error("the simulated bot failed", exc_info=failure)
        if isinstance(self.link, MemoryTransport | ServedWebSocket):
            await self.link.abort("the bot's code raised")
        else:
            await self.link.aclose()

    def _start(self, part: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> None:
        """Start a task that ends, without disturbing the others, when it meets the link's end."""

        async def run() -> None:
            try:
                await part(*args)
            except _LINK_IS_OVER:
                if self.end is None:  # something of the part's own
                    raise

        self._nursery.start_soon(run, name=getattr(part, "__qualname__", None))

    # -- what a bot can do --

    async def send(self, event: BotMessage) -> None:
        """Send a message."""
        await self.link.send_message(self.protocol.send(event))
        if isinstance(event, BotStartedSpeaking | BotStoppedSpeaking):
            self._speaking = isinstance(event, BotStartedSpeaking)

    def say(self, text: str) -> None:
        """Speak a text that no LLM made, after what is being said."""
        self._queue(lambda: self._utter(text))

    def answer(self, user_text: str, *, audio: bool = True) -> None:
        """Answer the user, as the LLM would, after what is being said."""
        if self.reply is None:
            return
        reply = self.reply(user_text)
        self._queue(lambda: self._turn(user_text, reply, audio=audio))

    def call_function(self, name: str, arguments: dict[str, Json], *, question: str) -> trio.Event:
        """Have the client answer a function call. The event is set when it has, or is not to."""
        done = trio.Event()
        self._asked.add(done)
        self._queue(lambda: self._call(name, arguments, question, done))
        return done

    async def interrupt(self, *, by_voice: bool = False) -> None:
        """Fall silent, and say so with both of pipecat's signals, even if the bot was idle.

        The frame is left out where the wire has none.
        """
        # One at a time, and nothing new is said before the interruption is.
        async with self._interrupting:
            self._jobs.clear()
            for done in self._asked:
                done.set()
            self._asked.clear()
            if self._job_scope is not None:
                self._job_scope.cancel()
                while self._job_scope is not None:
                    await self._changed.park()
            await self._tell_interruption(by_voice=by_voice)
        self._changed.unpark_all()

    async def _tell_interruption(self, *, by_voice: bool) -> None:
        with suppress(UnsupportedFeatureError):
            await self.link.send_interruption()
        if by_voice:
            await self.send(UserStartedSpeaking())
        if self.protocol.sends(2, 0):
            await self.send(BotInterrupted())
        while self._calls:
            id_, call = self._calls.popitem()
            await self.send(
                LlmFunctionCallStopped(
                    tool_call_id=id_, cancelled=True, function_name=call.function_name
                )
            )
        if self._speaking:
            await self.send(BotStoppedSpeaking())

    def leave(self) -> None:
        """Leave gracefully: when all is said, two seconds of silence in one frame, and goodbye.

        An interruption does not change that, as with pipecat's end frame.
        """
        self._leaving = True
        self._changed.unpark_all()

    async def wait_silent(self) -> None:
        """Wait until everything that was to be said is said."""
        await trio.lowlevel.checkpoint()
        while self._jobs or self._job_scope is not None:
            await self._changed.park()

    def hold_ready(self) -> None:
        """Do not say that the bot is ready, until `release_ready` was called as often as this."""
        self._holds += 1

    def release_ready(self) -> None:
        """Take back one `hold_ready`."""
        self._holds -= 1
        self._changed.unpark_all()

    @contextmanager
    def listening(self, *types: type[H]) -> Iterator["trio.MemoryReceiveChannel[H]"]:
        """Give an ear for what the client sends from now on: commands of `types`, or `AudioChunk`.

        Empty it: a bot whose ear is full has failed.
        """
        mouth, ear = trio.open_memory_channel[Any](_EAR)
        entry: tuple[tuple[type[Any], ...], trio.MemorySendChannel[Any]] = (types, mouth)
        self._ears.append(entry)
        try:
            yield ear
        finally:
            self._ears.remove(entry)
            ear.close()

    async def hang_up(self, code: int = 1000, text: str = "") -> None:
        """Leave at once."""
        self._jobs.clear()
        await self.link.aclose(code, text)

    def freeze(self) -> None:
        """Do nothing any more, and tell nobody: what is left is a link that is half open."""
        self._frozen = True
        self.link.freeze()
        self._scope.cancel()

    # -- listening --

    async def _listen(self) -> None:
        while True:
            try:
                item = await self.link.receive()
            except trio.EndOfChannel:
                return
            # Whoever says goodbye needs the other side's, so listening goes on to the end.
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._hear_item(item)

    async def _hear_item(self, item: Incoming) -> None:
        match item:
            case str():
                await self._hear(item)
            case AudioChunk():
                await self._hear_sound(item)
            case VideoFrame():
                self.pictures += 1
                if self.echo_video:
                    await self.link.send_video(attrs.evolve(item, source="camera"))
            case Interruption():
                await self.interrupt()
            case Undecodable():
                # What pipecat does with a frame it can't read.
                await self.hang_up()

    async def _hear(self, text: str) -> None:
        received = self.protocol.receive(text)
        for reply in received.replies:
            await self.link.send_message(reply)
        command = received.command
        if command is None:
            return
        if isinstance(command, RawAudio | RawAudioBatch):
            await self._hear_message_of_sound(command)
            return
        self.received.append((received.id, command))
        await self._obey(received.id, command)
        # Last: what a behaviour does about it is not to be undone by what the bot does anyway.
        self._tell_ears(command)

    async def _obey(self, id_: str, command: Command) -> None:
        match command:
            case ClientReady():
                self._start(self._become_ready)
            case SendText():
                await self._take_text(id_, command)
            case SendFile():
                await self._take_file(command)
            case ClientMessage():
                await self._take_request(id_, command)
            case LlmFunctionCallResult():
                await self._take_result(command)
            case Dtmf():
                self.answer(" ".join(command.buttons))
            case DisconnectBot():
                self.leave()
            case _:
                pass

    async def _hear_sound(self, chunk: AudioChunk) -> None:
        self.heard_seconds += chunk.duration
        if self.echo_audio and self._has_echo(chunk):
            await self.link.send_audio(chunk)
        self._tell_ears(chunk)

    def _has_echo(self, chunk: AudioChunk) -> bool:
        """Over WebRTC there is sound all the time, also when there is none to speak of.

        And what comes before the pipeline is up, a socket keeps; there it is lost.
        """
        if isinstance(self.link, MemoryTransport | ServedWebSocket):
            return True
        is_up = self.ready.is_set() or not self.introduced.is_set()
        return is_up and chunk.peak > _INAUDIBLE

    async def _hear_message_of_sound(self, command: RawAudio | RawAudioBatch) -> None:
        parts = (command.audio,) if isinstance(command, RawAudio) else command.audio
        for pcm in parts:
            try:
                chunk = check_format(pcm, command.sample_rate, command.num_channels)
            except (TypeError, ValueError) as error:
                logger.debug("raw audio is ignored: %s", error)  # pipecat does no more, either
                continue
            await self._hear_sound(chunk)

    def _tell_ears(self, heard: Heard) -> None:
        for types, mouth in tuple(self._ears):
            if isinstance(heard, types):
                try:
                    mouth.send_nowait(heard)
                except trio.BrokenResourceError:
                    pass  # it was closed meanwhile
                except trio.WouldBlock:
                    raise RuntimeError(f"a behaviour left {_EAR} things unheard") from None

    async def _become_ready(self) -> None:
        self.introduced.set()
        if self.bot.ready_delay:
            await trio.sleep(self.bot.ready_delay)
        while self._holds:
            await self._changed.park()
        await self.link.send_message(self.protocol.ready(video=self.echo_video))
        self.ready.set()
        if self.bot.greeting:
            self.say(self.bot.greeting)

    async def _take_text(self, id_: str, command: SendText) -> None:
        if command.run_immediately:
            await self.interrupt()
        if self.protocol.sends(2, 2):
            await self.send(
                UserInput(
                    text=command.content,
                    input_type="chat",
                    timestamp=_now(),
                    final=True,
                    msg_id=id_,
                )
            )
        if command.run_immediately:
            self.answer(command.content, audio=command.audio_response)

    async def _take_file(self, command: SendFile) -> None:
        if command.run_immediately:
            await self.interrupt()
            name = command.file.name or "a file"
            self.answer(f"{command.content} [{name}]".strip(), audio=command.audio_response)

    async def _take_request(self, id_: str, command: ClientMessage) -> None:
        handler = self._requests.get(command.t)
        try:
            if handler is None:
                raise RefusedError(f"unknown request: {command.t}")
            answer = await handler(self, command.d)
        except RefusedError as error:
            await self.send(ErrorResponse(id=id_, error=str(error)))
        else:
            if answer is not None:
                await self.send(ServerResponse(id=id_, t=command.t, d=answer))

    async def _take_result(self, command: LlmFunctionCallResult) -> None:
        call = self._calls.pop(command.tool_call_id, None)
        result = command.result or None
        await self.send(
            LlmFunctionCallStopped(
                tool_call_id=command.tool_call_id,
                cancelled=False,
                function_name=command.function_name,
                result=result,
            )
        )
        # pipecat ignores a result that comes too late, and does not run the LLM on an empty one.
        if call is not None and result is not None:
            text = self.bot.report(command.function_name, command.result)
            self._queue(lambda: self._llm_then_speak(text, audio=True))
        if call is not None:
            call.done.set()
            self._asked.discard(call.done)

    async def hear_user(self, text: str) -> None:
        """Hear the user say something, as a speech-to-text service with turn detection would."""
        await self.interrupt(by_voice=True)
        await self.understand_user(text)

    async def understand_user(self, text: str) -> None:
        """Understand what the user, who was heard to speak, has said; answer it."""
        words = text.split()
        for heard, final in ((" ".join(words[: (len(words) + 1) // 2]), False), (text, True)):
            await trio.sleep(_HEARING_SECONDS)
            now = _now()
            if self.protocol.sends(2, 2):
                await self.send(
                    UserInput(
                        text=heard,
                        input_type="transcription",
                        timestamp=now,
                        final=final,
                        user_id="user",
                    )
                )
            await self.send(
                UserTranscription(text=heard, user_id="user", timestamp=now, final=final)
            )
        await trio.sleep(_HEARING_SECONDS)
        await self.send(UserStoppedSpeaking())
        self.answer(text)

    # -- speaking --

    def _queue(self, job: Job) -> None:
        self._jobs.append(job)
        self._changed.unpark_all()

    async def _speak(self) -> None:
        while True:
            while not self._jobs or self._interrupting.locked():
                if self._leaving and not self._interrupting.locked():
                    await self._leave()
                    return
                await self._changed.park()
            job = self._jobs.popleft()
            with trio.CancelScope() as self._job_scope:
                await job()
            self._job_scope = None
            self._changed.unpark_all()

    async def _turn(self, user_text: str, reply: str, *, audio: bool) -> None:
        await self.send(UserLlmText(text=user_text))
        think = self.bot.think_seconds
        seconds = think() if callable(think) else think
        if seconds:
            await trio.sleep(seconds)
        await self._llm_then_speak(reply, audio=audio)

    async def _llm_then_speak(self, text: str, *, audio: bool) -> None:
        await self.send(BotLlmStarted())
        for sentence in sentences(text):
            for token in tokens(sentence):
                await self.send(BotLlmText(text=token))
            if sentence.endswith(SENTENCE_ENDS):
                await self.send(BotTranscription(text=sentence))
        await self.send(BotLlmStopped())
        if audio:
            await self._utter(text)
            return
        for sentence in sentences(text):
            await self.send(
                BotOutput(
                    text=sentence,
                    output_type="sentence",
                    segment_id=next(self._segments),
                    spoken=False,
                    will_be_spoken=False,
                    spoken_status="new",
                )
            )

    async def _call(
        self, name: str, arguments: dict[str, Json], question: str, done: trio.Event
    ) -> None:
        await self.send(UserLlmText(text=question))
        await self.send(BotLlmStarted())
        await self.send(LlmFunctionCallStarted(function_name=name))
        await self.send(BotLlmStopped())
        self._call_count += 1
        id_ = f"call-{self._call_count}"
        self._calls[id_] = _OpenCall(name, done)
        await self.send(
            LlmFunctionCallInProgress(tool_call_id=id_, function_name=name, arguments=arguments)
        )

    async def _utter(self, text: str) -> None:
        """Speak: audio on the beat, with what is said of each word when it begins."""
        began = trio.current_time()
        words = self.protocol.word_by_word
        for cue in utterance(text, self.bot.voice, self._segments, word_by_word=words):
            await trio.sleep_until(began + cue.at)
            if isinstance(cue.item, AudioChunk):
                await self.link.send_audio(cue.item)
            else:
                await self.send(cue.item)

    async def _leave(self) -> None:
        voice = self.bot.voice
        silence = AudioChunk(voice.silence(END_SILENCE_SECONDS), voice.sample_rate)
        await self.link.send_audio(silence)
        await trio.sleep(FRAME_SECONDS)
        await self.link.aclose()


#: What a bot does with a request: an async function of the conversation and the message's data.
RequestHandler: TypeAlias = Callable[[Conversation, Json], Awaitable[Json]]
#: What a bot does of its own accord: an async function that is run with each conversation.
Behaviour: TypeAlias = Callable[[Conversation], Awaitable[object]]
