"""When speech begins and ends, from the sound alone. No I/O.

A frame is a hundredth of a second. How far it rises above the noise is evidence of speech, how far
it stays below is evidence of none, and both are added up: a moment's peak is a click, and a weak
hiss that goes on is speech. Speech is certain after a while only, and it began where the sum began
to grow: so bounds are decided late and told as of when they were. The end likewise.
"""

import math
from array import array
from collections.abc import Iterator
from typing import Final, final

import attrs

from ._chunk import AudioChunk, check_format
from ._levels import FRAME_RATE, SILENCE_DBFS, Frame, Levels
from ._noise import BLOCK, LEARNING, Noise

#: One frame says no more than this, in dB: a bang is not more certainly speech than a word.
_MOST: Final = 8.0
#: Evidence of speech that is enough; more than the other is not kept, or doubt would take long.
_ENOUGH: Final = 16.0
_KEPT: Final = 32.0
#: Frames of silence after which there is no noise any more; and after which there was a pause.
_SILENT: Final = 10
_PAUSE: Final = 3
#: Where there is no noise, a bound is the sample that is this loud: -54.7 dBFS.
_AUDIBLE: Final = 60
_NO_NOISE_DBFS: Final = SILENCE_DBFS + 3


@final
@attrs.frozen
class SpeechStarted:
    """Sound began, so many seconds after the stream did."""

    seconds: float


@final
@attrs.frozen
class SpeechEnded:
    """The last sound was so many seconds after the stream began."""

    seconds: float


#: What `SpeechDetector` finds: a `SpeechStarted`, then a `SpeechEnded`, and so on.
SpeechBound = SpeechStarted | SpeechEnded


@final
class SpeechDetector:
    """Finds where speech begins and ends in a stream of PCM.

    It goes by energy alone, in two bands and against the noise of the last seconds. So a tone, a
    beep and music are speech to it, and a babble of voices behind the speaker is a noise that may
    hide the bounds. What is below -60 dBFS is silence, and a DC offset is no sound.

    Bounds are exact (to a sample or so) in digital silence, and to 10 ms in noise that does not
    hide them. Noise hides what is weaker: a first or last consonant may be lost in it.

    A stream's first half second is heard before anything is decided. What is steady all through it
    is noise, however loud, until it is quieter. Later on, noise that grows suddenly is taken for
    speech, which ends after at most 4.5 s; steady sound that is longer than this ends there too.

    Any cutting into chunks gives the same bounds, even one between the bytes of a sample.

    Args:
        sample_rate: In Hz.
        num_channels: How many are interleaved; speech is in any of them.
        end_seconds: How much silence ends an utterance. A shorter pause is inside it.
        min_speech_seconds: A sound that is shorter is a click. Sound of less than 20 ms always is.

    Raises:
        TypeError: `sample_rate` or `num_channels` is no integer.
        ValueError: one of them is not positive, or seconds are negative or not finite.
    """

    def __init__(
        self,
        sample_rate: int,
        num_channels: int = 1,
        *,
        end_seconds: float = 0.5,
        min_speech_seconds: float = 0.04,
    ) -> None:
        check_format(b"", sample_rate, num_channels)
        for name, seconds in (
            ("end_seconds", end_seconds),
            ("min_speech_seconds", min_speech_seconds),
        ):
            if not 0 <= seconds < math.inf:
                raise ValueError(f"{name} is 0 or more, not {seconds}")
        self._rate = sample_rate
        self._levels = Levels(sample_rate, num_channels)
        self._end_samples = round(end_seconds * sample_rate)
        self._min_frames = round(min_speech_seconds * FRAME_RATE)
        self._low, self._high = Noise(), Noise()
        #: The first frames, until it is known what noise is; then None.
        self._heard: list[Frame] | None = []
        self._number = 0
        self._silent = 0
        self._is_speech = False
        #: Evidence that speech begins, since `_onset`, and how many frames gave it.
        self._rise = 0.0
        self._onset = 0
        self._rising = 0
        #: Evidence that it ends, since `_end`; and what was heard right before.
        self._fall = 0.0
        self._end = 0
        self._before: Frame | None = None

    @property
    def is_speech(self) -> bool:
        """Has speech started that has not ended, as far as is decided?"""
        return self._is_speech

    def feed(self, pcm: "bytes | bytearray | memoryview") -> list[SpeechBound]:
        """Take the next PCM, of any length, and return the bounds that are decided by it.

        Speech is decided some 40 ms after it starts (at the very beginning of a stream that is
        not silent, half a second), and `end_seconds` after it ends.
        """
        if self._idle and self._skip(pcm):
            return []
        return [bound for frame in self._levels.feed(pcm) for bound in self._hear(frame)]

    def flush(self) -> list[SpeechBound]:
        """Return the last bounds, at the end of the stream: speech that still sounds ends there.

        A stream that was over before its noise was known is compared with silence. What is fed
        after this goes on where the stream was.
        """
        bounds = [bound for frame in self._levels.flush() for bound in self._hear(frame)]
        heard, self._heard = self._heard or [], None
        bounds += [bound for frame in heard for bound in self._decide(frame)]
        if self._is_speech:
            if not self._fall:
                self._cut_end()
            bounds.append(self._ended())
        self._rise = 0.0
        return bounds

    @property
    def _idle(self) -> bool:
        """Does silence change nothing?"""
        return (
            self._silent >= _SILENT
            and self._heard is None
            and not self._is_speech
            and not self._rise
        )

    def _skip(self, pcm: "bytes | bytearray | memoryview") -> bool:
        """Take silence without looking at it; was it silence?"""
        frames = self._levels.skip_silence(pcm)
        ended = (self._number + frames) // BLOCK - self._number // BLOCK
        self._number += frames
        self._silent += frames
        if frames:
            for noise in (self._low, self._high):
                noise.skip_blocks(ended, begun=self._number % BLOCK > 0)
        return frames > 0

    def _hear(self, frame: Frame) -> Iterator[SpeechBound]:
        """Decide, as soon as it is known what noise is."""
        if self._heard is None:
            yield from self._decide(frame)
            return
        self._heard.append(frame)
        if not frame.is_silent:
            if len(self._heard) < LEARNING:
                return
            self._low.learn([heard.low for heard in self._heard])
            self._high.learn([heard.high for heard in self._heard])
        heard, self._heard = self._heard, None
        for frame in heard:
            yield from self._decide(frame)

    def _decide(self, frame: Frame) -> Iterator[SpeechBound]:
        self._number += 1
        self._know_noise(frame)
        evidence = max(frame.low - self._low.most, frame.high - self._high.most)
        evidence = max(-_MOST, min(evidence, _MOST))
        if self._is_speech and not self._fall:
            self._go_on(frame, evidence)
        else:
            started = self._look_for_onset(frame, evidence)
            if self._is_speech:
                self._fall = max(self._fall - evidence, 0.0)
                # A pause ends where what may be speech begins.
                until = self._onset if self._rise else frame.end
                if until - self._end >= self._end_samples:
                    yield self._ended()
                elif started or not self._fall:
                    self._fall, self._end = 0.0, frame.end
            if started and not self._is_speech:
                self._is_speech, self._fall, self._end = True, 0.0, frame.end
                yield SpeechStarted(self._onset / self._rate)
        if not self._is_speech and not self._rise and not frame.is_silent:
            self._low.follow(frame.low)
            self._high.follow(frame.high)
        self._before = frame

    def _know_noise(self, frame: Frame) -> None:
        noises = ((self._low, frame.low), (self._high, frame.high))
        self._silent = self._silent + 1 if frame.is_silent else 0
        for noise, level in noises:
            if not frame.is_silent:
                noise.track(level)
            elif self._silent >= _PAUSE:
                noise.was_silent()
            if self._silent >= _SILENT:
                noise.silence()
            if self._number % BLOCK == 0:
                noise.end_block()

    def _go_on(self, frame: Frame, evidence: float) -> None:
        if evidence >= 0:
            self._end = frame.end
            return
        self._fall, self._rise, self._rising = -evidence, 0.0, 0
        self._cut_end()

    def _look_for_onset(self, frame: Frame, evidence: float) -> bool:
        """Is it certain, by this frame, that speech began at `_onset`?"""
        if not self._rise:
            self._onset, self._rising = frame.begin, 0
            if evidence > 0 and self._no_noise:
                self._onset += self._quiet_frames(frame.samples)
        self._rise = max(0.0, min(self._rise + evidence, _KEPT))
        self._rising += evidence > 0
        return self._rise >= _ENOUGH and self._rising >= self._min_frames

    def _cut_end(self) -> None:
        """Have the end where the last frame's sound ended, which can be seen without noise."""
        if self._no_noise and self._before is not None:
            self._end -= self._quiet_frames(self._before.samples[::-1])

    @property
    def _no_noise(self) -> bool:
        return self._low.mean < _NO_NOISE_DBFS

    def _quiet_frames(self, samples: "array[int]") -> int:
        """How many samples of each channel come before the first that is heard; 0: none is."""
        for number, sample in enumerate(samples):
            if abs(sample) > _AUDIBLE:
                return number // self._levels.num_channels
        return 0

    def _ended(self) -> SpeechEnded:
        self._is_speech = False
        return SpeechEnded(self._end / self._rate)


def find_speech(
    chunk: AudioChunk, *, end_seconds: float = 0.5, min_speech_seconds: float = 0.04
) -> list[tuple[float, float]]:
    """Return when each utterance in a sound begins and ends, in seconds from its beginning.

    It is what a `SpeechDetector` finds, and takes its keywords.
    """
    detector = SpeechDetector(
        chunk.sample_rate,
        chunk.num_channels,
        end_seconds=end_seconds,
        min_speech_seconds=min_speech_seconds,
    )
    seconds = [bound.seconds for bound in (*detector.feed(chunk.pcm), *detector.flush())]
    return list(zip(seconds[::2], seconds[1::2], strict=True))
