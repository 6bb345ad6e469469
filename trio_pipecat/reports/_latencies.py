"""Percentiles of times, from an HDR histogram: exact to a fixed part of each value, and mergeable.

The histogram is HdrHistogram's, of the extra ``report``; only this module knows it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final, Self, final

from .._errors import UnsupportedFeatureError

#: Values are kept in whole microseconds, to three significant digits, up to an hour.
_PER_SECOND: Final = 1_000_000
_HIGHEST: Final = 3_600 * _PER_SECOND
_DIGITS: Final = 3


@final
class Latencies:
    """A distribution of times, in seconds. Each is kept to 0.1 % of its value, or a microsecond.

    Raises:
        UnsupportedFeatureError: the extra ``report`` is not installed.
    """

    def __init__(self) -> None:
        self._histogram = _new_histogram()

    def __len__(self) -> int:
        return int(self._histogram.get_total_count())

    def __repr__(self) -> str:
        if not len(self):
            return "<Latencies: none>"
        p50, p95 = (1000 * self.percentile(percent) for percent in (50, 95))
        return f"<Latencies: {len(self)}, p50 {p50:.0f} ms, p95 {p95:.0f} ms>"

    def add(self, seconds: float, count: int = 1) -> None:
        """Record a time, so often. What is below zero counts as zero, over an hour as an hour.

        Raises:
            ValueError: it is NaN.
        """
        micros = round(min(max(seconds, 0) * _PER_SECOND, _HIGHEST))
        self._histogram.record_value(micros, count)

    def merge(self, other: "Latencies") -> None:
        """Record all that another has recorded."""
        if len(other):  # the library takes the minimum of none for 0
            self._histogram.add(other._histogram)

    def percentile(self, percent: float) -> float:
        """Return the time that so many per cent of them were within.

        Raises:
            ValueError: there is none, or no such percentile.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"a percentile is from 0 to 100, not {percent}")
        self._check()
        return float(self._histogram.get_value_at_percentile(percent)) / _PER_SECOND

    def percentiles(self, *percents: float) -> list[float]:
        """Return several at once, in this order: all of them take hardly longer than one.

        Raises:
            ValueError: there is none, or no such percentile.
        """
        wrong = [percent for percent in percents if not 0 <= percent <= 100]
        if wrong:
            raise ValueError(f"a percentile is from 0 to 100, not {wrong[0]}")
        self._check()
        histogram, up_to = self._histogram, list(accumulate(self._counts()))
        found = []
        for percent in percents:
            rank = histogram.get_target_count_at_percentile(percent)
            micros = histogram.get_value_from_index(bisect_left(up_to, rank))
            if percent:
                micros = histogram.get_highest_equivalent_value(micros)
            found.append(float(micros) / _PER_SECOND)
        return found

    def counts_within(self, bounds: Sequence[float]) -> list[int]:
        """Return, for each of these times, how many of them were no longer: for other histograms.

        Raises:
            ValueError: one is NaN.
        """
        histogram, counts = self._histogram, self._counts()
        found = []
        for bound in bounds:
            micros = round(min(max(bound, -1) * _PER_SECOND, _HIGHEST))
            # The places of a histogram begin at values that go upwards.
            end = bisect_right(range(len(counts)), micros, key=histogram.get_value_from_index)
            found.append(sum(counts[:end]))
        return found

    @property
    def total(self) -> float:
        """All of them together; of none: zero."""
        begins = self._histogram.get_value_from_index
        micros = sum(
            count * ((begins(place) + begins(place + 1)) // 2)
            for place, count in enumerate(self._counts())
            if count
        )
        return float(micros) / _PER_SECOND

    @property
    def min(self) -> float:
        """The shortest."""
        self._check()
        return float(self._histogram.get_min_value()) / _PER_SECOND

    @property
    def max(self) -> float:
        """The longest."""
        self._check()
        return float(self._histogram.get_max_value()) / _PER_SECOND

    @property
    def mean(self) -> float:
        """The mean."""
        self._check()
        return self.total / len(self)

    def encode(self) -> str:
        """Return it as text, in HdrHistogram's own compressed form."""
        encoded: bytes = self._histogram.encode()
        return encoded.decode("ascii")

    @classmethod
    def decode(cls, text: str) -> Self:
        """Return what `encode` has encoded.

        Raises:
            ValueError: it is something else.
        """
        made = cls()
        try:
            made._histogram.decode_and_add(text.encode("ascii"))
        except Exception as error:  # the library's own, zlib's, base64's, struct's …
            raise ValueError("not an encoded histogram") from error
        return made

    def _counts(self) -> list[int]:
        """Return how many there are at each place of the histogram."""
        counts: list[int] = self._histogram.counts[:]
        return counts

    def _check(self) -> None:
        if not len(self):
            raise ValueError("there are no times yet")


def _new_histogram() -> Any:
    try:
        from hdrh.histogram import HdrHistogram
    except ImportError as error:
        line = 'pip install "trio-pipecat[report]"'
        raise UnsupportedFeatureError("percentiles", line) from error
    return HdrHistogram(1, _HIGHEST, _DIGITS)
