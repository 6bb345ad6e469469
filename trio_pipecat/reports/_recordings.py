"""Recordings of turns, as what a page can hold: the sound, and the whole file as an address."""

import base64
from pathlib import Path
from typing import Final, final

import attrs

from .._errors import WavError
from ..audio import AudioChunk, read_wav
from ._words import tell_count

#: What is larger than this in bytes is left out of a page, and what all of them have together.
_MOST: Final = 8_000_000
_MOST_OF_ALL: Final = 32_000_000


@final
@attrs.frozen
class Recording:
    """One recording. `missing` is why it is not in the page; None: it is."""

    sound: AudioChunk | None = None
    url: str = ""
    missing: str | None = None


@final
class Recordings:
    """Reads recordings: from where the result says, or in `folder`, by their names."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._left = _MOST_OF_ALL

    def read(self, place: str) -> Recording:
        """Return a recording, or why there is none."""
        path = Path(place) if self._folder is None else self._folder / Path(place).name
        try:
            size = path.stat().st_size
            if not path.is_file():
                return Recording(missing="not a file")
            if size > min(_MOST, self._left):
                return Recording(missing=f"too large for this page ({tell_count(size)} bytes)")
            content = path.read_bytes()
            sound = read_wav(path)
        except OSError as error:
            return Recording(missing=error.strerror or str(error))
        except (WavError, ValueError) as error:
            return Recording(missing=str(error))
        self._left -= size
        return Recording(sound, f"data:audio/wav;base64,{base64.b64encode(content).decode()}")
