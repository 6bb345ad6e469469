"""Another connection for the same session."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from scripted import ScriptedBot, scripted
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_pipecat as tp
from trio_pipecat.testing import serve_bot, virtual_network
from trio_pipecat.transports import LinkOptions, Transport


class Stage:
    """A bot that becomes ready, and then what `again` says each time it is asked."""

    def __init__(self, again: Callable[[ScriptedBot, str], Awaitable[None]] | None = None) -> None:
        self.bot: ScriptedBot
        self._again = again or self.answer
        self.connect = scripted(self._play)

    async def _play(self, bot: ScriptedBot) -> None:
        self.bot = bot
        await bot.become_ready()
        try:
            while True:
                id_, command = await bot.hear()
                if isinstance(command, tp.ClientReady):
                    await self._again(bot, id_)
        except trio.EndOfChannel:
            pass

    @staticmethod
    async def answer(bot: ScriptedBot, id_: str) -> None:
        await bot.say(tp.BotReady(id=id_, version="2.1.0"))


async def silent(bot: ScriptedBot, id_: str) -> None:
    """Say nothing."""
    await trio.lowlevel.checkpoint()


async def test_the_session_goes_on(autojump_clock: MockClock) -> None:
    """Ready all the time; what the bot says now is what counts, and there is an event."""
    stage = Stage()
    async with tp.open_session(transport=stage.connect) as session:
        await session.wait_ready()
        with session.subscribe(tp.BotReady, tp.ConnectionRestarted) as events:
            bot = await session.restart_connection()
            assert [bot, tp.ConnectionRestarted(bot=bot)] == [
                await events.receive(),
                await events.receive(),
            ]
        assert ("2.1.0", "2.1.0") == (bot.version, session.protocol.bot)
        assert bot is session.bot
        assert 1 == stage.bot.link.restarts
        await session.send_text("hello")
    states = [state for state, _ in session.history]
    assert 1 == states.count(tp.State.READY)
    assert "client" == session.end.reason


async def test_the_simulated_bot_greets_again(autojump_clock: MockClock) -> None:
    """As Pipecat's do."""
    async with tp.open_session("sim:") as session:
        first = await session.wait_ready()
        await trio.sleep(5)
        again = await session.restart_connection()
        assert again.id != first.id
        assert {"pong": 1} == await session.request("ping", 1)


async def test_the_bot_is_told_again_what_is_off(autojump_clock: MockClock) -> None:
    """A new connection knows nothing of the old one's."""
    stage = Stage()
    async with tp.open_session(transport=stage.connect) as session:
        await session.wait_ready()
        await session.mute()
        await session.restart_connection()
        await session.unmute()
    assert [False, False, True] == [enabled for _, enabled in stage.bot.link.announced]


async def test_a_websocket_cannot(autojump_clock: MockClock) -> None:
    """`UnsupportedFeatureError`, and nothing has changed."""
    with virtual_network():
        async with serve_bot() as served, tp.open_session(served.ws_url) as session:
            first = await session.wait_ready()
            with pytest.raises(tp.UnsupportedFeatureError, match="WebRTC"):
                await session.restart_connection()
            assert first is session.bot
            assert {"pong": 1} == await session.request("ping", 1)


async def test_only_one_at_a_time(autojump_clock: MockClock) -> None:
    """Then the next."""

    async def slowly(bot: ScriptedBot, id_: str) -> None:
        await trio.sleep(1)
        await Stage.answer(bot, id_)

    stage = Stage(slowly)
    async with tp.open_session(transport=stage.connect) as session:
        await session.wait_ready()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.restart_connection)
            await wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await session.restart_connection()
        await session.restart_connection()
    assert 2 == stage.bot.link.restarts


async def test_no_other_connection(autojump_clock: MockClock) -> None:
    """`TransportStartError` after `connect_timeout`; the session goes on as it was."""
    stage = Stage()
    async with tp.open_session(transport=stage.connect, connect_timeout=7) as session:
        first = await session.wait_ready()
        stage.bot.link._frozen = True
        with pytest.raises(tp.TransportStartError) as failed:
            await session.restart_connection()
        assert 7 == trio.current_time()
        assert ("restart", "there was no other after 7 s") == (
            failed.value.stage,
            failed.value.detail,
        )
        stage.bot.link._frozen = False
        assert first is session.bot
        await session.restart_connection()
    assert 1 == stage.bot.link.restarts


async def test_a_connection_that_is_refused(autojump_clock: MockClock) -> None:
    """What the transport says comes out."""
    async with tp.open_session(transport=Stage().connect) as session:
        await session.wait_ready()

        async def refuse() -> None:
            await trio.lowlevel.checkpoint()
            raise tp.TransportStartError("offer", "no such session", 404)

        session._driver._link.restart = refuse
        with pytest.raises(tp.TransportStartError, match="404"):
            await session.restart_connection()
        assert tp.State.READY is session.state


async def test_a_bot_that_is_not_ready_again(autojump_clock: MockClock) -> None:
    """`ReadyTimeoutError` after `ready_timeout`; should it come later, the event is told."""

    async def late(bot: ScriptedBot, id_: str) -> None:
        await trio.sleep(20)
        await bot.say(tp.BotReady(id="foreign", version="2.0.0"))
        await bot.say(tp.BotReady(id=id_, version="2.1.0"))

    async with tp.open_session(transport=Stage(late).connect, ready_timeout=9) as session:
        first = await session.wait_ready()
        with pytest.raises(tp.ReadyTimeoutError) as failed:
            await session.restart_connection()
        assert (9, tp.State.READY) == (trio.current_time(), failed.value.stage)
        assert first is session.bot
        restarted = await session.wait_event(tp.ConnectionRestarted)
        assert (20, session.bot) == (trio.current_time(), restarted.bot)


@pytest.mark.parametrize("frozen", [True, False])
async def test_cancelling(autojump_clock: MockClock, frozen: bool) -> None:
    """It goes on as it was, or on the other connection; and it can be done again."""
    stage = Stage(silent)
    async with tp.open_session(transport=stage.connect) as session:
        first = await session.wait_ready()
        stage.bot.link._frozen = frozen
        with trio.move_on_after(1) as waited:
            await session.restart_connection()
        assert waited.cancelled_caught
        assert 1 - frozen == stage.bot.link.restarts
        assert (tp.State.READY, first) == (session.state, session.bot)
        stage.bot.link._frozen = False
        stage._again = Stage.answer
        assert "2.1.0" == (await session.restart_connection()).version


@pytest.mark.parametrize("frozen", [True, False])
async def test_the_session_ends_meanwhile(autojump_clock: MockClock, frozen: bool) -> None:
    """Whoever waits is told how, in both stages."""
    stage = Stage(silent)

    async def break_it() -> None:
        await trio.sleep(2)
        stage.bot.link.vanish()

    async with trio.open_nursery() as nursery:
        async with tp.open_session(transport=stage.connect) as session:
            await session.wait_ready()
            stage.bot.link._frozen = frozen
            nursery.start_soon(break_it)
            with pytest.raises(tp.ConnectionLostError):
                await session.restart_connection()
    assert 2 == trio.current_time()


async def test_hanging_up_meanwhile(autojump_clock: MockClock) -> None:
    """A restart that hangs is over with the session, though its transport is not."""
    stage, told = Stage(), []

    async def restart(session: tp.Session) -> None:
        with pytest.raises(tp.SessionEndedError) as ended:
            await session.restart_connection()
        told.append(ended.value.end.reason)

    async with trio.open_nursery() as nursery:
        async with tp.open_session(transport=stage.connect) as session:
            await session.wait_ready()
            session._driver._link.restart = trio.sleep_forever
            nursery.start_soon(restart, session)
            await wait_all_tasks_blocked()
    assert (["client"], 0) == (told, trio.current_time())


async def test_a_wire_without_messages(autojump_clock: MockClock) -> None:
    """Its bot is ready when there is another connection; nothing is asked of it."""
    bots: list[ScriptedBot] = []

    async def sounds(bot: ScriptedBot) -> None:
        bots.append(bot)
        await bot.link.send_audio(tp.AudioChunk(bytes(2), 8_000))
        await bot.listen()

    @asynccontextmanager
    async def connect(
        params: tp.ConnectParams, options: LinkOptions
    ) -> AsyncGenerator[Transport, None]:
        async with scripted(sounds)(params, options) as link:
            link.speaks_rtvi = False  # type: ignore[misc]
            yield link

    async with tp.open_session(transport=connect) as session:
        await session.wait_ready()
        with session.subscribe(tp.ConnectionRestarted) as events:
            await session.restart_connection()
            assert isinstance(await events.receive(), tp.ConnectionRestarted)
    assert ([], 1) == (bots[0].commands, bots[0].link.restarts)
