"""Times for people: how they write them, percentiles of a few, and how long something took."""

import math
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

_UNITS: Final = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3_600.0, "": 1.0}
_DURATION: Final = re.compile(r"(?P<number>\d+(\.\d*)?|\.\d+)\s*(?P<unit>[a-z]*)")


def parse_duration(text: str) -> float:
    """Return the seconds that ``90``, ``90s``, ``1.5m``, ``1h`` or ``1h30m`` mean.

    Raises:
        ValueError: it is no duration.
    """
    total, position = 0.0, 0
    text = text.strip()
    while position < len(text):
        match = _DURATION.match(text, position)
        if match is None or match["unit"] not in _UNITS:
            break
        if not match["unit"] and match[0] != text:
            break  # of several parts, each has its unit
        total += float(match["number"]) * _UNITS[match["unit"]]
        position = match.end()
    if not text or position < len(text) or not math.isfinite(total):
        raise ValueError(f"not a duration, such as 90s, 1.5m or 1h: {text!r}")
    return total


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return what so many per cent of some sorted times are not above: one of them."""
    return ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1]


def span(seconds: float) -> str:
    """Return how long that is: ``1.2 s``, and from a minute on ``0:01:12``."""
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))
