"""``trio-pipecat probe --every``: is the bot up, time and again, and how often was it not?"""

import json
import math
from array import array
from collections import Counter
from datetime import UTC, datetime
from typing import Any, Final, final

import attrs
import trio
from rich.text import Text

from .. import SessionKeywords, open_session
from ._console import open_console
from ._options import shown_target
from ._probe import STAGES, Findings, Stage, look
from ._run import INTERRUPTED, guard, run
from ._times import percentile, span

_DIGITS: Final = 6


def monitor(
    target: str,
    bot: SessionKeywords,
    *,
    text: str | None,
    timeout: float,
    every: float | None,
    repeat: int | None,
    as_json: bool,
) -> int:
    """Probe time and again, print each, at the end how it was, and return the exit code."""
    open_session(target, **bot)  # what can't be is a usage error, and raised here
    watch = Watch(
        target=target,
        bot=bot,
        text=text,
        patience=timeout,
        every=every,
        repeat=repeat,
        as_json=as_json,
    )
    # Without a number there is no other end than an interruption.
    code = run(watch.keep, interrupted=0 if repeat is None else INTERRUPTED)
    if code not in (0, INTERRUPTED):
        return code
    told = guard(watch.conclude)
    return code or told


@attrs.frozen
class Outage:
    """From the first probe that failed to the next that did not; or to the end."""

    since: datetime
    seconds: float
    is_over: bool


@final
@attrs.define(kw_only=True, eq=False)
class Watch:
    """Probes a bot time and again, and keeps count."""

    target: str
    bot: SessionKeywords
    text: str | None = None
    #: Seconds that each stage may take.
    patience: float
    #: Seconds from one beat to the next; None: one probe follows the other.
    every: float | None = None
    #: How often; None: for ever.
    repeat: int | None = None
    as_json: bool = False

    #: How many probes are done, how many of them found the bot up, and beats that one overran.
    done: int = attrs.field(default=0, init=False)
    up: int = attrs.field(default=0, init=False)
    skipped: int = attrs.field(default=0, init=False)
    #: How many failed, by stage.
    failed: Counter[str] = attrs.field(factory=Counter, init=False)
    #: How long the bots took to be ready: eight bytes a probe.
    ready: "array[float]" = attrs.field(factory=lambda: array("d"), init=False)
    _code: int = attrs.field(default=INTERRUPTED, init=False)
    _longest: Outage | None = attrs.field(default=None, init=False)
    #: When the outage began that goes on, if one does.
    _down: tuple[datetime, float] | None = attrs.field(default=None, init=False)
    _began: float = attrs.field(default=0.0, init=False)
    _ended: float = attrs.field(default=0.0, init=False)

    async def keep(self) -> int:
        """Probe until it was done often enough."""
        self._began = trio.current_time()
        beat = 0
        try:
            while True:
                await self._probe()
                if self.done == self.repeat:
                    return 0
                beat = await self._next_beat(beat)
        finally:
            self._ended = trio.current_time()

    async def _next_beat(self, beat: int) -> int:
        """Wait for the beat after this one, or after what has overrun it; return its number."""
        if self.every is None:
            return beat
        # Rounded first: a time that is a beat in all but its last bit is one.
        now = math.ceil(round((trio.current_time() - self._began) / self.every, 6))
        following = max(beat + 1, now)
        self.skipped += following - beat - 1
        await trio.sleep_until(self._began + following * self.every)
        return following

    async def _probe(self) -> None:
        at, began = datetime.now(UTC), trio.current_time()
        findings = Findings(target=self.target)
        try:
            await look(findings, self.bot, text=self.text, timeout=self.patience)
        except Exception as error:  # whatever it is, the next probe may do better
            detail = f"{type(error).__name__}: {' '.join(str(error).split())}"
            findings.stages.append(Stage(name=_next_stage(findings), ok=False, detail=detail))
        self._count(findings, at, began)
        if self.as_json:
            facts = {"number": self.done, "at": _iso(at), **findings.as_json()}
            print(json.dumps(facts), flush=True)
        else:
            open_console().print(_line(findings, at))

    def _count(self, findings: Findings, at: datetime, began: float) -> None:
        self.done += 1
        broken = findings.broken
        if broken is not None:
            self.failed[broken.name] += 1
            self._code = findings.code
            self._down = self._down or (at, began)
        else:
            self.up += 1
            if not self.failed:
                self._code = 0
            self._note_outage(began, is_over=True)
            self._down = None
        self.ready.extend(
            stage.seconds
            for stage in findings.stages
            if stage.name == "ready" and stage.ok and stage.seconds is not None
        )

    def _note_outage(self, until: float, *, is_over: bool) -> None:
        if self._down is None:
            return
        since, began = self._down
        outage = Outage(since, until - began, is_over)
        if self._longest is None or outage.seconds > self._longest.seconds:
            self._longest = outage

    # -- afterwards --

    def conclude(self) -> int:
        """Print how it was, and return the exit code: that of the last failure, if there was one.

        If it was interrupted before the first probe was over, nothing is known.
        """
        self._note_outage(self._ended, is_over=False)
        if self.as_json:
            print(json.dumps({"summary": self.summary()}), flush=True)
        else:
            console = open_console()
            for line in self._told():
                console.print(line)
        return self._code

    def summary(self) -> dict[str, Any]:
        """Return how it was as a JSON object. Times are in seconds."""
        outage, ready = self._longest, sorted(self.ready)
        return {
            "target": shown_target(self.target),
            "seconds": round(self._ended - self._began, _DIGITS),
            "probes": self.done,
            "up": self.up,
            "failed": dict(self.failed),
            "skipped": self.skipped,
            "longest_outage": None
            if outage is None
            else {
                "since": _iso(outage.since),
                "seconds": round(outage.seconds, _DIGITS),
                "is_over": outage.is_over,
            },
            "ready": None
            if not ready
            else {
                "p50": round(percentile(ready, 50), _DIGITS),
                "p95": round(percentile(ready, 95), _DIGITS),
                "max": round(ready[-1], _DIGITS),
            },
        }

    def _told(self) -> list[Text]:
        facts, broken = self.summary(), self.done - self.up
        line = Text(_count_of(self.done, "probe"), style="bold")
        line.append(f" in {span(facts['seconds'])}: {self.up} up", style="default")
        if broken:
            stages = ", ".join(f"{name} {count}" for name, count in self.failed.items())
            line.append(f", {broken} broken ({stages})", style="bold red")
        if self.skipped:
            line.append(f", {_count_of(self.skipped, 'beat')} skipped", style="default")
        lines = [line]
        if (outage := self._longest) is not None:
            still = "" if outage.is_over else ", not over yet"
            since = f"{outage.since.astimezone():%Y-%m-%d %H:%M:%S}"
            lines.append(Text(f"longest outage {span(outage.seconds)}, from {since}{still}"))
        if (ready := facts["ready"]) is not None:
            times = ", ".join(f"{name} {1000 * value:.0f} ms" for name, value in ready.items())
            lines.append(Text(f"ready {times}"))
        return lines


def _next_stage(findings: Findings) -> str:
    """Return the stage in which a probe itself failed: the one that has not been told of."""
    told = {stage.name for stage in findings.stages}
    return next((name for name in STAGES if name not in told), "first event")


def _line(findings: Findings, at: datetime) -> Text:
    broken = findings.broken
    line = Text(f"{at.astimezone():%Y-%m-%d %H:%M:%S}  ", style="dim")
    if broken is None:
        line.append(f"{'✔ up':<15}", style="green")
    else:
        line.append(f"{f'✘ {broken.name}':<15}", style="bold red")
    timed = [stage for stage in findings.stages if stage.seconds is not None]
    times = ", ".join(f"{stage.name} {1000 * (stage.seconds or 0):.0f} ms" for stage in timed)
    line.append(times, style="default")
    if broken is not None:
        line.append(f"{': ' if times else ''}{broken.detail}", style="default")
    return line


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _count_of(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
