"""Times for people."""

import pytest

from trio_pipecat.tools._times import percentile, span


@pytest.mark.parametrize(
    ("times", "percent", "expected"),
    [([3], 50, 3), ([1, 2], 50, 1), ([1, 2, 3], 50, 2), (range(1, 101), 95, 95), ([1, 2], 0, 1)],
)
def test_a_percentile_is_one_of_them(times: list[float], percent: float, expected: float) -> None:
    """The least that so many per cent are not above."""
    assert expected == percentile(times, percent)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.04, "0.0 s"), (12.34, "12.3 s"), (72, "0:01:12"), (90_000, "1 day, 1:00:00")],
)
def test_how_long(seconds: float, shown: str) -> None:
    """Seconds, or a clock."""
    assert shown == span(seconds)
