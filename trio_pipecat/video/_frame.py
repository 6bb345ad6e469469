"""Pictures: what a frame of video is."""

import math
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias, get_args

import attrs

from .._errors import UnsupportedFeatureError
from ._pyav import from_av, planes_of, to_av

if TYPE_CHECKING:
    import numpy as np

#: How the bytes of a frame lie: planes of Y, U and V with a quarter of the samples in each of the
#: latter two, or red, green and blue beside each other. Rows follow one another without a gap.
PixelFormat: TypeAlias = Literal["yuv420p", "rgb24"]
#: What a user's picture shows.
PictureSource: TypeAlias = Literal["camera", "screen"]

#: The largest picture, in pixels a side. VP8 has no larger ones.
MAX_SIDE: Final = 16_383


def _bytes(data: object) -> bytes:
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"a picture is bytes, not {type(data).__name__}")
    return bytes(data)


@attrs.frozen(kw_only=True)
class VideoFrame:
    """One picture. `data` is as long as `width`, `height` and `format` make it.

    `yuv420p` is what video is encoded from; its width and height are even. `time` is when it is to
    be seen, in seconds from the beginning of what it is a part of; None: now. `at` is
    `trio.current_time` of when it came; `source` says what a user's picture shows.

    Raises:
        TypeError, ValueError: this can't be a picture.
    """

    data: bytes = attrs.field(converter=_bytes, repr=lambda data: f"<{len(data)} bytes>")
    width: int
    height: int
    format: PixelFormat = "yuv420p"
    time: float | None = None
    at: float | None = attrs.field(default=None, eq=False)
    source: PictureSource = "camera"

    def __attrs_post_init__(self) -> None:
        for name, side in (("width", self.width), ("height", self.height)):
            if not isinstance(side, int) or isinstance(side, bool):
                raise TypeError(f"a {name} is an integer, not {side!r}")
            if not 0 < side <= MAX_SIDE:
                raise ValueError(f"a {name} is from 1 to {MAX_SIDE}, not {side}")
        for name, value, known in (
            ("format", self.format, get_args(PixelFormat)),
            ("source", self.source, get_args(PictureSource)),
        ):
            if value not in known:
                raise ValueError(f"a {name} is one of {known}, not {value!r}")
        if self.format == "yuv420p" and (self.width % 2 or self.height % 2):
            raise ValueError(f"the sides of yuv420p are even, not {self.width}x{self.height}")
        size = sum(row * rows for row, rows in planes_of(self.width, self.height, self.format))
        if len(self.data) != size:
            raise ValueError(
                f"a picture of {self.width}x{self.height} in {self.format} has {size} bytes, "
                f"not {len(self.data)}"
            )
        if self.time is not None and not 0 <= self.time < math.inf:
            raise ValueError(f"a time is 0 seconds or more, not {self.time}")

    @classmethod
    def from_ndarray(
        cls,
        array: "np.ndarray[Any, Any]",
        *,
        time: float | None = None,
        at: float | None = None,
        source: PictureSource = "camera",
    ) -> Self:
        """Return the picture that an array of bytes is.

        One of three dimensions, height, width and 3, is red, green and blue; what OpenCV has is the
        other way round: give it ``array[:, :, ::-1]``. One of two dimensions is yuv420p: the rows
        of Y, and half as many for U and V.

        Raises:
            TypeError, ValueError: it can't be a picture.
        """
        shape = tuple(getattr(array, "shape", ()))
        if str(getattr(array, "dtype", None)) != "uint8":
            raise TypeError(f"a picture is an array of uint8, not {type(array).__name__}")
        match shape:
            case (height, width, 3):
                format_: PixelFormat = "rgb24"
            case (rows, width) if rows % 3 == 0:
                height, format_ = rows // 3 * 2, "yuv420p"
            case _:
                raise ValueError(f"a picture is of shape (h, w, 3) or (h * 3 / 2, w), not {shape}")
        return cls(
            data=array.tobytes(),
            width=width,
            height=height,
            format=format_,
            time=time,
            at=at,
            source=source,
        )

    def to_ndarray(self) -> "np.ndarray[Any, np.dtype[np.uint8]]":
        """Return it as an array of bytes, as `from_ndarray` takes it. It can't be written to.

        Raises:
            UnsupportedFeatureError: numpy is not installed.
        """
        try:
            import numpy as np
        except ImportError as error:
            raise UnsupportedFeatureError(
                "a picture as an array", "numpy; type: pip install numpy"
            ) from error
        rows, columns = self.height, self.width
        shape = (rows, columns, 3) if self.format == "rgb24" else (rows * 3 // 2, columns)
        return np.frombuffer(self.data, np.uint8).reshape(shape)

    def converted(self, format: PixelFormat) -> "VideoFrame":  # noqa: A002
        """Return the same picture in another format. An odd row or column has no place in yuv420p.

        Raises:
            UnsupportedFeatureError: the extra ``webrtc`` is not installed.
            ValueError: there is no such format.
        """
        if format not in get_args(PixelFormat):
            raise ValueError(f"a format is one of {get_args(PixelFormat)}, not {format!r}")
        if format == self.format:
            return self
        picture = to_av(self.data, self.width, self.height, self.format)
        data, width, height = from_av(picture, format)
        return attrs.evolve(self, data=data, width=width, height=height, format=format)
