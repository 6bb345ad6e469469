"""What goes into a peer connection and what comes out: Opus, PCM, pictures, and when."""

import asyncio
import math
import time
from array import array
from typing import Any

import pytest
import trio

pytest.importorskip("av", reason='type: pip install "trio-pipecat[webrtc]"')
import av
from aiortc.mediastreams import MediaStreamError

from trio_pipecat.audio import AudioChunk
from trio_pipecat.testing._transport_ends import frequency, sine
from trio_pipecat.transports._rtc_sound_in import SoundReader
from trio_pipecat.transports._rtc_tracks import (
    OpusEncoder,
    PictureTrack,
    SoundTrack,
    from_av,
)
from trio_pipecat.transports._sound_out import Frame, SoundOut
from trio_pipecat.video import VideoFrame

RATES = [8_000, 12_000, 16_000, 24_000, 48_000]


def decoded(packets: list[bytes], to_rate: int) -> bytes:
    """Return what a peer would hear: it decodes to stereo at 48 kHz."""
    codec = av.CodecContext.create("libopus", "r")
    codec.format, codec.layout, codec.sample_rate = "s16", "stereo", 48_000
    reader = SoundReader(to_rate)
    return b"".join(
        reader.read(frame) for packet in packets for frame in codec.decode(av.Packet(packet))
    )


def frames_of(pcm: bytes, rate: int, channels: int = 1) -> list[Frame]:
    size = rate // 50 * 2 * channels
    return [Frame(pcm[at : at + size], rate, channels) for at in range(0, len(pcm), size)]


def encoded(frames: list[Frame]) -> list[bytes]:
    encoder = OpusEncoder()
    return [packet for frame in frames for packet in encoder.encode(frame)]


@pytest.mark.parametrize("to_rate", [16_000, 24_000, 48_000])
@pytest.mark.parametrize("rate", RATES)
def test_a_tone_at_any_rate(rate: int, to_rate: int) -> None:
    """Comes out as that tone, as loud and as long, at the rate that is asked for."""
    packets = encoded(frames_of(sine(440, 1, rate), rate))
    assert 50 == len(packets)
    heard = decoded(packets, to_rate)
    assert 1 == pytest.approx(len(heard) / 2 / to_rate, abs=0.021)
    middle = heard[to_rate // 2 : -to_rate // 2]
    assert 440 == pytest.approx(frequency(middle, to_rate), rel=0.02)
    level = math.sqrt(sum(s * s for s in array("h", middle)) / (len(middle) / 2))
    assert 16_383 / math.sqrt(2) == pytest.approx(level, rel=0.1)


def test_stereo_is_heard_in_mono() -> None:
    """As the mean of both channels."""
    left = array("h", sine(440, 1, 48_000))
    both = array("h", [sample for pair in zip(left, left, strict=True) for sample in pair])
    heard = decoded(encoded(frames_of(both.tobytes(), 48_000, 2)), 24_000)
    assert 440 == pytest.approx(frequency(heard[24_000:], 24_000), rel=0.02)


def test_formats_may_change_on_the_way() -> None:
    """One decoder understands it all."""
    frames = [frame for rate in RATES for frame in frames_of(sine(440, 0.4, rate), rate)]
    heard = decoded(encoded(frames), 24_000)
    assert 440 == pytest.approx(frequency(heard[4_800:], 24_000), rel=0.06)


async def packets_of(
    sound: SoundOut, count: int, *, stall_after: int = 10**9
) -> tuple[list[Any], float]:
    """Take packets from a track in an asyncio loop, in a thread; return how long it took, too."""
    got: list[Any] = []

    async def run() -> float:
        begun = asyncio.Event()
        begun.set()
        track = SoundTrack(sound, begun)
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(count):
            got.append(await track.recv())
            if number == stall_after:
                time.sleep(0.5)  # noqa: ASYNC251  # the loop stands still
        track.stop()
        with pytest.raises(MediaStreamError):
            await track.recv()
        return loop.time() - began

    took = await trio.to_thread.run_sync(asyncio.run, run())
    return got, took


async def test_silence_where_there_is_nothing() -> None:
    """A packet every twenty milliseconds, counted at 48 kHz."""
    got, took = await packets_of(SoundOut(), 10)
    assert [960 * number for number in range(1, 11)] == [packet.pts for packet in got]
    assert 0.17 < took
    heard = AudioChunk(decoded([bytes(packet) for packet in got], 24_000), 24_000)
    assert heard.peak < 0.001


async def test_what_was_put_is_sent() -> None:
    """In its order, after no more than two frames' wait."""
    sound = SoundOut()
    await sound.put(AudioChunk(sine(440, 0.4, 16_000), 16_000))
    got, _ = await packets_of(sound, 25)
    heard = decoded([bytes(packet) for packet in got], 24_000)
    loud = AudioChunk(heard, 24_000)
    assert 0.3 < sum(p.duration for p in loud.split(960) if p.peak > 0.2)
    assert 440 == pytest.approx(frequency(heard[4_800:-4_800], 24_000), rel=0.05)


async def test_a_clock_that_stood_still_begins_anew() -> None:
    """What is behind is not sent in a burst: after half a second, not 25 packets at once."""
    _, took = await packets_of(SoundOut(), 12, stall_after=4)
    assert 0.5 + 10 * 0.02 - 0.045 < took


async def test_a_track_that_does_not_count_takes_nothing() -> None:
    """Another has the sound."""
    sound = SoundOut()
    await sound.put(AudioChunk(sine(440, 0.1, 16_000), 16_000))

    async def run() -> None:
        begun = asyncio.Event()
        begun.set()
        track = SoundTrack(sound, begun)
        track.counts = False
        for _ in range(5):
            await track.recv()

    await trio.to_thread.run_sync(asyncio.run, run())
    assert 0.1 == pytest.approx(sound.depth)


def picture(value: int, **fields: Any) -> VideoFrame:
    return VideoFrame(data=bytes([value]) * 24, width=4, height=4, **fields)


def test_the_newest_picture_replaces_one_that_waits() -> None:
    """And times go up, however fast they come."""

    async def run() -> tuple[list[int], list[int], int]:
        track = PictureTrack()
        values, times = [], []
        track.put(picture(1))
        track.put(picture(2))
        for value in (None, 3, 4):
            if value is not None:
                track.put(picture(value))
            got = await track.recv()
            values.append(bytes(got.planes[0])[0])
            times.append(got.pts)
        return values, times, track.replaced

    values, times, replaced = asyncio.run(run())
    assert ([2, 3, 4], 1) == (values, replaced)
    assert times == sorted(set(times))


def test_a_track_that_is_stopped_wakes_who_waits() -> None:
    """With aiortc's own error."""

    async def run() -> None:
        track = PictureTrack()
        waiting = asyncio.create_task(track.recv())
        await asyncio.sleep(0)
        track.stop()
        with pytest.raises(MediaStreamError):
            await waiting

    asyncio.run(run())


def test_odd_sides_of_what_comes_are_cut_off() -> None:
    """Rows that are longer than they need be, too."""
    got = from_av(av.VideoFrame(35, 17, "yuv420p"), "screen")
    assert (34, 16, "screen", 34 * 16 * 3 // 2) == (
        got.width,
        got.height,
        got.source,
        len(got.data),
    )
