"""pipecat's own client takes a simulated bot for a real one, on its JSON wire."""

from typing import Any

import attrs
import pytest
import trio
from subprocesses import pipecat_python, told_by

from trio_pipecat.testing import Conversation, SimulatedBot, Voice, serve_bot


@attrs.frozen
class Call:
    """A conversation from both sides."""

    told: list[dict[str, Any]]
    conversation: Conversation

    def of(self, kind: str) -> list[Any]:
        """Return what the client told of a kind."""
        return [item["data"] for item in self.told if kind == item["kind"]]

    def messages(self, type_: str) -> list[Any]:
        """Return the data of the messages of a type."""
        return [m.get("data") for m in self.of("message") if type_ == m["type"]]


async def _call(python: str, path: str, *options: str) -> Call:
    bot = SimulatedBot(greeting="Hello.", echo_audio=False, voice=Voice(word_seconds=0.08))
    async with serve_bot(bot) as served:
        url = f"ws://{served.host}:{served.port}{path}"
        told = await told_by(python, "pipecat_client.py", url, *options)
        (conversation,) = bot.conversations
        with trio.fail_after(10):
            while conversation.end is None:
                await trio.sleep(0.02)
    return Call(told, conversation)


@pytest.fixture(
    scope="module",
    params=[
        ("/?capture_bot_audio=1",),
        ("/ws", "--eval", "--bot-leaves"),
    ],
    ids=["RTVIClientTransport", "EvalClientTransport"],
)
def call(request: pytest.FixtureRequest) -> Call:
    """Have the client hold its conversation, once for all tests."""
    return trio.run(_call, pipecat_python(), *request.param)


def test_the_handshake(call: Call) -> None:
    """Connected, and ready when the bot says so."""
    assert ["on_connected", "on_bot_ready"] == [
        item["kind"] for item in call.told if item["kind"] in ("on_connected", "on_bot_ready")
    ]
    (ready,) = call.messages("bot-ready")
    assert "2.2.0" == ready["version"]


def test_what_the_bot_says(call: Call) -> None:
    """Its greeting, its answer to the text, its report of the function."""
    outputs = call.messages("bot-output")
    finished = [output["text"] for output in outputs if output["spoken_status"] == "completed"]
    assert ["Hello.", "You said: good morning", 'The weather: {"sky": "clear"}'] == finished
    assert [None] == call.messages("bot-interrupted")


def test_a_request_and_a_refused_one(call: Call) -> None:
    """Each gets its answer, with its id."""
    answers = [message for message in call.of("message") if "id" in message]
    assert [
        ("bot-ready", "client-ready"),
        ("server-response", "ping"),
        ("error-response", "fail"),
    ] == [(message["type"], message["id"]) for message in answers]
    assert [{"t": "ping", "d": {"pong": [1, None]}}] == call.messages("server-response")
    assert [{"error": "as requested"}] == call.messages("error-response")


def test_a_function_call(call: Call) -> None:
    """The bot has its result, and says that it does."""
    (stopped,) = call.messages("llm-function-call-stopped")
    assert (False, {"sky": "clear"}) == (stopped["cancelled"], stopped["result"])


def test_messages_become_pipecats_frames(call: Call) -> None:
    """What a pipeline behind the client has of it all."""
    (sink,) = call.of("sink")
    expected = {
        "BotStartedSpeakingFrame",
        "BotStoppedSpeakingFrame",
        "FunctionCallInProgressFrame",
        "FunctionCallResultFrame",
        "InputAudioRawFrame",
        "LLMFullResponseStartFrame",
        "LLMFullResponseEndFrame",
        "LLMTextFrame",
        "TTSTextFrame",
    }
    assert set() == expected - set(sink["kinds"])


def test_sound_goes_both_ways(call: Call) -> None:
    """The client has heard the bot, and the bot the client."""
    (sink,) = call.of("sink")
    assert 0 < sink["loud_bytes"]
    assert 0 < call.conversation.heard_seconds


def test_what_the_bot_saw(call: Call) -> None:
    """Every command once, in order; and a goodbye, whoever says it first."""
    received = [(id_, command.TYPE) for id_, command in call.conversation.received]
    by_bot = call.conversation.end is not None and call.conversation.end.first == "bot"
    assert [
        ("client-ready", "client-ready"),
        ("text", "send-text"),
        ("ping", "client-message"),
        ("fail", "client-message"),
        ("function", "client-message"),
        ("result", "llm-function-call-result"),
        *[("leave", "disconnect-bot")] * by_bot,
    ] == received
    assert call.conversation.end is not None
    assert 1000 == call.conversation.end.code
    assert None is call.conversation.failure
    assert [None] * by_bot == call.of("on_disconnected")
