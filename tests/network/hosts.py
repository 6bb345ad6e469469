"""Machines of our own on this one, and all that is between them.

Theory of operation
-------------------
A machine is a network namespace. Its only interface is a TUN device whose other end is a thread of
this process (`Network`): it reads what one machine sends, and gives it to the one it is for.
Nothing leaves, there is no way to anywhere else. What the thread does not carry is lost, what it
carries later is late, so a network with faults takes nothing of the kernel's but TUN; where the
kernel has `sch_netem`, that can be had instead (`Network.shape`), on the same devices.
"""

import contextlib
import fcntl
import heapq
import itertools
import json
import os
import queue
import random
import re
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import attrs
import pytest
from needed import program

IP_LINE = "apt-get install iproute2"
#: Of the block that is for tests of networks.
SUBNET = "198.18.0"
#: Longer than anything takes here on a busy machine, in seconds.
BOUND = 40
_PREFIX = "trio-pipecat-test"
_TUN = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_UDP = 17
#: Of the repository.
_ROOT = Path(__file__).parents[2]


@attrs.frozen(kw_only=True)
class Faults:
    """What is wrong with a network, each way. Times in seconds.

    Of all packets `loss` are lost, no more and no fewer, and which ones is chance. `jitter` is how
    much earlier or later than `delay` a packet may be there: so they overtake each other. Between
    the machines of `no_udp` there is TCP only.
    """

    loss: float = 0
    delay: float = 0
    jitter: float = 0
    is_cut: bool = False
    no_udp: frozenset[str] = frozenset()


@attrs.define
class _Dice:
    """Says which packets are lost: one of so many, at a random place among them."""

    _draw: random.Random = attrs.field(factory=lambda: random.Random(0))
    _left: int = 0
    _victim: int = 0

    def says_lost(self, loss: float) -> bool:
        if not loss:
            return False
        if not self._left:
            self._left = round(1 / loss)
            self._victim = self._draw.randint(1, self._left)
        self._left -= 1
        return self._left + 1 == self._victim

    def delay(self, faults: Faults) -> float:
        return faults.delay + self._draw.uniform(-1, 1) * faults.jitter


class Program:
    """A program that runs on one of the machines, and tells what it does in lines of JSON."""

    def __init__(self, command: list[str]) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=_environment(),
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,))
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def hear(self, kind: str, *, within: float = BOUND) -> dict[str, Any]:
        """Return the next that it tells of one kind; what it tells of others is forgotten."""
        end = time.monotonic() + within
        while True:
            try:
                line = self._lines.get(timeout=max(end - time.monotonic(), 0))
            except queue.Empty:
                raise AssertionError(f"no {kind!r} in {within} s; {self._said()}") from None
            assert line is not None, f"over before it told {kind!r}; {self._said()}"
            told = json.loads(line)
            if told["is"] == kind:
                return dict(told)

    def tell(self, *words: object) -> None:
        """Give it a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()

    def signal(self, number: int) -> None:
        """Send its process a signal."""
        self._process.send_signal(number)

    def end(self) -> None:
        """Leave nothing of it."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _read(self, stdout: IO[str]) -> None:
        for line in stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _said(self) -> str:
        self._errors.seek(0)
        return f"on stderr: {self._errors.read()[-4000:]}"


@attrs.frozen
class Host:
    """A machine."""

    address: str
    namespace: str
    device: str

    def command(self, *words: str) -> list[str]:
        """Return how to run a program on it."""
        return ["ip", "netns", "exec", self.namespace, *words]

    @contextmanager
    def running(self, script: str, *arguments: object) -> Iterator[Program]:
        """Have a Python program of this folder run on it."""
        path = str(Path(__file__).with_name(script))
        made = Program(self.command(sys.executable, path, *map(str, arguments)))
        try:
            yield made
        finally:
            made.end()


class Network:
    """All that is between some machines. Made by `network`."""

    def __init__(self) -> None:
        self.faults = Faults()
        #: How many packets were lost.
        self.lost = 0
        self.hosts: list[Host] = []
        self._stack = ExitStack()
        self._ports: dict[str, int] = {}
        self._dice: dict[tuple[str, str], _Dice] = {}
        self._selector = selectors.DefaultSelector()
        self._reader, self._writer = os.pipe()
        self._selector.register(self._reader, selectors.EVENT_READ)
        self._over = False
        self._thread = threading.Thread(target=self._carry, name="network")
        self._shaped: list[Host] = []

    def add_host(self) -> Host:
        """Add a machine."""
        number = len(self.hosts) + 1
        namespace = f"{_PREFIX}-{os.getpid()}-{number}"
        port = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK)
        self._stack.callback(os.close, port)
        request = struct.pack("16sH22x", b"tp%d", _IFF_TUN | _IFF_NO_PI)
        device = fcntl.ioctl(port, _TUNSETIFF, request)[:16].rstrip(b"\0").decode()
        run("ip", "netns", "add", namespace)
        self._stack.callback(run, "ip", "netns", "del", namespace)
        run("ip", "link", "set", device, "netns", namespace)
        host = Host(f"{SUBNET}.{number}", namespace, device)
        run("ip", "-n", namespace, "addr", "add", f"{host.address}/24", "dev", device)
        for name in (device, "lo"):
            run("ip", "-n", namespace, "link", "set", name, "up")
        self.hosts.append(host)
        self._ports[host.address] = port
        self._selector.register(port, selectors.EVENT_READ)
        return host

    def shape(self, faults: Faults) -> None:
        """Have the kernel make the faults. Skips the test where it can't."""
        words = ["loss", f"{100 * faults.loss:g}%", "delay", f"{1_000 * faults.delay:g}ms"]
        if faults.jitter:
            words.append(f"{1_000 * faults.jitter:g}ms")
        for host in self.hosts:
            tc = ["tc", "qdisc", "replace", "dev", host.device, "root", "netem", *words]
            done = subprocess.run(host.command(*tc), capture_output=True, text=True, check=False)
            if done.returncode:
                said = done.stderr.strip()
                pytest.skip(f"needs the kernel's sch_netem; type: modprobe sch_netem ({said})")
            self._shaped.append(host)

    def mend(self) -> None:
        """Take all faults away."""
        self.faults = Faults()
        while self._shaped:
            host = self._shaped.pop()
            run(*host.command("tc", "qdisc", "del", "dev", host.device, "root"))

    def start(self) -> None:
        """Begin to carry packets."""
        self._thread.start()
        self._stack.callback(self._stop)

    def close(self) -> None:
        """Leave nothing."""
        self._stack.close()
        self._selector.close()
        os.close(self._reader)
        os.close(self._writer)

    def _stop(self) -> None:
        self._over = True
        os.write(self._writer, b"x")
        self._thread.join()

    def _carry(self) -> None:
        late: list[tuple[float, int, int, bytes]] = []
        numbers = itertools.count()
        while not self._over:
            patience = max(late[0][0] - time.monotonic(), 0) if late else None
            for key, _ in self._selector.select(patience):
                if key.fd == self._reader:
                    return
                with contextlib.suppress(BlockingIOError):
                    packet = os.read(key.fd, 65_536)
                    found = self._judge(packet)
                    if found is not None:
                        port, delay = found
                        due = time.monotonic() + delay
                        heapq.heappush(late, (due, next(numbers), port, packet))
            while late and late[0][0] <= time.monotonic():
                _, _, port, packet = heapq.heappop(late)
                with contextlib.suppress(OSError):  # nobody there, or no room
                    os.write(port, packet)

    def _judge(self, packet: bytes) -> tuple[int, float] | None:
        """Return to whom a packet is to be brought, and how late; None: to nobody."""
        if packet[0] >> 4 != 4:
            return None
        source, target = (socket.inet_ntoa(packet[place : place + 4]) for place in (12, 16))
        port, faults = self._ports.get(target), self.faults
        if port is None or source not in self._ports or faults.is_cut:
            return None
        if packet[9] == _UDP and {source, target} <= faults.no_udp:
            return None
        dice = self._dice.setdefault((source, target), _Dice())
        if dice.says_lost(faults.loss):
            self.lost += 1
            return None
        return port, dice.delay(faults)


@contextmanager
def network() -> Iterator[Network]:
    """Have a network of three machines, or skip the test."""
    program("ip", IP_LINE)
    if os.geteuid() != 0:
        pytest.skip("needs network namespaces; type: sudo -E pytest tests/network")
    _remove_stale()
    made = Network()
    try:
        try:
            for _ in range(3):
                made.add_host()
        except FileNotFoundError:
            pytest.skip("needs the kernel's TUN; type: modprobe tun")
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", "") or error
            pytest.skip(f"needs network namespaces and TUN, which are not to be had here: {said}")
        made.start()
        yield made
    finally:
        made.close()


def run(*command: str) -> None:
    """Run a program to its end."""
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=BOUND)


def _remove_stale() -> None:
    """Remove what runs have left that were killed."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False)
    for name, pid in re.findall(rf"(?m)^({_PREFIX}-(\d+)-\d+)\b", listed.stdout):
        if not Path(f"/proc/{pid}").exists():
            with contextlib.suppress(subprocess.CalledProcessError):  # another run was faster
                run("ip", "netns", "del", name)


def _environment() -> dict[str, str]:
    """Return what programs are told: there is no proxy on those machines."""
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    paths = [str(_ROOT), str(_ROOT / "tests"), kept.get("PYTHONPATH", "")]
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
