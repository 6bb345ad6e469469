"""Percentiles of times."""

import math
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_pipecat import UnsupportedFeatureError
from trio_pipecat.reports import Latencies

TIMES = st.lists(st.floats(0, 3_000), min_size=1, max_size=50)


def latencies(*times: float) -> Latencies:
    """Return a distribution of these."""
    made = Latencies()
    for seconds in times:
        made.add(seconds)
    return made


@settings(max_examples=50)
@given(TIMES, st.floats(0.1, 100))
def test_a_percentile_is_exact_to_a_thousandth(times: list[float], percent: float) -> None:
    """Of the value, or a microsecond."""
    rank = max(math.ceil(round(percent / 100 * len(times), 6)), 1)
    exact = sorted(times)[rank - 1]
    near = sorted(times)[max(rank - 2, 0)]  # the library rounds the rank
    found = latencies(*times).percentile(percent)
    within = lambda value: pytest.approx(value, rel=1.1e-3, abs=1.1e-6)  # noqa: E731
    assert found in (within(exact), within(near), within(sorted(times)[min(rank, len(times) - 1)]))


@settings(max_examples=20)
@given(TIMES, TIMES)
def test_merged_is_as_if_told_both(one: list[float], other: list[float]) -> None:
    """Whichever way they come together."""
    merged, both = latencies(*one), latencies(*one, *other)
    merged.merge(latencies(*other))
    for percent in (0, 50, 95, 100):
        assert both.percentile(percent) == merged.percentile(percent)
    assert len(one) + len(other) == len(merged)


def test_it_goes_over_a_wire() -> None:
    """As text."""
    sent = latencies(0.1, 0.2, 1.5)
    got = Latencies.decode(sent.encode())
    assert (3, sent.percentile(50), sent.max) == (len(got), got.percentile(50), got.max)


@pytest.mark.parametrize("text", ["", "HISTFAAAA", "garbage", "ä"])
def test_what_is_no_histogram_is_refused(text: str) -> None:
    """As a ValueError."""
    with pytest.raises(ValueError, match="not an encoded histogram"):
        Latencies.decode(text)


def test_extremes_are_kept_in_bounds() -> None:
    """A bot that spoke over the user has not answered before they spoke."""
    both = latencies(-1, 10_000)
    assert (0, pytest.approx(3_600, rel=1e-3)) == (both.min, both.max)


def test_nan_is_no_time() -> None:
    """And leaves no trace."""
    latencies = Latencies()
    with pytest.raises(ValueError, match="NaN"):
        latencies.add(float("nan"))
    assert 0 == len(latencies)


BOUNDS = st.lists(st.floats(0, 4_000), max_size=8)


@settings(max_examples=50)
@given(TIMES, BOUNDS)
def test_how_many_are_within_a_bound(times: list[float], bounds: list[float]) -> None:
    """To a thousandth of it, or a microsecond, whatever the order of the bounds."""
    counts = latencies(*times).counts_within(bounds)
    assert len(bounds) == len(counts)
    for bound, count in zip(bounds, counts, strict=True):
        surely = sum(seconds <= bound * 0.999 - 1e-6 for seconds in times)
        perhaps = sum(seconds <= bound * 1.001 + 1e-6 for seconds in times)
        assert surely <= count <= perhaps


def test_a_bound_is_within_itself() -> None:
    """Nothing is below zero, and everything is below infinity."""
    some = latencies(0, 0.0007, 0.3, 0.3, 4_000)
    bounds = [-1e9, -1, 0, 0.0007, 0.29, 0.3, 3_590, 3_600, 1e9, math.inf]
    assert [0, 0, 1, 2, 2, 4, 4, 5, 5, 5] == some.counts_within(bounds)
    assert [0, 0] == Latencies().counts_within([0, math.inf])
    assert [] == some.counts_within([])
    with pytest.raises(ValueError, match="NaN"):
        some.counts_within([math.nan])


@settings(max_examples=50)
@given(TIMES)
def test_all_of_them_together(times: list[float]) -> None:
    """To a thousandth."""
    assert sum(times) == pytest.approx(latencies(*times).total, rel=1e-3, abs=1e-4)
    assert 0 == Latencies().total


def test_the_mean() -> None:
    """Of all."""
    assert 0.2 == pytest.approx(latencies(0.1, 0.3).mean, rel=1e-3)


@pytest.mark.parametrize("what", ["min", "max", "mean"])
def test_of_none_there_is_nothing_to_say(what: str) -> None:
    """But how many they are."""
    none = Latencies()
    assert (0, "<Latencies: none>") == (len(none), repr(none))
    with pytest.raises(ValueError, match="no times yet"):
        getattr(none, what)
    with pytest.raises(ValueError, match="no times yet"):
        none.percentile(50)


@pytest.mark.parametrize("percent", [-1, 101, math.nan])
def test_a_percentile_is_from_0_to_100(percent: float) -> None:
    """Or it is none."""
    with pytest.raises(ValueError, match="from 0 to 100"):
        latencies(1).percentile(percent)
    with pytest.raises(ValueError, match="from 0 to 100"):
        latencies(1).percentiles(50, percent)


@settings(max_examples=20)
@given(TIMES, st.lists(st.floats(0, 100), max_size=5))
def test_several_percentiles_at_once(times: list[float], percents: list[float]) -> None:
    """Are what each of them is."""
    made = latencies(*times)
    assert [made.percentile(percent) for percent in percents] == made.percentiles(*percents)
    assert [made.percentile(0), made.max] == made.percentiles(0, 100)


def test_what_is_merged_with_none_stays_as_it_was() -> None:
    """Also its least."""
    some = latencies(0.5)
    some.merge(Latencies())
    assert pytest.approx(0.5, rel=1e-3) == some.min


def test_repr_tells_two_of_them() -> None:
    """In milliseconds."""
    assert "<Latencies: 2, p50 100 ms, p95 800 ms>" == repr(latencies(0.1, 0.8))


def test_without_the_extra_there_is_a_line_to_type(monkeypatch: Any) -> None:
    """Not an ImportError."""
    monkeypatch.setitem(sys.modules, "hdrh.histogram", None)
    with pytest.raises(UnsupportedFeatureError, match=r'pip install "trio-pipecat\[report\]"'):
        Latencies()
