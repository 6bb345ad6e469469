"""Sound to a real bot and back, in real time."""

import random

import pytest
import trio
from real_bot import RealBot

import trio_pipecat as tp
from trio_pipecat.audio import AudioChunk
from trio_pipecat.reports import TurnLog

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


async def test_turns_of_a_real_bot(real_bot: RealBot) -> None:
    """Its sound is heard when it says that it speaks; its own times stand beside."""
    async with tp.open_session(ws_url=real_bot.ws_url()) as session:
        log = TurnLog(session)
        await session.wait_ready()
        for _ in range(2):
            await session.send_text("How are you?")
            await session.wait_event(tp.BotStoppedSpeaking)
    assert ["How are you?"] * 2 == [turn.user_text for turn in log.turns]
    for turn in log.turns:
        assert turn.bot_started is not None
        assert turn.bot_started_speaking is not None
        # Frames of 40 ms, the first of which may come before the event.
        assert abs(turn.bot_started - turn.bot_started_speaking) < 0.25
        assert 0 < turn.text_to_voice < 5
        assert turn.bot_started < turn.bot_ended
        assert turn.llm_started <= turn.tts_started
        assert turn.server_ttfb
        assert "You said: How are you?" == turn.bot_text


async def test_an_interruption_of_a_real_bot_leaves_little_that_is_stale(real_bot: RealBot) -> None:
    """It sends in real time with a frame of lead, so hardly more was read than was heard."""
    async with tp.open_session(ws_url=real_bot.ws_url()) as session, trio.open_nursery() as nursery:
        log = TurnLog(session)

        @nursery.start_soon
        async def listen() -> None:
            async for _ in session.audio:
                pass

        await session.wait_ready()
        await session.send_text("Tell me a long story, please, with many words and no end to it.")
        await session.wait_event(tp.BotStartedSpeaking)
        await trio.sleep(0.5)
        await session.send_text("Stop.")
        await session.wait_event(tp.BotInterrupted)
        await session.wait_event(tp.BotStoppedSpeaking)
        nursery.cancel_scope.cancel()
    story = log.turns[0]
    assert story.interrupted is not None
    assert story.bot_ended <= story.interrupted + 0.001
    assert 0 <= story.stale_ms < 250
