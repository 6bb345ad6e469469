"""Resampling without numpy, against the sums written out."""

import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_pipecat.audio import _polyphase
from trio_pipecat.audio._pcm import pcm_of, samples_of
from trio_pipecat.audio._polyphase import BETA, REACH, Polyphase

SAMPLES = st.lists(st.integers(-32_768, 32_767), max_size=200).map(lambda items: array("h", items))
RATIOS = st.tuples(st.integers(1, 8), st.integers(1, 8))


def written_out(samples: "array[int]", phases: int, step: int) -> list[int]:
    """Return the same as `_Packed`: weights of 16 bits, and half is rounded up."""
    out = []
    for output in range(-(-len(samples) * phases // step)):
        whole, phase = divmod(output * step, phases)
        weights = _polyphase._whole(_polyphase._weights(phase / phases, phases, step))
        begin = whole - len(weights) // 2 + 1
        total = sum(
            weight * samples[begin + offset]
            for offset, weight in enumerate(weights)
            if 0 <= begin + offset < len(samples)
        )
        out.append(min(max(total + 0x8000 >> 16, -32_768), 32_767))
    return out


@given(SAMPLES, RATIOS)
def test_a_product_of_integers_holds_all_sums(
    samples: "array[int]", ratio: tuple[int, int]
) -> None:
    """To the last bit, clipped where they are beyond full scale."""
    to_rate, from_rate = ratio
    common = math.gcd(*ratio)
    engine = Polyphase(from_rate, to_rate, 1)
    expected = written_out(samples, to_rate // common, from_rate // common)
    found = samples_of(engine.feed(pcm_of(samples)) + engine.finish())
    assert expected == found[: len(expected)].tolist()


@given(SAMPLES, RATIOS)
def test_one_by_one_is_the_same(samples: "array[int]", ratio: tuple[int, int]) -> None:
    """What is too much for packing differs by the rounding of its weights alone."""
    to_rate, from_rate = ratio
    common = math.gcd(*ratio)
    phases, step = to_rate // common, from_rate // common
    lane = _polyphase._Single(phases, step)
    words = array("h", pcm_of(samples))
    found = lane.feed(words) + lane.feed(array("h", bytes(2 * 40 * step)))
    expected = written_out(samples, phases, step)
    # Half a bit in 16 for each weight, and the rounding of the result.
    most = 0.5 + 0.5 * 2 * (REACH * step / phases + REACH) + 1
    pairs = zip(expected, samples_of(found.tobytes()), strict=False)
    assert all(abs(one - other) <= most for one, other in pairs)


@pytest.mark.parametrize(("from_rate", "to_rate"), [(48_000, 47_999), (96_001, 8_000)])
def test_what_is_between_two_phases_is_on_a_line(from_rate: int, to_rate: int) -> None:
    """With so many phases that not each has weights: a tone stays itself, to a ten-thousandth."""
    samples = array("h", [round(20_000 * math.sin(n * 0.1)) for n in range(4_000)])
    engine = Polyphase(from_rate, to_rate, 1)
    found = samples_of(engine.feed(pcm_of(samples)))
    ratio = from_rate / to_rate
    errors = [
        sample - 20_000 * math.sin(n * ratio * 0.1)
        for n, sample in enumerate(found)
        if n * ratio > 16 * max(ratio, 1)
    ]
    assert max(map(abs, errors)) < 3


def test_the_window_is_widest_in_the_middle() -> None:
    """And ends where the filter does."""
    assert (1, 0, 0) == tuple(map(_polyphase._kaiser, (0, 1, -1.5)))
    # Of order 0, at 6.5: from a table.
    assert pytest.approx(106.292858, rel=1e-6) == _polyphase._bessel(BETA)
