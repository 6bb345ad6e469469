"""Bytes that were cut anywhere, as whole frames again. No I/O."""

from ._pcm import SAMPLE_WIDTH


class FrameAligner:
    """Puts the pieces of a frame together that came in different chunks.

    PCM that is cut within a sample is noise from there on if each piece is taken for itself.
    """

    def __init__(self, num_channels: int = 1) -> None:
        if num_channels < 1:
            raise ValueError(f"a number of channels is positive, not {num_channels}")
        self._frame = SAMPLE_WIDTH * num_channels
        self._rest = b""

    @property
    def rest(self) -> bytes:
        """The beginning of a frame whose end has not come; less than a frame."""
        return self._rest

    def feed(self, pcm: bytes) -> bytes:
        """Return the whole frames up to here: `pcm` itself, if there is nothing to put together."""
        if self._rest:
            pcm = self._rest + pcm
            self._rest = b""
        over = len(pcm) % self._frame
        if over:
            self._rest = pcm[-over:]
            pcm = pcm[:-over]
        return pcm

    def clear(self) -> None:
        """Forget the rest: what comes next begins with a frame."""
        self._rest = b""
