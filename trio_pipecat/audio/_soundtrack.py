"""The sound of a session as it was heard: both sides on one timeline, in a stereo file.

`Track` decides where a chunk goes, in frames of its own rate. Here it gets there. The file has one
rate; sound that has it is written as it is, byte for byte. Other sound goes through a `Resampler`,
one for each run of chunks that follow each other without a gap (`_Run`). The first frame of a run
is put on a place that both rates have, so a sample at second t is at frame ``t * rate`` however
long the call lasts: nothing is added up, and so nothing drifts.

While the rate of the file is open the user's sound is written at its own, and kept; when the bot
speaks, in another, the file begins again with it. So even the first seconds survive a kill.

Seconds are counted from the beginning of the session, and never go back.
"""

import os
from math import gcd
from typing import Final

import attrs

from ._align import FrameAligner
from ._chunk import AudioChunk
from ._cues import MAX_CUES
from ._pcm import SAMPLE_WIDTH, mix_down, pcm_of, samples_of
from ._resample import MIN_RATE, Resampler
from ._stereo import BOT, MAX_FRAMES, USER, StereoWriter
from ._track import Track, scale

#: The rate of the file where the bot has not spoken for so many seconds of the user's sound.
_PATIENCE_SECONDS: Final = 5
_USUAL_RATE: Final = 24_000
#: What is beyond this is no sound, whatever it says, and is not kept.
MAX_RATE: Final = 192_000
_MAX_CHANNELS: Final = 32
#: Of rates that meet less often, a run begins on the next frame of the file.
_MAX_STEP: Final = 4_096


@attrs.frozen
class Placed:
    """Where a chunk went: its frames, and the first of them, at its own rate. None: nowhere."""

    begin: int | None
    frames: int


class Soundtrack:
    """A stereo file that is being written: the user on the left, the bot on the right.

    `rate` is that of the file. None: that of the bot's first sound, so that it is kept as it is; or
    of the user's, if that is all there is; or 24000, if the bot is silent for the first five
    seconds of the user's sound. The file is made with the first sound, or by `open`.

    Every method may raise OSError. What was written before is in the file.
    """

    def __init__(
        self, path: "os.PathLike[str]", rate: int | None = None, *, cues: bool = False
    ) -> None:
        if rate is not None:
            if not isinstance(rate, int) or isinstance(rate, bool):
                raise TypeError(f"a sample rate is an integer, not {rate!r}")
            if not MIN_RATE <= rate <= MAX_RATE:
                raise ValueError(f"a sample rate is from {MIN_RATE} to {MAX_RATE} Hz, not {rate}")
        self._path = path
        self._rate = rate
        self._with_cues = cues
        #: There was sound for which a WAV file has no room.
        self.is_full = False
        self._sides = (_Side(), _Side())
        self._writer: StereoWriter | None = None
        #: What is written anew once the rate is known: the user's sound, and marks.
        self._early: list[tuple[int, int, bytes]] = []
        self._early_seconds = 0.0
        self._early_cues: list[tuple[float, str]] = []

    @property
    def seconds(self) -> float:
        """How long the file is."""
        return 0.0 if self._writer is None else self._writer.frames / self._writer.rate

    def open(self) -> None:
        """Make the file, though there is no sound yet."""
        if self._writer is None:
            self._open(_USUAL_RATE)

    def place(self, side: int, chunk: AudioChunk, seconds: float) -> Placed:
        """Put a chunk where it is heard that comes now: at once, or when what sounds is over."""
        rate, channels = chunk.sample_rate, chunk.num_channels
        heard = self._sides[side]
        pcm = heard.align(chunk)
        frames = len(pcm) // (SAMPLE_WIDTH * channels)
        begin = heard.track.place(seconds, rate, frames)
        if not MIN_RATE <= rate <= MAX_RATE or channels > _MAX_CHANNELS:
            return Placed(None, frames)
        if scale(begin + frames, rate, self._rate or rate) > MAX_FRAMES:
            self.is_full = True
            return Placed(None, frames)
        self._settle(seconds)
        mono = pcm_of(mix_down(samples_of(pcm), channels)) if channels > 1 else pcm
        if self._rate is None and side == USER:
            self._write_early(rate, begin, mono)
            return Placed(begin, frames)
        if self._rate is None:
            self._decide(rate)
        self._write(side, rate, begin, mono)
        return Placed(begin, frames)

    def cut(self, side: int, seconds: float) -> int | None:
        """Silence what has not sounded yet; return from which frame of its rate, None: nothing."""
        heard = self._sides[side]
        heard.aligner.clear()
        track = heard.track
        end = track.end
        frame = track.cut(seconds) if track.rate else None
        if frame is None or self._writer is None:
            return None
        self._finish(side)
        rate = self._writer.rate
        self._writer.silence(side, scale(frame, track.rate, rate), scale(end, track.rate, rate))
        return frame

    def mark(self, seconds: float, label: str) -> None:
        """Put a mark at this moment, in a file that is made."""
        if self._writer is None:
            return
        if self._rate is None and len(self._early_cues) < MAX_CUES:
            self._early_cues.append((seconds, label))
        self._settle(seconds)
        self._mark(seconds, label)

    def end(self, seconds: float) -> None:
        """The session is over: what has not sounded by now never will. Close the file."""
        try:
            for side in (USER, BOT):
                self.cut(side, seconds)
        finally:
            self.close()

    def close(self) -> None:
        """Finish the file."""
        if self._writer is None:
            return
        try:
            for side in (USER, BOT):
                self._finish(side)
        finally:
            self._writer.close()

    # -- the rate --

    def _open(self, rate: int) -> StereoWriter:
        self._writer = StereoWriter(self._path, self._rate or rate, cues=self._with_cues)
        return self._writer

    def _write_early(self, rate: int, begin: int, mono: bytes) -> None:
        """Write the user's sound, and keep it until the rate is known, but not for long."""
        if not self._early:
            self._restart(rate)
        self._early.append((rate, begin, mono))
        self._early_seconds += len(mono) / SAMPLE_WIDTH / rate
        self._write(USER, rate, begin, mono)
        if self._early_seconds > _PATIENCE_SECONDS:
            self._decide(_USUAL_RATE)

    def _decide(self, rate: int) -> None:
        """The file has this rate from now on."""
        early, self._early = self._early, []
        if self._restart(rate):
            for kept_rate, begin, mono in early:
                if scale(begin + len(mono) // SAMPLE_WIDTH, kept_rate, rate) <= MAX_FRAMES:
                    self._write(USER, kept_rate, begin, mono)
        self._rate = rate
        self._early_cues = []

    def _restart(self, rate: int) -> bool:
        """Begin the file again, if there is one of another rate."""
        if self._writer is None or self._writer.rate == rate:
            return False
        for side in self._sides:
            side.run = None
        self._writer.restart(rate)
        for seconds, label in self._early_cues:
            self._mark(seconds, label)
        return True

    # -- writing --

    def _write(self, side: int, rate: int, begin: int, mono: bytes) -> None:
        writer = self._writer or self._open(rate)
        run = self._sides[side].run
        if run is not None and (run.rate != rate or run.end != begin):
            self._finish(side)
            run = None
        if rate == writer.rate:
            writer.write(side, begin, samples_of(mono))
            return
        if run is None:
            run = self._sides[side].run = _Run(rate, begin, writer.rate)
        run.feed(mono)
        self._take(side, run)

    def _take(self, side: int, run: "_Run") -> None:
        begin, pcm = run.take()
        if pcm and self._writer is not None:
            self._writer.write(side, begin, samples_of(pcm))

    def _finish(self, side: int) -> None:
        """Write what the resampler still has: what comes next does not follow."""
        run, self._sides[side].run = self._sides[side].run, None
        if run is not None:
            run.finish()
            self._take(side, run)

    def _settle(self, seconds: float) -> None:
        for side in (USER, BOT):
            if self._sides[side].run is not None and self._sides[side].track.over(seconds):
                self._finish(side)

    def _mark(self, seconds: float, label: str) -> None:
        if self._writer is not None:
            frame = round(seconds * self._writer.rate)
            if frame <= MAX_FRAMES:
                self._writer.mark(frame, label)


@attrs.define
class _Side:
    """What is known of one side."""

    track: Track = attrs.field(factory=Track)
    aligner: FrameAligner = attrs.field(factory=FrameAligner)
    #: What the aligner is for: a rate, and channels.
    format: tuple[int, int] = (0, 0)
    run: "_Run | None" = None

    def align(self, chunk: AudioChunk) -> bytes:
        """Return the whole frames up to here, of sound that may be cut in the middle of one."""
        format_ = (chunk.sample_rate, chunk.num_channels)
        if format_ != self.format:
            self.format, self.aligner = format_, FrameAligner(chunk.num_channels)
        return self.aligner.feed(chunk.pcm)


class _Run:
    """Sound without a gap, from its own rate to the file's.

    It begins at frame `begin` of its rate. So that the frames that come out are those of the file,
    it is given silence from the last frame before that is one of the file's, too; what comes of
    that alone is left out.
    """

    def __init__(self, rate: int, begin: int, to_rate: int) -> None:
        step = rate // gcd(rate, to_rate)
        lead = begin % step if step <= _MAX_STEP else 0
        self.rate = rate
        #: The frame after the last, at its rate; and what comes out next, at the file's.
        self.end = begin
        self._next = scale(begin, rate, to_rate)
        self._to_rate = to_rate
        self._skip = (self._next - scale(begin - lead, rate, to_rate)) * SAMPLE_WIDTH
        self._resampler = Resampler(rate, to_rate)
        self._out = b""
        self._add(self._resampler.resample(bytes(lead * SAMPLE_WIDTH)))

    def feed(self, mono: bytes) -> None:
        """Add what follows."""
        self.end += len(mono) // SAMPLE_WIDTH
        self._add(self._resampler.resample(mono))

    def finish(self) -> None:
        """Nothing follows."""
        self._add(self._resampler.flush())
        # Where the rates never met, there may be one frame more than there is room for.
        room = scale(self.end, self.rate, self._to_rate) - self._next
        self._out = self._out[: room * SAMPLE_WIDTH]

    def take(self) -> tuple[int, bytes]:
        """Return what has come out since, and the frame of the file that it begins at."""
        out, self._out = self._out, b""
        begin = self._next
        self._next += len(out) // SAMPLE_WIDTH
        return begin, out

    def _add(self, out: bytes) -> None:
        self._out += out[self._skip :]
        self._skip = max(0, self._skip - len(out))
