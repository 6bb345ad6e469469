"""What a load run has measured: mergeable, and the document that every report is made from.

A run is done by one process or many, and each gives a `LoadResult`. Results are merged as what they
are: histograms by adding them up, counts by adding, lists by joining; a percentile is never merged.
`LoadResult.as_json` is the document that ``--json`` writes, and `from_json` reads it back.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, Self, final

import attrs

from ._latencies import Latencies
from ._turn import rounded

#: The version of the document. It grows when something in it gets another meaning.
VERSION: Final = 1
#: Of the slowest turns so many are kept, and of those that were recorded so many.
MOST_WORST: Final = 10
MOST_RECORDED: Final = 5
_PERCENTS: Final = (50, 90, 95, 99)
#: What of a turn is only told of the worst.
_SOUND: Final = ("audio", "spoken")
_NEVER_READY: Final = "the bot was not ready by the end"

#: What is measured, by name, and what it is. All are times in seconds.
METRICS: Final[dict[str, str]] = {
    "start": "the start endpoint's answer",
    "connect": "opening the link",
    "ready": "from the beginning of a call until its bot is ready",
    "v2v": "voice to voice: from the end of the caller's voice to the bot's first sound",
    "t2v": "text to voice: from the caller's text to the bot's first sound",
    "first_event": "from the end of the caller's words to the bot's first event about them",
    "dead_air": "the longest silence in a turn, from the end of the caller's words to the end of "
    "the answer",
    "stale": "sound of an interrupted answer that was given out all the same",
    "call": "how long a call lasted",
    "lateness": "how late this tool sent its frames",
    "loop_lag": "how late this tool's own event loop was",
}


@attrs.define(kw_only=True)
class TurnRecord:
    """One turn of one call. `at` is when the caller's words were over, since the run began."""

    caller: int
    call: int
    turn: int
    at: float
    said: str = ""
    answer: str = ""
    v2v: float | None = None
    t2v: float | None = None
    first_event: float | None = None
    dead_air: float | None = None
    stale: float = 0.0
    interrupted: bool = False
    answered: bool = False
    #: Both voices, where they were recorded: the path of a WAV file, the caller on the left.
    audio: str | None = None
    #: When who spoke, in seconds from the beginning of `audio`: ``("caller" | "bot", from, to)``.
    spoken: list[tuple[str, float, float]] = attrs.field(factory=list)

    @property
    def waited(self) -> float:
        """How long the caller waited, whatever it was for: what turns are compared by."""
        times = (self.v2v, self.t2v, self.first_event)
        return next((time for time in times if time is not None), float("inf"))

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {name: rounded(value) for name, value in attrs.asdict(self).items()}

    def without_sound(self) -> dict[str, Any]:
        """Return it as a JSON object that does not tell where its sound is."""
        names = (field.name for field in attrs.fields(type(self)) if field.name not in _SOUND)
        return {name: rounded(getattr(self, name)) for name in names}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read it back, with its sound or without."""
        if "spoken" not in data:
            return cls(**data)
        spoken = [(str(who), float(begin), float(end)) for who, begin, end in data["spoken"]]
        return cls(**{**data, "spoken": spoken})


@attrs.define(kw_only=True)
class Moment:
    """What happened in one stretch of the run; `Timeline.step` is how long that is."""

    #: Who was there when most callers were: those that were starting, and those that were ready.
    starting: int = 0
    ready: int = 0
    calls: int = 0
    turns: int = 0
    errors: int = 0
    waited: Latencies = attrs.field(factory=Latencies)

    def merge(self, other: "Moment") -> None:
        """Add another process's same stretch."""
        self.starting += other.starting
        self.ready += other.ready
        self.calls += other.calls
        self.turns += other.turns
        self.errors += other.errors
        self.waited.merge(other.waited)


@attrs.define(kw_only=True)
class Part:
    """One process of a run: who it was, and whether it kept up. Shares are from 0 to 1."""

    index: int
    of: int = 1
    host: str = ""
    pid: int = 0
    callers: int = 0
    #: Its CPU, as a share of one core.
    cpu: float = 0.0
    #: What the machine's hypervisor gave to others.
    steal: float = 0.0
    gc_pauses: int = 0
    gc_longest: float = 0.0
    lateness_p99: float = 0.0
    loop_lag_p99: float = 0.0
    #: Why what it measured is not to be trusted.
    problems: list[str] = attrs.field(factory=list)


@final
@attrs.define(kw_only=True)
class LoadResult:
    """What a run, or a part of one, has measured. Times are in seconds since the run began."""

    #: What was called, without anything secret in it.
    target: str = ""
    #: How it was called, as a JSON object: `tools.load.LoadPlan.as_json`.
    plan: dict[str, Any] = attrs.field(factory=dict)
    #: When the run began, in seconds of the epoch.
    began: float = 0.0
    #: How long it ran; the measuring window; whether it was stopped before its time.
    seconds: float = 0.0
    measured_from: float = 0.0
    measured_until: float = 0.0
    interrupted: bool = False
    metrics: dict[str, Latencies] = attrs.field(factory=dict)
    #: Of calls that ended in the window: ``calls``, ``failed``; of turns: ``turns``, ``answered``,
    #: ``interruptions``; ``dropped`` are arrivals for whom there was no place.
    counts: Counter[str] = attrs.field(factory=Counter)
    #: How long calls had started when they were cut short by the end: `settle` judges them. And the
    #: longest that any call took until its bot was ready, measured or not; None: none ever was.
    cut_starting: list[float] = attrs.field(factory=list)
    slowest_ready: float | None = None
    #: Failed calls by cause, and all calls by the reason of their end.
    errors: Counter[str] = attrs.field(factory=Counter)
    endings: Counter[str] = attrs.field(factory=Counter)
    step: float = 1.0
    timeline: list[Moment] = attrs.field(factory=list)
    worst: list[TurnRecord] = attrs.field(factory=list)
    #: All that were measured, if they are kept.
    turns: list[TurnRecord] = attrs.field(factory=list)
    #: When calls began to fail and none succeeded any more, if it came to that.
    bot_died: float | None = None
    #: What is missing from the reports, and why.
    notes: list[str] = attrs.field(factory=list)
    parts: list[Part] = attrs.field(factory=list)
    #: Parts of the plan whose process is lost, with what it was to do.
    lost: list[str] = attrs.field(factory=list)

    @property
    def problems(self) -> list[str]:
        """Why the run is not valid; empty: it is."""
        found = [
            f"part {part.index}: {problem}" if len(self.parts) > 1 else problem
            for part in self.parts
            for problem in part.problems
        ]
        return found + self.lost

    @property
    def error_rate(self) -> float:
        """The share of calls that failed."""
        return self.counts["failed"] / self.counts["calls"] if self.counts["calls"] else 0.0

    # -- filling it --

    def metric(self, name: str) -> Latencies:
        """Return the distribution of a metric."""
        found = self.metrics.get(name)
        if found is None:
            found = self.metrics[name] = Latencies()
        return found

    def moment(self, at: float) -> Moment:
        """Return the stretch of the run in which `at` is."""
        index = max(int(at / self.step), 0)
        while len(self.timeline) <= index:
            self.timeline.append(Moment())
        return self.timeline[index]

    def keep_if_bad(self, turn: TurnRecord) -> bool:
        """Keep a turn if it is one of the worst, or of those that can be heard; return whether."""
        turns = sorted([*self.worst, turn], key=_badness, reverse=True)
        heard = [turn for turn in turns if turn.audio is not None][:MOST_RECORDED]
        self.worst = [t for rank, t in enumerate(turns) if rank < MOST_WORST or t in heard]
        return turn in self.worst

    def settle(self) -> None:
        """Judge the calls that were cut while they started, once the run is whole.

        Who had waited longer than anybody for a bot that was ready has failed: to leave them out
        would make a bot that has no place for some of its callers look as if it held them all. The
        rest were neither quick nor slow. Where no bot was ever ready, nothing can be said.
        """
        slowest = self.slowest_ready
        quicker = [one for one in self.cut_starting if slowest is None or one <= slowest]
        number = len(self.cut_starting) - len(quicker)
        if not number:
            return
        self.cut_starting = quicker
        self.counts.update(calls=number, failed=number)
        self.errors[_NEVER_READY] += number
        self.endings["cancelled"] += number
        moment = self.moment(self.measured_until - self.step / 2)
        moment.calls += number
        moment.errors += number

    def merge(self, other: "LoadResult") -> None:
        """Add what another process has measured of the same run."""
        self.seconds = max(self.seconds, other.seconds)
        self.interrupted |= other.interrupted
        for name, latencies in other.metrics.items():
            self.metric(name).merge(latencies)
        self.counts.update(other.counts)
        self.cut_starting = sorted([*self.cut_starting, *other.cut_starting])
        if other.slowest_ready is not None:
            self.slowest_ready = max(self.slowest_ready or 0.0, other.slowest_ready)
        self.errors.update(other.errors)
        self.endings.update(other.endings)
        for number, moment in enumerate(other.timeline):
            self.moment((number + 0.5) * self.step).merge(moment)
        for turn in other.worst:
            self.keep_if_bad(turn)
        self.turns = sorted([*self.turns, *other.turns], key=_place)
        self._merge_death(other)
        self.notes = sorted({*self.notes, *other.notes})
        self.parts = sorted([*self.parts, *other.parts], key=lambda part: part.index)
        self.lost = sorted([*self.lost, *other.lost])

    def _merge_death(self, other: "LoadResult") -> None:
        """A bot that has died is dead to everybody, and not to the callers of one part alone."""
        if not self._had_callers:
            self.bot_died = other.bot_died
        elif other._had_callers:
            both = self.bot_died is not None and other.bot_died is not None
            self.bot_died = max(self.bot_died or 0.0, other.bot_died or 0.0) if both else None

    @property
    def _had_callers(self) -> bool:
        return any(part.callers for part in self.parts)

    # -- the document --

    def as_json(self) -> dict[str, Any]:
        """Return the document."""
        return {
            "version": VERSION,
            "target": self.target,
            "plan": self.plan,
            "began": round(self.began, 3),
            "seconds": rounded(self.seconds),
            "measured_from": rounded(self.measured_from),
            "measured_until": rounded(self.measured_until),
            "interrupted": self.interrupted,
            "valid": not self.problems,
            "problems": self.problems,
            "metrics": {
                name: {"what": METRICS.get(name, name), **_figures(latencies)}
                for name, latencies in sorted(self.metrics.items())
                if len(latencies)
            },
            "counts": dict(sorted(self.counts.items())),
            "cut_starting": [rounded(waited) for waited in self.cut_starting],
            "slowest_ready": rounded(self.slowest_ready),
            "error_rate": rounded(self.error_rate),
            "errors": dict(self.errors.most_common()),
            "endings": dict(self.endings.most_common()),
            "step": self.step,
            "timeline": [_moment_as_json(moment) for moment in self.timeline],
            "worst": [turn.as_json() for turn in self.worst],
            "turns": [turn.without_sound() for turn in self.turns],
            "bot_died": rounded(self.bot_died),
            "notes": self.notes,
            "parts": [
                {name: rounded(value) for name, value in attrs.asdict(part).items()}
                for part in self.parts
            ],
            "lost": self.lost,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read a document back.

        Raises:
            ValueError: it is none, or of another version.
        """
        version = data.get("version") if isinstance(data, Mapping) else None
        if version != VERSION:
            raise ValueError(f"not a report of a load run in version {VERSION}: {version!r}")
        try:
            return cls(
                target=str(data["target"]),
                plan=dict(data["plan"]),
                began=float(data["began"]),
                seconds=float(data["seconds"]),
                measured_from=float(data["measured_from"]),
                measured_until=float(data["measured_until"]),
                interrupted=bool(data["interrupted"]),
                metrics={
                    str(name): Latencies.decode(figures["histogram"])
                    for name, figures in data["metrics"].items()
                },
                counts=Counter(data["counts"]),
                cut_starting=[float(waited) for waited in data["cut_starting"]],
                slowest_ready=data["slowest_ready"],
                errors=Counter(data["errors"]),
                endings=Counter(data["endings"]),
                step=float(data["step"]),
                timeline=[_moment_from_json(moment) for moment in data["timeline"]],
                worst=[TurnRecord.from_json(turn) for turn in data["worst"]],
                turns=[TurnRecord.from_json(turn) for turn in data["turns"]],
                bot_died=data["bot_died"],
                notes=[str(note) for note in data["notes"]],
                parts=[Part(**part) for part in data["parts"]],
                lost=[str(part) for part in data["lost"]],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a whole report of a load run: {error!r}") from error


def _place(turn: TurnRecord) -> tuple[float, int, int, int]:
    return turn.at, turn.caller, turn.call, turn.turn


def _badness(turn: TurnRecord) -> tuple[float, int, int, int]:
    # Of those that are as bad it is always the same one, in whatever order they come.
    return turn.waited, turn.caller, turn.call, turn.turn


def _figures(latencies: Latencies) -> dict[str, Any]:
    values = latencies.percentiles(*_PERCENTS)
    return {
        "count": len(latencies),
        "min": rounded(latencies.min),
        "mean": rounded(latencies.mean),
        **{f"p{percent}": rounded(value) for percent, value in zip(_PERCENTS, values, strict=True)},
        "max": rounded(latencies.max),
        "histogram": latencies.encode(),
    }


def _moment_as_json(moment: Moment) -> dict[str, Any]:
    facts = {
        "starting": moment.starting,
        "ready": moment.ready,
        "calls": moment.calls,
        "turns": moment.turns,
        "errors": moment.errors,
    }
    if not len(moment.waited):
        return {**facts, "waited": None}
    return {**facts, "waited": _figures(moment.waited)}


def _moment_from_json(data: Mapping[str, Any]) -> Moment:
    waited = data["waited"]
    latencies = Latencies() if waited is None else Latencies.decode(waited["histogram"])
    return Moment(**{**data, "waited": latencies})
