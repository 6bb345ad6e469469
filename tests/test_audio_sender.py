"""The beat on which the user's voice goes out, in virtual time.

Each test runs twice: over a link that takes frames without waiting, so that the pacer sends them,
and over one that never does, so that the sender's own task has to. Nobody can tell which it was.
"""

import random
from collections import Counter
from collections.abc import AsyncGenerator

import attrs
import pytest
import trio
from trio.testing import MockClock

from trio_pipecat._audio_sender import (
    FRAME_SECONDS,
    MAX_CATCH_UP,
    MAX_LAG,
    PATIENCE,
    AudioSender,
    IdleAudio,
    SendsAudio,
    StreamReport,
)
from trio_pipecat.audio import AudioChunk, Lateness
from trio_pipecat.audio._source import Piece

RATE = 8_000
#: 20 ms at 8 kHz, in bytes.
FRAME = 320


class Line(SendsAudio):
    """A session that notes what it is given, and when; and may be held up, or over."""

    def __init__(self, *, takes_directly: bool) -> None:
        self.frames: list[tuple[float, bytes]] = []
        self.takes_directly = takes_directly
        self.open = True
        #: By the number of a frame: how long the link takes for it.
        self.holds: dict[int, float] = {}

    def send_frame_nowait(self, chunk: AudioChunk) -> bool:
        assert RATE == chunk.sample_rate
        held_up = self.holds.get(len(self.frames), 0)
        if held_up or not (self.takes_directly and self.open):
            return False
        self.frames.append((trio.current_time(), chunk.pcm))
        return True

    async def send_frame(self, chunk: AudioChunk) -> bool:
        assert RATE == chunk.sample_rate
        if not self.open:
            return False
        await trio.sleep(self.holds.get(len(self.frames), 0))
        self.frames.append((trio.current_time(), chunk.pcm))
        return True

    @property
    def times(self) -> list[float]:
        """When frames went out."""
        return [round(at, 6) for at, _ in self.frames]

    @property
    def sound(self) -> bytes:
        """What went out, without the silence after it."""
        return b"".join(pcm for _, pcm in self.frames).rstrip(b"\0")


class Stage:
    """A sender that runs, and the line it sends on."""

    def __init__(self, nursery: trio.Nursery, *, takes_directly: bool) -> None:
        self.line = Line(takes_directly=takes_directly)
        self.lateness = Lateness()
        self.sender = AudioSender(self.line, RATE, self.lateness)
        nursery.start_soon(self.sender.run)

    async def stream(self, *steps: bytes | float, idle: IdleAudio = "silence") -> StreamReport:
        """Stream bytes, and pauses of so many seconds."""
        report = await self.sender.stream(source(*steps), idle)
        assert report is not None
        return report


async def source(*steps: bytes | float) -> AsyncGenerator[Piece, None]:
    """Yield bytes, and sleep in between."""
    for step in steps:
        if isinstance(step, bytes):
            yield Piece(step, None)
        else:
            await trio.sleep(step)


@pytest.fixture(params=[True, False], ids=["by the pacer", "by the task"])
def takes_directly(request: pytest.FixtureRequest) -> bool:
    """Does the link take frames without waiting?"""
    return bool(request.param)


@pytest.fixture
def stage(nursery: trio.Nursery, takes_directly: bool) -> Stage:
    """Return a running sender on a virtual clock."""
    return Stage(nursery, takes_directly=takes_directly)


async def test_a_frame_goes_out_every_20_ms(autojump_clock: MockClock, stage: Stage) -> None:
    """And the call returns when the last of it has sounded."""
    report = await stage.stream(b"\1" * FRAME * 5)
    assert [0, 0.02, 0.04, 0.06, 0.08] == stage.line.times[:5]
    assert 0.1 == pytest.approx(trio.current_time())
    assert (0.1, 0, 0, 0) == (
        pytest.approx(report.seconds),
        report.silence_seconds,
        report.waited_seconds,
        report.stalls,
    )
    assert (5, 0) == (report.lateness.count, pytest.approx(report.lateness.max, abs=1e-9))


async def test_an_hour_does_not_drift(autojump_clock: MockClock, stage: Stage) -> None:
    """Each of 180,000 frames is where it belongs."""
    minute = b"\1" * FRAME * 50 * 60
    report = await stage.stream(*[minute] * 60, idle="none")
    assert 180_000 == len(stage.line.frames)
    assert all(abs(at - n * FRAME_SECONDS) < 1e-6 for n, at in enumerate(stage.line.times))
    assert 3600 == pytest.approx(report.seconds)
    assert 0 == pytest.approx(report.lateness.max, abs=1e-6)


async def test_a_rate_of_which_a_frame_is_no_whole_number_does_not_drift(
    autojump_clock: MockClock, nursery: trio.Nursery, takes_directly: bool
) -> None:
    """220 samples and a half are 220 and 221 in turn; a minute takes a minute."""
    sizes: list[int] = []

    class Odd(SendsAudio):
        def send_frame_nowait(self, chunk: AudioChunk) -> bool:
            if takes_directly:
                sizes.append(chunk.num_frames)
            return takes_directly

        async def send_frame(self, chunk: AudioChunk) -> bool:
            await trio.lowlevel.checkpoint()
            sizes.append(chunk.num_frames)
            return True

    sender = AudioSender(Odd(), 11_025, Lateness())
    nursery.start_soon(sender.run)
    report = await sender.stream(source(*[b"\1\0" * 11_025] * 60), "none")
    assert (3_000, 60 * 11_025, {220, 221}) == (len(sizes), sum(sizes), {*sizes})
    assert (60, 60) == (pytest.approx(report.seconds), pytest.approx(trio.current_time()))


async def test_silence_goes_on_between_streams(autojump_clock: MockClock, stage: Stage) -> None:
    """On the same beat, and counts for the session alone."""
    report = await stage.stream(b"\1" * FRAME)
    await trio.sleep(1.01)
    await stage.stream(b"\2" * FRAME)
    sounds = [pcm[:1] for _, pcm in stage.line.frames]
    assert [b"\1", *[b"\0"] * 51, b"\2"] == sounds[:53]
    assert all(abs(at - n * FRAME_SECONDS) < 1e-6 for n, at in enumerate(stage.line.times))
    assert 1 == report.lateness.count
    assert 53 <= stage.lateness.count


async def test_no_silence_where_none_is_wanted(autojump_clock: MockClock, stage: Stage) -> None:
    """The last frame is as short as the sound."""
    await stage.stream(b"\1" * (FRAME + 100), idle="none")
    await trio.sleep(1)
    assert [FRAME, 100] == [len(pcm) for _, pcm in stage.line.frames]
    await stage.stream(b"\2" * FRAME)
    assert 1.04 == pytest.approx(stage.line.times[2])


async def test_silence_begins_within_the_last_frame(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """So that every frame is whole."""
    await stage.stream(b"\1" * 100)
    assert b"\1" * 100 + bytes(FRAME - 100) == stage.line.frames[0][1]


async def test_a_source_that_is_hardly_late_is_waited_for(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """The beat goes on from there, and waits no second time for the same reason."""
    frame = b"\1" * FRAME
    steps = [frame, 0.05, frame, *[0.02, frame] * 20]
    report = await stage.stream(*steps)
    assert frame * 22 == stage.line.sound
    assert [0, 0.05] == stage.line.times[:2]
    assert (0, 0.03) == (report.silence_seconds, pytest.approx(report.waited_seconds))
    assert 0 == pytest.approx(report.lateness.max, abs=1e-9)


async def test_silence_is_sent_for_a_source_that_pauses(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """On the beat, once it has been waited for long enough."""
    report = await stage.stream(b"\1" * FRAME, 0.99, b"\2" * FRAME)
    sounds = [pcm[:1] for _, pcm in stage.line.frames]
    first, *pause, last = stage.line.frames[: sounds.index(b"\2") + 1]
    assert b"\1" == first[1][:1]
    assert {bytes(FRAME)} == {pcm for _, pcm in pause}
    assert FRAME_SECONDS + PATIENCE == pytest.approx(pause[0][0])
    assert 1.0 == pytest.approx(last[0])
    assert len(pause) * FRAME_SECONDS == pytest.approx(report.silence_seconds)
    assert 0 == pytest.approx(report.lateness.max, abs=1e-9)


async def test_without_silence_a_pause_is_a_pause(autojump_clock: MockClock, stage: Stage) -> None:
    """And the sound goes on when there is some."""
    report = await stage.stream(b"\1" * FRAME, 1.0, b"\2" * FRAME, idle="none")
    assert [0, 1] == stage.line.times
    assert (0, 0.98) == (report.silence_seconds, pytest.approx(report.waited_seconds))


async def test_half_a_frame_waits_for_its_other_half(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """Pieces are of any size."""
    report = await stage.stream(*[b"\1" * 70] * 32)
    assert b"\1" * 70 * 32 == stage.line.sound
    assert 7 == report.lateness.count


async def test_what_was_held_up_is_caught_up(autojump_clock: MockClock, stage: Stage) -> None:
    """Late frames go out at once, and then the beat is the old one."""
    stage.line.holds[2] = 0.1
    report = await stage.stream(b"\1" * FRAME * 10)
    assert [0, 0.02, 0.14, 0.14, 0.14, 0.14, 0.14, 0.14, 0.16, 0.18] == stage.line.times[:10]
    assert 0.1 == pytest.approx(report.lateness.max)
    assert (0, 5) == (report.stalls, report.lateness.later_than(0.001))


async def test_what_was_held_up_for_long_is_no_burst(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """The beat begins anew: bots can't tell the ends of turns in a burst."""
    stage.line.holds[1] = MAX_CATCH_UP + 0.1
    report = await stage.stream(b"\1" * FRAME * 4)
    assert [0, 0.62, 0.62, 0.64] == stage.line.times[:4]
    assert (1, 0.6) == (report.stalls, pytest.approx(report.stalled_seconds))


async def test_cancelling_stops_within_a_frame(autojump_clock: MockClock, stage: Stage) -> None:
    """Nothing of it is sent after that, and the next stream can begin."""
    with trio.move_on_after(0.05):
        await stage.stream(b"\1" * FRAME * 100)
    await trio.sleep(1)
    assert b"\1" * FRAME * 3 == stage.line.sound
    await stage.stream(b"\2" * FRAME)
    assert b"\2" == stage.line.sound[-1:]


async def test_cancelling_while_the_beat_waits_for_the_source(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """It waits no more."""
    with trio.move_on_after(0.5):
        await stage.stream(b"\1" * FRAME, 100.0, idle="none")
    assert 0.5 == trio.current_time()
    await stage.stream(b"\2" * FRAME, idle="none")
    assert [0, 0.5] == stage.line.times


async def test_one_stream_at_a_time(
    autojump_clock: MockClock, stage: Stage, nursery: trio.Nursery
) -> None:
    """Whoever comes second is told."""
    nursery.start_soon(stage.stream, b"\1" * FRAME * 10)
    await trio.sleep(0.01)
    with pytest.raises(trio.BusyResourceError, match="streaming audio already"):
        await stage.stream(b"\2" * FRAME)
    await trio.sleep(1)
    assert b"\1" * FRAME * 10 == stage.line.sound


async def test_what_came_before_an_error_is_sent(autojump_clock: MockClock, stage: Stage) -> None:
    """Then it is raised."""

    async def failing() -> AsyncGenerator[Piece, None]:
        yield Piece(b"\1" * FRAME * 3, None)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        await stage.sender.stream(failing(), "silence")
    assert 0.06 == pytest.approx(trio.current_time())
    assert b"\1" * FRAME * 3 == stage.line.sound


async def test_an_empty_source_is_over_at_once(autojump_clock: MockClock, stage: Stage) -> None:
    """And the silence after it begins."""
    report = await stage.stream()
    assert (0, 0) == (report.seconds, trio.current_time())
    await trio.sleep(0.1)
    assert [bytes(FRAME)] * 5 == [pcm for _, pcm in stage.line.frames[:5]]


async def test_little_is_read_ahead(autojump_clock: MockClock, stage: Stage) -> None:
    """A source of any length is never in memory."""
    read = 0

    async def endless() -> AsyncGenerator[Piece, None]:
        nonlocal read
        while True:
            read += 1
            yield Piece(b"\1" * FRAME, None)

    with trio.move_on_after(1):
        await stage.sender.stream(endless(), "silence")
    assert 50 <= read <= 50 + 25


async def test_the_sources_generator_is_closed(autojump_clock: MockClock, stage: Stage) -> None:
    """Even if it has not run out."""
    closed = trio.Event()

    async def endless() -> AsyncGenerator[Piece, None]:
        try:
            while True:
                yield Piece(b"\1" * FRAME, None)
        finally:
            closed.set()

    with trio.move_on_after(1):
        await stage.sender.stream(endless(), "silence")
    assert closed.is_set()


async def test_a_session_that_is_over_ends_the_stream(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """Wherever it is; later ones too."""

    async def hang_up() -> None:
        await trio.sleep(0.5)
        stage.line.open = False
        stage.sender.finish()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hang_up)
        assert None is await stage.sender.stream(source(b"\1" * FRAME, 100.0), "silence")
    assert 0.5 == trio.current_time()
    assert None is await stage.sender.stream(source(b"\1" * FRAME), "silence")


async def live(*held_up: tuple[int, float], frames: int = 100) -> AsyncGenerator[Piece, None]:
    """Yield frames as a microphone that was on all the time, and is held up after some of them."""
    began, holds = trio.current_time(), dict(held_up)
    for number in range(frames):
        until = began + (number + 1) * FRAME_SECONDS
        await trio.sleep_until(until)
        await trio.sleep(holds.get(number, 0))
        yield Piece(bytes([number % 250 + 1]) * FRAME, until)


def delays(line: Line) -> list[float]:
    """Return how long after its end each frame of `live` went out."""
    return [
        round(at - (pcm[0]) * FRAME_SECONDS, 3) for at, pcm in line.frames if pcm != bytes(FRAME)
    ]


async def test_a_live_source_that_was_held_up_is_made_up_for(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """All of it is sent, a little faster, and then it is in time again."""
    report = await stage.sender.stream(live((20, 0.4)), "silence")
    assert report is not None
    late = delays(stage.line)
    assert 100 == len(late)
    assert max(late) >= 0.4
    assert max(late[60:]) <= max(late[:20]) + MAX_LAG
    assert 0.2 <= report.hurried_seconds <= 0.5
    assert 0.3 <= report.silence_seconds <= 0.4


async def test_a_live_source_that_is_in_time_is_not_hurried(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """Nor one that is a little late now and then."""
    report = await stage.sender.stream(live(*[(number, 0.04) for number in (10, 30, 50)]), "none")
    assert report is not None
    assert 0 == report.hurried_seconds
    assert bytes(range(1, 101)) == bytes(pcm[0] for _, pcm in stage.line.frames)


async def test_a_live_source_is_hurried_up_to_three_times_as_fast(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """Each frame is sent once, and only those of the beat count as in time or late."""
    report = await stage.sender.stream(live((20, 0.4)), "none")
    assert report is not None
    at_once = Counter(stage.line.times)
    assert 3 == max(at_once.values())
    assert report.lateness.count == len(at_once)
    assert 100 - len(at_once) == round(report.hurried_seconds / FRAME_SECONDS)
    assert bytes(range(1, 101)) == bytes(pcm[0] for _, pcm in stage.line.frames)


async def test_a_microphone_whose_clock_is_fast_does_not_fall_behind(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """What it gives too much is sent too."""

    async def fast() -> AsyncGenerator[Piece, None]:
        began = trio.current_time()
        for number in range(3_000):
            await trio.sleep_until(began + (number + 1) * FRAME_SECONDS * 0.99)
            yield Piece(b"\1" * FRAME, trio.current_time())

    report = await stage.sender.stream(fast(), "none")
    assert report is not None
    assert 60 == pytest.approx(report.seconds)
    assert 60 * 0.99 + 2 * MAX_LAG >= trio.current_time()


async def test_what_was_made_ahead_is_not_hurried(autojump_clock: MockClock, stage: Stage) -> None:
    """A burst is spoken in its own time, even if it says when it came."""

    async def burst() -> AsyncGenerator[Piece, None]:
        until = trio.current_time()
        for _ in range(100):
            until += FRAME_SECONDS
            yield Piece(b"\1" * FRAME, until)

    report = await stage.sender.stream(burst(), "none")
    assert report is not None
    assert (0, 2) == (report.hurried_seconds, pytest.approx(trio.current_time()))


# -- both ways ----------------------------------------------------------------------------


@pytest.mark.parametrize("idle", ["silence", "none"])
@pytest.mark.parametrize("scene", ["made", "pauses", "held up", "stalls", "live", "jitters"])
async def test_nobody_can_tell_who_sends(
    autojump_clock: MockClock, nursery: trio.Nursery, scene: str, idle: IdleAudio
) -> None:
    """The frames, their times and the reports are the same."""
    frame, seen = b"\1" * FRAME, []
    rng = random.Random(7)
    delays = [(number, rng.random() * 0.3) for number in range(0, 100, 9)]
    for takes_directly in (True, False):
        # Between two ticks, so that nothing else happens at the same moment as a beat.
        await trio.sleep_until(round(trio.current_time() + 10) + 0.003)
        stage, began = Stage(nursery, takes_directly=takes_directly), trio.current_time()
        sources = {
            "made": source(frame * 30, b"\2" * 100),
            "pauses": source(frame, 0.053, frame, 0.507, frame * 3, 0.011, frame),
            "held up": source(frame * 30),
            "stalls": source(frame * 30),
            "live": live((20, 0.4), (60, 0.2)),
            "jitters": live(*delays),
        }
        if scene in ("held up", "stalls"):
            stage.line.holds[5] = 0.1 if scene == "held up" else MAX_CATCH_UP + 0.1
        for name, other in sources.items():
            if name != scene:
                await other.aclose()
        report = await stage.sender.stream(sources[scene], idle)
        assert report is not None
        await trio.sleep(0.503)
        stage.line.open = False
        await trio.sleep(0.1)
        frames = [(round(at - began, 6), pcm) for at, pcm in stage.line.frames]
        lateness = report.lateness
        assert report.began is not None
        report.began -= began
        figures = attrs.asdict(report, filter=lambda field, _: field.name != "lateness")
        seen.append(
            (
                frames,
                {name: round(value, 6) for name, value in figures.items()},
                (lateness.count, round(lateness.max, 6)),
            )
        )
    if scene not in ("live", "jitters"):
        assert seen[0] == seen[1]
        return
    # Of a burst that comes while a frame is sent, who waits for the link sees more, a beat earlier.
    (ours, *report_of_ours), (others, *report_of_others) = seen
    assert report_of_ours == report_of_others
    assert [pcm for _, pcm in ours] == [pcm for _, pcm in others]
    assert max(abs(one - other) for (one, _), (other, _) in zip(ours, others, strict=True)) < 0.03


async def test_a_crowd_that_begins_at_once_does_not_send_at_once(
    autojump_clock: MockClock, nursery: trio.Nursery, takes_directly: bool
) -> None:
    """A process has a frame of each session to send within 20 ms, and sends some every 5 ms."""
    stages = [Stage(nursery, takes_directly=takes_directly) for _ in range(200)]
    async with trio.open_nursery() as streams:
        for stage in stages:
            streams.start_soon(stage.stream, b"\1" * FRAME * 50)
    sent = Counter(at for stage in stages for at in stage.line.times[10:50])
    assert 200 * 40 == sum(sent.values())
    assert 40 <= min(sent.values())
    assert max(sent.values()) <= 60
    for stage in stages:
        assert stage.line.times[0] <= 0.02
        assert 1 == pytest.approx(stage.line.times[50] - stage.line.times[0])
        assert 0 == pytest.approx(stage.lateness.max, abs=1e-6)
