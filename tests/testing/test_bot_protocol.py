"""The bot's half of the protocol: what a client gets for what it says."""

import json
from typing import Any

import pytest

import trio_pipecat as tp
from trio_pipecat._codec import encode_command
from trio_pipecat.testing._bot_protocol import BotProtocol, Received


def told(text: str, bot: BotProtocol | None = None) -> Received:
    return (bot or BotProtocol()).receive(text)


def hello(version: str) -> str:
    return encode_command(tp.ClientReady(version=version), "h1")


def replies(received: Received) -> list[dict[str, Any]]:
    return [json.loads(reply) for reply in received.replies]


def test_a_command_is_to_be_obeyed() -> None:
    """With its id."""
    received = told(encode_command(tp.SendText(content="x"), "m1"))
    assert Received("m1", tp.SendText(content="x")) == received


@pytest.mark.parametrize(
    "text",
    ["garbage", "[]", "{}", '{"label":"other","type":"x","id":"1"}', '{"type":"x","id":"1"}'],
)
def test_what_is_not_labelled_is_ignored(text: str) -> None:
    """As pipecat does, with a line in its log."""
    assert Received() == told(text)


@pytest.mark.parametrize(
    "envelope",
    [
        {"type": "send-text", "data": {"content": "x"}},
        {"type": "send-text", "id": 5, "data": {"content": "x"}},
        {"type": "send-text", "id": "1", "data": [1]},
        {"id": "1"},
    ],
)
def test_a_broken_envelope_gets_an_error_without_an_id(envelope: dict[str, Any]) -> None:
    """There is nothing to answer to."""
    (reply,) = replies(told(json.dumps({"label": "rtvi-ai", **envelope})))
    assert "error" == reply["type"]
    assert "id" not in reply
    assert reply["data"]["error"].startswith("Invalid RTVI transport message")


@pytest.mark.parametrize(
    ("type_", "data", "error"),
    [
        ("send-text", {"content": 5}, "Invalid message"),
        ("send-text", None, "Invalid message"),
        ("no-such-thing", None, "Unsupported type no-such-thing"),
        ("append-to-context", {"role": "user", "content": "x"}, "Unsupported type"),
        ("dtmf", {"button": "1"}, "Invalid message"),
    ],
)
def test_bad_data_and_unknown_types_are_answered_by_id(type_: str, data: Any, error: str) -> None:
    """With an error-response."""
    envelope = {"label": "rtvi-ai", "type": type_, "id": "m1", "data": data}
    (reply,) = replies(told(json.dumps(envelope)))
    assert ("error-response", "m1") == (reply["type"], reply["id"])
    assert reply["data"]["error"].startswith(error)


@pytest.mark.parametrize(
    ("version", "complaint", "answered"),
    [
        ("2.2.0", None, "2.2.0"),
        ("2.9.0", None, "2.2.0"),
        ("1.4.0", None, "1.4.0"),
        ("0.3.0", "not compatible", "2.2.0"),
        ("3.0.0", "not compatible", "2.2.0"),
        ("2.2", "Invalid client version format", "2.2.0"),
    ],
)
def test_versions_are_negotiated_as_pipecat_does(
    version: str, complaint: str | None, answered: str
) -> None:
    """A complaint, if there is one, and then bot-ready all the same; a 1.x client is echoed."""
    bot = BotProtocol()
    received = told(hello(version), bot)
    assert isinstance(received.command, tp.ClientReady)
    assert ([] if complaint is None else [complaint]) == [
        complaint for reply in replies(received) if complaint in reply["data"]["error"]
    ]
    ready = json.loads(bot.ready())
    assert ("bot-ready", "h1", answered) == (ready["type"], ready["id"], ready["data"]["version"])


def test_a_client_that_says_no_version_is_answered_too() -> None:
    """Its message is malformed, and it gets bot-ready."""
    bot = BotProtocol()
    received = told('{"label":"rtvi-ai","type":"client-ready","id":"h1"}', bot)
    assert ["Client version unknown."] == [reply["data"]["error"] for reply in replies(received)]
    assert isinstance(received.command, tp.ClientReady)
    assert "h1" == json.loads(bot.ready())["id"]


def test_a_bot_before_client_ready_takes_its_client_for_version_zero() -> None:
    """So it sends nothing that is new."""
    assert (0, 0, 0) == BotProtocol().client_version
