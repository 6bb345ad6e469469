"""What goes through a wire, on a link that only writes it down."""

import pytest
import trio
from trio.testing import assert_checkpoints

from trio_pipecat import UnsupportedFeatureError
from trio_pipecat.audio import AudioChunk
from trio_pipecat.transports import Incoming, LinkEnd, LinkOptions
from trio_pipecat.transports._envelope import encode_audio, encode_interruption, encode_message
from trio_pipecat.transports._wire_transport import WireTransport
from trio_pipecat.transports._wires import JsonWire, ProtobufWire

CHUNK = AudioChunk(b"\1\2" * 8, 8000)


class WrittenDown(WireTransport):
    """A link to nobody."""

    def __init__(self, wire: ProtobufWire | JsonWire) -> None:
        super().__init__(wire, LinkOptions())
        self.sent: list[bytes | str] = []

    @property
    def end(self) -> LinkEnd | None:
        return None

    async def receive(self) -> Incoming:
        await trio.sleep_forever()
        raise AssertionError

    async def aclose(self, code: int = 1000, text: str = "") -> None:
        await trio.lowlevel.checkpoint()

    async def abort(self, detail: str) -> None:
        await trio.lowlevel.checkpoint()

    async def _send(self, data: bytes | str) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(data)


async def test_everything_is_put_as_the_wire_puts_it() -> None:
    """And what may be anything goes as it is."""
    link = WrittenDown(ProtobufWire(takes_texts=True))
    await link.send_message("hi")
    await link.send_audio(CHUNK)
    await link.send_interruption()
    await link.send_bytes(b"\xff")
    await link.send_text("{")
    assert [
        encode_message("hi"),
        encode_audio(CHUNK),
        encode_interruption(),
        b"\xff",
        "{",
    ] == link.sent


async def test_sound_that_nobody_asked_for_is_not_sent() -> None:
    """It is a checkpoint all the same."""
    link = WrittenDown(JsonWire())
    with assert_checkpoints():
        await link.send_audio(CHUNK)
    assert [] == link.sent


async def test_a_wire_without_interruptions() -> None:
    """Says so."""
    with pytest.raises(UnsupportedFeatureError):
        await WrittenDown(JsonWire()).send_interruption()
