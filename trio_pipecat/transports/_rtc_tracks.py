"""What goes into a peer connection, as PyAV's packets and frames; and the pictures that come out.

Everything here runs in the loop's thread. Opus is encoded by us, in mono where the sound is, at the
rate that the sound has, and handed over as packets: aiortc would resample it to stereo at 48 kHz
first, and encode it in yet another thread.
"""

import asyncio
from fractions import Fraction
from typing import Any, Final, final

import av
from aiortc import MediaStreamTrack, RTCRtpSender
from aiortc.mediastreams import MediaStreamError
from av.audio.codeccontext import AudioCodecContext

from ..video import VideoFrame, _pyav
from ..video._frame import PictureSource
from ._sound_out import FRAME_SECONDS, Frame, SoundOut

#: RTP counts Opus at this rate, whatever is in it.
_CLOCK_RATE: Final = 48_000
_TICKS: Final = round(_CLOCK_RATE * FRAME_SECONDS)
_TIME_BASE: Final = Fraction(1, _CLOCK_RATE)
_VIDEO_TIME_BASE: Final = Fraction(1, 90_000)
#: For speech of one channel, in bits per second; what browsers send.
_BIT_RATE: Final = 32_000
#: Later than this, in seconds, and the clock begins anew: what is behind is not sent in a burst.
_MAX_LATE: Final = 0.2
#: The only codec for sound.
OPUS: Final = [
    codec
    for codec in RTCRtpSender.getCapabilities("audio").codecs
    if codec.mimeType == "audio/opus"
]


@final
class OpusEncoder:
    """Makes packets of frames. A new format makes a new encoder; no decoder minds."""

    def __init__(self) -> None:
        self._format: tuple[int, int] | None = None
        self._codec: Any = None

    def encode(self, frame: Frame) -> list[bytes]:
        """Return the packets of a frame: one, as a rule."""
        rate, channels = frame.sample_rate, frame.num_channels
        layout = "mono" if channels == 1 else "stereo"
        if self._format != (rate, channels):
            self._format = (rate, channels)
            codec = av.CodecContext.create("libopus", "w")
            assert isinstance(codec, AudioCodecContext)
            codec.bit_rate = _BIT_RATE * channels
            codec.format, codec.layout, codec.sample_rate = "s16", layout, rate
            codec.time_base = Fraction(1, rate)
            codec.options = {"application": "voip"}
            self._codec = codec
        samples = len(frame.pcm) // (2 * channels)
        audio = av.AudioFrame(format="s16", layout=layout, samples=samples)
        audio.sample_rate = rate
        audio.planes[0].update(frame.pcm)
        return [bytes(packet) for packet in self._codec.encode(audio)]


@final
class SoundTrack(MediaStreamTrack):
    """The sound of this side, on the beat: silence, where there is none. `begun` says from when."""

    kind = "audio"

    def __init__(self, sound: SoundOut, begun: asyncio.Event) -> None:
        super().__init__()
        self._begun = begun
        #: False: another track has the sound.
        self.counts = True
        self._sound = sound
        self._encoder = OpusEncoder()
        self._silence = Frame(bytes(round(2 * 16_000 * FRAME_SECONDS)), 16_000, 1)
        self._start = 0.0
        self._count = 0

    async def recv(self) -> Any:
        """Return the next packet, when it is time for it."""
        await self._begun.wait()
        while True:
            await self._beat()
            if self.readyState != "live":
                raise MediaStreamError
            frame = self._sound.take() if self.counts else None
            if frame is None:
                frame = self._silence
            elif frame.sample_rate != self._silence.sample_rate:
                # An encoder that is kept makes no click, and has nothing to learn anew.
                size = round(2 * frame.sample_rate * FRAME_SECONDS) * frame.num_channels
                self._silence = Frame(bytes(size), frame.sample_rate, frame.num_channels)
            packets = self._encoder.encode(frame)
            if packets:
                packet = av.Packet(packets[0])
                packet.pts, packet.time_base = self._count * _TICKS, _TIME_BASE
                return packet

    async def _beat(self) -> None:
        now = asyncio.get_running_loop().time()
        self._count += 1
        if self._count == 1:
            self._start = now - FRAME_SECONDS
        late = now - self._start - self._count * FRAME_SECONDS
        if late < 0:
            await asyncio.sleep(-late)
        elif late > _MAX_LATE:
            self._start += late
            self._sound.fell_behind(late)


@final
class PictureTrack(MediaStreamTrack):
    """The pictures of this side, as they come: of those that come too fast, the newest."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._next: VideoFrame | None = None
        self._came = asyncio.Event()
        self._began: float | None = None
        self._last = -1
        #: How many were replaced by a newer one before they could be encoded.
        self.replaced = 0

    def put(self, frame: VideoFrame) -> None:
        """Send this one next."""
        self.replaced += self._next is not None
        self._next = frame
        self._came.set()

    async def recv(self) -> av.VideoFrame:
        """Return the next picture, when there is one."""
        while self._next is None:
            await self._came.wait()
            self._came.clear()
            if self.readyState != "live":
                raise MediaStreamError
        frame, self._next = self._next, None
        now = asyncio.get_running_loop().time()
        self._began = now if self._began is None else self._began
        picture: av.VideoFrame = _pyav.to_av(frame.data, frame.width, frame.height, frame.format)
        # No two may be at the same time.
        self._last = max(round((now - self._began) * 90_000), self._last + 1)
        picture.pts, picture.time_base = self._last, _VIDEO_TIME_BASE
        return picture

    def stop(self) -> None:
        """End it."""
        super().stop()
        self._came.set()


def from_av(picture: Any, source: PictureSource) -> VideoFrame:
    """Return a picture as our users have it."""
    data, width, height = _pyav.from_av(picture, "yuv420p")
    return VideoFrame(data=data, width=width, height=height, source=source)
