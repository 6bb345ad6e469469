"""When the bot speaks: told by its events, by its sound, or by both."""

import pytest
import trio
from scripted import Script, ScriptedBot, scripted
from trio.testing import MockClock

import trio_pipecat as tp
from trio_pipecat.audio import AudioChunk
from trio_pipecat.tools._bot_voice import BotVoice

TONE = AudioChunk(b"\x00\x20\x00\xe0" * 12_000, 24_000)
SILENCE = AudioChunk.silence(1, 24_000)


async def with_events(bot: ScriptedBot) -> None:
    """Speak for a second, in words."""
    await bot.say(tp.BotStartedSpeaking())
    await trio.sleep(1)
    await bot.say(tp.BotStoppedSpeaking())


async def with_sound(bot: ScriptedBot) -> None:
    """A second of sound and one of silence, at once."""
    await bot.link.send_audio(TONE)
    await bot.link.send_audio(SILENCE)


@pytest.mark.parametrize("speak", [with_events, with_sound])
async def test_it_speaks_and_falls_silent(speak: Script, autojump_clock: MockClock) -> None:
    """The quiet is counted from the end."""

    async def script(bot: ScriptedBot) -> None:
        await bot.become_ready()
        await trio.sleep(2)
        await speak(bot)
        await bot.listen()

    async with tp.open_session(transport=scripted(script)) as session:
        voice = BotVoice(session)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(voice.listen)
            await session.wait_ready()
            ready = trio.current_time()
            assert not voice.has_spoken_since(ready)
            await voice.wait_speaking(since=ready)
            assert pytest.approx(2, abs=0.03) == trio.current_time() - ready
            assert voice.is_speaking
            await voice.wait_quiet(0.5)
            assert pytest.approx(3.5, abs=0.05) == trio.current_time() - ready
            assert not voice.is_speaking
            assert voice.has_spoken_since(ready)
            assert not voice.has_spoken_since(ready + 3.1)
            nursery.cancel_scope.cancel()
