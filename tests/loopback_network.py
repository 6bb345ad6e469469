"""Real sockets on loopback, of which a test can pull the plug: `VirtualNetwork`'s faults, for real.

Whatever a trio run opens or serves inside `loopback_network` has a descriptor, so it is carried as
it is for users; and what passes between two sockets of one process is there as soon as it was sent,
so a clock that jumps sees every wait.
"""

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import trio

FORWARDED = (
    "close detach fileno getpeername getsockname getsockopt is_readable listen setsockopt shutdown"
)


class LoopbackNetwork(trio.abc.SocketFactory):
    """Makes the sockets of one trio run. Made by `loopback_network`."""

    def __init__(self) -> None:
        self._sockets: list[GatedSocket] = []
        self._is_frozen = False

    @property
    def open_sockets(self) -> int:
        """How many sockets are open, of those that nobody has taken the descriptor of."""
        return sum(sock.fileno() >= 0 for sock in self._sockets)

    def freeze(self) -> None:
        """Pull the plug, for good: nothing arrives any more, and nobody is told."""
        self._is_frozen = True

    def cut(self) -> None:
        """Reset every connection."""
        for sock in self._sockets:
            sock.reset()

    async def carry(self) -> None:
        """Wait as long as nothing arrives."""
        if self._is_frozen:
            await trio.sleep_forever()

    def keep(self, sock: trio.socket.SocketType, *, accepted: bool) -> "GatedSocket":
        """Return a socket whose plug can be pulled."""
        gated = GatedSocket(self, sock, accepted=accepted)
        self._sockets.append(gated)
        return gated

    def socket(
        self,
        family: socket.AddressFamily | int = socket.AF_INET,
        type: socket.SocketKind | int = socket.SOCK_STREAM,  # noqa: A002
        proto: int = 0,
    ) -> trio.socket.SocketType:
        """Return a new socket."""
        real = trio.socket.from_stdlib_socket(socket.socket(family, type, proto))
        return self.keep(real, accepted=False)


class GatedSocket(trio.socket.SocketType):
    """A real socket, and what the network lets through."""

    def __init__(
        self, network: LoopbackNetwork, real: trio.socket.SocketType, *, accepted: bool
    ) -> None:
        super().__init__()
        self._network = network
        self._real = real
        self._is_accepted = accepted
        self._is_reset = False

    @property
    def family(self) -> socket.AddressFamily:
        return self._real.family

    @property
    def type(self) -> socket.SocketKind:
        return self._real.type

    @property
    def proto(self) -> int:
        return self._real.proto

    @property
    def did_shutdown_SHUT_WR(self) -> bool:  # noqa: N802
        return self._real.did_shutdown_SHUT_WR

    async def bind(self, address: Any) -> None:
        await self._real.bind(address)

    async def accept(self) -> tuple["GatedSocket", Any]:
        sock, address = await self._real.accept()
        return self._network.keep(sock, accepted=True), address

    async def connect(self, address: Any) -> None:
        await self._network.carry()
        await self._real.connect(address)

    async def recv(self, bufsize: int, flags: int = 0) -> bytes:
        data: bytes = await self._passing(self._real.recv, bufsize, flags)
        await self._network.carry()
        return data

    async def send(self, data: Any, flags: int = 0) -> int:
        sent: int = await self._passing(self._real.send, data, flags)
        return sent

    async def wait_writable(self) -> None:
        await self._real.wait_writable()

    async def _passing(self, move: Callable[..., Any], *what: Any) -> Any:
        await self._network.carry()
        try:
            return await move(*what)
        except trio.ClosedResourceError:
            if self._is_reset:
                raise OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)) from None
            raise

    def reset(self) -> None:
        """Tear the connection down from the server's end, with a reset."""
        if self._is_accepted and self.fileno() >= 0:
            self._is_reset = True
            self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close()


def _forward(name: str) -> Any:
    def call(self: GatedSocket, *arguments: Any) -> Any:
        return getattr(self._real, name)(*arguments)

    return call


for _name in FORWARDED.split():
    setattr(GatedSocket, _name, _forward(_name))


@contextmanager
def loopback_network() -> Iterator[LoopbackNetwork]:
    """Have every socket of this trio run be one whose plug can be pulled."""
    network = LoopbackNetwork()
    factory = trio.socket.set_custom_socket_factory(network)
    try:
        yield network
    finally:
        trio.socket.set_custom_socket_factory(factory)
