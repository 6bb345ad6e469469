"""How two recordings differ, in what was said and what became of it; not in when."""

import json
from collections.abc import Callable, Iterator, Sequence
from difflib import SequenceMatcher
from itertools import takewhile
from typing import Final, Literal, TypeAlias

import attrs

from .._wire import Json
from ._recording import (
    Recorded,
    RecordedEnd,
    RecordedInterruption,
    RecordedMessage,
    RecordedUndecodable,
    Recording,
    Speaker,
)

#: What two recordings can differ in. ``sent`` and ``received`` are messages and interruptions.
DifferenceKind: TypeAlias = Literal[
    "state", "sent", "received", "sent audio", "received audio", "end"
]

_SIDES: Final[tuple[tuple[DifferenceKind, DifferenceKind, Speaker], ...]] = (
    ("sent", "sent audio", "client"),
    ("received", "received audio", "bot"),
)

#: Keys in a message's data that are new with each session.
_NEW_EACH_TIME: Final = frozenset({"msg_id", "tool_call_id", "timestamp"})
#: How much of a message `Difference` shows.
_SHOWN: Final = 100
#: And how much of what both have in common before the first difference.
_BEFORE: Final = 30


@attrs.frozen(kw_only=True)
class Difference:
    """Something that is in one recording and not, or otherwise, in the other.

    Attributes:
        what: what differs.
        left, right: what the first and the second recording have there; None: nothing.
        left_line, right_line: where that stands in their files.
    """

    what: DifferenceKind
    left: str | None
    right: str | None
    left_line: int | None = None
    right_line: int | None = None

    def __str__(self) -> str:
        left, right = self.sides
        if self.left is None:
            return f"{self.what}: only in the second: {right}"
        if self.right is None:
            return f"{self.what}: only in the first: {left}"
        return f"{self.what}: {left} / {right}"

    @property
    def sides(self) -> tuple[str, str]:
        """Both sides, short enough to be read, and cut so that their difference is seen."""
        left, right = self.left or "", self.right or ""
        same = sum(1 for _ in takewhile(_equal, zip(left, right, strict=False)))
        cut = 0 if max(len(left), len(right)) <= _SHOWN else max(same - _BEFORE, 0)
        return _side(left, cut, self.left_line), _side(right, cut, self.right_line)


def _side(text: str, cut: int, line: int | None) -> str:
    head = text[:cut].partition(" ")[0]  # the type of a message
    short = text[cut:] if cut <= len(head) else f"{head} …{text[cut:]}"
    short = short if len(short) <= _SHOWN else f"{short[:_SHOWN]}…"
    return short if line is None else f"{short} (line {line})"


def diff(left: Recording, right: Recording, *, audio_tolerance: float = 0.05) -> list[Difference]:
    """Return how two recordings differ; nothing, if they don't.

    Compared are the states, the messages of each side in their order, the seconds of sound of each
    side, and the end. Times are not, nor ids and timestamps, which are new in each session, nor the
    texts of errors.

    Args:
        left: one recording.
        right: the other.
        audio_tolerance: by how many seconds sound may differ.
    """
    found = list(_compare("state", left.states, right.states, lambda event: event.state))
    for messages, audio, by in _SIDES:
        found += _compare(messages, _said(left, by), _said(right, by), _show)
        one, other = left.audio_seconds(by), right.audio_seconds(by)
        if abs(one - other) > audio_tolerance:
            found.append(Difference(what=audio, left=f"{one:.2f} s", right=f"{other:.2f} s"))
    if _show_end(left.end) != _show_end(right.end):
        found.append(
            Difference(
                what="end",
                left=_show_end(left.end),
                right=_show_end(right.end),
                left_line=None if left.end is None else left.end.line,
                right_line=None if right.end is None else right.end.line,
            )
        )
    return found


def _said(recording: Recording, by: Speaker) -> list[Recorded]:
    said: list[Recorded] = []
    for event in recording.events:
        match event:
            case RecordedMessage() | RecordedInterruption() if event.by == by:
                said.append(event)
            case RecordedUndecodable() if by == "bot":
                said.append(event)
            case _:
                pass
    return said


def _compare(
    what: DifferenceKind,
    left: Sequence[Recorded],
    right: Sequence[Recorded],
    show: Callable[..., str],
) -> Iterator[Difference]:
    one, other = [show(event) for event in left], [show(event) for event in right]
    for operation, i, i_end, j, j_end in _operations(one, other):
        if operation == "equal":
            continue
        for offset in range(max(i_end - i, j_end - j)):
            has_left, has_right = i + offset < i_end, j + offset < j_end
            yield Difference(
                what=what,
                left=one[i + offset] if has_left else None,
                right=other[j + offset] if has_right else None,
                left_line=left[i + offset].line if has_left else None,
                right_line=right[j + offset].line if has_right else None,
            )


def _operations(one: list[str], other: list[str]) -> Iterator[tuple[str, int, int, int, int]]:
    """Return how to make `other` of `one`."""
    # Most is equal as a rule, and what is need not be looked at in every combination.
    begin = sum(1 for _ in takewhile(_equal, zip(one, other, strict=False)))
    one, other = one[begin:], other[begin:]
    end = sum(1 for _ in takewhile(_equal, zip(reversed(one), reversed(other), strict=False)))
    matcher = SequenceMatcher(None, one[: len(one) - end], other[: len(other) - end])
    for operation, i, i_end, j, j_end in matcher.get_opcodes():
        yield operation, begin + i, begin + i_end, begin + j, begin + j_end


def _equal(pair: tuple[str, str]) -> bool:
    return pair[0] == pair[1]


def _show(event: Recorded) -> str:
    """Return what was said, without what is new each time."""
    match event:
        case RecordedMessage(message=dict() as message):
            return _show_message(message)
        case RecordedMessage(message=text):
            return f"text {text}"
        case RecordedUndecodable():
            return f"undecodable {event.raw!r}"
        case _:
            return "interruption"


def _show_message(message: dict[str, Json]) -> str:
    rest = {key: value for key, value in message.items() if key not in ("label", "type", "id")}
    data = rest.get("data")
    if isinstance(data, dict):
        rest["data"] = {key: value for key, value in data.items() if key not in _NEW_EACH_TIME}
    # What no peer of ours does is shown, too: other labels, other keys.
    shown = rest.get("data") if rest.keys() == {"data"} else rest
    if message.get("label") != "rtvi-ai":
        shown = {**rest, "label": message.get("label")}
    text = json.dumps(shown, sort_keys=True, ensure_ascii=False) if shown else ""
    return f"{message.get('type', 'no type')} {text}".rstrip()


def _show_end(end: RecordedEnd | None) -> str | None:
    if end is None:
        return None
    code = "" if end.code is None else f", closed with {end.code}"
    text = f" {end.text!r}" if end.text else ""
    error = "" if end.error_type is None else f": {end.error_type}"
    return f"{end.reason} in state {end.last_state} (first: {end.first}{code}{text}){error}"
