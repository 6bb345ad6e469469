"""Sound: PCM values and streams of them, speech in them, microphones and speakers."""

from ._align import FrameAligner as FrameAligner
from ._chunk import AudioChunk as AudioChunk
from ._chunk import mix as mix
from ._devices import AudioDevice as AudioDevice
from ._lateness import Lateness as Lateness
from ._microphone import Microphone as Microphone
from ._microphone import open_microphone as open_microphone
from ._portaudio import list_devices as list_devices
from ._resample import Resampler as Resampler
from ._source import AudioSource as AudioSource
from ._speaker import Speaker as Speaker
from ._speaker import open_speaker as open_speaker
from ._speech import SpeechBound as SpeechBound
from ._speech import SpeechDetector as SpeechDetector
from ._speech import SpeechEnded as SpeechEnded
from ._speech import SpeechStarted as SpeechStarted
from ._speech import find_speech as find_speech
from ._wav import WavReader as WavReader
from ._wav import read_wav as read_wav
from ._wav import write_wav as write_wav
from ._wav_header import strip_wav_header as strip_wav_header

__all__ = [
    "AudioChunk",
    "AudioDevice",
    "AudioSource",
    "FrameAligner",
    "Lateness",
    "Microphone",
    "Resampler",
    "Speaker",
    "SpeechBound",
    "SpeechDetector",
    "SpeechEnded",
    "SpeechStarted",
    "WavReader",
    "find_speech",
    "list_devices",
    "mix",
    "open_microphone",
    "open_speaker",
    "read_wav",
    "strip_wav_header",
    "write_wav",
]
