"""How long does a caller wait for an answer? Measured from the sound, turn by turn."""

import math
import struct
import sys

import trio

from trio_pipecat import AudioChunk, BotStoppedSpeaking, open_session
from trio_pipecat.audio import AudioSource
from trio_pipecat.reports import TurnLog

RATE = 16_000


def syllables(number: int) -> AudioChunk:
    """Return something that sounds a little like a sentence: tones with pauses."""
    wave = [round(9000 * math.sin(n * math.tau * 220 / RATE)) for n in range(RATE // 4)]
    pause = [0] * (RATE // 20)
    samples = (wave + pause) * number
    return AudioChunk(struct.pack(f"<{len(samples)}h", *samples), RATE)


async def main(address: str, sounds: list[AudioSource]) -> None:
    async with open_session(address) as session:
        log = TurnLog(session)
        await session.wait_ready()
        for sound in sounds:
            await session.stream_audio(sound)
            with trio.fail_after(30):  # a bot that has not understood is silent
                await session.wait_event(BotStoppedSpeaking)
    for turn in log.turns:
        if turn.voice_to_voice is not None:
            print(f"turn {turn.number}: {turn.voice_to_voice:.2f} s, then: {turn.bot_text}")


trio.run(
    main,
    sys.argv[1] if len(sys.argv) > 1 else "sim:?greeting=&hear=What%20time%20is%20it",
    sys.argv[2:] or [syllables(3), syllables(5)],
)
