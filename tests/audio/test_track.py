"""The arithmetic of where sound goes."""

from array import array

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trio_pipecat.audio._track import SLACK_SECONDS, Track, convert, scale

RATES = st.sampled_from([8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000])
SAMPLES = st.lists(st.integers(-32_768, 32_767), max_size=60).map(lambda items: array("h", items))


def test_a_burst_is_heard_one_chunk_after_the_other() -> None:
    """However early it came."""
    track = Track()
    assert [24_000, 24_960, 25_920] == [track.place(1.0, 24_000, 960) for _ in range(3)]


def test_a_gap_is_as_long_as_it_was() -> None:
    """What comes when the sound is over begins when it comes."""
    track = Track()
    assert 0 == track.place(0, 16_000, 320)
    assert 16_000 == track.place(1.0, 16_000, 320)


def test_the_first_chunk_begins_when_it_comes() -> None:
    """Though it comes little after the beginning."""
    assert 160 == Track().place(0.01, 16_000, 320)


@pytest.mark.parametrize(("late", "begin"), [(0.001, 320), (0.04, 320), (0.041, 976)])
def test_what_is_hardly_late_is_in_time(late: float, begin: int) -> None:
    """A timer that is late by a millisecond tears no hole."""
    track = Track()
    track.place(0, 16_000, 320)
    assert begin == track.place(0.02 + late, 16_000, 320)


def test_an_interruption_takes_back_what_was_not_heard() -> None:
    """What comes next begins then."""
    track = Track()
    track.place(0, 24_000, 48_000)
    assert 12_000 == track.cut(0.5)
    assert 12_000 == track.place(0.5, 24_000, 960)
    assert None is track.cut(5)


def test_a_new_rate_goes_on_where_the_old_one_ended() -> None:
    """In frames of its own."""
    track = Track()
    track.place(0, 16_000, 16_000)
    assert 24_000 == track.place(0.5, 24_000, 960)


@given(
    st.lists(
        st.tuples(st.floats(0, 2), st.integers(0, 5_000), st.booleans()), min_size=1, max_size=30
    ),
    RATES,
)
def test_sound_never_overlaps_and_never_hurries(
    steps: list[tuple[float, int, bool]], rate: int
) -> None:
    """A chunk begins at the end of the one before or at its time, early by the slack at most."""
    track = Track()
    now, end = 0.0, 0
    for pause, frames, interrupted in steps:
        now += pause
        if interrupted and track.rate and track.cut(now) is not None:
            end = round(now * rate)
        begin = track.place(now, rate, frames)
        assert begin >= end
        assert begin in (end, round(now * rate))
        assert begin >= round(now * rate) - int(SLACK_SECONDS * rate)
        end = begin + frames
        assert end == track.end


@given(st.lists(st.integers(0, 3_000), min_size=1, max_size=30), RATES, RATES)
def test_chunks_that_follow_each_other_do_so_at_every_rate(
    lengths: list[int], rate: int, to_rate: int
) -> None:
    """Converted one by one they leave no frame out, and share none."""
    track = Track()
    covered: list[int] = []
    for frames in lengths:
        begin = track.place(0, rate, frames)
        covered += range(scale(begin, rate, to_rate), scale(begin + frames, rate, to_rate))
    assert list(range(scale(sum(lengths), rate, to_rate))) == covered


@given(st.integers(0, 2**40), RATES, RATES)
def test_scaling_is_exact(frame: int, rate: int, to_rate: int) -> None:
    """It is the first frame that is not before, and nothing drifts."""
    scaled = scale(frame, rate, to_rate)
    assert (scaled - 1) * rate < frame * to_rate <= scaled * rate


@given(SAMPLES, st.integers(0, 1_000), RATES)
def test_no_conversion_is_no_change(samples: "array[int]", begin: int, rate: int) -> None:
    """At the same rate each sample stays itself."""
    same = convert(samples, begin, rate, to_begin=begin, to_frames=len(samples), to_rate=rate)
    assert samples == same


@given(SAMPLES, RATES, RATES)
def test_what_lies_between_two_samples_lies_between_them(
    samples: "array[int]", rate: int, to_rate: int
) -> None:
    """No conversion is louder than what it was made of."""
    assume(samples)
    frames = scale(len(samples), rate, to_rate)
    out = convert(samples, 0, rate, to_begin=0, to_frames=frames, to_rate=to_rate)
    assert frames == len(out)
    assert min(samples) <= min(out) and max(out) <= max(samples)
    assert out[0] == samples[0]


def test_twice_the_rate_puts_one_sample_between_two() -> None:
    """On the line between them."""
    out = convert(array("h", [0, 100, -100]), 0, 100, to_begin=0, to_frames=6, to_rate=200)
    assert [0, 50, 100, 0, -100, -100] == out.tolist()


def test_beyond_both_ends_is_the_nearest_sample() -> None:
    """And nothing at all is silence."""
    out = convert(array("h", [7, 9]), 10, 100, to_begin=8, to_frames=6, to_rate=100)
    assert [7, 7, 7, 9, 9, 9] == out.tolist()
    assert [0, 0] == convert(array("h"), 0, 1, to_begin=0, to_frames=2, to_rate=1).tolist()
