"""Sessions on asyncio or uvloop, whatever the library: opened, paced, and measured."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from measuring import (
    BEAT,
    CLIENT_READY,
    OPENING,
    PCM,
    RATE,
    SLOTS,
    Load,
    cpu,
    phase,
    read_options,
    tell,
)

from trio_pipecat import AudioChunk
from trio_pipecat.transports._envelope import decode, encode_audio, encode_message

CHUNK = AudioChunk(PCM, RATE)


class Hearing:
    """Decodes what a session receives."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self.ready = asyncio.Event()

    def hear(self, data: bytes) -> None:
        """Take a WebSocket message."""
        if isinstance(decode(data), AudioChunk):
            self._load.received += 1
        else:
            self.ready.set()


class Peer(Protocol):
    """A library's connection, opened by `Library`."""

    #: Sends a message; a coroutine function, or a plain one if the library's is.
    send: Callable[[bytes], Any]

    async def drain(self) -> None:
        """Wait until there is room to send, if `send` does not."""

    async def aclose(self) -> None:
        """Say goodbye, and wait until all is sent."""


#: Opens a connection, and has it heard from then on.
Library = Callable[[str, Callable[[bytes], None]], Awaitable[Peer]]


async def pace_session(load: Load, peer: Peer, index: int) -> None:
    """Send for one session, by a timer of its own."""
    loop, send = asyncio.get_running_loop(), peer.send
    is_async = asyncio.iscoroutinefunction(send)
    due = loop.time() + phase(index)
    while True:
        await asyncio.sleep(due - loop.time())
        sending = send(encode_audio(CHUNK))
        if is_async:
            await sending
        load.sent += 1
        due += BEAT


async def tick(load: Load, peers: list[Peer]) -> None:
    """Send for all sessions, by one timer."""
    loop = asyncio.get_running_loop()
    is_async = asyncio.iscoroutinefunction(peers[0].send)
    slots = [[peer.send for peer in peers[slot::SLOTS]] for slot in range(SLOTS)]
    due, slot = loop.time(), 0
    while True:
        await asyncio.sleep(due - loop.time())
        for send in slots[slot]:
            sending = send(encode_audio(CHUNK))
            if is_async:
                await sending
            load.sent += 1
        due += BEAT / SLOTS
        slot = (slot + 1) % SLOTS


async def stream(open_peer: Library, load: Load) -> None:
    """Hold the sessions for as long as they are measured."""
    options = load.options
    gate = asyncio.Semaphore(OPENING)

    async def open_one() -> Peer:
        hearing = Hearing(load)
        async with gate:
            peer = await open_peer(options.url, hearing.hear)
            sending = peer.send(encode_message(CLIENT_READY))
            if asyncio.iscoroutinefunction(peer.send):
                await sending
            await hearing.ready.wait()
        return peer

    peers = await asyncio.gather(*(open_one() for _ in range(options.sessions)))
    if options.what == "burst-down":
        tasks = []
    elif options.pacing == "ticker":
        tasks = [tick(load, peers)]
    else:
        tasks = [pace_session(load, peer, index) for index, peer in enumerate(peers)]
    load.ready()
    await asyncio.gather(*tasks)
    await asyncio.Event().wait()


async def burst_up(open_peer: Library, load: Load) -> None:
    """Send without a pause, and wait until all is sent."""
    hearing = Hearing(load)
    peer = await open_peer(load.options.url, hearing.hear)
    send, frames = peer.send, load.options.frames
    is_async = asyncio.iscoroutinefunction(send)
    began, used = time.perf_counter(), cpu()
    for number in range(frames):
        sending = send(encode_audio(CHUNK))
        if is_async:
            await sending
        elif number % 32 == 31:
            await peer.drain()
    await peer.aclose()
    tell(cpu=cpu() - used, wall=time.perf_counter() - began, sent=frames)


async def opening(open_peer: Library, load: Load) -> None:
    """Open connections, one after another and then all at once, and print the CPU of each."""
    number, url = load.options.sessions, load.options.url
    hear = Hearing(load).hear
    for _ in range(10):
        await (await open_peer(url, hear)).aclose()
    used = cpu()
    peers = [await open_peer(url, hear) for _ in range(number)]
    alone = cpu() - used
    await asyncio.gather(*(peer.aclose() for peer in peers))
    used = cpu()
    peers = await asyncio.gather(*(open_peer(url, hear) for _ in range(number)))
    at_once = cpu() - used
    used = cpu()
    await asyncio.gather(*(peer.aclose() for peer in peers))
    closing = cpu() - used
    tell(alone=alone / number, at_once=at_once / number, closing=closing / number)


def main(open_peer: Library) -> None:
    """Do what the command line says."""
    load = Load(read_options())
    doing = {"burst-up": burst_up, "opening": opening}.get(load.options.what, stream)
    if load.options.loop == "uvloop":
        import uvloop

        uvloop.run(doing(open_peer, load))
    else:
        asyncio.run(doing(open_peer, load))
