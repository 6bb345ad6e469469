"""Messages on their way to another thread: bounded, in order, whole."""

import threading

import pytest
import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from trio_pipecat.transports._texts_out import TextsOut

BIG = "é" * 100_000


async def test_in_order() -> None:
    """What was put first is taken first, bytes too."""
    texts = TextsOut()
    assert not texts
    texts.put("one")
    texts.put(b"two")
    assert texts
    assert 6 == texts.unsent
    assert ["one", b"two"] == [texts.take(), texts.take()]
    assert (0, False) == (texts.unsent, bool(texts))


async def test_room_is_a_checkpoint() -> None:
    """Whether there is any or not."""
    with assert_checkpoints():
        await TextsOut().wait_room()


async def test_a_sender_waits_until_another_thread_takes() -> None:
    """Sizes are counted in bytes."""
    texts, passed = TextsOut(), []

    async def send() -> None:
        await texts.wait_room()
        passed.append(texts.unsent)

    texts.put(BIG)
    texts.put(BIG)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        assert [] == passed
        thread = threading.Thread(target=texts.take)
        thread.start()
        thread.join()
    assert [200_000] == passed


async def test_the_end_wakes_who_waits() -> None:
    """And whoever comes later is told at once."""
    texts, told = TextsOut(), []

    async def send() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await texts.wait_room()
        told.append(True)

    texts.put(BIG * 2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        texts.finish()
    await send()
    assert [True, True] == told
