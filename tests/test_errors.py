"""The errors: their tree, their facts, and their one line."""

import copy
import pickle
import re

import attrs
import pytest

from trio_pipecat import _errors
from trio_pipecat._errors import (
    BotNotReadyError,
    ConnectionLostError,
    DeviceError,
    FatalBotError,
    InternalError,
    InvalidParamsError,
    MessageTooLargeError,
    PipecatError,
    ProtocolError,
    ReadyTimeoutError,
    RecordingError,
    RequestError,
    RequestTimeoutError,
    SessionEndedError,
    SlowReaderError,
    StartBotError,
    TransportStartError,
    UnsupportedFeatureError,
    UploadError,
    WavError,
)
from trio_pipecat._state import SessionEnd, State

END = SessionEnd(reason="bot", last_state=State.READY, first="bot", code=1000)
LOST = SessionEnd(
    reason="connection_lost", last_state=State.CONNECTED, first="network", code=1006, text="gone"
)
NO_LINK = SessionEnd(reason="cancelled", last_state=State.CONNECTING, first="client")
OVER = "bot in state ready (first: bot, closed with 1000)"

ERRORS = [
    (InvalidParamsError("not a URL"), "not a URL"),
    (StartBotError("no answer"), "the bot was not started: no answer"),
    (
        StartBotError("busy", 503, 2.5),
        "the bot was not started: HTTP 503: busy (retry after 2.5 s)",
    ),
    (TransportStartError("tls", "too old"), "no link to the bot (tls): too old"),
    (
        TransportStartError("upgrade", "refused", 403),
        "no link to the bot (upgrade): HTTP 403: refused",
    ),
    (
        ReadyTimeoutError(30.0, State.CONNECTED),
        "the bot was not ready after 30 s in state connected: it sent nothing",
    ),
    (
        ReadyTimeoutError(9, State.READY, "metrics", 3),
        "the bot was not ready after 9 s in state ready: of 3 messages the last was 'metrics'",
    ),
    (
        BotNotReadyError(State.CONNECTING),
        "the bot is not ready (state connecting); await session.wait_ready() first",
    ),
    (SessionEndedError(END), f"the session has ended: {OVER}"),
    (
        SessionEndedError(attrs.evolve(END, error=ValueError("left out"))),
        f"the session has ended: {OVER}",
    ),
    (
        ConnectionLostError(LOST, "no pong"),
        "the link to the bot was lost in state connected (close code 1006): no pong: gone",
    ),
    (
        ConnectionLostError(NO_LINK, "silence"),
        "the link to the bot was lost in state connecting: silence",
    ),
    (FatalBotError(END, "out of memory"), "the bot failed: out of memory"),
    (
        SlowReaderError(END, "session.events", 1024),
        "too many unread events (over 1024) in session.events",
    ),
    (RequestError("time", "no clock"), "the bot refused 'time': no clock"),
    (RequestTimeoutError("time", 10.0), "the bot did not answer 'time' within 10 s"),
    (UploadError("no answer"), "the file was not uploaded: no answer"),
    (UploadError("too large", 413), "the file was not uploaded: HTTP 413: too large"),
    (UnsupportedFeatureError("dtmf", "RTVI 2.0"), "dtmf needs RTVI 2.0"),
    (MessageTooLargeError(10, 5), "a message of 10 bytes is over the limit of 5"),
    (ProtocolError("not JSON"), "not JSON"),
    (DeviceError("microphone 2", "unplugged"), "microphone 2: unplugged"),
    (RecordingError("a.jsonl", 3, "'t' is missing"), "a.jsonl, line 3: 't' is missing"),
    (RecordingError("a.wav", None, "too short"), "a.wav: too short"),
    (WavError("a.wav", 20, "no such\ncodec"), "a.wav, byte 20: no such codec"),
    (InternalError("oops"), "a bug in trio_pipecat, please report it: oops"),
]
EACH = [error for error, _ in ERRORS]
CLASSES = [
    cls for cls in vars(_errors).values() if isinstance(cls, type) and issubclass(cls, PipecatError)
]


def kind(error):
    return type(error).__name__


def facts(error):
    return {name: getattr(error, name) for name in attrs.fields_dict(type(error))}


def test_every_error_is_tested_here():
    """There is an example of each class in this file."""
    assert set(CLASSES) == {PipecatError, *map(type, EACH)}


@pytest.mark.parametrize(("error", "text"), ERRORS, ids=kind)
def test_facts_are_told_in_one_line(error, text):
    """`str()` puts the facts of an error into one line."""
    assert text == str(error)


LINES = "two\n  lines"


@pytest.mark.parametrize(
    "error",
    [
        StartBotError(LINES),
        TransportStartError("tls", LINES),
        ReadyTimeoutError(1, State.CONNECTED, LINES, 1),
        SessionEndedError(attrs.evolve(END, text=LINES)),
        ConnectionLostError(attrs.evolve(END, text=LINES), LINES),
        FatalBotError(END, LINES),
        RequestError(LINES, LINES),
        UploadError(LINES.replace("\n", "\u2028")),
        DeviceError(LINES, LINES),
        InternalError(LINES),
    ],
    ids=kind,
)
def test_words_of_others_are_put_on_one_line(error):
    """What a server or a device said in several lines is told in one."""
    assert 1 == len(str(error).splitlines())


def test_words_of_others_are_kept_as_they_came():
    """The fact still has the lines that the text of the error does not."""
    assert LINES == RequestError("time", LINES).error


# `copy` is how each task that is told of the end of a session gets a traceback of its own.
@pytest.mark.parametrize("error", EACH, ids=kind)
@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_errors_can_be_copied_and_pickled(error, duplicate):
    """A copy of an error has its class, its facts and its text, and is another object."""
    twin = duplicate(error)
    assert error is not twin
    assert type(error) is type(twin)
    assert repr(facts(error)) == repr(facts(twin))
    assert str(error) == str(twin)


@pytest.mark.parametrize("error", EACH, ids=kind)
def test_errors_are_themselves(error):
    """An error is equal to itself alone and can be a key, like every exception."""
    assert error != copy.copy(error)
    assert {error: 1}[error]


def test_copy_does_not_share_its_traceback():
    """What is raised from a copy leaves the first alone."""
    error = SessionEndedError(END)
    with pytest.raises(SessionEndedError):
        raise copy.copy(error)
    assert error.__traceback__ is None


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_errors_share_a_base(cls):
    """Everything that the package raises on purpose is caught with `PipecatError`."""
    assert issubclass(cls, PipecatError)
    assert not issubclass(cls, BaseExceptionGroup)


def test_wrong_parameters_are_a_value_error_too():
    """Who passes wrong parameters may catch what Python would raise."""
    assert issubclass(InvalidParamsError, ValueError)


def test_end_of_a_session_is_one_family():
    """All ways in which a session ends under somebody's hands are caught in one."""
    family = {cls for cls in CLASSES if issubclass(cls, SessionEndedError)}
    assert {SessionEndedError, ConnectionLostError, FatalBotError, SlowReaderError} == family


def test_tree_in_the_documentation_is_the_tree():
    """The drawing at the top of the module has every class, under its base."""
    drawn, path = {}, ["Exception"]
    for indent, name in re.findall(r"^( {4}[ │├└─]*)(\w+Error)\b", _errors.__doc__, re.MULTILINE):
        depth = len(indent) // 4
        path[depth:] = [name]
        drawn[name] = path[depth - 1]
    assert {cls.__name__: cls.__bases__[0].__name__ for cls in CLASSES} == drawn
