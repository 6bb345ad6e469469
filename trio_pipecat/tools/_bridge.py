"""``trio-pipecat bridge``: two bots talk to each other. Who says what is told, and how fast."""

import json
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, final

import attrs
import trio
from rich.console import Console
from rich.text import Text

from .. import (
    BotMessage,
    BridgeRecorder,
    BridgeReport,
    BridgeSide,
    PipecatError,
    Session,
    SessionKeywords,
    open_session,
)
from .. import bridge as bridge_sessions
from ._console import open_console, print_error
from ._options import shown_target
from ._run import leaves
from ._times import percentile
from ._transcript import Line, Transcript

Name: TypeAlias = Literal["a", "b"]

_STYLES: Final = {"a": "cyan", "b": "magenta"}


@attrs.define(kw_only=True, eq=False)
class BotToBridge:
    """A bot that is to talk to another one: where it is, and how to get in."""

    name: Name
    target: str | None
    keywords: SessionKeywords
    session: Session | None = None

    def patient_keywords(self) -> SessionKeywords:
        """Return the keywords with which one that leaves does not cancel the other's last words."""
        keywords = self.keywords.copy()
        keywords["disconnect_on_bot_disconnect"] = False
        return keywords


async def bridge(
    a: BotToBridge,
    b: BotToBridge,
    *,
    duration: float | None = None,
    record: Path | None = None,
    first: Name | None = None,
    text: str | None = None,
    as_json: bool = False,
) -> int:
    """Have two bots talk until one leaves or `duration` is over, and return the exit code."""
    talk = _Talk(a=a, b=b, first=first, console=open_console(stderr=as_json, quiet=as_json))
    # What can't be is a usage error, and raised here.
    block_a, block_b = (open_session(bot.target, **bot.patient_keywords()) for bot in (a, b))
    try:
        async with block_a as a.session, block_b as b.session:
            if talk.begin_recording(record):
                await talk.hold(text, float("inf") if duration is None else duration)
    except* PipecatError as group:
        talk.failures += [f"{type(error).__name__}: {error}" for error in leaves(group)]
    finally:
        talk.finish()
        if as_json:
            print(json.dumps(talk.as_json()), flush=True)
        else:
            talk.tell()
    for failure in talk.failures[:1]:
        print_error(failure)
    return 1 if talk.failures else 0


@final
@attrs.define(kw_only=True, eq=False)
class _Talk:
    a: BotToBridge
    b: BotToBridge
    first: Name | None
    console: Console
    report: BridgeReport = attrs.field(factory=BridgeReport)
    failures: list[str] = attrs.field(factory=list)
    _recorder: BridgeRecorder | None = None
    #: Why it is over, if nobody has left.
    _over: str = "interrupted"
    _began: float = 0.0
    #: Of what each has said, how many lines are printed; and when the next one began.
    _transcripts: dict[Name, Transcript] = attrs.field(
        factory=lambda: {"a": Transcript(), "b": Transcript()}
    )
    _shown: dict[Name, int] = attrs.field(factory=lambda: {"a": 0, "b": 0})
    _line_began: dict[Line, float] = attrs.field(factory=dict)

    def begin_recording(self, path: Path | None) -> bool:
        """Record, if there is somewhere to. False: that can't be."""
        a, b = self.a.session, self.b.session
        if path is None or a is None or b is None:
            return True
        try:
            self._recorder = BridgeRecorder(a, b, path)
        except OSError as error:
            self.failures.append(f"{path}: {error.strerror or error}")
            return False
        return True

    async def hold(self, text: str | None, seconds: float) -> None:
        """Hold it, and print what is said."""
        a, b = self.a.session, self.b.session
        assert a is not None
        assert b is not None
        self._began = a.history[0][1]
        async with trio.open_nursery() as nursery:
            for bot in (self.a, self.b):
                nursery.start_soon(self._listen, bot)
            with trio.move_on_after(seconds) as limit:
                if text is not None:
                    nursery.start_soon(self._begin_with, text)
                await bridge_sessions(a, b, first=self.first, report=self.report)
            self._over = "the time is over" if limit.cancelled_caught else "nobody talks any more"
            nursery.cancel_scope.cancel()

    async def _begin_with(self, text: str) -> None:
        """Say something to the one that begins, when both can hear what comes of it."""
        a, b = self.a.session, self.b.session
        assert a is not None
        assert b is not None
        await a.wait_ready()
        await b.wait_ready()
        await (b if self.first == "b" else a).send_text(text)

    async def _listen(self, bot: BotToBridge) -> None:
        assert bot.session is not None
        transcript = self._transcripts[bot.name]
        with bot.session.subscribe(BotMessage) as events:
            async for event in events:
                if transcript.add(event):
                    self._show(bot.name, event.at)

    def _show(self, name: Name, at: float) -> None:
        """Print the lines of one of them that nothing is added to any more."""
        transcript = self._transcripts[name]
        lines = [line for line in transcript.lines if line.who != "you"]
        for line in lines[self._shown[name] :]:
            self._line_began.setdefault(line, at)
            if not line.is_over:
                break
            self._shown[name] += 1
            if line.text:
                seconds = self._line_began[line] - self._began
                told = Text(f"{seconds:8.2f}  ", style="dim")
                told.append(name, style=_STYLES[name])
                self.console.print(told.append(f"  {line.text}", style="default"))

    # -- afterwards --

    def finish(self) -> None:
        """Nothing more will be said: print what was cut off."""
        for name, transcript in self._transcripts.items():
            transcript.finish()
            self._show(name, self._began)
        if self._recorder is not None and (error := self._recorder.error) is not None:
            self.failures.append(f"{self._recorder.path} is not whole: {error.strerror or error}")

    def as_json(self) -> dict[str, Any]:
        """Return what came of it."""
        recorder = self._recorder
        return {
            "a": _facts(self.a, self.report.a),
            "b": _facts(self.b, self.report.b),
            "record": None if recorder is None else str(recorder.path),
            "error": next(iter(self.failures), None),
        }

    def tell(self) -> None:
        """Print what came of it."""
        print_line = self.console.print
        for me, other, side in (("a", "b", self.report.a), ("b", "a", self.report.b)):
            line = Text(me, style=_STYLES[me])
            line.append(f"  spoke {_spoken(side):.1f} s in {_turns(side)}", style="default")
            if times := _latencies(side):
                p50, longest = percentile(times, 50), times[-1]
                line.append(f"; {other} waited p50 {p50:.2f} s, max {longest:.2f} s", style="bold")
            if side.delay.count:
                p50, p99 = (1000 * side.delay.percentile(percent) for percent in (50, 99))
                line.append(f"; heard {p50:.0f} ms later, p99 {p99:.0f} ms", style="dim")
            print_line(line)
        if self._recorder is not None:
            print_line(f"written: {self._recorder.path}", style="bold", markup=False)
        print_line(f"ended: {self._end}", style="dim", markup=False)

    @property
    def _end(self) -> str:
        """Why it is over, in words."""
        for bot in (self.a, self.b):
            end = None if bot.session is None else bot.session.end
            if end is not None and end.reason not in ("client", "cancelled"):
                return f"{bot.name}: {_ENDS[end.reason]}"
        return self._over


_ENDS: Final = {
    "bot": "it has left",
    "connection_lost": "the connection was lost",
    "fatal_error": "it reported a fatal error",
    "startup_failed": "it did not come",
}


def _facts(bot: BotToBridge, side: BridgeSide) -> dict[str, Any]:
    end = None if bot.session is None else bot.session.end
    times = _latencies(side)
    return {
        "target": None if bot.target is None else shown_target(bot.target),
        "end": None if end is None else end.reason,
        "voice_to_voice": None
        if not times
        else {
            "count": len(times),
            "p50": round(percentile(times, 50), 4),
            "p95": round(percentile(times, 95), 4),
            "max": round(times[-1], 4),
        },
        **side.as_json(),
    }


def _latencies(side: BridgeSide) -> list[float]:
    """Return how long the other waited for each answer, the shortest first."""
    return sorted(t for turn in side.turns if (t := turn.voice_to_voice) is not None)


def _spoken(side: BridgeSide) -> float:
    """Return how long it spoke. Over some links there is sound all the time."""
    return sum(
        turn.bot_ended - turn.bot_started
        for turn in side.turns
        if turn.bot_started is not None and turn.bot_ended is not None
    )


def _turns(side: BridgeSide) -> str:
    count = sum(turn.bot_started is not None for turn in side.turns)
    return "1 turn" if count == 1 else f"{count} turns"
