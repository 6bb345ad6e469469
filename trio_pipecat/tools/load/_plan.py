"""What a load run does, as a value that goes to other processes, and other machines, as JSON."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any, Literal, Self, TypeAlias, cast, final

import attrs

from ... import PipecatClient, SessionKeywords
from ...reports import Latencies
from .._options import shown_target
from ._shape import Shape
from ._words import load_caller, prepare

#: ``closed``: so many callers, each of whom calls again. ``open``: so many who come in a second.
Model: TypeAlias = Literal["closed", "open"]


@attrs.frozen(kw_only=True)
class Budget:
    """How well this tool has to keep up for its figures to be trusted. Shares are from 0 to 1."""

    #: How late its frames may be at the 99th percentile, and its event loop, in seconds.
    lateness: float = 0.02
    loop_lag: float = 0.05
    #: How much of a core it may use, and what the machine's hypervisor may give to others.
    cpu: float = 0.9
    steal: float = 0.1
    #: The longest pause of its garbage collector, in seconds.
    gc_pause: float = 0.1


@final
@attrs.frozen(kw_only=True)
class LoadPlan:
    """Who calls whom, when, and what is said. Times are in seconds."""

    target: str
    #: How to get in: keywords of `open_session` that JSON can hold.
    keywords: SessionKeywords = attrs.field(factory=dict, repr=False)  # type: ignore[assignment]
    shape: Shape
    model: Model = "closed"
    #: What is said in a call, one after the other: texts, or the paths of WAV files.
    texts: tuple[str, ...] = ()
    wavs: tuple[str, ...] = ()
    #: Or whatever ``async def caller(session)`` does: ``path.py:name`` or ``module:name``.
    caller: str | None = None
    #: How long a caller thinks before speaking, and between two calls: from, to.
    think: tuple[float, float] = (0.0, 0.0)
    #: How long a bot may take to begin an answer.
    turn_timeout: float = 30.0
    #: So much quiet, and the bot's answer is over.
    turn_pause: float = 0.5
    #: How long a caller listens first whether the bot speaks.
    greeting: float = 1.0
    #: What is not measured, at both ends.
    warm_up: float = 0.0
    cool_down: float = 0.0
    #: How long callers have at the end to finish what they are at.
    wind_down: float = 5.0
    #: In the open model: more callers than that at once there are not.
    max_callers: int = 1_000
    seed: int = 1
    #: So many callers are recorded at a time, and where to.
    recorded: int = 4
    audio_folder: str | None = None
    #: Keep every turn that is measured.
    keeps_turns: bool = False
    #: Make a span of each call.
    spans: bool = False
    budget: Budget = attrs.field(factory=Budget)

    @property
    def seconds(self) -> float:
        """How long it takes, without the winding down."""
        return self.shape.seconds

    @property
    def window(self) -> tuple[float, float]:
        """From when until when is measured."""
        return self.warm_up, max(self.seconds - self.cool_down, self.warm_up)

    def open_client(self) -> PipecatClient:
        """Return what opens the sessions.

        Raises:
            InvalidParamsError, UnsupportedFeatureError: it can't work.
        """
        return PipecatClient(self.target, **self.keywords)

    def rng(self, *what: object) -> Random:
        """Return a source of randomness for something, the same in each run and process."""
        return Random(":".join(map(str, (self.seed, *what))))

    def callers(self, index: int, of: int) -> Iterator[tuple[int, list[tuple[float, float]]]]:
        """Yield the callers of a part, and when each is there: the closed model."""
        for caller in range(index, round(self.shape.peak), of):
            spans = self.shape.presence(caller)
            if spans:
                yield caller, spans

    def arrivals(self, index: int, of: int) -> Iterator[tuple[int, float]]:
        """Yield the callers of a part, and when each comes: the open model."""
        for caller, at in enumerate(self.shape.arrivals(self.rng("arrivals"))):
            if caller % of == index:
                yield caller, at

    def described(self) -> dict[str, Any]:
        """Return it for a report, as JSON, with nothing secret in it."""
        whole = self.as_json()
        del whole["keywords"], whole["audio_folder"]
        return {**whole, "target": shown_target(self.target)}

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON, secrets and all: for other processes of the same run."""
        return {
            **attrs.asdict(self, recurse=False),
            "shape": self.shape.as_json(),
            "budget": attrs.asdict(self.budget),
            "keywords": dict(self.keywords),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read it back."""
        lists = {name: tuple(data[name]) for name in ("texts", "wavs")}
        low, high = data["think"]
        return cls(
            **{
                **data,
                **lists,
                "think": (low, high),
                "shape": Shape.from_json(data["shape"]),
                "budget": Budget(**data["budget"]),
                "keywords": cast("SessionKeywords", data["keywords"]),
            }
        )

    def check(self) -> None:
        """Refuse what can't work, before anybody calls.

        Raises:
            ValueError, OSError: that; InvalidParamsError and UnsupportedFeatureError too.
        """
        Latencies()  # it takes the extra
        self.open_client()
        if self.warm_up + self.cool_down >= self.seconds:
            raise ValueError(
                f"nothing is left to measure of {self.seconds:g} s: {self.warm_up:g} s are for "
                f"warming up and {self.cool_down:g} s for cooling down"
            )
        if sum(map(bool, (self.texts, self.wavs, self.caller))) > 1:
            raise ValueError("callers either say texts, or play files, or run a function")
        if self.caller is not None:
            load_caller(self.caller)
        prepare(self.texts, self.wavs)
        if self.audio_folder is not None:
            Path(self.audio_folder).mkdir(parents=True, exist_ok=True)
