"""Conditions under which a load run has failed: ``v2v.p95 > 1.5s``.

The grammar, whole::

    condition  = quantity, operator, value ;
    quantity   = metric, ".", statistic | rate | count ;
    metric     = "start" | "connect" | "ready" | "v2v" | "t2v" | "first_event" | "dead_air"
               | "stale" | "call" | "lateness" | "loop_lag" | "server.", name of a processor ;
    statistic  = "p", number from 0 to 100 | "min" | "mean" | "max" | "count" ;
    rate       = "error_rate" | "answer_rate" ;
    count      = "calls" | "failed" | "turns" | "answered" | "interruptions" | "dropped" ;
    operator   = ">" | ">=" | "<" | "<=" | "==" | "!=" ;
    value      = number, [ unit ] ;
    unit       = "us" | "ms" | "s" | "m" | "h" (of a time) | "%" (of a rate) ;

Blanks may be between any two of these. A time needs its unit; a rate without one is a share from 0
to 1. What was never measured fulfils every condition, for nothing is known to be well: that of
``count``, which is 0 then, excepted.
"""

import operator
import re
from collections.abc import Callable
from typing import Any, Final, final

import attrs

from ._load import METRICS, LoadResult

_RATES: Final = {"error_rate", "answer_rate"}
_COUNTS: Final = {"calls", "failed", "turns", "answered", "interruptions", "dropped"}
_SERVER: Final = "server."
_STATISTIC: Final = re.compile(r"p(?P<percent>\d+(\.\d+)?)|min|mean|max|count")
_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_SECONDS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3_600.0}
_QUANTITY: Final = re.compile(r"[^\s<>=!]+")
_OPERATOR: Final = re.compile("|".join(_OPERATORS))
_NUMBER: Final = re.compile(r"\d+(\.\d*)?|\.\d+")
_UNIT: Final = re.compile(r"[^\s]+")


class ThresholdError(ValueError):
    """A condition that can't be read: what is wrong, and at which character, from 0."""

    def __init__(self, text: str, position: int, problem: str) -> None:
        super().__init__(text, position, problem)
        self.text = text
        self.position = position
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.problem}\n  {self.text}\n  {' ' * self.position}^"


@final
@attrs.frozen
class Threshold:
    """One condition. Made by `parse_threshold`; as text it is what was parsed."""

    text: str
    #: A metric with a statistic, a rate, or a count.
    quantity: str
    statistic: str | None
    operator: str
    #: Seconds, a share from 0 to 1, or a number.
    limit: float

    def __str__(self) -> str:
        return self.text

    def value(self, result: LoadResult) -> float | None:
        """Return what the quantity is in a run; None: it was not measured."""
        if self.quantity == "error_rate":
            return result.error_rate if result.counts["calls"] else None
        if self.quantity == "answer_rate":
            turns = result.counts["turns"]
            return result.counts["answered"] / turns if turns else None
        if self.statistic is None:
            return result.counts[self.quantity]
        latencies = result.metrics.get(self.quantity)
        if latencies is None or not len(latencies):
            return 0 if self.statistic == "count" else None
        if self.statistic == "count":
            return len(latencies)
        if self.statistic.startswith("p"):
            return latencies.percentile(float(self.statistic[1:]))
        return float(getattr(latencies, self.statistic))

    def check(self, result: LoadResult) -> "Verdict":
        """Return whether the condition is fulfilled, which is a failure, and by which value."""
        value = self.value(result)
        failed = value is None or _OPERATORS[self.operator](value, self.limit)
        return Verdict(threshold=self, value=value, failed=failed)

    def tell(self, value: float | None) -> str:
        """Return a value of the quantity in the words of people."""
        if value is None:
            return "not measured"
        if self.quantity in _RATES:
            return f"{100 * value:.3g} %"
        if self.statistic in (None, "count"):
            return f"{value:g}"
        return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.2f} s"


@final
@attrs.frozen(kw_only=True)
class Verdict:
    """What came of a condition."""

    threshold: Threshold
    value: float | None
    failed: bool

    def __str__(self) -> str:
        told = self.threshold.tell(self.value)
        return f"{'failed' if self.failed else 'kept'}: {self.threshold.text} ({told})"

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "condition": self.threshold.text,
            "limit": self.threshold.limit,
            "value": self.value,
            "told": self.threshold.tell(self.value),
            "failed": self.failed,
        }


def parse_threshold(text: str) -> Threshold:
    """Read a condition.

    Raises:
        ThresholdError: it can't be read.
    """
    reader = _Reader(text)
    quantity_at = reader.skip_blanks()
    word = reader.take(_QUANTITY, "a quantity, such as v2v.p95 or error_rate")
    quantity, statistic = _split(text, quantity_at, word)
    reader.skip_blanks()
    sign = reader.take(_OPERATOR, f"one of {', '.join(sorted(_OPERATORS))}")
    reader.skip_blanks()
    number = float(reader.take(_NUMBER, "a number"))
    unit_at = reader.skip_blanks()
    unit = "" if reader.is_over else reader.take(_UNIT, "a unit")
    limit = number * _factor(text, unit_at, unit, quantity, statistic)
    rest_at = reader.skip_blanks()
    if not reader.is_over:
        raise ThresholdError(text, rest_at, "nothing is expected after it")
    return Threshold(text.strip(), quantity, statistic, sign, limit)


class _Reader:
    """A text, and how far it was read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0

    @property
    def is_over(self) -> bool:
        return self._position == len(self._text)

    def skip_blanks(self) -> int:
        while not self.is_over and self._text[self._position].isspace():
            self._position += 1
        return self._position

    def take(self, pattern: re.Pattern[str], expected: str) -> str:
        match = pattern.match(self._text, self._position)
        if match is None:
            raise ThresholdError(self._text, self._position, f"expected {expected}")
        self._position = match.end()
        return match[0]


def _split(text: str, at: int, word: str) -> tuple[str, str | None]:
    """Return a quantity, and its statistic if it is a metric."""
    if word in _RATES or word in _COUNTS:
        return word, None
    name, dot, statistic = word.rpartition(".")
    # A percentile may have a point in it.
    if re.fullmatch(r"\d+", statistic) and re.search(r"\.p\d+$", name):
        name, dot, percent = name.rpartition(".")
        statistic = f"{percent}.{statistic}"
    metric = name if dot and name else word
    if metric not in METRICS and not (metric.startswith(_SERVER) and metric != _SERVER):
        known = ", ".join([*METRICS, *sorted(_RATES), *sorted(_COUNTS)])
        raise ThresholdError(text, at, f"there is no {metric}; there are {known}")
    if not dot or metric == word:
        raise ThresholdError(text, at + len(word), f"expected a statistic, as in {metric}.p95")
    match = _STATISTIC.fullmatch(statistic)
    place = at + len(name) + 1
    if match is None:
        raise ThresholdError(text, place, "expected p0 to p100, min, mean, max or count")
    if match["percent"] is not None and float(match["percent"]) > 100:
        raise ThresholdError(text, place, "a percentile is from p0 to p100")
    return metric, statistic


def _factor(text: str, at: int, unit: str, quantity: str, statistic: str | None) -> float:
    """Return what a number is multiplied by."""
    if quantity in _RATES:
        if unit not in ("", "%"):
            raise ThresholdError(text, at, "a rate has the unit %, or none")
        return 0.01 if unit else 1.0
    if statistic in (None, "count"):
        if unit:
            raise ThresholdError(text, at, "a count has no unit")
        return 1.0
    if unit not in _SECONDS:
        raise ThresholdError(text, at, f"a time needs a unit: {', '.join(_SECONDS)}")
    return _SECONDS[unit]
