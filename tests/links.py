"""Links as a session opens them, and what tests do with one."""

from contextlib import AbstractAsyncContextManager
from typing import Any

import trio

from trio_pipecat import ConnectParams
from trio_pipecat.transports import Incoming, LinkOptions, Transport
from trio_pipecat.transports._websocket import open_websocket


def connect(
    url: str | None, *, token: str | None = None, body: str | None = None, **options: Any
) -> AbstractAsyncContextManager[Any]:
    """Open a link as a session does."""
    params = ConnectParams(transport="websocket", ws_url=url, token=token, body=body)
    return open_websocket(params, LinkOptions(**options))


async def receive_all(link: Transport) -> list[Incoming]:
    """Return what a link gives up to its end."""
    items = []
    while True:
        try:
            items.append(await link.receive())
        except trio.EndOfChannel:
            return items


def chain_of(error: BaseException | None) -> list[BaseException]:
    """Return an exception with everything it comes from."""
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
