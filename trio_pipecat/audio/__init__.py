"""Sound: PCM values and streams of them."""

from ._chunk import AudioChunk as AudioChunk
from ._chunk import mix as mix

__all__ = ["AudioChunk", "mix"]
