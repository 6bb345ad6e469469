"""What can be streamed as the user's video, made into one thing: frames, one after the other."""

import os
from collections.abc import AsyncIterable, Iterable, Iterator, Sequence
from typing import Any, Self, TypeAlias, cast, final

import attrs
import trio

from ..audio._items import END, AwaitedItems, Items, ItemsAtHand, ItemsInThread
from ._frame import PictureSource, VideoFrame
from ._pyav import read_file

#: Something to see: a video file by its path, or many frames.
VideoSource: TypeAlias = str | os.PathLike[str] | Iterable[VideoFrame] | AsyncIterable[VideoFrame]


def read_frames(source: VideoSource, shows: PictureSource) -> "FrameReader":
    """Return the frames of `source`, as those of a camera or of a screen.

    Close it, and the file or the async generator behind it is closed.

    Args:
        source: an iterable that is no sequence may block, it is iterated over in a thread.
        shows: what they become the `VideoFrame.source` of.

    Raises:
        TypeError: `source` can't be seen. At once; of what it holds, when it comes.
        OSError, UnsupportedFeatureError, ValueError: the file can't be read. When it is read.
    """
    if not isinstance(source, str | os.PathLike | Iterable | AsyncIterable) or isinstance(
        source, bytes | bytearray | memoryview
    ):
        raise TypeError(
            f"what is streamed is a path or an iterable of VideoFrames, not {type(source).__name__}"
        )
    return FrameReader(_items_of(source), shows)


@final
class FrameReader:
    """The frames of a source. Made by `read_frames`; close it."""

    def __init__(self, items: Items, shows: PictureSource) -> None:
        self._items = items
        self._shows: PictureSource = shows
        self._count = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> VideoFrame:
        await trio.lowlevel.checkpoint()
        item = await self._items.next()
        if item is END:
            raise StopAsyncIteration
        self._count += 1
        if not isinstance(item, VideoFrame):
            raise TypeError(
                f"a source of video gives VideoFrames; its item {self._count} is of type "
                f"{type(item).__name__}"
            )
        return item if item.source == self._shows else attrs.evolve(item, source=self._shows)

    async def aclose(self) -> None:
        """Read no more: close the file, or the generator, that is behind it."""
        await self._items.aclose()


def _items_of(source: Any) -> Items:
    if isinstance(source, str | os.PathLike):
        return ItemsInThread(_frames_of(cast("str | os.PathLike[str]", source)))
    if isinstance(source, AsyncIterable):
        return AwaitedItems(source)
    if isinstance(source, Sequence):
        return ItemsAtHand(iter(source))
    return ItemsInThread(iter(source))


def _frames_of(path: "str | os.PathLike[str]") -> Iterator[VideoFrame]:
    for picture in read_file(path):
        yield VideoFrame(**picture._asdict())
