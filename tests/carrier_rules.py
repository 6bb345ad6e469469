"""What every carrier promises, as rules that each kind of it is held to.

`test_carrier` and `test_engine` make carriers of their kinds; a *maker* opens one, with a peer at
its other end and a `Listener` for what comes.
"""

import random
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import attrs
import pytest
import trio
from trio.testing import lockstep_stream_pair, wait_all_tasks_blocked

from trio_pipecat.transports._carrier import Carrier, Farewell, Receiver, StreamCarrier
from trio_pipecat.transports._engine import SocketCarrier, leave_engine, use_engine

#: More than any buffer on the way takes.
MUCH = random.Random(1).randbytes(2**21)


class Listener(Receiver):
    """A receiver that notes what it is told; a test may have it do something because of it."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.told: list[str] = []
        self.failures: list[Exception] = []
        self.on_bytes: Callable[[bytes | memoryview], object] = self._ignore
        self._news = trio.lowlevel.ParkingLot()

    def _ignore(self, data: bytes | memoryview) -> None:
        """Nothing is done because of it."""

    def bytes_came(self, data: bytes | memoryview) -> None:
        self.on_bytes(data)
        self.heard += data
        self._note("bytes")

    def end_came(self) -> None:
        self._note("end")

    def room_came(self) -> None:
        self._note("room")

    def fail(self, error: Exception) -> None:
        self.failures.append(error)
        self._note("failure")

    def _note(self, what: str) -> None:
        self.told.append(what)
        self._news.unpark_all()

    async def wait_for(self, what: str) -> None:
        """Wait until this was told once at least."""
        while what not in self.told:
            await self._news.park()

    async def wait_for_size(self, size: int) -> None:
        """Wait until so much was heard."""
        while len(self.heard) < size:
            await self._news.park()


@attrs.frozen
class Carried:
    """A carrier that carries, who listens, and the peer's end."""

    carrier: Carrier
    listener: Listener
    peer: trio.abc.Stream
    #: Have the peer read no more, and go on to talk.
    stop_reading: Callable[[], Awaitable[object]]


class Maker(Protocol):
    """Opens a carrier of some kind."""

    def __call__(
        self, farewell: Farewell = ..., grace: float = ..., listener: Listener | None = ...
    ) -> AbstractAsyncContextManager[Carried]: ...


async def say_nothing(error: BaseException | None) -> None:
    """The farewell of who leaves without one."""
    await trio.lowlevel.checkpoint()


@asynccontextmanager
async def open_stream(
    farewell: Farewell = say_nothing, grace: float = 3, listener: Listener | None = None
) -> AsyncGenerator[Carried, None]:
    """Carry over a stream in memory that takes a byte only when the other end reads it."""
    ours, peer = lockstep_stream_pair()
    carrier, listener = StreamCarrier(ours), listener or Listener()
    async with peer, carrier.carrying(listener, farewell, grace):
        yield Carried(carrier, listener, peer, peer.receive_stream.aclose)


@asynccontextmanager
async def open_socket(
    farewell: Farewell = say_nothing, grace: float = 3, listener: Listener | None = None
) -> AsyncGenerator[Carried, None]:
    """Carry over a socket that an engine watches."""
    engine = use_engine()
    try:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        peer = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
        carrier, listener = SocketCarrier(engine, ours), listener or Listener()
        async with peer, carrier.carrying(listener, farewell, grace):

            async def stop_reading() -> None:
                peer.socket.shutdown(socket.SHUT_RD)

            yield Carried(carrier, listener, peer, stop_reading)
    finally:
        await leave_engine(engine)


async def read(peer: trio.abc.ReceiveStream, size: int) -> bytes:
    """Read so many bytes."""
    data = b""
    while len(data) < size:
        piece = await peer.receive_some(size - len(data))
        assert piece, f"hung up after {len(data)} bytes"
        data += piece
    return data


async def read_all(peer: trio.abc.ReceiveStream) -> bytes:
    """Read to the end."""
    data = b""
    while piece := await peer.receive_some():
        data += piece
    return data


# -- writing -----------------------------------------------------------------------------


async def what_is_written_arrives_in_order(open_carried: Maker) -> None:
    """Little and much."""
    async with open_carried() as carried:
        for data in (b"one ", b"", b"two ", MUCH, b" three"):
            carried.carrier.write(data)
        expected = b"one two " + MUCH + b" three"
        assert expected == await read(carried.peer, len(expected))


async def nobody_waits_for_a_peer_that_does_not_read(open_carried: Maker) -> None:
    """Writing returns; what has not gone out is counted, until it has."""
    async with open_carried() as carried:
        carrier = carried.carrier
        assert 0 == carrier.unsent
        for _ in range(10):
            carrier.write(MUCH)
        await wait_all_tasks_blocked()
        unsent = carrier.unsent
        assert 9 * len(MUCH) < unsent <= 11 * len(MUCH)
        carrier.write(b"more")
        assert unsent + 4 <= carrier.unsent
        assert MUCH * 10 + b"more" == await read(carried.peer, 10 * len(MUCH) + 4)
        await wait_all_tasks_blocked()
        assert 0 == carrier.unsent
        assert not carrier.is_broken


async def room_is_told(open_carried: Maker) -> None:
    """When some of what was written has gone out, and not before."""
    async with open_carried() as carried:
        carried.carrier.write(MUCH)
        await wait_all_tasks_blocked()
        told = carried.listener.told.count("room")
        await wait_all_tasks_blocked()
        assert told == carried.listener.told.count("room")
        await read(carried.peer, len(MUCH))
        await wait_all_tasks_blocked()
        assert told < carried.listener.told.count("room")


async def a_peer_that_reads_no_more_is_found_out(open_carried: Maker) -> None:
    """By who writes to it; whoever waits for room is told that there is no use."""
    async with open_carried() as carried, trio.open_nursery() as nursery:
        await carried.stop_reading()
        carried.carrier.write(MUCH)
        await wait_all_tasks_blocked()
        assert carried.carrier.is_broken
        carried.carrier.write(b"more")
        # What it says is heard all the same.
        nursery.start_soon(carried.peer.send_all, b"hello")
        await carried.listener.wait_for_size(5)
        assert b"hello" == carried.listener.heard


async def what_never_goes_out_is_not_waited_for(open_carried: Maker) -> None:
    """It does not count as unsent."""
    async with open_carried() as carried:
        await carried.stop_reading()
        carried.carrier.write(MUCH)
        carried.carrier.write(b"more")
        await wait_all_tasks_blocked()
        assert carried.carrier.is_broken
        assert 0 == carried.carrier.unsent


# -- reading -----------------------------------------------------------------------------


async def what_comes_is_heard_in_order(open_carried: Maker) -> None:
    """Little and much, up to the end."""
    async with open_carried() as carried:
        for data in (b"one ", b"two ", MUCH, b" three"):
            await carried.peer.send_all(data)
        await trio.aclose_forcefully(carried.peer)
        await carried.listener.wait_for("end")
        assert b"one two " + MUCH + b" three" == carried.listener.heard
        assert "bytes" not in carried.listener.told[carried.listener.told.index("end") :]


async def nothing_is_heard_during_a_pause(open_carried: Maker) -> None:
    """What came meanwhile is heard afterwards."""
    async with open_carried() as carried, trio.open_nursery() as nursery:
        carried.listener.on_bytes = lambda data: carried.carrier.pause()
        await carried.peer.send_all(b"one ")
        await carried.listener.wait_for("bytes")
        nursery.start_soon(carried.peer.send_all, b"two")
        await wait_all_tasks_blocked()
        assert b"one " == carried.listener.heard
        carried.carrier.resume()
        await carried.listener.wait_for_size(7)
        assert b"one two" == carried.listener.heard


async def a_pause_begins_at_once(open_carried: Maker) -> None:
    """Also if nothing has come yet."""
    async with open_carried() as carried, trio.open_nursery() as nursery:
        await wait_all_tasks_blocked()
        carried.carrier.pause()
        nursery.start_soon(carried.peer.send_all, b"one")
        await wait_all_tasks_blocked()
        assert b"" == carried.listener.heard
        carried.carrier.resume()
        await carried.listener.wait_for_size(3)


async def a_pause_may_begin_with_the_block(open_carried: Maker) -> None:
    """Whoever has heard enough already says so before anything is read."""
    async with open_carried() as carried, trio.open_nursery() as nursery:
        carried.carrier.pause()
        nursery.start_soon(carried.peer.send_all, b"one")
        await wait_all_tasks_blocked()
        assert b"" == carried.listener.heard
        carried.carrier.resume()
        await carried.listener.wait_for_size(3)


async def writing_goes_on_during_a_pause(open_carried: Maker) -> None:
    """The two have nothing to do with each other."""
    async with open_carried() as carried:
        carried.carrier.pause()
        carried.carrier.write(MUCH)
        assert MUCH == await read(carried.peer, len(MUCH))


async def a_peer_that_hangs_up_during_a_pause(open_carried: Maker) -> None:
    """Is found out when it is over, after what came before."""
    async with open_carried() as carried:
        carried.listener.on_bytes = lambda data: carried.carrier.pause()
        await carried.peer.send_all(b"one")
        await carried.listener.wait_for("bytes")
        await trio.aclose_forcefully(carried.peer)
        await wait_all_tasks_blocked()
        assert "end" not in carried.listener.told
        carried.carrier.resume()
        await carried.listener.wait_for("end")
        assert b"one" == carried.listener.heard


async def a_peer_that_hangs_up(open_carried: Maker) -> None:
    """It is told, and who waits for room is told too."""
    async with open_carried() as carried:
        carried.carrier.write(MUCH)
        await wait_all_tasks_blocked()
        await trio.aclose_forcefully(carried.peer)
        await carried.listener.wait_for("end")
        await carried.listener.wait_for("room")
        await wait_all_tasks_blocked()
        assert carried.carrier.is_broken
        assert [] == carried.listener.failures


async def what_a_receiver_raises_is_told_to_it(open_carried: Maker) -> None:
    """It is a bug, and hurts nobody else: the block goes on."""
    bug = ZeroDivisionError("a bug")

    def fail(data: bytes | memoryview) -> None:
        raise bug

    async with open_carried() as carried, trio.open_nursery() as nursery:
        carried.listener.on_bytes = fail
        nursery.start_soon(carried.peer.send_all, b"x")
        await carried.listener.wait_for("failure")
        await wait_all_tasks_blocked()
        assert [bug] == carried.listener.failures


# -- closing -----------------------------------------------------------------------------


async def finishing_sends_the_rest_first(open_carried: Maker) -> None:
    """What is written after that is not sent."""
    async with open_carried() as carried:
        carried.carrier.write(MUCH)
        carried.carrier.write(b" goodbye")
        await wait_all_tasks_blocked()
        carried.carrier.finish()
        carried.carrier.write(b"never")
        assert MUCH + b" goodbye" == await read_all(carried.peer)
        await wait_all_tasks_blocked()
        assert carried.carrier.is_broken


async def finishing_when_all_is_sent_closes(open_carried: Maker) -> None:
    """There is nothing to wait for."""
    async with open_carried() as carried:
        carried.carrier.write(b"goodbye")
        assert b"goodbye" == await read(carried.peer, 7)
        await wait_all_tasks_blocked()
        carried.carrier.finish()
        assert b"" == await read_all(carried.peer)


async def finishing_before_anything_ran_sends_the_rest(open_carried: Maker) -> None:
    """Whoever is quick is not cut short."""
    async with open_carried() as carried:
        carried.carrier.write(b"goodbye")
        carried.carrier.finish()
        assert b"goodbye" == await read_all(carried.peer)


async def closing_drops_the_rest(open_carried: Maker) -> None:
    """What has not gone out never will; closing again changes nothing."""
    async with open_carried() as carried:
        carried.carrier.write(MUCH)
        await wait_all_tasks_blocked()
        carried.carrier.write(b"never")
        for _ in range(2):
            carried.carrier.close()
            assert carried.carrier.is_broken
        carried.carrier.write(b"never")
        carried.carrier.finish()
        carried.carrier.resume()
        assert not (await read_all(carried.peer)).endswith(b"never")
        await wait_all_tasks_blocked()
        assert b"" == carried.listener.heard


async def closing_at_once(open_carried: Maker) -> None:
    """Before anything ran."""
    async with open_carried() as carried:
        carried.carrier.close()
        assert b"" == await read_all(carried.peer)


async def who_closes_has_what_it_was_given(open_carried: Maker) -> None:
    """Until it returns, whatever else has come meanwhile; and is given no more."""
    seen: list[bytes] = []

    def close(data: bytes | memoryview) -> None:
        seen.append(bytes(data))
        carried.carrier.close()
        seen.append(bytes(data))

    async def talk() -> None:
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await carried.peer.send_all(MUCH)

    async with open_carried() as carried, trio.open_nursery() as nursery:
        carried.listener.on_bytes = close
        nursery.start_soon(talk)
        await carried.listener.wait_for("bytes")
        await wait_all_tasks_blocked()
        assert 2 == len(seen)
        assert seen[0] == seen[1] == carried.listener.heard


# -- the block ---------------------------------------------------------------------------


async def the_farewell_is_carried(open_carried: Maker) -> None:
    """Whoever leaves can say something, and hear the answer."""
    listener = Listener()
    errors: list[BaseException | None] = []

    async def farewell(error: BaseException | None) -> None:
        errors.append(error)
        carried.carrier.write(b"goodbye")
        await listener.wait_for_size(3)

    async def answer() -> None:
        assert b"goodbye" == await read(carried.peer, 7)
        await carried.peer.send_all(b"bye")

    async with (
        trio.open_nursery() as nursery,
        open_carried(farewell=farewell, listener=listener) as carried,
    ):
        nursery.start_soon(answer)
        await wait_all_tasks_blocked()
    assert b"bye" == listener.heard
    assert [None] == errors


async def what_the_body_raises_comes_out(open_carried: Maker) -> None:
    """That very object, and the farewell is told."""
    error = ValueError("mine")
    told: list[BaseException | None] = []

    async def farewell(error: BaseException | None) -> None:
        await trio.lowlevel.checkpoint()
        told.append(error)

    with pytest.raises(ValueError, match="mine") as caught:
        async with open_carried(farewell=farewell):
            raise error
    assert error is caught.value
    assert [error] == told


async def the_farewell_is_said_by_who_is_cancelled(open_carried: Maker) -> None:
    """Shielded, with the time it has."""
    told: list[BaseException | None] = []

    async def farewell(error: BaseException | None) -> None:
        await trio.sleep(2)
        told.append(error)

    with trio.CancelScope() as scope:
        async with open_carried(farewell=farewell):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert [trio.Cancelled] == [type(error) for error in told]
    assert 2 == trio.current_time()


async def a_farewell_has_its_grace(open_carried: Maker) -> None:
    """And no more; then it is closed."""

    async def farewell(error: BaseException | None) -> None:
        await trio.sleep_forever()

    async with open_carried(farewell=farewell, grace=5) as carried:
        pass
    assert 5 == trio.current_time()
    await wait_all_tasks_blocked()
    assert carried.carrier.is_broken


#: Every rule, for `pytest.mark.parametrize`.
RULES = [
    what_is_written_arrives_in_order,
    nobody_waits_for_a_peer_that_does_not_read,
    room_is_told,
    a_peer_that_reads_no_more_is_found_out,
    what_never_goes_out_is_not_waited_for,
    what_comes_is_heard_in_order,
    nothing_is_heard_during_a_pause,
    a_pause_begins_at_once,
    a_pause_may_begin_with_the_block,
    writing_goes_on_during_a_pause,
    a_peer_that_hangs_up_during_a_pause,
    a_peer_that_hangs_up,
    what_a_receiver_raises_is_told_to_it,
    finishing_sends_the_rest_first,
    finishing_when_all_is_sent_closes,
    finishing_before_anything_ran_sends_the_rest,
    closing_drops_the_rest,
    closing_at_once,
    who_closes_has_what_it_was_given,
    the_farewell_is_carried,
    what_the_body_raises_comes_out,
    the_farewell_is_said_by_who_is_cancelled,
    a_farewell_has_its_grace,
]
