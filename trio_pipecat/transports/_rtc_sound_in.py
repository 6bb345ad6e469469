"""The other side's sound, from packets to PCM, in the loop's thread.

aiortc would put packets in order, decode them in a thread of its own for each connection, and hand
every frame back by a task. Two things are in the way of that: its jitter buffer wants four frames
without a gap to give one, so of each packet that is lost it throws four away that are not; and
handing over to a thread and back costs several times what decoding does. So packets are taken where
aiortc would begin to sort them (`take_packets`). That place is private to it: where it is not
found, what aiortc decodes is read instead (`SoundReader`).

Nothing is held back here to be even, as a player would have to: what is in order goes on at once.
"""

import logging
from collections.abc import Callable
from typing import Any, Final, final

import av
from av.audio.codeccontext import AudioCodecContext
from av.error import FFmpegError

from ._sound_out import FRAME_SECONDS

logger: Final = logging.getLogger("trio_pipecat")

#: For how many packets one that is missing is waited for; it would be as late as they are long.
_PATIENCE: Final = 4
#: Numbers that are further apart are of another stream.
_MAX_JUMP: Final = 100
#: Opus is decoded at this rate, whatever was encoded.
_OPUS_RATE: Final = 48_000
#: Where aiortc keeps its jitter buffer.
_JITTER_BUFFER: Final = "_RTCRtpReceiver__jitter_buffer"


@final
class SoundIn:
    """Makes mono PCM of packets of Opus, in order, and gives it on.

    It stands where aiortc has a jitter buffer. For a packet that does not come there is silence, so
    that what follows is heard when it was said.
    """

    def __init__(self, sample_rate: int, hear: Callable[[bytes], object]) -> None:
        self._hear = hear
        self._decoder = _OpusDecoder(sample_rate)
        self._silence = bytes(2 * round(sample_rate * FRAME_SECONDS))
        self._held: dict[int, bytes] = {}
        self._next: int | None = None
        self._newest = 0

    def add(self, packet: Any) -> tuple[bool, None]:
        """Take a packet. To aiortc: no key frame is wanted, and there is nothing to decode."""
        number = self._place(packet.sequence_number)
        if self._next is not None and number >= self._next:
            self._held[number] = packet.payload
        while self._next is not None:
            if self._next in self._held:
                self._give(self._held.pop(self._next))
            elif self._newest - self._next >= _PATIENCE:
                self._hear(self._silence)
            else:
                break
            self._next += 1
        return False, None

    def _place(self, number: int) -> int:
        """Return a packet's place in the stream: its own number begins anew after 65535."""
        jump = (number - self._newest + 0x8000) % 0x10000 - 0x8000
        if self._next is None or abs(jump) > _MAX_JUMP:
            self._held.clear()
            self._next = self._newest = number
            return number
        self._newest = max(self._newest, self._newest + jump)
        return self._newest if jump > 0 else self._newest + jump

    def _give(self, payload: bytes) -> None:
        try:
            pcm = self._decoder.decode(payload)
        except FFmpegError as error:
            logger.debug("a packet of sound that can't be decoded: %s", error)
            pcm = self._silence
        if pcm:
            self._silence = bytes(len(pcm))
            self._hear(pcm)


@final
class SoundReader:
    """Makes mono PCM of frames of PyAV's."""

    def __init__(self, sample_rate: int) -> None:
        # Of even pieces: the resampler's first would be short by its delay.
        self._resampler = av.AudioResampler(
            format="s16",
            layout="mono",
            rate=sample_rate,
            frame_size=round(sample_rate * FRAME_SECONDS),
        )

    def read(self, frame: av.AudioFrame) -> bytes:
        """Return what can be told by now."""
        parts = self._resampler.resample(frame)
        return b"".join(bytes(part.planes[0])[: 2 * part.samples] for part in parts)


class _OpusDecoder:
    def __init__(self, sample_rate: int) -> None:
        codec = av.CodecContext.create("libopus", "r")
        assert isinstance(codec, AudioCodecContext)
        codec.format, codec.layout, codec.sample_rate = "s16", "mono", _OPUS_RATE
        self._codec = codec
        self._reader = SoundReader(sample_rate)

    def decode(self, payload: bytes) -> bytes:
        frames = self._codec.decode(av.Packet(payload)) if payload else []
        return b"".join(map(self._reader.read, frames))


def take_packets(receiver: Any, sound: SoundIn) -> bool:
    """Have a receiver of aiortc's give its packets to `sound`. False: there is no way to."""
    found = hasattr(receiver, _JITTER_BUFFER)
    if found:
        setattr(receiver, _JITTER_BUFFER, sound)
    else:
        logger.debug("aiortc's jitter buffer is not where it was; its own is used")
    return found
