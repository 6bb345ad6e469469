"""The WAV file of a recording, written and read at any place."""

import wave
from array import array
from pathlib import Path

import pytest
from hypothesis import given
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


def test_it_is_one_before_it_is_closed(tmp_path: Path) -> None:
    """Whatever was flushed can be read, should the program die."""
    writer = StereoWriter(tmp_path / "x.wav", 8_000)
    writer.write(BOT, 0, array("h", [5, 6]))
    writer.flush()
    with wave.open(str(tmp_path / "x.wav")) as file:
        assert 2 == file.getnframes()
    writer.close()


def test_silence_takes_back_one_side(tmp_path: Path) -> None:
    """And makes nothing longer."""
    writer = StereoWriter(tmp_path / "x.wav", 8_000)
    writer.write(BOT, 0, array("h", [1, 2, 3, 4]))
    writer.write(USER, 0, array("h", [9, 9, 9]))
    writer.silence(BOT, 1, 3)
    writer.silence(BOT, 3, 100)
    assert 4 == writer.frames
    writer.close()
    reader = StereoReader(tmp_path / "x.wav")
    assert [1, 0, 0, 0] == reader.read(BOT, 0, 4).tolist()
    assert [9, 9, 9, 0] == reader.read(USER, 0, 4).tolist()
    reader.close()


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
    import tempfile

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
