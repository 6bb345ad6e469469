"""The shared cases, on the simulated bot: in memory, on a socket, and over WebRTC."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio
from cases import CASES, BotUnderTest, Case, Seen

import trio_pipecat as tp
from trio_pipecat.testing import Conversation, ServedBot, SimulatedBot, Voice, serve_bot

QUICK = Voice(word_seconds=0.08)


class _SimulatedBotUnderTest(BotUnderTest):
    """What both ways to a simulated bot share: what it saw, it can be asked."""

    def __init__(self) -> None:
        self.bot = SimulatedBot(voice=QUICK)
        self._numbers: dict[str, int] = {}

    def conversation(self, case: str) -> Conversation:
        return self.bot.conversations[self._numbers[case]]

    def count(self, case: str) -> None:
        self._numbers[case] = len(self.bot.conversations)

    def echo(self, case: str, **keywords: Any) -> AbstractAsyncContextManager[tp.Session]:
        self.bot.echo_audio = True
        return self.open(case, **keywords)

    def never_ready(self, case: str, **keywords: Any) -> AbstractAsyncContextManager[tp.Session]:
        self.bot.ready_delay = 1e9
        return self.open(case, **keywords)

    async def seen(self, case: str) -> Seen:
        with trio.fail_after(5):
            while (end := self.conversation(case).end) is None:
                await trio.sleep(0.01)
        return Seen(end.code, [command.TYPE for _, command in self.conversation(case).received])


class InMemory(_SimulatedBotUnderTest):
    """The simulated bot, over the memory transport."""

    def open(self, case: str, **keywords: Any) -> AbstractAsyncContextManager[tp.Session]:
        self.count(case)
        return tp.open_session(transport=self.bot.connect, **keywords)

    @asynccontextmanager
    async def refused(self, **keywords: Any) -> AsyncGenerator[tp.Session, None]:
        async with serve_bot(self.bot) as served:
            url = served.start_url.replace("/start", "/nowhere")
            async with tp.open_session(url, **keywords) as session:
                yield session


class OnASocket(_SimulatedBotUnderTest):
    """The simulated bot, on a real port."""

    def __init__(self, served: ServedBot) -> None:
        super().__init__()
        self.served = served
        self.bot = served.bot

    def open(self, case: str, **keywords: Any) -> AbstractAsyncContextManager[tp.Session]:
        self.count(case)
        return tp.open_session(endpoint=self.served.start_url, **keywords)

    def refused(self, **keywords: Any) -> AbstractAsyncContextManager[tp.Session]:
        url = self.served.start_url.replace("/start", "/nowhere")
        return tp.open_session(endpoint=url, **keywords)


class OverWebRtc(OnASocket):
    """The simulated bot, on a real port, by a peer connection on loopback."""

    wire = "webrtc"

    def open(self, case: str, **keywords: Any) -> AbstractAsyncContextManager[tp.Session]:
        self.count(case)
        return tp.open_session(self.served.start_url, transport="webrtc", **keywords)


def _name(case: Case) -> str:
    return case.__name__


@pytest.mark.parametrize("case", CASES, ids=_name)
async def test_in_memory(case: Case) -> None:
    """Every case holds for the simulated bot in memory."""
    await case(InMemory())


@pytest.mark.socket
@pytest.mark.parametrize("case", CASES, ids=_name)
async def test_on_a_socket(case: Case) -> None:
    """Every case holds for the simulated bot on a port."""
    async with serve_bot(SimulatedBot(voice=QUICK)) as served:
        await case(OnASocket(served))


@pytest.mark.socket
@pytest.mark.parametrize("case", CASES, ids=_name)
async def test_over_webrtc(case: Case) -> None:
    """Every case holds for the simulated bot over WebRTC."""
    async with serve_bot(SimulatedBot(voice=QUICK), webrtc=True) as served:
        await case(OverWebRtc(served))
