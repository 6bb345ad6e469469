"""PyAV: the one module of pictures that knows it.

It is imported when a picture is converted, or a file or a camera is read; never before. What FFmpeg
says is put into our words here. All of it may block, and is for worker threads.
"""

import errno
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, final

from .._errors import DeviceError, UnsupportedFeatureError

#: By `sys.platform`: what FFmpeg calls its cameras, and which is the system's own.
_CAMERAS: Final = {
    "darwin": ("avfoundation", "default"),
    "win32": ("dshow", None),
}
_ELSEWHERE: Final = ("v4l2", "/dev/video0")
#: FFmpeg's filters as a device. It makes pictures as fast as it is asked for them.
_MADE: Final = "lavfi"


class Picture(NamedTuple):
    """A picture in yuv420p, and when it is to be seen, in seconds from the first one."""

    data: bytes
    width: int
    height: int
    time: float | None


def load() -> Any:
    """Return PyAV.

    Raises:
        UnsupportedFeatureError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        needs = 'PyAV; type: pip install "trio-pipecat[webrtc]"'
        raise UnsupportedFeatureError("video", needs) from error
    return av


# -- pictures --------------------------------------------------------------------------------------


def planes_of(width: int, height: int, format: str) -> list[tuple[int, int]]:  # noqa: A002
    """Return how many bytes a row of each plane has, and how many rows there are."""
    if format == "rgb24":
        return [(3 * width, height)]
    return [(width, height), (width // 2, height // 2), (width // 2, height // 2)]


def to_av(data: bytes, width: int, height: int, format: str) -> Any:  # noqa: A002
    """Return a picture as PyAV has it, where rows may be longer than they need be."""
    picture = load().VideoFrame(width, height, format)
    begin = 0
    for plane, (size, rows) in zip(picture.planes, planes_of(width, height, format), strict=True):
        part = data[begin : begin + size * rows]
        begin += len(part)
        if plane.line_size != size:
            padded = (
                part[at : at + size].ljust(plane.line_size, b"\0")
                for at in range(0, len(part), size)
            )
            part = b"".join(padded)
        plane.update(part.ljust(plane.buffer_size, b"\0"))
    return picture


def from_av(picture: Any, format: str) -> tuple[bytes, int, int]:  # noqa: A002
    """Return the bytes, the width and the height of a picture of PyAV's, in this format.

    Of yuv420p an odd last row or column is left out.
    """
    if picture.format.name != format:
        picture = picture.reformat(format=format)
    width, height = picture.width, picture.height
    if format == "yuv420p":
        width, height = width - width % 2, height - height % 2
    parts = []
    for plane, (size, rows) in zip(picture.planes, planes_of(width, height, format), strict=True):
        data, line = memoryview(plane), plane.line_size
        if line == size:
            parts.append(data[: size * rows])
        else:
            parts += [data[at : at + size] for at in range(0, line * rows, line)]
    return b"".join(parts), width, height


# -- files and cameras -----------------------------------------------------------------------------


def read_file(path: "str | os.PathLike[str]") -> Iterator[Picture]:
    """Yield the pictures of a file.

    Raises:
        UnsupportedFeatureError: PyAV is not installed.
        OSError: the file can't be read.
        ValueError: there are no pictures in it that can be.
    """
    av = load()
    name = os.fsdecode(path)
    try:
        # Without this some names would be addresses to FFmpeg.
        with av.open(f"file:{name}") as container:
            # Faster, and some pictures later: nothing for a camera.
            _stream_of(container).thread_type = "AUTO"
            yield from _pictures(container)
    except (av.FFmpegError, LookupError) as error:
        # FFmpeg's own errors are OSErrors, too, with numbers that no system has.
        if isinstance(error, OSError) and error.errno in errno.errorcode:
            raise OSError(error.errno, error.strerror, name) from error
        raise ValueError(f"{name}: no video that can be read ({error})") from error


def _stream_of(container: Any) -> Any:
    if not container.streams.video:
        raise LookupError("there are no pictures in it")
    return container.streams.video[0]


def _pictures(container: Any) -> Iterator[Picture]:
    stream = _stream_of(container)
    began: float | None = None
    for number, picture in enumerate(container.decode(stream)):
        seen: float | None = picture.time
        if seen is None and stream.average_rate:
            seen = float(number / stream.average_rate)
        if seen is not None:
            if began is None:
                began = seen
            seen = max(seen - began, 0.0)
        yield Picture(*from_av(picture, "yuv420p"), seen)


@final
class Capture:
    """A camera that is open.

    Raises:
        DeviceError: it can't be opened.
        UnsupportedFeatureError: PyAV is not installed.
    """

    def __init__(
        self,
        device: str | None,
        format: str | None,  # noqa: A002
        options: Mapping[str, str],
    ) -> None:
        av = load()
        usual_format, usual_device = _CAMERAS.get(sys.platform, _ELSEWHERE)
        self._format = format or usual_format
        device = device or (usual_device if self._format == usual_format else None)
        self.name = f"camera {device!r}"
        self._errors = (av.FFmpegError, ValueError, LookupError)
        if device is None:
            raise DeviceError("camera", f"{self._format} has no default: say which device")
        if self._format == "dshow" and "=" not in device:
            device = f"video={device}"
        if self._format == "avfoundation":  # which by itself asks for a rate that no camera has
            options = {"framerate": "30", **options}
        with self._told():
            self._container = av.open(device, format=self._format, options=dict(options))
            _stream_of(self._container)

    def pictures(self, stopped: threading.Event) -> Iterator[Picture]:
        """Yield what the camera sees, until `stopped` is set.

        Raises:
            DeviceError: it sees no more.
        """
        began = time.monotonic()
        with self._told():
            for picture in _pictures(self._container):
                if self._format == _MADE and picture.time is not None:
                    stopped.wait(began + picture.time - time.monotonic())
                if stopped.is_set():
                    return
                yield picture
        raise DeviceError(self.name, "it has stopped by itself; was it unplugged?")

    def close(self) -> None:
        """Close the camera."""
        self._container.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Put what FFmpeg says into our words."""
        try:
            yield
        except self._errors as error:
            raise DeviceError(self.name, getattr(error, "strerror", None) or str(error)) from error
