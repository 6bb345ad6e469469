"""The message classes: their names, their fields, and that they are values."""

import copy
import math
import pickle
import typing
from typing import Any

import attrs
import pytest
from strategies import (
    COMMAND_CLASSES,
    EVENT_CLASSES,
    holder,
    nested_classes,
    sample,
    wire_fields,
    wire_key,
)

from trio_pipecat import _messages
from trio_pipecat._messages import (
    COMMAND_TYPES,
    EVENT_TYPES,
    RTVI_LABEL,
    RTVI_VERSION,
    Answer,
    AppendToContext,
    BotLlmText,
    BotMessage,
    BotReady,
    BotTtsAudio,
    Command,
    Dtmf,
    Error,
    ErrorResponse,
    Event,
    File,
    InlineSource,
    MalformedMessage,
    RawAudio,
    RawAudioBatch,
    SendFile,
    SendText,
    ServerResponse,
    UnknownMessage,
    UrlSource,
    UserLlmText,
)
from trio_pipecat._wire import from_json, to_json

MESSAGES = EVENT_CLASSES + COMMAND_CLASSES
CLASSES = MESSAGES + nested_classes(MESSAGES)
FIELDS = [(cls, attribute) for cls in CLASSES for attribute in wire_fields(cls)]

EVENTS_OF_RTVI_2_2 = """
    append-to-context-result bot-audio-level bot-interrupted bot-llm-marker
    bot-llm-search-response bot-llm-started bot-llm-stopped bot-llm-text bot-output bot-ready
    bot-started-speaking bot-stopped-speaking bot-transcription bot-tts-audio bot-tts-started
    bot-tts-stopped bot-tts-text error error-response eval-bot-audio eval-bot-image
    llm-function-call llm-function-call-in-progress llm-function-call-started
    llm-function-call-stopped llm-raw-text metrics server-message server-response stt-raw-text
    system-log tts-raw-text ui-command ui-job-group user-audio-level user-input user-llm-text
    user-mute-started user-mute-stopped user-started-speaking user-stopped-speaking
    user-transcription vad-user-started-speaking vad-user-stopped-speaking
"""
COMMANDS_OF_RTVI_2_2 = """
    append-to-context client-message client-ready disconnect-bot dtmf llm-function-call-result
    raw-audio raw-audio-batch send-file send-text ui-cancel-job-group ui-event ui-snapshot
"""


def name(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else value.name


def test_protocol_is_rtvi_2_2():
    """The version and the label that are spoken here."""
    assert ("2.2.0", "rtvi-ai") == (RTVI_VERSION, RTVI_LABEL)


# -- names -------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", MESSAGES, ids=name)
def test_class_is_named_after_its_wire_type(cls):
    """The name of a class is its wire type in CamelCase."""
    assert "".join(map(str.capitalize, cls.TYPE.split("-"))) == cls.__name__


def test_every_event_of_the_protocol_has_a_class():
    """There is a class for each message of a bot that speaks RTVI 2.2, and for no other."""
    assert EVENTS_OF_RTVI_2_2.split() == sorted(EVENT_TYPES)


def test_every_command_of_the_protocol_has_a_class():
    """There is a class for each message to a bot that speaks RTVI 2.2, and for no other."""
    assert COMMANDS_OF_RTVI_2_2.split() == sorted(COMMAND_TYPES)


@pytest.mark.parametrize(
    ("types", "base"),
    [(EVENT_TYPES, BotMessage), (COMMAND_TYPES, Command)],
    ids=["events", "commands"],
)
def test_tables_know_each_class_by_its_type(types, base):
    """The tables of types lead to subclasses of the right base, under their own type."""
    assert {cls.TYPE: cls for cls in types.values()} == types
    assert all(issubclass(cls, base) for cls in types.values())


def test_tables_have_every_class_of_the_module():
    """No message class of the module is missing in the tables."""
    bases = {Event, BotMessage, Answer, Command, UnknownMessage, MalformedMessage}
    found = {
        cls
        for cls in vars(_messages).values()
        if isinstance(cls, type) and issubclass(cls, Event | Command)
    }
    assert set(MESSAGES) == found - bases


def test_answers_are_the_events_with_an_id():
    """Only bot-ready, server-response and error-response carry the id of what they answer."""
    answers = {cls for cls in EVENT_CLASSES if issubclass(cls, Answer)}
    assert {BotReady, ServerResponse, ErrorResponse} == answers


@pytest.mark.parametrize("cls", CLASSES, ids=name)
def test_every_class_is_documented(cls):
    """Each class has a docstring of its own."""
    assert cls.__doc__
    assert cls.__doc__ != cls.__mro__[1].__doc__


# -- fields ------------------------------------------------------------------------------


@pytest.mark.parametrize(("cls", "attribute"), FIELDS, ids=name)
def test_field_refuses_what_is_of_another_type(cls, attribute):
    """Data of a wrong type is refused with a text that names the field, nulls where allowed."""
    hint = typing.get_type_hints(cls)[attribute.name]
    if hint is Any:
        return
    data = to_json(sample(cls))
    takes_text = str in (hint, *typing.get_args(hint))
    holder(data, attribute)[wire_key(attribute)] = 1 if takes_text else "text!"
    with pytest.raises(TypeError) as refused:
        from_json(cls, data)
    assert attribute.name in str(refused.value) or wire_key(attribute) in str(refused.value)


@pytest.mark.parametrize(("cls", "attribute"), FIELDS, ids=name)
@pytest.mark.parametrize("null", [False, True], ids=["absent", "null"])
def test_field_may_be_absent_only_with_a_default(cls, attribute, null):
    """A field without a value takes its default; without a default the class says it is missing."""
    data = to_json(sample(cls))
    target = holder(data, attribute)
    for key in (wire_key(attribute), *getattr(attribute.metadata.get("wire"), "also", ())):
        target.pop(key, None)
        if null:
            target[key] = None
    if attribute.default is not attrs.NOTHING:
        assert attribute.default == getattr(from_json(cls, data), attribute.name)
    elif not (null and cls is AppendToContext and attribute.name == "content"):
        with pytest.raises(TypeError, match=f"{wire_key(attribute)} is missing"):
            from_json(cls, data)


def test_defaults_are_the_servers():
    """What a command leaves out means what it means to the server."""
    file = File(format="image/png", source=UrlSource(url="pipecat:1"))
    for command in (SendText(content=""), SendFile(content="", file=file)):
        assert command.run_immediately
        assert command.audio_response
    assert not AppendToContext(role="user", content="").run_immediately
    assert not Error().fatal


def test_null_is_a_value_where_anything_is_one():
    """A field that takes any JSON, and has no default, takes null; it comes and goes as null."""
    nothing = AppendToContext(role="user", content=None)
    assert {"role": "user", "content": None, "run_immediately": False} == to_json(nothing)
    assert nothing == from_json(AppendToContext, to_json(nothing))


@pytest.mark.parametrize("cls", CLASSES, ids=name)
def test_messages_are_made_with_keywords_only(cls):
    """Fields are given by name: the order of the wire means nothing."""
    with pytest.raises(TypeError, match="positional"):
        cls("text")


def test_wrong_field_is_told_when_the_message_is_made():
    """A message with a wrong field never exists."""
    with pytest.raises(TypeError, match=r"^content: expected a string, got an integer$"):
        SendText(content=1)
    with pytest.raises(
        TypeError, match=r"^buttons: expected a tuple, each item a string, got a list$"
    ):
        Dtmf(buttons=["1"])


# -- values ------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSES, ids=name)
def test_messages_are_frozen(cls):
    """A message is a value: its fields can't be changed."""
    message = sample(cls)
    for attribute in attrs.fields(cls):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(message, attribute.name, None)


@pytest.mark.parametrize("cls", CLASSES, ids=name)
def test_messages_are_equal_by_their_fields(cls):
    """Messages with the same fields are equal, however they were copied."""
    message = sample(cls)
    assert message == sample(cls)
    assert message == copy.deepcopy(message)
    assert message == pickle.loads(pickle.dumps(message))


@pytest.mark.parametrize("cls", EVENT_CLASSES, ids=name)
def test_origin_of_an_event_does_not_count(cls):
    """`raw` and `at` are neither compared nor shown."""
    event = sample(cls)
    received = attrs.evolve(event, raw={"type": cls.TYPE}, at=3.5)
    assert event == received
    assert repr(event) == repr(received)


def test_event_made_by_hand_has_no_origin():
    """Outside of a session, `raw` is None and `at` is NaN."""
    event = BotLlmText(text="hi")
    assert event.raw is None
    assert math.isnan(event.at)


def test_classes_with_the_same_fields_differ():
    """Messages of different types are never equal."""
    assert BotLlmText(text="hi") != UserLlmText(text="hi")


@pytest.mark.parametrize(
    "message",
    [
        RawAudio(audio=b"secret", sample_rate=16_000, num_channels=1),
        RawAudioBatch(audio=(b"secret",), sample_rate=16_000, num_channels=1),
        SendFile(content="", file=File(format="a/b", source=InlineSource(content=b"secret"))),
    ],
    ids=lambda message: type(message).__name__,
)
def test_bulk_is_not_shown(message):
    """The bytes of sound and files that we send are left out of a message's repr."""
    assert "secret" not in repr(message)


def test_sound_of_the_bot_is_bytes():
    """Where the wire has base64, a message has bytes."""
    data = {"audio": "AAH/", "sample_rate": 24_000, "num_channels": 1}
    assert b"\x00\x01\xff" == from_json(BotTtsAudio, data).audio


def test_sources_are_told_apart_by_their_type():
    """A file's source is inline or a URL, and says which."""
    inline, url = InlineSource(content=b"\xff", width=2), UrlSource(url="pipecat:1")
    assert {"type": "bytes", "bytes": "/w==", "width": 2} == to_json(inline)
    assert {"type": "url", "url": "pipecat:1"} == to_json(url)
    for source in (inline, url):
        file = File(format="image/png", source=source)
        assert file == from_json(File, to_json(file))


def test_source_of_another_type_is_refused():
    """A file whose source is neither is refused."""
    with pytest.raises(TypeError, match=r"^source: expected one of InlineSource, UrlSource$"):
        from_json(File, {"format": "image/png", "source": {"type": "tape"}})
