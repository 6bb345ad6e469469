"""Sound: PCM values, and when speech begins and ends in it."""

from ._chunk import AudioChunk as AudioChunk
from ._chunk import mix as mix
from ._speech import SpeechBound as SpeechBound
from ._speech import SpeechDetector as SpeechDetector
from ._speech import SpeechEnded as SpeechEnded
from ._speech import SpeechStarted as SpeechStarted
from ._speech import find_speech as find_speech

__all__ = [
    "AudioChunk",
    "SpeechBound",
    "SpeechDetector",
    "SpeechEnded",
    "SpeechStarted",
    "find_speech",
    "mix",
]
