"""The histogram of how late frames were."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_pipecat.audio._lateness import BOUNDS, Lateness

TIMES = st.lists(st.floats(0, 20), min_size=1)


def lateness(*times: float) -> Lateness:
    """Return one that was told so."""
    made = Lateness()
    for seconds in times:
        made.add(seconds)
    return made


def test_nothing_was_not_late() -> None:
    """Whatever is asked."""
    nothing = lateness()
    assert (0, 0, 0, 0) == (
        nothing.count,
        nothing.max,
        nothing.percentile(50),
        nothing.later_than(0),
    )
    assert [] == nothing.histogram


def test_early_is_in_time() -> None:
    """A clock's last bit makes nobody early."""
    assert (1, 0, 0) == ((early := lateness(-0.1)).count, early.total, early.percentile(100))


@given(TIMES, st.floats(0, 100))
def test_a_percentile_is_the_class_that_it_falls_into(times: list[float], percent: float) -> None:
    """At least that frame, and less than the next class."""
    rank = max(math.ceil(percent / 100 * len(times)), 1)
    exact = sorted(times)[rank - 1]
    told = lateness(*times).percentile(percent)
    assert exact <= told <= max(times)
    assert told <= next((bound for bound in BOUNDS if bound >= exact), math.inf)


@given(TIMES, TIMES)
def test_merged_is_as_if_told_both(one: list[float], other: list[float]) -> None:
    """Classes, counts, the latest."""
    merged, both = lateness(*one), lateness(*one, *other)
    merged.merge(lateness(*other))
    assert both.histogram == merged.histogram
    assert (both.count, both.max) == (merged.count, merged.max)
    assert both.total == pytest.approx(merged.total)


def test_the_histogram_has_no_empty_classes() -> None:
    """And one for what is beyond all bounds."""
    assert [(0.0001, 1), (0.02, 2), (math.inf, 1)] == [
        (pytest.approx(bound), count) for bound, count in lateness(0, 0.02, 0.016, 99).histogram
    ]


def test_how_many_were_later() -> None:
    """By the class."""
    assert 2 == lateness(0.001, 0.02, 0.05, 0.3).later_than(0.02)


@pytest.mark.parametrize("percent", [-1, 101, math.nan])
def test_a_percentile_is_from_0_to_100(percent: float) -> None:
    """Or it is none."""
    with pytest.raises(ValueError, match="from 0 to 100"):
        lateness(1).percentile(percent)


def test_repr_tells_the_two_that_matter() -> None:
    """In milliseconds."""
    assert "<Lateness of 2 frames: p50 1.0 ms, p99 20.0 ms>" == repr(lateness(0.001, 0.02))
