"""The other side's sound: packets in any order, with some missing, become PCM in time."""

import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("av", reason='type: pip install "trio-pipecat[webrtc]"')
import av
from aiortc import RTCPeerConnection
from aiortc.rtp import RtpPacket

from trio_pipecat.testing._transport_ends import frequency, sine
from trio_pipecat.transports._rtc_sound_in import SoundIn, SoundReader, take_packets
from trio_pipecat.transports._rtc_tracks import OpusEncoder
from trio_pipecat.transports._sound_out import Frame

RATE = 16_000


def packets_of(pcm: bytes) -> list[bytes]:
    encoder, size = OpusEncoder(), RATE // 50 * 2
    frames = [Frame(pcm[at : at + size], RATE, 1) for at in range(0, len(pcm), size)]
    return [packet for frame in frames for packet in encoder.encode(frame)]


#: The payload says which packet it is: as if it were decoded to its number.
class _Numbers(SoundIn):  # type: ignore[misc]  # final, but for this
    def _give(self, payload: bytes) -> None:
        self._hear(payload)


def heard_of(numbers: list[int]) -> list[int | None]:
    """Return the packets that are heard when those of these numbers come; None: silence."""
    heard: list[int | None] = []
    sound = _Numbers(24_000, lambda pcm: heard.append(None if len(pcm) > 8 else int(pcm)))
    for number in numbers:
        payload = str(number).encode()
        sound.add(RtpPacket(sequence_number=number % 65_536, timestamp=number, payload=payload))
    return heard


def test_what_is_in_order_goes_on_at_once() -> None:
    """Nothing is held back."""
    assert [5, 6, 7] == heard_of([5, 6, 7])


def test_what_is_missing_is_waited_for() -> None:
    """Until four more have come; then there is silence in its place."""
    assert [0, 1] == heard_of([0, 1, 3, 4, 5])
    assert [0, 1, 2, 3, 4, 5] == heard_of([0, 1, 3, 4, 5, 2])
    assert [0, 1, None, 3, 4, 5, 6] == heard_of([0, 1, 3, 4, 5, 6])
    assert [0, 1, None, 3, 4, 5, 6] == heard_of([0, 1, 3, 4, 5, 6, 2])


def test_packets_that_are_nonsense() -> None:
    """Twice the same, far too late, another stream; and numbers begin anew after 65535."""
    assert [0, 1, 2, 3] == heard_of([0, 0, 1, 2, 1, 3, 3])
    assert [5, 6, 7] == heard_of([5, 6, 2, 7])
    assert [0, 1, 30_000, 30_001] == heard_of([0, 1, 30_000, 30_001])
    assert [65_535, 65_536, 65_537] == heard_of([65_535, 65_536, 65_537])


@given(st.integers(0, 65_535), st.lists(st.tuples(st.floats(0, 3.9), st.booleans()), min_size=10))
def test_packets_that_are_late_or_lost(first: int, fates: list[tuple[float, bool]]) -> None:
    """In order, each once, none that came in time left out, and silence for those that did not."""
    came = [(place + late, first + place) for place, (late, lost) in enumerate(fates) if not lost]
    numbers = [number for _, number in sorted(came)]
    heard = heard_of(numbers)
    told = [number for number in heard if number is not None]
    assert sorted(set(told)) == told
    assert set(told) <= set(numbers)
    if told:
        span = range(told[0], told[0] + len(heard))
        assert all(number in (None, place) for number, place in zip(heard, span, strict=True))
        # What is before the first that came is nobody's; what waits is as much as is waited for.
        left = [number for number in numbers if number > told[0] and number not in told]
        assert len(left) <= 4


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 48_000])
def test_a_tone(rate: int) -> None:
    """Is heard as it is, as long as it is, in even pieces."""
    heard: list[bytes] = []
    sound = SoundIn(rate, heard.append)
    for number, packet in enumerate(packets_of(sine(440, 1, RATE))):
        sound.add(RtpPacket(sequence_number=number, timestamp=number, payload=packet))
    pcm = b"".join(heard)
    assert 1 == pytest.approx(len(pcm) / 2 / rate, abs=0.021)
    assert {rate // 25} == {len(piece) for piece in heard}
    middle = pcm[rate // 2 : -rate // 2]
    assert 440 == pytest.approx(frequency(middle, rate), rel=0.02)
    level = math.sqrt(sum(s * s for s in array("h", middle)) / (len(middle) / 2))
    assert 16_383 / math.sqrt(2) == pytest.approx(level, rel=0.1)


def test_garbage_is_silence() -> None:
    """As long as what was heard before; and what follows is heard."""
    heard: list[bytes] = []
    sound = SoundIn(24_000, heard.append)
    packets = packets_of(sine(440, 0.4, RATE))
    packets[10] = b"\xff" * 3
    for number, packet in enumerate(packets):
        sound.add(RtpPacket(sequence_number=number, timestamp=number, payload=packet))
    assert len(packets) - 1 <= len(heard) <= len(packets)
    assert {960} == {len(piece) for piece in heard}
    assert not any(heard[9]) or not any(heard[10])
    assert any(heard[15])


def test_an_empty_packet_is_nothing() -> None:
    """It takes its place, and is not heard."""
    heard: list[bytes] = []
    sound = SoundIn(24_000, heard.append)
    for number, packet in enumerate([b"", *packets_of(sine(440, 0.1, RATE))]):
        sound.add(RtpPacket(sequence_number=number, timestamp=number, payload=packet))
    assert 4 <= len(heard) <= 5


async def test_where_aiortc_sorts_packets() -> None:
    """It is private to it. If this fails, sound is heard all the same, but much of it is lost."""

    async def main() -> tuple[bool, bool]:
        pc = RTCPeerConnection()
        receiver = pc.addTransceiver("audio").receiver
        sound = SoundIn(24_000, bytes)
        found = take_packets(receiver, sound), take_packets(object(), sound)
        await pc.close()
        return found

    import asyncio

    import trio

    assert (True, False) == await trio.to_thread.run_sync(asyncio.run, main())


def test_even_pieces_of_frames() -> None:
    """Of twenty milliseconds each, though a resampler's first is short by its delay."""
    codec = av.CodecContext.create("libopus", "r")
    codec.format, codec.layout, codec.sample_rate = "s16", "stereo", 48_000
    reader = SoundReader(24_000)
    packets = packets_of(sine(440, 0.2, RATE))
    sizes = [len(reader.read(f)) for p in packets for f in codec.decode(av.Packet(p))]
    assert {0, 960} >= set(sizes)
