"""The simulated bot on a port, in a process of its own, with delays that are drawn, and known.

It prints its WebSocket's address, and, when its standard input ends, how long each answer took, and
when it was asked for, in seconds of the epoch, as JSON. Its arguments: a seed, and how many callers
it holds without getting slower (0: any number).
"""

import contextlib
import json
import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, cast

import attrs
import trio

from trio_pipecat.audio import AudioChunk
from trio_pipecat.testing import BotLink, SimulatedBot, serve_bot
from trio_pipecat.testing._voice import Voice
from trio_pipecat.transports import Incoming

#: The first frame of the simulated voice is silent for so long.
LEAD = Voice().lead_seconds
#: What is added to an answer for each caller who is too many, in seconds.
SLOWER = 0.4


class Timed:
    """A link that notes how long it was from a text until the first sound after it."""

    def __init__(self, link: BotLink, took: list[tuple[float, float]]) -> None:
        self._link = link
        self._took = took
        self._since: float | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)

    async def receive(self) -> Incoming:
        """Receive."""
        item = await self._link.receive()
        if isinstance(item, str) and "send-text" in item:
            self._since = time.time()
        return item

    async def send_audio(self, chunk: AudioChunk) -> None:
        """Send."""
        if self._since is not None:
            self._took.append((self._since, time.time() - self._since))
            self._since = None
        await self._link.send_audio(chunk)


@attrs.define(kw_only=True, eq=False)
class Bot(SimulatedBot):
    """Draws how long it thinks, and is slower if more callers are there than it holds."""

    rng: random.Random
    holds: int
    talking: int = 0
    #: When each answer was thought about, and how long it really took: this process is late too.
    took: list[tuple[float, float]] = attrs.field(factory=list)

    def think(self) -> float:
        """Return how long it thinks about the next answer."""
        too_many = max(self.talking - self.holds, 0) if self.holds else 0
        return self.rng.lognormvariate(math.log(0.4), 0.4) + SLOWER * too_many

    async def converse(self, link: BotLink) -> None:
        """Hold a conversation, and forget it."""
        self.talking += 1
        try:
            await super().converse(cast("BotLink", Timed(link, self.took)))
        finally:
            self.talking -= 1
            self.conversations.clear()


async def main(seed: int, holds: int) -> None:
    """Serve until standard input ends."""
    bot = Bot(rng=random.Random(seed), holds=holds)
    bot.think_seconds = bot.think
    async with serve_bot(bot) as served:
        print(served.ws_url, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        print(json.dumps(bot.took), flush=True)


class Running:
    """A bot that runs in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        assert process.stdout is not None
        self.url = process.stdout.readline().strip()

    def stop(self, begin: float, end: float) -> list[float]:
        """Stop it, and return the delays until the first sound of each answer of that time."""
        out, _ = self._process.communicate(timeout=10)
        return [seconds + LEAD for at, seconds in json.loads(out) if begin <= at < end]

    def kill(self) -> None:
        """Have it die."""
        self._process.kill()
        self._process.wait()


def unmeasured() -> dict[str, str]:
    """Return an environment in which a process is not slowed down by being covered by tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


@contextlib.contextmanager
def running_bot(seed: int = 1, holds: int = 0) -> Iterator[Running]:
    """Run one while the block lasts."""
    command = [sys.executable, __file__, str(seed), str(holds)]
    pipe = subprocess.PIPE
    options = {"stdin": pipe, "stdout": pipe, "env": unmeasured()}
    with subprocess.Popen(command, text=True, **options) as process:  # type: ignore[call-overload]
        try:
            yield Running(process)
        finally:
            process.kill()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]))
