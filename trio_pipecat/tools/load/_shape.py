"""How many callers there are, or how many come, over the time of a run.

A shape is a line of straight pieces over time. In the closed model it is the number of callers:
each calls again when a call is over. In the open model it is the number of callers who come in a
second, whether or not the bot keeps up, as people do.

Everything here is arithmetic and seeded: each process of a run works out the same plan, and takes
its own part of it.
"""

import itertools
import math
import random
from collections.abc import Iterator
from typing import Final, Literal, TypeAlias, cast, get_args

import attrs

from .._times import parse_duration

Profile: TypeAlias = Literal["constant", "ramp", "steps", "spike", "soak"]
PROFILES: Final = cast("tuple[Profile, ...]", get_args(Profile))

_STEPS: Final = 5
#: Of a spike's height so much is there before and after it.
_SPIKE_BASE: Final = 0.2
#: Of a soak so much is the way up.
_SOAK_RAMP: Final = 0.1


@attrs.frozen
class Stage:
    """A piece of a shape: within so many seconds, in a straight line to so much."""

    seconds: float
    to: float


@attrs.frozen
class Shape:
    """A number over time: it begins at `start` and goes through `stages`."""

    start: float
    stages: tuple[Stage, ...]

    @property
    def seconds(self) -> float:
        """How long it is."""
        return math.fsum(stage.seconds for stage in self.stages)

    @property
    def peak(self) -> float:
        """The most there is at any time."""
        return max(self.start, *(stage.to for stage in self.stages))

    def _pieces(self) -> Iterator[tuple[float, float, float, float]]:
        """Yield from when until when, and from how much to how much."""
        at, value = 0.0, self.start
        for stage in self.stages:
            yield at, at + stage.seconds, value, stage.to
            at, value = at + stage.seconds, stage.to

    def value(self, at: float) -> float:
        """Return the number at a time; after the end it is none."""
        for begin, end, before, after in self._pieces():
            if begin <= at < end:
                return before + (after - before) * (at - begin) / (end - begin)
        return 0.0

    def scaled(self, peak: float) -> "Shape":
        """Return the same shape with another peak."""
        factor = peak / self.peak if self.peak else 0.0
        stages = tuple(Stage(stage.seconds, stage.to * factor) for stage in self.stages)
        return Shape(self.start * factor, stages)

    def presence(self, caller: int) -> list[tuple[float, float]]:
        """Return from when until when a caller is there, counted from 0: the closed model.

        The first is there as soon as the number rounds to 1, the second to 2, and so on.
        """
        level = caller + 0.5
        spans: list[tuple[float, float]] = []
        since: float | None = None
        end = 0.0
        for begin, end, before, after in self._pieces():
            if (before >= level) != (since is not None):
                # A jump, between two pieces.
                since = _toggle(spans, since, begin)
            if (after >= level) != (since is not None):
                share = (level - before) / (after - before)
                since = _toggle(spans, since, begin + share * (end - begin))
        if since is not None and end > since:
            spans.append((since, end))
        return spans

    def arrivals(self, rng: random.Random) -> Iterator[float]:
        """Yield when callers come: a Poisson process of that rate. The open model."""
        wanted = rng.expovariate(1.0)
        gone = 0.0
        for begin, end, before, after in self._pieces():
            seconds = end - begin
            area = (before + after) / 2 * seconds
            while seconds and wanted <= gone + area:
                yield begin + seconds * _share_of_area(before, after, (wanted - gone) / area)
                wanted += rng.expovariate(1.0)
            gone += area

    def as_json(self) -> list[list[float]]:
        """Return it as JSON: the start, and then each stage."""
        return [[0.0, self.start], *([stage.seconds, stage.to] for stage in self.stages)]

    @classmethod
    def from_json(cls, data: list[list[float]]) -> "Shape":
        """Read it back."""
        (_, start), *stages = data
        return cls(start, tuple(Stage(seconds, to) for seconds, to in stages))


def _toggle(spans: list[tuple[float, float]], since: float | None, at: float) -> float | None:
    if since is None:
        return at
    if at > since:
        spans.append((since, at))
    return None


def _share_of_area(before: float, after: float, share: float) -> float:
    """Return where under a straight line so much of the area is behind."""
    if math.isclose(before, after):
        return share
    # before·x + (after − before)·x²/2 = share·(before + after)/2
    slope = after - before
    area = share * (before + after) / 2
    root = math.sqrt(max(before * before + 2 * slope * area, 0.0))
    return min(max((root - before) / slope, 0.0), 1.0)


def profile(name: Profile, peak: float, seconds: float) -> Shape:
    """Return a shape by the name of its profile."""
    match name:
        case "constant":
            return Shape(peak, (Stage(seconds, peak),))
        case "ramp":
            return Shape(0, (Stage(seconds, peak),))
        case "steps":
            heights = [peak * step / _STEPS for step in range(1, _STEPS + 1)]
            return _of_heights([(seconds / _STEPS, height) for height in heights])
        case "spike":
            base = peak * _SPIKE_BASE
            return _of_heights(
                [(0.4 * seconds, base), (0.2 * seconds, peak), (0.4 * seconds, base)]
            )
        case "soak":
            ramp = _SOAK_RAMP * seconds
            return Shape(0, (Stage(ramp, peak), Stage(seconds - ramp, peak)))


def _of_heights(heights: list[tuple[float, float]]) -> Shape:
    """Return a shape that jumps from one height to the next."""
    pieces = [(Stage(0, height), Stage(seconds, height)) for seconds, height in heights]
    return Shape(heights[0][1], tuple(itertools.chain.from_iterable(pieces))[1:])


def parse_stages(text: str) -> Shape:
    """Return the shape that ``10/30s, 50/2m, 50/5m`` means: to 10 in 30 s, to 50 in 2 min, …

    It begins at 0, or at what the first says if that takes no time (``50/0s, 50/2m``).

    Raises:
        ValueError: it can't be read.
    """
    stages = []
    for part in text.split(","):
        number, slash, seconds = part.partition("/")
        try:
            to = float(number)
        except ValueError:
            to = math.nan
        if not slash or not 0 <= to < math.inf:
            raise ValueError(f"expected NUMBER/DURATION, such as 50/2m, not {part.strip()!r}")
        stages.append(Stage(parse_duration(seconds), to))
    shape = Shape(0, tuple(stages))
    if shape.seconds <= 0 or shape.peak <= 0:
        raise ValueError(f"nobody calls in {text!r}")
    return shape


def parse_span(text: str) -> tuple[float, float]:
    """Return what ``2s`` and ``1s..3s`` mean: from so many seconds to so many.

    Raises:
        ValueError: it can't be read.
    """
    first, dots, second = text.partition("..")
    low = parse_duration(first)
    high = parse_duration(second) if dots else low
    if high < low:
        raise ValueError(f"the second is less than the first: {text!r}")
    return low, high


def parse_rate(text: str) -> float:
    """Return how many a second ``2``, ``2/s`` and ``30/m`` are.

    Raises:
        ValueError: it can't be read, or nobody comes.
    """
    number, _, unit = text.partition("/")
    try:
        rate = float(number) / {"": 1, "s": 1, "m": 60, "h": 3_600}[unit.strip()]
    except (KeyError, ValueError):
        rate = math.nan
    if not 0 < rate < math.inf:
        raise ValueError(f"expected callers per time, such as 2/s or 30/m, not {text!r}")
    return rate
