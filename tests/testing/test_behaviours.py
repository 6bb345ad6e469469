"""What a simulated bot does of its own accord, as its client sees it: in memory and on the wire."""

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, get_args

import pytest
import trio
from trio.testing import MockClock

import trio_pipecat as tp
from trio_pipecat import testing
from trio_pipecat.testing import Conversation, GarbageKind, SimulatedBot, Voice

QUICK = Voice(word_seconds=0.08)


@asynccontextmanager
async def _in_memory(bot: SimulatedBot, **options: Any) -> AsyncGenerator[tp.Session, None]:
    async with tp.open_session(transport=bot.connect, **options) as session:
        yield session


@asynccontextmanager
async def _on_the_wire(bot: SimulatedBot, **options: Any) -> AsyncGenerator[tp.Session, None]:
    with testing.virtual_network():
        async with (
            testing.serve_bot(bot) as served,
            tp.open_session(served.start_url, **options) as session,
        ):
            yield session


@pytest.fixture(params=[_in_memory, _on_the_wire], ids=["memory", "wire"])
def call(request: pytest.FixtureRequest) -> Any:
    """Open a session with a bot, in one of two ways."""
    return request.param


def bot(*behaviours: testing.Behaviour) -> SimulatedBot:
    return SimulatedBot(behaviours, voice=QUICK)


async def test_greet(autojump_clock: MockClock, call: Any) -> None:
    """When the client is ready."""
    async with call(bot(testing.greet("Good day."))) as session:
        assert "Good day." == (await session.wait_event(tp.BotOutput)).text


async def test_echo(autojump_clock: MockClock, call: Any) -> None:
    """Of sound and of texts, each with its switch."""
    quiet = bot(testing.echo(audio=False, reply=None))
    async with call(quiet) as session:
        await session.wait_ready()
        stream = aiter(session.audio)
        await session.send_audio(bytes(640), sample_rate=16_000)
        with session.subscribe(tp.BotOutput) as outputs:
            await session.send_text("anybody there?")
            await trio.sleep(10)
            assert (0, 0) == (outputs.unread, session.audio.unread)
        del stream
    async with call(bot(testing.echo(reply=str.upper))) as session:
        await session.wait_ready()
        stream = aiter(session.audio)
        await session.send_audio(bytes(640), sample_rate=16_000)
        assert 16_000 == (await anext(stream)).sample_rate
        await session.send_text("loud")
        assert "LOUD" == (await session.wait_event(tp.BotOutput)).text


async def test_function_call(autojump_clock: MockClock, call: Any) -> None:
    """Its result is spoken."""
    calling = bot(testing.function_call("get_weather", {"city": "Oslo"}, after=2))
    async with call(calling) as session:

        async def get_weather(call: tp.FunctionCall) -> str:
            return f"rain in {call.arguments['city']}"

        session.handle_function_call("get_weather", get_weather)
        await session.wait_ready()
        began = trio.current_time()
        await session.wait_event(tp.LlmFunctionCallInProgress)
        assert math.isclose(2, trio.current_time() - began, abs_tol=1e-6)
        assert "The weather: rain in Oslo" == (await session.wait_event(tp.BotOutput)).text


@pytest.mark.parametrize("text", [None, "stop that"])
async def test_interrupt_on_speech(autojump_clock: MockClock, call: Any, text: str | None) -> None:
    """A loud user interrupts the bot; silence, or no sound at all, ends the user's turn."""
    listening = bot(
        testing.greet("A very long story, with a great many words in it, for all evening."),
        testing.interrupt_on_speech(text, start=0.1, stop=0.5),
    )
    loud = QUICK.word() * 10
    async with call(listening) as session:
        await session.wait_event(tp.BotStartedSpeaking)
        with session.subscribe(tp.BotMessage) as stream:
            await session.send_audio(bytes(9600), sample_rate=24_000)  # silence is no speech
            await session.send_audio(loud, sample_rate=24_000)
            kinds = []
            with trio.move_on_after(3):
                async for event in stream:
                    kinds.append(event.TYPE)
    turn = [kind for kind in kinds if kind.startswith(("user-", "bot-interrupted"))]
    expected = ["bot-interrupted", "user-started-speaking"]
    if text is not None:
        expected += ["user-input", "user-transcription"] * 2
    assert [*expected, "user-stopped-speaking"] == turn[: len(expected) + 1]
    assert (text is not None) is ("bot-llm-started" in kinds)


async def test_slow_ready(autojump_clock: MockClock, call: Any) -> None:
    """Holds add up to the longest."""
    async with call(bot(testing.slow_ready(5), testing.slow_ready(9))) as session:
        await session.wait_for(tp.State.CONNECTED)
        began = trio.current_time()
        await session.wait_ready()
        assert math.isclose(9, trio.current_time() - began, abs_tol=1e-3)


async def test_never_ready(autojump_clock: MockClock, call: Any) -> None:
    """The client gives up."""
    with pytest.raises(tp.ReadyTimeoutError):
        async with call(bot(testing.never_ready()), ready_timeout=7) as session:
            await session.wait_ready()
    assert math.isclose(7, trio.current_time(), abs_tol=0.1)


@pytest.mark.parametrize("before_ready", [False, True])
async def test_crash(autojump_clock: MockClock, call: Any, before_ready: bool) -> None:
    """No goodbye, and no noise: it was asked for."""
    crashing = bot(testing.crash(2, before_ready=before_ready), *_unready(before_ready))
    with pytest.raises(tp.ConnectionLostError) as lost:
        async with call(crashing):
            await trio.sleep_forever()
    assert (1006, "network") == (lost.value.end.code, lost.value.end.first)
    assert (tp.State.CONNECTED if before_ready else tp.State.READY) is lost.value.end.last_state


def _unready(really: bool) -> list[testing.Behaviour]:
    return [testing.never_ready()] if really else []


async def test_what_a_behaviour_raises_is_the_bots_failure(
    autojump_clock: MockClock, call: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """With its traceback, at the bot; the client sees a link that broke."""

    async def stumble(conversation: Conversation) -> None:
        await conversation.ready.wait()
        raise ZeroDivisionError("my own")

    stumbling = bot(stumble)
    with pytest.raises(tp.ConnectionLostError):
        async with call(stumbling):
            await trio.sleep_forever()
    failure = stumbling.conversations[0].failure
    assert isinstance(failure, ZeroDivisionError)
    assert ["the simulated bot failed"] == [record.message for record in caplog.records]


@pytest.mark.parametrize("before_ready", [False, True])
async def test_fatal_error(autojump_clock: MockClock, call: Any, before_ready: bool) -> None:
    """Reported, then the bot leaves."""
    failing = bot(testing.fatal_error("no credit", 1, before_ready=before_ready))
    with pytest.raises(tp.FatalBotError, match="no credit"):
        async with call(failing):
            await trio.sleep_forever()


async def test_report_error(autojump_clock: MockClock, call: Any) -> None:
    """And the conversation goes on."""
    async with call(bot(testing.report_error("odd", 1))) as session:
        error = await session.wait_event(tp.Error)
        assert ("odd", False) == (error.error, error.fatal)
        assert {"pong": 1} == await session.request("ping", 1)


@pytest.mark.parametrize(
    ("code", "text", "closed"), [(None, "", 1000), (1001, "bye", 1001), (1011, "", 1011)]
)
async def test_leave_after(
    autojump_clock: MockClock, call: Any, code: int | None, text: str, closed: int
) -> None:
    """Gracefully, after what is being said; or at once, with a code."""
    leaving = bot(
        testing.greet("One two three four."), testing.leave_after(0.1, code=code, text=text)
    )
    spoken = []
    try:
        async with call(leaving) as session:
            async for event in session:
                spoken.append(type(event))
    except tp.ConnectionLostError:
        assert 1011 == closed
    assert (closed, text) == (session.end.code, session.end.text)
    assert (code is None) is (tp.BotStoppedSpeaking in spoken)


async def test_flood(autojump_clock: MockClock, call: Any) -> None:
    """Every message arrives, in order."""
    async with call(bot(testing.flood(3000))) as session:
        with session.subscribe(tp.ServerMessage) as stream:
            numbers = [(await stream.receive()).data["n"] for _ in range(3000)]
    assert [*range(3000)] == numbers


@pytest.mark.parametrize("kind", get_args(GarbageKind))
async def test_garbage(autojump_clock: MockClock, call: Any, kind: GarbageKind) -> None:
    """Is one event or none, the same on both wires, and the conversation goes on."""
    async with call(bot(testing.garbage(kind, after=1))) as session:
        await session.wait_ready()
        with session.subscribe(tp.BotMessage) as stream:
            await trio.sleep(2)
            came = [type(stream.receive_nowait()) for _ in range(stream.unread)]
        assert {"pong": 1} == await session.request("ping", 1)
    assert _GARBAGE_EVENTS[kind] == came


_GARBAGE_EVENTS: dict[str, list[type[tp.Event]]] = {
    "frame": [tp.MalformedMessage],
    "half a frame": [tp.MalformedMessage],
    "no json": [tp.MalformedMessage],
    "no object": [tp.MalformedMessage],
    "no label": [tp.MalformedMessage],
    "no type": [tp.MalformedMessage],
    "unknown type": [tp.UnknownMessage],
    "bad data": [tp.MalformedMessage],
    "nan": [tp.ServerMessage],
    "deep": [tp.ServerMessage],
    "unknown id": [tp.ServerResponse],
}


@pytest.mark.parametrize(("major", "version"), [(0, "0.3.0"), (1, "1.4.0"), (3, "3.0.0")])
async def test_wrong_version(
    autojump_clock: MockClock, call: Any, major: Any, version: str
) -> None:
    """It complains, is ready all the same, and speaks as such a bot speaks."""
    async with call(bot(testing.wrong_version(major))) as session:
        ready = await session.wait_ready()
        assert version == ready.version == session.protocol.bot
        assert "not compatible" in str(session.protocol.problem)
        assert (major == 3) is (ready.capabilities is not None)
        with session.subscribe(tp.BotOutput, tp.UserInput) as stream:
            if major:
                await session.send_text("hi")
            else:
                await session.send_client_message("say", {"text": "You said: hi"})
            said = []
            with trio.move_on_after(5):
                async for event in stream:
                    said.append(event)
    words = [event.text for event in said if isinstance(event, tp.BotOutput) and event.spoken]
    assert (["You", "said:", "hi"] if major < 2 else []) == words
    assert (major == 3) is any(isinstance(event, tp.UserInput) for event in said)


@pytest.mark.parametrize("before_ready", [False, True])
async def test_half_open(autojump_clock: MockClock, call: Any, before_ready: bool) -> None:
    """The client's pings find out; nobody has said goodbye."""
    silent = bot(testing.half_open(1, before_ready=before_ready), *_unready(before_ready))
    with pytest.raises(tp.ConnectionLostError, match="no answer to a ping within 5 s") as lost:
        async with call(silent, ping_interval=5, ping_timeout=5):
            await trio.sleep_forever()
    assert (1006, "network") == (lost.value.end.code, lost.value.end.first)


async def test_a_half_open_bot_costs_the_grace(autojump_clock: MockClock, call: Any) -> None:
    """Who leaves it waits for its goodbye no longer than that."""
    async with call(bot(testing.half_open(1)), disconnect_timeout=2) as session:
        await trio.sleep(3)
        began = trio.current_time()
    assert 2 <= session.history[-1][1] - began <= 2.1
    assert "client" == session.end.reason


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: testing.garbage("noise"), "no such garbage: noise; there is frame"),  # type: ignore[arg-type]
        (lambda: testing.wrong_version(2), "wrong_version is one of"),  # type: ignore[arg-type]
    ],
)
def test_what_there_is_not_is_refused(make: Callable[[], Awaitable[None]], what: str) -> None:
    """When the behaviour is made, not when it runs."""
    with pytest.raises(tp.InvalidParamsError, match=what):
        make()


async def test_behaviours_begin_before_anything_is_heard(autojump_clock: MockClock) -> None:
    """Whatever the order in which trio starts them."""
    heard = []

    async def listen(conversation: Conversation) -> None:
        with conversation.listening(tp.Command) as ear:
            heard.append(await ear.receive())

    for _ in range(10):
        async with tp.open_session(transport=bot(listen, listen).connect) as session:
            await session.wait_ready()
            await trio.sleep(1)
    assert [tp.ClientReady] * 20 == [type(command) for command in heard]


# -- behaviours that meet ------------------------------------------------------------------------


async def test_an_interruption_does_not_keep_a_bot_from_leaving(
    autojump_clock: MockClock, call: Any
) -> None:
    """Leaving waits until all is said, whatever that is by then."""
    leaving = bot(testing.leave_after(0.1))
    async with call(leaving) as session:
        await session.wait_ready()
        await session.send_text("a long story, please, of many words")
        await trio.sleep(0.5)
        await session.send_text("stop")
        await trio.sleep_forever()
    assert ("bot", 1000) == (session.end.reason, session.end.code)
    assert trio.current_time() < 10


async def test_interruptions_at_once(autojump_clock: MockClock) -> None:
    """Each is said, one after the other; a call is taken back once, and a turn stops once."""

    async def interrupt_twice(conversation: Conversation) -> None:
        await conversation.ready.wait()
        for name in ("f", "g"):
            conversation.call_function(name, {}, question="?")
        await conversation.wait_silent()
        conversation.say("one two three four five")
        await trio.sleep(0.1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(conversation.interrupt)
            nursery.start_soon(conversation.interrupt)
            conversation.say("and what was said meanwhile")

    for _ in range(6):  # trio starts tasks in any order
        twice = bot(interrupt_twice)
        async with tp.open_session(transport=twice.connect) as session:
            with session.subscribe(
                tp.BotInterrupted, tp.BotStoppedSpeaking, tp.LlmFunctionCallStopped
            ) as stream:
                await session.wait_ready()
                began = trio.current_time()
                events = [await stream.receive() for _ in range(5)]
                assert trio.current_time() - began < 0.2
        assert None is twice.conversations[0].failure
        kinds = [type(event) for event in events]
        assert [2, 1, 2] == [
            kinds.count(kind)
            for kind in (tp.BotInterrupted, tp.BotStoppedSpeaking, tp.LlmFunctionCallStopped)
        ]


async def test_clicks_are_no_speech(autojump_clock: MockClock) -> None:
    """However many there are, with nothing in between."""
    listening = bot(testing.echo(audio=False), testing.interrupt_on_speech(start=0.1, stop=0.5))
    click = QUICK.word()[: 24_000 * 2 // 50]
    async with tp.open_session(transport=listening.connect) as session:
        await session.wait_ready()
        with session.subscribe(tp.UserStartedSpeaking) as started:
            for _ in range(20):
                await session.send_audio(click, sample_rate=24_000)
                await trio.sleep(600)
            assert 0 == started.unread


async def test_an_error_of_a_behaviours_own_is_the_bots_failure(autojump_clock: MockClock) -> None:
    """Even if it is of the kind that a link raises at its end; and it is told bare."""

    async def stumble(conversation: Conversation) -> None:
        await conversation.ready.wait()
        raise trio.BrokenResourceError("my own channel")

    stumbling = bot(stumble)
    with pytest.raises(tp.ConnectionLostError):
        async with tp.open_session(transport=stumbling.connect):
            await trio.sleep_forever()
    failure = stumbling.conversations[0].failure
    assert isinstance(failure, trio.BrokenResourceError)
    assert "my own channel" == str(failure)


async def test_an_ear_that_is_not_emptied(autojump_clock: MockClock) -> None:
    """Is a fault of the bot's, and not of the client's."""

    async def daydream(conversation: Conversation) -> None:
        with conversation.listening(tp.Command):
            await trio.sleep_forever()

    dreaming = bot(daydream)
    with pytest.raises(tp.ConnectionLostError):
        async with tp.open_session(transport=dreaming.connect) as session:
            await session.wait_ready()
            for _ in range(20_000):
                await session.send_client_message("silent")
            await trio.sleep_forever()
    assert "things unheard" in str(dreaming.conversations[0].failure)
