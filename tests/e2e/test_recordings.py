"""The real bot, recorded and played again."""

from pathlib import Path
from typing import Any

import pytest
import trio
from real_bot import RealBot

import trio_pipecat as tp
from trio_pipecat.testing import Recorder, Recording, ReplayBot, diff, load_recording


async def talk(path: Path, target: str | None, **keywords: Any) -> Recording:
    """Greet, ask, be answered with sound, make a request; return what was recorded."""
    async with tp.open_session(target, **keywords) as session:
        Recorder(session, path)
        with session.subscribe(tp.BotStoppedSpeaking) as stopped:
            await session.wait_ready()
            await stopped.receive()
            for _ in range(10):
                await session.send_audio(bytes(640), sample_rate=16_000)
                await trio.sleep(0.02)
            await session.send_text("one two three")
            await stopped.receive()
            assert {"pong": 1} == await session.request("ping", 1)
        await trio.sleep(0.5)
    return load_recording(path)


async def test_a_recorded_bot_says_the_same(real_bot: RealBot, tmp_path: Path) -> None:
    """The same messages in the same order, as many seconds of sound, and the same end."""
    first = await talk(tmp_path / "a.jsonl", real_bot.ws_url(greet=1))
    again = await talk(tmp_path / "b.jsonl", None, transport=ReplayBot(first).connect)
    assert [] == diff(first, again, audio_tolerance=0)
    assert first.audio_seconds("bot") > 0.5
    assert 0.2 == pytest.approx(first.audio_seconds("client"))
