"""Axes: what is written beside them, and where."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_pipecat.reports._axes import Axis, nice_step, percent_at, tail


def texts(axis: Axis) -> list[str]:
    """Return what is written beside an axis."""
    return [text for _, text in axis.ticks]


@pytest.mark.parametrize(
    ("span", "first", "second", "last"),
    [
        (0, "0.0 s", None, "0.0 s"),
        (0.75, "0.0 s", "0.1 s", "0.7 s"),
        (8, "0 s", "1 s", "8 s"),
        (60, "0 s", "10 s", "60 s"),
        (180, "0 s", "30 s", "180 s"),
        (181, "0 min", "1 min", "3 min"),
        (3_600, "0 min", "10 min", "60 min"),
        (4 * 3_600, "0 h", "1 h", "4 h"),
        (10 * 86_400, "0 h", "48 h", "240 h"),
        (100 * 86_400, "0 h", "480 h", "2\u202f400 h"),
    ],
)
def test_time(span: float, first: str, second: str | None, last: str) -> None:
    """In the unit in which people would say it."""
    told = texts(Axis.of_time(span))
    assert (first, last) == (told[0], told[-1])
    if second is not None:
        assert second == told[1]
    assert len(told) <= 9


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([], ["0.0 ms", "0.2 ms", "0.4 ms", "0.6 ms", "0.8 ms", "1.0 ms"]),
        ([0.0], ["0.0 ms", "0.2 ms", "0.4 ms", "0.6 ms", "0.8 ms", "1.0 ms"]),
        ([0.2, 0.43], ["0 ms", "100 ms", "200 ms", "300 ms", "400 ms", "500 ms"]),
        ([0.5, 2.2], ["0.0 s", "0.5 s", "1.0 s", "1.5 s", "2.0 s", "2.5 s"]),
        ([20.0, 95.0], ["0 s", "20 s", "40 s", "60 s", "80 s", "100 s"]),
        ([0.3, 0.5, 30], ["200 ms", "500 ms", "1 s", "2 s", "5 s", "10 s", "20 s", "50 s"]),
        ([0.0, 0.05, 400], ["100 ms", "1 s", "10 s", "100 s"]),
    ],
)
def test_latencies(values: list[float], told: list[str]) -> None:
    """From zero, unless they are too far apart for that."""
    axis = Axis.of_latencies(values)
    assert told[-1] == texts(axis)[-1]
    assert told == texts(axis)[-len(told) :]


def test_a_logarithmic_axis() -> None:
    """Has as much room for each power of ten; what is below it is at its foot."""
    axis = Axis.of_latencies([0.1, 0.1, 10])
    assert (0.1, 10) == (axis.low, axis.high)
    assert [0, 0, 0.5, 1, 1] == [pytest.approx(axis.share(value)) for value in (0, 0.1, 1, 10, 99)]


@given(st.lists(st.floats(0, 3_600), max_size=8))
def test_any_latencies(values: list[float]) -> None:
    """All are within the axis; there are a few ticks, one above the other."""
    axis = Axis.of_latencies(values)
    assert axis.high >= max(values, default=0) * (1 - 1e-6)
    assert 2 <= len(axis.ticks) <= 12
    shares = [axis.share(value) for value, _ in axis.ticks]
    assert all(low < high for low, high in pairwise(shares))
    assert axis.is_log or pytest.approx(1) == shares[-1]
    assert len(set(texts(axis))) == len(axis.ticks)


@pytest.mark.parametrize(
    ("highest", "whole", "told"),
    [
        (0, True, ["0", "1"]),
        (3, True, ["0", "1", "2", "3"]),
        (40, True, ["0", "10", "20", "30", "40"]),
        (1_234, True, ["0", "500", "1\u202f000", "1\u202f500"]),
        (0.7, False, ["0.0", "0.2", "0.4", "0.6", "0.8"]),
        (12, False, ["0", "5", "10", "15"]),
    ],
)
def test_counts(highest: float, whole: bool, told: list[str]) -> None:
    """Half a caller there is not."""
    assert told == texts(Axis.of_counts(highest, whole=whole))


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (1, ["p50", "p75", "p90"]),
        (200, ["p50", "p75", "p90", "p95", "p99"]),
        (1_000, ["p50", "p75", "p90", "p95", "p99", "p99.9"]),
        *(
            (count, ["p50", "p75", "p90", "p95", "p99", "p99.9", "p99.99"])
            for count in (10**4, 10**9)
        ),
    ],
)
def test_percentiles(count: int, told: list[str]) -> None:
    """Those that so many times have."""
    assert told == texts(Axis.of_percentiles(count))


@given(st.floats(0, 99.999))
def test_a_percentile_and_its_place(percent: float) -> None:
    """One follows from the other."""
    assert pytest.approx(percent) == percent_at(tail(percent))


@given(st.floats(1e-9, 1e9))
def test_a_nice_step(rough: float) -> None:
    """Is as large, and not much larger."""
    assert rough * 0.999999 <= nice_step(rough) <= rough * 2.51
