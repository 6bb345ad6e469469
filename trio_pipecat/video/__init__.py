"""Pictures: frames of video, and where they come from."""

from ._camera import Camera as Camera
from ._camera import open_camera as open_camera
from ._frame import VideoFrame as VideoFrame
from ._source import VideoSource as VideoSource

__all__ = ["Camera", "VideoFrame", "VideoSource", "open_camera"]
