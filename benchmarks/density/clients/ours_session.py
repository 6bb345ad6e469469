"""The whole SDK: `open_session`, the sound it hears, and `Session.stream_audio`."""

import statistics
import time

import trio
from measuring import OPENING, PCM, RATE, Load, cpu, phase, read_options, tell
from raw_tcp import become_ready, open_stream

import trio_pipecat as tp

#: Long enough for any measurement, and the same for all sessions.
SOUND = tp.AudioChunk(PCM * 50 * 300, RATE)


class Calls:
    """All sessions of this process."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._gate = trio.Semaphore(OPENING)
        self._stream = trio.Event()

    async def call(self, index: int, *, task_status: trio.TaskStatus[None]) -> None:
        """Be ready, wait until all are, and talk and listen until the end."""
        load = self._load
        await self._gate.acquire()
        url = load.options.url
        async with tp.open_session(url, ready_timeout=60, connect_timeout=60) as session:
            await session.wait_ready()
            self._gate.release()
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._talk, session, index)
                async for _ in session.audio:
                    load.received += 1

    async def _talk(self, session: tp.Session, index: int) -> None:
        await self._stream.wait()
        await trio.sleep(phase(index))
        await session.stream_audio(SOUND, idle_audio="none")

    async def run(self) -> None:
        """Hold the sessions for as long as they are measured."""
        options = self._load.options
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as opening_nursery:
                for index in range(options.sessions):
                    opening_nursery.start_soon(nursery.start, self.call, index)
            if options.what != "burst-down":
                self._stream.set()
            self._load.ready()


async def burst_up(load: Load) -> None:
    """Send without a pause, and wait until all is sent."""
    frames = load.options.frames
    async with tp.open_session(load.options.url) as session:
        await session.wait_ready()
        began, used = time.perf_counter(), cpu()
        for _ in range(frames):
            await session.send_audio(PCM, sample_rate=RATE)
    tell(cpu=cpu() - used, wall=time.perf_counter() - began, sent=frames)


async def opening(load: Load) -> None:
    """Print how long it takes until a session is ready, and a bare stream, in turn."""
    options = load.options
    ours, bare = [], []
    used = 0.0
    for _ in range(options.sessions):
        began = time.perf_counter()
        async with open_stream(options.url) as stream:
            await become_ready(stream)
            bare.append(time.perf_counter() - began)
        began, used_before = time.perf_counter(), cpu()
        async with tp.open_session(options.url) as session:
            await session.wait_ready()
            ours.append(time.perf_counter() - began)
            used += cpu() - used_before
    tell(
        ready=statistics.median(ours),
        bare_ready=statistics.median(bare),
        cpu_to_ready=used / options.sessions,
    )


def main() -> None:
    """Do what the command line says."""
    load = Load(read_options())
    match load.options.what:
        case "burst-up":
            trio.run(burst_up, load)
        case "opening":
            trio.run(opening, load)
        case _:
            trio.run(Calls(load).run)


if __name__ == "__main__":
    main()
