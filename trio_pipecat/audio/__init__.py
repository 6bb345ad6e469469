"""Sound: PCM values, streams of them, microphones and speakers."""

from ._chunk import AudioChunk as AudioChunk
from ._chunk import mix as mix
from ._devices import AudioDevice as AudioDevice
from ._microphone import Microphone as Microphone
from ._microphone import open_microphone as open_microphone
from ._portaudio import list_devices as list_devices
from ._resample import Resampler as Resampler
from ._speaker import Speaker as Speaker
from ._speaker import open_speaker as open_speaker

__all__ = [
    "AudioChunk",
    "AudioDevice",
    "Microphone",
    "Resampler",
    "Speaker",
    "list_devices",
    "mix",
    "open_microphone",
    "open_speaker",
]
