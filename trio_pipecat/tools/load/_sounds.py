"""The sound of the worst turns on its way from one machine to another."""

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from ...reports import LoadResult
from ._plan import LoadPlan


@contextmanager
def recording_here(plan: LoadPlan) -> Iterator[LoadPlan]:
    """Give a plan whose calls are recorded on this machine, in a folder that goes with the block.

    Where there can't be one, the plan as it is: a part is not lost for that.
    """
    try:
        folder = tempfile.TemporaryDirectory(
            prefix="trio-pipecat-load-", ignore_cleanup_errors=True
        )
    except OSError:
        yield plan
        return
    with folder as place:
        yield attrs.evolve(plan, audio_folder=place)


def take_sounds(result: LoadResult) -> list[bytes | None]:
    """Return what the files of the worst turns contain, in their order; None: there is none."""
    return [_content(turn.audio) for turn in result.worst]


def put_sounds(result: LoadResult, sounds: list[bytes | None], folder: str | None) -> None:
    """Write what `take_sounds` has taken to new files in a folder; None: there is no place."""
    for turn in result.worst:
        turn.audio = None  # that was another machine's
    if folder is None:
        return
    try:
        for turn, sound in zip(result.worst, sounds, strict=True):
            if sound is not None:
                path = Path(folder) / f"{uuid.uuid4()}.wav"
                path.write_bytes(sound)
                turn.audio = str(path)
    except OSError as error:  # what is half a file goes with the folder
        result.notes.append(f"recordings are missing: {error.strerror or error}")


def _content(path: str | None) -> bytes | None:
    try:
        return None if path is None else Path(path).read_bytes()
    except OSError:
        return None
