"""Bytes that were cut anywhere, as whole frames again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_pipecat.audio._align import FrameAligner


@given(st.lists(st.binary(max_size=20)), st.integers(1, 5))
def test_whole_frames_come_out_in_order(pieces: list[bytes], channels: int) -> None:
    """However they were cut; what is left is less than a frame."""
    aligner = FrameAligner(channels)
    out = [aligner.feed(piece) for piece in pieces]
    assert b"".join(pieces) == b"".join(out) + aligner.rest
    assert all(len(piece) % (2 * channels) == 0 for piece in out)
    assert len(aligner.rest) < 2 * channels


def test_whole_frames_are_not_copied() -> None:
    """It costs nothing where all is well."""
    pcm = bytes(640)
    assert pcm is FrameAligner().feed(pcm)


def test_a_frame_in_three_pieces_comes_with_the_last() -> None:
    """Until then there is nothing to give."""
    aligner = FrameAligner(2)
    assert [b"", b"", b"abcd"] == [aligner.feed(piece) for piece in (b"a", b"bc", b"de")]
    assert b"e" == aligner.rest


def test_what_is_left_can_be_forgotten() -> None:
    """Then the next begins with a frame."""
    aligner = FrameAligner()
    aligner.feed(b"abc")
    aligner.clear()
    assert (b"", b"de") == (aligner.rest, aligner.feed(b"de"))


@pytest.mark.parametrize("channels", [0, -1])
def test_no_channels_have_no_frames(channels: int) -> None:
    """Nor have less."""
    with pytest.raises(ValueError, match="a number of channels is positive"):
        FrameAligner(channels)
