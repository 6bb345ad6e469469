"""Sound: PCM values and streams of them."""

from ._chunk import AudioChunk as AudioChunk

__all__ = ["AudioChunk"]
