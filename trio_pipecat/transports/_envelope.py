"""The protobuf frame in which Pipecat's WebSocket carries messages and audio. No I/O.

Each binary WebSocket message is exactly one ``Frame`` (proto3, package ``pipecat``). `decode`
returns what it holds or raises `ProtocolError`, never anything else.

The schema is built here rather than compiled, in a descriptor pool of its own. A compiled module
works with two majors of the protobuf runtime only, and one that registers ``pipecat.Frame`` in the
default pool cannot live in the same process as pipecat itself, which does just that.
"""

from functools import lru_cache
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from .._errors import ProtocolError, WavError
from ..audio import AudioChunk, strip_wav_header
from ._abc import Incoming, Interruption, Undecodable

_Field = descriptor_pb2.FieldDescriptorProto
_UINT64, _UINT32 = _Field.TYPE_UINT64, _Field.TYPE_UINT32
_STRING, _BYTES = _Field.TYPE_STRING, _Field.TYPE_BYTES

_MESSAGES: Final = {
    "TextFrame": {"id": _UINT64, "name": _STRING, "text": _STRING},
    "AudioRawFrame": {
        "id": _UINT64,
        "name": _STRING,
        "audio": _BYTES,
        "sample_rate": _UINT32,
        "num_channels": _UINT32,
        "pts": _UINT64,
    },
    "TranscriptionFrame": {
        "id": _UINT64,
        "name": _STRING,
        "text": _STRING,
        "user_id": _STRING,
        "timestamp": _STRING,
    },
    "MessageFrame": {"data": _STRING},
    "InterruptionFrame": {"id": _UINT64, "name": _STRING},
}
#: The fields of Frame's one oneof, numbered from 1.
_KINDS: Final = {
    "text": "TextFrame",
    "audio": "AudioRawFrame",
    "transcription": "TranscriptionFrame",
    "message": "MessageFrame",
    "interruption": "InterruptionFrame",
}


def _frame_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="trio_pipecat/frames.proto", package="pipecat", syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message_type = file.message_type.add(name=name)
        for number, (field, type_) in enumerate(fields.items(), start=1):
            message_type.field.add(
                name=field, number=number, type=type_, label=_Field.LABEL_OPTIONAL
            )
    frame = file.message_type.add(name="Frame")
    frame.oneof_decl.add(name="frame")
    for number, (field, type_name) in enumerate(_KINDS.items(), start=1):
        frame.field.add(
            name=field,
            number=number,
            type=_Field.TYPE_MESSAGE,
            type_name=f".pipecat.{type_name}",
            label=_Field.LABEL_OPTIONAL,
            oneof_index=0,
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("pipecat.Frame"))


_Frame: Final = _frame_class()

#: How the field begins that holds the sound of a frame, and those in it.
_AUDIO_TAG, _ID_TAG, _NAME_TAG, _PCM_TAG = 0x12, 0x08, 0x12, 0x1A

#: More are a mistake, and would have the beginning of a huge frame kept until its end comes.
_MAX_CHANNELS: Final = 255

# `id` and `name` stay empty: a number there would overwrite the server's own frame ids.


def encode_message(text: str) -> bytes:
    """Return the frame of an RTVI message."""
    frame = _Frame()
    frame.message.data = text
    return bytes(frame.SerializeToString())


def encode_audio(chunk: AudioChunk) -> bytes:
    """Return the frame of a chunk of audio."""
    pcm = chunk.pcm
    begin, end = _around_audio(len(pcm), chunk.sample_rate, chunk.num_channels)
    return begin + pcm + end


@lru_cache(256)
def _around_audio(size: int, sample_rate: int, num_channels: int) -> tuple[bytes, bytes]:
    """Return what is before and after so many bytes of PCM: the same for each frame of a call."""
    frame = _Frame()
    audio = frame.audio
    audio.sample_rate = sample_rate
    audio.num_channels = num_channels
    end = bytes(audio.SerializeToString())  # fields are in the order of their numbers
    if not size:
        return bytes(frame.SerializeToString())[: -len(end) or None], end
    audio.audio = bytes(size)
    whole = bytes(frame.SerializeToString())
    return whole[: len(whole) - size - len(end)], end


def encode_interruption() -> bytes:
    """Return the frame that interrupts the bot."""
    frame = _Frame()
    frame.interruption.SetInParent()
    return bytes(frame.SerializeToString())


def decode(data: bytes, *, at: float | None = None) -> Incoming:
    """Return what a frame holds; `at` is when it came.

    Raises:
        ProtocolError: these bytes are no frame.
    """
    try:
        frame = _Frame.FromString(data)
    except (message.DecodeError, ValueError) as error:  # protobuf in pure Python raises either
        raise ProtocolError(f"{len(data)} bytes that are no protobuf frame") from error
    kind = frame.WhichOneof("frame")
    if kind == "audio":
        audio = frame.audio
        if not audio.sample_rate or not audio.num_channels:
            return Undecodable("audio without a sample rate or channel count", raw=data)
        if audio.num_channels > _MAX_CHANNELS:
            return Undecodable(f"audio with {audio.num_channels} channels", raw=data)
        chunk = AudioChunk(audio.audio, audio.sample_rate, audio.num_channels, at)
        try:
            return strip_wav_header(chunk)
        except WavError as error:
            return Undecodable(str(error), raw=data)
    if kind == "message":
        return str(frame.message.data)
    if kind == "interruption":
        return Interruption()
    return Undecodable(f"a frame of kind {kind or 'unknown'}", raw=data)


def find_audio(data: bytes) -> tuple[int, bytes] | None:
    """Return how many bytes of PCM a frame holds, and what follows them in it, without decoding.

    What follows is the sample rate and the number of channels, so two frames that end alike sound
    alike. None: it holds something else, or is not as a server writes it; then `decode` knows.
    """
    try:
        if data[0] != _AUDIO_TAG:
            return None
        size, at = _varint(data, 1)
        if at + size != len(data):
            return None
        if data[at] == _ID_TAG:
            _, at = _varint(data, at + 1)
        if data[at] == _NAME_TAG:
            size, at = _varint(data, at + 1)
            at += size
        if data[at] != _PCM_TAG:
            return None
        size, at = _varint(data, at + 1)
    except IndexError:
        return None
    if at + size > len(data) or data.startswith(b"RIFF", at):
        return None
    return size, data[at + size :]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number, and where what follows it begins."""
    value = 0
    for shift in range(0, 64, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise IndexError("a number of more than 64 bits")
