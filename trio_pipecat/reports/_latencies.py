"""Percentiles of times, from an HDR histogram: exact to a fixed part of each value, and mergeable.

The histogram is HdrHistogram's, of the extra ``report``; only this module knows it.
"""

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

    def add(self, seconds: float) -> None:
        """Record a time. What is below zero counts as zero, what is over an hour as an hour.

        Raises:
            ValueError: it is NaN.
        """
        micros = round(min(max(seconds, 0) * _PER_SECOND, _HIGHEST))
        self._histogram.record_value(micros)

    def merge(self, other: "Latencies") -> None:
        """Record all that another has recorded."""
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
        return float(self._histogram.get_mean_value()) / _PER_SECOND

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
