"""A recorded session: the format of its file, and reading it.

The file is JSON Lines. The first line is a header::

    {"trio-pipecat-recording": 1, "began": "2026-05-04T09:30:00.000+00:00", "library": "0.1.0",
     "target": "endpoint", "complete": true, "audio": "call.wav"}

Each other line is something that happened: ``t`` is when, in seconds since the session began, on
trio's clock; ``wall`` is when, in seconds since 1970; and one key says what::

    {"t": 0.21, "wall": …, "state": "connected"}
    {"t": 0.21, "wall": …, "sent": {"label": "rtvi-ai", "type": "client-ready", …}}
    {"t": 0.34, "wall": …, "received": "text", "text": "not a JSON object"}
    {"t": 0.50, "wall": …, "received": "audio", "rate": 24000, "channels": 1, "frames": 960,
     "at_frame": 12000}
    {"t": 0.93, "wall": …, "received": "interruption", "cut_at": 22320}
    {"t": 0.95, "wall": …, "received": "undecodable", "detail": "…", "raw": "<base64>"}
    {"t": 1.70, "wall": …, "end": {"reason": "client", "first": "client", "last_state": "ready",
     "code": 1000, "text": "", "error": null}}

The sound is in the WAV file that the header names, beside the file. `at_frame` is where a chunk
begins, in frames of its own rate. `cut_at` says from which frame on (of the bot's rate) nothing
sounded, because the bot was interrupted. The line ``end`` is the last; ``"end": null`` is that of a
recording that was stopped before the session was over.
"""

import base64
import binascii
import json
import math
import os
from array import array
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import NoneType
from typing import Any, Final, Literal, TypeAlias, cast, final, get_args

import attrs

from .._errors import RecordingError
from .._state import EndReason, Side, State
from .._wire import Json
from ..audio import AudioChunk
from ..audio._pcm import pcm_of, spread
from ..audio._stereo import BOT, MAX_FRAMES, USER, NotStereoError, StereoReader
from ..audio._track import convert, scale

#: The key that makes a file one of ours; its value is the format's version.
MAGIC: Final = "trio-pipecat-recording"
VERSION: Final = 1
#: A header is shorter than this. What is not ours may have no lines at all.
_MAX_HEADER: Final = 65_536
_BEGINNING: Final = 64
#: Who may have said something.
Speaker: TypeAlias = Literal["client", "bot"]


@attrs.frozen(kw_only=True)
class Recorded:
    """Something that happened, `t` seconds after the session began, and `wall` after 1970.

    `line` is where it stands in the file. Neither it nor `wall` counts for equality.
    """

    t: float
    wall: float = attrs.field(eq=False)
    line: int = attrs.field(eq=False, repr=False)


@attrs.frozen(kw_only=True)
class RecordedState(Recorded):
    """The session entered a state."""

    state: State


@attrs.frozen(kw_only=True)
class RecordedMessage(Recorded):
    """A message: the JSON object it was, or its text if it was none."""

    by: Speaker
    message: Json

    @property
    def type(self) -> str:
        """Its wire type, empty if it has none."""
        type_ = self.message.get("type") if isinstance(self.message, dict) else None
        return type_ if isinstance(type_, str) else ""

    @property
    def text(self) -> str:
        """It, as it goes over the wire."""
        return self.message if isinstance(self.message, str) else json.dumps(self.message)


@attrs.frozen(kw_only=True)
class RecordedAudio(Recorded):
    """A chunk of sound. `Recording.sound_of` has its samples.

    `at_frame` is its place in the WAV file, in frames of its own rate; None: it did not fit. Of its
    `frames` the first `heard` have sounded; the bot was interrupted before the others.
    """

    by: Speaker
    rate: int
    channels: int
    frames: int
    at_frame: int | None
    heard: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.frames / self.rate


@attrs.frozen(kw_only=True)
class RecordedInterruption(Recorded):
    """The wire's own signal of an interruption."""

    by: Speaker


@attrs.frozen(kw_only=True)
class RecordedUndecodable(Recorded):
    """Bytes of the bot that were no message and no sound; `raw` has the first of them."""

    detail: str
    raw: bytes


@attrs.frozen(kw_only=True)
class RecordedEnd(Recorded):
    """How the session ended: a `SessionEnd`, and of its error the class's name and the text."""

    reason: EndReason
    first: Side
    last_state: State
    code: int | None
    text: str
    error_type: str | None
    error: str | None


@final
@attrs.frozen(kw_only=True)
class Recording:
    """A recorded session. Made by `load_recording`.

    Attributes:
        path: the file.
        audio_path: the WAV file beside it, whether there is one or not.
        began: when the session began.
        library: the version of this package that has recorded it.
        target: what was talked to: ``sim``, ``endpoint``, ``websocket``, ``custom``…
        complete: is everything there that was said? A recorder that came late has missed something.
        events: what happened, in order, but for the end.
        end: how the session ended; None: the recording is over before it.
    """

    path: Path
    audio_path: Path
    began: datetime
    library: str
    target: str
    complete: bool
    events: tuple[Recorded, ...] = attrs.field(repr=lambda events: f"<{len(events)} events>")
    end: RecordedEnd | None

    @property
    def duration(self) -> float:
        """How long it lasts, in seconds."""
        last = self.end or (self.events[-1] if self.events else None)
        return 0.0 if last is None else last.t

    @property
    def states(self) -> tuple[RecordedState, ...]:
        """The states that were entered."""
        return tuple(event for event in self.events if isinstance(event, RecordedState))

    def messages(self, by: Speaker) -> tuple[RecordedMessage, ...]:
        """Return the messages of one side."""
        found = (event for event in self.events if isinstance(event, RecordedMessage))
        return tuple(message for message in found if message.by == by)

    def audio(self, by: Speaker) -> tuple[RecordedAudio, ...]:
        """Return the chunks of one side's sound."""
        found = (event for event in self.events if isinstance(event, RecordedAudio))
        return tuple(audio for audio in found if audio.by == by)

    def audio_seconds(self, by: Speaker) -> float:
        """Return how much sound came from one side, silence in it included."""
        return math.fsum(audio.seconds for audio in self.audio(by))

    def open_sound(self) -> "RecordedSound":
        """Open the WAV file. What this returns is a context manager, and gives chunks.

        Raises:
            OSError: it is not there any more.
            RecordingError: it is something else now.
        """
        return RecordedSound(self)


@final
class RecordedSound:
    """The sound of a recording, for reading. Made by `Recording.open_sound`."""

    def __init__(self, recording: Recording) -> None:
        self._reader: StereoReader | None = None
        if any(isinstance(event, RecordedAudio) for event in recording.events):
            self._reader = _open_wav(recording.audio_path)

    def __enter__(self) -> "RecordedSound":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._reader is not None:
            self._reader.close()

    def chunk(self, audio: RecordedAudio) -> AudioChunk:
        """Return a chunk as it was sent. What was never heard of it is silence.

        At the rate of the WAV file, which is that of the bot, it is the very sound that was
        recorded; at others it has been converted, and so has what had more channels than one.
        """
        samples = array("h", bytes(2 * audio.frames))
        reader = self._reader
        if reader is not None and audio.at_frame is not None and audio.heard:
            side = BOT if audio.by == "bot" else USER
            begin = scale(audio.at_frame, audio.rate, reader.rate)
            end = scale(audio.at_frame + audio.heard, audio.rate, reader.rate)
            there = reader.read(side, begin, end - begin)
            if audio.rate != reader.rate:
                there = convert(
                    *(there, begin, reader.rate),
                    to_begin=audio.at_frame,
                    to_frames=audio.heard,
                    to_rate=audio.rate,
                )
            samples[: audio.heard] = there
        return AudioChunk(pcm_of(spread(samples, audio.channels)), audio.rate, audio.channels)


def load_recording(path: "str | os.PathLike[str]", *, partial: bool = False) -> Recording:
    """Read a recording.

    Args:
        path: the file that a `Recorder` has written.
        partial: take what is there of a recording whose end is missing, such as that of a program
            that was killed.

    Raises:
        RecordingError: this is no recording, or not a whole one. It names the line.
        OSError: the file can't be read.
    """
    return _Loader(Path(path), partial=partial).load()


class _Loader:
    def __init__(self, path: Path, *, partial: bool) -> None:
        self._path = path
        self._partial = partial
        self._number = 1
        self._events: list[Recorded] = []
        #: The rate of the bot's last chunk.
        self._rate = 0

    def load(self) -> Recording:
        header: dict[str, Any] | None = None
        end: RecordedEnd | None = None
        over = False
        for line in self._lines():
            keys = _Keys(line, self._path, self._number)
            if header is None:
                header = self._header(keys)
            elif over:
                raise self._error("there is something after the end")
            elif "end" in keys.line:
                over, end = True, self._end(keys)
            else:
                self._events.append(self._event(keys))
        if header is None:
            raise self._error("the file is empty")
        if not (over or self._partial):
            raise self._error("the recording breaks off after this line: it has no end")
        self._check_audio(header["audio_path"])
        return Recording(path=self._path, events=tuple(self._events), end=end, **header)

    def _lines(self) -> Iterator[dict[str, Json]]:
        with self._path.open("rb") as file:
            line = file.readline(_MAX_HEADER)
            while line:
                yield self._parse(line)
                line = file.readline()
                if not line:
                    return
                self._number += 1
                if not line.endswith(b"\n"):
                    if self._partial:
                        return
                    raise self._error("the line breaks off: the recording was not finished")

    def _parse(self, line: bytes) -> dict[str, Json]:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict) and (self._number > 1 or MAGIC in value):
            return value
        if self._number == 1 and MAGIC.encode() in line[:_BEGINNING]:
            raise self._error("the header breaks off, or is not JSON")
        if self._number == 1:
            raise self._error(f"not a recording: it does not begin with {MAGIC!r}")
        raise self._error("not a JSON object")

    def _header(self, keys: "_Keys") -> dict[str, Any]:
        version = keys.take(MAGIC, int)
        if version != VERSION:
            raise self._error(f"format {version} of {MAGIC!r}; this library reads {VERSION}")
        return {
            "began": self._began(keys),
            "library": keys.take("library", str),
            "target": keys.take("target", str),
            "complete": keys.take("complete", bool),
            "audio_path": self._audio_path(keys),
        }

    def _began(self, keys: "_Keys") -> datetime:
        text = keys.take("began", str)
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            raise self._error(f"'began' is no date: {text[:40]!r}") from None

    def _audio_path(self, keys: "_Keys") -> Path:
        name = keys.take("audio", str)
        # A recording that came from elsewhere must not have us read just any file.
        if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise self._error(f"'audio' is no file beside this one: {name[:40]!r}")
        return self._path.with_name(name)

    def _event(self, keys: "_Keys") -> Recorded:
        when: dict[str, Any] = {**keys.when(), "line": self._number}
        match [key for key in ("state", "sent", "received") if key in keys.line]:
            case ["state"]:
                return RecordedState(state=keys.one_of("state", [*State]), **when)
            case ["sent" | "received" as key]:
                return self._item(keys, "client" if key == "sent" else "bot", key, when)
            case _:
                raise self._error("none of 'state', 'sent', 'received' and 'end', or several")

    def _item(self, keys: "_Keys", by: Speaker, key: str, when: dict[str, Any]) -> Recorded:
        what = keys.take(key, dict, str)
        if by == "bot" and "cut_at" in keys.line:
            self._cut(keys.count("cut_at"))
        match what:
            case dict():
                return RecordedMessage(by=by, message=what, **when)
            case "text":
                return RecordedMessage(by=by, message=keys.take("text", str), **when)
            case "interruption":
                return RecordedInterruption(by=by, **when)
            case "audio":
                return self._audio(keys, by, when)
            case "undecodable" if by == "bot":
                raw = _bytes(keys.take("raw", str))
                if raw is None:
                    raise self._error("'raw' is not base64")
                return RecordedUndecodable(detail=keys.take("detail", str), raw=raw, **when)
            case _:
                raise self._error(f"{key!r} is an object or a known kind, not {what[:40]!r}")

    def _audio(self, keys: "_Keys", by: Speaker, when: dict[str, Any]) -> RecordedAudio:
        rate, channels = keys.count("rate", 1), keys.count("channels", 1)
        frames = keys.count("frames")
        if frames * channels > MAX_FRAMES:
            raise self._error(f"'frames' can't be {frames}")
        at_frame = None if keys.take("at_frame", int, NoneType) is None else keys.count("at_frame")
        if by == "bot":
            self._rate = rate
        return RecordedAudio(
            by=by,
            rate=rate,
            channels=channels,
            frames=frames,
            at_frame=at_frame,
            heard=frames,
            **when,
        )

    def _cut(self, frame: int) -> None:
        """The bot was interrupted: what it had sent for later than `frame` has not sounded."""
        for index in range(len(self._events) - 1, -1, -1):
            audio = self._events[index]
            if not isinstance(audio, RecordedAudio) or audio.by != "bot" or audio.at_frame is None:
                continue
            heard = scale(frame, self._rate, audio.rate) - audio.at_frame
            if heard >= audio.heard:
                return
            self._events[index] = attrs.evolve(audio, heard=max(heard, 0))

    def _end(self, keys: "_Keys") -> RecordedEnd | None:
        when: dict[str, Any] = {**keys.when(), "line": self._number}
        if keys.take("end", dict, NoneType) is None:
            return None
        end = _Keys(keys.line["end"], self._path, self._number, "end.")
        error = end.take("error", dict, NoneType)
        if error is not None:
            error = _Keys(error, self._path, self._number, "end.error.")
        return RecordedEnd(
            reason=end.one_of("reason", get_args(EndReason)),
            first=end.one_of("first", get_args(Side)),
            last_state=end.one_of("last_state", [*State]),
            code=end.take("code", int, NoneType),
            text=end.take("text", str),
            error_type=None if error is None else error.take("type", str),
            error=None if error is None else error.take("text", str),
            **when,
        )

    def _check_audio(self, path: Path) -> None:
        """See to it that the sound is there."""
        chunks = [event for event in self._events if isinstance(event, RecordedAudio)]
        placed = [chunk for chunk in chunks if chunk.at_frame is not None]
        if not placed or (self._partial and not path.exists()):
            return
        try:
            reader = _open_wav(path)
        except FileNotFoundError:
            raise RecordingError(str(path), None, "the sound of the recording is missing") from None
        reader.close()
        for chunk in placed:
            # It may have been beyond the end; or so short that the file has no frame for it.
            if chunk.heard * reader.rate < chunk.rate:
                continue
            end = scale(cast(int, chunk.at_frame) + chunk.heard, chunk.rate, reader.rate)
            if end > reader.frames and not self._partial:
                detail = f"the sound is too short: {reader.frames} frames, line {chunk.line} of "
                detail += f"{self._path.name} needs {end}"
                raise RecordingError(str(path), None, detail)

    def _error(self, detail: str) -> RecordingError:
        return RecordingError(str(self._path), self._number, detail)


class _Keys:
    """The keys of one line, which must be what they should."""

    def __init__(self, line: dict[str, Json], path: Path, number: int, prefix: str = "") -> None:
        self.line = line
        self._path = path
        self._number = number
        self._prefix = prefix

    def take(self, key: str, *types: type) -> Any:
        """Return the value of a key that is of one of these types."""
        if key not in self.line:
            raise self._error(f"{self._prefix}{key}", "is missing")
        value = self.line[key]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            names = " or ".join(_NAMES[kind] for kind in types)
            raise self._error(f"{self._prefix}{key}", f"is not {names}")
        return value

    def when(self) -> dict[str, float]:
        """Return both times."""
        times = {}
        for key in ("t", "wall"):
            value = self.take(key, int, float)
            if not 0 <= value < 2**53:  # NaN is not, either
                raise self._error(key, "is no time")
            times[key] = float(value)
        return times

    def count(self, key: str, least: int = 0) -> int:
        """Return a number of something."""
        value = self.take(key, int)
        if not least <= value < 2**53:
            raise self._error(f"{self._prefix}{key}", f"can't be {value}")
        return cast(int, value)

    def one_of(self, key: str, values: Any) -> Any:
        """Return a string that is one of some."""
        value = self.take(key, str)
        if value not in values:
            raise self._error(f"{self._prefix}{key}", f"can't be {value[:40]!r}")
        return values[values.index(value)]

    def _error(self, key: str, detail: str) -> RecordingError:
        return RecordingError(str(self._path), self._number, f"{key!r} {detail}")


_NAMES: Final = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a string",
    dict: "an object",
    NoneType: "null",
}


def _bytes(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _open_wav(path: Path) -> StereoReader:
    try:
        return StereoReader(path)
    except NotStereoError as error:
        raise RecordingError(str(path), None, str(error)) from None
