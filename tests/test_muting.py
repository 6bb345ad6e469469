"""Muting: the user is silent, whatever there is to hear, and the bot is told."""

import pytest
import trio
from scripted import ScriptedBot, scripted
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_pipecat as tp
from trio_pipecat._tap import Tap
from trio_pipecat.testing import serve_bot, virtual_network

LOUD = b"\1\1"
OFF, ON = ("microphone", False), ("microphone", True)


class Stage:
    """A bot that listens, or does not yet."""

    def __init__(self, deaf_for: float = 0) -> None:
        self.bot: ScriptedBot
        self._deaf_for = deaf_for
        self.connect = scripted(self._listen)

    async def _listen(self, bot: ScriptedBot) -> None:
        self.bot = bot
        await bot.become_ready()
        await trio.sleep(self._deaf_for)
        await bot.listen()

    @property
    def heard(self) -> bytes:
        """What the bot has heard."""
        return b"".join(chunk.pcm for chunk in self.bot.sounds)


async def test_a_muted_user_is_silent(autojump_clock: MockClock) -> None:
    """For as long as what is said; and the bot is told, once."""
    stage = Stage()
    async with tp.open_session(transport=stage.connect) as session:
        await session.wait_ready()
        assert not session.muted
        await session.send_audio(LOUD * 100, sample_rate=8_000)
        await session.mute()
        await session.mute()
        assert session.muted
        await session.send_audio(LOUD * 100, sample_rate=8_000, num_channels=2)
        await session.unmute()
        await session.unmute()
        assert not session.muted
        await session.send_audio(LOUD * 100, sample_rate=8_000)
        await wait_all_tasks_blocked()
    assert LOUD * 100 + bytes(200) + LOUD * 100 == stage.heard
    assert [1, 2, 1] == [chunk.num_channels for chunk in stage.bot.sounds]
    assert [OFF, ON] == stage.bot.link.announced


async def test_a_stream_goes_on_in_silence(autojump_clock: MockClock) -> None:
    """On the same beat, from the moment of muting on."""
    stage = Stage()
    async with tp.open_session(transport=stage.connect) as session:
        await session.wait_ready()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.stream_audio, tp.AudioChunk(LOUD * 16_000, 16_000))
            await trio.sleep(0.29)
            await session.mute()
            await trio.sleep(0.4)
            await session.unmute()
        await wait_all_tasks_blocked()
    frames = [LOUD in chunk.pcm for chunk in stage.bot.sounds][:50]
    assert [True] * 15 + [False] * 20 + [True] * 15 == frames
    assert {640} == {len(chunk.pcm) for chunk in stage.bot.sounds}


async def test_who_records_hears_what_is_sent(autojump_clock: MockClock) -> None:
    """A tap is told of the silence."""
    taped: list[bytes] = []

    class Tape(Tap):
        def sent(self, item: object, at: float) -> None:
            if isinstance(item, tp.AudioChunk):
                taped.append(item.pcm)

    async with tp.open_session(transport=Stage().connect) as session:
        session._driver.taps.append(Tape())
        await session.wait_ready()
        await session.mute()
        await session.send_audio(LOUD * 3, sample_rate=8_000)
    assert [bytes(6)] == taped


async def test_a_websocket_has_no_word_for_it(autojump_clock: MockClock) -> None:
    """Silence is all that the bot gets."""
    with virtual_network():
        async with serve_bot() as served, tp.open_session(served.ws_url) as session:
            await session.wait_ready()
            await session.mute()
            assert session.muted
            await session.send_audio(LOUD * 3, sample_rate=8_000)
            await session.unmute()
            assert {"pong": 1} == await session.request("ping", 1)


async def test_muting_that_is_cancelled_mutes(autojump_clock: MockClock) -> None:
    """Only the bot does not know, so that muting again tells it."""
    stage = Stage()
    async with tp.open_session(transport=stage.connect) as session:
        await session.wait_ready()
        link = session._driver._link
        announce = link.announce_track

        async def held_up(track: str, *, enabled: bool) -> None:
            await trio.sleep(5)
            await announce(track, enabled=enabled)

        link.announce_track = held_up
        with trio.move_on_after(1):
            await session.mute()
        assert session.muted
        await session.mute()
        with trio.move_on_after(1):
            await session.unmute()
        assert session.muted
        assert [OFF] == stage.bot.link.announced
        await session.unmute()
    assert not session.muted
    assert [OFF, ON] == stage.bot.link.announced


async def test_muting_on_a_link_that_breaks(autojump_clock: MockClock) -> None:
    """The session's own error is raised, as by every send."""
    stage = Stage()
    async with tp.open_session(transport=stage.connect) as session:
        await session.wait_ready()
        stage.bot.link.vanish()
        with pytest.raises(tp.ConnectionLostError):
            await session.mute()


async def test_muting_while_a_long_send_waits(autojump_clock: MockClock) -> None:
    """What of it was not handed over yet is silence."""
    stage = Stage(deaf_for=5)
    async with tp.open_session(transport=stage.connect) as session:
        await session.wait_ready()
        with trio.move_on_after(1):
            while True:
                await session.send_text("x")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: session.send_audio(LOUD * 65_536, sample_rate=16_000))
            await wait_all_tasks_blocked()
            await session.mute()
        await wait_all_tasks_blocked()
    assert LOUD * 32_768 + bytes(65_536) == stage.heard
