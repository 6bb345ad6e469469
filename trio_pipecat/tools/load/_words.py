"""What callers say: texts, files, or what a function of the user's does. Prepared once for all."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias, final

import attrs

from ... import Session
from ...audio import AudioChunk, find_speech, read_wav

#: What callers say who were not told what to say.
HELLO: Final = "Hello, can you hear me?"

#: What a caller does with a session, if it is a function of the user's.
CallerFunction: TypeAlias = Callable[[Session], Awaitable[object]]


@final
@attrs.frozen(kw_only=True)
class Words:
    """What is said in one turn: a text, or sound and where in it the voice is, in seconds."""

    name: str
    text: str | None = None
    sound: AudioChunk | None = attrs.field(default=None, repr=False)
    voice_begins: float = 0.0
    voice_ends: float = 0.0


def prepare(texts: Sequence[str], wavs: Sequence[str]) -> tuple[Words, ...]:
    """Read what is said in a call: files, or texts, or a greeting.

    Raises:
        OSError, WavError: a file can't be read.
        ValueError: there is no voice in a file.
    """
    if wavs:
        return tuple(_from_file(Path(path)) for path in wavs)
    return tuple(Words(name=text, text=text) for text in texts or (HELLO,))


def _from_file(path: Path) -> Words:
    sound = read_wav(path)
    speech = find_speech(sound)
    if not speech:
        raise ValueError(f"{path}: there is no voice in it")
    return Words(
        name=path.name,
        sound=sound,
        voice_begins=speech[0][0],
        voice_ends=speech[-1][1],
    )


def load_caller(name: str) -> CallerFunction:
    """Return the function that ``path.py:name`` or ``module:name`` means.

    Raises:
        ValueError: there is none, or it is no async function of a session.
    """
    place, colon, function = name.rpartition(":")
    if not colon or not place or not function:
        raise ValueError(f"expected FILE.py:FUNCTION or MODULE:FUNCTION, not {name!r}")
    try:
        module = _import_file(Path(place)) if place.endswith(".py") else _import_module(place)
    except Exception as error:
        raise ValueError(f"{place} can't be imported: {type(error).__name__}: {error}") from error
    found = getattr(module, function, None)
    if not inspect.iscoroutinefunction(found):
        raise ValueError(f"{place} has no async function {function}")
    try:
        inspect.signature(found).bind(None)
    except TypeError:
        raise ValueError(f"{function} takes something else than a session") from None
    called: CallerFunction = found
    return called


def _import_module(name: str) -> Any:
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    return importlib.import_module(name)


def _import_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"_caller_{path.stem}", path)
    if spec is None or spec.loader is None or not path.exists():
        raise FileNotFoundError(f"there is no {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
