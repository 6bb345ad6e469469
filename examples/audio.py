"""Send a second of sound in real time, and write down what the bot is heard to say meanwhile."""

import math
import struct
import sys
import wave

import trio

from trio_pipecat import AudioChunk, Session, open_session

RATE = 16_000
FRAME = 0.02  # seconds


def tone(seconds: float, hertz: float = 440) -> bytes:
    """Return a tone as signed 16-bit little-endian PCM."""
    step = 2 * math.pi * hertz / RATE
    samples = [round(8000 * math.sin(n * step)) for n in range(round(seconds * RATE))]
    return struct.pack(f"<{len(samples)}h", *samples)


async def listen(session: Session, heard: list[AudioChunk]) -> None:
    async for chunk in session.audio:
        heard.append(chunk)  # noqa: PERF401  # at once: this is cancelled in the end


async def speak(session: Session, pcm: bytes) -> None:
    size = int(RATE * FRAME) * 2
    beat = trio.current_time()
    for start in range(0, len(pcm), size):
        await session.send_audio(pcm[start : start + size], sample_rate=RATE)
        beat += FRAME
        await trio.sleep_until(beat)


def write(path: str, heard: list[AudioChunk]) -> None:
    first = heard[0]
    with wave.open(path, "wb") as file:
        file.setframerate(first.sample_rate)
        file.setnchannels(first.num_channels)
        file.setsampwidth(2)
        for chunk in heard:
            # One file, one rate. The simulated bot sends your sound back as it came, at yours.
            if chunk.sample_rate == first.sample_rate:
                file.writeframes(chunk.pcm)


async def main(address: str, path: str) -> None:
    heard: list[AudioChunk] = []
    async with open_session(address) as session, trio.open_nursery() as nursery:
        nursery.start_soon(listen, session, heard)
        await session.wait_ready()
        await speak(session, tone(1))
        await trio.sleep(0.5)
        nursery.cancel_scope.cancel()
    if heard:
        write(path, heard)
        print("written:", path)
    else:
        print("the bot made no sound, so there is no file")


trio.run(
    main,
    sys.argv[1] if len(sys.argv) > 1 else "sim:?greeting=",
    sys.argv[2] if len(sys.argv) > 2 else "bot.wav",
)
