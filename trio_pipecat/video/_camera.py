"""A camera: an iterable of what it sees, as it sees it."""

import threading
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Final, Self, final

import trio

from .._errors import DeviceError
from ._frame import MAX_SIDE, VideoFrame
from ._pyav import Capture

#: A camera that shows nothing for so long is gone. Some take seconds to wake, and in the dark some
#: take their time.
_SILENT_SECONDS: Final = 6.0
#: How long to wait for a camera to close. Drivers have been known to hang.
_CLOSING_SECONDS: Final = 5.0


@final
class Camera:
    """An open camera: iterate over it. Made by `open_camera`.

    It goes on for ever, and gives the newest picture there is: what was seen and not read by then
    is dropped. Several tasks may read it; each picture goes to one of them.
    """

    # Read in a thread of its own, which shares a deque and a number with trio's: single steps of
    # both are atomic, and each number is written by one thread only.

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._newest: deque[VideoFrame] = deque(maxlen=1)
        self._seen = 0
        self._taken = 0
        self._stopped = threading.Event()
        self._failure: Exception | None = None
        self._token = trio.lowlevel.current_trio_token()
        self._now = trio.lowlevel.current_clock().current_time
        self._waiting = trio.lowlevel.ParkingLot()
        self._thread = threading.Thread(target=self._watch, name=self.name, daemon=True)

    def __repr__(self) -> str:
        state = "closed" if self._stopped.is_set() else "ended" if self._failure else "open"
        return f"<Camera {self.name}: {state}>"

    @property
    def name(self) -> str:
        """What errors call it: it has the name of the device."""
        return self._capture.name

    @property
    def dropped(self) -> int:
        """How many pictures nobody has read in time."""
        return max(self._seen - self._taken - len(self._newest), 0)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> VideoFrame:
        """Return the newest picture; wait for one that was not read yet. Cancelling loses nothing.

        Raises:
            DeviceError: the camera has stopped, or shows nothing any more.
            trio.ClosedResourceError: the block of the camera was left.
        """
        await trio.lowlevel.checkpoint()
        while True:
            if self._stopped.is_set():
                raise trio.ClosedResourceError
            with suppress(IndexError):
                frame = self._newest.popleft()
                self._taken += 1
                return frame
            if self._failure is not None:
                raise DeviceError(self.name, _detail(self._failure)) from self._failure
            seen = self._seen
            with trio.move_on_after(_SILENT_SECONDS) as waited:
                await self._waiting.park()
            if waited.cancelled_caught and seen == self._seen and self._failure is None:
                raise DeviceError(
                    self.name, f"it has shown nothing for {_SILENT_SECONDS:g} s; was it unplugged?"
                )

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    async def aclose(self) -> None:
        """Close the camera."""
        self._stopped.set()
        self._waiting.unpark_all()
        with trio.move_on_after(_CLOSING_SECONDS, shield=True):
            await trio.to_thread.run_sync(self._thread.join, abandon_on_cancel=True)

    # -- in its own thread --

    def _watch(self) -> None:
        try:
            for picture in self._capture.pictures(self._stopped):
                frame = VideoFrame(
                    data=picture.data, width=picture.width, height=picture.height, at=self._now()
                )
                self._newest.append(frame)
                self._seen += 1
                self._ring()
        except Exception as error:  # whoever reads next is told
            self._failure = error
        finally:
            self._capture.close()
            self._ring()

    def _ring(self) -> None:
        # A run of trio's may end before a camera that does not close.
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._waiting.unpark_all, idempotent=True)


def _detail(failure: Exception) -> str:
    return failure.detail if isinstance(failure, DeviceError) else repr(failure)


def open_camera(
    device: str | None = None,
    *,
    format: str | None = None,  # noqa: A002
    options: Mapping[str, str] | None = None,
    width: int | None = None,
    height: int | None = None,
    frame_rate: float | None = None,
) -> AbstractAsyncContextManager[Camera]:
    """Open a camera for a block.

    ::

        async with open_camera() as camera:
            await session.stream_video(camera)

    Its pictures are in yuv420p, and have the time on trio's clock at which they came in
    `VideoFrame.at`. The camera is closed in a worker thread; one that takes more than five seconds
    for that is left alone. Cancelling while it is being opened waits until it is open, and closes
    it.

    Args:
        device: what FFmpeg calls it: ``"/dev/video0"`` on Linux, a number or a name elsewhere. By
            default the system's; Windows has none.
        format: the kind of device, where it is not the system's cameras: ``"x11grab"`` with device
            ``":0"`` is a screen, ``"lavfi"`` with device ``"testsrc=size=320x240:rate=15"`` a test
            picture.
        options: further options of FFmpeg's for that kind of device.
        width: what to ask the camera for. It may give something else; its pictures say what.
        height: likewise; with `width`, or not at all.
        frame_rate: likewise, in pictures a second.

    Raises:
        DeviceError: there is no such camera, or it can't be opened.
        UnsupportedFeatureError: the extra ``webrtc`` is not installed.
        ValueError: an argument can't be.
    """
    asked: dict[str, str] = {}
    if (width is None) != (height is None):
        raise ValueError("give a width and a height, or neither")
    if width is not None and height is not None:
        if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
            raise ValueError(f"sides are from 1 to {MAX_SIDE}, not {width}x{height}")
        asked["video_size"] = f"{width}x{height}"
    if frame_rate is not None:
        if not 0 < frame_rate <= 1000:
            raise ValueError(f"a frame rate is from 0 to 1000 a second, not {frame_rate}")
        asked["framerate"] = f"{frame_rate:g}"
    return _open(device, format, {**asked, **(options or {})})


@asynccontextmanager
async def _open(
    device: str | None,
    format: str | None,  # noqa: A002
    options: Mapping[str, str],
) -> AsyncIterator[Camera]:
    camera = Camera(await trio.to_thread.run_sync(Capture, device, format, options))
    camera.start()
    try:
        yield camera
    finally:
        await camera.aclose()
