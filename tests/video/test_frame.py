"""A picture, and what can't be one."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from needed import missing

from trio_pipecat import UnsupportedFeatureError, VideoFrame


@pytest.fixture
def av() -> Any:
    """Return PyAV."""
    try:
        import av
    except ImportError:
        missing("PyAV", 'pip install "trio-pipecat[webrtc]"')
    return av


def test_a_picture_is_as_long_as_it_is_large() -> None:
    """Three bytes a pixel, or one and a half; any kind of bytes will do."""
    assert bytes(18) == VideoFrame(data=bytearray(18), width=3, height=2, format="rgb24").data
    assert bytes(12) == VideoFrame(data=memoryview(bytes(12)), width=4, height=2).data


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"data": "x"}, TypeError, "a picture is bytes, not str"),
        ({"data": 24}, TypeError, "a picture is bytes, not int"),
        ({"width": 4.0}, TypeError, r"a width is an integer, not 4\.0"),
        ({"height": True}, TypeError, "a height is an integer, not True"),
        ({"width": 0}, ValueError, "a width is from 1 to 16383, not 0"),
        ({"height": 16_384}, ValueError, "a height is from 1 to 16383, not 16384"),
        ({"width": 3}, ValueError, "the sides of yuv420p are even, not 3x4"),
        ({"height": 5}, ValueError, "the sides of yuv420p are even, not 4x5"),
        ({"data": bytes(23)}, ValueError, "of 4x4 in yuv420p has 24 bytes, not 23"),
        ({"format": "rgb24"}, ValueError, "of 4x4 in rgb24 has 48 bytes, not 24"),
        ({"format": "bgr24"}, ValueError, "a format is one of .* not 'bgr24'"),
        ({"source": "tv"}, ValueError, "a source is one of .* not 'tv'"),
        ({"time": -1.0}, ValueError, r"a time is 0 seconds or more, not -1\.0"),
        ({"time": float("nan")}, ValueError, "not nan"),
        ({"time": float("inf")}, ValueError, "not inf"),
    ],
)
def test_what_cannot_be_a_picture_is_refused(
    fields: dict[str, Any], error: type[Exception], text: str
) -> None:
    """When it is made, with what is wrong."""
    with pytest.raises(error, match=text):
        VideoFrame(**{"data": bytes(24), "width": 4, "height": 4, **fields})


def test_the_time_at_which_it_came_makes_no_difference() -> None:
    """The time at which it is to be seen does; bytes are not shown."""
    frame = VideoFrame(data=bytes(6), width=2, height=2, at=1.0)
    assert VideoFrame(data=bytes(6), width=2, height=2, at=2.0) == frame
    assert VideoFrame(data=bytes(6), width=2, height=2, time=2.0) != frame
    assert "data=<6 bytes>, width=2" in repr(frame)


@pytest.mark.parametrize(
    ("shape", "format_", "sides"),
    [((4, 6, 3), "rgb24", (6, 4)), ((6, 6), "yuv420p", (6, 4)), ((3, 5, 3), "rgb24", (5, 3))],
)
def test_an_array_there_and_back(
    shape: tuple[int, ...], format_: str, sides: tuple[int, int]
) -> None:
    """Its shape says what it is; what comes back can't be written to."""
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    frame = VideoFrame.from_ndarray(array, time=1.5, at=2.5, source="screen")
    assert (format_, sides) == (frame.format, (frame.width, frame.height))
    assert (1.5, 2.5, "screen") == (frame.time, frame.at, frame.source)
    assert np.array_equal(array, frame.to_ndarray())
    assert not frame.to_ndarray().flags.writeable


def test_an_array_may_be_a_view() -> None:
    """What OpenCV has is turned round so."""
    bgr = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    assert bytes([3, 2, 1, 6, 5, 4]) == VideoFrame.from_ndarray(bgr[:, :, ::-1]).data


@pytest.mark.parametrize(
    ("array", "error"),
    [
        (np.zeros((4, 4, 3)), TypeError),
        ([[0]], TypeError),
        (np.zeros((4, 4, 4), np.uint8), ValueError),
        (np.zeros((4, 4), np.uint8), ValueError),
        (np.zeros((6, 3), np.uint8), ValueError),
        (np.zeros((0, 4, 3), np.uint8), ValueError),
        (np.zeros(12, np.uint8), ValueError),
    ],
)
def test_an_array_that_is_no_picture_is_refused(array: Any, error: type[Exception]) -> None:
    """Of other numbers, or of another shape."""
    with pytest.raises(error, match=r"picture|sides|height"):
        VideoFrame.from_ndarray(array)


@pytest.mark.parametrize(("width", "height"), [(2, 2), (6, 4), (64, 48), (98, 50), (642, 360)])
def test_colours_survive_a_conversion(av: Any, width: int, height: int) -> None:
    """Whatever the length of a row: PyAV's are longer than they need be."""
    red = VideoFrame(
        data=bytes([200, 30, 40]) * (width * height),
        width=width,
        height=height,
        format="rgb24",
        time=2.0,
    )
    yuv = red.converted("yuv420p")
    assert ("yuv420p", width, height, 2.0) == (yuv.format, yuv.width, yuv.height, yuv.time)
    again = yuv.converted("rgb24").to_ndarray()
    assert np.abs(again.astype(int) - [200, 30, 40]).max() <= 4


def test_a_conversion_to_what_it_is(av: Any) -> None:
    """Is it; another format there is not."""
    frame = VideoFrame(data=bytes(6), width=2, height=2)
    assert frame is frame.converted("yuv420p")
    with pytest.raises(ValueError, match="a format is one of"):
        frame.converted("bgr24")  # type: ignore[arg-type]


def test_an_odd_edge_has_no_place(av: Any) -> None:
    """The rest is where it was."""
    array = np.zeros((5, 7, 3), np.uint8)
    array[:, 6] = array[4, :] = 255
    frame = VideoFrame.from_ndarray(array).converted("yuv420p")
    assert (6, 4) == (frame.width, frame.height)
    assert set(frame.data[:24]) == {16}


@pytest.mark.parametrize(
    ("absent", "call", "line"),
    [
        ("av", "frame.converted('rgb24')", 'pip install "trio-pipecat[webrtc]"'),
        ("numpy", "frame.to_ndarray()", "pip install numpy"),
    ],
)
def test_what_is_absent_is_named(absent: str, call: str, line: str) -> None:
    """With the line to type."""
    code = f"""
import sys
sys.modules[{absent!r}] = None
from trio_pipecat import UnsupportedFeatureError, VideoFrame
frame = VideoFrame(data=bytes(6), width=2, height=2)
try:
    {call}
except UnsupportedFeatureError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert line in done.stdout


def test_an_absence_is_an_unsupported_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a transport is."""
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UnsupportedFeatureError) as absent:
        VideoFrame(data=bytes(6), width=2, height=2).converted("rgb24")
    assert "video" == absent.value.feature
