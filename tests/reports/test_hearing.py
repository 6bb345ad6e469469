"""One side's sound, as bounds of speech on the session's timeline."""

import math
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_pipecat.audio import AudioChunk, SpeechEnded, SpeechStarted
from trio_pipecat.audio._pcm import pcm_of
from trio_pipecat.reports._hearing import Hearing

RATE = 8_000


def tone(seconds: float, rate: int = RATE) -> AudioChunk:
    """Return sound that is loud all through."""
    frames = range(round(seconds * rate))
    wave = (round(9_000 * math.sin(n * math.tau * 300 / rate)) or 99 for n in frames)
    return AudioChunk(pcm_of(array("h", wave)), rate)


def heard(*chunks: tuple[float, AudioChunk], hearing: Hearing | None = None) -> list[Any]:
    """Return the bounds of chunks that come when they say, and that of the end."""
    hearing = Hearing(is_clean=True) if hearing is None else hearing
    bounds = [bound for at, chunk in chunks for bound in hearing.hear(chunk, at)]
    return [*bounds, *hearing.settle()]


def near(seconds: float) -> Any:
    """Return what is that, to 10 ms."""
    return pytest.approx(seconds, abs=0.01)


def times(bounds: list[Any]) -> list[float]:
    """Return when they are; they take turns."""
    assert [SpeechStarted, SpeechEnded] * (len(bounds) // 2) == [type(bound) for bound in bounds]
    return [bound.seconds for bound in bounds]


def test_gaps_are_as_long_as_they_were() -> None:
    """However long: nobody counts their samples."""
    found = times(heard((1, tone(1)), (10_000, tone(2))))
    assert [near(1), near(2), near(10_000), near(10_002)] == found


def test_a_short_gap_is_within_an_utterance() -> None:
    """As a pause is."""
    assert [near(1), near(2.7)] == times(heard((1, tone(1)), (2.2, tone(0.5))))


def test_a_burst_is_in_order() -> None:
    """One chunk after the other."""
    assert [near(1), near(4)] == times(heard(*[(1, tone(0.5))] * 6))


def test_many_gaps_are_all_right() -> None:
    """And not kept for ever."""
    hearing = Hearing(is_clean=True)
    found = times(heard(*[(n, tone(0.3)) for n in range(300)], hearing=hearing))
    assert [near(n // 2 + 0.3 * (n % 2)) for n in range(600)] == found
    assert len(hearing._anchors) <= 64


def test_what_was_cut_ends_there() -> None:
    """What comes next begins then."""
    hearing = Hearing(is_clean=True)
    bounds = [*hearing.hear(tone(3), 1), *hearing.cut(2), *hearing.hear(tone(1), 2.9)]
    assert [near(1), near(2), near(2.9), near(3.9)] == times([*bounds, *hearing.settle()])


def test_another_format_is_another_stretch() -> None:
    """At the right time."""
    found = times(heard((1, tone(1)), (2, tone(1, 24_000)), (5, tone(1, 16_000))))
    assert [near(1), near(2), near(2), near(3), near(5), near(6)] == found


def test_what_was_cut_within_a_sample_begins_anew() -> None:
    """What comes after an interruption begins with a sample, and faint sound stays faint."""
    hearing = Hearing(is_clean=True)
    assert [] == list(hearing.hear(AudioChunk(bytes(801), RATE), 0))
    list(hearing.cut(0.05))
    faint = pcm_of(array("h", [5, -5] * RATE))
    assert [] == heard((0.1, AudioChunk(faint, RATE)), hearing=hearing)


def test_halves_of_samples_are_counted() -> None:
    """Once both are there."""
    hearing = Hearing(is_clean=True)
    for start in range(0, 16_001, 3):
        list(hearing.hear(AudioChunk(bytes(16_000)[start : start + 3], RATE), 0))
    assert 1 == hearing.end


@pytest.mark.parametrize(("rate", "channels"), [(1, 1), (4_000_000_000, 255), (0, 1), (RATE, 0)])
def test_what_cannot_be_sound_is_not_heard(rate: int, channels: int) -> None:
    """Nor is room made for it."""
    assert [] == heard((1, AudioChunk(b"\0\x40" * 510, rate, channels)))


def test_nothing_has_no_bounds() -> None:
    """Nor an end."""
    hearing = Hearing(is_clean=True)
    assert [] == heard((1, AudioChunk(b"", RATE)), hearing=hearing)
    assert (False, 0, []) == (hearing.is_speech, hearing.end, [*hearing.cut(1)])


def test_settling_twice_is_once() -> None:
    """And what comes then is heard."""
    hearing = Hearing(is_clean=True)
    assert [near(1), near(2)] == times(heard((1, tone(1)), hearing=hearing))
    assert [] == [*hearing.settle()]
    assert [near(3), near(4)] == times(heard((3, tone(1)), hearing=hearing))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(3, 20)), max_size=12))
def test_bounds_never_run_back(steps: list[tuple[int, int]]) -> None:
    """Nor lie in the future of what will have sounded."""
    hearing, at, bounds = Hearing(is_clean=True), 0.0, []
    for gap, length in steps:
        at += gap / 10
        bounds += hearing.hear(tone(length / 10), at)
    end = hearing.end
    found = times([*bounds, *hearing.settle()])
    assert sorted(found) == found
    assert all(0 <= seconds <= end + 0.01 for seconds in found)
    assert bool(steps) == bool(found)
