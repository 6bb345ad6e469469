"""Recordings of turns, for a page."""

import base64
import os
from pathlib import Path

import pytest

from trio_pipecat.audio import AudioChunk, write_wav
from trio_pipecat.reports import _recordings
from trio_pipecat.reports._recordings import Recordings

SOUND = AudioChunk(bytes(range(200)), 8_000, 2)


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    """A recording."""
    path = tmp_path / "turn.wav"
    write_wav(path, SOUND)
    return path


@pytest.mark.parametrize("folder", [False, True])
def test_a_recording(wav: Path, folder: bool) -> None:
    """Is read from where it is, or by its name from a folder."""
    recordings = Recordings(wav.parent if folder else None)
    found = recordings.read("/somewhere/else/turn.wav" if folder else str(wav))
    assert (SOUND, None) == (found.sound, found.missing)
    kind, _, content = found.url.partition(",")
    assert "data:audio/wav;base64" == kind
    assert wav.read_bytes() == base64.b64decode(content)


def test_nothing_outside_of_a_folder_is_read(wav: Path, tmp_path: Path) -> None:
    """Whatever a result says."""
    inside = tmp_path / "inside"
    inside.mkdir()
    assert "No such file or directory" == Recordings(inside).read("../turn.wav").missing
    for place in ("..", "", ".", "/"):
        assert "not a file" == Recordings(inside).read(place).missing


def test_what_is_no_recording(tmp_path: Path) -> None:
    """Is told of."""
    (tmp_path / "notes.txt").write_text("not a sound")
    os.mkfifo(tmp_path / "pipe")
    recordings = Recordings(tmp_path)
    told = [recordings.read(name).missing or "" for name in ("notes.txt", "pipe", "a\0b")]
    assert "not a WAV file" in told[0]
    assert "not a file" == told[1]
    assert "null" in told[2]


def test_a_page_has_its_limits(wav: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For each, and for all together."""
    size = wav.stat().st_size
    monkeypatch.setattr(_recordings, "_MOST", size - 1)
    told = f"too large for this page ({size} bytes)"
    assert told == Recordings(None).read(str(wav)).missing
    monkeypatch.setattr(_recordings, "_MOST", size)
    monkeypatch.setattr(_recordings, "_MOST_OF_ALL", 2 * size)
    recordings = Recordings(None)
    assert [None, None, told] == [recordings.read(str(wav)).missing for _ in range(3)]
