"""How late the frames of a stream were: a histogram that costs nothing to fill, merge and send."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, final

#: The upper ends of the classes, in seconds: 1 % of accuracy is not what lateness is about.
BOUNDS: Final = tuple(step * 10.0**power for power in range(-4, 1) for step in (1, 1.5, 2, 3, 5, 7))


@final
class Lateness:
    """How late frames were. Times are in seconds; what is early counts as in time."""

    __slots__ = ("_counts", "count", "max", "total")

    def __init__(self) -> None:
        #: How many frames there were.
        self.count = 0
        #: The latest of them.
        self.max = 0.0
        #: All of it together.
        self.total = 0.0
        self._counts = [0] * (len(BOUNDS) + 1)

    def __repr__(self) -> str:
        p50, p99 = (1000 * self.percentile(percent) for percent in (50, 99))
        return f"<Lateness of {self.count} frames: p50 {p50:.1f} ms, p99 {p99:.1f} ms>"

    def add(self, seconds: float) -> None:
        """Count a frame."""
        if seconds < 0:
            seconds = 0.0
        self.count += 1
        self.total += seconds
        if seconds > self.max:
            self.max = seconds
        self._counts[bisect_left(BOUNDS, seconds)] += 1

    def merge(self, other: "Lateness") -> None:
        """Count another's frames too."""
        self.count += other.count
        self.total += other.total
        self.max = max(self.max, other.max)
        self._counts = [
            mine + theirs for mine, theirs in zip(self._counts, other._counts, strict=True)
        ]

    @property
    def histogram(self) -> "Sequence[tuple[float, int]]":
        """How many frames were at most so late, and later than the class before; without zeros."""
        bounds = (*BOUNDS, float("inf"))
        return [(bound, count) for bound, count in zip(bounds, self._counts, strict=True) if count]

    def later_than(self, seconds: float) -> int:
        """Return how many frames were later, give or take those of the class it falls into."""
        return sum(self._counts[bisect_left(BOUNDS, seconds) + 1 :])

    def percentile(self, percent: float) -> float:
        """Return what so many per cent of the frames were not later than: a class's upper end.

        Never more than the latest frame; of no frames, 0.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"a percentile is from 0 to 100, not {percent}")
        wanted = percent / 100 * self.count
        seen = 0
        for bound, count in zip(BOUNDS, self._counts, strict=False):
            seen += count
            if seen and seen >= wanted:
                return min(bound, self.max)
        return self.max
