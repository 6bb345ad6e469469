"""WAV files, read and written; the standard library knows some of them too."""

import math
import os
import threading
import wave
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_pipecat import WavError
from trio_pipecat.audio import AudioChunk, WavReader, read_wav, write_wav

CHUNKS = st.builds(
    lambda frames, rate, channels: AudioChunk(bytes(range(256)) * 4, rate, channels).split(
        2 * channels * frames
    )[0],
    st.integers(1, 50),
    st.integers(1, 192_000),
    st.integers(1, 4),
)


@given(chunk=CHUNKS)
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, chunk: AudioChunk
) -> None:
    """And by the standard library."""
    path = tmp_path_factory.mktemp("wav") / "x.wav"
    write_wav(path, chunk)
    assert chunk == read_wav(path)
    with wave.open(str(path), "rb") as other:
        assert (chunk.num_channels, 2, chunk.sample_rate) == other.getparams()[:3]
        assert chunk.pcm == other.readframes(other.getnframes())


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_what_the_standard_library_has_written_is_read(width: int, tmp_path: Path) -> None:
    """Of each width that it knows: a tone has the samples that it had."""
    path = tmp_path / "x.wav"
    tone = [math.sin(n * 0.05) for n in range(500)]
    top = 2 ** (8 * width - 1) - 1
    numbers = [round(sample * top) for sample in tone]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(22_050)
        signed = width > 1
        file.writeframes(
            b"".join(
                (number if signed else number + 128).to_bytes(width, "little", signed=signed)
                for number in numbers
            )
        )
    scale = 2 ** (8 * (2 - width))
    expected = [math.floor(number * scale) for number in numbers]
    chunk = read_wav(path)
    found = [
        int.from_bytes(chunk.pcm[n : n + 2], "little", signed=True) for n in range(0, 1_000, 2)
    ]
    assert (22_050, 1, expected) == (chunk.sample_rate, chunk.num_channels, found)


def test_a_file_is_read_piece_by_piece(tmp_path: Path) -> None:
    """The last is what is left, and after it there is nothing."""
    path = tmp_path / "x.wav"
    write_wav(path, AudioChunk(bytes(range(20)), 8_000, 2))
    with WavReader(path) as reader:
        assert (8_000, 2, 5) == (reader.sample_rate, reader.num_channels, reader.num_frames)
        assert f"<WavReader {path}: 8000 Hz, 2 channel(s)>" == repr(reader)
        pieces = [reader.read(2).pcm for _ in range(4)]
        assert AudioChunk(b"", 8_000, 2) == reader.read(1)
    assert [bytes(range(8)), bytes(range(8, 16)), bytes(range(16, 20)), b""] == pieces
    with pytest.raises(ValueError, match="closed"):
        reader.read(1)


def test_a_file_that_was_cut_off_is_read_to_its_end(tmp_path: Path) -> None:
    """A part of a frame is left out."""
    path = tmp_path / "x.wav"
    write_wav(path, AudioChunk(bytes(range(20)), 8_000, 2))
    path.write_bytes(path.read_bytes()[:-5])
    with WavReader(path) as reader:
        assert 3 == reader.num_frames
        assert bytes(range(12)) == reader.read(100).pcm


def test_a_file_that_becomes_shorter_ends_there(tmp_path: Path) -> None:
    """While it is read."""
    path = tmp_path / "x.wav"
    write_wav(path, AudioChunk(bytes(200_000), 8_000))
    with WavReader(path) as reader:
        os.truncate(path, 44 + 150_001)
        assert 75_000 == sum(reader.read(30_000).num_frames for _ in range(4))


@pytest.mark.parametrize("frames", [0, -1])
def test_one_frame_or_more_is_read(frames: int, tmp_path: Path) -> None:
    """None is a mistake: it would look like the end."""
    path = tmp_path / "x.wav"
    write_wav(path, AudioChunk(bytes(4), 8_000))
    with WavReader(path) as reader, pytest.raises(ValueError, match="1 frame or more is read"):
        reader.read(frames)


def test_an_empty_sound_is_a_file(tmp_path: Path) -> None:
    """Of no frames; half a frame is none."""
    path = tmp_path / "x.wav"
    write_wav(path, AudioChunk(b"abc", 8_000, 2))
    assert AudioChunk(b"", 8_000, 2) == read_wav(str(path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize(("size", "frames"), [(b"\xff\xff\xff\xff", None), (b"\x06\0\0\0", 3)])
def test_a_pipe_is_read_as_a_file(size: bytes, frames: int | None, tmp_path: Path) -> None:
    """Its length is known if it says so."""
    path, pipe = tmp_path / "x.wav", tmp_path / "pipe"
    write_wav(path, AudioChunk(b"abcdef", 8_000))
    data = path.read_bytes()
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(data[:40] + size + data[44:]))
    writer.start()
    try:
        with WavReader(pipe) as reader:
            assert frames == reader.num_frames
            assert b"abcdef" == reader.read(2**30).pcm
    finally:
        writer.join()


def test_what_is_no_wav_file_is_an_error(tmp_path: Path) -> None:
    """Which names it, and the byte; the file is closed again."""
    path = tmp_path / "hello.wav"
    path.write_bytes(b"OggS" + bytes(100))
    with pytest.raises(WavError) as caught:
        WavReader(path)
    assert f"{path}, byte 0: not a WAV file: it begins with b'OggS', not with b'RIFF'" == str(
        caught.value
    )


def test_errors_of_the_system_are_left_as_they_are(tmp_path: Path) -> None:
    """A file that is not there, or a directory."""
    with pytest.raises(FileNotFoundError):
        read_wav(tmp_path / "none.wav")
    with pytest.raises(OSError):
        read_wav(tmp_path)


@given(data=st.binary(max_size=80))
def test_any_file_is_sound_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    """After a header that looks well: never more sound than there are bytes."""
    path = tmp_path_factory.mktemp("wav") / "x.wav"
    path.write_bytes(b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + data)
    try:
        chunk = read_wav(path)
    except WavError as error:
        assert str(path) == error.path  # noqa: PT017
    else:
        assert len(chunk.pcm) <= 2 * len(data)
        assert 0 == len(chunk.pcm) % (2 * chunk.num_channels)


@pytest.mark.parametrize(
    "chunk",
    [
        AudioChunk(bytes(4), 0),
        AudioChunk(bytes(4), 2**31),
        AudioChunk(bytes(65_536), 8_000, 32_768),
    ],
    ids=repr,
)
def test_there_is_no_wav_file_for_everything(chunk: AudioChunk, tmp_path: Path) -> None:
    """Nothing is written then."""
    with pytest.raises(ValueError, match="there is no WAV file for"):
        write_wav(tmp_path / "x.wav", chunk)
    assert [] == list(tmp_path.iterdir())
