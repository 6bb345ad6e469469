"""How loud each hundredth of a second is."""

import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_pipecat.audio._levels import SILENCE_DBFS, Levels
from trio_pipecat.audio._pcm import pcm_of


def tone(hz: float, seconds: float, rate: int = 8_000, *, offset: int = 0) -> "array[int]":
    """Return a tone of -13 dBFS."""
    frames = round(seconds * rate)
    return array(
        "h", [offset + round(10_000 * math.sin(math.tau * hz * n / rate)) for n in range(frames)]
    )


def test_a_frame_is_a_hundredth_of_a_second():
    """What is left at the end is a shorter one."""
    levels = Levels(8_000, 1)
    frames = [*levels.feed(bytes(2 * 200)), *levels.flush()]
    assert [(0, 80), (80, 160), (160, 200)] == [(frame.begin, frame.end) for frame in frames]


def test_a_low_tone_is_in_the_low_band_and_a_high_one_in_the_high_band():
    """At a fraction of its level in the other one."""
    (low,) = Levels(8_000, 1).feed(pcm_of(tone(200, 0.01)))
    (high,) = Levels(8_000, 1).feed(pcm_of(tone(3_800, 0.01)))
    assert pytest.approx(-10.3, abs=0.3) == low.low
    assert pytest.approx(-10.3, abs=0.3) == high.high
    assert low.high < low.low - 15
    assert high.low < high.high - 15


def test_an_offset_is_no_sound():
    """Nor does it change how loud a sound is."""
    (still,) = Levels(8_000, 1).feed(pcm_of(array("h", [9_000] * 80)))
    (moved,) = Levels(8_000, 1).feed(pcm_of(tone(400, 0.01, offset=9_000)))
    (there,) = Levels(8_000, 1).feed(pcm_of(tone(400, 0.01)))
    assert still.is_silent
    assert pytest.approx(there.low, abs=0.05) == moved.low


def test_channels_do_not_cancel():
    """One that is the other upside down is as loud."""
    both = array("h", [value for sample in tone(400, 0.01) for value in (sample, -sample)])
    (stereo,) = Levels(8_000, 2).feed(pcm_of(both))
    (mono,) = Levels(8_000, 1).feed(pcm_of(tone(400, 0.01)))
    assert (0, 80) == (stereo.begin, stereo.end)
    assert pytest.approx(mono.low) == stereo.low


def test_high_rates_are_looked_at_less_closely():
    """With the same result for what voices have."""
    (much,) = Levels(48_000, 1).feed(pcm_of(tone(400, 0.01, 48_000)))
    (less,) = Levels(12_000, 1).feed(pcm_of(tone(400, 0.01, 12_000)))
    assert pytest.approx(less.low, abs=0.1) == much.low


def test_silence_has_the_least_level():
    """And so has a dither of one bit."""
    (zeros,) = Levels(8_000, 1).feed(bytes(160))
    (dither,) = Levels(8_000, 1).feed(pcm_of(array("h", [0, 1, -1, 0] * 20)))
    assert zeros.is_silent and dither.is_silent
    assert SILENCE_DBFS == zeros.low


@given(st.lists(st.integers(0, 700), max_size=8), st.integers(1, 3))
def test_skipping_silence_is_hearing_it(sizes: list[int], channels: int) -> None:
    """The next frame begins at the same sample, however the bytes are cut."""
    heard, skipped = Levels(8_000, channels), Levels(8_000, channels)
    for size in sizes:
        frames = len(list(heard.feed(bytes(size))))
        assert frames == skipped.skip_silence(bytes(size)) or not frames
        if not frames:
            assert [] == list(skipped.feed(bytes(size)))
    assert heard.begin == skipped.begin
    left = [[frame.end for frame in levels.flush()] for levels in (heard, skipped)]
    assert left[0] == left[1]


def test_what_is_no_silence_is_not_skipped():
    """Neither in the chunk nor in what is left of the one before."""
    levels = Levels(8_000, 1)
    assert 0 == levels.skip_silence(bytes(200) + b"\x01\x00")
    assert [] == list(levels.feed(b"\x01\x00"))
    assert 0 == levels.skip_silence(bytes(320))
    assert 0 == levels.begin
