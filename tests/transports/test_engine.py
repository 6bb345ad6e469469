"""One poller and one clock for all the sockets of a run, and the carrier of a socket."""

import resource
import select
import socket
import struct
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio
from carrier_rules import (
    MUCH,
    RULES,
    Listener,
    Maker,
    open_socket,
    read,
    read_all,
    say_nothing,
)
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_pipecat import TransportStartError
from trio_pipecat.transports._engine import Engine, SocketCarrier, leave_engine, use_engine

pytestmark = [
    pytest.mark.socket,
    pytest.mark.skipif(not hasattr(select, "epoll"), reason="there is no epoll here"),
]

DESCRIPTORS = Path("/proc/self/fd")


@contextmanager
def nothing_left() -> Iterator[None]:
    """Check that as many tasks live and as many descriptors are open at the end as there were."""
    before = _tasks(), _descriptors()
    yield
    assert before == (_tasks(), _descriptors())


def _tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


def _descriptors() -> int:
    return len([*DESCRIPTORS.iterdir()]) if DESCRIPTORS.exists() else 0


@asynccontextmanager
async def engine_in_use() -> AsyncGenerator[Engine, None]:
    """Use the engine while the block lasts, which leaves nothing behind."""
    with nothing_left():
        engine = use_engine()
        try:
            yield engine
        finally:
            await leave_engine(engine)


class Steps(trio.abc.Instrument):
    """Counts the steps of each task, by its name."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count[task.name.rpartition(".")[2]] += 1


def pair() -> tuple[socket.socket, trio.SocketStream]:
    """Return our end of a connection, for a carrier, and the peer's."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return ours, trio.SocketStream(trio.socket.from_stdlib_socket(theirs))


async def tcp_pair() -> tuple[socket.socket, trio.SocketStream]:
    """Return the same, of TCP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    ours.setblocking(False)
    return ours, trio.SocketStream(trio.socket.from_stdlib_socket(theirs))


def reset(peer: trio.SocketStream) -> None:
    """Tear a connection down with a TCP reset."""
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.socket.close()


# -- sharing it --------------------------------------------------------------------------


async def test_all_of_a_run_share_an_engine() -> None:
    """The first one starts it, and it is gone when the last one has left."""
    with nothing_left():
        one = use_engine()
        await wait_all_tasks_blocked()
        tasks = _tasks()
        assert one is use_engine()
        assert one is use_engine()
        await wait_all_tasks_blocked()
        assert tasks == _tasks()
        for _ in range(2):
            await leave_engine(one)
            await wait_all_tasks_blocked()
            assert tasks == _tasks()
        await leave_engine(one)


async def test_the_next_one_starts_another() -> None:
    """Which has nothing of the last one's."""
    async with engine_in_use() as one:
        pass
    async with engine_in_use() as two:
        assert one is not two
        assert 0 == one.users
        assert 1 == two.users


async def test_an_engine_may_be_left_at_once() -> None:
    """Before it ran."""
    for _ in range(3):
        async with engine_in_use():
            pass


async def test_who_is_cancelled_leaves_all_the_same() -> None:
    """The wait is shielded: it takes two steps."""
    with nothing_left(), trio.CancelScope() as scope:
        engine = use_engine()
        await wait_all_tasks_blocked()
        scope.cancel()
        await leave_engine(engine)


async def test_who_starts_it_does_not_own_it(autojump_clock: MockClock) -> None:
    """It goes on when that task is over, and even if it was cancelled."""

    async def first() -> None:
        use_engine()
        await trio.sleep_forever()

    with nothing_left():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await wait_all_tasks_blocked()
            engine = use_engine()
            nursery.cancel_scope.cancel()
        rung = trio.Event()
        engine.call_at(7, rung.set)
        await rung.wait()
        assert 7 == trio.current_time()
        await leave_engine(engine)
        await leave_engine(engine)


async def test_each_run_has_its_own() -> None:
    """In another thread, too."""

    async def other() -> Engine:
        async with engine_in_use() as theirs:
            return theirs

    async with engine_in_use() as ours:
        assert ours is not await trio.to_thread.run_sync(trio.run, other)


async def test_no_descriptor_is_left_for_it() -> None:
    """That is a link that can't be opened; the next one may have more luck."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as lowest:
        number = lowest.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, limits[1]))
    try:
        with pytest.raises(TransportStartError, match="Too many open files") as refused:
            use_engine()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert "connect" == refused.value.stage
    async with engine_in_use():
        pass


# -- alarms ------------------------------------------------------------------------------


async def test_alarms_ring_in_time_and_in_order(autojump_clock: MockClock) -> None:
    """However they were set; of two at the same time the first one set is first."""
    rung: list[tuple[float, str]] = []

    def note(name: str) -> Callable[[], None]:
        return lambda: rung.append((trio.current_time(), name))

    async with engine_in_use() as engine:
        for when, name in [(3, "c"), (1, "a"), (2, "b"), (1, "a again"), (5, "never")]:
            engine.call_at(when, note(name))
        await trio.sleep(4)
        assert [(1, "a"), (1, "a again"), (2, "b"), (3, "c")] == rung


async def test_an_alarm_that_was_cancelled_does_not_ring(autojump_clock: MockClock) -> None:
    """Nor one that is cancelled by another of the same time; cancelling late is nothing."""
    rung: list[str] = []
    async with engine_in_use() as engine:
        engine.call_at(1, lambda: rung.append("first"))
        engine.call_at(1, lambda: third.cancel())
        third = engine.call_at(1, lambda: rung.append("third"))
        engine.call_at(2, lambda: rung.append("no")).cancel()
        last = engine.call_at(3, lambda: rung.append("last"))
        await trio.sleep(4)
        last.cancel()
        last.ring()
        assert ["first", "last"] == rung


async def test_an_alarm_may_set_others(autojump_clock: MockClock) -> None:
    """Later ones, and ones that are due already."""
    times: list[float] = []

    def again() -> None:
        times.append(trio.current_time())
        if len(times) < 5:
            engine.call_at(trio.current_time() + len(times) % 2, again)

    async with engine_in_use() as engine:
        engine.call_at(1, again)
        await trio.sleep(10)
    assert [1, 2, 2, 3, 3] == times


async def test_an_earlier_alarm_is_not_kept_waiting(autojump_clock: MockClock) -> None:
    """Though a later one was there before; and what is over rings at once."""
    async with engine_in_use() as engine:
        engine.call_at(100, lambda: None)
        await wait_all_tasks_blocked()
        for when, expected in ((5, 5), (3, 5)):
            rung = trio.Event()
            engine.call_at(when, rung.set)
            await rung.wait()
            assert expected == trio.current_time()


# -- the carrier of a socket ---------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
async def test_a_socket_keeps_the_rules(
    autojump_clock: MockClock, rule: Callable[[Maker], Awaitable[None]]
) -> None:
    """What every carrier promises."""
    with nothing_left():
        await rule(open_socket)


async def test_what_fits_goes_out_at_once() -> None:
    """Without a step of anybody."""
    async with open_socket() as carried:
        assert isinstance(carried.peer, trio.SocketStream)
        carried.carrier.write(b"now")
        assert 0 == carried.carrier.unsent
        assert b"now" == carried.peer.socket._sock.recv(10)


async def test_a_socket_that_takes_nothing_is_waited_for() -> None:
    """Nothing of what is written is lost, however small the pieces are."""
    async with engine_in_use() as engine:
        ours, peer = pair()
        filled = 0
        with pytest.raises(BlockingIOError):
            while True:
                filled += ours.send(bytes(1_000))
        carrier, listener = SocketCarrier(engine, ours), Listener()
        async with carrier.carrying(listener, say_nothing, 3), peer:
            for at in range(0, len(MUCH), 1_000):
                carrier.write(MUCH[at : at + 1_000])
            assert len(MUCH) == carrier.unsent
            assert bytes(filled) + MUCH == await read(peer, filled + len(MUCH))
            await wait_all_tasks_blocked()
            assert 0 == carrier.unsent
            carrier.write(b"!")
            assert b"!" == await read(peer, 1)


async def test_an_engine_is_two_tasks_however_many_sockets() -> None:
    """And one descriptor of its own."""
    async with engine_in_use() as engine:
        await wait_all_tasks_blocked()
        tasks = _tasks()
        async with open_socket(), open_socket(), open_socket():
            await wait_all_tasks_blocked()
            assert tasks == _tasks()
        assert 1 == engine.users


async def test_a_paused_socket_that_hangs_up_does_not_spin() -> None:
    """The kernel would go on telling, for as long as it is asked."""
    async with open_socket() as carried:
        carried.carrier.pause()
        await trio.aclose_forcefully(carried.peer)
        await wait_all_tasks_blocked()
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        for _ in range(50):
            await trio.lowlevel.checkpoint()
        trio.lowlevel.remove_instrument(steps)
        assert 0 == steps.count["_poll"]
        carried.carrier.resume()
        await carried.listener.wait_for("end")


async def test_an_idle_engine_does_not_spin() -> None:
    """Whatever is written, paused and resumed."""
    async with open_socket() as carried:
        carried.carrier.write(MUCH)
        carried.carrier.pause()
        await carried.peer.send_all(b"unread")
        carried.carrier.resume()
        await carried.listener.wait_for("bytes")
        await read(carried.peer, len(MUCH))
        await wait_all_tasks_blocked()
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        for _ in range(50):
            await trio.lowlevel.checkpoint()
        trio.lowlevel.remove_instrument(steps)
        assert 0 == steps.count["_poll"]


async def test_nothing_to_read_after_all() -> None:
    """The kernel may be wrong about it; then nothing happens."""
    async with open_socket() as carried:
        assert isinstance(carried.carrier, SocketCarrier)
        carried.carrier.notice(select.EPOLLIN)
        carried.carrier.notice(select.EPOLLOUT)
        assert [] == carried.listener.told
        await carried.peer.send_all(b"hello")
        await carried.listener.wait_for_size(5)


@pytest.mark.parametrize("doing", ["reading", "paused", "writing", "both"])
async def test_a_reset(doing: str) -> None:
    """A connection that the peer has torn down is over, after what came, and hurts nobody."""
    async with engine_in_use() as engine:
        ours, peer = await tcp_pair()
        carrier, listener = SocketCarrier(engine, ours), Listener()
        async with carrier.carrying(listener, say_nothing, 3):
            await peer.send_all(b"hello")
            await listener.wait_for_size(5)
            if doing in ("writing", "both"):
                while not carrier.unsent:
                    carrier.write(MUCH)
            if doing in ("paused", "both"):
                carrier.pause()
            reset(peer)
            await wait_all_tasks_blocked()
            carrier.write(b"x")
            carrier.resume()
            await listener.wait_for("end")
            assert carrier.is_broken
            assert 0 == carrier.unsent
            assert [] == listener.failures


async def test_closing_loses_nothing_that_was_sent() -> None:
    """What is left unread would have the kernel reset the connection, and take it back."""
    async with engine_in_use() as engine:
        ours, peer = await tcp_pair()
        carrier = SocketCarrier(engine, ours)
        async with carrier.carrying(Listener(), say_nothing, 3), peer:
            carrier.pause()
            await peer.send_all(bytes(100_000))
            carrier.write(b"goodbye")
            carrier.close()
            assert b"goodbye" == await read_all(peer)


async def test_a_flood_does_not_keep_who_closes() -> None:
    """Of what nobody reads so much is taken out, and no more."""
    async with engine_in_use() as engine, trio.open_nursery() as nursery:
        ours, peer = pair()

        async def flood() -> None:
            with pytest.raises(trio.BrokenResourceError):
                while True:
                    await peer.send_all(MUCH)
            await peer.aclose()

        carrier = SocketCarrier(engine, ours)
        async with carrier.carrying(Listener(), say_nothing, 3):
            carrier.pause()
            nursery.start_soon(flood)
            await wait_all_tasks_blocked()


async def test_one_that_fails_hurts_no_other() -> None:
    """It is closed, and the others are read on, those of the same moment too."""
    listeners = [Listener() for _ in range(10)]

    def fail(data: bytes | memoryview) -> None:
        raise ZeroDivisionError

    async with engine_in_use() as engine:
        pairs = [pair() for _ in listeners]
        async with trio.open_nursery() as nursery:
            for (ours, _), listener in zip(pairs, listeners, strict=True):
                nursery.start_soon(_carry, engine, ours, listener)
            await wait_all_tasks_blocked()
            listeners[3].on_bytes = fail
            for _, peer in pairs:
                await peer.send_all(b"hello")
            for listener in listeners:
                await listener.wait_for("failure" if listener is listeners[3] else "bytes")
            assert [b"hello"] * 3 + [b""] + [b"hello"] * 6 == [each.heard for each in listeners]
            assert [ZeroDivisionError] == [type(error) for error in listeners[3].failures]
            assert b"" == await read_all(pairs[3][1])
            await pairs[4][1].send_all(b"!")
            await listeners[4].wait_for_size(6)
            nursery.cancel_scope.cancel()
        for _, peer in pairs:
            await peer.aclose()


async def _carry(engine: Engine, ours: socket.socket, listener: Listener) -> None:
    async with SocketCarrier(engine, ours).carrying(listener, say_nothing, 3):
        await trio.sleep_forever()


async def test_one_may_close_another() -> None:
    """Which then hears nothing, though something has come for it in the same moment."""
    async with engine_in_use() as engine:
        listeners = [Listener() for _ in range(2)]
        pairs = [pair() for _ in listeners]
        carriers = [SocketCarrier(engine, ours) for ours, _ in pairs]

        def close_both(data: bytes | memoryview) -> None:
            for carrier in carriers:
                carrier.close()

        async with (
            carriers[0].carrying(listeners[0], say_nothing, 3),
            carriers[1].carrying(listeners[1], say_nothing, 3),
        ):
            for listener, (_, peer) in zip(listeners, pairs, strict=True):
                listener.on_bytes = close_both
                peer.socket._sock.send(b"hello")
            await wait_all_tasks_blocked()
            assert ["bytes"] == [told for listener in listeners for told in listener.told]
        for _, peer in pairs:
            await peer.aclose()


async def test_a_thousand_sockets() -> None:
    """All of them hear all of it, and cost no task."""
    count = 1_100  # more than a poll gives at a time
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        async with engine_in_use() as engine:
            listeners = [Listener() for _ in range(count)]
            pairs = [pair() for _ in listeners]
            for listener, (ours, _) in zip(listeners, pairs, strict=True):
                carrier = SocketCarrier(engine, ours)
                # As an answer to what comes.
                listener.on_bytes = lambda data, carrier=carrier: carrier.write(bytes(data))
                await carrier.carrying(listener, say_nothing, 3).__aenter__()
            await wait_all_tasks_blocked()
            tasks = _tasks()
            for number, (_, peer) in enumerate(pairs):
                peer.socket._sock.send(b"%d" % number)
            for number, (_, peer) in enumerate(pairs):
                assert b"%d" % number == await read(peer, len(str(number)))
            assert tasks == _tasks()
            for _, peer in pairs:
                await peer.aclose()
            for listener in listeners:
                await listener.wait_for("end")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


# -- where there is no epoll ---------------------------------------------------------------


async def test_without_epoll_there_is_the_clock(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sockets are watched by others."""
    monkeypatch.delattr(select, "epoll")
    rung = trio.Event()
    async with engine_in_use() as engine:
        assert not engine.watches_sockets
        engine.call_at(3, rung.set)
        await rung.wait()
        assert 3 == trio.current_time()


async def test_with_epoll_sockets_are_watched() -> None:
    """By the engine itself."""
    async with engine_in_use() as engine:
        assert engine.watches_sockets
