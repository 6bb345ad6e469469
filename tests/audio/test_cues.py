"""Marks in a WAV file, written and read."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from trio_pipecat.audio._cues import MAX_CUES, MAX_LABEL, MAX_SIZE, Cues, read_labels, read_points


def contents(encoded: bytes) -> tuple[bytes, bytes]:
    """Return what is in the two chunks."""
    size = struct.unpack_from("<I", encoded, 4)[0]
    points, labels = encoded[: 8 + size], encoded[8 + size :]
    assert (b"cue ", b"LIST") == (points[:4], labels[:4])
    assert len(labels) == 8 + struct.unpack_from("<I", labels, 4)[0]
    return points[8:], labels[8:]


@given(
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.text(st.characters(codec="utf-8")))),
)
def test_what_was_marked_is_read(marks: list[tuple[int, str]]) -> None:
    """Labels up to their limit, which is never within a character, and without zeros."""
    cues = Cues()
    for mark in marks:
        cues.add(*mark)
    encoded = cues.encode()
    assert cues.size == len(encoded)
    points = read_points(contents(encoded)[0])
    labels = read_labels(contents(encoded)[1])
    assert [frame for frame, _ in marks] == [points[number + 1] for number in range(len(marks))]
    for number, (_, text) in enumerate(marks, 1):
        text = text.replace("\0", "")
        assert text.startswith(labels[number])
        assert labels[number] == text or len(labels[number].encode()) > MAX_LABEL - 4


@given(st.binary(max_size=200))
def test_what_is_none_is_read_as_none(content: bytes) -> None:
    """However broken."""
    for number in read_points(content):
        assert 0 <= number < 2**32
    for text in read_labels(b"adtl" + content).values():
        assert isinstance(text, str)
    assert {} == read_labels(b"INFO" + content)


def test_there_is_a_limit() -> None:
    """All that are kept have room behind the longest sound."""
    cues = Cues()
    for number in range(MAX_CUES + 1):
        cues.add(number, "x" * 1_000)
    encoded = cues.encode()
    assert MAX_CUES == struct.unpack_from("<I", encoded, 8)[0]
    assert len(encoded) < MAX_SIZE
