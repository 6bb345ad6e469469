"""The simulated bot's voice."""

from array import array
from itertools import pairwise

import pytest

from trio_pipecat.testing import Voice
from trio_pipecat.testing._voice import sentences, tokens


def samples(pcm: bytes) -> array:
    return array("h", pcm)


def test_a_word_is_a_tone_and_a_pause() -> None:
    """Three quarters and one quarter, at the amplitude asked for."""
    heard = samples(Voice(sample_rate=8_000, word_seconds=0.1, amplitude=0.5).word())
    assert 800 == len(heard)
    assert 0.5 * 32767 == pytest.approx(max(heard[:600]), rel=0.01)
    assert {0} == set(heard[600:])


def test_the_tone_has_its_frequency() -> None:
    """Counted by its zero crossings."""
    voice = Voice(sample_rate=24_000, word_seconds=1, tone_hz=440)
    heard = samples(voice.word())[:18_000]
    ups = sum(1 for one, two in pairwise(heard) if one < 0 <= two)
    assert 440 * 0.75 == pytest.approx(ups, abs=1)


def test_words_begin_where_their_sound_begins() -> None:
    """One after the other, from where the text begins."""
    speech = Voice(word_seconds=0.2).speak("one two three", start=0.5)
    assert ("one", "two", "three") == speech.words
    assert [0.5, 0.7, 0.9] == pytest.approx(speech.starts)
    assert 3 * len(Voice(word_seconds=0.2).word()) == len(speech.pcm)


def test_frames_are_pipecats() -> None:
    """40 ms: 1,920 bytes at 24 kHz."""
    assert 1920 == Voice().frame_bytes
    assert bytes(48_000) == Voice().silence(1)


def test_texts_are_cut_where_a_voice_would_pause() -> None:
    """Sentences by their ends, tokens with the space behind them."""
    assert ["Hello!", "How are you?", "Fine"] == sentences(" Hello!  How are you? Fine ")
    assert [] == sentences("  ")
    assert ["a ", "bc  ", "d"] == tokens("a bc  d")
