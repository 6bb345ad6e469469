"""Sound both ways over WebRTC for a while: ``python -m benchmarks soak --seconds 600``.

A simulated bot in a process of its own sends everything back. What goes out is a tone that never
pauses, louder for a fifth of a second every five: so a gap is a quiet piece of what comes back, and
the way there and back is the time from a louder part that was sent to the one that was heard. Each
line is a stretch of the run; at the end nothing should have grown.
"""

import math
import statistics
import time
from array import array
from pathlib import Path

import attrs
import trio

import trio_pipecat as tp

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


def resident_kib() -> int:
    """Return how much memory this process has."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


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
            await session.stream_audio(Tone(self), sample_rate=RATE, idle_audio="none")
            nursery.cancel_scope.cancel()
        print(f"late by: {session.pacing}; {session.end}")

    def frame(self, number: int) -> tp.AudioChunk | None:
        """Return the next frame; None: that was all."""
        if number * 0.02 >= self._seconds:
            return None
        return tp.AudioChunk(LOUD_FRAME if _is_loud(number) else QUIET_FRAME, RATE)

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

    def note_loud(self) -> None:
        """A louder part is sent now."""
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


def _is_loud(number: int) -> bool:
    return number % round(PERIOD_SECONDS / 0.02) < round(LOUD_SECONDS / 0.02)


QUIET_FRAME, LOUD_FRAME = signal(-1), signal(0)


class Tone:
    """The source: read about as it is sent, so that it knows when a louder part goes out."""

    def __init__(self, soak: Soak) -> None:
        self._soak = soak
        self._number = 0
        self._began = 0.0

    def __aiter__(self) -> "Tone":
        return self

    async def __anext__(self) -> tp.AudioChunk:
        chunk = self._soak.frame(self._number)
        if chunk is None:
            raise StopAsyncIteration
        # In time and not ahead of it, so that what is measured is the way and not a buffer.
        now = trio.current_time()
        self._began = self._began or now
        await trio.sleep_until(self._began + self._number * 0.02)
        if _is_loud(self._number) and not _is_loud(self._number - 1):
            self._soak.note_loud()
        self._number += 1
        return chunk


def main(*, seconds: float) -> None:
    """Print what came of it."""
    with running_bot("echo") as url:
        trio.run(Soak(seconds, every=min(60, seconds / 5)).run, url)
