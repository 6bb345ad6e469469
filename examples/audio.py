"""Speak to a bot in real time, and write down what it is heard to say meanwhile."""

import math
import struct
import sys

import trio

from trio_pipecat import AudioChunk, Session, open_session
from trio_pipecat.audio import write_wav

RATE = 16_000


def tone(seconds: float, hertz: float = 440) -> AudioChunk:
    """Return a tone as signed 16-bit little-endian PCM."""
    step = 2 * math.pi * hertz / RATE
    samples = [round(8000 * math.sin(n * step)) for n in range(round(seconds * RATE))]
    return AudioChunk(struct.pack(f"<{len(samples)}h", *samples), RATE)


async def listen(session: Session, heard: list[AudioChunk]) -> None:
    async for chunk in session.audio:
        heard.append(chunk)  # noqa: PERF401  # at once: this is cancelled in the end


async def main(address: str, path: str) -> None:
    heard: list[AudioChunk] = []
    async with open_session(address) as session, trio.open_nursery() as nursery:
        nursery.start_soon(listen, session, heard)
        await session.wait_ready()

        report = await session.stream_audio(tone(1))  # or the path of a WAV file, or a microphone
        print(f"sent {report.seconds:g} s, the latest frame {report.lateness.max:.3f} s late")

        await trio.sleep(0.5)  # silence goes on meanwhile, so that the bot knows you are done
        nursery.cancel_scope.cancel()
    if heard:
        first = heard[0]
        # One file, one rate.
        pcm = b"".join(chunk.resampled(first.sample_rate).pcm for chunk in heard)
        write_wav(path, AudioChunk(pcm, first.sample_rate, first.num_channels))
        print("written:", path)
    else:
        print("the bot made no sound, so there is no file")


trio.run(
    main,
    sys.argv[1] if len(sys.argv) > 1 else "sim:?greeting=",
    sys.argv[2] if len(sys.argv) > 2 else "bot.wav",
)
