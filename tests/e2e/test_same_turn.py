"""A simulated bot's turn is a real bot's turn: the same events, and the same audio arithmetic."""

from typing import Any

import attrs
import pytest
import trio
from real_bot import RealBot

import trio_pipecat as tp
from trio_pipecat.testing import SimulatedBot, Voice, serve_bot

#: The voice of the bot under tests/e2e/bot: as long for each word, and as long before the first.
SAME_VOICE = Voice(word_seconds=0.08)
#: Measured by the server, and no part of a turn.
NOT_A_TURN = (tp.Metrics,)


@attrs.frozen
class Turn:
    """What came between two moments of a session."""

    types: list[str]
    outputs: list[tuple[str | None, str, str]]
    #: The sizes of the audio frames in bytes, with the rates.
    frames: list[tuple[int, int]]


async def _turns(address: str) -> dict[str, Turn]:
    """Hold a conversation, and return its turns."""
    turns: dict[str, Turn] = {}
    async with tp.open_session(address, disconnect_on_bot_disconnect=False) as session:

        async def get_weather(call: tp.FunctionCall) -> dict[str, Any]:
            return {"sky": "clear"}

        session.handle_function_call("get_weather", get_weather)
        await session.wait_ready()
        chunks: list[tp.AudioChunk] = []

        async def listen() -> None:
            async for chunk in session.audio:
                chunks.append(chunk)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            for name, act in _ACTS.items():
                chunks.clear()
                with session.subscribe(tp.BotMessage) as stream:
                    await act(session)
                    await trio.sleep(0.3)  # what comes after the last word, if anything
                    events = [stream.receive_nowait() for _ in range(stream.unread)]
                turns[name] = _turn(events, chunks)
            nursery.cancel_scope.cancel()
    return turns


def _turn(events: list[tp.BotMessage], chunks: list[tp.AudioChunk]) -> Turn:
    outputs = [event for event in events if isinstance(event, tp.BotOutput)]
    return Turn(
        types=[event.TYPE for event in events if not isinstance(event, NOT_A_TURN)],
        outputs=[(o.spoken_status, o.text, _told(o)) for o in outputs],
        frames=[(len(chunk.pcm), chunk.sample_rate) for chunk in chunks],
    )


def _told(output: tp.BotOutput) -> str:
    return "" if output.spoken_progress is None else output.spoken_progress.accumulated_text


async def _ask(session: tp.Session) -> None:
    await session.send_text("good morning to you. How are you?")
    await session.wait_event(tp.BotStoppedSpeaking)


async def _be_told(session: tp.Session) -> None:
    await session.send_client_message("say", {"text": "three more words"})
    await session.wait_event(tp.BotStoppedSpeaking)


async def _speak(session: tp.Session) -> None:
    await session.send_client_message("user", {"text": "please listen"})
    await session.wait_event(tp.BotStoppedSpeaking)


async def _be_called(session: tp.Session) -> None:
    await session.send_client_message("function", {"city": "Oslo"})
    await session.wait_event(tp.BotStoppedSpeaking)


async def _read_silently(session: tp.Session) -> None:
    await session.send_text("quietly", audio_response=False)
    await session.wait_event(tp.BotLlmStopped)


async def _interrupt(session: tp.Session) -> None:
    await session.send_text(" ".join(f"w{n}" for n in range(60)))
    await session.wait_event(tp.BotOutput, where=lambda o: o.spoken_status == "in-progress")
    await session.interrupt()
    await session.wait_event(tp.BotStoppedSpeaking)


async def _leave(session: tp.Session) -> None:
    await session.disconnect_bot()
    await session.states.disconnected.wait()


_ACTS = {
    "text": _ask,
    "say": _be_told,
    "user": _speak,
    "function": _be_called,
    "silent": _read_silently,
    "interrupted": _interrupt,
    "end": _leave,
}


@pytest.fixture
async def both(real_bot: RealBot) -> tuple[dict[str, Turn], dict[str, Turn]]:
    """The turns of the real bot and of the simulated one."""
    real = await _turns(real_bot.ws_url())
    async with serve_bot(SimulatedBot(voice=SAME_VOICE)) as served:
        return real, await _turns(served.ws_url)


def _in_order(types: list[str]) -> list[str]:
    """Put into one order what the real bot's tasks report in either."""
    ordered = list(types)
    for first, second in _EITHER_ORDER:
        for place in range(len(ordered) - 1):
            if (ordered[place], ordered[place + 1]) == (second, first):
                ordered[place : place + 2] = [first, second]
    return ordered


#: The real bot's processors say these independently of each other.
_EITHER_ORDER = [
    ("user-llm-text", "user-stopped-speaking"),
    ("bot-output", "bot-tts-stopped"),
    ("bot-tts-text", "bot-tts-stopped"),
]


async def test_a_simulated_turn_is_a_real_turn(
    both: tuple[dict[str, Turn], dict[str, Turn]],
) -> None:
    """Asked, told, spoken to, called, read silently, interrupted, and asked to leave."""
    real, simulated = both
    for name in _ACTS:
        types = [_in_order(turns[name].types) for turns in both]
        if name == "interrupted":
            # The real bot is still synthesising.
            types = [[kind for kind in told if kind != "bot-tts-stopped"] for told in types]
        assert types[0] == types[1], name
        assert real[name].outputs == simulated[name].outputs, name
        if name == "interrupted":
            # How many frames were out by then is a matter of milliseconds; what a frame is, is not.
            assert set(real[name].frames) == set(simulated[name].frames)
        else:
            assert real[name].frames == simulated[name].frames, name


async def test_the_arithmetic_of_audio(both: tuple[dict[str, Turn], dict[str, Turn]]) -> None:
    """40 ms to a frame; as many frames as the words last; at the end two seconds in one frame."""
    for turns in both:
        words = ["You", "said:", "good", "morning", "to", "you.", "How", "are", "you?"]
        seconds = SAME_VOICE.lead_seconds + len(words) * SAME_VOICE.word_seconds
        rate = SAME_VOICE.sample_rate
        assert [(round(rate * 0.04) * 2, rate)] * round(seconds / 0.04) == turns["text"].frames
        assert [] == turns["silent"].frames
        assert [(2 * rate * 2, rate)] == turns["end"].frames
