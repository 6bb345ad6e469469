"""How many callers there are over time, and when each is there or comes."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_pipecat.tools.load._shape import (
    PROFILES,
    Profile,
    Shape,
    Stage,
    parse_duration,
    parse_stages,
    profile,
)


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """Draw a shape, jumps and all."""
    numbers = st.floats(0, 20)
    stages = st.builds(Stage, st.sampled_from([0, 0.5, 1, 7.25, 30]), numbers)
    return Shape(draw(numbers), tuple(draw(st.lists(stages, min_size=1, max_size=6))))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("1.5m", 90),
        ("1h", 3_600),
        ("1h30m", 5_400),
        ("250ms", 0.25),
        (" 2 m ", 120),
        (".5s", 0.5),
        ("0", 0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    """A number, with a unit or without."""
    assert seconds == pytest.approx(parse_duration(text))


@pytest.mark.parametrize("text", ["", "s", "-1s", "1d", "1 s x", "inf", "nan", "1s,2s", "1..2"])
def test_what_is_no_duration(text: str) -> None:
    """It is refused, with an example of one."""
    with pytest.raises(ValueError, match="90s"):
        parse_duration(text)


@given(st.text(alphabet="0123456789.smh x-", max_size=12))
def test_whatever_is_a_duration_is_finite(text: str) -> None:
    """And not negative."""
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert 0 <= seconds < math.inf


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_are_as_long_and_as_high_as_wanted(name: Profile) -> None:
    """Whatever they look like in between."""
    shape = profile(name, 40, 120)
    assert 120 == pytest.approx(shape.seconds)
    assert 40 == pytest.approx(shape.peak)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("constant", [10, 10, 10, 10, 10]),
        ("ramp", [0, 2.5, 5, 7.5, 9.99]),
        ("steps", [2, 4, 6, 8, 10]),
        ("spike", [2, 2, 10, 2, 2]),
        ("soak", [0, 10, 10, 10, 10]),
    ],
)
def test_profiles(name: Profile, values: list[float]) -> None:
    """Their numbers at the beginning, after a quarter, and so on."""
    shape = profile(name, 10, 100)
    times = [0, 25, 50, 75, 99.9]
    assert values == [pytest.approx(shape.value(at), abs=0.02) for at in times]
    assert 0 == shape.value(100)


def test_stages() -> None:
    """Each is a straight line to a number; one that takes no time is a jump."""
    shape = parse_stages("10/30s, 50/2m,50/5m , 0/30s")
    assert Shape(0, (Stage(30, 10), Stage(120, 50), Stage(300, 50), Stage(30, 0))) == shape
    assert [5, 30, 50, 25] == [pytest.approx(shape.value(at)) for at in (15, 90, 300, 465)]
    jump = parse_stages("20/0s,20/1m")
    assert [20, 20] == [jump.value(0), jump.value(59)]
    assert [(0, 60)] == jump.presence(19)


@pytest.mark.parametrize(
    "text",
    ["", "10", "10/", "/30s", "x/30s", "-1/30s", "10/30s,", "inf/1s", "nan/1s", "0/30s", "5/0s"],
)
def test_what_is_no_stages(text: str) -> None:
    """It is refused."""
    with pytest.raises(ValueError):
        parse_stages(text)


@given(shapes())
def test_as_many_callers_are_there_as_the_shape_says(shape: Shape) -> None:
    """At any time, to the nearest whole number; and nobody twice at once."""
    spans = [shape.presence(caller) for caller in range(22)]
    for own in spans:
        for begin, end in own:
            assert begin < end <= shape.seconds + 1e-9
        for (_, end), (begin, _) in itertools.pairwise(own):
            assert end <= begin
    for step in range(50):
        at = (step + 0.4321) / 50 * shape.seconds
        there = sum(begin <= at < end for own in spans for begin, end in own)
        assert abs(there - shape.value(at)) <= 0.5 + 1e-6


@given(shapes(), st.integers(0, 2**32))
def test_arrivals_are_in_order_and_within_the_shape(shape: Shape, seed: int) -> None:
    """And the same for the same seed."""
    times = list(itertools.islice(shape.arrivals(random.Random(seed)), 2_000))
    assert sorted(times) == times
    assert all(-1e-9 <= at <= shape.seconds + 1e-9 for at in times)
    assert times == list(itertools.islice(shape.arrivals(random.Random(seed)), 2_000))


@pytest.mark.parametrize("name", PROFILES)
def test_as_many_arrive_as_the_shape_says(name: Profile) -> None:
    """In each part of it, within four standard deviations of a Poisson process."""
    shape = profile(name, 200, 100)
    times = list(shape.arrivals(random.Random(1)))
    for begin in range(0, 100, 10):
        steps = [shape.value(begin + (step + 0.5) / 10) / 10 for step in range(100)]
        expected = sum(steps)
        came = sum(begin <= at < begin + 10 for at in times)
        assert abs(came - expected) <= 4 * math.sqrt(expected) + 1


def test_another_peak() -> None:
    """The same shape, higher."""
    assert profile("spike", 30, 60) == profile("spike", 10, 60).scaled(30)


@given(shapes())
def test_shapes_go_through_json(shape: Shape) -> None:
    """And come back as they were."""
    assert shape == Shape.from_json(shape.as_json())
