"""Our transport alone, without a session: what is sent and received are chunks and texts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import on_trio
from measuring import CLIENT_READY

from trio_pipecat import ConnectParams
from trio_pipecat.transports import LinkOptions, find_connector

#: The transport that is measured.
NAME = "websocket"

connect = find_connector(NAME)


@asynccontextmanager
async def open_peer(url: str) -> AsyncIterator[on_trio.Peer]:
    """Connect for the time of the block."""
    async with connect(ConnectParams(transport=NAME, ws_url=url), LinkOptions()) as link:
        become_ready = partial(link.send_message, CLIENT_READY)
        yield on_trio.Peer(link.receive, link.send_audio, link.send_audio_nowait, become_ready)


if __name__ == "__main__":
    on_trio.main(open_peer)
