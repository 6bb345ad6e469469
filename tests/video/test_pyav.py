"""PyAV's pictures and ours."""

import threading
import time
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest
from films import write_film  # noqa: F401  # says what is missing

from trio_pipecat.video._pyav import Capture, _pictures, from_av, load, planes_of, to_av


@pytest.mark.parametrize("format_", ["yuv420p", "rgb24"])
@pytest.mark.parametrize(("width", "height"), [(2, 2), (6, 4), (32, 16), (98, 34), (1280, 720)])
def test_there_and_back(format_: str, width: int, height: int) -> None:
    """Every byte, whatever PyAV adds at the end of a row."""
    size = sum(row * rows for row, rows in planes_of(width, height, format_))
    data = bytes(number * 7 % 251 for number in range(size))
    picture = to_av(data, width, height, format_)
    assert (width, height, format_) == (picture.width, picture.height, picture.format.name)
    assert (data, width, height) == from_av(picture, format_)


def test_an_odd_picture_of_anothers() -> None:
    """Cameras and films may have any size."""
    picture: Any = load().VideoFrame(7, 5, "yuv420p")
    for plane in picture.planes:
        plane.update(bytes(plane.buffer_size))
    data, width, height = from_av(picture, "yuv420p")
    assert (6, 4, 36) == (width, height, len(data))
    data, width, height = from_av(picture, "rgb24")
    assert (7, 5, 105) == (width, height, len(data))


def test_another_format_is_converted() -> None:
    """Cameras have their own."""
    picture: Any = load().VideoFrame(8, 4, "yuyv422")
    for plane in picture.planes:
        plane.update(bytes([128]) * plane.buffer_size)
    assert (bytes([128]) * 48, 8, 4) == from_av(picture, "yuv420p")


@pytest.mark.parametrize(("rate", "times"), [(Fraction(25), [0, 0.04, 0.08]), (None, [None] * 3)])
def test_a_film_without_times(rate: Fraction | None, times: list[float | None]) -> None:
    """It has a rate, or it is seen as it comes."""
    pictures = [to_av(bytes(6), 2, 2, "yuv420p") for _ in range(3)]
    stream = SimpleNamespace(average_rate=rate)
    container = SimpleNamespace(
        streams=SimpleNamespace(video=[stream]), decode=lambda stream: iter(pictures)
    )
    assert times == [picture.time for picture in _pictures(container)]


def test_a_test_picture_takes_its_time() -> None:
    """It would be made as fast as it is asked for."""
    capture = Capture("testsrc=size=16x16:rate=20", "lavfi", {})
    began, stopped = time.monotonic(), threading.Event()
    for number, _picture in enumerate(capture.pictures(stopped)):
        if number == 3:
            stopped.set()
    capture.close()
    assert 0.14 < time.monotonic() - began < 1
