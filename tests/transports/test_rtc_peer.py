"""A peer connection, both ends of it, without a link or a session around it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

pytest.importorskip("aiortc", reason='type: pip install "trio-pipecat[webrtc]"')

from trio_pipecat._errors import ProtocolError, TransportStartError
from trio_pipecat.audio import AudioChunk
from trio_pipecat.transports._inbox import Inbox
from trio_pipecat.transports._loop_thread import LoopThread, open_loop_thread
from trio_pipecat.transports._rtc_peer import Peer, PeerQueues, PeerSettings
from trio_pipecat.transports._sound_out import SoundOut
from trio_pipecat.transports._texts_out import TextsOut

pytestmark = pytest.mark.socket


@attrs.define
class End:
    """A peer with its queues, and what it has signalled."""

    loop: LoopThread
    peer: Peer
    queues: PeerQueues
    signals: list[dict[str, Any]]

    async def run(self, function: Any, *arguments: Any) -> Any:
        return await self.loop.run(function, *arguments, owner=self.peer.owner)

    def send(self, text: str) -> None:
        self.queues.texts.put(text)
        self.loop.call_soon(self.peer.flush)

    async def receive(self) -> Any:
        with trio.fail_after(10):
            while (item := self.queues.inbox.take()) is None:
                await self.queues.inbox.wait()
        return item

    async def until_ended(self) -> Any:
        with trio.fail_after(10):
            while self.queues.inbox.end is None:
                await trio.sleep(0.01)
        return self.queues.inbox.end


def make_end(loop: LoopThread, side: Any, **settings: Any) -> End:
    signals: list[dict[str, Any]] = []
    queues = PeerQueues(
        inbox=Inbox(),
        texts=TextsOut(),
        sound=SoundOut(),
        wants_video=lambda: False,
        on_signal=signals.append,
        on_end=bool,
    )
    return End(loop, Peer(PeerSettings(side=side, **settings), queues), queues, signals)


@asynccontextmanager
async def ends(**settings: Any) -> AsyncGenerator[tuple[End, End], None]:
    """Both ends, not yet joined."""
    async with open_loop_thread() as loop:
        client, bot = make_end(loop, "client", **settings), make_end(loop, "bot", **settings)
        try:
            yield client, bot
        finally:
            for end in (client, bot):
                await end.run(end.peer.close)


async def join(client: End, bot: End) -> None:
    offer = await client.run(_offer, client.peer)
    await client.run(client.peer.take_answer, await bot.run(bot.peer.make_answer, offer))
    for end in (client, bot):
        with trio.fail_after(10):
            await end.run(end.peer.wait_open)
        await end.run(end.peer.count, True)


async def _offer(peer: Peer) -> str:
    return await peer.make_offer()


async def test_both_ends_are_joined() -> None:
    """ICE, encryption and data channel, in this order; then messages go both ways."""
    async with ends() as (client, bot):
        assert "<Peer of the client: new>" == repr(client.peer)
        await join(client, bot)
        await client.run(client.peer.wait_ice)
        await client.run(client.peer.wait_connected)
        client.send("to the bot")
        bot.send("to the client")
        for end, text in ((bot, "to the bot"), (client, "to the client")):
            while not isinstance(item := await end.receive(), str):
                pass  # sound is silence, and comes all the time
            assert text == item
        assert "<Peer of the client: connected>" == repr(client.peer)
    assert "<Peer of the client: closed>" == repr(client.peer)


async def test_the_order_of_the_media_is_the_contract() -> None:
    """Microphone, camera, screen, data; the screen is only sent."""
    async with ends() as (client, _):
        sdp = await client.run(_offer, client.peer)
    sections = [part.splitlines() for part in sdp.split("m=")[1:]]
    assert ["audio", "video", "video", "application"] == [s[0].split()[0] for s in sections]
    directions = ["sendrecv", "sendrecv", "sendonly"]
    assert directions == [
        next(line[2:] for line in section if line[2:] in directions) for section in sections[:3]
    ]
    assert "a=group:BUNDLE 0 1 2 3" in sdp


async def test_candidates_that_follow_are_those_of_the_offer() -> None:
    """Once they are gathered."""
    async with ends() as (client, bot):

        async def offer_at_once() -> str:
            return await client.peer.make_offer(gather=False)

        offer = await client.run(offer_at_once)
        assert "a=candidate" not in offer
        found = await client.run(client.peer.local_candidates)
        assert found
        assert {("0", 0)} == {(mid, index) for _, mid, index in found}
        answer = await bot.run(bot.peer.make_answer, offer)
        await client.run(client.peer.take_answer, answer)
        for candidate, mid, index in [*found, ("", "0", 0)]:
            await bot.run(bot.peer.add_candidate, candidate, mid, index)
        with trio.fail_after(10):
            await client.run(client.peer.wait_open)


async def test_before_the_offer_there_are_no_candidates() -> None:
    """None at all."""
    async with ends() as (client, _):
        assert [] == await client.run(client.peer.local_candidates)


@pytest.mark.parametrize("sdp", ["", "garbage", "v=0\r\nm=audio 9 X 0\r\n", "v=0\r\n" * 5])
async def test_what_is_no_answer(sdp: str) -> None:
    """Is refused by name."""
    async with ends() as (client, _):
        await client.run(_offer, client.peer)
        with pytest.raises(TransportStartError, match="does not fit our offer"):
            await client.run(client.peer.take_answer, sdp)


@pytest.mark.parametrize("sdp", ["", "garbage", "v=0\r\nm=audio 9 X 0\r\n"])
async def test_what_is_no_offer(sdp: str) -> None:
    """Likewise."""
    async with ends() as (_, bot):
        with pytest.raises(ProtocolError, match="no offer"):
            await bot.run(bot.peer.make_answer, sdp)


async def test_what_is_no_candidate() -> None:
    """Likewise."""
    async with ends() as (client, bot):
        await join(client, bot)
        with pytest.raises(ProtocolError, match="no candidate"):
            await bot.run(bot.peer.add_candidate, "candidate:what", "0", 0)


async def test_a_client_that_leaves_has_said_goodbye() -> None:
    """Whatever it does: browsers have no word for it."""
    for how in ("say_goodbye", "close"):
        async with ends() as (client, bot):
            await join(client, bot)
            await client.run(getattr(client.peer, how))
            end = await bot.until_ended()
            assert (1000, "client") == (end.code, end.first)


async def test_a_bot_that_leaves_says_so() -> None:
    """One that closes without saying so is lost."""
    async with ends() as (client, bot):
        await join(client, bot)
        await bot.run(bot.peer.say_goodbye)
        end = await client.until_ended()
        assert (1000, "bot", "") == (end.code, end.first, end.detail)
    async with ends() as (client, bot):
        await join(client, bot)
        await bot.run(bot.peer.close)
        end = await client.until_ended()
        assert (1006, "bot") == (end.code, end.first)


async def test_one_that_vanishes_is_found_out_by_both() -> None:
    """When nothing has come for as long as was said."""
    for goes in (0, 1):
        async with ends(silence_timeout=1.0) as both:
            await join(*both)
            gone, other = both[goes], both[1 - goes]
            await gone.run(gone.peer.vanish)
            end = await other.until_ended()
            assert (1006, "network") == (end.code, end.first)
            assert "for 1 s" in end.detail


async def test_a_bot_waits_for_a_client_that_has_not_pinged() -> None:
    """Without a promise, silence is no sign."""
    async with ends(silence_timeout=1.0) as (client, bot):
        await join(client, bot)
        bot.peer._was_pinged = False
        await client.run(client.peer.vanish)
        bot.peer._was_pinged = False
        await trio.sleep(2)
        assert None is bot.queues.inbox.end


async def test_a_message_goes_after_a_ping_if_the_last_is_old() -> None:
    """As when this process was stopped: the bot's server would put it away."""
    async with ends(ping_interval=60) as (client, bot):
        await join(client, bot)
        heard: list[str] = []
        hear = bot.peer._hear
        bot.peer._channel.listeners("message")  # type: ignore[union-attr]

        def overhear(data: str) -> None:
            heard.append(data.partition(":")[0])
            hear(data)

        bot.peer._channel.on("message", overhear)  # type: ignore[union-attr]
        for age in (0.0, 10.0):
            client.peer._last_ping -= age
            client.send("it")
            for _ in range(2):  # heard twice, by two who listen; sound may come in between
                while (item := await bot.receive()) != "it":
                    assert isinstance(item, AudioChunk)
    assert ["it", "ping", "it"] == heard


async def test_one_that_does_not_count_tells_nobody() -> None:
    """Its messages, its sound, its end; until it counts again."""
    async with ends() as (client, bot):
        await join(client, bot)
        await client.run(client.peer.count, False)
        bot.send("to nobody")
        await bot.run(bot.peer.say_goodbye)
        await trio.sleep(0.1)
        inbox = client.queues.inbox
        items = []
        while (item := inbox.take()) is not None:
            items.append(item)
        assert [] == [item for item in items if isinstance(item, str)]
        assert None is inbox.end
        await client.run(client.peer.count, True)
        assert inbox.end is not None


async def test_signals_are_no_messages() -> None:
    """They have no label; a message that only mentions them is one."""
    async with ends() as (client, bot):
        await join(client, bot)
        bot.send('{"type":"signalling","message":{"type":"renegotiate"}}')
        bot.send('{"label":"rtvi-ai","type":"signalling","message":{"type":"renegotiate"}}')
        bot.send('{"label":"rtvi-ai","type":"x","data":"signalling"}')
        while not isinstance(first := await client.receive(), str):
            pass
        assert first.startswith('{"label":"rtvi-ai","type":"signalling"')
        assert [{"type": "renegotiate"}] == client.signals


async def test_closing_what_was_never_opened() -> None:
    """Is nothing."""
    async with ends() as (client, bot):
        await client.run(client.peer.say_goodbye)
        await client.run(client.peer.vanish)
        await bot.run(bot.peer.close)
        client.send("never")
        await client.run(client.peer.wait_open) if client.peer.end else None
    assert None is client.peer.end
