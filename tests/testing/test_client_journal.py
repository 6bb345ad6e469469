"""What a server holds against what a client has sent."""

import json
from typing import Any

import pytest

from trio_pipecat.audio import AudioChunk
from trio_pipecat.testing._client_journal import Journal, TappedWire
from trio_pipecat.transports import Interruption, Undecodable
from trio_pipecat.transports._wires import ProtobufWire

READY = {
    "label": "rtvi-ai",
    "type": "client-ready",
    "id": "1",
    "data": {"version": "2.2.0", "about": {"library": "mine"}},
}
TEXT = {"label": "rtvi-ai", "type": "send-text", "id": "2", "data": {"content": "hello"}}


def problems(*items: Any, ready_before: int = 1) -> list[str]:
    """Return what is wrong with items, if the bot was ready before the one of that number."""
    journal = Journal()
    for number, item in enumerate(items):
        sent = json.dumps(item) if isinstance(item, dict | list) else item
        journal.came.append((sent, number >= ready_before))
    return list(journal.problems())


def test_nothing_is_wrong() -> None:
    """With a client-ready, and after the bot is ready whatever else."""
    bare = {"label": "rtvi-ai", "type": "disconnect-bot", "id": "3"}
    null = {"label": "rtvi-ai", "type": "disconnect-bot", "id": "4", "data": None}
    assert [] == problems(READY, TEXT, bare, null, AudioChunk(b"\0\0", 16_000), Interruption())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"label": "rtvi"}, "the label of send-text is 'rtvi'"),
        ({"id": 2}, "the id of send-text is 2, not a string"),
        ({"id": ""}, "the id of send-text is '', not a string"),
        ({"id": None}, "the id of send-text is None, not a string"),
        ({"id": "1"}, "the id of send-text, '1', was used before"),
        ({"data": ["hello"]}, "the data of send-text is neither an object nor null"),
        ({"type": "sing"}, "a bot refuses sing: Unsupported type sing"),
    ],
)
def test_an_envelope_that_is_wrong(change: dict[str, Any], problem: str) -> None:
    """Each in its way."""
    assert [problem] == problems(READY, {**TEXT, **change})


def test_data_that_a_bot_refuses() -> None:
    """With its reason."""
    (problem,) = problems(READY, {**TEXT, "data": {}})
    assert problem.startswith("a bot refuses send-text: Invalid message")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({**READY["data"], "version": "2.2"}, ["the version in client-ready is '2.2', not three"]),
        ({**READY["data"], "version": None}, ["the version in client-ready is None, not three"]),
        ({"version": "2.2.0", "about": "me"}, ["the about in client-ready names no library"]),
        ({"version": "2.2.0", "about": {}}, ["the about in client-ready names no library"]),
        (None, ["the version in client-ready is None", "the about in client-ready names no"]),
    ],
)
def test_a_client_ready_that_is_wrong(data: Any, expected: list[str]) -> None:
    """It has to say its version and its library."""
    found = problems({**READY, "data": data})
    assert len(expected) == len(found)
    assert all(text.startswith(start) for text, start in zip(found, expected, strict=True))


def test_too_early() -> None:
    """Nothing but client-ready goes out before the bot is ready."""
    sound = AudioChunk(b"\0\0", 16_000)
    assert [
        "it sends send-text before the bot is ready",
        "it sends sound before the bot is ready",
        "it sends an interruption before the bot is ready",
    ] == problems(READY, {**READY, "id": "0"}, TEXT, sound, Interruption(), ready_before=9)


def test_the_first_message_is_client_ready() -> None:
    """Whatever comes before is said once."""
    assert ["its first message is send-text, not client-ready"] == problems(TEXT, READY)


@pytest.mark.parametrize("text", ["{", "[1]", "null"])
def test_what_is_no_message(text: str) -> None:
    """Is shown."""
    assert [f"it sends what is no JSON object: {text!r}"] == problems(READY, text)


def test_what_can_not_be_read() -> None:
    """Is told with the reason."""
    assert ["it sends what can't be read: half a frame"] == problems(
        READY, Undecodable("half a frame")
    )


def test_the_tap_notices_when_the_bot_is_ready() -> None:
    """What comes after that is marked."""
    journal, wire = Journal(), ProtobufWire(takes_texts=False)
    tapped = TappedWire(wire, journal)
    tapped.decode(wire.message("one"), at=0)
    tapped.message('{"label":"rtvi-ai","type":"metrics"}')
    tapped.decode(wire.message("two"), at=0)
    tapped.message('{"label":"rtvi-ai","type":"bot-ready","id":"1"}')
    tapped.decode(wire.message("three"), at=0)
    assert [("one", False), ("two", False), ("three", True)] == journal.came
