"""One exchange of a conversation: what is known of it."""

from typing import Any, Final

import attrs

from .._messages import BotOutput, Metrics

_DIGITS: Final = 4


@attrs.define(kw_only=True, eq=False)
class Turn:
    """One exchange. Times are in seconds since the session began; None: it has not happened.

    What was heard is measured from the sound, to about 10 ms where there is no noise:
    `user_started`, `user_ended`, `bot_started` and `bot_ended`. The rest is when the bot's events
    came, the first of each kind; `bot_stopped_speaking` is the last.
    """

    number: int
    user_started: float | None = None
    user_ended: float | None = None
    #: When text was sent instead.
    text_sent: float | None = None
    user_text: str = ""
    user_stopped_speaking: float | None = None
    llm_started: float | None = None
    llm_stopped: float | None = None
    tts_started: float | None = None
    tts_stopped: float | None = None
    bot_started_speaking: float | None = None
    bot_started: float | None = None
    bot_ended: float | None = None
    bot_stopped_speaking: float | None = None
    #: When the bot was interrupted.
    interrupted: float | None = None
    #: Sound that `Session.audio` had given out by then and that was still to sound, and what it
    #: gave out of the same utterance afterwards, in milliseconds.
    stale_ms: float = 0.0
    metrics: list[Metrics] = attrs.field(factory=list, repr=lambda metrics: f"<{len(metrics)}>")
    _heard: dict[object, str] = attrs.field(factory=dict, repr=False, init=False)

    @property
    def voice_to_voice(self) -> float | None:
        """From the end of the user's voice to the first sound of the bot's: what a caller waits.

        Negative if the bot spoke before the user was done.
        """
        if self.user_ended is None or self.bot_started is None:
            return None
        return self.bot_started - self.user_ended

    @property
    def text_to_voice(self) -> float | None:
        """From the text to the first sound."""
        if self.text_sent is None or self.bot_started is None:
            return None
        return self.bot_started - self.text_sent

    @property
    def bot_text(self) -> str:
        """What the bot said, as far as it was spoken."""
        return " ".join(filter(None, (text.strip() for text in self._heard.values())))

    @property
    def was_answered(self) -> bool:
        """Has the bot begun to speak?"""
        return self.bot_started is not None or self.bot_started_speaking is not None

    @property
    def server_ttfb(self) -> dict[str, float]:
        """The server's own times to first byte in this turn, in seconds, by processor."""
        return {
            timing.processor: timing.value
            for metrics in self.metrics
            for timing in metrics.ttfb or ()
        }

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object: its fields, rounded to 0.1 ms, and what follows from them."""
        times = {
            field.name: rounded(getattr(self, field.name))
            for field in attrs.fields(Turn)
            if field.name not in ("metrics", "_heard", "number")
        }
        return {
            "number": self.number,
            **times,
            "bot_text": self.bot_text,
            "voice_to_voice": rounded(self.voice_to_voice),
            "text_to_voice": rounded(self.text_to_voice),
            "server_ttfb": self.server_ttfb,
        }

    def hear(self, output: BotOutput) -> None:
        """Add what was spoken to the bot's text."""
        progress = output.spoken_progress
        if output.output_type == "word":
            self._heard[None] = f"{self._heard.get(None, '')} {output.text}"
        elif output.spoken_status == "completed" or (
            progress is None and output.will_be_spoken is False
        ):
            self._heard[output.segment_id] = output.text
        elif progress is not None:
            self._heard[output.segment_id] = progress.accumulated_text


def rounded(value: Any) -> Any:
    """Return seconds to 0.1 ms, and what is no number as it is."""
    return round(value, _DIGITS) if isinstance(value, float) else value
