"""What one caller hears: when the bot is speaking, and when it began, at little cost.

A session of which every sample is looked at costs more than all that sends and receives it, and a
tool that holds a thousand of them would be too slow to measure anything. So sound is listened to
closely only from the end of the caller's words to the bot's first sound. Whether it goes on is told
by every sixteenth sample, and by the bot's own events.
"""

from array import array
from collections.abc import Callable
from typing import Final, final

import trio

from ... import (
    BotInterrupted,
    BotLlmStarted,
    BotLlmStopped,
    BotOutput,
    BotStartedSpeaking,
    BotStoppedSpeaking,
    BotTtsStarted,
    BotTtsStopped,
    Event,
    Metrics,
    Session,
)
from ...audio import AudioChunk, SpeechDetector, SpeechStarted
from ...reports import Turn

#: Every so manieth sample is looked at, and what is no louder than this is silence: -45 dBFS.
_STRIDE: Final = 16
_SILENCE: Final = 184
#: A sound of this length without a pause is one utterance, in seconds.
_PAUSE: Final = 0.3
#: A detector that knows that there is no noise, because it began with so much silence.
_CLEAN_SECONDS: Final = 0.1
#: From so long before the end of the caller's words on, in seconds, it is listened closely: what
#: sounds by then sounds already, and is no answer.
_BEFORE_THE_END: Final = 0.3
#: Sound that comes so much later than it should have has a gap before it.
_GAP: Final = 0.02

#: What of the bot is its answer.
ANSWERS: Final = (
    BotLlmStarted,
    BotLlmStopped,
    BotTtsStarted,
    BotTtsStopped,
    BotStartedSpeaking,
    BotStoppedSpeaking,
    BotOutput,
)


@final
class Answer:
    """What came of one turn by now. Times are `trio.current_time`."""

    def __init__(self, since: float) -> None:
        #: When the caller's words were over.
        self.since = since
        self.first_event: float | None = None
        self.first_sound: float | None = None
        #: The longest silence within the answer.
        self.longest_gap = 0.0
        self._words = Turn(number=1)

    @property
    def text(self) -> str:
        """What was said, as far as it was spoken."""
        return self._words.bot_text

    def hear(self, output: BotOutput) -> None:
        """Add what is said."""
        self._words.hear(output)

    @property
    def has_begun(self) -> bool:
        """Has the bot begun to answer?"""
        return self.first_event is not None or self.first_sound is not None


@final
class Ear:
    """Listens to one session: `listen` is its task."""

    def __init__(self, session: Session, on_metrics: Callable[[Metrics], object]) -> None:
        self._session = session
        self._on_metrics = on_metrics
        self._changed = trio.lowlevel.ParkingLot()
        #: What the bot says it is doing.
        self._doing: set[str] = set()
        self._stopped_at = float("-inf")
        #: When what has come will have sounded, and when the last that can be heard.
        self._plays_until = float("-inf")
        self._sounds_until = float("-inf")
        #: It could be heard when it was interrupted.
        self._was_cut_off = False
        self._answer: Answer | None = None
        self._onset: _Onset | None = None
        self.interruptions = 0
        #: The bot was ever heard, or said that it was going to speak.
        self.has_voice = False
        #: When the bot was heard, from and until: its utterances.
        self.utterances: list[list[float]] = []

    # -- what a caller asks --

    def begin_turn(self, at: float) -> Answer:
        """The caller's words are over, or will be `at`: what comes from now on is the answer."""
        self._answer = Answer(at)
        self._onset = _Onset()
        return self._answer

    @property
    def busy_until(self) -> float:
        """When the bot will have been quiet from, as far as is known; infinite: it is at it."""
        if self._doing:
            return float("inf")
        return max(self._sounds_until, self._stopped_at)

    def heard_until(self, answer: Answer) -> float:
        """Return until when the bot could be heard; at least to the end of the caller's words."""
        return max(answer.since, min(self._sounds_until, trio.current_time()))

    async def wait_answer(self, answer: Answer) -> None:
        """Wait until the bot has begun to answer."""
        while not answer.has_begun:
            await self._changed.park()

    async def wait_sound(self, answer: Answer) -> None:
        """Wait until the answer was heard."""
        while answer.first_sound is None:
            await self._changed.park()

    async def wait_quiet(self, seconds: float) -> None:
        """Wait until the bot has been quiet for so long."""
        since = trio.current_time()
        while True:
            busy_until = self.busy_until
            if busy_until == float("inf"):
                await self._changed.park()
                continue
            until = max(busy_until, since) + seconds
            if trio.current_time() >= until:
                await trio.lowlevel.checkpoint()
                return
            with trio.move_on_at(until):
                await self._changed.park()

    async def wait_busy(self) -> None:
        """Wait until the bot is at it."""
        while self.busy_until <= trio.current_time():
            await self._changed.park()

    # -- listening --

    async def listen(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Listen until the session is over."""
        session = self._session
        with (
            session.audio.tap(self._hear),
            session.subscribe(*ANSWERS, BotInterrupted, Metrics) as events,
        ):
            session.audio.on_flush.append(self._silenced)
            try:
                task_status.started()
                async for event in events:
                    self._happened(event)
            finally:
                session.audio.on_flush.remove(self._silenced)

    def _silenced(self) -> None:
        """The bot was interrupted: what has not sounded by now never will. Comes before its event.

        Sound is heard as it comes, and an event when this task has its turn; by then there may be
        sound of the next answer.
        """
        now = trio.current_time()
        self._was_cut_off = self._sounds_until > now
        self._plays_until = self._sounds_until = min(self._sounds_until, now)
        if self.utterances:
            self.utterances[-1][1] = min(self.utterances[-1][1], now)

    def _happened(self, event: Event) -> None:
        answer = self._answer
        match event:
            case Metrics():
                self._on_metrics(event)
                return
            case BotInterrupted():
                # A text interrupts, whether or not there is anything to be interrupted.
                if "speaking" in self._doing or self._was_cut_off:
                    self.interruptions += 1
                self._was_cut_off = False
                self._doing.clear()
            case BotLlmStarted():
                self._doing.add("llm")
            case BotLlmStopped():
                self._done("llm", event.at)
            case BotTtsStarted():
                self.has_voice = True
                self._doing.add("tts")
            case BotTtsStopped():
                self._done("tts", event.at)
            case BotStartedSpeaking():
                self.has_voice = True
                self._doing.add("speaking")
            case BotStoppedSpeaking():
                self._done("speaking", event.at)
            case BotOutput() if answer is not None:
                answer.hear(event)
                self._stopped_at = event.at
            case _:
                pass
        is_first = answer is not None and answer.first_event is None and event.at >= answer.since
        if is_first and answer is not None and isinstance(event, ANSWERS):
            answer.first_event = event.at
        self._changed.unpark_all()

    def _done(self, what: str, at: float) -> None:
        self._doing.discard(what)
        self._stopped_at = at

    def _hear(self, chunk: AudioChunk) -> None:
        now = trio.current_time()
        gap = now - self._plays_until
        begins = now if gap > _GAP else self._plays_until
        self._plays_until = begins + chunk.duration
        answer = self._answer
        listens = answer is not None and self._plays_until > answer.since - _BEFORE_THE_END
        if listens and answer is not None and self._onset is not None:
            found = self._onset.hear(chunk, begins, is_new=gap > _GAP)
            if found is not None and found >= answer.since:
                answer.first_sound = found
                self._onset = None
                self.has_voice = True
                self._changed.unpark_all()
        if _is_loud(chunk):
            if begins > self._sounds_until + _PAUSE:
                self.utterances.append([begins, self._plays_until])
            elif self.utterances:
                self.utterances[-1][1] = self._plays_until
            if answer is not None and self._sounds_until > (answer.first_sound or float("inf")):
                answer.longest_gap = max(answer.longest_gap, begins - self._sounds_until)
            woken = self._sounds_until < now
            self._sounds_until = self._plays_until
            if woken:
                self._changed.unpark_all()


class _Onset:
    """Finds the first sound of an answer in chunks, exactly, and is then thrown away."""

    def __init__(self) -> None:
        self._detector: SpeechDetector | None = None
        self._format = (0, 0)
        self._began = 0.0

    def hear(self, chunk: AudioChunk, begins: float, *, is_new: bool) -> float | None:
        format_ = (chunk.sample_rate, chunk.num_channels)
        if self._detector is None or is_new or format_ != self._format:
            self._format = format_
            self._detector = SpeechDetector(*format_)
            self._began = begins - _CLEAN_SECONDS
            self._detector.feed(AudioChunk.silence(_CLEAN_SECONDS, *format_).pcm)
        for bound in self._detector.feed(chunk.pcm):
            if isinstance(bound, SpeechStarted):
                return self._began + bound.seconds
        return None


def _is_loud(chunk: AudioChunk) -> bool:
    samples = array("h", chunk.pcm[: len(chunk.pcm) & ~1])[::_STRIDE]
    return bool(samples) and (max(samples) > _SILENCE or min(samples) < -_SILENCE)
