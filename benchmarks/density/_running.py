"""Runs the audience and the clients: compiled, pinned, and with the same malloc for all."""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs

BENCHMARKS: Final = Path(__file__).parents[1]
#: What is judged: 99 of 100 frames at most this late, in ms, and how many must have come.
LATEST_MS: Final = 20.0
ARRIVED: Final = 0.995
#: The audience must not be the bottleneck: 99 of 100 frames of its own are this late at most.
OWN_LATEST_MS: Final = 10.0
#: What others may take of the client's core, before they are to blame for what is late.
MOST_OTHERS: Final = 0.05
AUDIENCE_LATE: Final = "the audience was late"
CORE_SHARED: Final = "others had the core"
#: Frames a second that a session receives.
HEARD_RATE: Final = 25
#: glibc's malloc, alike for all: asyncio receives into 256 KiB, which would cost page faults if
#: each were mapped anew. And hashes are the same in each process.
ENVIRONMENT: Final = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(2**20),
    "PYTHONHASHSEED": "0",
    "PYTHONPATH": str(BENCHMARKS.parent),
}


@attrs.frozen(kw_only=True)
class Trial:
    """A number of sessions held for a while, and what came of it.

    `busy` is the part of its core that the client took, `others` what others took of it. Times are
    in ms, `cpu` in µs a session and second. `why` is empty if the number was held.
    """

    client: str
    sessions: int
    why: str = ""
    p50: float = 0
    p99: float = 0
    arrived: float = 0
    heard: float = 0
    busy: float = 0
    cpu: float = 0
    others: float = 0
    rss_kib: float = 0
    own_p99: float = 0

    @property
    def holds(self) -> bool:
        """All was in time."""
        return not self.why

    @property
    def is_disturbed(self) -> bool:
        """It was not, and others are to blame."""
        return self.why in (AUDIENCE_LATE, CORE_SHARED)


class ClientFailedError(Exception):
    """A client did not get as far as to measure."""


def compile_all(folder: Path) -> bool:
    """Compile the audience and the floor. False, with a line to type, if there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        print("needs a C compiler; type: apt-get install gcc libc6-dev", file=sys.stderr)
        return False
    for name in ("audience", "floor"):
        source = BENCHMARKS / f"{name}.c"
        subprocess.run([compiler, "-O2", "-o", str(folder / name), str(source)], check=True)
    return True


def allow_many_files() -> None:
    """Raise the limit of open files, for all processes to come."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def spent(core: int) -> float:
    """Return the CPU time, in seconds, that a core has spent until now, whoever had it."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _, _, irq, softirq, steal = map(int, ticks[:8])
            return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return 0.0


def pin(process: subprocess.Popen[str], which: int) -> None:
    """Give a process a core of its own: the first (0) or the last (-1), where there are two."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(process.pid, {cores[which]})


def client_core() -> int:
    """Return the core that a client is pinned to."""
    return min(os.sched_getaffinity(0))


class Audience:
    """The server's process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.url = f"ws://127.0.0.1:{self._read().strip()}/"

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def tell(self, line: str) -> None:
        """Give it an order."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def report(self) -> dict[str, float]:
        """Return what came since it was told to start."""
        self.tell("report")
        reported: dict[str, float] = json.loads(self._read())
        return reported

    def reset(self, mode: str) -> None:
        """Have it drop all connections, and treat those to come as `mode` says."""
        self.tell("reset")
        self._read()
        self.tell(f"mode {mode}")


@contextmanager
def running_audience(folder: Path) -> Iterator[Audience]:
    """Run the server while the block lasts."""
    command = [str(folder / "audience")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        pin(process, -1)
        try:
            yield Audience(process)
        finally:
            process.kill()


class RunningClient:
    """A client's process."""

    def __init__(self, process: subprocess.Popen[str], errors: Any) -> None:
        self._process = process
        self._errors = errors

    def read(self) -> str:
        """Return the next line it prints.

        Raises:
            ClientFailedError: there is none.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            last = self._errors.read().decode(errors="replace").strip().rpartition("\n")[2]
            raise ClientFailedError(last or "it took too long")
        return line

    def figures(self) -> dict[str, float]:
        """Return what it measured."""
        figures: dict[str, float] = json.loads(self.read())
        return figures

    def start(self) -> None:
        """Have it measure."""
        assert self._process.stdin is not None
        self._process.stdin.write("start\n")
        self._process.stdin.flush()


@contextmanager
def running_client(
    command: Sequence[str], url: str, timeout: float, **arguments: object
) -> Iterator[RunningClient]:
    """Run a client while the block lasts, or until the timeout, in seconds, has passed."""
    words = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
    environment: Mapping[str, str] = {**os.environ, **ENVIRONMENT}
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            [*command, "--url", url, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        ) as process,
    ):
        pin(process, 0)
        timer = threading.Timer(timeout, process.kill)
        timer.start()
        try:
            yield RunningClient(process, errors)
        finally:
            timer.cancel()
            process.kill()


def hold(
    client: str, command: Sequence[str], audience: Audience, sessions: int, seconds: float
) -> Trial:
    """Have a client hold sessions, and judge it."""
    audience.reset("after-audio")
    timeout = 20 + sessions / 20 + 2 * seconds
    arguments = {"sessions": sessions, "seconds": seconds}
    try:
        with running_client(command, audience.url, timeout, **arguments) as running:
            running.read()
            time.sleep(min(1.5, 0.4 * seconds))
            running.start()
            audience.tell("start")
            before = spent(client_core())
            time.sleep(seconds)
            taken = spent(client_core()) - before
            seen = audience.report()
            figures = running.figures()
    except ClientFailedError as error:
        return Trial(client=client, sessions=sessions, why=f"failed: {error}")
    trial = Trial(
        client=client,
        sessions=sessions,
        p50=seen["p50"],
        p99=seen["p99"],
        arrived=seen["received"] / (sessions * seen["seconds"] * 50),
        heard=figures["received"] / (sessions * figures["wall"] * HEARD_RATE),
        busy=figures["cpu"] / figures["wall"],
        cpu=figures["cpu"] / figures["wall"] / sessions * 1e6,
        others=max(0, taken - figures["cpu"]) / figures["wall"],
        rss_kib=figures["rss_kib"],
        own_p99=seen["own_p99"],
    )
    return attrs.evolve(trial, why=_judge(trial))


def _judge(trial: Trial) -> str:
    """Return what was not as it must be. First what is not the client's fault."""
    passes = trial.p99 <= LATEST_MS and min(trial.arrived, trial.heard) >= ARRIVED
    if not passes and trial.own_p99 > OWN_LATEST_MS:
        return AUDIENCE_LATE
    if not passes and trial.others > MOST_OTHERS:
        return CORE_SHARED
    if trial.p99 > LATEST_MS:
        return "late"
    if trial.arrived < ARRIVED:
        return "frames did not arrive"
    if trial.heard < ARRIVED:
        return "frames were not heard"
    return ""
