"""Hundreds of sessions over WebSocket for a while: ``python -m benchmarks soak-websocket``.

Each has sound both ways, through `open_session`; every second a few hang up, and others call. Each
line is a stretch of the run: what this process has in memory and in descriptors, how late its
frames were, and what of the bot's sound was heard. At the end nothing should have grown.
"""

import gc
import random
import tempfile
from pathlib import Path

import trio

import trio_pipecat as tp
from trio_pipecat.audio import AudioChunk, Lateness

from ..resident import resident_kib
from ._running import allow_many_files, compile_all, running_audience

RATE = 16_000
#: Sessions that hang up each second, and are followed by others.
LEAVING = 2
#: As long as anybody stays.
LONGEST_SECONDS = 3_600


class Crowd:
    """The sessions, and what is counted of them."""

    def __init__(self, url: str, number: int) -> None:
        self._url = url
        self._number = number
        self._rng = random.Random(1)
        self._sound = AudioChunk(self._rng.randbytes(RATE * 2) * 60, RATE)
        self._scopes: list[trio.CancelScope] = []
        self.calls = 0
        self.heard = 0
        self.lateness = Lateness()

    @property
    def holding(self) -> int:
        """How many sessions there are."""
        return len(self._scopes)

    async def call(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Talk and listen until cancelled."""
        with trio.CancelScope() as scope:
            async with tp.open_session(self._url, connect_timeout=60, ready_timeout=60) as session:
                await session.wait_ready()
                self._scopes.append(scope)
                self.calls += 1
                task_status.started()
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._talk, session)
                        async for _ in session.audio:
                            self.heard += 1
                finally:
                    self._scopes.remove(scope)
                    self.lateness.merge(session.pacing)

    async def _talk(self, session: tp.Session) -> None:
        await trio.sleep(self._rng.random())
        for _ in range(LONGEST_SECONDS // 60):
            await session.stream_audio(self._sound)

    async def run(self, seconds: float, stretch: float) -> None:
        """Hold them, and print a line for each stretch."""
        async with trio.open_nursery() as nursery:
            for _ in range(self._number):
                await nursery.start(self.call)
            nursery.start_soon(self._come_and_go, nursery)
            began = trio.current_time()
            while trio.current_time() - began < seconds:
                self.heard, self.lateness = 0, Lateness()
                since = trio.current_time()
                await trio.sleep(stretch)
                self._tell(trio.current_time() - began, trio.current_time() - since)
            nursery.cancel_scope.cancel()

    async def _come_and_go(self, nursery: trio.Nursery) -> None:
        while True:
            await trio.sleep(1 / LEAVING)
            self._rng.choice(self._scopes).cancel()
            nursery.start_soon(nursery.start, self.call)

    def _tell(self, at: float, lasted: float) -> None:
        gc.collect()
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        tasks = trio.lowlevel.current_statistics().tasks_living
        wanted = self._number * 25 * lasted
        late = 1000 * self.lateness.percentile(99)
        print(
            f"| {at:4.0f} s | {self.holding} | {self.calls} | {resident_kib() / 1024:.1f} MiB "
            f"| {descriptors} | {tasks} | {late:.1f} ms | {100 * self.heard / wanted:.1f} % |",
            flush=True,
        )


def main(*, sessions: int, seconds: float) -> None:
    """Print the table."""
    allow_many_files()
    print("| at | sessions | calls so far | memory | descriptors | tasks | p99 late | heard |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        if compile_all(Path(folder)):
            with running_audience(Path(folder)) as audience:
                audience.reset("after-audio")
                trio.run(Crowd(audience.url, sessions).run, seconds, min(60, seconds / 5))
