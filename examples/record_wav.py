"""Record a conversation to a stereo WAV file: the user left, the bot right, with marks."""

import sys
import wave

import trio

from trio_pipecat import BotStoppedSpeaking, WavRecorder, open_session


async def main(address: str, path: str) -> None:
    async with open_session(address) as session:
        with WavRecorder(session, path) as recorder:  # before the first await
            await session.wait_event(BotStoppedSpeaking)  # the greeting
            for _ in range(50):  # a second of what a microphone would give
                await session.send_audio(bytes(640), sample_rate=16_000)
                await trio.sleep(0.02)
            await session.send_text("What is the capital of Japan?")
            await session.wait_event(BotStoppedSpeaking)
    print(f"{recorder.seconds:.1f} s in {path}")


path = sys.argv[2] if len(sys.argv) > 2 else "call.wav"
trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "sim:", path)

with wave.open(path) as file:
    print(f"{file.getnchannels()} channels at {file.getframerate()} Hz")
