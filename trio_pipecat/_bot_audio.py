"""The bot's voice on its way to whoever listens: made whole, and forgotten at an interruption."""

from collections.abc import Callable
from typing import final

import attrs

from ._streams import AudioStream
from .audio import AudioChunk, FrameAligner


@final
class BotAudio:
    """Gives a session's incoming sound to its streams."""

    def __init__(self, on_error: Callable[[BaseException], object]) -> None:
        self.streams: list[AudioStream] = []
        #: Called with what a user's tap or `on_flush` raises.
        self._on_error = on_error
        self._format: tuple[int, int] | None = None
        #: Of sound in this format, which may be cut in the middle of a frame.
        self._aligner = FrameAligner()
        self._is_speaking = False

    def knows_format(self, chunk: AudioChunk) -> bool:
        """Is this chunk's rate and number of channels the present one?"""
        return self._format == (chunk.sample_rate, chunk.num_channels)

    def is_new_format(self, chunk: AudioChunk) -> bool:
        """Is this chunk's rate or number of channels another than before?"""
        format_ = (chunk.sample_rate, chunk.num_channels)
        if format_ == self._format:
            return False
        self._format = format_
        self._aligner = FrameAligner(chunk.num_channels)
        return True

    def receive(self, chunk: AudioChunk) -> None:
        """Give out a chunk of the present format, in whole frames."""
        pcm = self._aligner.feed(chunk.pcm)
        if pcm is not chunk.pcm:
            chunk = attrs.evolve(chunk, pcm=pcm)
        if pcm:
            for stream in tuple(self.streams):
                try:
                    stream._feed(chunk)
                except BaseException as error:  # noqa: ASYNC103  # it would end all sessions
                    self._on_error(error)

    def note_speaking(self, *, is_speaking: bool) -> None:
        """The bot says that it began or stopped to speak: what comes now is not stale."""
        self._is_speaking = is_speaking
        for stream in self.streams:
            stream._refresh()

    def interrupt(self) -> None:
        """The bot was interrupted: nobody shall hear the rest."""
        self._aligner.clear()
        for stream in tuple(self.streams):
            try:
                stream._interrupt(is_speaking=self._is_speaking)
            except Exception as error:
                self._on_error(error)
