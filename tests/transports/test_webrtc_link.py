"""A link over a peer connection, whoever has offered: ending it, in every order."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

pytest.importorskip("aiortc", reason='type: pip install "trio-pipecat[webrtc]"')

from trio_pipecat.audio import AudioChunk
from trio_pipecat.testing._webrtc_bot import WebRtcBotTransport
from trio_pipecat.transports import LinkOptions
from trio_pipecat.transports._loop_thread import open_loop_thread
from trio_pipecat.transports._webrtc_link import WebRtcTransport
from trio_pipecat.video import VideoFrame

pytestmark = pytest.mark.socket
PICTURE = VideoFrame(data=bytes(6), width=2, height=2)


@asynccontextmanager
async def links() -> AsyncGenerator[tuple[WebRtcTransport, WebRtcBotTransport], None]:
    """A client's end that is opened by hand, and a bot's."""
    options = LinkOptions(ping_timeout=1.5)
    async with open_loop_thread() as loop:
        client, bot = WebRtcTransport("client", loop, options), WebRtcBotTransport(loop, options)
        try:
            peer = client._make_peer()
            sdp = await loop.run(_offer, peer, owner=peer.owner)
            await loop.run(peer.take_answer, await bot.answer(sdp), owner=peer.owner)
            with trio.fail_after(10):
                await loop.run(peer.wait_open, owner=peer.owner)
                await bot.wait_open()
            client._peer = peer
            await loop.run(peer.count, True)
            yield client, bot
        finally:
            for link in (client, bot):
                await link.aclose()


async def _offer(peer: object) -> str:
    return await peer.make_offer()  # type: ignore[attr-defined,no-any-return]


async def until_ended(link: WebRtcTransport) -> None:
    with trio.fail_after(10), pytest.raises(trio.EndOfChannel):
        while True:
            await link.receive()


async def test_one_that_was_never_opened() -> None:
    """Can be closed, and sent to until then; nobody hears it."""
    async with open_loop_thread() as loop:
        link = WebRtcTransport("client", loop, LinkOptions())
        assert "<WebRtcTransport of the client: open>" == repr(link)
        await link.send_message("x")
        await link.send_video(PICTURE)
        await link.announce_track("camera", enabled=True)
        await link.aclose(1001, "going")
        assert link.end is not None
        assert (1001, "going", "client") == (link.end.code, link.end.text, link.end.first)
        assert "1001" in repr(link)
        await until_ended(link)


async def test_after_the_end_nothing_can_be_sent() -> None:
    """Neither messages nor sound, pictures, words of tracks."""
    async with links() as (client, bot):
        await client.aclose()
        await until_ended(bot)
        for link in (client, bot):
            for send in (
                lambda: link.send_message("x"),  # noqa: B023
                lambda: link.send_bytes(b"x"),  # noqa: B023
                lambda: link.send_audio(AudioChunk(b"\0\0", 16_000)),  # noqa: B023
                lambda: link.send_video(PICTURE),  # noqa: B023
                lambda: link.announce_track("screen", enabled=True),  # noqa: B023
            ):
                with pytest.raises(trio.BrokenResourceError):
                    await send()


async def test_a_second_goodbye_waits_for_the_first() -> None:
    """And says nothing of its own."""
    async with links() as (client, bot), trio.open_nursery() as nursery:
        nursery.start_soon(client.aclose, 1000, "first")
        while client.end is None:  # noqa: ASYNC110  # one step, or two
            await trio.lowlevel.checkpoint()
        await client.aclose(1001, "second")
        assert client.end is not None
        assert "first" == client.end.text
        await until_ended(bot)


async def test_a_second_goodbye_that_is_cancelled_ends_the_first() -> None:
    """Which would wait for a bot that does not answer."""
    async with links() as (client, bot):
        bot.freeze()
        await trio.sleep(0.1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.aclose)
            await trio.sleep(0.05)
            with trio.move_on_after(0.1) as scope, trio.fail_after(5):
                await client.aclose()
            assert scope.cancelled_caught
        await until_ended(client)


async def test_giving_up_says_why() -> None:
    """To this side; the other has to find out."""
    async with links() as (client, bot):
        await client.abort("no more")
        await client.abort("again")
        assert client.end is not None
        assert (1006, "network", "no more") == (
            client.end.code,
            client.end.first,
            client.end.detail,
        )
        await until_ended(bot)
        assert bot.end is not None
        assert "network" == bot.end.first


async def test_what_this_program_was_too_busy_for_is_counted() -> None:
    """In seconds of sound."""
    async with links() as (client, _):
        assert 0 == client.dropped_seconds
        for _ in range(600):
            client._inbox.put_sound(bytes(960), 24_000)
        assert 2 <= client.dropped_seconds < 3
