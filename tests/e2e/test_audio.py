"""Sound to a real bot and back, in real time."""

import random

import pytest
import trio
from real_bot import RealBot

import trio_pipecat as tp
from trio_pipecat.audio import AudioChunk

pytestmark = pytest.mark.e2e

RATE = 16_000
SECONDS = 180


def noise(seconds: int) -> bytes:
    """Return sound in which no stretch is like another, and no sample is silent."""
    return random.Random(1).randbytes(2 * RATE * seconds).replace(b"\0", b"\1")


@pytest.mark.timeout(SECONDS + 60)
async def test_three_minutes_come_back_sample_by_sample(real_bot: RealBot) -> None:
    """Every sample that was sent, none twice, none out of order; and the beat was kept."""
    sent = noise(SECONDS)
    heard = bytearray()
    url = real_bot.ws_url(echo=1, out_rate=RATE)
    async with tp.open_session(ws_url=url) as session, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def listen() -> None:
            async for chunk in session.audio:
                assert (RATE, 1) == (chunk.sample_rate, chunk.num_channels)
                heard.extend(chunk.pcm)
                if len(heard) >= len(sent):
                    return

        await session.wait_ready()
        before = trio.current_time()
        report = await session.stream_audio(AudioChunk(sent, RATE), idle_audio="none")
        took = trio.current_time() - before
        with trio.fail_after(10):
            while len(heard) < len(sent):
                await trio.sleep(0.01)
        assert 0 == session.audio.dropped_seconds
    assert sent == bytes(heard)
    assert (SECONDS, 0, 0) == (report.seconds, report.silence_seconds, report.stalls)
    # Not a test of the machine: a beat that drifted would be late by much more at the end.
    assert SECONDS <= took + 0.005
    assert report.lateness.count == SECONDS * 50
