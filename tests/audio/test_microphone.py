"""A microphone: what it hears, when it heard it, and what is dropped."""

import math
from array import array
from itertools import pairwise

import pytest
import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from trio_pipecat import AudioChunk, DeviceError, open_microphone, open_speaker
from trio_pipecat.audio._microphone import ECHO_SECONDS
from trio_pipecat.audio._resample import Resampler

#: 20 ms at 1000 Hz.
BLOCK = 20


def opened(**options):
    """Open a microphone of 1000 Hz."""
    return open_microphone(**{"sample_rate": 1000, "buffer_seconds": 0.1, **options})


def noise(value, frames=BLOCK):
    """Return PCM."""
    return bytes([value, 1]) * frames


async def take(microphone, count):
    """Read so many chunks."""
    return [await anext(microphone) for _ in range(count)]


async def test_what_it_hears(sounddevice) -> None:
    """Comes in order, from another thread, as chunks with its format."""
    async with opened(frame_seconds=0.02) as microphone:
        stream = sounddevice.stream
        assert BLOCK == stream.options["blocksize"]
        chunks = []
        async with trio.open_nursery() as nursery:

            async def read():
                chunks.extend(await take(microphone, 3))

            nursery.start_soon(read)
            for value in range(3):
                await trio.to_thread.run_sync(stream.hear, noise(value))
        assert [AudioChunk(noise(value), 1000) for value in range(3)] == chunks


async def test_reading_is_a_checkpoint(sounddevice) -> None:
    """Also of what is there; and a loop reads until it is left."""
    async with opened() as microphone:
        sounddevice.stream.hear(noise(1))
        with assert_checkpoints():
            await anext(microphone)
        sounddevice.stream.hear(noise(2))
        async for chunk in microphone:
            assert noise(2) == chunk.pcm
            break


async def test_what_it_is(sounddevice) -> None:
    """Its name, its format, and where it is."""
    async with opened(device=2) as microphone:
        assert ("Headset", 1000, 1) == (
            microphone.name,
            microphone.sample_rate,
            microphone.num_channels,
        )
        microphone.muted = True
        assert "<Microphone microphone 'Headset': open, 1000 Hz, 1 channel(s), muted>" == repr(
            microphone
        )


async def test_muted_it_hears_silence(sounddevice) -> None:
    """Of the same length: time goes on. What it has heard before stays."""
    async with opened() as microphone:
        sounddevice.stream.hear(noise(1))
        microphone.muted = True
        sounddevice.stream.hear(noise(2))
        assert 0 == microphone.level
        microphone.muted = False
        sounddevice.stream.hear(noise(3))
        pcm = [chunk.pcm for chunk in await take(microphone, 3)]
        assert [noise(1), bytes(2 * BLOCK), noise(3)] == pcm


async def test_the_level_is_that_of_the_last_block(sounddevice) -> None:
    """Whether it was read or not."""
    async with opened() as microphone:
        assert 0 == microphone.level
        sounddevice.stream.hear(noise(9))
        assert AudioChunk(noise(9), 1000).level == microphone.level > 0


async def test_what_is_not_read_is_dropped(sounddevice) -> None:
    """The oldest first, and it is counted."""
    async with opened(frame_seconds=0.02, buffer_seconds=0.06) as microphone:
        for value in range(5):
            sounddevice.stream.hear(noise(value))
        assert 0.04 == microphone.dropped_seconds
        pcm = [chunk.pcm for chunk in await take(microphone, 3)]
        assert [noise(2), noise(3), noise(4)] == pcm
        assert 0 == microphone.overflows


async def test_what_the_device_lost_is_counted(sounddevice) -> None:
    """Apart from what was dropped."""
    async with opened() as microphone:
        sounddevice.stream.hear(noise(1), lost=True)
        assert (1, 0) == (microphone.overflows, microphone.dropped_seconds)


# -- formats -----------------------------------------------------------------------------


async def test_a_device_with_other_channels_and_another_rate(sounddevice) -> None:
    """Is converted, as if its blocks were one sound; chunks that come to nothing do not come."""
    sounddevice.channels, sounddevice.rates = [2], [48_000]
    samples = array("h", [round(9_000 * math.sin(n / 20)) for n in range(9_600)])
    stereo = array("h", [sample for sample in samples for _ in range(2)]).tobytes()
    resampler = Resampler(48_000, 16_000, engine="python")
    pieces = [resampler.resample(samples[n : n + 48].tobytes()) for n in range(0, 9_600, 48)]
    async with open_microphone(frame_seconds=0.001) as microphone:
        for start in range(0, len(stereo), 192):
            sounddevice.stream.hear(stereo[start : start + 192])
        expected = [piece for piece in pieces if piece]
        chunks = await take(microphone, len(expected))
        assert expected == [chunk.pcm for chunk in chunks]
        assert {(16_000, 1)} == {(chunk.sample_rate, chunk.num_channels) for chunk in chunks}


# -- time --------------------------------------------------------------------------------


async def heard_at(sounddevice, mock_clock, microphone, times, *, delay=0.02):
    """Return when blocks were heard that are there at some times, since the first of these."""
    began = trio.current_time()
    for time in times:
        mock_clock.jump(began + time - trio.current_time())
        sounddevice.stream.hear(noise(1), delay=delay)
    return [chunk.at - began for chunk in await take(microphone, len(times))]


async def test_when_it_was_heard(sounddevice, mock_clock) -> None:
    """That is before the block is there, by its own length at least."""
    async with opened() as microphone:
        heard = await heard_at(sounddevice, mock_clock, microphone, [0, 0.02], delay=0.25)
        assert pytest.approx([-0.25, -0.23]) == heard
        heard = await heard_at(sounddevice, mock_clock, microphone, [1, 1.02], delay=0)
        assert pytest.approx([0.98, 1.0]) == heard


async def test_blocks_in_bursts(sounddevice, mock_clock) -> None:
    """Their sound was not: it is counted in samples."""
    async with opened(buffer_seconds=99) as microphone:
        times = [n // 4 * 0.08 for n in range(200)]
        heard = await heard_at(sounddevice, mock_clock, microphone, times)
        steps = [after - before for before, after in pairwise(heard[4:])]
        assert max(abs(step - 0.02) for step in steps) < 0.005
        # The last of each burst has only just been heard.
        assert max(abs(a + 0.02 - b) for a, b in zip(heard[7::4], times[7::4], strict=True)) < 0.005


async def test_a_device_whose_clock_is_off(sounddevice, mock_clock) -> None:
    """Is followed: after a minute it is not behind."""
    for pace in (0.999, 1.001):
        async with opened(buffer_seconds=99) as microphone:
            times = [n * 0.02 * pace for n in range(3_000)]
            heard = await heard_at(sounddevice, mock_clock, microphone, times)
            assert max(abs(a + 0.02 - b) for a, b in zip(heard, times, strict=True)) < 0.002


async def test_a_device_that_stood_still(sounddevice, mock_clock) -> None:
    """The time of what comes then is right at once."""
    async with opened() as microphone:
        heard = await heard_at(sounddevice, mock_clock, microphone, [0, 0.02, 1.5, 1.52])
        assert pytest.approx([-0.02, 0, 1.48, 1.5]) == heard


async def test_time_does_not_run_back(sounddevice) -> None:
    """Whatever the device says."""
    async with opened() as microphone:
        sounddevice.stream.hear(noise(1), delay=0)
        sounddevice.stream.hear(noise(1), delay=3)
        first, second = await take(microphone, 2)
        assert first.at == second.at


# -- half duplex -------------------------------------------------------------------------


async def test_half_duplex(sounddevice, mock_clock) -> None:
    """While the speaker sounds, and for the echo, the microphone hears silence instead."""
    async with open_speaker(sample_rate=1000) as speaker:
        loud = sounddevice.stream
        async with opened(half_duplex_with=speaker) as microphone:

            async def hears(*, delay=0.0):
                sounddevice.stream.hear(noise(1), delay=delay)
                return any((await anext(microphone)).pcm)

            assert await hears()
            await speaker.play(AudioChunk(noise(5), 1000))
            assert await hears()
            loud.sound(BLOCK, delay=0.5)
            assert not await hears()
            mock_clock.jump(0.5 + 0.02 + ECHO_SECONDS - 0.01)
            assert not await hears()
            mock_clock.jump(0.02)
            # It may take a while to be here: what counts is when it was heard.
            assert not await hears(delay=0.05)
            mock_clock.jump(0.05)
            assert await hears()


async def test_silence_shuts_no_microphone(sounddevice) -> None:
    """A bot that sends zeros all the time may be spoken to."""
    async with open_speaker(sample_rate=1000) as speaker:
        loud = sounddevice.stream
        async with opened(half_duplex_with=speaker) as microphone:
            await speaker.play(AudioChunk.silence(0.02, 1000))
            loud.sound(BLOCK)
            sounddevice.stream.hear(noise(1))
            assert noise(1) == (await anext(microphone)).pcm


# -- the end -----------------------------------------------------------------------------


async def test_an_unplugged_microphone(sounddevice) -> None:
    """What it heard is read; then the reader is told."""
    async with opened() as microphone:
        sounddevice.stream.hear(noise(1))
        await trio.to_thread.run_sync(sounddevice.stream.unplug)
        assert noise(1) == (await anext(microphone)).pcm
        for _ in range(2):
            with pytest.raises(DeviceError, match="'Desk Microphone': it has stopped by itself"):
                await anext(microphone)


async def test_a_closed_microphone(sounddevice) -> None:
    """Has nothing to read, whatever it had heard."""
    async with opened() as microphone:
        sounddevice.stream.hear(noise(1))
    with pytest.raises(trio.ClosedResourceError):
        await anext(microphone)


async def test_cancelling_a_reader_loses_nothing(sounddevice) -> None:
    """What it would have read is read by the next."""
    async with opened() as microphone:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(anext, microphone)
            await wait_all_tasks_blocked()
            sounddevice.stream.hear(noise(1))
            nursery.cancel_scope.cancel()
        assert noise(1) == (await anext(microphone)).pcm


@pytest.mark.parametrize(
    "options",
    [
        {"sample_rate": -1},
        {"num_channels": 0},
        {"frame_seconds": 0},
        {"buffer_seconds": math.inf},
        {"latency": -1},
    ],
)
async def test_what_can_not_be(options, sounddevice) -> None:
    """Is refused before anything is opened."""
    with pytest.raises(ValueError, match="positive"):
        async with open_microphone(**options):
            raise AssertionError
    assert [] == sounddevice.streams
