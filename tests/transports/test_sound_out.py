"""Sound on its way to another thread: in frames of 20 ms, whatever it was put in."""

import threading

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from trio_pipecat.audio import AudioChunk
from trio_pipecat.transports._sound_out import Frame, SoundOut

RATE = 16_000
SIZE = 640


def sound(
    seconds: float, rate: int = RATE, channels: int = 1, value: bytes = b"\1\2"
) -> AudioChunk:
    return AudioChunk(value * round(seconds * rate) * channels, rate, channels)


def take_all(out: SoundOut) -> list[Frame]:
    """Take until there is nothing twice in a row: what begins is held back first."""
    frames: list[Frame] = []
    nothing = 0
    while nothing < 12:
        frame = out.take()
        nothing = nothing + 1 if frame is None else 0
        if frame is not None:
            frames.append(frame)
    return frames


@given(st.lists(st.integers(0, 5000), max_size=20))
def test_every_sample_once_in_whole_frames(sizes: list[int]) -> None:
    """However it was cut; the last frame is filled up with silence."""

    async def main() -> None:
        out = SoundOut()
        pcm = bytes(number % 251 + 1 for number in range(2 * sum(sizes)))
        begin = 0
        taken = b""
        for size in sizes:
            chunk = AudioChunk(pcm[begin : begin + 2 * size], RATE)
            begin += 2 * size
            while out.depth >= 0.2:
                frame = out.take()
                taken += b"" if frame is None else frame.pcm
            await out.put(chunk)
        taken += b"".join(frame.pcm for frame in take_all(out))
        assert pcm == taken[: len(pcm)]
        assert 0 == len(taken) % SIZE
        assert len(taken) - len(pcm) < SIZE
        assert not any(taken[len(pcm) :])
        assert 0 == pytest.approx(out.depth)

    trio.run(main)


async def test_putting_is_a_checkpoint() -> None:
    """Also what is empty, which is nothing."""
    out = SoundOut()
    with assert_checkpoints():
        await out.put(sound(0.02))
    with assert_checkpoints():
        await out.put(AudioChunk(b"", RATE))
    assert 0.02 == pytest.approx(out.depth)


async def test_a_fifth_of_a_second_waits_and_then_the_sender() -> None:
    """Until another thread takes."""
    out, passed = SoundOut(), trio.Event()

    async def send() -> None:
        for _ in range(11):
            await out.put(sound(0.02))
        passed.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        assert not passed.is_set()
        assert 0.2 == pytest.approx(out.depth)
        thread = threading.Thread(target=out.take)
        thread.start()
        thread.join()
    assert passed.is_set()


async def test_a_cancelled_sender_has_put_nothing() -> None:
    """At whatever step it was cancelled."""
    out = SoundOut()
    await out.put(sound(1))
    for at_once in (True, False):
        with trio.CancelScope() as scope:
            if at_once:
                scope.cancel()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(out.put, sound(1))
                await wait_all_tasks_blocked()
                scope.cancel()
        assert 1 == pytest.approx(out.depth)


async def test_the_end_wakes_who_waits() -> None:
    """And nobody can put any more."""
    out = SoundOut()
    await out.put(sound(1))

    async def send() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await out.put(sound(1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        out.finish()
    await send()


async def test_what_begins_is_held_back_until_there_are_two_frames() -> None:
    """Or two beats have gone by: so that a little jitter is no gap."""
    out = SoundOut()
    assert None is out.take()
    await out.put(sound(0.02))
    assert [None, None] == [out.take(), out.take()]
    assert out.take() is not None
    assert None is out.take()


async def test_a_moment_without_sound_is_no_new_beginning() -> None:
    """What comes late is not held back once more; after a pause it is."""
    out = SoundOut()
    await out.put(sound(0.04))
    assert [True, True, False] == [out.take() is not None for _ in range(3)]
    await out.put(sound(0.02))
    assert out.take() is not None
    assert [False] * 12 == [out.take() is not None for _ in range(12)]
    await out.put(sound(0.02))
    assert [False, False, True] == [out.take() is not None for _ in range(3)]


async def test_what_came_late_is_made_up_for_in_silence() -> None:
    """As much as there was nothing; two frames stay, for the next time."""
    out = SoundOut()
    await out.put(sound(0.04))
    assert [True, True, False, False] == [out.take() is not None for _ in range(4)]
    await out.put(AudioChunk(sound(0.04).pcm + bytes(6 * SIZE), RATE))
    assert 6 == sum(out.take() is not None for _ in range(6))
    assert 0.04 == pytest.approx(out.skipped_seconds)
    assert None is out.take()


async def test_formats_may_change() -> None:
    """In the middle of a frame, too: what is begun is filled up, and the new one begins."""
    out = SoundOut()
    await out.put(sound(0.03))
    await out.put(sound(0.02, 48_000, 2))
    frames = take_all(out)
    assert [(RATE, 1), (RATE, 1), (48_000, 2)] == [(f.sample_rate, f.num_channels) for f in frames]
    assert [SIZE, SIZE, 48 * 20 * 4] == [len(frame.pcm) for frame in frames]


async def test_what_opus_does_not_take_is_made_what_it_takes() -> None:
    """Other rates become 48 kHz, more channels become one."""
    out = SoundOut()
    for _ in range(5):
        await out.put(sound(0.1, 44_100))
        frames = take_all(out)
        assert {(48_000, 1)} == {(f.sample_rate, f.num_channels) for f in frames}
    await out.put(sound(0.1, 16_000, 6))
    assert {(16_000, 1)} == {(f.sample_rate, f.num_channels) for f in take_all(out)}


async def test_silence_that_was_meant_is_kept() -> None:
    """However much of it waits."""
    out = SoundOut()
    await out.put(AudioChunk(sound(0.5).pcm + bytes(RATE), RATE))
    assert 50 == len(take_all(out))
    assert 0 == out.skipped_seconds


async def test_silence_makes_up_for_a_taker_that_stood_still() -> None:
    """As much as had piled up meanwhile, and no sound."""
    out = SoundOut()
    for number in range(10):
        await out.put(sound(0.02, value=b"\0\0" if number % 2 else b"\1\2"))
    out.fell_behind(0.5)
    frames = take_all(out)
    assert 0.08 == pytest.approx(out.skipped_seconds)
    assert 6 == len(frames)
    assert 5 == sum(any(frame.pcm) for frame in frames)


async def test_forgetting() -> None:
    """What waits is gone, what was begun, too."""
    out = SoundOut()
    await out.put(sound(0.05))
    await out.put(sound(0.05))
    assert [True, True] == [frame is not None for frame in (out.take(), out.take())]
    out.clear()
    assert 0 == pytest.approx(out.depth)
    assert None is out.take()


async def test_sound_that_nobody_takes_is_gone() -> None:
    """The other side has said that it wants none: whoever waits goes on, and nothing piles up."""
    out = SoundOut()
    await out.put(sound(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(out.put, sound(0.02))
        await wait_all_tasks_blocked()
        out.want(False)
    for _ in range(20):
        await out.put(sound(1))
    assert 0 == out.depth
    out.want(True)
    await out.put(sound(1))
    assert 1 == pytest.approx(out.depth)
