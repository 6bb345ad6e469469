"""A conversation as turns: who spoke when, measured from the sound, beside what the bot says of it.

A turn is what the user says (or types, or nothing, for a greeting) and what the bot answers. It
begins when the user begins to speak or sends text after the bot has begun to answer, or when the
bot speaks for the first time. A user who pauses and goes on before the bot has answered is in the
same turn.

Sound is heard when it would be played: a chunk that comes while the one before still sounds is
heard after it.
"""

from types import TracebackType
from typing import Any, Final, Self, final

import trio

from .._codec import decode_command
from .._messages import (
    BotInterrupted,
    BotLlmStarted,
    BotLlmStopped,
    BotMessage,
    BotOutput,
    BotReady,
    BotStartedSpeaking,
    BotStoppedSpeaking,
    BotTtsStarted,
    BotTtsStopped,
    Event,
    Metrics,
    SendText,
    UserInput,
    UserStoppedSpeaking,
)
from .._session import Session
from .._state import SessionEnd
from .._tap import Tap
from ..audio import AudioChunk, SpeechBound, SpeechStarted
from ..transports import Incoming
from ._hearing import Hearing
from ._latencies import Latencies
from ._turn import Turn, rounded

#: Events of which a turn keeps the first that came, by the name of the field.
_MARKS: Final[dict[type[Event], str]] = {
    UserStoppedSpeaking: "user_stopped_speaking",
    BotLlmStarted: "llm_started",
    BotLlmStopped: "llm_stopped",
    BotTtsStarted: "tts_started",
    BotTtsStopped: "tts_stopped",
    BotStartedSpeaking: "bot_started_speaking",
}
#: A user of whom nothing came for so long, in seconds, is not speaking.
_QUIET: Final = 0.2


@final
class TurnLog(Tap):
    """Listens to a session on both sides, and puts down its turns.

    Make one at the top of the block, before the first ``await``, and nothing is missed::

        async with open_session("sim:") as session:
            log = TurnLog(session)
            ...
        for turn in log.turns:
            print(turn.voice_to_voice)

    It listens until the session is over, or `stop`; the turns stay. It costs a few milliseconds of
    CPU for each second of speech.
    """

    def __init__(self, session: Session) -> None:
        self.turns: list[Turn] = []
        #: When the bot was ready.
        self.bot_ready: float | None = None
        self._session = session
        self._driver = session._driver
        self._began = session.history[0][1]
        self._user = Hearing(is_clean=False)
        self._bot = Hearing(is_clean=True)
        #: Whose turn the one is that is speaking.
        self._users_turn: Turn | None = None
        self._bots_turn: Turn | None = None
        self._audio = session.audio
        self._stale = self._audio.stale_seconds
        self._changed = trio.lowlevel.ParkingLot()
        if session.end is None:
            self._driver.add_tap(self)

    def __repr__(self) -> str:
        return f"<TurnLog: {len(self.turns)} turns>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Listen no more."""
        if self in self._driver.taps:
            self._driver.remove_tap(self)
            self._settle(self._now())
        self._changed.unpark_all()

    @property
    def voice_to_voice(self) -> Latencies:
        """All turns' voice-to-voice latencies.

        Raises:
            UnsupportedFeatureError: the extra ``report`` is not installed.
        """
        latencies = Latencies()
        for turn in self.turns:
            if (seconds := turn.voice_to_voice) is not None:
                latencies.add(seconds)
        return latencies

    async def wait_change(self) -> None:
        """Wait until something is added to a turn, or there is nothing more to listen to.

        Cancelling is safe.
        """
        if self._session.end is not None or self not in self._driver.taps:
            await trio.lowlevel.checkpoint()
        else:
            await self._changed.park()

    def as_json(self) -> dict[str, Any]:
        """Return it all as a JSON object."""
        return {
            "bot_ready": rounded(self.bot_ready),
            "turns": [turn.as_json() for turn in self.turns],
        }

    # -- what happens --

    def sent(self, item: Incoming, at: float) -> None:
        """The client has said something."""
        if isinstance(item, AudioChunk):
            for bound in self._user.hear(item, at - self._began):
                self._user_spoke(bound)
        elif isinstance(item, str):
            self._sent_message(item, at - self._began)

    def received(self, item: Incoming, at: float) -> None:
        """The bot has said something."""
        if isinstance(item, AudioChunk):
            for bound in self._bot.hear(item, at - self._began):
                self._bot_spoke(bound)

    def happened(self, event: Event) -> None:
        """And this is what it meant."""
        at = event.at - self._began
        if isinstance(event, BotMessage):
            self._mark(event, at)
        match event:
            case BotReady():
                self.bot_ready = at if self.bot_ready is None else self.bot_ready
            case BotInterrupted():
                self._interrupted(at)
            case BotStartedSpeaking() if not self._user.is_speech or self._user.end < at - _QUIET:
                self._settle_user()
            case BotStoppedSpeaking():
                for bound in self._bot.settle():
                    self._bot_spoke(bound)
            case _:
                pass
        self._note_stale()
        self._changed.unpark_all()

    def finished(self, end: SessionEnd, at: float) -> None:
        """The session is over: whoever was speaking has stopped."""
        self._settle(at - self._began)
        self._note_stale()
        self._changed.unpark_all()

    # -- the user --

    def _user_spoke(self, bound: SpeechBound) -> None:
        if isinstance(bound, SpeechStarted):
            turn = self._users_turn = self._turn_of_user()
            if turn.user_started is None:
                turn.user_started = bound.seconds
            # Who goes on before the answer is heard has it begin anew.
            for mark in _MARKS.values():
                setattr(turn, mark, None)
        elif self._users_turn is not None:
            self._users_turn.user_ended = bound.seconds
        self._changed.unpark_all()

    def _turn_of_user(self) -> Turn:
        """Return the turn of a user who speaks or writes: a new one, if the last is taken."""
        turn = self.turns[-1] if self.turns else None
        if turn is None or turn.text_sent is not None or turn.was_answered:
            return self._begin()
        return turn

    def _sent_message(self, text: str, at: float) -> None:
        if SendText.TYPE not in text:
            return
        decoded = decode_command(text)
        command = decoded[1] if isinstance(decoded, tuple) else None
        if isinstance(command, SendText) and command.run_immediately:
            turn = self._turn_of_user()
            turn.text_sent = at
            turn.user_text = command.content
            self._changed.unpark_all()

    def _settle_user(self) -> None:
        for bound in self._user.settle():
            self._user_spoke(bound)

    # -- the bot --

    def _bot_spoke(self, bound: SpeechBound) -> None:
        if isinstance(bound, SpeechStarted):
            turn = self._bots_turn = self._answering()
            if turn.bot_started is None:
                turn.bot_started = bound.seconds
        elif self._bots_turn is not None:
            self._bots_turn.bot_ended = bound.seconds
        self._changed.unpark_all()

    def _interrupted(self, at: float) -> None:
        turn = self._speaking()
        if turn is None and self._bot.end > at:
            turn = self._bots_turn  # of a bot that does not say when it speaks
        for bound in self._bot.cut(at):
            self._bot_spoke(bound)
        if turn is not None:
            turn.interrupted = at
            # Of a burst it was known before when it would have sounded.
            if turn.bot_started is not None and turn.bot_started > at:
                turn.bot_started = turn.bot_ended = None
            elif turn.bot_ended is not None:
                turn.bot_ended = min(turn.bot_ended, at)

    def _mark(self, event: BotMessage, at: float) -> None:
        match event:
            case UserInput(final=True, input_type="transcription", text=text):
                users = self._users_turn or self._answering()
                users.user_text = f"{users.user_text} {text}".strip()
            case BotOutput():
                self._answering().hear(event)
            case Metrics():
                self._answering().metrics.append(event)
            case BotStoppedSpeaking():
                speaking = self._speaking()
                if speaking is not None:
                    speaking.bot_stopped_speaking = at
            case _ if (mark := _MARKS.get(type(event))) is not None:
                turn = self._answering()
                if getattr(turn, mark) is None:
                    setattr(turn, mark, at)

    def _speaking(self) -> Turn | None:
        """Return the turn whose answer is being spoken, in the bot's judgement."""
        for turn in self.turns[-2:]:
            if turn.bot_started_speaking is not None and turn.bot_stopped_speaking is None:
                return turn
        return None

    def _answering(self) -> Turn:
        """Return the turn to which something of the bot belongs that happens now."""
        speaking = self._speaking()
        if speaking is not None and self.turns[-1].llm_started is None:
            return speaking
        return self.turns[-1] if self.turns else self._begin()

    # -- both --

    def _begin(self) -> Turn:
        self.turns.append(Turn(number=len(self.turns) + 1))
        return self.turns[-1]

    def _settle(self, at: float) -> None:
        """Whoever is speaking is cut off."""
        for bound in self._user.cut(at):
            self._user_spoke(bound)
        for bound in self._bot.cut(at):
            self._bot_spoke(bound)

    def _note_stale(self) -> None:
        """Put down what `Session.audio` could not call back when the bot was interrupted."""
        stale = self._audio.stale_seconds - self._stale
        if stale > 0:
            for turn in reversed(self.turns[-3:]):
                if turn.interrupted is not None:
                    turn.stale_ms += 1000 * stale
                    self._stale = self._audio.stale_seconds
                    return

    def _now(self) -> float:
        return trio.current_time() - self._began
