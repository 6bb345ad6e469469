"""The protobuf frame: read and written as the real server does it, and never a foreign error."""

import contextlib
import importlib.util
import io
import os
import subprocess
import sys
import wave

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from trio_pipecat._errors import ProtocolError
from trio_pipecat.audio import AudioChunk
from trio_pipecat.transports import Interruption, Undecodable, _envelope
from trio_pipecat.transports._envelope import (
    decode,
    encode_audio,
    encode_interruption,
    encode_message,
    find_audio,
)

INCOMING = (str, AudioChunk, Interruption, Undecodable)

# Frames as pipecat-ai 1.14.0 writes them.
SERVER_AUDIO = (
    b"\x12%\x08\x07\x12\x15OutputAudioRawFrame#7\x1a\x04\x01\x02\x03\x04 \xc0\xbb\x01(\x01"
)
SERVER_AUDIO_PTS = b"\x12\r\x08\x07\x1a\x02\x01\x02 \x80}(\x020\x00"
SERVER_MESSAGE = b'"6\n4{"label": "rtvi-ai", "type": "bot-started-speaking"}'
SERVER_INTERRUPTION = b"*\x17\x08\x0c\x12\x13InterruptionFrame#0"
SERVER_TEXT = b"\n\x13\x08\x01\x12\x0bTextFrame#0\x1a\x02hi"
SERVER_TRANSCRIPTION = b'\x1a\n\x1a\x02hi"\x01u*\x01t'
SERVER_FRAMES = [
    SERVER_AUDIO,
    SERVER_AUDIO_PTS,
    SERVER_MESSAGE,
    SERVER_INTERRUPTION,
    SERVER_TEXT,
    SERVER_TRANSCRIPTION,
]
OUR_FRAMES = [
    encode_message('{"a": "€"}'),
    encode_audio(AudioChunk(b"\x01\x00" * 8, 16_000)),
    encode_interruption(),
]


# -- round trips -------------------------------------------------------------------------


@given(text=st.text())
def test_messages_survive_the_wire(text):
    """A text comes out as it went in."""
    assert text == decode(encode_message(text))


@given(
    pcm=st.binary(),
    rate=st.integers(min_value=1, max_value=2**32 - 1),
    channels=st.integers(min_value=1, max_value=255),
)
def test_audio_survives_the_wire(pcm, rate, channels):
    """Sound comes out as it went in, with the time at which it came."""
    chunk = decode(encode_audio(AudioChunk(pcm, rate, channels)), at=1.5)
    assert AudioChunk(pcm, rate, channels) == chunk
    assert 1.5 == chunk.at


def test_interruption_survives_the_wire():
    """The signal comes out as a signal."""
    assert Interruption() == decode(encode_interruption())


def test_large_audio_survives_the_wire():
    """A session ends with two seconds of silence in one frame."""
    silence = AudioChunk(bytes(96_000), 24_000)
    assert silence == decode(encode_audio(silence))


# -- as the real server does it ----------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (SERVER_AUDIO, AudioChunk(b"\x01\x02\x03\x04", 24_000, 1)),
        (SERVER_AUDIO_PTS, AudioChunk(b"\x01\x02", 16_000, 2)),
        (SERVER_MESSAGE, '{"label": "rtvi-ai", "type": "bot-started-speaking"}'),
        (SERVER_INTERRUPTION, Interruption()),
        (SERVER_TEXT, Undecodable("a frame of kind text", SERVER_TEXT)),
        (
            SERVER_TRANSCRIPTION,
            Undecodable("a frame of kind transcription", SERVER_TRANSCRIPTION),
        ),
    ],
)
def test_frames_of_the_real_server_are_read(frame, expected):
    """What the server sends is read; the kinds that it never sends are told as what they are."""
    assert expected == decode(frame)


def test_frames_are_written_as_the_real_server_reads_them():
    """Our frames are what the server's own code writes, with `id` and `name` left empty."""
    assert b'"\x04\n\x02{}' == encode_message("{}")
    assert b"*\x00" == encode_interruption()
    assert b"\x12\n\x1a\x02\x01\x02 \xc0\xbb\x01(\x01" == encode_audio(
        AudioChunk(b"\x01\x02", 24_000)
    )


# -- what is no frame, or half a frame ---------------------------------------------------


@given(data=st.binary())
def test_any_bytes_are_read_or_a_protocol_error(data):
    """Whatever comes in a binary message, it is something or it is a `ProtocolError`."""
    with contextlib.suppress(ProtocolError):
        assert isinstance(decode(data), INCOMING)


@pytest.mark.parametrize("frame", SERVER_FRAMES + OUR_FRAMES)
def test_every_beginning_of_a_frame_is_read_or_a_protocol_error(frame):
    """A frame that was cut anywhere is read as far as it makes sense, or is an error."""
    for cut in range(len(frame)):
        with contextlib.suppress(ProtocolError):
            assert isinstance(decode(frame[:cut]), INCOMING)


@pytest.mark.parametrize("frame", SERVER_FRAMES + OUR_FRAMES)
@pytest.mark.parametrize("trailer", [b"\xff", b"\x00", b"\x32", b"*", b"\x0c"])
def test_bytes_after_a_frame_are_a_protocol_error(frame, trailer):
    """After a frame nothing may follow that is no field of a frame."""
    with pytest.raises(ProtocolError):
        decode(frame + trailer)


@pytest.mark.parametrize("frame", SERVER_FRAMES + OUR_FRAMES)
def test_field_from_the_future_is_ignored(frame):
    """A field that this version does not know changes nothing else."""
    expected, actual = decode(frame), decode(frame + b"\x78\x01")
    if isinstance(expected, Undecodable):
        assert expected.detail == actual.detail
    else:
        assert expected == actual


def test_last_of_two_frames_counts():
    """Bytes that hold two frames are, by protobuf's rules, the last one."""
    assert Interruption() == decode(OUR_FRAMES[0] + OUR_FRAMES[2])
    assert "b" == decode(encode_message("a") + encode_message("b"))


def test_error_says_how_much_came():
    """The error has the number of bytes, not what they are, and protobuf's error as its cause."""
    with pytest.raises(ProtocolError, match=r"^3 bytes that are no protobuf frame$") as refused:
        decode(b"\xff\xff\xff")
    assert refused.value.__cause__ is not None


BAD_UTF_8 = b'"\x04\n\x02\xff\xff'


def test_message_that_is_not_utf_8_is_a_protocol_error():
    """The text of a message is UTF-8."""
    with pytest.raises(ProtocolError):
        decode(BAD_UTF_8)


def test_pure_python_protobuf_makes_no_difference():
    """Where protobuf has no compiled runtime its errors are others, and ours are the same."""
    program = f"""
from google.protobuf.internal import api_implementation
from trio_pipecat._errors import ProtocolError
from trio_pipecat.transports._envelope import decode
assert api_implementation.Type() == "python"
for data in {BAD_UTF_8!r}, b"\\xff", b"\\x22":
    try:
        decode(data)
    except ProtocolError:
        print("refused")
print(decode({SERVER_MESSAGE!r}))
"""
    environment = {**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ["refused"] * 3 + [decode(SERVER_MESSAGE)] == done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize("frame", [b"", b"2\x00", b"2\x02\x08\x01", b"\x78\x01"])
def test_frame_of_an_unknown_kind_is_undecodable(frame):
    """A frame that holds nothing we know does not end a session, and is kept."""
    undecodable = decode(frame)
    assert Undecodable("a frame of kind unknown", frame) == undecodable


@pytest.mark.parametrize(
    "chunk",
    [AudioChunk(b"\x01\x02", 0, 1), AudioChunk(b"\x01\x02", 16_000, 0), AudioChunk(b"", 0, 0)],
)
def test_audio_without_its_format_is_undecodable(chunk):
    """Sound that does not say its rate and channels can't be played."""
    frame = encode_audio(chunk)
    assert Undecodable("audio without a sample rate or channel count", frame) == decode(frame)


def test_audio_with_more_channels_than_there_are_is_undecodable():
    """Half a frame of it would be kept until its end comes."""
    frame = encode_audio(AudioChunk(bytes(640), 16_000, 2**32 - 1))
    assert Undecodable("audio with 4294967295 channels", frame) == decode(frame)


# -- chunks with a WAV header, of a bot with `add_wav_header` --------------------------------


def wav_of(pcm, rate, channels):
    """Return a chunk with a WAV header, as pipecat makes it."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setsampwidth(2)
        file.setnchannels(channels)
        file.setframerate(rate)
        file.writeframes(pcm)
    return content.getvalue()


def test_a_wav_header_is_no_sound():
    """It is taken off; what it says is what the sound was made with."""
    chunk = AudioChunk(wav_of(b"\x01\x02" * 4, 8_000, 2), 24_000, 1)
    found = decode(encode_audio(chunk), at=1.5)
    assert (AudioChunk(b"\x01\x02" * 4, 8_000, 2), 1.5) == (found, found.at)


def test_a_wav_header_that_cannot_be_read_is_told():
    """As something undecodable, with the reason; noise is not played."""
    frame = encode_audio(AudioChunk(wav_of(b"", 8_000, 1).replace(b"data", b"atad"), 8_000))
    detail = "a chunk of sound, byte 44: the file ends before its sound ('data' chunk)"
    assert Undecodable(detail, frame) == decode(frame)


# -- in one process with pipecat ---------------------------------------------------------


SERVER_SCHEMA = {
    "TextFrame": {"id": "UINT64", "name": "STRING", "text": "STRING"},
    "AudioRawFrame": {
        "id": "UINT64",
        "name": "STRING",
        "audio": "BYTES",
        "sample_rate": "UINT32",
        "num_channels": "UINT32",
        "pts": "UINT64",
    },
    "TranscriptionFrame": {
        "id": "UINT64",
        "name": "STRING",
        "text": "STRING",
        "user_id": "STRING",
        "timestamp": "STRING",
    },
    "MessageFrame": {"data": "STRING"},
    "InterruptionFrame": {"id": "UINT64", "name": "STRING"},
}
SERVER_KINDS = ["text", "audio", "transcription", "message", "interruption"]


@pytest.fixture(scope="module")
def server_frame():
    """The server's class for a frame: registered in the default pool, just as pipecat does it.

    The file has the name and the content of pipecat's own, so that both can be registered.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name="frames.proto", package="pipecat", syntax="proto3"
    )
    optional = {"label": "LABEL_OPTIONAL"}
    for name, fields in SERVER_SCHEMA.items():
        message = file.message_type.add(name=name)
        for number, (field, type_) in enumerate(fields.items(), start=1):
            message.field.add(name=field, number=number, type=f"TYPE_{type_}", **optional)
    audio = file.message_type[1]
    audio.oneof_decl.add(name="_pts")
    audio.field[5].oneof_index, audio.field[5].proto3_optional = 0, True
    frame = file.message_type.add(name="Frame")
    frame.oneof_decl.add(name="frame")
    for number, (kind, name) in enumerate(zip(SERVER_KINDS, SERVER_SCHEMA, strict=True), start=1):
        field = frame.field.add(name=kind, number=number, type="TYPE_MESSAGE", **optional)
        field.type_name, field.oneof_index = f".pipecat.{name}", 0
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("pipecat.Frame"))


def test_both_ends_live_in_one_process(server_frame):
    """pipecat registers the names of its frames globally; ours stay out of its way."""
    frame = server_frame.FromString(encode_audio(AudioChunk(b"\x01\x02", 16_000)))
    assert (b"\x01\x02", 16_000, 1) == (
        frame.audio.audio,
        frame.audio.sample_rate,
        frame.audio.num_channels,
    )
    assert (0, "") == (frame.audio.id, frame.audio.name)
    assert "hi" == server_frame.FromString(encode_message("hi")).message.data
    assert "interruption" == server_frame.FromString(encode_interruption()).WhichOneof("frame")


def test_server_may_come_first(server_frame):
    """Where pipecat was imported before us, our module can still be imported."""
    spec = importlib.util.spec_from_file_location(
        "trio_pipecat.transports._envelope_again", _envelope.__file__
    )
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    frame = server_frame()
    frame.interruption.id = 12
    assert Interruption() == again.decode(frame.SerializeToString())


@given(data=st.data())
def test_frames_of_the_servers_code_are_read(server_frame, data):
    """Whatever the server puts into a frame, we read what belongs to us."""
    frame = server_frame()
    kind = data.draw(st.sampled_from(["audio", "message", "interruption", "text"]))
    if kind == "audio":
        pcm, rate = data.draw(st.binary()), data.draw(st.integers(1, 192_000))
        frame.audio.audio, frame.audio.sample_rate, frame.audio.num_channels = pcm, rate, 1
        frame.audio.pts, frame.audio.id = data.draw(st.integers(0, 2**64 - 1)), 7
        expected = AudioChunk(pcm, rate)
    elif kind == "message":
        expected = frame.message.data = data.draw(st.text())
        frame.message.SetInParent()
    elif kind == "interruption":
        frame.interruption.name = data.draw(st.text())
        expected = Interruption()
        frame.interruption.SetInParent()
    else:
        frame.text.text = "hi"
        expected = Undecodable("a frame of kind text", frame.SerializeToString())
    assert expected == decode(frame.SerializeToString())


# -- sound that is found without decoding ------------------------------------------------------


def check_found(data):
    """Check that what is found in a frame is what decoding it gives; return whether it was."""
    found = find_audio(data)
    if found is None:
        return False
    size, end = found
    chunk = decode(data)
    if isinstance(chunk, Undecodable):
        assert "audio" in chunk.detail
    else:
        assert size == len(chunk.pcm)
        # The end says how it sounds: with other samples before it, that is the same.
        other = decode(frame_of(b"\x1a\x02\x01\x02" + end))
        assert (chunk.sample_rate, chunk.num_channels) == (other.sample_rate, other.num_channels)
    return True


def frame_of(audio):
    """Return a frame that holds this as its sound."""
    return b"\x12" + number(len(audio)) + audio


def number(value, *, bytes_more=0):
    """Return a number as protobuf writes it, or with as many bytes more as it need not have."""
    digits = []
    while value or not digits:
        digits.append(value & 0x7F)
        value >>= 7
    digits += [0] * bytes_more
    return bytes([digit | 0x80 for digit in digits[:-1]] + digits[-1:])


@given(
    pcm=st.binary() | st.integers(1, 100_000).map(bytes),
    rate=st.integers(0, 2**32 - 1),
    channels=st.integers(0, 2**32 - 1),
    id_=st.integers(0, 2**64 - 1),
    name=st.text(),
    pts=st.none() | st.integers(0, 2**64 - 1),
)
def test_what_is_found_is_what_decoding_gives(server_frame, pcm, rate, channels, id_, name, pts):
    """Of any sound that the server's own code writes."""
    frame = server_frame()
    audio = frame.audio
    audio.audio, audio.sample_rate, audio.num_channels = pcm, rate, channels
    audio.id, audio.name = id_, name
    if pts is not None:
        audio.pts = pts
    was_found = check_found(frame.SerializeToString())
    assert was_found is (bool(pcm) and not pcm.startswith(b"RIFF"))


@given(pcm=st.binary(min_size=1), rate=st.integers(1, 192_000), channels=st.integers(1, 8))
def test_our_own_sound_is_found(pcm, rate, channels):
    """With what follows it."""
    data = encode_audio(AudioChunk(pcm, rate, channels))
    assert check_found(data) is not pcm.startswith(b"RIFF")


def test_two_that_end_alike_sound_alike():
    """And two that sound differently end differently."""
    formats = [(24_000, 1), (24_000, 2), (16_000, 1), (16_000, 2)]
    ends = {
        (rate, channels): {
            find_audio(encode_audio(AudioChunk(bytes(size), rate, channels)))[1]
            for size in (1, 2, 640, 100_000)
        }
        for rate, channels in formats
    }
    assert [1] * 4 == [len(end) for end in ends.values()]
    assert 4 == len(set().union(*ends.values()))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x12",
        b"\x12\x00",
        SERVER_MESSAGE,
        SERVER_INTERRUPTION,
        SERVER_TEXT,
        SERVER_TRANSCRIPTION,
        encode_audio(AudioChunk(b"", 16_000)),
        encode_audio(AudioChunk(b"RIFF\x00\x00", 16_000)),
        frame_of(b"\x20\xc0\xbb\x01\x1a\x02\x01\x02\x28\x01"),
        frame_of(b"\x1a\x05\x01\x02"),
        frame_of(b"\x12\x7fname"),
        encode_audio(AudioChunk(b"\x01\x02", 16_000)) + encode_message("hi"),
        encode_audio(AudioChunk(b"\x01\x02", 16_000)) * 2,
    ],
    ids=range(14),
)
def test_what_is_no_sound_as_a_server_writes_it(data):
    """That is for decoding to find out."""
    assert None is find_audio(data)


@pytest.mark.parametrize("frame", [SERVER_AUDIO, SERVER_AUDIO_PTS, OUR_FRAMES[1]])
def test_sound_that_was_cut_or_goes_on_is_not_found(frame):
    """Anywhere."""
    assert check_found(frame)
    for cut in range(len(frame)):
        assert None is find_audio(frame[:cut])
    for more in (b"\x00", b"\xff", b"\x78\x01", frame):
        assert None is find_audio(frame + more)


@given(data=st.binary() | st.binary().map(frame_of))
def test_any_bytes_may_be_looked_at(data):
    """Nothing is raised, and nothing is found that is not there."""
    found = find_audio(data)
    if found is not None:
        size, end = found
        assert size + len(end) < len(data)
        assert data.endswith(end)


@pytest.mark.parametrize("where", ["frame", "id", "sound"])
def test_a_number_that_is_too_long_is_none(where):
    """Protobuf's have ten bytes at most; longer ones would take for ever to add up."""
    id_ = b"\x08" + number(7, bytes_more=10 if where == "id" else 0)
    pcm = b"\x1a" + number(2, bytes_more=10 if where == "sound" else 0) + b"\x01\x02"
    audio = id_ + pcm + b"\x20\x01\x28\x01"
    data = b"\x12" + number(len(audio), bytes_more=10 if where == "frame" else 0) + audio
    with pytest.raises(ProtocolError):
        decode(data)
    assert None is find_audio(data)
