"""A link in memory, seen from both ends: it behaves as a socket would, and takes no time."""

import pytest
import trio
from links import receive_all
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from trio_pipecat.audio import AudioChunk
from trio_pipecat.transports import Interruption, LinkEnd, memory_transport_pair
from trio_pipecat.video import VideoFrame

BACKLOG = 256


async def fill(link):
    """Send until one more would have to wait."""
    for number in range(BACKLOG):
        await link.send_message(str(number))


# -- messages ----------------------------------------------------------------------------


@pytest.mark.parametrize("direction", [0, 1])
async def test_messages_arrive_in_order(direction):
    """What one end sends the other receives, in order, both ways."""
    ends = memory_transport_pair()
    ours, theirs = ends[direction], ends[1 - direction]
    await ours.send_message("one")
    await ours.send_message("two")
    assert ["one", "two"] == [await theirs.receive(), await theirs.receive()]


async def test_audio_is_stamped(mock_clock):
    """A chunk arrives with the time at which it was sent, and is no longer the sender's object."""
    client, bot = memory_transport_pair()
    mock_clock.jump(5)
    chunk = AudioChunk(b"\x01\x00" * 4, 16_000, 2)
    await client.send_audio(chunk)
    received = await bot.receive()
    assert chunk == received
    assert (None, trio.current_time()) == (chunk.at, received.at)


async def test_interruption_arrives():
    """The interruption signal is an item of its own."""
    client, bot = memory_transport_pair()
    await client.send_interruption()
    assert Interruption() == await bot.receive()


def test_message_size_is_told():
    """Both ends say how large a message may be."""
    client, bot = memory_transport_pair(max_message_size=7)
    assert (7, 7) == (client.max_message_size, bot.max_message_size)


async def test_receive_waits_for_something():
    """A reader with nothing to read waits until there is something."""
    client, bot = memory_transport_pair()
    received = []

    async def read():
        received.append(await bot.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        assert [] == received
        await client.send_message("late")
    assert ["late"] == received


@pytest.mark.parametrize("call", ["send_message", "send_audio", "send_interruption", "receive"])
async def test_every_call_is_a_checkpoint(call):
    """Sending and receiving are checkpoints, even if nothing is in the way."""
    client, bot = memory_transport_pair()
    await bot.send_message("something to receive")
    args = {"send_message": ["hi"], "send_audio": [AudioChunk(b"", 16_000)]}.get(call, [])
    with assert_checkpoints():
        await getattr(client, call)(*args)


# -- waiting and cancelling --------------------------------------------------------------


async def test_sender_waits_for_a_slow_reader():
    """When much is unread a sender waits, until the other end has read one item."""
    client, bot = memory_transport_pair()
    await fill(client)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_message, "last")
        await wait_all_tasks_blocked()
        assert "0" == await bot.receive()
    client.vanish()
    assert [*map(str, range(1, BACKLOG)), "last"] == await receive_all(bot)


async def test_cancelled_sender_sent_nothing():
    """A sender that is cancelled while it waits has not sent."""
    client, bot = memory_transport_pair()
    await fill(client)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_message, "never")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    client.vanish()
    assert "never" not in await receive_all(bot)


async def test_sender_that_is_already_cancelled_sends_nothing():
    """A send in a cancelled scope does nothing but raise."""
    client, bot = memory_transport_pair()
    with trio.CancelScope() as scope:
        scope.cancel()
        await client.send_message("never")
    await client.send_message("after")
    assert "after" == await bot.receive()


async def test_cancelled_receive_loses_nothing():
    """A reader that is cancelled while it waits leaves the item to the next."""
    client, bot = memory_transport_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bot.receive)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await client.send_message("kept")
    assert "kept" == await bot.receive()


@pytest.mark.parametrize("attempt", range(10))
async def test_handing_over_is_the_last_step(attempt):
    """A sender goes on before the other end has what it sent."""
    client, bot = memory_transport_pair()
    order = []

    async def read():
        order.append(await bot.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        await client.send_message("received")
        order.append("sent")
    assert ["sent", "received"] == order


# -- goodbyes ----------------------------------------------------------------------------


async def test_goodbye_comes_last():
    """What was sent before a goodbye is received before it, at both ends."""
    client, bot = memory_transport_pair()
    await client.send_message("one")
    await bot.send_message("two")
    await client.aclose(1001, "going")
    end = LinkEnd(code=1001, text="going", first="client")
    assert (["one"], end) == (await receive_all(bot), bot.end)
    assert (["two"], end) == (await receive_all(client), client.end)


async def test_bot_may_say_goodbye_first():
    """The end says which side was first."""
    client, bot = memory_transport_pair()
    assert client.end is None
    await bot.aclose()
    assert LinkEnd(code=1000, first="bot") == client.end


async def test_goodbye_wakes_a_reader():
    """A reader that waits is told when either end says goodbye."""
    client, bot = memory_transport_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive_all, client)
        nursery.start_soon(receive_all, bot)
        await wait_all_tasks_blocked()
        await client.aclose()


async def test_goodbye_may_be_said_again():
    """Closing often, from either end, changes nothing and is a checkpoint each time."""
    client, bot = memory_transport_pair()
    await client.aclose()
    for link in (client, client, bot):
        with assert_checkpoints():
            await link.aclose(1011)
    assert (1000, 1000) == (client.end.code, bot.end.code)


async def test_goodbye_waits_for_the_answer(autojump_clock):
    """An end that does not answer keeps the other waiting, until that is cancelled."""
    client, bot = memory_transport_pair()
    bot.freeze()
    with trio.move_on_after(3) as deadline:
        await client.aclose()
    assert deadline.cancelled_caught
    assert 3 == trio.current_time()
    assert LinkEnd(code=1000, first="client") == client.end
    assert LinkEnd(code=1006, first="network") == bot.end


async def test_goodbye_in_a_cancelled_scope_closes_all_the_same():
    """Whoever is cancelled already closes without the wait."""
    client, bot = memory_transport_pair()
    with trio.CancelScope() as scope:
        scope.cancel()
        await client.aclose()
    assert scope.cancelled_caught
    assert LinkEnd(code=1000, first="client") == client.end == bot.end


async def test_nothing_is_sent_after_the_end():
    """Sending on a link that has ended is an error at both ends."""
    client, bot = memory_transport_pair()
    await client.aclose()
    for link in (client, bot):
        with pytest.raises(trio.BrokenResourceError, match="1000"):
            await link.send_message("too late")


async def test_waiting_sender_is_told_of_the_end():
    """A sender that waits for a reader learns that there will be none."""
    client, bot = memory_transport_pair()
    await fill(client)

    async def send():
        with pytest.raises(trio.BrokenResourceError):
            await client.send_message("never")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        await bot.aclose()


# -- breaking ----------------------------------------------------------------------------


async def test_vanishing_breaks_both_ends():
    """An end that vanishes leaves what it had sent, and a broken link."""
    client, bot = memory_transport_pair()
    await bot.send_message("last words")
    bot.vanish()
    end = LinkEnd(code=1006, first="network", detail="the other end is gone")
    assert (["last words"], end) == (await receive_all(client), client.end)
    assert end == bot.end


async def test_aborting_says_why():
    """Aborting is a checkpoint, breaks both ends, and gives the reason."""
    client, bot = memory_transport_pair()
    with assert_checkpoints():
        await client.abort("no answer")
    assert LinkEnd(code=1006, first="network", detail="no answer") == client.end == bot.end


async def test_vanishing_ends_a_goodbye():
    """Whoever waits for the answer to a goodbye is told that none will come."""
    client, bot = memory_transport_pair()
    bot.freeze()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.aclose)
        await wait_all_tasks_blocked()
        bot.vanish()
    assert (1000, 1006) == (client.end.code, bot.end.code)


async def test_repr_says_where_it_is():
    """An end shows its side, its state and what is unread."""
    client, bot = memory_transport_pair()
    await bot.send_message("hi")
    assert "<MemoryTransport of the client, open, 1 unread>" == repr(client)
    await bot.aclose()
    assert "<MemoryTransport of the bot, ended with 1000, 0 unread>" == repr(bot)


# -- what WebRTC has as well -------------------------------------------------------------


async def test_pictures_arrive(mock_clock):
    """With the time at which they were sent."""
    client, bot = memory_transport_pair()
    mock_clock.jump(5)
    frame = VideoFrame(data=bytes(6), width=2, height=2, time=1.5, source="screen")
    with assert_checkpoints():
        await client.send_video(frame)
    received = await bot.receive()
    assert frame == received
    assert (None, trio.current_time()) == (frame.at, received.at)


async def test_what_is_said_of_tracks_is_kept():
    """At the other end, in order."""
    client, bot = memory_transport_pair()
    with assert_checkpoints():
        await client.announce_track("camera", enabled=True)
    await client.announce_track("camera", enabled=False)
    assert [("camera", True), ("camera", False)] == bot.announced
    assert [] == client.announced


async def test_restarting_loses_what_was_on_its_way():
    """And makes room for who was waiting."""
    client, bot = memory_transport_pair()
    await fill(client)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_message, "later")
        await wait_all_tasks_blocked()
        with assert_checkpoints():
            await client.restart()
    assert (1, "later") == (bot.restarts, await bot.receive())


async def test_restarting_with_a_frozen_end_takes_for_ever(autojump_clock):
    """Cancelling it changes nothing; a link that ends meanwhile is told of."""
    client, bot = memory_transport_pair()
    bot.freeze()
    with trio.move_on_after(100) as waited:
        await client.restart()
    assert (True, 0) == (waited.cancelled_caught, bot.restarts)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_broken, client.restart)
        await wait_all_tasks_blocked()
        bot.vanish()


async def expect_broken(call):
    """Call something that finds the link broken."""
    with pytest.raises(trio.BrokenResourceError):
        await call()
