"""Send a second of sound in real time, and write down what the bot says meanwhile."""

import sys
import wave

import trio

from trio_pipecat import Session, open_session

RATE = 16_000
FRAME = 0.02  # seconds


async def record(session: Session, path: str) -> None:
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        async for chunk in session.audio:
            if file.getnframes() == 0:
                file.setframerate(chunk.sample_rate)
            file.writeframes(chunk.pcm)


async def speak(session: Session, pcm: bytes) -> None:
    size = int(RATE * FRAME) * 2
    beat = trio.current_time()
    for start in range(0, len(pcm), size):
        await session.send_audio(pcm[start : start + size], sample_rate=RATE)
        beat += FRAME
        await trio.sleep_until(beat)


async def main(address: str, path: str) -> None:
    async with open_session(address) as session, trio.open_nursery() as nursery:
        nursery.start_soon(record, session, path)
        await session.wait_ready()
        await speak(session, bytes(RATE * 2))
        await trio.sleep(0.5)
        nursery.cancel_scope.cancel()
    print("written:", path)


trio.run(
    main,
    sys.argv[1] if len(sys.argv) > 1 else "sim:?greeting=",
    sys.argv[2] if len(sys.argv) > 2 else "bot.wav",
)
