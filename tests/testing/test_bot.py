"""The simulated bot: what it is like, and what the client sees when its own code fails."""

import logging

import pytest
import trio
from trio.testing import MockClock

import trio_pipecat as tp
from trio_pipecat.testing import Conversation, RefusedError, SimulatedBot, Voice


async def test_a_bot_may_greet(autojump_clock: MockClock) -> None:
    """When the client is ready, without an LLM."""
    async with tp.open_session(transport=SimulatedBot(greeting="Good day.").connect) as session:
        with session.subscribe(tp.BotOutput, tp.BotLlmStarted) as stream:
            assert "Good day." == (await stream.receive()).text


async def test_a_bot_may_take_its_time(autojump_clock: MockClock) -> None:
    """To be ready, and to think."""
    bot = SimulatedBot(ready_delay=10, think_seconds=5)
    async with tp.open_session(transport=bot.connect) as session:
        await session.wait_ready()
        assert 10 == trio.current_time()
        await session.send_text("hm?")
        await session.wait_event(tp.BotStartedSpeaking)
        assert 15 == trio.current_time()


async def test_a_bot_answers_as_it_is_told(autojump_clock: MockClock) -> None:
    """What it replies to a text, and what it says of a function's result."""
    bot = SimulatedBot(reply=str.upper, report=lambda name, result: f"{name} gave {result}")
    async with tp.open_session(transport=bot.connect) as session:

        async def get_weather(call: tp.FunctionCall) -> str:
            return "rain"

        session.handle_function_call("get_weather", get_weather)
        await session.wait_ready()
        await session.send_text("tea")
        assert "TEA" == (await session.wait_event(tp.BotOutput)).text
        await session.wait_event(tp.BotStoppedSpeaking)
        await session.send_client_message("function", {"city": "Oslo"})
        assert "get_weather gave rain" == (await session.wait_event(tp.BotOutput)).text


async def test_a_bot_echoes_the_users_sound(autojump_clock: MockClock) -> None:
    """Unless it is told not to; and it counts what it heard."""
    for echo in (True, False):
        bot = SimulatedBot(echo_audio=echo)
        async with tp.open_session(transport=bot.connect) as session:
            await session.wait_ready()
            stream = aiter(session.audio)
            await session.send_audio(bytes(range(200)), sample_rate=16_000)
            await session.request("ping")
            assert (1 if echo else 0) == session.audio.unread
            if echo:
                assert bytes(range(200)) == (await anext(stream)).pcm
        assert 100 / 16_000 == bot.conversations[0].heard_seconds


async def test_requests_can_be_added(autojump_clock: MockClock) -> None:
    """An async function of the conversation and the data: an answer, a refusal, or silence."""

    async def price(conversation: Conversation, data: object) -> object:
        if data is None:
            return None
        if data != "tea":
            raise RefusedError("only tea")
        await conversation.send(tp.ServerMessage(data="asked"))
        return {"euros": 3}

    bot = SimulatedBot()
    bot.requests["price"] = price
    async with tp.open_session(transport=bot.connect) as session:
        await session.wait_ready()
        assert {"euros": 3} == await session.request("price", "tea")
        with pytest.raises(tp.RequestError, match="only tea"):
            await session.request("price", "gin")
        with pytest.raises(tp.RequestTimeoutError):
            await session.request("price", timeout=1)
        with pytest.raises(tp.RequestError, match="unknown request"):
            await session.request("prize")
    assert "price" not in SimulatedBot().requests


async def test_what_the_bots_code_raises_is_the_bots_failure(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The client sees a link that broke; the conversation and the log have the traceback."""

    async def broken(conversation: Conversation, data: object) -> object:
        return 1 / 0

    bot = SimulatedBot(requests={"x": broken})
    with caplog.at_level(logging.ERROR), pytest.raises(tp.ConnectionLostError) as lost:
        async with tp.open_session(transport=bot.connect) as session:
            await session.wait_ready()
            await session.request("x")
    assert "the bot's code raised" in str(lost.value)
    failure = bot.conversations[0].failure
    assert isinstance(failure, ZeroDivisionError)
    assert ["the simulated bot failed"] == [record.message for record in caplog.records]
    assert "ZeroDivisionError" in caplog.text


async def test_a_1x_client_gets_words(autojump_clock: MockClock) -> None:
    """Each as a message of its own, as pipecat sends them to such a client."""
    from trio_pipecat.testing._conversation import Conversation as Inside

    bot = SimulatedBot(voice=Voice(word_seconds=0.08))
    outputs: list[tp.BotOutput] = []

    async def old_client() -> None:
        from trio_pipecat._codec import decode_event, encode_command
        from trio_pipecat.transports import memory_transport_pair

        client, link = memory_transport_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Inside(bot, link, bot.requests).run)
            await client.send_message(encode_command(tp.ClientReady(version="1.4.0"), "1"))
            await client.send_message(encode_command(tp.SendText(content="hi"), "2"))
            while True:
                item = await client.receive()
                if isinstance(item, str):
                    event = decode_event(item, at=0)
                    if isinstance(event, tp.BotOutput):
                        outputs.append(event)
                    if isinstance(event, tp.BotStoppedSpeaking):
                        break
            await client.aclose()

    await old_client()
    assert [("sentence", "You said: hi"), ("word", "You"), ("word", "said:"), ("word", "hi")] == [
        (output.output_type, output.text) for output in outputs
    ]
    assert [False, True, True, True] == [output.spoken for output in outputs]


async def test_a_bot_keeps_what_it_heard(autojump_clock: MockClock) -> None:
    """Every command with its id, and how the client left."""
    bot = SimulatedBot()
    for _ in range(2):
        async with tp.open_session(transport=bot.connect) as session:
            await session.wait_ready()
            await session.send_text("x", run_immediately=False)
    first, second = bot.conversations
    assert ["client-ready", "send-text"] == [command.TYPE for _, command in first.received]
    assert ("send-text-2", "x") == (second.received[1][0], second.received[1][1].content)
    assert ("client", 1000) == (first.end.first, first.end.code)
