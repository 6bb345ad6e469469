"""The official JavaScript client, in a browser, takes a simulated bot for a real one.

What it does with a bot's interruption and with its goodbye is not what it should; it is what it
does with a real one, too.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from browser import Told, visit
from bundle import bundled_page
from needed import program

from trio_pipecat import (
    ClientMessage,
    ClientReady,
    Command,
    DisconnectBot,
    LlmFunctionCallResult,
    SendText,
)
from trio_pipecat.testing import Conversation, SimulatedBot, Voice, serve_bot

_STATES = ["initializing", "initialized", "connecting", "connected", "ready"]
_STATES += ["disconnecting", "disconnected"]
#: Seconds of what the bot has to say in the first call, in frames of 40 ms.
_SPOKEN = 0.12 + 0.36 + 0.36


@attrs.frozen
class Call:
    """A conversation from both sides."""

    told: Sequence[Told]
    conversation: Conversation

    def of(self, kind: str) -> list[Any]:
        """Return what the page told of a kind."""
        return [told.data for told in self.told if kind == told.kind]

    @property
    def commands(self) -> list[Command]:
        """What the bot was told."""
        return [command for _, command in self.conversation.received]


async def _calls(chromium: str, page: Path) -> tuple[Call, Call]:
    bot = SimulatedBot(greeting="Hello.", echo_audio=False, voice=Voice(word_seconds=0.08))
    async with serve_bot(bot) as served:
        told = await visit(chromium, page, ws=served.ws_url)
        assert 2 == len(bot.conversations), told
        with trio.fail_after(10):
            while None in [conversation.end for conversation in bot.conversations]:
                await trio.sleep(0.02)
    cut = told.index(Told("second call"))
    first, second = bot.conversations
    return Call(told[:cut], first), Call(told[cut:], second)


@pytest.fixture(scope="module")
def calls() -> tuple[Call, Call]:
    """Have the page hold its conversations, once for all tests."""
    chromium = program("chromium", "apt-get install chromium")
    return trio.run(_calls, chromium, bundled_page())


@pytest.fixture
def call(calls: tuple[Call, Call]) -> Call:
    """The conversation that the client ends."""
    return calls[0]


@pytest.fixture
def other_call(calls: tuple[Call, Call]) -> Call:
    """The conversation that the bot ends."""
    return calls[1]


def test_every_state_is_passed(call: Call) -> None:
    """In the client's own order, and both ends of the connection are told."""
    assert _STATES == call.of("state")
    assert ([None], [None]) == (call.of("connected"), call.of("disconnected"))


def test_the_bot_is_ready(call: Call) -> None:
    """It answers a client of RTVI 2.1.0, and `connect` returns what it says."""
    (ready,) = call.of("bot-ready")
    assert "2.2.0" == ready["version"]
    assert ready["capabilities"]["audio_out"] is True
    assert [ready] == call.of("connect returned")
    (hello, *_) = call.commands
    assert isinstance(hello, ClientReady)
    assert "2.1.0" == hello.version
    assert ("@pipecat-ai/client-js", "1.13.1") == (hello.about.library, hello.about.library_version)


def test_what_the_bot_says_is_read(call: Call) -> None:
    """Its greeting, its answer to the text, its report of the function; word by word."""
    outputs = call.of("bot-output")
    finished = [output["text"] for output in outputs if output["spoken_status"] == "completed"]
    assert ["Hello.", "You said: good morning", 'The weather: {"sky": "clear"}'] == finished
    assert {"sentence"} == {output["aggregated_by"] for output in outputs}
    assert ["good morning", "What is the weather in Oslo?"] == call.of("user-llm-text")
    assert 9 == len(call.of("bot-tts-text"))
    assert 3 == len(call.of("bot-started-speaking")) == len(call.of("bot-stopped-speaking"))


def test_a_request_and_a_refused_one(call: Call) -> None:
    """The one returns the answer, the other raises the refusal."""
    assert [{"pong": {"deep": [1, None, "é"]}}] == call.of("response")
    (refusal,) = call.of("refusal")
    assert ("error-response", {"error": "as requested"}) == (refusal["type"], refusal["data"])
    assert [refusal] == call.of("message-error")


def test_a_function_call(call: Call) -> None:
    """The page's function is called, and the bot has its result."""
    assert [{"name": "get_weather", "arguments": {"city": "Oslo"}}] == call.of("function called")
    (stopped,) = call.of("function-stopped")
    assert (False, {"sky": "clear"}) == (stopped["cancelled"], stopped["result"])


def test_sound_goes_both_ways(call: Call) -> None:
    """The page plays what the bot says, and the bot hears the browser's microphone."""
    (ears,) = call.of("ears")
    assert _SPOKEN / 2 < ears["seconds"] < _SPOKEN + 0.01
    assert round(32767 * Voice().amplitude) == ears["peak"]
    assert 0 < call.conversation.heard_seconds


def test_what_the_bot_saw(call: Call) -> None:
    """Every command once, in order; and the client's goodbye, which has no code."""
    assert [
        SendText(content="good morning"),
        ClientMessage(t="ping", d={"deep": [1, None, "é"]}),
        ClientMessage(t="fail", d={}),
        ClientMessage(t="function", d={"city": "Oslo"}),
        LlmFunctionCallResult(
            function_name="get_weather",
            tool_call_id="call-1",
            arguments={"city": "Oslo"},
            result={"sky": "clear"},
        ),
    ] == call.commands[1:]
    end = call.conversation.end
    assert end is not None
    assert (1005, "client") == (end.code, end.first)
    assert None is call.conversation.failure


def test_nothing_else_is_wrong(calls: tuple[Call, Call]) -> None:
    """The client complains of the interruption frame, which it does not know, and no more."""
    assert [] == calls[0].of("error")
    assert [
        "complaint: Failed to deserialize incoming message Error: Unknown frame kind",
        "complaint: Fatal error reported. Disconnecting...",
    ] == [
        f"{told.kind}: {told.data}"
        for call in calls
        for told in call.told
        if told.kind in ("complaint", "uncaught", "failed")
    ]


def test_a_bot_that_leaves(other_call: Call) -> None:
    """To this client every close is a fatal error, but it ends as it should."""
    (error,) = other_call.of("error")
    assert error["data"]["fatal"] is True
    assert "websocket connection closed. Code: 1000" == error["data"]["error"]
    assert _STATES == other_call.of("state")
    assert DisconnectBot() == other_call.commands[-1]
    end = other_call.conversation.end
    assert end is not None
    assert (1000, "bot") == (end.code, end.first)
