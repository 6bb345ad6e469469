"""One client's conversation with a simulated bot: what such a bot can do.

What it says comes in the order, the pace and the frames of a real pipecat 1.14 bot: a turn is LLM
events, then synthesis, then audio on the beat with ``bot-output`` from word to word. One task
listens, and handles what the client says one message at a time, as the server does; one speaks, a
turn at a time. An interruption cancels the turn and forgets those that wait.
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs
import trio

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
    BotTtsStarted,
    BotTtsStopped,
    BotTtsText,
    ClientMessage,
    ClientReady,
    Command,
    DisconnectBot,
    Dtmf,
    Error,
    ErrorResponse,
    LlmFunctionCallInProgress,
    LlmFunctionCallResult,
    LlmFunctionCallStarted,
    LlmFunctionCallStopped,
    SendFile,
    SendText,
    ServerMessage,
    ServerResponse,
    SpokenProgress,
    UserInput,
    UserLlmText,
    UserStartedSpeaking,
    UserStoppedSpeaking,
    UserTranscription,
)
from .._wire import Json, to_json
from ..audio import AudioChunk
from ..transports import Interruption, LinkEnd, Transport, Undecodable
from ._bot_protocol import BotProtocol
from ._voice import (
    END_SILENCE_SECONDS,
    FRAME_SECONDS,
    SENTENCE_ENDS,
    Speech,
    sentences,
    tokens,
)

if TYPE_CHECKING:
    from ._bot import SimulatedBot

logger: Final = logging.getLogger("trio_pipecat.testing")

#: How long the parts of a simulated user's turn are apart.
_HEARING_SECONDS: Final = 0.03

Job = Callable[[], Awaitable[None]]


class Rank(IntEnum):
    """What comes first of that which is due at the same time."""

    FIRST_FRAME = 0
    WORD = 1
    NEW = 2
    FRAME = 3


@attrs.frozen
class Cue:
    """Something to do at `at` seconds into an utterance."""

    at: float
    rank: Rank
    act: Job


class RefusedError(Exception):
    """A request that gets an error-response with this text."""


class BotCrashedError(Exception):
    """The bot is to be gone without a goodbye, as one whose code raised."""


@attrs.define
class _OpenCall:
    function_name: str
    arguments: dict[str, Json]


class Conversation:
    """One connection, from the bot's side. Made by `SimulatedBot.converse`."""

    def __init__(self, bot: "SimulatedBot", link: Transport) -> None:
        self.bot = bot
        self.link = link
        self.protocol = BotProtocol()
        #: Every command that came, in order, with its id.
        self.received: list[tuple[str, Command]] = []
        #: Seconds of audio that came.
        self.heard_seconds = 0.0
        #: What the bot's own code raised, if it did: the client sees a link that broke.
        self.failure: BaseException | None = None
        self._jobs: deque[Job] = deque()
        self._job_scope: trio.CancelScope | None = None
        self._changed = trio.lowlevel.ParkingLot()
        self._speaking = False
        self._segments = 0
        self._calls: dict[str, _OpenCall] = {}
        self._call_count = 0

    @property
    def end(self) -> LinkEnd | None:
        """How the link ended, as the bot saw it; None while it has not."""
        return self.link.end

    async def run(self) -> None:
        """Hold the conversation until it ends. What the bot's own code raises is its `failure`."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._speak)
                await self._listen()
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client is gone, or we have left
        except* Exception as failures:
            # What pipecat's runner does with it: the socket is dropped, nothing is said.
            self.failure = failures
            if failures.subgroup(BotCrashedError) is None:
                logger.error("the simulated bot failed", exc_info=failures)
            await self.link.abort("the bot's code raised")

    # -- what a bot can do --

    async def send(self, event: BotMessage) -> None:
        """Send a message."""
        await self.link.send_message(self.protocol.send(event))

    def say(self, text: str) -> None:
        """Speak a text that no LLM made, after what is being said."""
        self._queue(lambda: self._say(text))

    def answer(self, user_text: str, *, audio: bool = True) -> None:
        """Answer the user, as the LLM would, after what is being said."""
        reply = self.bot.reply(user_text)
        self._queue(lambda: self._turn(user_text, reply, audio=audio))

    def call_function(self, name: str, arguments: dict[str, Json], *, question: str) -> None:
        """Have the client answer a function call."""
        self._queue(lambda: self._call(name, arguments, question))

    async def interrupt(self, *, by_voice: bool = False) -> None:
        """Fall silent, and say so with both of pipecat's signals, even if the bot was idle."""
        self._jobs.clear()
        if self._job_scope is not None:
            self._job_scope.cancel()
            while self._job_scope is not None:
                await self._changed.park()
        await self.link.send_interruption()
        if by_voice:
            await self.send(UserStartedSpeaking())
        await self.send(BotInterrupted())
        for id_ in tuple(self._calls):
            call = self._calls.pop(id_)
            await self.send(
                LlmFunctionCallStopped(
                    tool_call_id=id_, cancelled=True, function_name=call.function_name
                )
            )
        await self._stop_speaking()

    def leave(self) -> None:
        """Leave gracefully: when all is said, two seconds of silence in one frame, and goodbye."""
        self._queue(self._leave)

    async def hang_up(self, code: int = 1000, text: str = "") -> None:
        """Leave at once."""
        self._jobs.clear()
        await self.link.aclose(code, text)

    # -- listening --

    async def _listen(self) -> None:
        while True:
            try:
                item = await self.link.receive()
            except trio.EndOfChannel:
                return
            match item:
                case str():
                    await self._hear(item)
                case AudioChunk():
                    self.heard_seconds += item.duration
                    if self.bot.echo_audio:
                        await self.link.send_audio(item)
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
        self.received.append((received.id, command))
        match command:
            case ClientReady():
                await self._greet()
            case SendText():
                await self._take_text(received.id, command)
            case SendFile():
                name = command.file.name or "a file"
                self.answer(f"{command.content} [{name}]".strip(), audio=command.audio_response)
            case ClientMessage():
                await self._take_request(received.id, command)
            case LlmFunctionCallResult():
                await self._take_result(command)
            case Dtmf():
                self.answer(" ".join(command.buttons))
            case DisconnectBot():
                self.leave()
            case _:
                pass

    async def _greet(self) -> None:
        if self.bot.ready_delay:
            await trio.sleep(self.bot.ready_delay)
        await self.link.send_message(self.protocol.ready())
        if self.bot.greeting:
            self.say(self.bot.greeting)

    async def _take_text(self, id_: str, command: SendText) -> None:
        if command.run_immediately:
            await self.interrupt()
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

    async def _take_request(self, id_: str, command: ClientMessage) -> None:
        handler = self.bot.requests.get(command.t)
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

    async def hear_user(self, text: str) -> None:
        """Hear the user say something, as a speech-to-text service with turn detection would."""
        await self.interrupt(by_voice=True)
        words = text.split()
        for heard, final in ((" ".join(words[: (len(words) + 1) // 2]), False), (text, True)):
            await trio.sleep(_HEARING_SECONDS)
            now = _now()
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
            while not self._jobs:
                await self._changed.park()
            job = self._jobs.popleft()
            with trio.CancelScope() as self._job_scope:
                await job()
            self._job_scope = None
            self._changed.unpark_all()

    async def _say(self, text: str) -> None:
        await self._utter(text)

    async def _turn(self, user_text: str, reply: str, *, audio: bool) -> None:
        await self.send(UserLlmText(text=user_text))
        if self.bot.think_seconds:
            await trio.sleep(self.bot.think_seconds)
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
                    segment_id=self._new_segment(),
                    spoken=False,
                    will_be_spoken=False,
                    spoken_status="new",
                )
            )

    async def _call(self, name: str, arguments: dict[str, Json], question: str) -> None:
        await self.send(UserLlmText(text=question))
        await self.send(BotLlmStarted())
        await self.send(LlmFunctionCallStarted(function_name=name))
        await self.send(BotLlmStopped())
        self._call_count += 1
        id_ = f"call-{self._call_count}"
        self._calls[id_] = _OpenCall(name, arguments)
        await self.send(
            LlmFunctionCallInProgress(tool_call_id=id_, function_name=name, arguments=arguments)
        )

    async def _utter(self, text: str) -> None:
        """Speak: audio on the beat, with the events of each word when it begins."""
        voice = self.bot.voice
        speeches: list[Speech] = []
        seconds = voice.lead_seconds
        for sentence in sentences(text):
            speech = voice.speak(sentence, start=seconds)
            speeches.append(speech)
            seconds += len(speech.pcm) / 2 / voice.sample_rate
        if not speeches:
            return
        pcm = voice.silence(voice.lead_seconds) + b"".join(speech.pcm for speech in speeches)
        pcm += bytes(-len(pcm) % voice.frame_bytes)
        began = trio.current_time()

        async def play(index: int) -> None:
            start = index * voice.frame_bytes
            frame = pcm[start : start + voice.frame_bytes]
            await self.link.send_audio(AudioChunk(frame, voice.sample_rate))
            if index == 0:
                self._speaking = True
                await self.send(BotStartedSpeaking())

        frames = len(pcm) // voice.frame_bytes
        timeline = [Cue(FRAME_SECONDS / 4, Rank.FRAME, lambda: self.send(BotTtsStopped()))]
        for index in range(frames):
            # Real time with one frame of lead: two at once, then one on every beat.
            rank = Rank.FRAME if index else Rank.FIRST_FRAME
            timeline.append(Cue(max(index - 1, 0) * FRAME_SECONDS, rank, partial(play, index)))
        announced = 0.0
        for speech in speeches:
            timeline += self._cues_of(speech, announced)
            announced = speech.starts[-1]
        await self.send(BotTtsStarted())
        for cue in sorted(timeline, key=lambda cue: (cue.at, cue.rank)):
            await trio.sleep_until(began + cue.at)
            await cue.act()
        await trio.sleep_until(began + (frames - 1) * FRAME_SECONDS)
        await self._stop_speaking()

    def _cues_of(self, speech: Speech, announced: float) -> list["Cue"]:
        """Return what is said of a segment, and when: that it is new, and how far it has come."""
        segment = self._new_segment()
        whole = BotOutput(
            text=speech.text,
            output_type="sentence",
            segment_id=segment,
            spoken=False,
            will_be_spoken=True,
            spoken_status="new",
            spoken_progress=SpokenProgress(accumulated_text="", remaining_text=speech.text),
        )
        cues = [Cue(announced, Rank.NEW, lambda: self.send(whole))]
        done = 0
        for number, (word, start) in enumerate(zip(speech.words, speech.starts, strict=True)):
            done = speech.text.index(word, done) + len(word)
            last = number == len(speech.words) - 1
            progress = self._progress(speech.text, word, done, segment, last=last)

            async def tell(word: str = word, progress: BotOutput = progress) -> None:
                await self.send(BotTtsText(text=word))
                await self.send(progress)

            cues.append(Cue(start, Rank.WORD, tell))
        return cues

    def _progress(self, text: str, word: str, done: int, segment: int, *, last: bool) -> BotOutput:
        if self.protocol.client_version[0] == 1:
            return BotOutput(
                text=word,
                output_type="word",
                segment_id=segment,
                spoken=True,
                will_be_spoken=True,
                spoken_status="completed",
                spoken_progress=SpokenProgress(accumulated_text=word, remaining_text=""),
            )
        return BotOutput(
            text=text,
            output_type="sentence",
            segment_id=segment,
            will_be_spoken=True,
            spoken_status="completed" if last else "in-progress",
            spoken_progress=SpokenProgress(
                accumulated_text=text[:done], remaining_text=text[done:]
            ),
        )

    def _new_segment(self) -> int:
        self._segments += 1
        return self._segments

    async def _stop_speaking(self) -> None:
        if self._speaking:
            self._speaking = False
            await self.send(BotStoppedSpeaking())

    async def _leave(self) -> None:
        voice = self.bot.voice
        silence = AudioChunk(voice.silence(END_SILENCE_SECONDS), voice.sample_rate)
        await self.link.send_audio(silence)
        await trio.sleep(FRAME_SECONDS)
        await self.link.aclose()


# -- what every client may ask, of this bot and of the real one in the tests ----------------------


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _text(d: Json) -> str:
    return str(d.get("text", "") if isinstance(d, dict) else d or "")


async def _ping(conversation: Conversation, d: Json) -> Json:
    return {"pong": d}


async def _fail(conversation: Conversation, d: Json) -> Json:
    raise RefusedError("as requested")


async def _silent(conversation: Conversation, d: Json) -> Json:
    return None


async def _say(conversation: Conversation, d: Json) -> Json:
    conversation.say(_text(d))
    return {"said": _text(d)}


async def _user(conversation: Conversation, d: Json) -> Json:
    await conversation.hear_user(_text(d))


async def _function(conversation: Conversation, d: Json) -> Json:
    city = d.get("city", "") if isinstance(d, dict) else _text(d)
    question = f"What is the weather in {city}?"
    conversation.call_function("get_weather", {"city": city}, question=question)


async def _error(conversation: Conversation, d: Json) -> Json:
    await conversation.send(Error(error=_text(d)))


async def _fatal(conversation: Conversation, d: Json) -> Json:
    await conversation.send(Error(error=_text(d), fatal=True))
    await conversation.hang_up()


async def _end(conversation: Conversation, d: Json) -> Json:
    conversation.leave()


async def _cancel(conversation: Conversation, d: Json) -> Json:
    await conversation.hang_up()


async def _crash(conversation: Conversation, d: Json) -> Json:
    raise BotCrashedError("crash, as requested")


async def _interrupt(conversation: Conversation, d: Json) -> Json:
    await conversation.interrupt()


async def _flood(conversation: Conversation, d: Json) -> Json:
    count = d.get("count") if isinstance(d, dict) else d
    if not isinstance(count, int):
        raise RefusedError("flood wants a count")
    for number in range(count):
        await conversation.send(ServerMessage(data={"n": number}))
    return {"flooded": count}


async def _about(conversation: Conversation, d: Json) -> Json:
    ready = conversation.protocol.client_ready
    return {} if ready is None else to_json(ready)


RequestHandler = Callable[[Conversation, Json], Awaitable[Json]]

REQUESTS: Final[dict[str, RequestHandler]] = {
    "about": _about,
    "cancel": _cancel,
    "crash": _crash,
    "end": _end,
    "error": _error,
    "fail": _fail,
    "fatal": _fatal,
    "flood": _flood,
    "function": _function,
    "interrupt": _interrupt,
    "ping": _ping,
    "say": _say,
    "silent": _silent,
    "user": _user,
}
