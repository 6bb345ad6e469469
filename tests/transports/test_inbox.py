"""What another thread puts, trio takes: messages first and all, sound and pictures bounded."""

import threading
import time

import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from trio_pipecat.audio import AudioChunk
from trio_pipecat.transports import Incoming, LinkEnd, Undecodable
from trio_pipecat.transports._inbox import MAX_CHARACTERS, MAX_MESSAGES, Inbox
from trio_pipecat.video import VideoFrame

END = LinkEnd(code=1000, first="bot")
PICTURE = VideoFrame(data=bytes(6), width=2, height=2)


def taken(inbox: Inbox) -> list[Incoming]:
    items: list[Incoming] = []
    while (item := inbox.take()) is not None:
        items.append(item)
    return items


async def test_messages_go_first() -> None:
    """In order among themselves; on this wire they have none with sound, of which most comes."""
    inbox = Inbox()
    inbox.put_sound(b"\1\2", 24_000)
    inbox.put_picture(PICTURE)
    inbox.put_message("one")
    inbox.put_message(Undecodable("two"))
    assert ["one", Undecodable("two"), PICTURE, AudioChunk(b"\1\2", 24_000)] == taken(inbox)
    assert [] == taken(inbox)


async def test_waiting_is_a_checkpoint() -> None:
    """Whether there is anything or not."""
    inbox = Inbox()
    inbox.put_message("it")
    with assert_checkpoints():
        await inbox.wait()


async def test_another_thread_wakes_who_waits() -> None:
    """Once, however much it puts."""
    inbox, got = Inbox(), []

    async def receive() -> None:
        while len(got) < 1000:
            await inbox.wait()
            got.extend(taken(inbox))

    def put() -> None:
        for number in range(1000):
            inbox.put_message(str(number))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        thread = threading.Thread(target=put)
        thread.start()
    thread.join()
    assert [str(number) for number in range(1000)] == got


async def test_a_wait_that_is_cancelled_loses_nothing() -> None:
    """It has taken nothing."""
    inbox = Inbox()
    with trio.CancelScope() as scope:
        scope.cancel()
        inbox.put_message("it")
        await inbox.wait()
    assert ["it"] == taken(inbox)


async def test_messages_never_drop() -> None:
    """One too many is refused, and whoever put it has to end the link."""
    inbox = Inbox()
    assert all(inbox.put_message("x") for _ in range(MAX_MESSAGES))
    assert not inbox.put_message("one too many")
    assert MAX_MESSAGES == len(taken(inbox))


async def test_nor_do_they_fill_the_memory() -> None:
    """So much unread, and the next one is refused; when some was read there is room again."""
    inbox, big = Inbox(), "x" * 2**20
    count = 0
    while inbox.put_message(big):
        count += 1
    assert MAX_CHARACTERS // 2**20 + 1 == count
    inbox.take()
    assert inbox.put_message(big)


async def test_the_oldest_sound_goes() -> None:
    """And is counted: ten seconds of it are kept."""
    inbox = Inbox()
    for number in range(510):
        inbox.put_sound(number.to_bytes(2, "little"), 24_000)
    assert 10 == inbox.dropped_sounds
    first = inbox.take()
    assert isinstance(first, AudioChunk)
    assert (10).to_bytes(2, "little") == first.pcm


async def test_the_oldest_picture_goes() -> None:
    """And is counted."""
    inbox = Inbox()
    for _ in range(6):
        inbox.put_picture(PICTURE)
    assert 2 == inbox.dropped_pictures
    assert 4 == len(taken(inbox))


async def test_sound_says_when_it_came() -> None:
    """Not when it was taken: trio may have been busy."""
    inbox = Inbox()
    began = trio.current_time()
    inbox.put_sound(b"\1\2", 24_000)
    inbox.put_picture(PICTURE)
    put = trio.current_time()
    time.sleep(0.02)  # noqa: ASYNC251  # trio is busy
    for item in taken(inbox):
        assert isinstance(item, AudioChunk | VideoFrame)
        assert item.at is not None
        assert began <= item.at <= put + 0.001


async def test_the_first_end_counts() -> None:
    """What comes after it is not taken in."""
    inbox = Inbox()
    inbox.put_message("before")
    inbox.finish(END)
    inbox.finish(LinkEnd(code=1006, first="network"))
    assert inbox.put_message("after")
    inbox.put_sound(b"\1\2", 24_000)
    inbox.put_picture(PICTURE)
    assert END == inbox.end
    assert ["before"] == taken(inbox)
    await inbox.wait()


async def test_an_end_may_be_held_back() -> None:
    """While a goodbye is said, who waits goes on waiting."""
    inbox, over = Inbox(), trio.Event()

    async def receive() -> None:
        while not inbox.is_over:
            await inbox.wait()
        over.set()

    inbox.holds_end = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        inbox.finish(END)
        await wait_all_tasks_blocked()
        assert not over.is_set()
        inbox.holds_end = False
        inbox.awake()
    assert over.is_set()


def test_nobody_is_woken_in_a_run_that_is_over() -> None:
    """The other thread may be late."""
    kept: list[Inbox] = []

    async def main() -> None:
        inbox = Inbox()
        kept.append(inbox)
        with trio.move_on_after(0):
            await inbox.wait()

    trio.run(main)
    assert kept[0].put_message("too late")
    kept[0].finish(END)
