"""What goes over a WebSocket: protobuf frames for most, JSON for pipecat's own client."""

import base64
import io
import json
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_pipecat.audio import AudioChunk
from trio_pipecat.transports import Interruption, Undecodable
from trio_pipecat.transports._envelope import (
    encode_audio,
    encode_interruption,
    encode_message,
    find_audio,
)
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


# -- sound that nobody wants ---------------------------------------------------------------


def heard(*frames):
    """Return a client's wire that has decoded these."""
    wire = ProtobufWire(takes_texts=True)
    for frame in frames:
        wire.decode(frame, at=1)
    return wire


def sound(size, rate=24_000, channels=1):
    """Return the frame of so many bytes of sound."""
    return encode_audio(AudioChunk(b"\x01" * size, rate, channels))


def test_nothing_repeats_what_was_not_heard():
    """Not even sound, and not after a message."""
    assert not heard().repeats_format(sound(4))
    assert not heard(encode_message("{}")).repeats_format(sound(4))


@pytest.mark.parametrize("size", [2, 4, 640, 70_000])
def test_sound_of_the_same_format_repeats(size):
    """However much it is."""
    wire = heard(sound(640))
    for _ in range(3):
        assert wire.repeats_format(sound(size))


def test_what_was_said_between_does_not_matter():
    """Of the last sound that was decoded."""
    wire = heard(sound(640), encode_message("{}"), encode_interruption(), b"\xff")
    assert wire.repeats_format(sound(640))


@pytest.mark.parametrize(
    "data",
    [
        sound(640, rate=16_000),
        sound(640, channels=2),
        sound(641),
        sound(1),
        sound(0),
        encode_audio(AudioChunk(b"RIFF" * 10, 24_000)),
        encode_audio(AudioChunk(b"\x01\x02", 0)),
        encode_message("{}"),
        encode_interruption(),
        b"",
        b"\xff" * 100,
        sound(640)[:-1],
        sound(640) + b"\x00",
        "{}",
    ],
    ids=range(14),
)
def test_what_does_not_repeat(data):
    """Another format, a piece of a frame of samples, a WAV header, and all that is no sound."""
    wire = heard(sound(640))
    assert not wire.repeats_format(data)
    assert wire.repeats_format(sound(640))


def test_a_new_format_is_the_one_that_repeats():
    """Once it was decoded."""
    wire = heard(sound(640), sound(640, rate=16_000))
    assert wire.repeats_format(sound(320, rate=16_000))
    assert not wire.repeats_format(sound(640))


def test_what_follows_half_a_sample_does_not_repeat():
    """Until it is whole: a reader that comes meanwhile has to have all of it."""
    wire = heard(sound(641))
    assert not wire.repeats_format(sound(640))
    wire.decode(sound(639), at=1)
    assert wire.repeats_format(sound(640))


def test_a_frame_of_samples_has_all_its_channels():
    """Half of it is half a frame, though it is a whole sample."""
    wire = heard(sound(640, channels=2))
    assert not wire.repeats_format(sound(642, channels=2))
    wire.decode(sound(642, channels=2), at=1)
    assert not wire.repeats_format(sound(640, channels=2))
    wire.decode(sound(642, channels=2), at=1)
    assert wire.repeats_format(sound(640, channels=2))


def test_half_a_frame_of_another_format_is_forgotten():
    """As whoever listens forgets it."""
    wire = heard(sound(641), sound(640, rate=16_000))
    assert wire.repeats_format(sound(640, rate=16_000))


def wav(rate=24_000):
    """Return the frame of a chunk of sound with a WAV header."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setsampwidth(2)
        file.setnchannels(1)
        file.setframerate(rate)
        file.writeframes(b"\x01\x02" * 320)
    return encode_audio(AudioChunk(content.getvalue(), rate))


def test_sound_with_a_wav_header_is_always_read():
    """What it is, its header says."""
    wire = heard(wav())
    assert not wire.repeats_format(wav())
    assert not wire.repeats_format(wav(16_000))
    assert not wire.repeats_format(sound(640, rate=16_000))


def test_sound_without_a_format_is_always_read():
    """Whatever came before it: somebody has to be told that it can't be played."""
    frame = b"\x12\x0a\x1a\x08" + bytes(8)
    assert (8, b"") == find_audio(frame)
    for wire in (heard(sound(640)), heard(wav())):
        assert isinstance(wire.decode(frame, at=1), Undecodable)
        assert not wire.repeats_format(frame)


def test_json_never_repeats():
    """Its sound is in messages."""
    wire = JsonWire(sends_audio=True)
    wire.decode(JsonWire(sends_audio=True).audio(CHUNK), at=1)
    assert not wire.repeats_format(JsonWire(sends_audio=True).audio(CHUNK))
    assert not wire.repeats_format(sound(640))


@given(
    chunks=st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from([8_000, 16_000]), st.integers(1, 2)),
        max_size=12,
    )
)
def test_nobody_can_tell_that_something_was_left_out(chunks):
    """Whoever makes whole frames of what is decoded has the same rest, after each chunk."""
    wire, everything, decoded = ProtobufWire(takes_texts=True), Ear(), Ear()
    for size, rate, channels in chunks:
        chunk, data = AudioChunk(bytes(size), rate, channels), sound(size, rate, channels)
        everything.hear(chunk)
        if wire.repeats_format(data):
            assert not size % (2 * channels)
        else:
            decoded.hear(wire.decode(data, at=1))
        assert (everything.format, everything.rest) == (decoded.format, decoded.rest)


class Ear:
    """Whoever listens: it knows the format, and how much of a frame of samples has come."""

    def __init__(self):
        self.format = None
        self.rest = 0

    def hear(self, chunk):
        """Take a chunk."""
        if self.format != (chunk.sample_rate, chunk.num_channels):
            self.format, self.rest = (chunk.sample_rate, chunk.num_channels), 0
        self.rest = (self.rest + len(chunk.pcm)) % (2 * chunk.num_channels)


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
