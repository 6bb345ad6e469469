"""Iterating over whatever there is: what is at hand, what is awaited, and what may block."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterator
from typing import Any, Final, Protocol, final

import trio

#: What `Items.next` returns when there are no more.
END: Final = object()


class Items(Protocol):
    """Something to go through once."""

    async def next(self) -> object:
        """Return the next item, or `END`."""

    async def aclose(self) -> None:
        """Let go of what is behind it."""


@final
class ItemsAtHand:
    """Those of a sequence. `next` is no checkpoint."""

    def __init__(self, items: Iterator[Any]) -> None:
        self._items = items

    async def next(self) -> object:
        """Return the next item, or `END`."""
        return next(self._items, END)

    async def aclose(self) -> None:
        """Let go of what is behind it."""
        await trio.lowlevel.checkpoint()


@final
class AwaitedItems:
    """Those of an async iterable. An async generator is closed, as it has nobody else."""

    def __init__(self, items: AsyncIterable[Any]) -> None:
        self._items: AsyncIterator[Any] = aiter(items)

    async def next(self) -> object:
        """Return the next item, or `END`."""
        try:
            return await anext(self._items)
        except StopAsyncIteration:
            return END

    async def aclose(self) -> None:
        """Let go of what is behind it."""
        if isinstance(self._items, AsyncGenerator):
            await self._items.aclose()


@final
class ItemsInThread:
    """Those of an iterator that may block: each is asked for in a thread.

    A thread that blocks when `next` is cancelled is left to itself, and the iterator with it.
    """

    def __init__(self, items: Iterator[Any]) -> None:
        self._items = items
        # Not of trio's forty threads, which everybody else needs: these may be blocked for long.
        self._limiter = trio.CapacityLimiter(1)
        self._is_in_thread = False

    async def next(self) -> object:
        """Return the next item, or `END`."""
        self._is_in_thread = True
        item: object = await trio.to_thread.run_sync(
            next, self._items, END, abandon_on_cancel=True, limiter=self._limiter
        )
        self._is_in_thread = False
        return item

    async def aclose(self) -> None:
        """Let go of what is behind it."""
        if isinstance(self._items, Generator) and not self._is_in_thread:
            self._items.close()
        await trio.lowlevel.checkpoint()


@final
class ItemsReadAhead:
    """Those of others, of which one is kept: so the last is known to be the last at once."""

    def __init__(self, items: Items) -> None:
        self._items = items
        self._kept: object = None
        self._has_begun = False

    async def next(self) -> object:
        """Return the next item, or `END`."""
        if not self._has_begun:
            self._kept, self._has_begun = await self._items.next(), True
        item = self._kept
        if item is not END:
            self._kept = await self._items.next()
        return item

    async def aclose(self) -> None:
        """Let go of what is behind it."""
        await self._items.aclose()
