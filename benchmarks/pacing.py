"""How late the frames of paced audio are, with many sessions: ``python -m benchmarks pacing``.

Each session streams speech-like noise with `Session.stream_audio`, in one process; whoever listens
is another process. Lateness is what the report says: how long after its time a frame was handed
over to the link.
"""

import random
import time

import trio

import trio_pipecat as tp
from trio_pipecat.audio import AudioChunk, Lateness

from .sink import running_sink

RATE = 16_000
SESSIONS = (1, 50, 100, 200)
#: They do not all begin at once.
SPREAD_SECONDS = 1


class Load:
    """Sessions that stream, and what comes of it."""

    def __init__(self, url: str, number: int, seconds: float) -> None:
        self._url = url
        self._number = number
        self._sound = AudioChunk(random.Random(1).randbytes(round(seconds * RATE) * 2), RATE)
        self._ready = 0
        self._all_ready = trio.Event()
        self.lateness = Lateness()

    async def call(self, delay: float) -> None:
        """Be ready, wait until all are, and stream once, a little later than others."""
        async with tp.open_session(self._url, ready_timeout=60, connect_timeout=60) as session:
            await session.wait_ready()
            self._ready += 1
            if self._ready == self._number:
                self._all_ready.set()
            await self._all_ready.wait()
            await trio.sleep(delay)
            report = await session.stream_audio(self._sound, idle_audio="none")
            self.lateness.merge(report.lateness)

    async def run(self) -> float:
        """Return the CPU that this took while they streamed, as a part of one core."""
        rng = random.Random(2)
        async with trio.open_nursery() as nursery:
            for _ in range(self._number):
                nursery.start_soon(self.call, rng.uniform(0, SPREAD_SECONDS))
            await self._all_ready.wait()
            await trio.sleep(SPREAD_SECONDS)
            began, cpu = time.perf_counter(), time.process_time()
            await trio.sleep(self._sound.duration - SPREAD_SECONDS)
            return (time.process_time() - cpu) / (time.perf_counter() - began)


def main(*, rounds: int, seconds: float) -> None:
    """Print the table."""
    print("| sessions | round | p50 | p99 | latest | of a core |")
    print("|---:|---:|---:|---:|---:|---:|")
    with running_sink() as url:
        for number in SESSIONS:
            for round_ in range(rounds):
                load = Load(url, number, seconds)
                busy = trio.run(load.run)
                lateness = load.lateness
                p50, p99 = (1000 * lateness.percentile(percent) for percent in (50, 99))
                print(
                    f"| {number} | {round_ + 1} | {p50:.1f} ms | {p99:.1f} ms "
                    f"| {1000 * lateness.max:.0f} ms | {100 * busy:.0f} % |",
                    flush=True,
                )
