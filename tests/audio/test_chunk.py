"""A run of samples as a value."""

import copy
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_pipecat.audio import AudioChunk, mix
from trio_pipecat.audio._chunk import SAMPLE_WIDTH, check_format


@pytest.mark.parametrize(
    ("chunk", "frames", "seconds"),
    [
        (AudioChunk(bytes(640), 16_000), 320, 0.02),
        (AudioChunk(bytes(640), 16_000, 2), 160, 0.01),
        (AudioChunk(bytes(96_000), 24_000), 48_000, 2.0),
        (AudioChunk(b"", 16_000), 0, 0.0),
        (AudioChunk(b"\x00", 16_000), 0, 0.0),
        (AudioChunk(bytes(7), 16_000, 2), 1, 1 / 16_000),
    ],
    ids=repr,
)
def test_length_is_counted_in_whole_frames(chunk, frames, seconds):
    """A chunk is as long as its whole frames: half a sample makes no sound."""
    assert frames == chunk.num_frames
    assert seconds == chunk.duration


def test_sound_is_mono_and_made_here_unless_said_otherwise():
    """Without more words there is one channel, and the sound was not received."""
    chunk = AudioChunk(b"\x00\x00", 16_000)
    assert (1, None) == (chunk.num_channels, chunk.at)


def test_time_of_arrival_does_not_count():
    """Chunks are equal by their sound and its format, not by when they came."""
    chunk = AudioChunk(b"\x00\x00", 16_000)
    assert chunk == AudioChunk(b"\x00\x00", 16_000, at=1.5)
    assert chunk != AudioChunk(b"\x00\x00", 8_000)
    assert chunk != AudioChunk(b"\x00\x00", 16_000, 2)
    assert chunk != AudioChunk(b"\x00\x01", 16_000)


def test_repr_has_no_samples():
    """A chunk is shown by its size: samples would flood a log."""
    expected = "AudioChunk(pcm=<640 bytes>, sample_rate=16000, num_channels=1, at=None)"
    assert expected == repr(AudioChunk(bytes(640), 16_000))


def test_chunks_can_be_copied_and_pickled():
    """Sound goes to other processes, with the time at which it came."""
    chunk = AudioChunk(b"\x01\x02", 16_000, 1, 1.5)
    for twin in (copy.copy(chunk), pickle.loads(pickle.dumps(chunk))):
        assert chunk == twin
        assert 1.5 == twin.at


# -- cutting -----------------------------------------------------------------------------


@pytest.mark.parametrize("max_bytes", [4, 5, 1000])
def test_chunk_that_fits_is_not_cut(max_bytes):
    """A chunk that is small enough is returned itself."""
    chunk = AudioChunk(b"\x01\x02\x03\x04", 16_000)
    (only,) = chunk.split(max_bytes)
    assert chunk is only


def test_empty_chunk_is_not_cut():
    """Nothing is one piece."""
    assert [AudioChunk(b"", 16_000)] == AudioChunk(b"", 16_000).split(2)


def test_pieces_are_cut_between_frames():
    """No piece is larger than asked, and none ends within a frame."""
    chunk = AudioChunk(bytes(range(12)), 16_000, 2, 1.5)
    pieces = chunk.split(7)
    assert [4, 4, 4] == [len(piece.pcm) for piece in pieces]
    assert [1.5] * 3 == [piece.at for piece in pieces]
    assert AudioChunk(bytes(range(4, 8)), 16_000, 2) == pieces[1]


@pytest.mark.parametrize("max_bytes", [0, 1, 3, -5])
def test_piece_is_at_least_one_frame(max_bytes):
    """Where not even a frame fits, a piece is one frame."""
    pieces = AudioChunk(bytes(8), 16_000, 2).split(max_bytes)
    assert [4, 4] == [len(piece.pcm) for piece in pieces]


@given(
    pcm=st.binary(), channels=st.integers(1, 8), max_bytes=st.integers(min_value=-10, max_value=300)
)
def test_pieces_are_the_whole(pcm, channels, max_bytes):
    """However it is cut, nothing is lost and nothing is moved."""
    chunk = AudioChunk(pcm, 16_000, channels, 1.5)
    pieces = chunk.split(max_bytes)
    frame = SAMPLE_WIDTH * channels
    assert pcm == b"".join(piece.pcm for piece in pieces)
    assert all(len(piece.pcm) <= max(max_bytes, frame) for piece in pieces)
    assert all(len(piece.pcm) % frame == 0 for piece in pieces[:-1])
    assert {(16_000, channels, 1.5)} == {
        (piece.sample_rate, piece.num_channels, piece.at) for piece in pieces
    }


# -- what can be sound -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pcm", "rate", "channels"), [(b"", 1, 1), (bytes(2), 16_000, 1), (bytes(12), 48_000, 6)]
)
def test_sound_has_whole_frames(pcm, rate, channels):
    """A positive rate, a positive number of channels and whole frames can be sound."""
    for kind in (bytes, bytearray, memoryview):
        chunk = check_format(kind(pcm), rate, channels)
        assert AudioChunk(pcm, rate, channels) == chunk
        assert bytes is type(chunk.pcm)


@pytest.mark.parametrize(
    ("pcm", "rate", "channels", "reason"),
    [
        (b"", 0, 1, "a sample rate is positive, and less than 2**32, not 0"),
        (b"", -8_000, 1, "a sample rate is positive, and less than 2**32, not -8000"),
        (b"", 16_000, 0, "a number of channels is positive, and less than 2**32, not 0"),
        (b"", 16_000, -1, "a number of channels is positive, and less than 2**32, not -1"),
        (bytes(3), 16_000, 1, "3 bytes are no whole number of 16-bit samples in 1 channel(s)"),
        (bytes(6), 16_000, 2, "6 bytes are no whole number of 16-bit samples in 2 channel(s)"),
    ],
)
def test_what_can_not_be_sound_is_refused(pcm, rate, channels, reason):
    """Any other format is refused, with what is wrong about it."""
    with pytest.raises(ValueError) as refused:
        check_format(pcm, rate, channels)
    assert reason == str(refused.value)


@pytest.mark.parametrize(
    ("pcm", "rate", "channels", "reason"),
    [
        ("abcd", 16_000, 1, "sound is bytes, not str"),
        ([1, 2], 16_000, 1, "sound is bytes, not list"),
        (b"", 16_000.0, 1, "a sample rate is an integer, not 16000.0"),
        (b"", 16_000, True, "a number of channels is an integer, not True"),
    ],
)
def test_what_is_no_sound_at_all_is_refused(pcm, rate, channels, reason):
    """Before anything is sent, on every wire alike."""
    with pytest.raises(TypeError) as refused:
        check_format(pcm, rate, channels)
    assert reason == str(refused.value)


# -- level, silence, channels, mixing -----------------------------------------------------


def test_silence_is_made_to_the_nearest_sample():
    """In every channel."""
    assert AudioChunk(bytes(2 * 2 * 441), 44_100, 2) == AudioChunk.silence(0.01, 44_100, 2)
    assert -math.inf == AudioChunk.silence(0.01, 8_000).dbfs


@pytest.mark.parametrize("seconds", [-1, math.inf, math.nan])
def test_silence_has_a_length(seconds):
    """One that time can have."""
    with pytest.raises(ValueError, match="silence lasts"):
        AudioChunk.silence(seconds, 8_000)


def test_a_chunk_knows_how_loud_it_is():
    """As a fraction of full scale and in decibels."""
    half = AudioChunk(b"\x00\x40" * 100 + b"\x00\xc0" * 100, 8_000)
    assert (0.5, 0.5) == (half.level, half.peak)
    assert pytest.approx(-6.02, abs=0.01) == half.dbfs


def test_channels_become_one_and_one_becomes_channels():
    """The mean of them, in each."""
    stereo = AudioChunk(b"\x02\x00\x04\x00", 8_000, 2, at=1.5)
    assert AudioChunk(b"\x03\x00", 8_000) == stereo.with_channels(1)
    assert AudioChunk(b"\x03\x00" * 3, 8_000, 3) == stereo.with_channels(3)
    assert stereo is stereo.with_channels(2)
    assert 1.5 == stereo.with_channels(1).at
    with pytest.raises(ValueError, match="positive"):
        stereo.with_channels(0)


def test_chunks_are_mixed():
    """The shorter one ends earlier."""
    one, other = AudioChunk(b"\x01\x00\x01\x00", 8_000), AudioChunk(b"\x02\x00", 8_000)
    assert AudioChunk(b"\x03\x00\x01\x00", 8_000) == mix([one, other])


def test_only_like_is_mixed_with_like():
    """Rates and channels are not guessed."""
    for chunks in ([], [AudioChunk(b"", 8_000), AudioChunk(b"", 16_000)]):
        with pytest.raises(ValueError, match="of one rate"):
            mix(chunks)
