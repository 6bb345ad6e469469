"""Arithmetic on samples."""

import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_pipecat.audio._pcm import (
    added,
    clipped,
    decibels,
    mix_down,
    pcm_of,
    peak,
    rms,
    samples_of,
    spread,
)

SAMPLES = st.lists(st.integers(-32_768, 32_767), max_size=60).map(lambda items: array("h", items))


@given(SAMPLES, st.integers(1, 5))
def test_channels_that_are_the_same_mix_to_one_of_them(
    samples: "array[int]", channels: int
) -> None:
    """`spread` and `mix_down` are inverse."""
    assert samples == mix_down(spread(samples, channels), channels)


def test_the_mean_of_all_channels_is_kept() -> None:
    """Half a frame at the end is none."""
    assert [15, -5] == mix_down(array("h", [10, 20, -10, 0, 99]), 2).tolist()


@given(SAMPLES)
def test_pcm_is_little_endian(samples: "array[int]") -> None:
    """Whatever the machine; half a sample is none."""
    pcm = b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples)
    assert pcm == pcm_of(samples)
    assert samples == samples_of(pcm + b"x")


@given(SAMPLES, st.binary(max_size=1))
def test_half_a_sample_is_none(samples: "array[int]", half: bytes) -> None:
    """Whatever it is."""
    assert samples == samples_of(pcm_of(samples) + half)


def test_what_is_beyond_full_scale_is_at_it() -> None:
    """And does not come out at the other end."""
    assert array("h", [32_767, -32_768, 5]) == clipped([40_000, -40_000, 5])


def test_the_sum_is_as_long_as_the_longest() -> None:
    """What is over is heard alone."""
    assert array("h", [11, 22, 3]) == added([array("h", [1, 2, 3]), array("h", [10, 20])])


def test_the_level_of_a_sine() -> None:
    """A full-scale sine is 3 dB below full scale."""
    sine = array("h", [round(32_767 * math.sin(n * math.tau / 100)) for n in range(1_000)])
    assert pytest.approx(math.sqrt(0.5), abs=1e-4) == rms(sine)
    assert pytest.approx(-3.01, abs=0.01) == decibels(rms(sine))
    assert pytest.approx(1, abs=1e-4) == peak(sine)


def test_silence_has_no_level() -> None:
    """Nor has nothing."""
    for samples in (array("h"), array("h", [0, 0])):
        assert (0, 0, -math.inf) == (rms(samples), peak(samples), decibels(rms(samples)))


def test_the_lowest_sample_is_full_scale() -> None:
    """There is one more below zero than above."""
    assert 1 == peak(array("h", [-32_768])) == rms(array("h", [-32_768]))
