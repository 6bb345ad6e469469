"""How samples are written in files."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_pipecat.audio._encodings import Encoding
from trio_pipecat.audio._pcm import samples_of

ORDERS = pytest.mark.parametrize(("order", "big_endian"), [("<", False), (">", True)])


def decoded(encoding: Encoding, data: bytes) -> list[int]:
    """Return samples as numbers."""
    return samples_of(encoding.to_pcm(data)).tolist()


def test_eight_bits_have_no_sign() -> None:
    """128 is silence."""
    assert [-32_768, -256, 0, 256, 32_512] == decoded(
        Encoding("integer", 1), bytes([0, 127, 128, 129, 255])
    )


@ORDERS
@given(numbers=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=20), width=st.integers(2, 4))
def test_integers_keep_their_upper_bits(
    order: str, big_endian: bool, numbers: list[int], width: int
) -> None:
    """Sixteen of them; a part of a sample at the end is none."""
    numbers = [number >> 8 * (4 - width) for number in numbers]
    byte_order = "big" if big_endian else "little"
    data = b"".join(number.to_bytes(width, byte_order, signed=True) for number in numbers)
    expected = [number >> 8 * (width - 2) for number in numbers]
    assert expected == decoded(Encoding("integer", width, big_endian), data + b"x")


@ORDERS
@pytest.mark.parametrize(("code", "width"), [("f", 4), ("d", 8)])
def test_floats_are_clipped(order: str, big_endian: bool, code: str, width: int) -> None:
    """1.0 is full scale; what is beyond is at it, and what is no number is silence."""
    numbers = [0, 0.5, -0.5, 1, -1, 1.5, -7e30, float("inf"), float("-inf"), float("nan"), 1e-9]
    data = struct.pack(f"{order}{len(numbers)}{code}", *numbers)
    top, bottom = 32_767, -32_768
    expected = [0, 16_384, -16_384, top, bottom, top, bottom, top, bottom, 0, 0]
    assert expected == decoded(Encoding("float", width, big_endian), data + b"xyz")


@given(st.binary(max_size=64), st.sampled_from([4, 8]), st.booleans())
def test_any_bytes_are_floats(data: bytes, width: int, big_endian: bool) -> None:
    """Of garbage there is one sample for each, and no error."""
    found = decoded(Encoding("float", width, big_endian), data)
    assert len(data) // width == len(found)


@pytest.mark.parametrize(
    ("kind", "pairs"),
    [
        # The ends and the middle of the tables of G.711, as 16 bits.
        (
            "mu-law",
            {0x00: -32_124, 0x80: 32_124, 0x7F: 0, 0xFF: 0, 0xFE: 8, 0x7E: -8, 0x8F: 16_764},
        ),
        (
            "A-law",
            {0x2A: -32_256, 0xAA: 32_256, 0x55: -8, 0xD5: 8, 0xD4: 24, 0x54: -24, 0x80: 5_504},
        ),
    ],
)
def test_the_law_of_telephones(kind: str, pairs: dict[int, int]) -> None:
    """G.711."""
    assert list(pairs.values()) == decoded(Encoding(kind, 1), bytes(pairs))


@pytest.mark.parametrize(("kind", "turned"), [("mu-law", 0xFF), ("A-law", 0x55)])
def test_louder_codes_are_louder(kind: str, turned: int) -> None:
    """Each sign has 128 steps; the positive ones mirror the negative."""
    negative = decoded(Encoding(kind, 1), bytes(code ^ turned for code in range(128)))
    positive = decoded(Encoding(kind, 1), bytes(code ^ turned for code in range(128, 256)))
    if kind == "mu-law":  # the sign bit is turned over too
        negative, positive = positive, negative
    signs = [abs(sample) for sample in positive]
    assert sorted(set(signs)) == signs
    assert [-sample for sample in positive] == negative
