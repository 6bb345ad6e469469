"""Sound both ways over WebRTC for a while: ``python -m benchmarks soak --seconds 600``.

A simulated bot in a process of its own sends everything back. What goes out is a tone that never
pauses, louder for a fifth of a second every five: so a gap is a quiet piece of what comes back, and
the way there and back is the time from a louder part that was sent to the one that was heard. Each
line is a stretch of the run; at the end nothing should have grown. How late a source is, is not
measured here: the tone is at hand, and its louder parts are noted when they are handed over.
"""

import math
import statistics
import time
from array import array
from collections.abc import Callable, Iterator

import attrs
import trio

import trio_pipecat as tp
from trio_pipecat._tap import Tap
from trio_pipecat.transports import Incoming

from .resident import resident_kib
from .webrtc import running_bot

RATE = 16_000
FRAME = RATE // 50
PERIOD_SECONDS, LOUD_SECONDS = 5.0, 0.2
QUIET, LOUD = 6_000, 24_000
#: A piece that is this much quieter than the tone is a gap.
GAP_PEAK = QUIET / 32_768 / 3
LOUD_PEAK = 0.5


def signal(frame: int) -> bytes:
    """Return a frame of what is sent."""
    loud = frame % round(PERIOD_SECONDS / 0.02) < round(LOUD_SECONDS / 0.02)
    level, turn = LOUD if loud else QUIET, 2 * math.pi * 400 / RATE
    return array("h", (round(level * math.sin(turn * n)) for n in range(FRAME))).tobytes()


@attrs.define
class Stretch:
    """What was heard in a part of the run."""

    began: float
    pieces: int = 0
    gaps: int = 0
    longest_wait: float = 0.0
    delays: list[float] = attrs.field(factory=list)


class Soak:
    """One session, and what is measured of it."""

    def __init__(self, seconds: float, every: float) -> None:
        self._seconds = seconds
        self._every = every
        self._sent_loud: list[float] = []
        self._stretch = Stretch(0)

    async def run(self, url: str) -> None:
        """Talk and listen, and print a line now and then."""
        print("| s | MiB | pieces | gaps | longest wait | there and back | dropped |", flush=True)
        print("|---:|---:|---:|---:|---:|---:|---:|", flush=True)
        async with tp.open_session(webrtc_url=url) as session, trio.open_nursery() as nursery:
            await session.wait_ready()
            nursery.start_soon(self._listen, session)
            nursery.start_soon(self._report, session)
            session._driver.taps.append(LoudParts(self._note_loud))
            await session.stream_audio(self._frames(), idle_audio="none")
            nursery.cancel_scope.cancel()
        print(f"late by: {session.pacing}; {session.end}")

    async def _listen(self, session: tp.Session) -> None:
        was_loud, heard_any, last = False, False, 0.0
        async for chunk in session.audio:
            now = time.perf_counter()
            peak = chunk.peak
            heard_any = heard_any or peak > GAP_PEAK
            stretch = self._stretch
            if not heard_any:
                continue
            stretch.pieces += 1
            stretch.gaps += peak < GAP_PEAK
            stretch.longest_wait = max(stretch.longest_wait, now - last if last else 0)
            last = now
            if peak > LOUD_PEAK and not was_loud and self._sent_loud:
                stretch.delays.append(now - self._sent_loud[-1])
            was_loud = peak > LOUD_PEAK

    def _frames(self) -> Iterator[tp.AudioChunk]:
        period = [tp.AudioChunk(signal(n), RATE) for n in range(round(PERIOD_SECONDS / 0.02))]
        for number in range(round(self._seconds / 0.02)):
            yield period[number % len(period)]

    def _note_loud(self) -> None:
        self._sent_loud.append(time.perf_counter())

    async def _report(self, session: tp.Session) -> None:
        began = time.perf_counter()
        while True:
            await trio.sleep(self._every)
            stretch, self._stretch = self._stretch, Stretch(0)
            delay = "–"
            if stretch.delays:
                delay = f"{1000 * statistics.median(stretch.delays):.0f} ms"
            dropped = session.audio.dropped_seconds
            print(
                f"| {time.perf_counter() - began:.0f} | {resident_kib() / 1024:.1f} "
                f"| {stretch.pieces} | {stretch.gaps} | {1000 * stretch.longest_wait:.0f} ms "
                f"| {delay} | {dropped:.1f} s |",
                flush=True,
            )


class LoudParts(Tap):
    """Notes when a louder part begins to be sent."""

    def __init__(self, note: Callable[[], object]) -> None:
        self._note = note
        self._was_loud = False

    def sent(self, item: Incoming, at: float) -> None:
        """A frame has been handed over."""
        if isinstance(item, tp.AudioChunk):
            is_loud = item.peak > LOUD_PEAK
            if is_loud and not self._was_loud:
                self._note()
            self._was_loud = is_loud


def main(*, seconds: float) -> None:
    """Print what came of it."""
    with running_bot("echo") as url:
        trio.run(Soak(seconds, every=min(60, seconds / 5)).run, url)
