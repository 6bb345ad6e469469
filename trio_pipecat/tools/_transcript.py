"""Who said what in a session, line by line, from its events. No I/O."""

from typing import Literal, final

import attrs

from .. import (
    BotInterrupted,
    BotOutput,
    BotStartedSpeaking,
    BotStoppedSpeaking,
    BotTranscription,
    Error,
    Event,
    UserInput,
    UserTranscription,
)

Who = Literal["you", "bot", "note"]


@attrs.define(eq=False)
class Line:
    """What one side said at a stretch. `rest` was written, and not spoken yet."""

    who: Who
    said: str = ""
    rest: str = ""
    #: Nothing is added any more.
    is_over: bool = False
    interrupted: bool = False
    #: How long the other side had waited for it, in seconds.
    latency: float | None = None

    @property
    def text(self) -> str:
        """All of it that was spoken, for people who read."""
        cut = " … (interrupted)" if self.interrupted else ""
        return f"{self.said.strip()}{cut}".strip()


@attrs.define
class _Segment:
    said: str = ""
    rest: str = ""


@final
class Transcript:
    """What was said, the oldest first. Tell it what was typed, and what happens."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        #: In the bot's own words.
        self.bot_is_speaking = False
        self._bots: Line | None = None
        self._users: Line | None = None
        self._segments: dict[object, tuple[Line, _Segment]] = {}
        self._typed: list[str] = []
        self._seen: set[type[Event]] = set()
        self._latency: float | None = None

    def type(self, text: str) -> None:
        """The user has typed this."""
        self._typed.append(text)
        self._end_users_line()
        self._user_said(text, final=True)
        self._end_users_line()

    def note(self, text: str) -> None:
        """Something was to be told that nobody said."""
        self._add(Line("note", text, is_over=True))

    def answered_after(self, seconds: float) -> None:
        """The bot began to answer so long after the user had ended."""
        last = self._last
        if last is not None and last.who == "bot":
            last.latency = seconds
        else:
            self._latency = seconds

    def add(self, event: Event) -> bool:
        """Add what an event says. False: it says nothing."""
        self._seen.add(type(event))
        match event:
            case UserInput(input_type="chat", text=text) if text in self._typed:
                self._typed.remove(text)
            case UserInput(text=text, final=final):
                self._user_said(text, final=final)
            case UserTranscription(text=text, final=final) if UserInput not in self._seen:
                self._user_said(text, final=final)
            case BotOutput():
                self._bot_said(event)
            case BotTranscription(text=text) if BotOutput not in self._seen:
                self._speaks(text)
            case BotStartedSpeaking():
                self.bot_is_speaking = True
            case BotStoppedSpeaking():
                self.bot_is_speaking = False
                self._end_bots_line()
            case BotInterrupted():
                self._interrupted()
            case Error(error=text):
                self.note(f"the bot reports: {text}")
            case _:
                return False
        return True

    def finish(self) -> None:
        """Nothing more will be said."""
        for line in self.lines:
            line.is_over = True
            line.rest = ""

    def _add(self, line: Line) -> Line:
        self.lines.append(line)
        return line

    @property
    def _last(self) -> Line | None:
        """The last line that somebody said."""
        return next((line for line in reversed(self.lines) if line.who != "note"), None)

    # -- the user --

    def _user_said(self, text: str, *, final: bool) -> None:
        if self._users is None:
            self._users = self._add(Line("you"))
        if final:
            self._users.said = f"{self._users.said} {text.strip()}".strip()
        self._users.rest = "" if final else text

    def _end_users_line(self) -> None:
        if self._users is not None:
            self._users.is_over = True
            self._users.rest = ""
            self._users = None

    # -- the bot --

    def _bot_said(self, output: BotOutput) -> None:
        progress = output.spoken_progress
        if output.output_type == "word":
            if output.spoken is not False:
                self._speaks(output.text)
        elif output.spoken_status == "completed" or output.will_be_spoken is False:
            self._has_said(output, output.text, "")
        elif progress is not None:
            self._has_said(output, progress.accumulated_text, progress.remaining_text)
        elif output.spoken_status is not None:
            self._has_said(output, "", output.text)
        elif output.spoken is not False:
            self._speaks(output.text)

    def _speaks(self, words: str) -> None:
        """Go on with the bot's line; words come without the space between them."""
        line = self._bots_line()
        line.said = f"{line.said} {words.strip()}".strip()

    def _has_said(self, output: BotOutput, said: str, rest: str) -> None:
        """A segment was spoken so far."""
        known = self._segments.get(output.segment_id)
        if known is None or (known[0].is_over and output.spoken_status == "new"):
            known = self._segments[output.segment_id] = (self._bots_line(), _Segment())
        line, segment = known
        if line.interrupted:
            return
        segment.said, segment.rest = said, rest
        parts = [part for owner, part in self._segments.values() if owner is line]
        line.said = " ".join(filter(None, (part.said.strip() for part in parts)))
        line.rest = " ".join(filter(None, (part.rest.strip() for part in parts)))
        if output.will_be_spoken is False and not self.bot_is_speaking:
            line.is_over = not line.rest

    def _bots_line(self) -> Line:
        """Return the line to which new words of the bot belong."""
        if self._bots is None or self._bots.is_over or self._bots is not self._last:
            self._end_users_line()
            self._bots = self._add(Line("bot", latency=self._latency))
            self._latency = None
        return self._bots

    def _end_bots_line(self) -> None:
        if self._bots is not None:
            self._bots.is_over = True
            self._segments = {
                key: (line, segment)
                for key, (line, segment) in self._segments.items()
                if line is self._bots
            }

    def _interrupted(self) -> None:
        line = self._bots
        if line is None or (line.is_over and not line.rest):
            return
        line.interrupted = bool(line.rest) or self.bot_is_speaking
        line.rest = ""
        line.is_over = True
