"""What recorders of two voices have in common."""

import errno
import logging
from pathlib import Path

import pytest
from trio.testing import MockClock

from trio_pipecat._stereo_recorder import StereoRecorder, label
from trio_pipecat.audio import AudioChunk, WavReader
from trio_pipecat.audio._stereo import BOT, USER


class OfAFile(StereoRecorder):
    """One that listens to nobody."""

    def __init__(self, path: Path, sample_rate: int | None = 8_000) -> None:
        super().__init__(path, sample_rate, began=100.0)
        self.left = 0

    def _leave(self) -> None:
        self.left += 1


SOUND = AudioChunk(b"\x01\x02" * 4_000, 8_000)


def test_both_sides_are_where_they_were_heard(tmp_path: Path) -> None:
    """Counted from the beginning of the file, until it is ended."""
    recorder = OfAFile(tmp_path / "x.wav")
    recorder._place(USER, SOUND, 100.0)
    recorder._place(BOT, SOUND, 101.0)
    recorder._cut(BOT, 101.25)
    recorder._end(102.0)
    recorder._place(USER, SOUND, 103.0)
    assert (1.25, 1, None) == (recorder.seconds, recorder.left, recorder.error)
    assert "OfAFile" in repr(recorder)
    assert "closed, 1.2 s" in repr(recorder)
    with WavReader(tmp_path / "x.wav") as reader:
        chunk = reader.read(16_000)
    user, bot = chunk.pcm[::4], chunk.pcm[2::4]
    assert (4_000, 2_000) == (sum(map(bool, user)), sum(map(bool, bot)))
    assert any(bot[8_000:10_000])
    assert not any(bot[:8_000] + bot[10_000:])


def test_what_cannot_be_written_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, with the error kept, logged, and raised on leaving; nobody is listened to any more."""
    recorder = OfAFile(tmp_path / "x.wav")

    def fail(*args: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(recorder._sound, "place", fail)
    with caplog.at_level(logging.ERROR, "trio_pipecat"), pytest.raises(OSError, match="no space"):
        with recorder:
            recorder._place(USER, SOUND, 100.0)
            recorder._place(USER, SOUND, 101.0)
            assert 1 == recorder.left
    assert ["is not whole" in record.message for record in caplog.records] == [True]


def test_what_the_body_raises_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever became of the recording."""
    recorder = OfAFile(tmp_path / "x.wav")
    with pytest.raises(KeyError, match="mine"), recorder:
        recorder.error = OSError(errno.ENOSPC, "no space left")
        raise KeyError("mine")
    recorder._end(100.0)


def test_a_full_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a file that nothing can read."""
    recorder = OfAFile(tmp_path / "x.wav")
    monkeypatch.setattr(recorder._sound, "is_full", True)
    recorder._place(USER, SOUND, 100.0)
    assert recorder.error is not None
    assert errno.EFBIG == recorder.error.errno


async def test_stopped_it_ends_now(autojump_clock: MockClock, tmp_path: Path) -> None:
    """On trio's clock."""
    recorder = OfAFile(tmp_path / "x.wav")
    recorder._began = 0.0
    recorder.stop()
    assert 1 == recorder.left


def test_a_label_has_one_line_and_no_secrets() -> None:
    """And no more text than a mark has room for."""
    assert "bot-ready" == label("bot-ready", "", [])
    said = label("said", "my  token\nis\thunter22", ["hunter22"])
    assert said.startswith("said: my token is ")
    assert "hunter22" not in said
    assert 206 == len(label("said", "x" * 999, []))
