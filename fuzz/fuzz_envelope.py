"""The invariant: whatever comes in a binary message of the WebSocket, either something that a
transport may yield or `ProtocolError`, never any other error.

And what was read as a message or as sound can be written, and is then read as the same again.

    python fuzz/fuzz_envelope.py --runs 100000
    python fuzz/fuzz_envelope.py --seconds 60 --seed 7

It is worth a run without protobuf's compiled runtime, whose errors are others:

    PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python python fuzz/fuzz_envelope.py --runs 100000
"""

from fuzz_loop import fuzz, instrumented

with instrumented():
    from trio_pipecat._errors import ProtocolError
    from trio_pipecat.audio import AudioChunk
    from trio_pipecat.transports import Interruption, Undecodable
    from trio_pipecat.transports._envelope import decode, encode_audio, encode_message

# Frames as pipecat-ai 1.14.0 writes them: one of each kind.
SEEDS = [
    b"\x12%\x08\x07\x12\x15OutputAudioRawFrame#7\x1a\x04\x01\x02\x03\x04 \xc0\xbb\x01(\x01",
    b"\x12\r\x08\x07\x1a\x02\x01\x02 \x80}(\x020\x00",
    b'"6\n4{"label": "rtvi-ai", "type": "bot-started-speaking"}',
    b"*\x17\x08\x0c\x12\x13InterruptionFrame#0",
    b"\n\x13\x08\x01\x12\x0bTextFrame#0\x1a\x02hi",
    b'\x1a\n\x1a\x02hi"\x01u*\x01t',
    b"",
]
TOKENS = [
    b"\xff" * 10,
    b"\x80",
    b"\x00",
    b"\x0b",
    b"\x0c",
    b"\x0b" * 200,
    b"\x22\x00",
    b"\x2a\x00",
    b"\x12\x00",
    b"\x78\x01",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\xff\xff\xff\xff\x0f",
]


def check(data: bytes) -> None:
    """Read `data` as a frame."""
    try:
        item = decode(data, at=1.5)
    except ProtocolError:
        return
    if isinstance(item, str):
        assert item == decode(encode_message(item))
    elif isinstance(item, AudioChunk):
        assert item == decode(encode_audio(item))
        assert item.duration >= 0
    else:
        assert isinstance(item, Interruption | Undecodable)


def main(arguments: list[str] | None = None) -> None:
    fuzz(check, SEEDS, TOKENS, arguments)


if __name__ == "__main__":
    main()
