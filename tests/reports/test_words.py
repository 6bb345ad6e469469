"""Numbers in words."""

from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_pipecat.reports._words import (
    printable,
    tell_clock,
    tell_count,
    tell_seconds,
    tell_share,
)


@pytest.mark.parametrize(
    ("tell", "value", "told"),
    [
        *((tell_seconds, value, "0 ms") for value in (0, 0.00004)),
        (tell_seconds, 0.0042, "4.2 ms"),
        (tell_seconds, 0.00996, "10 ms"),
        (tell_seconds, 0.8123, "812 ms"),
        *((tell_seconds, value, "1.00 s") for value in (0.9996, 1)),
        (tell_seconds, 99.5, "99.50 s"),
        (tell_seconds, 119.96, "120.0 s"),
        (tell_seconds, 123.456, "2 min 3 s"),
        (tell_seconds, 725, "12 min 5 s"),
        (tell_seconds, 3_600, "60 min"),
        (tell_clock, 0.9, "0:00"),
        (tell_clock, 125, "2:05"),
        (tell_clock, 3_725, "1:02:05"),
        (tell_share, 0, "0 %"),
        (tell_share, 0.0125, "1.25 %"),
        (tell_share, 1, "100 %"),
        (tell_share, 12.5, "1250 %"),
        (tell_count, 0, "0"),
        (tell_count, 1_234_567, "1\u202f234\u202f567"),
    ],
)
def test_what_is_told(tell: Callable[[float], str], value: float, told: str) -> None:
    """As exactly as anybody wants to know."""
    assert told == tell(value)


@given(st.text(st.characters(), max_size=20))
def test_what_is_printable(text: str) -> None:
    """Goes through XML and UTF-8, and is as long as it was."""
    made = printable(text)
    element = ET.Element("a", b=made)
    read = ET.fromstring(ET.tostring(element)).attrib["b"]
    assert made.replace("\r", "\n") == read.replace("\r", "\n")
    assert len(text) == len(made)
    assert made == printable(made)
