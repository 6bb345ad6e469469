"""How two recordings differ."""

import tempfile
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_recording import AUDIO, END, at, write, write_wav

from trio_pipecat.testing import Difference, Recording, diff, load_recording

TEXT: dict[str, Any] = {
    "label": "rtvi-ai",
    "type": "send-text",
    "id": "1",
    "data": {"content": "a"},
}
TOLD: dict[str, Any] = {"label": "rtvi-ai", "type": "user-input", "data": {"text": "a"}}


@pytest.fixture
def make(tmp_path: Path) -> Any:
    def make(*lines: Any, end: Any = END) -> Recording:
        return load_recording(write(tmp_path, *lines, end=end))

    return make


def test_what_is_equal_does_not_differ(make: Any) -> None:
    """Nor do times, ids and timestamps."""
    one = make(at(1, state="idle"), at(1, sent=TEXT), at(1, received=TOLD))
    told = {**TOLD, "data": {"text": "a", "msg_id": "9", "timestamp": "t", "tool_call_id": "x"}}
    other = make(at(2, state="idle"), at(3, sent={**TEXT, "id": "7"}), at(4, received=told))
    assert [] == diff(one, other)


def test_the_sides_are_compared_each_for_itself(make: Any) -> None:
    """Who was faster does not matter."""
    one = make(at(1, sent=TEXT), at(2, received=TOLD))
    assert [] == diff(one, make(at(1, received=TOLD), at(2, sent=TEXT)))


@pytest.mark.parametrize(
    ("left", "right", "told"),
    [
        (
            [at(state="idle")],
            [at(state="idle"), at(state="connecting")],
            "state: only in the second: connecting (line 3)",
        ),
        (
            [at(sent=TEXT), at(sent={**TEXT, "type": "x"})],
            [at(sent={**TEXT, "type": "x"})],
            'sent: only in the first: send-text {"content": "a"} (line 2)',
        ),
        (
            [at(received=TOLD)],
            [at(received={**TOLD, "data": {"text": "b"}})],
            'received: user-input {"text": "a"} (line 2) / user-input {"text": "b"} (line 2)',
        ),
        (
            [at(received={**TOLD, "label": "x"})],
            [at(received={**TOLD, "data": 1})],
            (
                'received: user-input {"data": {"text": "a"}, "label": "x"} (line 2) / '
                "user-input 1 (line 2)"
            ),
        ),
        (
            [at(received="interruption")],
            [at(received="undecodable", raw="/w==", detail="x")],
            "received: interruption (line 2) / undecodable b'\\xff' (line 2)",
        ),
        (
            [at(sent="interruption")],
            [at(sent="text", text="x" * 200)],
            f"sent: interruption (line 2) / text {'x' * 95}… (line 2)",
        ),
        (
            [at(received={})],
            [at(received={"type": "a", "extra": 1, "label": "rtvi-ai"})],
            'received: no type {"label": null} (line 2) / a {"extra": 1} (line 2)',
        ),
    ],
)
def test_a_difference_says_what_and_where(left: Any, right: Any, told: str, make: Any) -> None:
    """On one line."""
    assert [told] == [str(difference) for difference in diff(make(*left), make(*right))]


def test_sound_is_compared_by_its_length(make: Any, tmp_path: Path) -> None:
    """Within a tolerance."""
    write_wav(tmp_path, bot=[1] * 400)
    one = make(at(received="audio", **{**AUDIO, "frames": 100}))
    same = make(at(received="audio", **{**AUDIO, "frames": 140}))
    longer = make(at(received="audio", **{**AUDIO, "frames": 400}))
    assert [] == diff(one, same)
    assert ["received audio: 0.10 s / 0.14 s"] == [
        str(d) for d in diff(one, same, audio_tolerance=0)
    ]
    assert ["received audio: 0.10 s / 0.40 s"] == [str(d) for d in diff(one, longer)]


def test_the_end_counts(make: Any) -> None:
    """Its reason, code and error, but not the error's text."""
    error = {"type": "ConnectionLostError", "text": "a"}
    lost = {**END, "reason": "connection_lost", "code": 1006, "error": error}
    assert [] == diff(make(end=lost), make(end={**lost, "error": {**error, "text": "b"}}))
    (difference,) = diff(make(), make(end={**lost, "text": "bye"}))
    assert (
        "end: client in state ready (first: client, closed with 1000) (line 2) / "
        "connection_lost in state ready (first: client, closed with 1006 'bye'): "
        "ConnectionLostError (line 2)"
    ) == str(difference)
    (difference,) = diff(make(end={**END, "code": None}), make(end=None))
    assert "end: only in the first: client in state ready (first: client) (line 2)" == str(
        difference
    )


def test_a_difference_is_a_value(make: Any) -> None:
    """With what differs, both sides, and their lines."""
    (difference,) = diff(make(), make(at(state="idle")))
    assert ("state", None, "idle", None, 2) == attrs.astuple(difference)


WORDS = st.lists(st.sampled_from("abc"), max_size=12)


@given(WORDS, WORDS)
def test_differences_turn_one_into_the_other(left: list[str], right: list[str]) -> None:
    """Taking away what only the first has, and putting in what only the second has."""
    with tempfile.TemporaryDirectory() as folder:
        one, other = (
            load_recording(write(Path(folder), *(at(sent={"type": word}) for word in words)))
            for words in (left, right)
        )
    found = diff(one, other)
    removed = {difference.left_line for difference in found}
    kept = [message.type for message in one.messages("client") if message.line not in removed]
    added = {difference.right_line for difference in found}
    there = [message.type for message in other.messages("client") if message.line not in added]
    assert kept == there


def test_thousands_of_equal_messages_take_no_time(make: Any) -> None:
    """As a long call has."""
    many = [at(sent=TEXT)] * 5_000
    (difference,) = diff(make(*many), make(*many[:2_500], at(sent={}), *many[2_500:]))
    assert 2_502 == difference.right_line


def test_long_messages_are_cut_where_they_differ() -> None:
    """So that the difference is seen, and which message it is."""
    text = "x" * 500
    found = Difference(
        what="received",
        left=f'bot-output {{"text": "{text}a"}}',
        right=f'bot-output {{"text": "{text}b"}}',
    )
    one, other = found.sides
    assert one.startswith("bot-output …xxx")
    assert one.endswith('xa"}')
    assert other.endswith('xb"}')
