"""What noise is taken to be."""

import random

import pytest

from trio_pipecat.audio._levels import SILENCE_DBFS
from trio_pipecat.audio._noise import BLOCK, LEARNING, Noise


def around(mean: float, spread: float, count: int) -> list[float]:
    """Return levels of so many frames."""
    source = random.Random(1)
    return [source.gauss(mean, spread) for _ in range(count)]


def hear(noise: Noise, levels: list[float]) -> None:
    """Have somebody speak meanwhile."""
    for number, level in enumerate(levels, 1):
        noise.track(level)
        if number % BLOCK == 0:
            noise.end_block()


def test_at_first_there_is_none():
    """What is a bit louder than silence is a sound."""
    assert (SILENCE_DBFS, SILENCE_DBFS + 1.5) == (Noise().mean, Noise().most)


def test_what_a_stream_begins_with_is_noise_if_it_is_steady():
    """It is known to vary by what it does."""
    noise, louder = Noise(), Noise()
    noise.learn(around(-30, 1, LEARNING))
    louder.learn(around(-30, 2, LEARNING))
    assert pytest.approx(-30, abs=1) == noise.mean
    assert -30 + 3 < noise.most < louder.most


def test_of_what_is_not_steady_the_quietest_is_noise():
    """The rest is speech."""
    noise = Noise()
    noise.learn([-15.0] * 20 + [-45.0] * 20 + [-15.0] * 10)
    assert pytest.approx(-44, abs=1) == noise.mean


def test_noise_is_followed():
    """Up and down, in a second or two."""
    noise = Noise()
    for level in around(-40, 1, 300):
        noise.follow(level)
    assert pytest.approx(-40, abs=0.5) == noise.mean
    assert 0.5 < noise.spread < 1.5


def test_noise_is_no_louder_than_the_quietest():
    """Even while somebody speaks."""
    noise = Noise()
    noise.learn([-30.0] * LEARNING)
    hear(noise, [-50.0] * 40)
    assert pytest.approx(-50, abs=1) == noise.mean


def test_what_stays_loud_for_four_seconds_is_noise():
    """And not before."""
    noise = Noise()
    hear(noise, [-30.0] * (8 * BLOCK - 1))
    assert SILENCE_DBFS == noise.mean
    hear(noise, [-30.0] * BLOCK * 8)
    assert pytest.approx(-30, abs=2) == noise.mean


def test_what_has_pauses_is_not():
    """One in four seconds is enough."""
    noise = Noise()
    for _ in range(4):
        hear(noise, [-30.0] * (4 * BLOCK))
        noise.was_silent()
    assert SILENCE_DBFS == noise.mean


def test_skipping_silent_blocks_is_hearing_them():
    """As far as can be told afterwards."""
    heard, skipped = Noise(), Noise()
    for noise in (heard, skipped):
        hear(noise, [-30.0] * (8 * BLOCK - 1))
        noise.silence()
    for _ in range(3):
        heard.was_silent()
        heard.end_block()
    skipped.skip_blocks(3, begun=False)
    for noise in (heard, skipped):
        hear(noise, [-30.0] * 5 * BLOCK)
        assert SILENCE_DBFS == noise.mean
    skipped.skip_blocks(0, begun=True)
    hear(skipped, [-30.0] * 5 * BLOCK)
    assert SILENCE_DBFS == skipped.mean
