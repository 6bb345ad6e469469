"""One call of a load run: what the caller does, and what is measured of it."""

import shutil
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final, final

import attrs
import trio

from ... import Metrics, PipecatError, Session, SessionKeywords, State, WavError, WavRecorder
from ...audio import AudioChunk, WavReader, write_wav
from ...reports import LoadResult, TurnLog, TurnRecord
from .._run import leaves
from ._ear import Answer, Ear
from ._plan import LoadPlan
from ._words import CallerFunction, Words

#: How long an answer of which there is only text may take to be heard as well, in seconds.
_SOUND_MAY_COME: Final = 2.0
#: An answer is over at last, in seconds: a bot with music behind it is never quiet.
_LONGEST_ANSWER: Final = 300.0
#: So much of an answer's text is told, in characters.
_MOST_TEXT: Final = 200
#: What of a recording is kept before and after a turn, in seconds.
_MARGIN: Final = 0.5


class NotAnsweredError(Exception):
    """The bot did not answer in time."""


@attrs.frozen
class TimedTurn:
    """A turn, from its first word to the end of the answer, on trio's clock."""

    record: TurnRecord
    began: float
    ended: float


@final
@attrs.define(kw_only=True, eq=False)
class Call:
    """What one caller does in one session, and what of it is measured."""

    plan: LoadPlan
    words: tuple[Words, ...]
    function: CallerFunction | None
    caller: int
    number: int
    result: LoadResult
    #: When the run began, on trio's clock.
    began: float
    #: Set when callers are to come to an end.
    leaving: trio.Event
    is_recorded: bool = False
    session: Session | None = None
    #: It said all that it had to say, or was told to leave.
    is_done: bool = False
    #: Why it failed, if it did, and all of its turns: measured or not, for whoever observes it.
    cause: str | None = None
    turns: list[TimedTurn] = attrs.field(factory=list)
    #: The turns that were counted.
    _measured: list[TurnRecord] = attrs.field(factory=list)
    _was_ready: bool = False
    #: How many frames were how late by the beginning of the measuring window, and by its end, with
    #: the latest of them; None: the call was over before.
    _late_before: dict[float, int] = attrs.field(factory=dict)
    _late_by_the_end: tuple[dict[float, int], float] | None = None
    _ear: Ear | None = None
    _log: TurnLog | None = None
    _said: list[tuple[float, float]] = attrs.field(factory=list)
    _recording: Path | None = None
    _recorder: WavRecorder | None = None

    # -- the conversation --

    async def hold(self, session: Session) -> None:
        """Hold the conversation. What a group's member does.

        Raises:
            NotAnsweredError: the bot has not answered in time.
        """
        self.session = session
        if self.is_recorded:
            self._record(session)
        if self.function is not None:
            self._log = TurnLog(session)
            await self.function(session)
        else:
            ear = self._ear = Ear(session, self._note_metrics)
            async with trio.open_nursery() as nursery:
                await nursery.start(ear.listen)
                await session.wait_ready()
                await self._talk(session, ear)
                nursery.cancel_scope.cancel()
        self.is_done = True

    async def _talk(self, session: Session, ear: Ear) -> None:
        rng = self.plan.rng("think", self.caller, self.number)
        with trio.move_on_after(self.plan.greeting):
            await ear.wait_busy()
        await self._hear_out(ear)
        for number, words in enumerate(self.words, 1):
            if self.leaving.is_set():
                return
            await trio.sleep(rng.uniform(*self.plan.think))
            await self._exchange(session, ear, words, number)

    async def _exchange(self, session: Session, ear: Ear, words: Words, number: int) -> None:
        """Say something, and hear the answer."""
        record = TurnRecord(
            caller=self.caller, call=self.number, turn=number, at=0.0, said=words.name
        )
        interruptions, stale = ear.interruptions, session.audio.stale_seconds
        began = trio.current_time()
        answer = await self._say(session, ear, words)
        try:
            with trio.move_on_after(self.plan.turn_timeout):
                await ear.wait_answer(answer)
            if answer.has_begun:
                patience = self.plan.turn_timeout if ear.has_voice else _SOUND_MAY_COME
                with trio.move_on_after(patience):
                    await ear.wait_sound(answer)
                await self._hear_out(ear)
        except trio.Cancelled:
            self._note_cut(TimedTurn(record, began, trio.current_time()), answer, words)
            raise
        record.interrupted = ear.interruptions > interruptions
        record.stale = session.audio.stale_seconds - stale
        self._note_answer(record, answer, words)
        self._note_turn(TimedTurn(record, began, trio.current_time()))
        if not answer.has_begun:
            raise NotAnsweredError(f"no answer within {self.plan.turn_timeout:g} s")

    def _note_cut(self, turn: TimedTurn, answer: Answer, words: Words) -> None:
        """The call is over in the middle of a turn: put down what can be said of it."""
        end = None if self.session is None else self.session.end
        has_left = end is not None and end.first != "client"
        if answer.has_begun or has_left or turn.ended - answer.since > self._slowest():
            # Where there is no answer, it would have been the slowest of all: to leave it out would
            # make a bot that hangs look quick.
            self._note_answer(turn.record, answer, words)
            silent_since = answer.since if self._ear is None else self._ear.heard_until(answer)
            turn.record.dead_air = max(turn.record.dead_air or 0.0, turn.ended - silent_since)
            self._note_turn(turn)
        elif self._in_window(answer.since):
            # It was neither answered in time nor not: how it would have gone is not known.
            self.result.counts["cut"] += 1

    def _slowest(self) -> float:
        """Return the longest that anybody has waited for an answer by now."""
        waited = (self.result.metrics.get(name) for name in ("v2v", "t2v", "first_event"))
        return max((times.max for times in waited if times is not None and len(times)), default=0.0)

    async def _say(self, session: Session, ear: Ear, words: Words) -> Answer:
        if words.text is not None:
            answer = ear.begin_turn(trio.current_time())
            with trio.move_on_after(self.plan.turn_timeout):  # the link may be backed up
                await session.send_text(words.text)
            self._said.append((answer.since, answer.since))
            return answer
        assert words.sound is not None
        answer = ear.begin_turn(trio.current_time() + words.voice_ends)
        report = await session.stream_audio(words.sound)
        if report is not None and report.began is not None:
            answer.since = report.began + words.voice_ends
            self._said.append((report.began + words.voice_begins, answer.since))
        return answer

    async def _hear_out(self, ear: Ear) -> None:
        with trio.move_on_after(_LONGEST_ANSWER):
            await ear.wait_quiet(self.plan.turn_pause)

    # -- what is measured --

    def _in_window(self, at: float) -> bool:
        begin, end = self.plan.window
        return begin <= at - self.began < end

    def _note_metrics(self, metrics: Metrics) -> None:
        if self._in_window(metrics.at):
            for timing in metrics.ttfb or ():
                self.result.metric(f"server.{timing.processor}").add(timing.value)

    def _note_answer(self, record: TurnRecord, answer: Answer, words: Words) -> None:
        record.at = answer.since - self.began
        record.answered = answer.has_begun
        record.answer = answer.text[:_MOST_TEXT]
        if answer.first_event is not None:
            record.first_event = max(answer.first_event - answer.since, 0.0)
        if answer.first_sound is not None:
            waited = max(answer.first_sound - answer.since, 0.0)
            if words.text is None:
                record.v2v = waited
            else:
                record.t2v = waited
            record.dead_air = max(waited, answer.longest_gap)

    @property
    def is_ready(self) -> bool:
        """Is its bot ready, and has not left?"""
        return self.session is not None and self.session.state is State.READY

    def note_if_ready(self) -> bool:
        """Return whether its bot is or was ready; the first time, put down how long it took."""
        session = self.session
        if session is None or not session.states.ready.is_set():
            return False
        if not self._was_ready:
            self._was_ready = True
            self.result.counts["reached"] += 1
            self._note_start(session)
        return True

    def begin_to_measure(self) -> None:
        """The measuring window begins: what was sent late before that does not count."""
        if self.session is not None:
            self._late_before = dict(self.session.pacing.histogram)

    def end_measuring(self) -> None:
        """It is over: nor does what is late from now on, when everybody hangs up at once."""
        if self.session is not None:
            self._late_by_the_end = _lateness(self.session)

    def _note_start(self, session: Session) -> None:
        # Of a state that was entered again, the first time.
        times = dict(reversed(session.history))
        took = times[State.READY] - times[State.IDLE]
        self.result.slowest_ready = max(self.result.slowest_ready or 0.0, took)
        if not self._in_window(times[State.READY]):
            return
        metric = self.result.metric
        if State.AUTHENTICATED in times:
            metric("start").add(times[State.AUTHENTICATED] - times[State.AUTHENTICATING])
        metric("connect").add(times[State.CONNECTED] - times[State.CONNECTING])
        metric("ready").add(took)

    def finish(self, error: Exception | None) -> None:
        """The call is over: put down what was measured, and in `cause` why it failed, if it did."""
        session = self.session
        self.cause = _cause(error)
        if session is None or session.end is None:
            return
        self.note_if_ready()
        at = trio.current_time()
        began = session.history[0][1] - self.began
        if self.cause is None and not self.is_done and session.end.first != "client":
            self.cause = f"the bot left: {session.end.text or session.end.code}"
        begin, end = self.plan.window
        # What fails after the window is not measured; but who was waiting did so in it.
        is_known = (
            at - self.began < end
            or self.cause is None
            or not self._was_ready
            or isinstance(error, NotAnsweredError)
        )
        if began < end and at - self.began >= begin and is_known:
            if self.cause is None and not self._was_ready and not self.is_done:
                # The goodbye is no waiting for the bot.
                left = dict(reversed(session.history)).get(State.DISCONNECTING, at)
                self.result.cut_starting.append(left - session.history[0][1])
            else:
                self._note_call(session, at)
        if self._log is not None:
            for metrics in (metrics for turn in self._log.turns for metrics in turn.metrics):
                self._note_metrics(metrics)
            for turn in self._turns_of(self._log, session):
                self._note_turn(turn)
        self._keep_worst(session)

    def _note_call(self, session: Session, at: float) -> None:
        result = self.result
        assert session.end is not None
        result.counts["calls"] += 1
        result.endings[session.end.reason] += 1
        moment = result.moment(at - self.began)
        moment.calls += 1
        if self.cause is not None:
            result.counts["failed"] += 1
            result.errors[self.cause] += 1
            moment.errors += 1
        result.metric("call").add(at - session.history[0][1])
        late, latest = self._late_by_the_end or _lateness(session)
        for bound, count in late.items():
            since = count - self._late_before.get(bound, 0)
            if since > 0:
                result.metric("lateness").add(min(bound, latest), since)

    def _turns_of(self, log: TurnLog, session: Session) -> list[TimedTurn]:
        """Return the turns of a function of the user's: what is known of them from the sound."""
        opened = session.history[0][1]
        turns = []
        for turn in log.turns:
            words_end = turn.user_ended if turn.user_ended is not None else turn.text_sent
            if words_end is None:
                continue  # a greeting
            first = next(
                (
                    at
                    for at in (turn.llm_started, turn.tts_started, turn.bot_started_speaking)
                    if at is not None
                ),
                None,
            )
            waited = turn.voice_to_voice if turn.text_sent is None else turn.text_to_voice
            record = TurnRecord(
                caller=self.caller,
                call=self.number,
                turn=turn.number,
                at=opened - self.began + words_end,
                said=turn.user_text,
                answer=turn.bot_text[:_MOST_TEXT],
                v2v=turn.voice_to_voice,
                t2v=turn.text_to_voice,
                first_event=None if first is None else max(first - words_end, 0.0),
                dead_air=waited,
                stale=turn.stale_ms / 1000,
                interrupted=turn.interrupted is not None,
                answered=turn.was_answered or bool(turn.bot_text),
            )
            begins = words_end if turn.user_started is None else turn.user_started
            ends = max(words_end, turn.bot_ended or 0.0, turn.bot_stopped_speaking or 0.0)
            turns.append(TimedTurn(record, opened + begins, opened + ends))
        return turns

    def _note_turn(self, turn: TimedTurn) -> None:
        self.turns.append(turn)
        record = turn.record
        if not self._in_window(record.at + self.began):
            return
        result = self.result
        self._measured.append(record)
        if self.plan.keeps_turns:
            result.turns.append(record)
        moment = result.moment(record.at)
        moment.turns += 1
        result.counts["turns"] += 1
        result.counts["answered"] += record.answered
        result.counts["interruptions"] += record.interrupted
        for name in ("v2v", "t2v", "first_event", "dead_air"):
            value = getattr(record, name)
            if value is not None:
                result.metric(name).add(value)
        if record.interrupted:
            result.metric("stale").add(record.stale)
        if record.answered and record.waited < float("inf"):
            moment.waited.add(record.waited)

    # -- recordings --

    def _record(self, session: Session) -> None:
        folder = self.plan.audio_folder
        assert folder is not None
        self._recording = Path(tempfile.mkdtemp(dir=folder)) / "call.wav"
        try:
            self._recorder = WavRecorder(session, self._recording)
        except OSError as error:
            self._recording = None
            self._note_missing(error)

    def _note_missing(self, error: OSError | WavError) -> None:
        note = f"recordings are missing: {getattr(error, 'strerror', None) or error}"
        if note not in self.result.notes:
            self.result.notes.append(note)

    def _keep_worst(self, session: Session) -> None:
        """Keep its turns if they are bad enough, with their sound if it was recorded."""
        if self._recorder is not None and self._recorder.error is not None:
            self._note_missing(self._recorder.error)
        try:
            for record in self._measured:
                if self._recording is not None:
                    self._cut(record, session.history[0][1])
                candidates = [*self.result.worst, record]
                self.result.keep_if_bad(record)
                for turn in candidates:
                    if turn.audio is not None and turn not in self.result.worst:
                        Path(turn.audio).unlink(missing_ok=True)
        finally:
            if self._recording is not None:
                shutil.rmtree(self._recording.parent, ignore_errors=True)

    def _cut(self, record: TurnRecord, session_began: float) -> None:
        """Write the sound of a turn to a file of its own."""
        assert self._recording is not None
        words_end = record.at + self.began
        said = [span for span in self._said if abs(span[1] - words_end) < 0.01]
        begins = min([begin for begin, _ in said], default=words_end) - _MARGIN
        heard = [] if self._ear is None else self._ear.utterances
        later = [span for span in self._said if span[0] > words_end]
        next_begins = min([begin for begin, _ in later], default=float("inf"))
        answer = [span for span in heard if begins <= span[0] < next_begins]
        ends = max([end for _, end in answer], default=words_end + max(record.waited, 0)) + _MARGIN
        if ends == float("inf"):
            ends = words_end + self.plan.turn_timeout
        begins = max(begins, session_began)
        name = f"caller-{self.caller}-{self.number}-turn-{record.turn}.wav"
        path = Path(self.plan.audio_folder or ".") / name
        try:
            with WavReader(self._recording) as reader:
                rate = reader.sample_rate
                reader.read(max(round((begins - session_began) * rate), 0) or 1)
                sound = reader.read(max(round((ends - begins) * rate), 1))
            if sound.pcm:
                write_wav(path, AudioChunk(sound.pcm, sound.sample_rate, sound.num_channels))
                record.audio = str(path)
        except (OSError, WavError) as error:
            self._note_missing(error)
        record.spoken = [
            *(("caller", begin - begins, end - begins) for begin, end in said if end > begin),
            *(("bot", begin - begins, end - begins) for begin, end in answer),
        ]


class Observer:
    """Is told of each call when it begins, and when it is over. This one is not interested."""

    def beginning(self, call: Call) -> AbstractContextManager[SessionKeywords]:
        """Return what a call begins in, which gives what its session is opened with in addition."""
        return nullcontext({})

    def over(self, call: Call) -> None:
        """A call is over; what was measured is put down."""


def _lateness(session: Session) -> tuple[dict[float, int], float]:
    """Return how many frames were how late by now, and the latest of them."""
    return dict(session.pacing.histogram), session.pacing.max


def _cause(error: Exception | None) -> str | None:
    """Return what a call failed of, so that calls that fail alike are counted together."""
    if error is None:
        return None
    first: Any = next(iter(leaves(ExceptionGroup("", [error]))))
    if isinstance(first, PipecatError):
        status = getattr(first, "status", None)
        reason = getattr(first, "reason", None)
        detail = status if status is not None else reason
        return f"{type(first).__name__}{'' if detail is None else f' {detail}'}"
    text = str(first).partition("\n")[0][:80]
    return f"{type(first).__name__}: {text}" if text else type(first).__name__
