"""A network in memory, beneath the real wire: HTTP, TLS and WebSocket without a socket.

Inside `virtual_network` whatever opens or serves TCP through trio does it here: no port, no
descriptor and no kernel are involved, so that a clock which jumps (`trio.testing.MockClock`) sees
every wait. The network can also do what a kernel on one machine won't: pull the plug (`freeze`),
and reset every connection (`cut`).

It is a `trio.abc.SocketFactory`, so nothing above it is replaced. What a socket does here is what
TCP does where a program can tell: a bounded buffer each way, the end of the stream after the last
byte, a reset when the other side is gone.
"""

import errno
import itertools
import operator
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NoReturn, TypeAlias

import trio

Address: TypeAlias = tuple[Any, ...]

#: What one direction holds before its sender has to wait, in bytes.
_BUFFER: Final = 64 * 1024
#: What a listener holds before it refuses.
_BACKLOG: Final = 512
_EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})


def _fail(number: int) -> NoReturn:
    raise OSError(number, os.strerror(number))


class VirtualNetwork(trio.abc.SocketFactory, trio.abc.HostnameResolver):
    """The network of one trio run. Made by `virtual_network`.

    Attributes:
        hosts: the addresses of names, beside ``localhost``. Other names can't be resolved.
        latency: seconds that a connection takes to be made.
    """

    def __init__(self, hosts: Mapping[str, str] | None = None, latency: float = 0) -> None:
        named = {name.lower(): address for name, address in (hosts or {}).items()}
        self.hosts = {"localhost": "127.0.0.1", **named}
        self.latency = latency
        self._listeners: dict[tuple[str, int], _Socket] = {}
        self._sockets: list[_Socket] = []
        self._ports = itertools.cycle(range(49152, 65536))
        self._frozen = False
        #: What happens to sockets when the plug is back.
        self._held: list[Callable[[], None]] = []
        self._thawed = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        state = "frozen, " if self._frozen else ""
        return f"<VirtualNetwork: {state}{len(self._sockets)} sockets open>"

    @property
    def open_sockets(self) -> int:
        """How many sockets are open: listening, connecting or connected."""
        return len(self._sockets)

    def freeze(self) -> None:
        """Pull the plug: nothing arrives any more, and nobody is told."""
        self._frozen = True

    def thaw(self) -> None:
        """Put the plug back: what was sent meanwhile arrives."""
        self._frozen = False
        held, self._held = self._held, []
        for happen in held:
            happen()
        self._thawed.unpark_all()
        for sock in tuple(self._sockets):
            sock.look_again()

    def cut(self) -> None:
        """Reset every connection there is: both sides find it broken."""
        for sock in tuple(self._sockets):
            sock.reset()

    # -- what trio asks of it --

    def socket(
        self,
        family: socket.AddressFamily | int = socket.AF_INET,
        type: socket.SocketKind | int = socket.SOCK_STREAM,  # noqa: A002
        proto: int = 0,
    ) -> "trio.socket.SocketType":
        """Return a new socket."""
        if family not in (socket.AF_INET, socket.AF_INET6):
            return trio.socket.from_stdlib_socket(socket.socket(family, type, proto))
        if type & 0xF != socket.SOCK_STREAM:
            _fail(errno.EPROTONOSUPPORT)
        return self._make(family)

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,  # noqa: A002
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Look up a name."""
        await trio.lowlevel.checkpoint()
        name = "localhost" if host is None else host.decode("ascii")
        address = self.hosts.get(name.lower())
        if address is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return socket.getaddrinfo(address, port, family, type, proto, flags)

    async def getnameinfo(self, sockaddr: Address, flags: int) -> tuple[str, str]:
        """Look up an address."""
        await trio.lowlevel.checkpoint()
        return str(sockaddr[0]), str(sockaddr[1])

    # -- for its sockets --

    def _make(self, family: int) -> "_Socket":
        sock = _Socket(self, family)
        self._sockets.append(sock)
        return sock

    def deliver(self, happen: Callable[[], None]) -> None:
        """Have something happen at the other side: now, or when the plug is back."""
        if self._frozen:
            self._held.append(happen)
        else:
            happen()

    def _free_port(self) -> int:
        taken = {sock._name[1] for sock in self._sockets}
        return next(port for port in self._ports if port not in taken)

    def _listener_at(self, address: Address) -> "_Socket | None":
        host, port = address[:2]
        for place in (host, *_EVERYWHERE):
            if listener := self._listeners.get((place, port)):
                return listener
        return None

    async def _carry(self) -> None:
        """Wait as long as nothing arrives."""
        while self._frozen:
            await self._thawed.park()


class _Socket(trio.socket.SocketType):
    """One socket: of a listener, or of one side of a connection."""

    def __init__(self, network: VirtualNetwork, family: int) -> None:
        super().__init__()
        self._network = network
        self._family = family
        self._name: Address = ("0.0.0.0", 0)
        self._other: _Socket | None = None
        self._waiting: deque[_Socket] | None = None
        self._received = bytearray()
        self._ended = False
        self._broken = False
        self._closed = False
        self._shut = False
        self._is_read = False
        self._changed = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        other = "" if self._other is None else f" to {self._other._name}"
        return f"<virtual socket {self._name}{other}{', closed' if self._closed else ''}>"

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AddressFamily(self._family)

    @property
    def type(self) -> socket.SocketKind:
        return socket.SOCK_STREAM

    @property
    def proto(self) -> int:
        return socket.IPPROTO_TCP

    @property
    def did_shutdown_SHUT_WR(self) -> bool:  # noqa: N802
        return self._shut

    def fileno(self) -> int:
        """No descriptor; but -1 would say that it is closed."""
        return -1 if self._closed else 0

    def getsockname(self) -> Any:
        return self._name

    def getpeername(self) -> Any:
        if self._other is None:
            _fail(errno.ENOTCONN)
        return self._other._name

    def getsockopt(self, level: int, optname: int, buflen: int | None = None) -> Any:
        accepts = (level, optname) == (socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        return int(accepts and self._waiting is not None)

    def setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None) -> None:
        """There is nothing to set."""

    def is_readable(self) -> bool:
        """Is there anything to read, or is it over?"""
        return bool(self._received) or self._ended or self._broken or self._closed

    # -- making a connection --

    async def bind(self, address: Any) -> None:
        await trio.lowlevel.checkpoint()
        host, port = address[:2]
        port = port or self._network._free_port()
        for taken_host, taken_port in self._network._listeners:
            overlap = taken_host == host or not _EVERYWHERE.isdisjoint((taken_host, host))
            if taken_port == port and overlap:
                _fail(errno.EADDRINUSE)
        self._name = (host, port, *address[2:])

    def listen(self, backlog: int = _BACKLOG) -> None:
        self._waiting = deque()
        self._network._listeners[self._name[:2]] = self

    async def accept(self) -> tuple["_Socket", Address]:
        await trio.lowlevel.checkpoint()
        while True:
            self._check_open()
            if self._waiting:
                sock = self._waiting.popleft()
                return sock, sock.getpeername()
            await self._changed.park()

    async def connect(self, address: Any) -> None:
        await trio.lowlevel.checkpoint()
        await self._network._carry()
        if self._network.latency:
            await trio.sleep(self._network.latency)
            await self._network._carry()
        self._check_open()
        listener = self._network._listener_at(address)
        if listener is None or listener._waiting is None or len(listener._waiting) >= _BACKLOG:
            _fail(errno.ECONNREFUSED)
        accepted = self._network._make(self._family)
        accepted._name, self._name = tuple(address), ("127.0.0.1", self._network._free_port())
        accepted._other, self._other = self, accepted
        listener._waiting.append(accepted)
        listener._changed.unpark_all()

    # -- moving bytes --

    async def recv(self, bufsize: int, flags: int = 0) -> bytes:
        bufsize = operator.index(bufsize)
        await trio.lowlevel.checkpoint()
        while True:
            self._check_open()
            if self._received and not self._network._frozen:
                data = bytes(self._received[:bufsize])
                if not flags & socket.MSG_PEEK:
                    del self._received[:bufsize]
                    if self._other is not None:
                        self._other._changed.unpark_all()
                return data
            if self._broken:
                _fail(errno.ECONNRESET)
            if self._ended and not self._network._frozen:
                return b""
            if self._is_read:
                raise trio.BusyResourceError("another task is reading from this socket")
            self._is_read = True
            try:
                await self._changed.park()
            finally:
                self._is_read = False

    async def send(self, data: Any, flags: int = 0) -> int:
        await self.wait_writable()
        self._check_open()
        other = self._other
        if self._broken or self._shut or other is None:
            _fail(errno.EPIPE)
        if other._closed:
            # Only the answer to this, a reset, tells that nobody is there.
            self._network.deliver(self._break)
            return len(data)
        size = min(len(data), _BUFFER - len(other._received))
        other._received += data[:size]
        other._changed.unpark_all()
        return size

    async def wait_writable(self) -> None:
        """Wait until the other side's buffer has room."""
        await trio.lowlevel.checkpoint()
        other = self._other
        while other is not None and not (self._broken or self._closed or other._closed):
            if len(other._received) < _BUFFER:
                return
            await self._changed.park()

    # -- ending it --

    def shutdown(self, flag: int) -> None:
        if self._other is None:
            _fail(errno.ENOTCONN)
        if flag in (socket.SHUT_WR, socket.SHUT_RDWR):
            self._shut = True
            self._network.deliver(self._other._end)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._network._sockets.remove(self)
        if self._waiting is not None:
            self._network._listeners.pop(self._name[:2], None)
            for sock in self._waiting:
                sock.reset()
                sock.close()
        if self._other is not None:
            # TCP resets a connection that is closed with something unread.
            self._network.deliver(self._other._break if self._received else self._other._end)
            self._other._changed.unpark_all()
        self._changed.unpark_all()

    def _end(self) -> None:
        self._ended = True
        self._changed.unpark_all()

    def _break(self) -> None:
        self._broken = True
        self._changed.unpark_all()

    def reset(self) -> None:
        """The connection is gone, and what was on its way; the next call is told."""
        if self._other is not None:
            for sock in (self, self._other):
                sock._received.clear()
                sock._break()

    def look_again(self) -> None:
        """Have whoever waits look whether there is something now."""
        self._changed.unpark_all()

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError


@contextmanager
def virtual_network(
    *, hosts: Mapping[str, str] | None = None, latency: float = 0
) -> Iterator[VirtualNetwork]:
    """Have everything that opens or serves TCP in this trio run do it in memory.

    ::

        with virtual_network() as network:
            async with serve_bot() as served, open_session(served.start_url) as session: ...

    Args:
        hosts: addresses of names, beside ``localhost``; other names can't be resolved.
        latency: seconds that a connection takes to be made.
    """
    network = VirtualNetwork(hosts, latency)
    factory = trio.socket.set_custom_socket_factory(network)
    resolver = trio.socket.set_custom_hostname_resolver(network)
    try:
        yield network
    finally:
        trio.socket.set_custom_socket_factory(factory)
        trio.socket.set_custom_hostname_resolver(resolver)
