"""A bot's end of WebRTC, as a link: sound from the first word on, and none that is stale."""

import pytest
import trio

pytest.importorskip("aiortc", reason='type: pip install "trio-pipecat[webrtc]"')

import trio_pipecat as tp
from trio_pipecat.testing import SimulatedBot, serve_bot
from trio_pipecat.testing._webrtc_bot import WebRtcBotTransport

pytestmark = pytest.mark.socket


async def test_an_interruption_forgets_what_was_not_heard() -> None:
    """There is no signal for it on this wire; the message has to do."""
    async with (
        serve_bot(SimulatedBot(think_seconds=0.3), webrtc=True) as bot,
        tp.open_session(bot.webrtc_url) as session,
    ):
        await session.wait_ready()
        with session.subscribe(tp.BotInterrupted) as interruptions:
            await session.send_text("one two three four five six")
            await interruptions.receive()
            await session.wait_event(tp.BotStartedSpeaking)
            await session.send_text("stop")
            await interruptions.receive()
        link = bot.bot.conversations[0].link
        assert isinstance(link, WebRtcBotTransport)
        await trio.sleep(0.05)
        assert link._sound.depth <= 0.08


async def test_nothing_is_heard_of_a_bot_that_has_said_nothing() -> None:
    """Its pipeline might not run yet; from its first word on, silence comes, too."""
    async with serve_bot(SimulatedBot(ready_delay=0.3), webrtc=True) as bot:
        async with tp.open_session(bot.webrtc_url) as session:
            await session.wait_for(tp.State.CONNECTED)
            with trio.move_on_after(0.2) as silence:
                await session.audio.receive()
            assert silence.cancelled_caught
            await session.wait_ready()
            with trio.fail_after(5):
                chunk = await session.audio.receive()
    assert chunk.peak < 0.001


async def test_it_is_told_what_the_user_sends() -> None:
    """When the connection opens, and whenever that changes; of tracks that it knows."""
    async with serve_bot(SimulatedBot(), webrtc=True) as bot:
        async with tp.open_session(bot.webrtc_url) as session:
            await session.wait_ready()
            link = bot.bot.conversations[0].link
            assert isinstance(link, WebRtcBotTransport)
            assert {"microphone": True, "camera": False, "screen": False} == link.tracks
            for place in (7, "0", None):
                link._note_signal({"type": "trackStatus", "receiver_index": place, "enabled": True})
            link._note_signal({"type": "what"})
            assert {"microphone": True, "camera": False, "screen": False} == link.tracks


async def test_one_that_nobody_has_offered_to() -> None:
    """Has nothing to wait for, and nothing to ask."""
    from trio_pipecat.transports import LinkOptions
    from trio_pipecat.transports._loop_thread import open_loop_thread

    async with open_loop_thread() as loop:
        link = WebRtcBotTransport(loop, LinkOptions())
        await link.wait_open()
        await link.add_candidate("", "0", 0)
        link.ask_to_renegotiate()
        assert not link.is_open
        await link.aclose()
