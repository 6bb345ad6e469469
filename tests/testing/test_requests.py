"""What a client may ask of a simulated bot. `tests/cases.py` asks it of the real one too."""

import pytest
import trio
from trio.testing import MockClock

import trio_pipecat as tp
from trio_pipecat.testing import SimulatedBot


async def ask(t: str, d: object = None) -> object:
    """Return the answer to one request."""
    async with tp.open_session(transport=SimulatedBot().connect) as session:
        await session.wait_ready()
        return await session.request(t, d, timeout=1)


@pytest.mark.parametrize(
    ("t", "d", "answer"),
    [
        ("ping", {"n": 1}, {"pong": {"n": 1}}),
        ("ping", None, {"pong": None}),
        ("say", {"text": "hi"}, {"said": "hi"}),
        ("say", "hi", {"said": "hi"}),
        ("say", None, {"said": ""}),
        ("flood", 3, {"flooded": 3}),
        ("flood", {"count": 2}, {"flooded": 2}),
    ],
)
async def test_answers(autojump_clock: MockClock, t: str, d: object, answer: object) -> None:
    """Each takes its data as an object or bare."""
    assert answer == await ask(t, d)


@pytest.mark.parametrize(
    ("t", "d", "why"), [("fail", None, "as requested"), ("flood", "many", "flood wants a count")]
)
async def test_refusals(autojump_clock: MockClock, t: str, d: object, why: str) -> None:
    """What can't be answered is refused, and the bot goes on."""
    with pytest.raises(tp.RequestError, match=why):
        await ask(t, d)


async def test_silent(autojump_clock: MockClock) -> None:
    """For a client that wants to see its request time out."""
    with pytest.raises(tp.RequestTimeoutError):
        await ask("silent")


async def test_about_is_who_the_client_said_it_is(autojump_clock: MockClock) -> None:
    """Its client-ready."""
    about = await ask("about")
    assert isinstance(about, dict)
    assert ("2.2.0", "trio-pipecat") == (about["version"], about["about"]["library"])


async def test_user_is_a_turn_of_speech(autojump_clock: MockClock) -> None:
    """Heard, transcribed, and answered."""
    seen: list[type[tp.Event]] = []
    async with tp.open_session(transport=SimulatedBot().connect) as session:
        await session.wait_ready()
        with session.subscribe(tp.BotMessage) as stream:
            await session.send_client_message("user", {"text": "tea please"})
            async for event in stream:
                seen.append(type(event))
                if isinstance(event, tp.BotStoppedSpeaking):
                    break
    assert [
        tp.BotInterrupted,
        tp.UserStartedSpeaking,
        tp.UserInput,
        tp.UserTranscription,
        tp.UserStoppedSpeaking,
        tp.UserLlmText,
    ] == [*dict.fromkeys(seen)][:6]


@pytest.mark.parametrize("t", ["cancel", "end"])
async def test_leaving(autojump_clock: MockClock, t: str) -> None:
    """At once, or after the last word: with a goodbye."""
    async with tp.open_session(transport=SimulatedBot().connect) as session:
        await session.wait_ready()
        await session.send_client_message(t)
        await trio.sleep_forever()
    assert ("bot", 1000) == (session.end.reason, session.end.code)


async def test_fatal(autojump_clock: MockClock) -> None:
    """An error that ends the session, with the text asked for."""
    with pytest.raises(tp.FatalBotError, match="no more credit"):
        async with tp.open_session(transport=SimulatedBot().connect) as session:
            await session.wait_ready()
            await session.send_client_message("fatal", {"text": "no more credit"})
            await trio.sleep_forever()


async def test_crash(autojump_clock: MockClock) -> None:
    """A link that broke, and no noise in the bot's log: it was asked to."""
    bot = SimulatedBot()
    with pytest.raises(tp.ConnectionLostError):
        async with tp.open_session(transport=bot.connect) as session:
            await session.wait_ready()
            await session.send_client_message("crash")
            await trio.sleep_forever()
    assert bot.conversations[0].failure is not None
