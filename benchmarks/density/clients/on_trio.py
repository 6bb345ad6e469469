"""Sessions on trio, whatever the transport: opened, paced, and measured."""

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import attrs
import trio
from measuring import BEAT, OPENING, PCM, RATE, SLOTS, Load, cpu, phase, read_options, tell

from trio_pipecat import AudioChunk

CHUNK = AudioChunk(PCM, RATE)


@attrs.frozen
class Peer:
    """An open connection. `send_nowait` returns False where `send` it has to be."""

    receive: Callable[[], Awaitable[object]]
    send: Callable[[AudioChunk], Awaitable[object]]
    send_nowait: Callable[[AudioChunk], bool]
    become_ready: Callable[[], Awaitable[object]]


#: Opens a connection for the time of the block.
Library = Callable[[str], AbstractAsyncContextManager[Peer]]


async def pace_session(load: Load, peer: Peer, index: int) -> None:
    """Send for one session, by a timer of its own."""
    due = trio.current_time() + phase(index)
    while True:
        await trio.sleep_until(due)
        if not peer.send_nowait(CHUNK):
            await peer.send(CHUNK)
        load.sent += 1
        due += BEAT


async def tick(load: Load, peers: list[Peer]) -> None:
    """Send for all sessions, by one timer."""
    slots = [peers[slot::SLOTS] for slot in range(SLOTS)]
    due, slot = trio.current_time(), 0
    while True:
        await trio.sleep_until(due)
        for peer in slots[slot]:
            if not peer.send_nowait(CHUNK):
                await peer.send(CHUNK)
            load.sent += 1
        due += BEAT / SLOTS
        slot = (slot + 1) % SLOTS


class Sessions:
    """All sessions of this process."""

    def __init__(self, library: Library, load: Load) -> None:
        self._library = library
        self._load = load
        self._gate = trio.Semaphore(OPENING)

    async def hold(self, *, task_status: trio.TaskStatus[Peer]) -> None:
        """Open a session, and hear what the bot says until the end."""
        load = self._load
        await self._gate.acquire()
        async with self._library(load.options.url) as peer:
            receive = peer.receive
            await peer.become_ready()
            while isinstance(await receive(), AudioChunk):
                pass
            self._gate.release()
            task_status.started(peer)
            while True:
                if isinstance(await receive(), AudioChunk):
                    load.received += 1

    async def run(self) -> None:
        """Hold the sessions for as long as they are measured."""
        load = self._load
        peers: list[Peer] = []

        async def open_one() -> None:
            peers.append(await nursery.start(self.hold))

        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as opening_nursery:
                for _ in range(load.options.sessions):
                    opening_nursery.start_soon(open_one)
            if load.options.what == "stream" and load.options.pacing == "ticker":
                nursery.start_soon(tick, load, peers)
            elif load.options.what == "stream":
                for index, peer in enumerate(peers):
                    nursery.start_soon(pace_session, load, peer, index)
            load.ready()


async def burst_up(library: Library, load: Load) -> None:
    """Send without a pause, and wait until all is sent."""
    frames = load.options.frames

    async def hear() -> None:
        while True:
            await peer.receive()

    began, used = time.perf_counter(), cpu()
    async with library(load.options.url) as peer, trio.open_nursery() as nursery:
        nursery.start_soon(hear)
        for _ in range(frames):
            if not peer.send_nowait(CHUNK):
                await peer.send(CHUNK)
        nursery.cancel_scope.cancel()
    tell(cpu=cpu() - used, wall=time.perf_counter() - began, sent=frames)


class Openings:
    """Opens connections, holds them, and closes them when told."""

    def __init__(self, library: Callable[[str], AbstractAsyncContextManager[object]], url: str):
        self._library = library
        self._url = url
        self._over = trio.Event()

    async def hold(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Open one."""
        async with self._library(self._url):
            task_status.started()
            await self._over.wait()

    async def alone(self, number: int) -> tuple[float, float]:
        """Open one after the other; return the CPU of each opening and each closing."""
        async with trio.open_nursery() as nursery:
            used = cpu()
            for _ in range(number):
                await nursery.start(self.hold)
            opened = cpu()
            self._over.set()
        return (opened - used) / number, (cpu() - opened) / number

    async def at_once(self, number: int) -> float:
        """Open all at once; return the CPU of each."""
        async with trio.open_nursery() as nursery:
            used = cpu()
            async with trio.open_nursery() as opening_nursery:
                for _ in range(number):
                    opening_nursery.start_soon(nursery.start, self.hold)
            opened = cpu()
            self._over.set()
        return (opened - used) / number


async def opening(
    library: Callable[[str], AbstractAsyncContextManager[object]], load: Load
) -> None:
    """Open connections, one after another and then all at once, and print the CPU of each."""
    number, url = load.options.sessions, load.options.url
    await Openings(library, url).alone(10)
    alone, closing = await Openings(library, url).alone(number)
    at_once = await Openings(library, url).at_once(number)
    tell(alone=alone, at_once=at_once, closing=closing)


def main(library: Library) -> None:
    """Do what the command line says."""
    load = Load(read_options())
    match load.options.what:
        case "burst-up":
            trio.run(burst_up, library, load)
        case "opening":
            trio.run(opening, library, load)
        case _:
            trio.run(Sessions(library, load).run)
