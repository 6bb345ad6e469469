"""The WAV file of a recording, written and read at any place."""

import io
import struct
import subprocess
import tempfile
import wave
from array import array
from pathlib import Path
from typing import Any

import needed
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_pipecat.audio import _stereo
from trio_pipecat.audio._pcm import samples_of
from trio_pipecat.audio._stereo import BOT, USER, NotStereoError, StereoReader, StereoWriter


def written(path: Path, *parts: tuple[int, int, list[int]], rate: int = 8_000) -> Path:
    """Write samples, and return the file."""
    writer = StereoWriter(path, rate)
    for side, begin, samples in parts:
        writer.write(side, begin, array("h", samples))
    writer.close()
    return path


def test_it_is_a_wav_file(tmp_path: Path) -> None:
    """As Python's own module reads it: the user left, the bot right, silence in between."""
    path = written(tmp_path / "x.wav", (USER, 1, [1, 2]), (BOT, 2, [3, 4]))
    with wave.open(str(path)) as file:
        assert (2, 2, 8_000, 4) == file.getparams()[:4]
        assert [0, 0, 1, 0, 2, 3, 0, 4] == samples_of(file.readframes(9)).tolist()


@pytest.mark.parametrize("cues", [False, True])
def test_it_is_one_before_it_is_closed(cues: bool, tmp_path: Path) -> None:
    """Whatever was written can be read, should the program die, from the very beginning."""
    writer = StereoWriter(tmp_path / "x.wav", 8_000, cues=cues)
    for written in range(4):
        with wave.open(str(tmp_path / "x.wav")) as file:
            assert 2 * written == file.getnframes()
        writer.write(BOT, 2 * written, array("h", [5, 6]))
        writer.mark(2 * written, "here")
    writer.close()


def test_silence_takes_back_one_side(tmp_path: Path) -> None:
    """And what then has nobody on it is not in the file."""
    writer = StereoWriter(tmp_path / "x.wav", 8_000)
    writer.write(BOT, 0, array("h", [1, 2, 3, 4, 5]))
    writer.write(USER, 0, array("h", [9, 9, 9]))
    writer.silence(BOT, 1, 2)
    writer.silence(BOT, 2, 100)
    writer.silence(BOT, 50, 100)
    assert 3 == writer.frames
    writer.close()
    reader = StereoReader(tmp_path / "x.wav")
    assert [1, 0, 0, 0] == reader.read(BOT, 0, 4).tolist()
    assert [9, 9, 9, 0] == reader.read(USER, 0, 4).tolist()
    reader.close()
    assert 44 + 3 * 4 == (tmp_path / "x.wav").stat().st_size


def test_a_mark_has_a_place_in_the_file(tmp_path: Path) -> None:
    """One beyond the sound lengthens it, and nothing that was cut comes back."""
    writer = StereoWriter(tmp_path / "x.wav", 8_000, cues=True)
    writer.write(BOT, 0, array("h", [1] * 10))
    writer.mark(6, "six")
    writer.mark(6, "again")
    writer.silence(BOT, 2, 10)
    assert 6 == writer.frames
    writer.mark(20, "späť")
    writer.close()
    reader = StereoReader(tmp_path / "x.wav")
    assert [(6, "six"), (6, "again"), (20, "späť")] == reader.cues()
    assert (20, [1, 1] + [0] * 18) == (reader.frames, reader.read(BOT, 0, 20).tolist())
    reader.close()


@pytest.mark.parametrize("count", [1, 2, 300, 400, 1_500])
def test_marks_are_there_at_once_while_there_is_room(count: int, tmp_path: Path) -> None:
    """Those for which there is none come when the file is closed, and all are in one place."""
    path = tmp_path / "x.wav"
    writer = StereoWriter(path, 8_000, cues=True)
    writer.write(BOT, 0, array("h", range(1, 3_001)))
    expected = [(2 * number, f"{number} " + "x" * (number % 60)) for number in range(count)]
    for mark in expected:
        writer.mark(*mark)
    reader = StereoReader(path)
    there = reader.cues()
    reader.close()
    assert expected[: len(there)] == there
    assert min(count, 350) <= len(there)
    writer.close()
    reader = StereoReader(path)
    assert expected == reader.cues()
    assert list(range(1, 3_001)) == reader.read(BOT, 0, 3_000).tolist()
    assert 1 == [name for name, _, _ in reader._walk()].count(b"cue ")
    reader.close()
    with wave.open(str(path)) as file:
        assert 3_000 == file.getnframes()


def test_a_file_may_begin_again(tmp_path: Path) -> None:
    """At another rate, with nothing of what was there."""
    writer = StereoWriter(tmp_path / "x.wav", 8_000, cues=True)
    writer.write(BOT, 0, array("h", [1] * 10))
    writer.mark(3, "old")
    writer.restart(16_000)
    writer.write(USER, 1, array("h", [2]))
    writer.mark(1, "new")
    writer.close()
    reader = StereoReader(tmp_path / "x.wav")
    assert (16_000, 2, [(1, "new")]) == (reader.rate, reader.frames, reader.cues())
    assert [0, 2] == reader.read(USER, 0, 2).tolist()
    assert [0, 0] == reader.read(BOT, 0, 2).tolist()
    reader.close()


class Dies(io.FileIO):
    """A file that is written up to some byte, and not further: the program was killed.

    A size is written as a whole: it is in one page.
    """

    left = 0

    def write(self, content: Any) -> int:
        content = bytes(content)
        part = content[: self.left]
        self.left -= len(part)
        if self.left or len(content) > 4:
            super().write(part)
        if not self.left:
            raise KeyboardInterrupt
        return len(part)

    def truncate(self, size: int | None = None) -> int:
        if not self.left:
            raise KeyboardInterrupt
        return super().truncate(size)


@given(st.integers(1, 12_000))
@settings(max_examples=300)
def test_a_kill_between_two_bytes_leaves_a_whole_file(left: int) -> None:
    """Wherever it is: marks are all of some moment, and each is whole."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.wav"
        writer = StereoWriter(path, 8_000, cues=True)
        writer._file.close()
        writer._file = dying = Dies(path, "r+b")
        dying.left = left
        try:
            for number in range(1, 15):
                writer.write(BOT, 10 * (number - 1), array("h", [7] * 10))
                writer.write(USER, 10 * (number - 1) + 5, array("h", [3]))
                writer.mark(10 * number, f"mark {number}")
                if number % 4 == 0:
                    writer.silence(BOT, 10 * number - 2, 10 * number)
        except KeyboardInterrupt:
            pass
        dying.close()
        reader = StereoReader(path)
        marks = reader.cues()
        assert [(10 * n, f"mark {n}") for n in range(1, len(marks) + 1)] == marks
        assert {0, 7} >= set(reader.read(BOT, 0, reader.frames))
        assert len(marks) * 10 <= reader.frames
        reader.close()
        with wave.open(str(path)) as file:
            assert file.getnframes() == len(file.readframes(10_000)) // 4


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def test_chunks_may_come_in_any_order(tmp_path: Path) -> None:
    """And there may be others, odd ones too."""
    pcm = struct.pack("<4h", 1, 2, 3, 4)
    format_ = struct.pack("<HHIIHH", 1, 2, 8_000, 32_000, 4, 16)
    info = chunk(b"LIST", b"INFO" + chunk(b"INAM", b"a call"))
    parts = [chunk(b"odd ", b"abc"), chunk(b"data", pcm), info, chunk(b"fmt ", format_)]
    body = b"WAVE" + b"".join(parts)
    (tmp_path / "x.wav").write_bytes(chunk(b"RIFF", body))
    reader = StereoReader(tmp_path / "x.wav")
    assert (8_000, 2, []) == (reader.rate, reader.frames, reader.cues())
    assert [[1, 3], [2, 4]] == [reader.read(side, 0, 2).tolist() for side in (USER, BOT)]
    reader.close()


@pytest.mark.parametrize("count", [3, 1_500])
def test_sox_reads_it(count: int, tmp_path: Path) -> None:
    """Before it is closed, and after."""
    soxi = needed.program("soxi", "apt-get install sox")
    writer = StereoWriter(tmp_path / "x.wav", 8_000, cues=True)
    for number in range(count):
        writer.write(USER, number, array("h", [number]))
        writer.mark(number, f"mark {number}")
    for _ in range(2):
        told = subprocess.run(
            [soxi, "-s", str(tmp_path / "x.wav")], capture_output=True, text=True, check=True
        )
        assert (str(count), "") == (told.stdout.strip(), told.stderr)
        writer.close()


def test_beyond_the_end_is_silence(tmp_path: Path) -> None:
    """However far."""
    reader = StereoReader(written(tmp_path / "x.wav", (USER, 0, [1, 2])))
    assert [2, 0, 0] == reader.read(USER, 1, 3).tolist()
    assert [0] == reader.read(BOT, 1_000_000, 1).tolist()
    reader.close()


@given(
    st.lists(
        st.tuples(
            st.sampled_from([USER, BOT]),
            st.integers(0, 40),
            st.lists(st.integers(-32_768, 32_767), max_size=20),
        ),
        max_size=12,
    )
)
def test_what_was_written_last_is_read(parts: list[tuple[int, int, list[int]]]) -> None:
    """At every frame of each side, in steps smaller than what is written."""
    model: tuple[dict[int, int], dict[int, int]] = ({}, {})
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(_stereo, "_STEP", 7)
        reader = StereoReader(written(Path(folder) / "x.wav", *parts))
        for side, begin, samples in parts:
            model[side].update(enumerate(samples, begin))
        for side in (USER, BOT):
            expected = [model[side].get(frame, 0) for frame in range(70)]
            assert expected == reader.read(side, 0, 70).tolist()
        assert max([*model[0], *model[1], -1]) + 1 == reader.frames
        reader.close()


def mono(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        file.writeframes(bytes(8))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.write_bytes(b""), "too short"),
        (lambda path: path.write_bytes(b"RIFF"), "too short"),
        (lambda path: path.write_bytes(b"x" * 100), "not the WAV file"),
        (mono, "not 16-bit stereo"),
        (lambda path: written(path, rate=0), "not 16-bit stereo"),
    ],
)
def test_what_is_not_ours_is_refused(make, why: str, tmp_path: Path) -> None:
    """In a few words."""
    make(tmp_path / "x.wav")
    with pytest.raises(NotStereoError, match=why):
        StereoReader(tmp_path / "x.wav")
