"""Video in its own time, on a virtual clock."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from trio_pipecat._video_sender import SendsVideo, VideoReport, VideoSender, VideoTrack
from trio_pipecat.video import VideoFrame
from trio_pipecat.video._source import read_frames

RATE = 10


class Line(SendsVideo):
    """A session that notes what it is given, and when; and may be held up, or over."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, float | None]] = []
        self.said: list[tuple[float, VideoTrack, bool]] = []
        self.open = True
        #: By the number of a frame: how long the link takes for it.
        self.holds: dict[int, float] = {}

    async def send_picture(self, frame: VideoFrame) -> bool:
        await trio.sleep(self.holds.get(len(self.seen), 0))
        if self.open:
            self.seen.append((round(trio.current_time(), 6), frame.time))
        return self.open

    async def announce(self, track: VideoTrack, *, enabled: bool) -> bool:
        await trio.lowlevel.checkpoint()
        if self.open:
            self.said.append((round(trio.current_time(), 6), track, enabled))
        return self.open

    @property
    def times(self) -> list[float]:
        """When frames went out."""
        return [at for at, _ in self.seen]


BLACK = VideoFrame(data=bytes(6), width=2, height=2)


def film(count: int, rate: float = RATE) -> list[VideoFrame]:
    """Return frames, each with its time."""
    return [attrs.evolve(BLACK, time=number / rate) for number in range(count)]


async def shown(
    frames: Sequence[VideoFrame], delays: dict[int, float]
) -> AsyncGenerator[VideoFrame, None]:
    """Yield frames, some of them after a while."""
    for number, frame in enumerate(frames):
        await trio.sleep(delays.get(number, 0))
        yield frame


@pytest.fixture
def line() -> Line:
    """Return a session."""
    return Line()


async def stream(
    sender: VideoSender, source: Any, track: VideoTrack = "camera"
) -> VideoReport | None:
    return await sender.stream(read_frames(source, track), track)


async def test_a_frame_goes_out_at_its_time(autojump_clock: MockClock, line: Line) -> None:
    """Counted from the first; the last is seen as long as the others, then the track is off."""
    await trio.sleep(5)
    report = await stream(VideoSender(line), film(4))
    assert [5, 5.1, 5.2, 5.3] == line.times
    assert [(5, "camera", True), (5.4, "camera", False)] == line.said
    assert report is not None
    assert (4, 0, 4) == (report.frames, report.skipped, report.lateness.count)
    assert 0 == pytest.approx(report.lateness.max, abs=1e-6)


async def test_an_hour_does_not_drift(autojump_clock: MockClock, line: Line) -> None:
    """Each of 36,000 frames is where it belongs."""
    await stream(VideoSender(line), film(36_000))
    assert all(abs(at - number / RATE) < 1e-5 for number, at in enumerate(line.times))


async def test_time_begins_with_the_first_frame(autojump_clock: MockClock, line: Line) -> None:
    """A source may take its time to begin; nothing is said before there is something to see."""
    await stream(VideoSender(line), shown(film(3), {0: 7}))
    assert [7, 7.1, 7.2] == line.times
    assert (7, "camera", True) == line.said[0]


async def test_frames_without_a_time_go_out_as_they_come(
    autojump_clock: MockClock, line: Line
) -> None:
    """At once, and count as neither late nor in time."""
    report = await stream(VideoSender(line), shown([BLACK] * 3, {1: 0.5, 2: 0.01}))
    assert [0, 0.5, 0.51] == line.times
    assert report is not None
    assert (3, 0) == (report.frames, report.lateness.count)
    assert 0.51 == trio.current_time()


async def test_what_is_hardly_late_is_sent(autojump_clock: MockClock, line: Line) -> None:
    """And the beat is the old one."""
    report = await stream(VideoSender(line), shown(film(4), {1: 0.15}))
    assert [0, 0.15, 0.2, 0.3] == line.times
    assert report is not None
    assert (0, pytest.approx(0.05)) == (report.skipped, report.lateness.max)


async def test_what_is_too_late_is_skipped(autojump_clock: MockClock, line: Line) -> None:
    """Whoever is to blame: the source, or the link."""
    line.holds[3] = 0.35
    report = await stream(VideoSender(line), shown(film(12), {1: 0.45}))
    assert [
        (0, 0),
        *((0.45, 0.4), (0.5, 0.5)),  # 1, 2 and 3 came too late
        *((0.95, 0.6), (0.95, 0.9), (1, 1), (1.1, 1.1)),  # 6 was held up by the link
    ] == line.seen
    assert report is not None
    assert (7, 5) == (report.frames, report.skipped)


async def test_of_a_source_that_is_too_slow_something_is_seen(
    autojump_clock: MockClock, line: Line
) -> None:
    """One frame a second at least."""
    slow = dict.fromkeys(range(100), 0.2)
    report = await stream(VideoSender(line), shown(film(100), slow))
    gaps = [after - before for before, after in zip(line.times, line.times[1:], strict=False)]
    assert max(gaps) < 1.3
    assert report is not None
    assert report.skipped > 50


async def test_cancelling_says_that_the_track_is_off(autojump_clock: MockClock, line: Line) -> None:
    """Nothing more is sent, the source is closed, and the next stream can begin."""
    closed = trio.Event()

    async def endless() -> AsyncGenerator[VideoFrame, None]:
        try:
            for frame in film(1000):
                yield frame
        finally:
            closed.set()

    sender = VideoSender(line)
    with trio.move_on_after(0.25):
        await stream(sender, endless())
    assert (3, (0.25, "camera", False)) == (len(line.seen), line.said[-1])
    assert closed.is_set()
    await stream(sender, film(1))
    assert 4 == len(line.seen)


async def test_cancelling_is_not_held_up(autojump_clock: MockClock, line: Line) -> None:
    """By a link that does not take the last word."""

    class Stuck(Line):
        async def announce(self, track: VideoTrack, *, enabled: bool) -> bool:
            await trio.sleep(0 if enabled else 1000)
            return True

    with trio.move_on_after(1):
        await stream(VideoSender(Stuck()), film(1000))
    assert 1.5 == trio.current_time()


async def test_a_source_that_fails(autojump_clock: MockClock, line: Line) -> None:
    """What it gave before was sent; what it raises comes out; the track is off."""

    async def failing() -> AsyncGenerator[VideoFrame, None]:
        yield BLACK
        raise KeyError("oops")

    with pytest.raises(KeyError, match="oops"):
        await stream(VideoSender(line), failing())
    assert (1, False) == (len(line.seen), line.said[-1][2])


async def test_nothing_is_said_of_what_shows_nothing(autojump_clock: MockClock, line: Line) -> None:
    """A source without a frame, or one that can't be read."""
    sender = VideoSender(line)
    report = await stream(sender, [])
    assert report is not None
    assert 0 == report.frames
    with pytest.raises(FileNotFoundError):
        await stream(sender, "none.mp4")
    assert [] == line.said


async def test_camera_and_screen_at_once(autojump_clock: MockClock, line: Line) -> None:
    """But none of them twice."""
    sender = VideoSender(line)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream, sender, film(3), "camera")
        nursery.start_soon(stream, sender, film(3), "screen")
        await trio.sleep(0.05)
        with pytest.raises(trio.BusyResourceError, match="screen"):
            await stream(sender, film(1), "screen")
    assert 6 == len(line.seen)
    assert {("camera", True), ("screen", True), ("camera", False), ("screen", False)} == {
        (track, enabled) for _, track, enabled in line.said
    }


async def test_the_end_of_the_session_ends_it(autojump_clock: MockClock, line: Line) -> None:
    """Whether it is between two frames then, begins afterwards, or finds the link broken."""
    sender = VideoSender(line)
    async with trio.open_nursery() as nursery:
        ended: list[VideoReport | None] = []

        async def run() -> None:
            ended.append(await stream(sender, film(1000)))

        nursery.start_soon(run)
        await trio.sleep(0.55)
        sender.finish()
    assert ([None], 6) == (ended, len(line.seen))
    assert None is await stream(sender, film(3))
    line.open = False
    assert None is await stream(VideoSender(line), film(3))
    assert 6 == len(line.seen)


async def test_a_link_that_breaks_under_a_frame(autojump_clock: MockClock) -> None:
    """The session takes no more."""

    class Breaking(Line):
        async def send_picture(self, frame: VideoFrame) -> bool:
            await trio.lowlevel.checkpoint()
            return False

    assert None is await stream(VideoSender(Breaking()), film(3))
