"""A camera: FFmpeg's test picture, which is read as a real one is."""

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from films import write_film  # noqa: F401  # says what is missing

from trio_pipecat import Camera, DeviceError, UnsupportedFeatureError, VideoFrame, open_camera
from trio_pipecat.video import _camera, _pyav
from trio_pipecat.video._pyav import Picture

TEST = {"device": "testsrc=size=320x240:rate=20", "format": "lavfi"}
GREY = Picture(bytes([128]) * 6, 2, 2, None)


async def test_it_shows_what_it_sees() -> None:
    """As it sees it, with the time at which it came."""
    async with open_camera(**TEST) as camera:
        assert aiter(camera) is camera
        before = trio.current_time()
        frames = [await anext(camera) for _ in range(5)]
        assert 0.15 < trio.current_time() - before < 1
    assert {(320, 240, "yuv420p", None)} == {(f.width, f.height, f.format, f.time) for f in frames}
    times = [frame.at for frame in frames]
    assert sorted(times) == times
    assert 5 == len({frame.data for frame in frames})
    assert before - 0.5 < times[0]


async def test_only_the_newest_is_kept() -> None:
    """What nobody has read in time is counted."""
    async with open_camera(**TEST) as camera:
        await anext(camera)
        await trio.sleep(0.5)
        assert camera.dropped >= 5
        frame = await anext(camera)
        assert trio.current_time() - frame.at < 0.2


async def test_it_is_closed_with_its_block() -> None:
    """No thread stays, and who reads it is told."""
    threads = threading.active_count()
    async with open_camera(**TEST) as camera:
        await anext(camera)
        assert "open" in repr(camera)
    assert threads == threading.active_count()
    assert "<Camera camera 'testsrc=size=320x240:rate=20': closed>" == repr(camera)
    with pytest.raises(trio.ClosedResourceError):
        await anext(camera)


async def test_cancelling_closes_it() -> None:
    """Whether it is being opened, or read."""
    threads = {thread.name for thread in threading.enumerate()}
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_camera(**TEST):
            await trio.sleep_forever()
    with trio.move_on_after(0.1):
        async with open_camera(**TEST) as camera:
            async for _ in camera:
                pass
    left = {thread.name for thread in threading.enumerate()} - threads
    assert set() == {name for name in left if "camera" in name}


async def test_one_that_ends_is_told() -> None:
    """After what it saw was read."""
    frames = []
    device = "testsrc=size=320x240:rate=20:duration=0.1"
    async with open_camera(device, format="lavfi") as camera:
        with pytest.raises(DeviceError, match="was it unplugged") as gone:
            async for frame in camera:
                frames.append(frame)
        assert "ended" in repr(camera)
        assert camera.name == gone.value.device
        with pytest.raises(DeviceError):
            await anext(camera)
    assert 1 <= len(frames) <= 2


@pytest.mark.parametrize(
    ("device", "format_", "text"),
    [
        ("/dev/no-camera", None, "No such file or directory"),
        ("no_such_filter", "lavfi", "camera 'no_such_filter'"),
        ("sine", "lavfi", "there are no pictures in it"),
        ("x", "no_such_format", "no_such_format"),
        (None, "lavfi", "lavfi has no default"),
    ],
)
async def test_one_that_is_not_there(device: str | None, format_: str | None, text: str) -> None:
    """A `DeviceError` says why."""
    with pytest.raises(DeviceError, match=text):
        async with open_camera(device, format=format_):
            raise AssertionError


@pytest.mark.parametrize(
    "asked",
    [
        {"width": 640},
        {"height": 480},
        {"width": 0, "height": 480},
        {"width": 640, "height": 99_999},
        {"frame_rate": 0},
        {"frame_rate": float("nan")},
    ],
)
def test_what_no_camera_can_do_is_refused(asked: dict[str, Any]) -> None:
    """At once."""
    with pytest.raises(ValueError, match=r"width|sides|rate"):
        open_camera(**asked)


async def test_without_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line to type."""
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UnsupportedFeatureError, match=r"trio-pipecat\[webrtc\]"):
        async with open_camera():
            raise AssertionError


class FakeAv:
    """What PyAV is asked to open."""

    FFmpegError = OSError

    def __init__(self) -> None:
        self.opened: list[tuple[str, str, dict[str, str]]] = []

    def open(self, device: str, *, options: dict[str, str], **fields: str) -> Any:
        self.opened.append((device, fields["format"], options))
        raise OSError(5, "not here")


@pytest.mark.parametrize(
    ("platform", "device", "opened"),
    [
        ("linux", None, ("/dev/video0", "v4l2", {})),
        ("freebsd", "/dev/video2", ("/dev/video2", "v4l2", {})),
        ("darwin", None, ("default", "avfoundation", {"framerate": "30"})),
        ("win32", "USB Camera", ("video=USB Camera", "dshow", {})),
        ("win32", "video=x:audio=y", ("video=x:audio=y", "dshow", {})),
    ],
)
async def test_every_system_has_its_own(
    monkeypatch: pytest.MonkeyPatch, platform: str, device: str | None, opened: Any
) -> None:
    """FFmpeg's name for its cameras, and the first of them."""
    fake = FakeAv()
    monkeypatch.setattr(_pyav, "load", lambda: fake)
    monkeypatch.setattr("sys.platform", platform)
    with pytest.raises(DeviceError, match="not here"):
        async with open_camera(device):
            raise AssertionError
    assert [opened] == fake.opened


async def test_windows_has_no_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is said."""
    monkeypatch.setattr(_pyav, "load", FakeAv)
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(DeviceError, match="dshow has no default"):
        async with open_camera():
            raise AssertionError


async def test_a_camera_is_asked_for_what_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """In FFmpeg's words; options of one's own are stronger."""
    fake = FakeAv()
    monkeypatch.setattr(_pyav, "load", lambda: fake)
    asked = {"width": 640, "height": 480, "frame_rate": 29.97}
    with pytest.raises(DeviceError):
        async with open_camera("x", format="y", **asked, options={"framerate": "5", "a": "b"}):
            raise AssertionError
    assert {"video_size": "640x480", "framerate": "5", "a": "b"} == fake.opened[0][2]


class FakeCapture:
    """A camera that sees what a test says."""

    name = "camera 'fake'"

    def __init__(self, *steps: Picture | Exception | None) -> None:
        self._steps = steps
        self.closed = False

    def pictures(self, stopped: threading.Event) -> Iterator[Picture]:
        for step in self._steps:
            if isinstance(step, Exception):
                raise step
            if step is None:
                stopped.wait(10)
                return
            yield step

    def close(self) -> None:
        self.closed = True


def looking(capture: FakeCapture) -> Camera:
    """Return a camera that has begun to look."""
    camera = Camera(capture)  # type: ignore[arg-type]
    camera.start()
    return camera


async def test_one_that_shows_nothing_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while."""
    monkeypatch.setattr(_camera, "_SILENT_SECONDS", 0.05)
    capture = FakeCapture(GREY, None)
    camera = looking(capture)
    assert VideoFrame(data=GREY.data, width=2, height=2) == await anext(camera)
    with pytest.raises(DeviceError, match=r"shown nothing for 0\.05 s"):
        await anext(camera)
    await camera.aclose()
    assert capture.closed


async def test_a_bug_in_its_thread_is_told() -> None:
    """To who reads."""
    camera = looking(FakeCapture(GREY, KeyError("oops")))
    await anext(camera)
    with pytest.raises(DeviceError, match="oops"):
        await anext(camera)
    await camera.aclose()


async def test_one_that_does_not_close_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while."""
    monkeypatch.setattr(_camera, "_CLOSING_SECONDS", 0.05)
    release = threading.Event()

    class Stuck(FakeCapture):
        def pictures(self, stopped: threading.Event) -> Iterator[Picture]:
            release.wait(10)
            yield GREY

    camera = looking(Stuck())
    await camera.aclose()
    assert camera._thread.is_alive()
    release.set()
    camera._thread.join()
