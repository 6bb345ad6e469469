"""What goes over a WebSocket: protobuf frames for most, JSON for pipecat's own client."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_pipecat.audio import AudioChunk
from trio_pipecat.transports import Interruption, Undecodable
from trio_pipecat.transports._envelope import encode_audio, encode_interruption, encode_message
from trio_pipecat.transports._wires import JsonWire, ProtobufWire

CHUNK = AudioChunk(b"\x01\x02\x03\x04", 24_000)


def eval_message(t, d=None):
    """Return a message that only pipecat's evaluations send."""
    data = {"t": t, "d": d}
    return json.dumps({"label": "rtvi-ai", "type": "client-message", "id": "7", "data": data})


# -- protobuf ----------------------------------------------------------------------------


def test_protobuf_is_written_in_frames():
    """Messages, audio and interruptions are binary messages."""
    wire = ProtobufWire(takes_texts=False)
    assert encode_message("{}") == wire.message("{}")
    assert encode_audio(CHUNK) == wire.audio(CHUNK)
    assert encode_interruption() == wire.interruption()


def test_protobuf_is_read_from_frames():
    """What was written comes out, with the time at which it came."""
    wire = ProtobufWire(takes_texts=False)
    assert "{}" == wire.decode(encode_message("{}"), at=1)
    assert Interruption() == wire.decode(encode_interruption(), at=1)
    chunk = wire.decode(encode_audio(CHUNK), at=1.5)
    assert (CHUNK, 1.5) == (chunk, chunk.at)


def test_what_is_no_frame_is_undecodable():
    """Its beginning is kept."""
    item = ProtobufWire(takes_texts=True).decode(b"\xff" * 100, at=1)
    assert Undecodable("100 bytes that are no protobuf frame", raw=b"\xff" * 64) == item


def test_texts_on_the_protobuf_wire():
    """A client reads them as messages; to a bot they are garbage, as to pipecat's."""
    assert "{}" == ProtobufWire(takes_texts=True).decode("{}", at=1)
    strict = ProtobufWire(takes_texts=False)
    assert Undecodable("a text message", raw=b"{}") == strict.decode("{}", at=1)


# -- JSON --------------------------------------------------------------------------------


def test_json_messages_are_texts():
    """They go out as they are."""
    assert '{"a":"é"}' == JsonWire().message('{"a":"é"}')


def test_json_has_no_interruption():
    """The message bot-interrupted has to do."""
    assert JsonWire().interruption() is None


def test_json_audio_is_for_those_who_ask():
    """The others get none."""
    assert None is JsonWire().audio(CHUNK)
    assert {
        "label": "rtvi-ai",
        "type": "eval-bot-audio",
        "data": {"audio": base64.b64encode(CHUNK.pcm).decode(), "sampleRate": 24_000},
    } == json.loads(JsonWire(sends_audio=True).audio(CHUNK))


@pytest.mark.parametrize(
    ("d", "asked"),
    [
        ({"capture_bot_audio": True}, True),
        ({"capture_bot_audio": True, "skip_tts": False, "new": 1}, True),
        ({"capture_bot_audio": False}, False),
        ({"capture_bot_audio": "yes"}, False),
        ({}, False),
        (None, False),
        ([], False),
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_eval_connect_says_what_is_wanted(d, asked, before):
    """It replaces what the address said, and the bot does not get to see it."""
    wire = JsonWire(sends_audio=before)
    assert None is wire.decode(eval_message("eval-connect", d), at=1)
    assert asked == (wire.audio(CHUNK) is not None)


@pytest.mark.parametrize("t", ["eval-configure", "eval-context", "eval-image"])
def test_the_stage_of_an_evaluation_is_not_set(t):
    """The bot does not get to see it, so it is not answered."""
    assert None is JsonWire().decode(eval_message(t, {}), at=1)


def test_an_evaluation_that_is_over():
    """It sends the bot away."""
    assert {"label": "rtvi-ai", "type": "disconnect-bot", "id": "7"} == json.loads(
        JsonWire().decode(eval_message("eval-cancel", {}), at=1)
    )


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        eval_message("eval-other"),
        "no JSON, eval-cancel or not",
        '{"label":"rtvi-ai","type":"client-message","id":"1","data":{"t":"other","d":"eval-connect"}}',
        '{"label":"rtvi-ai","type":"send-text","id":"1","data":{"content":"eval-connect"}}',
        '{"type":"client-message","id":"1","data":{"t":"eval-connect"}}',
        '{"label":"rtvi-ai","type":"client-message","data":{"t":"eval-connect"}}',
    ],
)
def test_other_texts_are_for_the_bot(text):
    """Whatever they say; what is no JSON is for the protocol to ignore."""
    wire = JsonWire()
    assert text == wire.decode(text, at=1)
    assert None is wire.audio(CHUNK)


@given(data=st.text() | st.binary())
def test_json_wire_reads_anything(data):
    """A binary message is taken for UTF-8; nothing is an error."""
    expected = data if isinstance(data, str) else data.decode("utf-8", "replace")
    assert expected == JsonWire().decode(data, at=1)
