"""What the clients of the density benchmark share: their options, and what they count and print.

Each client is a script, run by its path in a process of its own; it imports nothing of the
benchmarks but its neighbours, for one of them runs in an environment with pipecat alone. It does
one of four things (``--what``):

* ``stream``: hold the sessions, with sound both ways. It prints ``ready`` when all of them stream,
  begins to measure at a line on its standard input, and prints a line of JSON ``--seconds`` later.
* ``burst-down``: the same with one session that only hears, until it has heard ``--frames``.
* ``burst-up``: send ``--frames`` over one session as fast as it takes them.
* ``opening``: what opening a connection costs.

It is gone, its sessions with it, when its standard input ends, and not before: who judges its
sessions must find them there.
"""

import argparse
import gc
import json
import os
import random
import sys
import threading
import time
from pathlib import Path

RATE = 16_000
BEAT = 0.02
#: Phases of the sessions within a beat, where one ticker sends for all of them.
SLOTS = 20
#: Sessions that are opened at once.
OPENING = 20
PCM = random.Random(1).randbytes(round(RATE * BEAT) * 2)
#: What a session says first, in the clients that know nothing of RTVI.
CLIENT_READY = json.dumps(
    {
        "label": "rtvi-ai",
        "type": "client-ready",
        "id": "1",
        "data": {"version": "2.2.0", "about": {"library": "benchmark"}},
    }
)


class Options(argparse.Namespace):
    """What a client is told to do."""

    url: str
    sessions: int
    seconds: float
    frames: int
    pacing: str
    loop: str
    what: str


def read_options() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--pacing", choices=("session", "ticker"), default="ticker")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    whats = ("stream", "burst-down", "burst-up", "opening")
    parser.add_argument("--what", choices=whats, default="stream")
    return parser.parse_args(namespace=Options())


def resident_kib() -> int:
    """Return how much memory this process has."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def phase(index: int) -> float:
    """Return when in its beat a session sends, spread evenly however many there are."""
    return index * 0.618034 % 1 * BEAT


class Load:
    """What the sessions of this process send and receive, counted.

    Its measuring is a thread that sleeps, so that it is the same for every event loop, and costs
    none of them anything.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.sent = 0
        self.received = 0

    def ready(self) -> None:
        """All sessions stream: await the order to measure."""
        gc.collect()
        threading.Thread(target=self._measure, daemon=True).start()

    def _measure(self) -> None:
        print("ready", flush=True)
        if not sys.stdin.readline():
            os._exit(1)
        began, used, sent, received = time.perf_counter(), cpu(), self.sent, self.received
        if self.options.what == "burst-down":
            while self.received - received < self.options.frames:
                time.sleep(0.005)
        else:
            time.sleep(self.options.seconds)
        tell(
            cpu=cpu() - used,
            wall=time.perf_counter() - began,
            rss_kib=resident_kib(),
            sent=self.sent - sent,
            received=self.received - received,
        )


def cpu() -> float:
    """Return the CPU time of this process, user and system, in seconds."""
    return time.process_time()


def tell(**figures: float) -> None:
    """Print what was measured, and, when nothing more is asked, be gone, without any goodbyes."""
    print(json.dumps(figures), flush=True)
    sys.stdin.read()
    os._exit(0)
