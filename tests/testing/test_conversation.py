"""What a simulated bot's turn sounds and reads like: order, pace and frames of a real one."""

from contextlib import suppress

import pytest
import trio
import trio_websocket
from trio.testing import MockClock

import trio_pipecat as tp
from trio_pipecat.testing import Conversation, SimulatedBot, Voice, serve_bot, virtual_network
from trio_pipecat.transports import LinkEnd

VOICE = Voice(word_seconds=0.08)


class Turn:
    """A session's events and audio, as they came, with their times."""

    def __init__(self) -> None:
        self.events: list[tp.Event] = []
        self.audio: list[tp.AudioChunk] = []

    async def listen(self, session: tp.Session) -> None:
        async for chunk in session.audio:
            self.audio.append(chunk)

    def at(self, kind: type[tp.Event]) -> list[float]:
        return [round(event.at, 6) for event in self.events if type(event) is kind]


async def turn_of(text: str, interrupt_after: float | None = None) -> Turn:
    """Say something to a bot, and return what came until it was silent."""
    turn, bot = Turn(), SimulatedBot(voice=VOICE)
    async with tp.open_session(transport=bot.connect) as session, trio.open_nursery() as nursery:
        nursery.start_soon(turn.listen, session)
        await session.wait_ready()
        with session.subscribe(tp.BotMessage) as stream:
            await session.send_text(text)
            if interrupt_after is not None:
                await trio.sleep(interrupt_after)
                await session.interrupt()
            async for event in stream:
                turn.events.append(event)
                if isinstance(event, tp.BotStoppedSpeaking):
                    break
            await trio.sleep(1)
        nursery.cancel_scope.cancel()
    return turn


async def test_audio_is_paced_as_pipecat_paces_it(autojump_clock: MockClock) -> None:
    """Two frames at once, then one every 40 ms, the last one filled up with silence."""
    turn = await turn_of("one")  # three words: You said: one
    times = [round(chunk.at, 6) for chunk in turn.audio]
    frames = 7  # 40 ms of silence, three words of 80 ms
    assert [0.0, *[round(0.04 * n, 6) for n in range(frames - 1)]] == times
    assert {(1920, 24_000, 1)} == {(len(c.pcm), c.sample_rate, c.num_channels) for c in turn.audio}
    assert not any(turn.audio[0].pcm)
    assert any(turn.audio[1].pcm)


async def test_words_come_when_they_are_heard(autojump_clock: MockClock) -> None:
    """Each with its bot-tts-text and the progress of its sentence."""
    turn = await turn_of("one")
    assert [0.04, 0.12, 0.2] == turn.at(tp.BotTtsText)
    assert [0.0, 0.04, 0.12, 0.2] == turn.at(tp.BotOutput)
    assert [0.24] == turn.at(tp.BotStoppedSpeaking)
    progress = [e.spoken_progress for e in turn.events if isinstance(e, tp.BotOutput)]
    assert [
        ("", "You said: one"),
        ("You", " said: one"),
        ("You said:", " one"),
        ("You said: one", ""),
    ] == [(p.accumulated_text, p.remaining_text) for p in progress]


async def test_sentences_are_segments(autojump_clock: MockClock) -> None:
    """The next is announced when the last word of the one before begins."""
    turn = await turn_of("one. Two")
    outputs = [event for event in turn.events if isinstance(event, tp.BotOutput)]
    assert ["You said: one.", "Two"] == list(dict.fromkeys(output.text for output in outputs))
    first_end = next(o.at for o in outputs if o.spoken_status == "completed")
    second = next(o for o in outputs if o.text == "Two")
    assert ("new", first_end) == (second.spoken_status, second.at)
    assert 2 == len({output.segment_id for output in outputs})


async def test_an_interruption_drops_what_was_to_come(autojump_clock: MockClock) -> None:
    """No more audio, no completion, both signals, and silence."""
    turn = await turn_of(" ".join(["word"] * 50), interrupt_after=0.5)
    assert 0.5 == max(turn.at(tp.BotInterrupted))
    assert max(chunk.at for chunk in turn.audio) <= 0.5
    assert "completed" not in [e.spoken_status for e in turn.events if isinstance(e, tp.BotOutput)]
    assert isinstance(turn.events[-1], tp.BotStoppedSpeaking)


async def test_a_second_text_interrupts_the_first(autojump_clock: MockClock) -> None:
    """What was waiting to be said is forgotten."""
    bot = SimulatedBot(voice=VOICE)
    async with tp.open_session(transport=bot.connect) as session:
        await session.wait_ready()
        with session.subscribe(tp.BotOutput) as outputs:
            await session.send_text("first " * 30)
            await session.request("say", "second")
            await trio.sleep(0.2)
            await session.send_text("third")
            await session.wait_event(tp.BotOutput, where=lambda o: "third" in o.text)
            await trio.sleep(5)
            texts = {outputs.receive_nowait().text for _ in range(outputs.unread)}
    assert "second" not in texts
    assert "You said: third" in texts


@pytest.mark.parametrize("text", ["", "   "])
async def test_nothing_to_say_is_not_spoken(autojump_clock: MockClock, text: str) -> None:
    """No frames, no events."""
    async with tp.open_session(transport=SimulatedBot().connect) as session:
        await session.wait_ready()
        with session.subscribe(tp.BotStartedSpeaking) as started:
            await session.request("say", text)
            await trio.sleep(1)
            assert 0 == started.unread


async def test_leaving_is_two_seconds_of_silence_in_one_frame(autojump_clock: MockClock) -> None:
    """After what was being said, and then a clean close."""
    bot, chunks = SimulatedBot(voice=VOICE), []
    async with tp.open_session(transport=bot.connect) as session:
        await session.wait_ready()
        await session.request("say", "goodbye")
        await session.disconnect_bot()
        async for chunk in session.audio:
            chunks.append(chunk)
    assert 96_000 == len(chunks[-1].pcm)
    assert [1920] * 3 == [len(chunk.pcm) for chunk in chunks[:-1]]
    assert "bot" == session.end.reason


async def test_what_a_bot_cannot_read_ends_the_conversation(autojump_clock: MockClock) -> None:
    """With a clean close, as pipecat does it."""
    from trio_pipecat.transports import Undecodable, memory_transport_pair

    client, link = memory_transport_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(SimulatedBot().converse, link)
        await client._send(Undecodable("garbage"))
        with pytest.raises(trio.EndOfChannel):
            await client.receive()
    assert ("bot", 1000) == (client.end.first, client.end.code)


async def test_a_client_that_vanishes_ends_the_conversation(autojump_clock: MockClock) -> None:
    """Even in the middle of a word."""
    bot = SimulatedBot(greeting="A long greeting, for somebody who does not stay.")
    with trio.move_on_after(0.3):
        async with tp.open_session(transport=bot.connect) as session:
            await session.wait_ready()
            await trio.sleep_forever()
    assert None is bot.conversations[0].failure
    assert "client" == bot.conversations[0].end.first


@pytest.mark.parametrize(
    ("type_", "key", "sound"),
    [
        ("raw-audio", "base64Audio", "AAAAAAAAAAA="),
        ("raw-audio-batch", "base64AudioBatch", ["AAAAAAAA", "AAA="]),
    ],
)
async def test_sound_may_come_in_messages(
    type_: str, key: str, sound: object, autojump_clock: MockClock
) -> None:
    """It is heard and echoed like any other, and not kept."""
    bot = SimulatedBot()
    async with tp.open_session(transport=bot.connect) as session:
        await session.wait_ready()
        await session.send_raw(type_, {key: sound, "sampleRate": 8000, "numChannels": 1})
        echo = await session.audio.receive()
        assert 8000 == echo.sample_rate
        await session.request("ping")
    (conversation,) = bot.conversations
    assert 4 / 8000 == conversation.heard_seconds
    assert ["client-ready", "client-message"] == [c.TYPE for _, c in conversation.received]


@pytest.mark.parametrize(
    "format_",
    [
        {"sampleRate": 0, "numChannels": 1},
        {"sampleRate": 8000, "numChannels": 0},
        {"sampleRate": 8000, "numChannels": 3},
    ],
)
async def test_what_cannot_be_sound_is_not_heard(
    format_: dict[str, int], autojump_clock: MockClock
) -> None:
    """pipecat logs it, and goes on."""
    bot = SimulatedBot()
    async with tp.open_session(transport=bot.connect) as session:
        await session.wait_ready()
        await session.send_raw("raw-audio", {"base64Audio": "AAAAAAAAAAA=", **format_})
        assert {"pong": 1} == await session.request("ping", 1)
    assert 0 == bot.conversations[0].heard_seconds


async def test_a_goodbye_is_not_disturbed_by_what_still_comes(autojump_clock: MockClock) -> None:
    """The bot's other parts find the link closed, and the client's answer is waited for."""

    async def leave(conversation: Conversation) -> None:
        with conversation.listening(tp.SendText) as ear:
            await ear.receive()
        await conversation.hang_up(1001, "enough")

    async def read(client: trio_websocket.WebSocketConnection) -> None:
        with suppress(trio_websocket.ConnectionClosed):
            while True:
                await client.get_message()

    bot = SimulatedBot([leave])
    hello = '{"label": "rtvi-ai", "type": "send-text", "id": "1", "data": {"content": "hello"}}'
    with virtual_network():
        async with (
            serve_bot(bot) as served,
            trio_websocket.open_websocket_url(served.json_url) as client,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(read, client)
            with suppress(trio_websocket.ConnectionClosed):
                for _ in range(1000):
                    await client.send_message(hello)
    assert (1001, "enough") == (client.closed.code, client.closed.reason)
    (conversation,) = bot.conversations
    assert None is conversation.failure
    assert LinkEnd(code=1001, text="enough", first="bot") == conversation.end
