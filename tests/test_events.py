"""The session's own events."""

import copy
import math
import pickle

import attrs
import pytest

from trio_pipecat import _events
from trio_pipecat._events import (
    SESSION_EVENTS,
    AudioStarted,
    BotConnected,
    BotDisconnected,
    BotStarted,
    Connected,
    ConnectionRestarted,
    Disconnected,
    EventsSkipped,
    FunctionCallUnanswerable,
    ProtocolMismatch,
    StateChanged,
)
from trio_pipecat._messages import BotMessage, BotReady, Event
from trio_pipecat._state import SessionEnd, State

END = SessionEnd(reason="bot", last_state=State.READY, first="bot", code=1000)
EXAMPLES = [
    StateChanged(state=State.READY, previous=State.CONNECTED),
    BotStarted(answer={"wsUrl": None}),
    Connected(),
    BotConnected(),
    AudioStarted(sample_rate=24_000, num_channels=1),
    ConnectionRestarted(bot=BotReady(version="2.2.0")),
    EventsSkipped(count=3),
    ProtocolMismatch(ours="2.2.0", bot=None, detail="the bot gave its version as ''"),
    FunctionCallUnanswerable(tool_call_id="c1"),
    BotDisconnected(end=END),
    Disconnected(end=END),
]


def kind(event):
    return type(event).__name__


def test_list_has_every_event_of_the_module():
    """`SESSION_EVENTS` is complete, and there is an example of each in this file."""
    defined = [
        cls
        for cls in vars(_events).values()
        if isinstance(cls, type) and issubclass(cls, Event) and cls not in (Event, BotReady)
    ]
    assert set(defined) == set(SESSION_EVENTS) == set(map(type, EXAMPLES))
    assert len(defined) == len(SESSION_EVENTS)


@pytest.mark.parametrize("cls", SESSION_EVENTS, ids=lambda cls: cls.__name__)
def test_session_events_are_no_messages(cls):
    """An event of the session is an event, is no message of the bot, and is documented."""
    assert issubclass(cls, Event)
    assert not issubclass(cls, BotMessage)
    assert cls.__doc__ != Event.__doc__


@pytest.mark.parametrize("event", EXAMPLES, ids=kind)
def test_session_events_have_no_origin(event):
    """`raw` is None, since nothing came over the wire; `at` is when it happened."""
    assert event.raw is None
    assert math.isnan(event.at)
    later = attrs.evolve(event, at=1.5)
    assert (event, 1.5) == (later, later.at)


@pytest.mark.parametrize("event", EXAMPLES, ids=kind)
def test_session_events_are_values(event):
    """An event is frozen, and can be copied and pickled."""
    assert event == copy.deepcopy(event) == pickle.loads(pickle.dumps(event))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.at = 1.5


@pytest.mark.parametrize("cls", [BotDisconnected, Disconnected], ids=lambda cls: cls.__name__)
def test_end_is_shown_in_one_line(cls):
    """The repr of the last events tells the end in its own words."""
    expected = f"{cls.__name__}(end=bot in state ready (first: bot, closed with 1000))"
    assert expected == repr(cls(end=END))


@pytest.mark.parametrize(
    ("cls", "fields", "reason"),
    [
        (StateChanged, {"state": "ready", "previous": State.IDLE}, "state: expected State, got a"),
        (AudioStarted, {"sample_rate": 0.5, "num_channels": 1}, "sample_rate: expected an integer"),
        (EventsSkipped, {"count": None}, "count: expected an integer, got null"),
        (ProtocolMismatch, {"ours": "", "bot": 2, "detail": ""}, "bot: expected a string, got an"),
        (Disconnected, {"end": "bot"}, "end: expected SessionEnd, got a string"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_fields_are_checked(cls, fields, reason):
    """A field of a wrong type is refused when the event is made."""
    with pytest.raises(TypeError) as refused:
        cls(**fields)
    assert str(refused.value).startswith(reason)


def test_bot_without_a_version_is_none():
    """A mismatch with a bot that said no version has None in its place."""
    assert ProtocolMismatch(ours="2.2.0", bot=None, detail="x").bot is None
