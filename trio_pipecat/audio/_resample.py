"""Sound at another sample rate, chunk by chunk. No I/O.

There are two engines behind one face, and what comes out is equally long and at the same time with
both: soxr, of the extra ``audio``, and the core's own (`Polyphase`).
"""

from typing import Final, Literal, Protocol

from .._errors import UnsupportedFeatureError
from ._align import FrameAligner
from ._pcm import SAMPLE_WIDTH
from ._polyphase import Polyphase

Engine = Literal["auto", "soxr", "python"]

#: The rates that sound may have here, in Hz, and how many channels at most.
MIN_RATE: Final = 1_000
MAX_RATE: Final = 768_000
MAX_CHANNELS: Final = 255
#: How many frames are worked on at once: memory does not grow with the sound.
_STEP: Final = 16_384


class _Engine(Protocol):
    def feed(self, pcm: bytes) -> bytes:
        """Return what can be computed by now."""
        ...

    def finish(self) -> bytes:
        """Return the rest, and maybe silence after it."""
        ...


class Resampler:
    """A stream of PCM at one sample rate, as one at another.

    What sounds at second t sounds at second t of what comes out: the filter's delay is taken off.
    Of n frames come ``ceil(n * to_rate / from_rate)``, once it is flushed. How the sound is cut
    into chunks does not matter, not even if it is in the middle of a sample.

    `engine` is ``"soxr"``, ``"python"``, or the first of them that is installed (importing soxr and
    numpy takes a moment, once). Python's is flat to 0.05 dB up to 80 % of the band that both rates
    have (of 16 kHz: up to 6.4 kHz); what is 10 % above that band is 65 dB down. soxr's is flat up
    to 90 %, and sharper. Python's is fast for rates in a simple ratio, as 8, 16, 24, 32 and 48 kHz
    have; others, like 44100 Hz, take it ten times as long.

    Raises:
        TypeError: a rate or number of channels is no integer.
        ValueError: a rate is not from 1000 to 768000 Hz, or there are not 1 to 255 channels.
        UnsupportedFeatureError: soxr is asked for, and not installed.
    """

    def __init__(
        self, from_rate: int, to_rate: int, num_channels: int = 1, *, engine: Engine = "auto"
    ) -> None:
        _check("sample rate", from_rate, MIN_RATE, MAX_RATE)
        _check("sample rate", to_rate, MIN_RATE, MAX_RATE)
        _check("number of channels", num_channels, 1, MAX_CHANNELS)
        if engine not in ("auto", "soxr", "python"):
            raise ValueError(f"an engine is auto, soxr or python, not {engine!r}")
        self._from, self._to, self._channels = from_rate, to_rate, num_channels
        self._frame = SAMPLE_WIDTH * num_channels
        is_soxr = from_rate != to_rate and engine != "python" and _has_soxr(engine)
        self._make = _Soxr if is_soxr else Polyphase
        self._restart()

    def resample(self, pcm: bytes) -> bytes:
        """Return all that can be computed by now; the last milliseconds come with what follows."""
        pcm = self._aligner.feed(pcm)
        if self._engine is None:
            return pcm
        size = _STEP * self._frame
        out = [self._engine.feed(pcm[start : start + size]) for start in range(0, len(pcm), size)]
        self._frames_in += len(pcm) // self._frame
        self._bytes_out += sum(map(len, out))
        return b"".join(out)

    def flush(self) -> bytes:
        """Return the rest; what comes next is another sound. A part of a frame is left out."""
        if self._engine is None:
            self._aligner.clear()
            return b""
        frames = -(-self._frames_in * self._to // self._from)
        missing = frames * self._frame - self._bytes_out
        rest = self._engine.finish() if missing else b""
        self._restart()
        return rest[:missing].ljust(missing, b"\0")

    def _restart(self) -> None:
        self._aligner = FrameAligner(self._channels)
        self._engine: _Engine | None = None
        if self._from != self._to:
            self._engine = self._make(self._from, self._to, self._channels)
        self._frames_in = self._bytes_out = 0


class _Soxr:
    """The engine of the extra."""

    def __init__(self, from_rate: int, to_rate: int, num_channels: int) -> None:
        import soxr

        # Of integers soxr adds noise before it rounds, and not the same for other chunks.
        self._stream: soxr.ResampleStream = soxr.ResampleStream(
            from_rate, to_rate, num_channels, dtype="float32", quality="HQ"
        )
        self._channels = num_channels

    def feed(self, pcm: bytes) -> bytes:
        """Return what can be computed by now."""
        return self._run(pcm, last=False)

    def finish(self) -> bytes:
        """Return the rest."""
        return self._run(b"", last=True)

    def _run(self, pcm: bytes, *, last: bool) -> bytes:
        import numpy as np

        samples = np.frombuffer(pcm, "<i2").astype(np.float32)
        if self._channels > 1:
            samples = samples.reshape(-1, self._channels)
        out = self._stream.resample_chunk(samples, last=last)
        return bytes(np.clip(np.rint(out), -32_768, 32_767).astype("<i2"))


def resample(pcm: bytes, from_rate: int, to_rate: int, num_channels: int) -> bytes:
    """Return the whole of a sound at another rate."""
    resampler = Resampler(from_rate, to_rate, num_channels)
    return resampler.resample(pcm) + resampler.flush()


def load_engine() -> None:
    """Import soxr, if it is there. It takes a moment, which may be spent in a thread."""
    _has_soxr("auto")


def _has_soxr(engine: Engine) -> bool:
    try:
        import numpy as np
        import soxr
    except ImportError as error:
        if engine == "soxr":
            raise UnsupportedFeatureError(
                "resampling with soxr", 'pip install "trio-pipecat[audio]"'
            ) from error
        return False
    del np, soxr
    return True


def _check(name: str, number: object, lowest: int, highest: int) -> None:
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"a {name} is an integer, not {number!r}")
    if not lowest <= number <= highest:
        raise ValueError(f"a {name} is from {lowest} to {highest}, not {number}")
