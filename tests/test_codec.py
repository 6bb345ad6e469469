"""JSON text to messages and back: every message, and everything that is none."""

import contextlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server_messages import SERVER_MESSAGES
from strategies import (
    COMMAND_CLASSES,
    EVENT_CLASSES,
    JSON,
    collects_keys,
    records,
    sample,
)

from trio_pipecat._codec import (
    MalformedCommand,
    decode_command,
    decode_event,
    encode_command,
    encode_data,
    encode_event,
)
from trio_pipecat._errors import ProtocolError
from trio_pipecat._messages import (
    COMMAND_TYPES,
    EVENT_TYPES,
    AboutClient,
    Answer,
    AppendToContextResult,
    BotInterrupted,
    BotMessage,
    BotOutput,
    ClientMessage,
    ClientReady,
    Command,
    DisconnectBot,
    Dtmf,
    Error,
    File,
    InlineSource,
    LlmFunctionCallStarted,
    MalformedMessage,
    Metrics,
    RawAudio,
    RawAudioBatch,
    SendFile,
    SendText,
    ServerMessage,
    UiNode,
    UiSnapshot,
    UiTree,
    UnknownMessage,
    UserAudioLevel,
)


def name(cls):
    return cls.__name__


def envelope(type_, **keys):
    return json.dumps({"label": "rtvi-ai", "type": type_, **keys})


def event(type_, **keys):
    return decode_event(envelope(type_, **keys), at=0)


def reason(type_, **keys):
    malformed = event(type_, **keys)
    assert isinstance(malformed, MalformedMessage)
    assert type_ == malformed.type
    return malformed.reason


def refusal(text):
    refused = decode_command(text)
    assert isinstance(refused, MalformedCommand)
    return refused


def nested(depth, *, inner="1"):
    return "[" * depth + inner + "]" * depth


# -- round trips -------------------------------------------------------------------------


@pytest.mark.parametrize("cls", EVENT_CLASSES, ids=name)
@given(data=st.data())
def test_events_survive_the_wire(cls, data):
    """Decoding what was encoded gives an equal event of the same class."""
    sent = data.draw(records(cls))
    assert sent == decode_event(encode_event(sent), at=0)


@pytest.mark.parametrize("cls", COMMAND_CLASSES, ids=name)
@given(data=st.data())
def test_commands_survive_the_wire(cls, data):
    """Decoding what was encoded gives an equal command of the same class, with its id."""
    sent, id_ = data.draw(records(cls)), data.draw(st.text())
    assert (id_, sent) == decode_command(encode_command(sent, id_))


@given(type_=st.text().filter(lambda type_: type_ not in EVENT_TYPES), data=JSON)
def test_unknown_messages_survive_the_wire(type_, data):
    """Messages of a type that nobody knows yet lose nothing either."""
    sent = UnknownMessage(type=type_, data=data)
    assert sent == decode_event(encode_event(sent), at=0)


@pytest.mark.parametrize("cls", EVENT_CLASSES + COMMAND_CLASSES, ids=name)
def test_text_is_read_as_bytes_too(cls):
    """Some links carry JSON as bytes of UTF-8."""
    message = sample(cls)
    if issubclass(cls, Command):
        text = encode_command(message, "1")
        assert decode_command(text) == decode_command(text.encode())
    else:
        assert message == decode_event(encode_event(message).encode(), at=0)


@given(text=st.text() | st.binary())
def test_any_text_is_an_event_or_a_protocol_error(text):
    """Whatever a bot sends, an event comes out, or a `ProtocolError`."""
    with contextlib.suppress(ProtocolError):
        assert isinstance(decode_event(text, at=0), BotMessage)


@given(type_=st.sampled_from([*EVENT_TYPES, *COMMAND_TYPES, "later"]), id_=JSON, data=JSON)
def test_any_envelope_is_a_message(type_, id_, data):
    """Whatever an envelope holds, either end makes something of it."""
    text = envelope(type_, id=id_, data=data)
    assert isinstance(decode_event(text, at=0), BotMessage)
    assert isinstance(decode_command(text), MalformedCommand | tuple)


# -- events as pipecat 1.14.0 sends them -------------------------------------------------


@pytest.mark.parametrize(("text", "expected"), SERVER_MESSAGES)
def test_messages_of_the_real_server_are_read(text, expected):
    """The server's own text gives the event, with the envelope in `raw` and the time in `at`."""
    actual = decode_event(text, at=1.5)
    assert expected == actual
    assert (json.loads(text), 1.5) == (actual.raw, actual.at)


# -- absent, null, more ------------------------------------------------------------------


@pytest.mark.parametrize("keys", [{}, {"data": None}, {"data": {}}], ids=str)
def test_message_without_payload_needs_no_data(keys):
    """Where there is nothing to say, `data` is absent, null or empty."""
    assert BotInterrupted() == event("bot-interrupted", **keys)
    assert LlmFunctionCallStarted() == event("llm-function-call-started", **keys)
    assert Error() == event("error", **keys)


@pytest.mark.parametrize("cls", [ServerMessage, AppendToContextResult], ids=name)
@pytest.mark.parametrize("data", [None, 0, "", [], {}, {"data": None}, [None]], ids=str)
def test_server_message_may_be_anything(cls, data):
    """The data of a server message is any JSON, as it came."""
    assert cls(data=data) == event(cls.TYPE, data=data)
    assert cls() == event(cls.TYPE)


@pytest.mark.parametrize("cls", EVENT_CLASSES, ids=name)
def test_unknown_keys_of_an_envelope_are_ignored(cls):
    """Keys that servers will add to the envelope do no harm."""
    raw = json.loads(encode_event(sample(cls)))
    assert sample(cls) == decode_event(json.dumps({**raw, "later": 1}), at=0)


@pytest.mark.parametrize("cls", [cls for cls in EVENT_CLASSES if not collects_keys(cls)], ids=name)
def test_unknown_keys_of_the_data_are_ignored(cls):
    """Keys that servers will add to the data do no harm, and are still found in `raw`."""
    raw = json.loads(encode_event(sample(cls)))
    raw["data"] = {**raw.get("data", {}), "later": None}
    received = decode_event(json.dumps(raw), at=0)
    assert sample(cls) == received
    assert raw == received.raw


def test_empty_metrics_are_metrics():
    """When metrics are on, the server starts with empty ones."""
    assert Metrics() == event("metrics", data={}) == event("metrics")


def test_unknown_metrics_are_kept():
    """Kinds of metrics that this version does not know come as they are."""
    assert Metrics(ttfb=(), other={"turn": [{"x": None}], "other": 1}) == event(
        "metrics", data={"ttfb": [], "turn": [{"x": None}], "other": 1}
    )


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_no_json_are_let_in(token):
    """The server does not keep NaN and infinity out of what it sends, so they are read."""
    text = envelope("user-audio-level", data={"value": "token"}).replace('"token"', token)
    assert not math.isfinite(decode_event(text, at=0).value)


def test_whole_numbers_are_numbers():
    """A level of 1 comes without a decimal point."""
    assert UserAudioLevel(value=1) == event("user-audio-level", data={"value": 1})


def test_lone_surrogates_are_let_in():
    """A text cut in the middle of an emoji is read as it is."""
    assert UnknownMessage(type="\ud800", data="\udfff") == event("\ud800", data="\udfff")


def test_last_of_two_equal_keys_counts():
    """JSON says nothing about a key that comes twice; here the last one counts."""
    text = '{"label": "x", "label": "rtvi-ai", "type": "error", "type": "bot-interrupted"}'
    assert BotInterrupted() == decode_event(text, at=0)


# -- ids ---------------------------------------------------------------------------------

ANSWERS = [cls for cls in EVENT_CLASSES if issubclass(cls, Answer)]


@pytest.mark.parametrize("cls", ANSWERS, ids=name)
@pytest.mark.parametrize("keys", [{}, {"id": None}, {"id": ""}], ids=str)
def test_answer_may_lack_its_id(cls, keys):
    """A bot that says bot-ready of its own accord sends an empty id, or none."""
    data = json.loads(encode_event(sample(cls)))["data"]
    assert "" == event(cls.TYPE, data=data, **keys).id


@pytest.mark.parametrize("cls", ANSWERS, ids=name)
def test_id_of_an_answer_is_a_string(cls):
    """An answer with another id can't be matched with anything."""
    assert "id is no string" == reason(cls.TYPE, id=5, data={})


@pytest.mark.parametrize("id_", [None, "", 5, []])
def test_other_events_have_no_id(id_):
    """An id where none belongs is ignored."""
    assert BotInterrupted() == event("bot-interrupted", id=id_)


# -- keys that were renamed --------------------------------------------------------------


@pytest.mark.parametrize("type_", ["error", "error-response"])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"error": "a", "message": "b"}, "a"),
        ({"message": "b"}, "b"),
        ({"error": None, "message": "b"}, "b"),
        ({"error": "", "message": "b"}, ""),
        ({}, ""),
    ],
    ids=str,
)
def test_text_of_an_error_has_two_keys(type_, data, expected):
    """The text of an error is in `error`; what follows the documentation says `message`."""
    assert expected == event(type_, id="1", data=data).error


def test_error_may_be_fatal():
    """An error is fatal only if it says so."""
    assert Error(error="x", fatal=True) == event("error", data={"error": "x", "fatal": True})
    assert Error(error="x", fatal=False) == event("error", data={"error": "x", "fatal": None})


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"output_type": "a", "text_type": "b", "aggregated_by": "c"}, "a"),
        ({"text_type": "b", "aggregated_by": "c"}, "b"),
        ({"output_type": None, "aggregated_by": "c"}, "c"),
        ({"aggregated_by": "c"}, "c"),
        ({}, None),
    ],
    ids=str,
)
def test_type_of_output_has_three_keys(data, expected):
    """The type of output has had three names; the newest that is there counts."""
    assert expected == event("bot-output", data={"text": "", **data}).output_type


def test_type_of_output_is_written_under_all_its_names():
    """What we write in the bot's place is understood by older clients."""
    data = json.loads(encode_event(BotOutput(text="", output_type="word")))["data"]
    names = ("output_type", "text_type", "aggregated_by")
    assert {"text": "", **dict.fromkeys(names, "word")} == data


# -- what is no event --------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "hello", "{", '{"a":}', "{'a': 1}", '{"a": 1} x', "\x00", "٣"]
)
def test_what_is_not_json_is_a_protocol_error(text):
    """A text that is not JSON is no message at all, and the error shows its beginning."""
    with pytest.raises(ProtocolError) as refused:
        decode_event(text, at=0)
    assert f"not JSON (JSONDecodeError): {text!r}" == str(refused.value)


@pytest.mark.parametrize(("length", "dots"), [(60, ""), (61, "…"), (100_000, "…")])
def test_beginning_of_a_long_text_is_shown(length, dots):
    """Of a long text that is not JSON the error shows only the beginning."""
    with pytest.raises(ProtocolError) as refused:
        decode_event("x" * length, at=0)
    assert f"not JSON (JSONDecodeError): '{'x' * 60}'{dots}" == str(refused.value)


def test_bytes_that_are_not_utf_8_are_a_protocol_error():
    """Bytes that are no text are not JSON either."""
    with pytest.raises(ProtocolError, match=r"not JSON \(UnicodeDecodeError\): b'"):
        decode_event(b'"\xff"', at=0)


@pytest.mark.parametrize("decode", [lambda text: decode_event(text, at=0), decode_command])
@pytest.mark.parametrize(
    "text",
    [nested(200_000), '{"a":' * 200_000, nested(200_000, inner="}")],
    ids=["list", "object", "no"],
)
def test_text_nested_too_deep_is_a_protocol_error(decode, text):
    """JSON that is deeper than Python's stack can't be read."""
    with pytest.raises(ProtocolError, match=r"not JSON \(RecursionError\)"):
        decode(text)


def test_integer_of_too_many_digits_is_a_protocol_error():
    """Python refuses to read integers of thousands of digits."""
    with pytest.raises(ProtocolError, match=r"not JSON \(ValueError\)"):
        decode_event(f'{{"a": {"1" * 5000}}}', at=0)


@pytest.mark.parametrize("value", [None, True, 1, "text", [], [{}]], ids=str)
def test_json_that_is_no_object_is_malformed(value):
    """JSON that is no object is malformed; its value is kept."""
    malformed = decode_event(json.dumps(value), at=2.5)
    assert MalformedMessage(reason="not a JSON object") == malformed
    assert (value, 2.5) == (malformed.raw, malformed.at)


@pytest.mark.parametrize("keys", [{}, {"type": None}, {"type": 5}, {"type": ["error"]}], ids=str)
def test_message_without_a_type_is_malformed(keys):
    """A message says what it is."""
    raw = {"label": "rtvi-ai", **keys}
    malformed = decode_event(json.dumps(raw), at=0)
    assert MalformedMessage(reason="no type") == malformed
    assert raw == malformed.raw


@pytest.mark.parametrize(
    "keys", [{}, {"label": None}, {"label": "RTVI-AI"}, {"label": []}], ids=str
)
def test_message_with_another_label_is_malformed(keys):
    """A message without RTVI's label is not RTVI's, whatever its type."""
    malformed = decode_event(json.dumps({"type": "bot-interrupted", **keys}), at=0)
    assert MalformedMessage(reason="not labelled rtvi-ai", type="bot-interrupted") == malformed


@pytest.mark.parametrize("type_", ["bot-dreaming", "", "Bot-Ready", "client-ready"])
def test_message_of_an_unknown_type_is_kept(type_):
    """Servers add types without notice, so an unknown one is an event like any other."""
    unknown = event(type_, data=[1], id="x", more=2)
    assert UnknownMessage(type=type_, data=[1]) == unknown
    assert {"label": "rtvi-ai", "type": type_, "data": [1], "id": "x", "more": 2} == unknown.raw


@pytest.mark.parametrize(
    ("type_", "data", "expected"),
    [
        ("bot-llm-text", {}, "text is missing"),
        ("bot-llm-text", None, "text is missing"),
        ("bot-llm-text", {"text": None}, "text is missing"),
        ("bot-llm-text", {"text": 5}, "text: expected a string, got an integer"),
        ("bot-llm-text", ["text"], "expected an object, got a list"),
        ("bot-interrupted", "now", "expected an object, got a string"),
        ("user-audio-level", {"value": True}, "value: expected a number, got true or false"),
        ("ui-job-group", {"kind": "job_update", "job_id": "j"}, "at is missing"),
        ("bot-ready", {"capabilities": {"audio_in": 1}}, "capabilities.audio_in: expected true or"),
        ("metrics", {"ttfb": {}}, "ttfb: expected a list, got an object"),
        (
            "metrics",
            {"stt_usage": [{"processor": "x", "value": 1}]},
            "stt_usage.value: expected an",
        ),
        ("bot-tts-audio", {"audio": "!"}, "audio: not base64"),
        ("llm-function-call", {"args": 5}, "function_name is missing"),
    ],
)
def test_data_that_does_not_fit_is_malformed(type_, data, expected):
    """A known type with data that can't be its own is malformed, and the reason names the field."""
    assert reason(type_, data=data).startswith(expected)


def test_what_was_malformed_is_kept():
    """A malformed message has what came, and when."""
    malformed = decode_event(envelope("bot-llm-text", data={"text": 5}), at=4.5)
    assert {"label": "rtvi-ai", "type": "bot-llm-text", "data": {"text": 5}} == malformed.raw
    assert 4.5 == malformed.at


# -- commands, as a client sends them ----------------------------------------------------


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            ClientReady(version="2.2.0", about=AboutClient(library="x")),
            (
                '{"label":"rtvi-ai","type":"client-ready","id":"1",'
                '"data":{"version":"2.2.0","about":{"library":"x"}}}'
            ),
        ),
        (DisconnectBot(), '{"label":"rtvi-ai","type":"disconnect-bot","id":"1"}'),
        (
            ClientMessage(t="time"),
            '{"label":"rtvi-ai","type":"client-message","id":"1","data":{"t":"time"}}',
        ),
        (
            ClientMessage(t="time", d=[None]),
            '{"label":"rtvi-ai","type":"client-message","id":"1","data":{"t":"time","d":[null]}}',
        ),
        (
            SendText(content="Grüße", audio_response=False),
            (
                '{"label":"rtvi-ai","type":"send-text","id":"1","data":{"content":"Grüße",'
                '"options":{"run_immediately":true,"audio_response":false}}}'
            ),
        ),
        (
            SendFile(
                content="",
                file=File(format="image/png", source=InlineSource(content=b"\x00\xff")),
                custom_options={"detail": "low"},
            ),
            (
                '{"label":"rtvi-ai","type":"send-file","id":"1","data":{"content":"","file":{'
                '"format":"image/png","source":{"type":"bytes","bytes":"AP8="}},"options":'
                '{"run_immediately":true,"audio_response":true,"custom_options":{"detail":"low"}}}}'
            ),
        ),
        (
            Dtmf(buttons=("1", "#")),
            '{"label":"rtvi-ai","type":"dtmf","id":"1","data":{"buttons":["1","#"]}}',
        ),
        (
            RawAudio(audio=b"\x00\xff", sample_rate=16_000, num_channels=1),
            (
                '{"label":"rtvi-ai","type":"raw-audio","id":"1","data":'
                '{"base64Audio":"AP8=","sampleRate":16000,"numChannels":1}}'
            ),
        ),
        (
            RawAudioBatch(audio=(b"\x00", b""), sample_rate=16_000, num_channels=1),
            (
                '{"label":"rtvi-ai","type":"raw-audio-batch","id":"1","data":'
                '{"base64AudioBatch":["AA==",""],"sampleRate":16000,"numChannels":1}}'
            ),
        ),
        (
            UiSnapshot(
                tree=UiTree(root=UiNode(ref="e1", role="main", other={"busy": 1}), captured_at=5)
            ),
            (
                '{"label":"rtvi-ai","type":"ui-snapshot","id":"1","data":{"tree":'
                '{"root":{"busy":1,"ref":"e1","role":"main"},"captured_at":5}}}'
            ),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_commands_are_spelt_as_the_server_reads_them(command, expected):
    """A command is one compact JSON object, in the spelling and order of the wire."""
    assert expected == encode_command(command, "1")


@pytest.mark.parametrize("data", [None, 0, [], {"a": None}], ids=str)
def test_data_of_any_type_is_encoded(data):
    """A message that this version does not know is encoded as it is; null data has no key."""
    expected = {"label": "rtvi-ai", "type": "later", "id": "1"}
    if data is not None:
        expected["data"] = data
    assert expected == json.loads(encode_data("later", data, "1"))


class Opaque:
    """What no JSON stands for."""


UNSPEAKABLE = [
    float("nan"),
    float("inf"),
    {"deep": [-float("inf")]},
    "\ud800",
    {"\udfff": 1},
    b"bytes",
    {("a", "b"): 1},
    {1, 2},
    Opaque(),
    10**5000,
]


@pytest.mark.parametrize("value", UNSPEAKABLE, ids=lambda value: type(value).__name__)
def test_what_json_can_not_carry_is_a_value_error(value):
    """NaN, lone surrogates, bytes and their like are refused when the message is encoded."""
    with pytest.raises(ValueError, match=r"^client-message: JSON can't carry this: "):
        encode_command(ClientMessage(t="t", d=value), "1")
    with pytest.raises(ValueError, match=r"^server-message: JSON can't carry this: "):
        encode_event(ServerMessage(data=value))


def test_circle_is_a_value_error():
    """A value that holds itself is refused."""
    circle = []
    circle.append(circle)
    with pytest.raises(ValueError, match="JSON can't carry this"):
        encode_data("x", circle, "1")


def test_value_nested_too_deep_is_a_value_error():
    """What is deeper than Python's stack can't be written."""
    deep = None
    for _ in range(200_000):
        deep = [deep]
    with pytest.raises(ValueError, match="JSON can't carry this"):
        encode_data("x", deep, "1")


def snapshot(depth):
    node = UiNode(ref="e", role="group")
    for _ in range(depth):
        node = UiNode(ref="e", role="group", children=(node,))
    return UiSnapshot(tree=UiTree(root=node, captured_at=1))


def test_records_nested_too_deep_are_a_value_error():
    """A tree of records that is too deep for the stack is refused like any other value."""
    with pytest.raises(ValueError, match=r"^ui-snapshot: nested too deep for JSON$"):
        encode_command(snapshot(2000), "1")


def test_records_may_be_nested():
    """A tree as deep as a web page's is no trouble."""
    assert ("1", snapshot(50)) == decode_command(encode_command(snapshot(50), "1"))


# -- commands, as a bot receives them ----------------------------------------------------


def test_command_that_is_not_json_is_a_protocol_error():
    """A text that is not JSON is no command either."""
    with pytest.raises(ProtocolError):
        decode_command("hello")


@pytest.mark.parametrize(
    "value", [[], None, "x", {}, {"type": "dtmf", "id": "1"}, {"label": 1}], ids=str
)
def test_what_is_not_labelled_is_ignored(value):
    """A bot takes no notice of what has not RTVI's label."""
    assert decode_command(json.dumps(value)) is None


@pytest.mark.parametrize(
    "raw",
    [
        {"type": "disconnect-bot"},
        {"type": "disconnect-bot", "id": 5},
        {"type": "disconnect-bot", "id": None},
        {"id": "1"},
        {"id": "1", "type": None},
        {"id": "1", "type": "disconnect-bot", "data": []},
        {"id": "1", "type": "disconnect-bot", "data": 0},
    ],
    ids=str,
)
def test_command_without_an_envelope_can_not_be_answered(raw):
    """Type and id are strings and data is an object; else the bot has no id to answer to."""
    refused = refusal(json.dumps({"label": "rtvi-ai", **raw}))
    assert refused.reason.startswith("Invalid RTVI transport message: ")
    assert (None, None) == (refused.id, refused.type)


def test_command_of_an_unknown_type_is_refused():
    """A command of a type that the bot does not know is refused, with its id."""
    expected = MalformedCommand(reason="Unsupported type later", id="1", type="later")
    assert expected == refusal(envelope("later", id="1", data={}))


@pytest.mark.parametrize(
    ("type_", "data", "expected"),
    [
        ("client-message", None, "t is missing"),
        ("client-message", {"t": 5}, "t: expected a string, got an integer"),
        ("dtmf", {"buttons": "12"}, "buttons: expected a list, got a string"),
        ("llm-function-call-result", {"result": 5}, "function_name is missing"),
        ("send-text", {"content": "", "options": [1]}, "options: expected an object, got a list"),
        ("send-file", {"content": "", "file": {"format": "x"}}, "file.source is missing"),
    ],
)
def test_command_that_does_not_fit_is_refused(type_, data, expected):
    """A command with wrong data is refused with its id; the reason names the field."""
    refused = refusal(envelope(type_, id="1", data=data))
    assert MalformedCommand(reason=f"Invalid message: {expected}", id="1", type=type_) == refused


def test_options_may_be_absent():
    """A client that says no options means the defaults."""
    for data in (
        {"content": "x"},
        {"content": "x", "options": None},
        {"content": "x", "options": {}},
    ):
        assert ("1", SendText(content="x")) == decode_command(
            envelope("send-text", id="1", data=data)
        )


def test_command_nested_too_deep_is_refused():
    """JSON that can be read, and is too deep for records, is refused with its id."""
    text = '{"ref":"e","role":"group","children":[' * 300
    tree = f'{{"captured_at":1,"root":{text}{"]}" * 300}}}'
    refused = refusal(
        f'{{"label":"rtvi-ai","type":"ui-snapshot","id":"1","data":{{"tree":{tree}}}}}'
    )
    assert ("1", "ui-snapshot") == (refused.id, refused.type)
    assert refused.reason.startswith("Invalid message: maximum recursion depth")
