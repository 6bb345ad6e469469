"""The outbox: what is sent goes out whole or not at all, whoever is cancelled meanwhile."""

from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import assert_checkpoints, memory_stream_pair, wait_all_tasks_blocked

from trio_pipecat.transports._outbox import Outbox

HIGH_WATER = 64 * 1024


class Valve(trio.abc.Stream):
    """A stream that writes in pieces, and only while its valve is open."""

    def __init__(self, stream, *, piece=10, is_open=True):
        self.writes = []
        self.closed = False
        self._stream = stream
        self._piece = piece
        self._open = trio.Event()
        if is_open:
            self._open.set()

    def open(self):
        """Let through what waits."""
        self._open.set()

    async def send_all(self, data):
        self.writes.append(len(data))
        for start in range(0, len(data), self._piece):
            await self._open.wait()
            await self._stream.send_all(data[start : start + self._piece])

    async def wait_send_all_might_not_block(self):
        raise AssertionError("an outbox does not ask")

    async def receive_some(self, max_bytes=None):
        return await self._stream.receive_some(max_bytes)

    async def aclose(self):
        self.closed = True
        await self._stream.aclose()


@asynccontextmanager
async def open_outbox(*, piece=10**6, is_open=True):
    """Give an outbox whose writer runs, the stream below it, and the peer's end."""
    ours, peer = memory_stream_pair()
    valve = Valve(ours, piece=piece, is_open=is_open)
    outbox = Outbox(valve)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.run)
        yield outbox, valve, peer
        nursery.cancel_scope.cancel()


async def read_all(peer):
    """Return everything that the peer gets, up to the end."""
    data = b""
    while piece := await peer.receive_some():
        data += piece
    return data


# -- sending -----------------------------------------------------------------------------


async def test_everything_goes_out_in_order():
    """What is sent arrives, in the order of the sending."""
    async with open_outbox() as (outbox, _, peer):
        await outbox.send_all(b"one ")
        await outbox.send_all(bytearray(b"two "))
        await outbox.send_all(memoryview(b"three"))
        await outbox.aclose()
        assert b"one two three" == await read_all(peer)


async def test_sending_does_not_wait_for_the_peer():
    """A blocked stream does not block who sends; when it gives way, all goes out in one write."""
    async with open_outbox(is_open=False) as (outbox, valve, peer):
        for _ in range(100):
            await outbox.send_all(b"x" * 100)
        await wait_all_tasks_blocked()
        valve.open()
        await wait_all_tasks_blocked()
        assert 100 * 100 == len(await peer.receive_some(10**6))
        assert len(valve.writes) <= 2


async def test_sender_may_change_its_buffer_afterwards():
    """What was sent is a copy."""
    async with open_outbox(is_open=False) as (outbox, valve, peer):
        data = bytearray(b"before")
        await outbox.send_all(data)
        data[:] = b"after!"
        valve.open()
        await wait_all_tasks_blocked()
        assert b"before" == await peer.receive_some()


async def test_cancelled_sender_sent_nothing():
    """A send in a cancelled scope appends nothing."""
    async with open_outbox() as (outbox, _, peer):
        with trio.CancelScope() as scope:
            scope.cancel()
            await outbox.send_all(b"never")
        assert scope.cancelled_caught
        await outbox.send_all(b"after")
        assert b"after" == await peer.receive_some()


async def test_cancelling_senders_tears_nothing():
    """On a slow stream, senders that are cancelled at any time send a whole frame or none."""
    async with open_outbox(piece=3) as (outbox, _, peer), trio.open_nursery() as nursery:
        scopes = [trio.CancelScope() for _ in range(50)]
        sent = []

        async def send(number):
            with scopes[number]:
                await outbox.send_all(b"<%03d>" % number)
                sent.append(number)

        for number, scope in enumerate(scopes):
            nursery.start_soon(send, number)
            if number % 3 == 0:
                scope.cancel()
        await wait_all_tasks_blocked()
        await outbox.aclose()
        frames = (await read_all(peer)).decode()
        assert sorted(f"<{number:03}>" for number in sent) == sorted(
            frames[start : start + 5] for start in range(0, len(frames), 5)
        )
        assert len(sent) == 33


async def test_sending_is_a_checkpoint():
    """Sending is a checkpoint, and so is asking whether one may."""
    async with open_outbox() as (outbox, _, _):
        with assert_checkpoints():
            await outbox.send_all(b"x")
        with assert_checkpoints():
            await outbox.wait_send_all_might_not_block()


# -- waiting for a slow peer ---------------------------------------------------------------


@pytest.mark.parametrize(("size", "waits"), [(HIGH_WATER, False), (HIGH_WATER + 1, True)])
async def test_high_water(size, waits):
    """Who wants to be slowed down waits while more than so much is unwritten."""
    async with open_outbox(is_open=False) as (outbox, valve, _), trio.open_nursery() as nursery:
        await outbox.send_all(bytes(size))
        passed = trio.Event()

        async def wait():
            await outbox.wait_send_all_might_not_block()
            passed.set()

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert waits is not passed.is_set()
        valve.open()
        await passed.wait()


async def test_cancelled_wait_loses_nothing():
    """Cancelling who waits for a slow peer does not harm what was sent before."""
    async with open_outbox(is_open=False) as (outbox, valve, peer):
        await outbox.send_all(b"x" * (HIGH_WATER + 1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outbox.wait_send_all_might_not_block)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        valve.open()
        await outbox.aclose()
        assert HIGH_WATER + 1 == len(await read_all(peer))


@pytest.mark.parametrize("how", ["peer gone", "closed"])
async def test_waiting_ends_with_the_stream(how):
    """Nobody waits for progress that can't come any more."""
    async with open_outbox(is_open=False) as (outbox, valve, peer):
        await outbox.send_all(bytes(HIGH_WATER + 1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outbox.wait_send_all_might_not_block)
            await wait_all_tasks_blocked()
            if how == "closed":
                await trio.aclose_forcefully(outbox)
            else:
                await peer.aclose()
                valve.open()


async def test_waiting_ends_with_the_writer():
    """Who waits for progress is told when the writer was stopped; what comes next is refused."""
    ours, _ = memory_stream_pair()
    outbox = Outbox(Valve(ours, is_open=False))
    async with trio.open_nursery() as nursery:
        writer = trio.CancelScope()

        async def write():
            with writer:
                await outbox.run()

        nursery.start_soon(write)
        await outbox.send_all(bytes(HIGH_WATER + 1))
        nursery.start_soon(outbox.wait_send_all_might_not_block)
        await wait_all_tasks_blocked()
        writer.cancel()
    with pytest.raises(trio.BrokenResourceError):
        await outbox.send_all(b"x")


async def test_broken_peer_is_told_to_the_next_sender():
    """When the peer is gone the writer ends, and the next send is refused."""
    ours, peer = memory_stream_pair()
    outbox = Outbox(ours)
    await peer.aclose()
    await outbox.send_all(b"into the void")
    await outbox.run()
    with pytest.raises(trio.BrokenResourceError, match="gone"):
        await outbox.send_all(b"x")


# -- receiving ---------------------------------------------------------------------------


async def test_receiving_passes_through():
    """What the peer sends is received, as much as was asked for."""
    async with open_outbox() as (outbox, _, peer):
        await peer.send_all(b"abcdef")
        assert (b"ab", b"cdef") == (await outbox.receive_some(2), await outbox.receive_some())


async def test_refusing_more():
    """A peer that goes on when nobody wants to hear it has said its last byte."""
    over = []
    async with open_outbox() as (outbox, _, peer):
        outbox.on_over = lambda: over.append(1)
        await peer.send_all(b"12345")
        assert b"12345" == await outbox.receive_some()
        assert [] == over
        outbox.refuse_more()
        await peer.send_all(b"6")
        assert b"" == await outbox.receive_some()
        assert [1] == over


@pytest.mark.parametrize("how", ["hangs up", "breaks"])
async def test_the_end_of_receiving_is_told(how):
    """Whoever wants to know is called when nothing more can be received."""
    over = []
    ours, peer = memory_stream_pair()
    outbox = Outbox(ours)
    outbox.on_over = lambda: over.append(1)
    if how == "hangs up":
        await peer.aclose()
        assert b"" == await outbox.receive_some()
    else:
        ours.receive_stream.close()
        with pytest.raises(trio.ClosedResourceError):
            await outbox.receive_some()
    assert [1] == over


# -- closing -----------------------------------------------------------------------------


async def test_closing_writes_out_first():
    """Closing waits for what is unwritten, closes the stream below, and tells."""
    over = []
    async with open_outbox(piece=7) as (outbox, valve, peer):
        outbox.on_over = lambda: over.append(1)
        await outbox.send_all(b"x" * 100)
        await outbox.aclose()
        assert 100 == len(await read_all(peer))
        assert valve.closed
        assert [1] == over
        with pytest.raises(trio.ClosedResourceError):
            await outbox.send_all(b"x")


async def test_closing_does_not_wait_for_long(autojump_clock):
    """Closing gives a peer that does not read one second."""
    async with open_outbox(is_open=False) as (outbox, valve, peer):
        await outbox.send_all(b"x")
        before = trio.current_time()
        await outbox.aclose()
        assert 1 == trio.current_time() - before
        assert valve.closed
        assert b"" == await read_all(peer)


async def test_closing_when_cancelled_closes_at_once():
    """Closing in a cancelled scope closes, without the wait."""
    async with open_outbox(is_open=False) as (outbox, valve, _):
        await outbox.send_all(b"x")
        await trio.aclose_forcefully(outbox)
        assert valve.closed


async def test_closing_what_is_broken_does_not_wait(mock_clock):
    """With nobody to read it, what is unwritten is given up at once."""
    async with open_outbox() as (outbox, valve, peer):
        await peer.aclose()
        await outbox.send_all(b"x")
        await outbox.aclose()
        assert valve.closed


async def test_closing_twice():
    """Closing again changes nothing."""
    async with open_outbox() as (outbox, valve, _):
        await outbox.aclose()
        await outbox.aclose()
        assert valve.closed


async def test_closing_ends_the_writer():
    """When the outbox is closed, its writer ends by itself."""
    ours, _ = memory_stream_pair()
    outbox = Outbox(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.run)
        await outbox.send_all(b"x")
        await outbox.aclose()


# -- peers that misbehave, and bots that do so on purpose ----------------------------------------


async def test_a_peer_that_asks_and_does_not_read():
    """Answers to its pings do not pile up for ever: the stream is closed."""
    async with open_outbox(is_open=False) as (outbox, valve, _):
        with pytest.raises(trio.BrokenResourceError, match="does not read"):
            for _ in range(100_000):
                await outbox.send_all(b"pong")
        assert valve.closed


async def test_a_frozen_outbox_moves_nothing(autojump_clock):
    """Neither out nor in; and it closes without waiting for what is unwritten."""
    async with open_outbox() as (outbox, valve, peer):
        outbox.frozen = True
        await outbox.send_all(b"never")
        await peer.send_all(b"never")
        with trio.move_on_after(60) as waited:
            await outbox.receive_some()
        assert waited.cancelled_caught
        assert [] == valve.writes
        await outbox.aclose()
    assert 60 == trio.current_time()


async def test_handing_over_is_told():
    """To whoever wants to know that a goodbye is out."""
    told = []
    async with open_outbox() as (outbox, _, _):
        outbox.on_sent = lambda: told.append(1)
        await outbox.send_all(b"x")
        assert [1] == told
