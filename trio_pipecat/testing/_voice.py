"""The simulated bot's voice: each word a tone, so that sound can be told from silence and timed."""

import functools
import math
import re
from array import array

import attrs

from ..audio._pcm import FULL_SCALE, pcm_of, samples_of

#: Pipecat sends its audio in frames of this many seconds.
FRAME_SECONDS = 0.04
#: Silence at the end of a graceful session, in one frame.
END_SILENCE_SECONDS = 2.0
SENTENCE_ENDS = (".", "!", "?")


@attrs.frozen(kw_only=True)
class Voice:
    """How the bot sounds. `tone_hz` sounds for `word_seconds` less a pause of a quarter of it."""

    sample_rate: int = 24_000
    tone_hz: float = 440
    amplitude: float = 0.3
    word_seconds: float = 0.16
    lead_seconds: float = FRAME_SECONDS

    @property
    def frame_bytes(self) -> int:
        """The size of one frame."""
        return round(self.sample_rate * FRAME_SECONDS) * 2

    def silence(self, seconds: float) -> bytes:
        """Return silence."""
        return bytes(round(self.sample_rate * seconds) * 2)

    def word(self) -> bytes:
        """Return the sound of a word, its pause included."""
        return _tone(self.sample_rate, self.tone_hz, self.amplitude, self.word_seconds)

    def speak(self, text: str, *, start: float) -> "Speech":
        """Return the sound of `text`, and when its words begin; `start` is where it begins."""
        words = text.split()
        pcm = self.word() * len(words)
        times = tuple(start + index * self.word_seconds for index in range(len(words)))
        return Speech(text=text, words=tuple(words), starts=times, pcm=pcm)


@attrs.frozen(kw_only=True)
class Speech:
    """A text as sound: PCM s16le, and the second at which each word begins."""

    text: str
    words: tuple[str, ...]
    starts: tuple[float, ...]
    pcm: bytes = attrs.field(repr=False)


def sentences(text: str) -> list[str]:
    """Cut a text where a voice would pause: after ``.``, ``!`` and ``?``."""
    return [part for part in re.split(r"(?<=[.!?])\s+", text.strip()) if part]


def tokens(text: str) -> list[str]:
    """Cut a text into what an LLM would stream."""
    return re.findall(r"\S+\s*", text)


def loudness(pcm: bytes) -> float:
    """Return the peak of some PCM s16le; 1 is full scale. An odd byte at the end is ignored."""
    return max(map(abs, samples_of(pcm)), default=0) / FULL_SCALE


@functools.cache
def _tone(sample_rate: int, hertz: float, amplitude: float, seconds: float) -> bytes:
    sounding = round(sample_rate * seconds * 0.75)
    step = 2 * math.pi * hertz / sample_rate
    samples = array("h", (round(32767 * amplitude * math.sin(n * step)) for n in range(sounding)))
    samples.extend([0] * (round(sample_rate * seconds) - sounding))
    return pcm_of(samples)
