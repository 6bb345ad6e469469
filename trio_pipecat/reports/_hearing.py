"""When one side of a conversation was heard to speak, on the session's own timeline. No I/O.

Chunks go to a `Track`, which knows when each of them sounds, and to a `SpeechDetector`, which knows
where in them speech is. The detector counts the samples it was given; sound has gaps. So a gap is
given to it as a little silence, and what it says is told in the session's time by anchors: at this
sample of the detector's it was that late.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final, final

from ..audio import (
    AudioChunk,
    FrameAligner,
    SpeechBound,
    SpeechDetector,
    SpeechStarted,
)
from ..audio._chunk import can_sound
from ..audio._track import Track

#: Silence that ends an utterance. A pause within a sentence is shorter.
_END_SECONDS: Final = 0.5
#: What a gap is given to the detector as, at most: enough for it to be sure of an end.
_GAP_SECONDS: Final = 0.7
#: Enough for it to know that there is no noise.
_CLEAN_SECONDS: Final = 0.1
_MANY: Final = 64


@final
class Hearing:
    """Listens to one side. All times are in seconds since the session began.

    A side that `is_clean` has silence before its first sound: a bot's voice, as a rule. A
    microphone has noise, which has to be learned before it can be told from speech.
    """

    def __init__(self, *, is_clean: bool) -> None:
        self._is_clean = is_clean
        self._track = Track()
        self._format = (0, 0)
        self._aligner = FrameAligner()
        self._detector: SpeechDetector | None = None
        #: How much the detector was given, in seconds.
        self._given = 0.0
        #: Seconds of the detector's, and the session's of the same sample, by run.
        self._anchors: list[float] = []
        self._times: list[float] = []

    @property
    def is_speech(self) -> bool:
        """Is somebody speaking, as far as it was heard by now?"""
        return self._detector is not None and self._detector.is_speech

    @property
    def end(self) -> float:
        """When the last of what was heard will have sounded."""
        return self._track.end / self._track.rate if self._track.rate else 0.0

    def hear(self, chunk: AudioChunk, at: float) -> Iterator[SpeechBound]:
        """Yield the bounds of speech that are known with another chunk, which came `at`."""
        if not can_sound(chunk):
            return
        format_ = (chunk.sample_rate, chunk.num_channels)
        if format_ != self._format:
            yield from self.settle()
            self._format = format_
            self._aligner = FrameAligner(chunk.num_channels)
            self._detector = None
        # Silence may follow, and has to begin between two samples.
        chunk = AudioChunk(self._aligner.feed(chunk.pcm), *format_)
        if not chunk.num_frames:
            return
        before = self.end
        begin = self._track.place(at, chunk.sample_rate, chunk.num_frames) / chunk.sample_rate
        if self._detector is None:
            self._detector = SpeechDetector(*format_, end_seconds=_END_SECONDS)
            self._given, self._anchors, self._times = 0.0, [0.0], [begin]
            if self._is_clean:
                yield from self._give_silence(_CLEAN_SECONDS)
                self._anchors, self._times = [self._given], [begin]
        elif begin - before > 1 / chunk.sample_rate:
            yield from self._give_silence(min(begin - before, _GAP_SECONDS))
            self._anchors.append(self._given)
            self._times.append(begin)
        yield from self._give(chunk)

    def settle(self) -> Iterator[SpeechBound]:
        """Nothing more comes for now: yield the end of what was heard."""
        if self._detector is not None and self._given > self._anchors[-1]:
            last = self.end
            yield from self._give_silence(_GAP_SECONDS)
            self._anchors.append(self._given)
            self._times.append(last)

    def cut(self, at: float) -> Iterator[SpeechBound]:
        """What has not sounded by now never will: yield the end of what has."""
        self._track.cut(at)
        self._aligner.clear()
        for bound in self.settle():
            yield type(bound)(min(bound.seconds, at))

    def _give_silence(self, seconds: float) -> Iterator[SpeechBound]:
        yield from self._give(AudioChunk.silence(seconds, *self._format))

    def _give(self, chunk: AudioChunk) -> Iterator[SpeechBound]:
        assert self._detector is not None
        self._given += chunk.duration
        for bound in self._detector.feed(chunk.pcm):
            yield self._in_session(bound)
        if len(self._anchors) > _MANY:
            del self._anchors[: -_MANY // 2], self._times[: -_MANY // 2]

    def _in_session(self, bound: SpeechBound) -> SpeechBound:
        # What begins at an anchor begins the run, what ends there ended the one before.
        find = bisect_right if isinstance(bound, SpeechStarted) else bisect_left
        run = max(find(self._anchors, bound.seconds) - 1, 0)
        seconds = self._times[run] + bound.seconds - self._anchors[run]
        return type(bound)(seconds)
