"""Sound: PCM values and streams of them."""

from ._chunk import AudioChunk as AudioChunk
from ._chunk import mix as mix
from ._resample import Resampler as Resampler

__all__ = ["AudioChunk", "Resampler", "mix"]
