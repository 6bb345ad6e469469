"""Going through what is at hand, awaited, or blocking."""

import threading
from collections.abc import AsyncIterator, Iterator

import pytest
import trio

from trio_pipecat.audio._items import (
    END,
    AwaitedItems,
    Items,
    ItemsAtHand,
    ItemsInThread,
    ItemsReadAhead,
)


async def awaited(*items: int) -> AsyncIterator[int]:
    """Yield items."""
    for item in items:
        await trio.lowlevel.checkpoint()
        yield item


@pytest.mark.parametrize(
    "make",
    [
        lambda *items: ItemsAtHand(iter(items)),
        lambda *items: AwaitedItems(awaited(*items)),
        lambda *items: ItemsInThread(iter(items)),
        lambda *items: ItemsReadAhead(ItemsAtHand(iter(items))),
    ],
)
async def test_all_come_in_order_and_then_the_end(make) -> None:
    """As often as it is asked for."""
    for given in ((), (1,), (1, 2, 3)):
        items: Items = make(*given)
        assert [*given, END, END] == [await items.next() for _ in range(len(given) + 2)]
        await items.aclose()


async def test_one_is_read_ahead() -> None:
    """No more."""
    taken = []

    def counted() -> Iterator[int]:
        for number in range(5):
            taken.append(number)
            yield number

    items = ItemsReadAhead(ItemsAtHand(counted()))
    assert [] == taken
    assert 0 == await items.next()
    assert [0, 1] == taken


async def test_generators_are_closed_unless_a_thread_is_in_them() -> None:
    """Which would raise."""
    go_on, closed = threading.Event(), []

    def blocking() -> Iterator[int]:
        try:
            yield 1
            go_on.wait()
            yield 2
        finally:
            closed.append(True)

    items = ItemsInThread(blocking())
    assert 1 == await items.next()
    await items.aclose()
    assert [True] == closed

    items = ItemsInThread(blocking())
    assert 1 == await items.next()
    try:
        with trio.move_on_after(0.01):
            await items.next()
        await items.aclose()
        assert [True] == closed
    finally:
        go_on.set()
