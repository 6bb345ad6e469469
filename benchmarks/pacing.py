"""How late the frames of paced audio are, with many sessions: ``python -m benchmarks.pacing``.

Each session streams speech-like noise with `Session.stream_audio`, in one process; whoever listens
is another process. Lateness is what the report says: how long after its time a frame was handed
over to the link.
"""

import argparse
import random
import time

import trio

import trio_pipecat as tp
from trio_pipecat.audio import AudioChunk, Lateness

from .sink import running_sink

_SPREAD_SECONDS = 1


async def caller(url: str, sound: AudioChunk, lateness: Lateness, delay: float) -> None:
    """Stream, once."""
    await trio.sleep(delay)
    async with tp.open_session(url, ready_timeout=60, connect_timeout=60) as session:
        await session.wait_ready()
        report = await session.stream_audio(sound)
        lateness.merge(report.lateness)


async def callers(url: str, number: int, seconds: float) -> tuple[Lateness, float]:
    """Return how late the frames of so many sessions were, and the CPU that this took, as a part
    of one core."""
    sound = AudioChunk(random.Random(1).randbytes(round(seconds * 16_000) * 2), 16_000)
    lateness = Lateness()
    rng = random.Random(2)
    began, cpu = time.perf_counter(), time.process_time()
    async with trio.open_nursery() as nursery:
        for _ in range(number):
            nursery.start_soon(caller, url, sound, lateness, rng.uniform(0, _SPREAD_SECONDS))
    return lateness, (time.process_time() - cpu) / (time.perf_counter() - began)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 50, 200])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print("| sessions | round | p50 | p99 | latest | one core busy |")
    print("|---:|---:|---:|---:|---:|---:|")
    with running_sink() as url:
        for round_ in range(options.rounds):
            for number in options.sessions:
                lateness, busy = trio.run(callers, url, number, options.seconds)
                p50, p99 = (1000 * lateness.percentile(percent) for percent in (50, 99))
                print(
                    f"| {number} | {round_ + 1} | {p50:.1f} ms | {p99:.1f} ms "
                    f"| {1000 * lateness.max:.0f} ms | {100 * busy:.0f} % |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
