"""Axes of charts: where a value is, and which values are written beside them."""

import math
from collections.abc import Iterable
from typing import Final, Self, final

import attrs

from ._words import tell_count

#: About so many ticks are on an axis.
_TICKS: Final = 5
_TIME_TICKS: Final = 8
_LOG_TICKS: Final = 8
#: Values that are further apart than this are told apart on a logarithmic axis only.
_WIDE: Final = 8.0
#: A logarithmic axis has no zero: what is this much less than the highest is at its foot.
_DEEPEST: Final = 1e4
#: What there is no time for is a time of so many seconds.
_SOON: Final = 1e-3

#: Steps of time that people count in, in seconds.
_STEPS: Final = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800),
    *(3_600, 7_200, 14_400, 21_600, 43_200, 86_400),
)
#: A span up to so many seconds has its ticks in a unit of so many seconds.
_UNITS: Final = ((180, 1, "s"), (3 * 3_600, 60, "min"), (math.inf, 3_600, "h"))

#: The tail of a curve of percentiles ends here, as a power of ten.
_FURTHEST: Final = 4.0
_PERCENTS: Final = ("50", "75", "90", "95", "99", "99.9", "99.99")


@final
@attrs.frozen
class Axis:
    """One side of a plot, from `low` to `high`."""

    low: float
    high: float
    #: Values, and what is written there.
    ticks: tuple[tuple[float, str], ...]
    is_log: bool = False

    def share(self, value: float) -> float:
        """Return how far along a value is, from 0 to 1. What is outside is at an end."""
        if self.is_log:
            of, whole = math.log(max(value, self.low) / self.low), math.log(self.high / self.low)
        else:
            of, whole = value - self.low, self.high - self.low
        return min(max(of / whole, 0.0), 1.0)

    # -- what there is to show --

    @classmethod
    def of_time(cls, span: float) -> Self:
        """Return the time of a run, or of a turn: from 0 to `span` seconds."""
        span = max(span, _SOON)
        unit, name = next((unit, name) for most, unit, name in _UNITS if span <= most)
        allowed = (step for step in _STEPS if step >= unit or unit == 1)
        step = next((step for step in allowed if span / step <= _TIME_TICKS), None)
        if step is None:
            step = nice_step(span / _TIME_TICKS / _STEPS[-1]) * _STEPS[-1]
        return cls(0.0, span, _ticks(span, step, 1 / unit, f" {name}"))

    @classmethod
    def of_latencies(cls, values: Iterable[float]) -> Self:
        """Return an axis for times that were waited, logarithmic if they are far apart."""
        shown = sorted(values)
        highest = max(shown[-1] if shown else 0.0, _SOON)
        middle = shown[len(shown) // 2] if shown else 0.0
        if middle and highest / middle > _WIDE:
            return cls._logarithmic(max(shown[0], highest / _DEEPEST), highest)
        return cls._of_latencies(highest)

    @classmethod
    def _of_latencies(cls, highest: float) -> Self:
        unit, name = (1e-3, "ms") if highest < 1 else (1.0, "s")
        step = nice_step(highest / unit / _TICKS) * unit
        top = math.ceil(highest / step - 1e-9) * step
        return cls(0.0, top, _ticks(top, step, 1 / unit, f" {name}"))

    @classmethod
    def _logarithmic(cls, lowest: float, highest: float) -> Self:
        powers = range(math.floor(math.log10(lowest)), math.ceil(math.log10(highest)) + 1)
        nice = [float(f"{factor}e{power}") for power in powers for factor in (1, 2, 5)]
        low = max(value for value in nice if value <= lowest * (1 + 1e-9))
        high = min(value for value in nice if value >= highest * (1 - 1e-9))
        shown = [value for value in nice if low <= value <= high]
        if len(shown) > _LOG_TICKS:
            shown = [value for value in shown if f"{value:e}".startswith("1")]
        return cls(low, high, tuple((value, _time(value)) for value in shown), is_log=True)

    @classmethod
    def of_counts(cls, highest: float, *, whole: bool = True) -> Self:
        """Return an axis for numbers of things, which are `whole`, or rates of them."""
        step = nice_step(max(highest, 1e-9) / _TICKS)
        if whole:
            step = max(step, 1.0)
        top = max(math.ceil(highest / step - 1e-9), 1) * step
        return cls(0.0, top, _ticks(top, step, 1.0, ""))

    @classmethod
    def of_percentiles(cls, count: int) -> Self:
        """Return an axis that gives each nine of the percentiles as much room as the one before.

        `tail` tells where a percentile is. At its end, of so many times there is only one beyond.
        """
        high = min(max(math.log10(max(count, 1)), 1.0), _FURTHEST)
        places = [(tail(float(percent)), f"p{percent}") for percent in _PERCENTS]
        return cls(0.0, high, tuple(place for place in places if place[0] <= high + 1e-9))


def tail(percent: float) -> float:
    """Return where a percentile is: 90 at 1, 99 at 2, 99.9 at 3."""
    return -math.log10(1 - percent / 100)


def percent_at(place: float) -> float:
    """Return which percentile is there: what `tail` undoes."""
    return 100 * (1 - 10**-place)


def nice_step(rough: float) -> float:
    """Return the next 1, 2 or 5, with as many zeros as it takes."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(f * power for f in (1.0, 2.0, 5.0, 10.0) if f * power >= rough * (1 - 1e-9))


def _ticks(high: float, step: float, factor: float, unit: str) -> tuple[tuple[float, str], ...]:
    """Return ticks from 0 to `high`; what is written there is so many times as much."""
    digits = max(-math.floor(math.log10(step * factor) + 1e-9), 0)
    values = [number * step for number in range(math.floor(high / step + 1e-9) + 1)]
    return tuple(
        (
            value,
            f"{value * factor:.{digits}f}{unit}" if digits else tell_count(value * factor) + unit,
        )
        for value in values
    )


def _time(seconds: float) -> str:
    """Return a time that is round, in the unit in which it is."""
    for unit, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= unit * (1 - 1e-9):
            return f"{seconds / unit:g} {name}"
    return "0 s"
