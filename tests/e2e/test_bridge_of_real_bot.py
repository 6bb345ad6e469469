"""A real bot and a simulated one talk to each other."""

from array import array

import pytest
import trio
from cases import name
from real_bot import RealBot

import trio_pipecat as tp
from trio_pipecat.audio import AudioChunk
from trio_pipecat.testing import SimulatedBot, Voice
from trio_pipecat.testing._conversation import Conversation

pytestmark = pytest.mark.e2e

RATE = 16_000
TEXT = "Good morning, dear real bot, do you hear me?"
VOICE = Voice(sample_rate=RATE)


def sounding(pcm: bytes) -> list[int]:
    """Return the samples that are not silent."""
    return [sample for sample in array("h", pcm) if sample]


async def test_a_real_bot_sends_back_what_a_simulated_one_says(real_bot: RealBot) -> None:
    """Sample by sample, through both sessions and the real bot; and both are told a goodbye."""
    spoken = sounding(VOICE.word()) * len(TEXT.split())
    heard: list[int] = []
    all_of_it = trio.Event()

    async def listen(conversation: Conversation) -> None:
        with conversation.listening(AudioChunk) as ear:
            async for chunk in ear:
                heard.extend(sounding(chunk.pcm))
                if len(heard) >= len(spoken):
                    all_of_it.set()

    bot = SimulatedBot([listen], greeting=TEXT, echo_audio=False, voice=VOICE)
    case = name()
    report = tp.BridgeReport()
    async with (
        tp.open_session(ws_url=real_bot.ws_url(case=case, echo=1, out_rate=RATE)) as real,
        tp.open_session(transport=bot.connect) as simulated,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(lambda: tp.bridge(real, simulated, report=report))
        with trio.fail_after(40):
            await all_of_it.wait()
        nursery.cancel_scope.cancel()
    assert spoken == heard
    assert 1000 == (await real_bot.seen(case))["close_code"]
    assert len(spoken) / RATE <= report.b.sent.seconds
    assert TEXT == report.b.turns[0].bot_text
    # The real bot's user was the simulated bot, and was heard to speak before its echo.
    (turn, *_) = report.a.turns
    assert turn.user_started is not None and turn.bot_started is not None
    assert turn.user_started < turn.bot_started
