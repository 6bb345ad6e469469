"""What can be streamed as video."""

import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from films import write_film

from trio_pipecat import AudioChunk, VideoFrame
from trio_pipecat.audio import write_wav
from trio_pipecat.video._source import FrameReader, read_frames

BLACK = VideoFrame(data=bytes(6), width=2, height=2)
FRAMES = [attrs.evolve(BLACK, time=number / 10) for number in range(3)]


async def all_of(reader: FrameReader) -> list[VideoFrame]:
    """Return what a reader gives, and close it."""
    frames = [frame async for frame in reader]
    await reader.aclose()
    return frames


async def awaited() -> AsyncGenerator[VideoFrame, None]:
    """Yield frames."""
    for frame in FRAMES:
        await trio.lowlevel.checkpoint()
        yield frame


@pytest.mark.parametrize("make", [lambda: FRAMES, lambda: iter(FRAMES), awaited])
async def test_many_frames_are_a_source(make: Any) -> None:
    """A sequence, what may block, and what is awaited."""
    assert FRAMES == await all_of(read_frames(make(), "camera"))


async def test_all_show_the_same() -> None:
    """Whatever they say."""
    frames = [BLACK, attrs.evolve(BLACK, source="screen")]
    for shows in ("camera", "screen"):
        shown = [frame.source for frame in await all_of(read_frames(frames, shows))]
        assert [shows, shows] == shown


@pytest.mark.parametrize("source", [5, None, b"film.mp4", BLACK])
def test_what_is_no_source_is_refused(source: Any) -> None:
    """At once."""
    with pytest.raises(TypeError, match="a path or an iterable of VideoFrames"):
        read_frames(source, "camera")


async def test_what_is_no_frame_is_refused() -> None:
    """When it comes, with its number."""
    reader = read_frames([BLACK, "x"], "camera")  # type: ignore[list-item]
    assert BLACK == await anext(reader)
    with pytest.raises(TypeError, match="item 2 is of type str"):
        await anext(reader)


async def test_an_async_generator_is_closed() -> None:
    """It has nobody else."""
    generator = awaited()
    reader = read_frames(generator, "camera")
    await anext(reader)
    await reader.aclose()
    assert [] == [frame async for frame in generator]


async def test_what_blocks_does_so_in_a_thread() -> None:
    """Cancelling does not wait for it."""
    release = threading.Event()

    def stuck() -> Iterator[VideoFrame]:
        release.wait(10)
        yield BLACK

    reader = read_frames(stuck(), "camera")
    with trio.move_on_after(0.05) as waited:
        await anext(reader)
    release.set()
    assert waited.cancelled_caught


@pytest.mark.parametrize(("suffix", "first"), [("mp4", 50), ("mkv", 50), ("avi", 0)])
async def test_a_file_is_read(tmp_path: Path, suffix: str, first: int) -> None:
    """Its frames have the time from its beginning."""
    path = tmp_path / f"film.{suffix}"
    write_film(path, count=5, rate=25, first=first)
    for given in (path, str(path)):
        frames = await all_of(read_frames(given, "camera"))
        assert [pytest.approx(n / 25, abs=0.002) for n in range(5)] == [f.time for f in frames]
        assert {(64, 48, "yuv420p")} == {(f.width, f.height, f.format) for f in frames}
        assert [n * 40 for n in range(5)] == [
            pytest.approx(frame.data[0], abs=3) for frame in frames
        ]


async def test_a_file_is_closed_in_the_middle(tmp_path: Path) -> None:
    """With its reader."""
    path = tmp_path / "film.mp4"
    write_film(path, count=5, rate=25)
    reader = read_frames(path, "camera")
    await anext(reader)
    await reader.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(reader)


@pytest.mark.parametrize(
    ("content", "error", "text"),
    [
        (None, FileNotFoundError, r"film\.mp4"),
        ("a directory", IsADirectoryError, r"film\.mp4"),
        (b"", ValueError, "no video that can be read"),
        (b"no video" * 1000, ValueError, "no video that can be read"),
    ],
)
async def test_a_file_that_cannot_be_read(
    tmp_path: Path, content: bytes | str | None, error: type[Exception], text: str
) -> None:
    """When it is read, with its name."""
    path = tmp_path / "film.mp4"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        path.mkdir()
    with pytest.raises(error, match=text):
        await all_of(read_frames(path, "camera"))


async def test_a_file_of_sound_has_no_pictures(tmp_path: Path) -> None:
    """Which is said."""
    path = tmp_path / "sound.wav"
    write_wav(path, AudioChunk(bytes(3200), 16_000))
    with pytest.raises(ValueError, match="there are no pictures in it"):
        await all_of(read_frames(path, "camera"))


async def test_a_film_that_is_cut_off(tmp_path: Path) -> None:
    """What is whole is read, and nothing but our errors comes of the rest."""
    whole, cut = tmp_path / "film.mkv", tmp_path / "cut.mkv"
    write_film(whole, count=20, rate=25)
    content = whole.read_bytes()
    for size in range(0, len(content), 97):
        cut.write_bytes(content[:size])
        reader = read_frames(cut, "camera")
        count = 0
        with suppress(OSError, ValueError):
            async for frame in reader:
                count += frame.width == 64
        await reader.aclose()
    assert count > 10
