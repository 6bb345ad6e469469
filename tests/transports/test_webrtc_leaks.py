"""A hundred sessions that were left and a hundred that were cancelled leave nothing behind."""

import asyncio
import gc
import random
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import pytest
import trio
from matrix_cells import open_descriptors

pytest.importorskip("aiortc", reason='type: pip install "trio-pipecat[webrtc]"')
from aiortc import RTCIceTransport, RTCPeerConnection

import trio_pipecat as tp
from trio_pipecat.transports._loop_thread import LoopThread, open_loop_thread

pytestmark = [pytest.mark.socket, pytest.mark.timeout(240)]
TIMES = 100
#: A session is ready after about this time on loopback; a cancellation comes at any point before.
READY_SECONDS = 0.12


@contextmanager
def bot_in_a_process() -> Iterator[str]:
    """A simulated bot whose tasks and objects are not ours."""
    command = [sys.executable, "-u", "-m", "trio_pipecat", "serve", "--webrtc", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            found = None
            while found is None:
                line = process.stdout.readline()
                assert line, "it did not start"
                found = re.search(r"http://\S+/api/offer", line)
            drain = threading.Thread(target=process.stdout.read, daemon=True)
            drain.start()
            yield found[0]
        finally:
            process.terminate()
            process.wait(20)
            drain.join()


@attrs.frozen
class Inventory:
    """What there is."""

    trio_tasks: int
    asyncio_tasks: int
    threads: int
    descriptors: int
    connections: int
    loops: int


async def take_inventory(loop: LoopThread) -> Inventory:
    async def count() -> int:
        return len(asyncio.all_tasks()) - 1

    gc.collect()
    kinds: Any = (RTCPeerConnection, RTCIceTransport, tp.Session)
    return Inventory(
        trio_tasks=trio.lowlevel.current_statistics().tasks_living,
        asyncio_tasks=await loop.run(count),
        # trio's idle threads go when they like.
        threads=sum("trio" not in thread.name.lower() for thread in threading.enumerate()),
        descriptors=open_descriptors(),
        connections=sum(isinstance(item, kinds) for item in gc.get_objects()),
        loops=sum("asyncio" in thread.name for thread in threading.enumerate()),
    )


async def call(url: str, seconds: float = float("inf")) -> None:
    with trio.move_on_after(seconds):
        async with tp.open_session(url) as session:
            await session.wait_ready()


async def test_nothing_is_left() -> None:
    """No task of either kind, no thread, no descriptor, no connection; the loop's thread is one."""
    rng = random.Random(5)
    with bot_in_a_process() as url:
        await _check(url, rng)
    assert [] == [thread for thread in threading.enumerate() if "asyncio" in thread.name]


async def _check(url: str, rng: random.Random) -> None:
    async with open_loop_thread() as loop:
        for _ in range(3):  # what is made once and kept
            await call(url)
        before = await take_inventory(loop)
        for _ in range(TIMES):
            await call(url)
        after_leaving = await take_inventory(loop)
        for _ in range(TIMES):
            await call(url, rng.uniform(0, READY_SECONDS))
        after_cancelling = await take_inventory(loop)
    assert [before, before] == [after_leaving, after_cancelling]
    assert 1 == before.loops
