"""When speech begins and ends, in sounds of which that is known."""

import math
import random
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from speech_samples import SAID, measure, placed, quantile, speak

from trio_pipecat.audio import AudioChunk, SpeechDetector, SpeechEnded, SpeechStarted, find_speech
from trio_pipecat.audio._pcm import pcm_of, samples_of

RATE = 8_000
#: A sample at 8 kHz, and a bit for the arithmetic of floats.
SAMPLE = 1.01 / RATE


def tone(seconds, *, hz=440, dbfs=-20.0, rate=RATE):
    """Return a tone of a level."""
    peak = 32_768 * math.sqrt(2) * 10 ** (dbfs / 20)
    frames = round(seconds * rate)
    return array("h", [round(peak * math.cos(math.tau * hz * n / rate)) for n in range(frames)])


def hiss(seconds, *, dbfs=-40.0, seed=1):
    """Return white noise of a level."""
    source = random.Random(seed)
    level = 32_768 * 10 ** (dbfs / 20)
    return array("h", [round(source.gauss(0, level)) for _ in range(round(seconds * RATE))])


def silence(seconds):
    return array("h", bytes(2 * round(seconds * RATE)))


def over(background, begin, sound):
    """Return a sound that comes with a background, after `begin` seconds of it."""
    out, start = array("h", background), round(begin * RATE)
    for number, sample in enumerate(sound, start):
        out[number] = min(max(out[number] + sample, -32_768), 32_767)
    return out


def found(samples, **knobs):
    return find_speech(AudioChunk(pcm_of(samples), RATE), **knobs)


def assert_found(expected, samples, *, within=SAMPLE, **knobs):
    """Everything that is expected is found, and nothing else."""
    actual = found(samples, **knobs)
    assert len(expected) == len(actual), actual
    for one, other in zip(expected, actual, strict=True):
        assert pytest.approx(one, abs=within) == other


# -- sounds that are made here -----------------------------------------------------------------


def test_a_tone_in_digital_silence_is_found_to_the_sample():
    """It is energy, and so it counts."""
    sound = silence(0.5037) + tone(0.3) + silence(1)
    assert_found([(0.5037, 0.8037)], sound, within=5 * SAMPLE)


def test_bounds_are_told_when_they_are_decided():
    """As of when they were: the onset at once, the end after the silence that makes it one."""
    detector = SpeechDetector(RATE)
    sound = pcm_of(silence(0.5) + tone(0.3) + silence(1))
    told = []
    for start in range(0, len(sound), 160):
        for bound in detector.feed(sound[start : start + 160]):
            told.append((type(bound), bound.seconds, (start + 160) / 2 / RATE))
    (started, onset, onset_known), (ended, end, end_known) = told
    assert (SpeechStarted, SpeechEnded) == (started, ended)
    assert pytest.approx((0.5, 0.8), abs=SAMPLE) == (onset, end)
    assert onset_known <= 0.5 + 0.05
    assert pytest.approx(0.8 + 0.5, abs=0.011) == end_known


def test_it_knows_whether_somebody_speaks():
    """From when that is decided to when the end is."""
    detector = SpeechDetector(RATE)
    states = []
    for part in (silence(0.5), tone(0.3), silence(0.4), silence(0.2)):
        detector.feed(pcm_of(part))
        states.append(detector.is_speech)
    assert [False, True, True, False] == states


def test_at_the_end_of_the_stream_speech_ends():
    """Where the last sound was."""
    detector = SpeechDetector(RATE)
    (started,) = detector.feed(pcm_of(silence(0.5) + tone(0.3037) + silence(0.1)))
    assert detector.is_speech
    (ended,) = detector.flush()
    assert not detector.is_speech
    assert pytest.approx((0.5, 0.8037), abs=5 * SAMPLE) == (started.seconds, ended.seconds)
    assert [] == detector.flush()


@pytest.mark.parametrize("left", [0.0, 0.0037])
def test_speech_that_still_sounds_ends_with_the_stream(left):
    """Even within a hundredth of a second."""
    assert_found([(0.5, 0.8 + left)], silence(0.5) + tone(0.3 + left), within=5 * SAMPLE)


def test_after_the_end_of_a_stream_time_goes_on():
    """For who wants to know what is there so far."""
    detector = SpeechDetector(RATE)
    detector.feed(pcm_of(silence(0.5) + tone(0.3)))
    detector.flush()
    bounds = detector.feed(pcm_of(silence(0.2) + tone(0.3) + silence(1)))
    assert pytest.approx([1.0, 1.3], abs=SAMPLE) == [bound.seconds for bound in bounds]


def test_a_pause_is_inside_an_utterance():
    """Unless it is as long as what ends one."""
    sound = silence(0.5) + tone(0.3) + silence(0.4) + tone(0.3) + silence(1)
    assert_found([(0.5, 1.5)], sound)
    assert_found([(0.5, 0.8), (1.2, 1.5)], sound, end_seconds=0.3)
    sound = silence(0.5) + tone(0.3) + silence(0.5) + tone(0.3) + silence(1)
    assert_found([(0.5, 0.8), (1.3, 1.6)], sound)


def test_a_pause_ends_where_sound_begins_though_that_is_not_certain_yet():
    """At which time the silence would have been long enough."""
    sound = silence(0.5) + tone(0.3) + silence(0.48) + tone(0.3) + silence(1)
    assert_found([(0.5, 1.58)], sound)


def test_a_click_is_no_speech():
    """Alone, every now and then, or in a pause."""
    click = tone(0.01, dbfs=-10)
    clicks = silence(0.5) + (click + silence(0.09)) * 10 + silence(1)
    assert [] == found(clicks)
    later = silence(0.5) + tone(0.3) + silence(0.3) + click + silence(0.6)
    assert_found([(0.5, 0.8)], later)
    assert [] == found(silence(0.5) + tone(0.15) + silence(1), min_speech_seconds=0.2)


@pytest.mark.parametrize("dbfs", [-62, -70, -90])
def test_what_is_hardly_there_is_silence(dbfs):
    """Dither, say, which is there or is not."""
    sound = silence(0.5) + hiss(1, dbfs=dbfs) + silence(0.5)
    assert [] == found(sound)
    assert_found([(0.7, 1)], over(sound, 0.7, tone(0.3)), within=0.01)


def test_nothing_has_no_speech():
    """Nor has silence."""
    assert [] == found(array("h"))
    assert [] == found(silence(3))


@pytest.mark.parametrize("offset", [-9_000, 500, 20_000])
def test_an_offset_is_no_sound(offset):
    """From the first sample on; a sound is found in spite of it."""
    sound = silence(1) + tone(0.3) + silence(1)
    assert [] == found(array("h", [offset] * RATE * 2))
    assert_found([(1, 1.3)], array("h", [sample + offset for sample in sound]), within=0.01)


@pytest.mark.parametrize("dbfs", [-50, -30, -15])
def test_a_stream_that_begins_with_noise(dbfs):
    """It is known to be noise from the beginning, and speech is found in it."""
    noise = hiss(6, dbfs=dbfs)
    assert [] == found(noise)
    sound = over(noise, 3, tone(1, dbfs=max(dbfs + 5, -30)))
    assert_found([(3, 4)], sound, within=0.011)


def test_a_stream_that_begins_amid_speech():
    """In noise, and in none: the onset is the beginning of the stream."""
    words = tone(0.2) + silence(0.1) + tone(0.4) + silence(2)
    assert_found([(0, 0.7)], words)
    assert_found([(0, 0.7)], over(hiss(2.7, dbfs=-55), 0, words), within=0.011)


def test_a_sound_that_is_all_there_is():
    """There is no noise to compare it with, so it is compared with silence."""
    assert_found([(0, 0.4)], tone(0.4))
    assert [] == found(tone(0.4, dbfs=-65))


def test_steady_sound_from_the_beginning_is_noise():
    """It can't be told from noise, until it is quieter."""
    assert [] == found(tone(3))
    assert_found([(3.0, 3.5)], tone(2) + silence(1) + tone(0.5) + silence(1))


@pytest.mark.parametrize("dbfs", [-50, -40, -20])
def test_noise_that_grows_is_no_speech_for_ever(dbfs):
    """It is taken for speech for at most 4.5 s; from then on speech is found in it."""
    step = silence(2) + hiss(12, dbfs=dbfs)
    ((begin, end),) = found(step)
    assert pytest.approx(2, abs=0.01) == begin
    assert end <= 6.6
    *_, last = found(over(step, 10, tone(1, dbfs=max(dbfs + 10, -30))))
    assert pytest.approx((10, 11), abs=0.011) == last


def test_noise_that_grows_from_noise():
    """The same, when it was not silent before."""
    step = hiss(3, dbfs=-50) + hiss(9, dbfs=-30, seed=2)
    ((begin, end),) = found(step)
    assert pytest.approx(3, abs=0.011) == begin
    assert end <= 7.6


def test_noise_that_goes_is_no_speech():
    """And what was hidden in it is found, a moment later."""
    step = hiss(3, dbfs=-30) + hiss(4, dbfs=-50, seed=2)
    assert [] == found(step)
    assert_found([(4, 4.5)], over(step, 4, tone(0.5, dbfs=-40)), within=0.011)


def test_speech_may_be_in_one_channel():
    """A bound is counted in samples of one channel."""
    left = silence(0.5) + tone(0.3) + silence(1)
    both = array("h", [value for sample in left for value in (sample, 0)])
    ((begin, end),) = find_speech(AudioChunk(pcm_of(both), RATE, 2))
    assert pytest.approx((0.5, 0.8), abs=SAMPLE) == (begin, end)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000])
def test_every_rate_has_the_same_bounds(rate):
    """Though a hundredth of a second may be no whole number of samples."""
    quiet = bytes(2 * round(0.6 * rate))
    sound = quiet + pcm_of(tone(0.3, rate=rate)) + quiet
    ((begin, end),) = find_speech(AudioChunk(sound, rate))
    assert pytest.approx((0.6, 0.9), abs=1e-3) == (begin, end)


def test_a_rate_that_no_voice_has():
    """It is of no use, and no error."""
    assert [] == find_speech(AudioChunk(bytes(20), 7))


SCENE = (
    hiss(0.55, dbfs=-45)
    + tone(0.2)
    + silence(0.8)
    + over(hiss(0.8, dbfs=-45, seed=3), 0.1, tone(0.4))
    + silence(6)
    + tone(0.3)
    + silence(0.7)
)
#: The last byte is half a sample.
SCENE_PCM = pcm_of(SCENE) + b"\x01"


@given(st.lists(st.integers(0, 30_000), max_size=20))
@settings(max_examples=40)
def test_any_chunks_have_the_same_bounds(sizes):
    """Whatever is skipped, and wherever it is cut, even between the bytes of a sample."""
    whole = SpeechDetector(RATE)
    expected = [*whole.feed(SCENE_PCM), *whole.flush()]
    assert 4 <= len(expected)
    detector, actual, start = SpeechDetector(RATE), [], 0
    for size in [*sizes, len(SCENE_PCM)]:
        actual += detector.feed(SCENE_PCM[start : start + size])
        start += size
    assert expected == actual + detector.flush()


PARTS = st.one_of(
    st.builds(silence, st.floats(0, 1)),
    st.builds(tone, st.floats(0, 0.5), dbfs=st.floats(-70, -5)),
    st.builds(hiss, st.floats(0, 0.5), dbfs=st.floats(-70, -12)),
)


@given(st.lists(PARTS, max_size=8), st.integers(1, 4_000))
@settings(max_examples=40)
def test_bounds_are_in_order_and_within_the_stream(parts, size):
    """Start, end, start, end, each after the one before; and small chunks make no difference."""
    sound = sum(parts, array("h"))
    pairs = found(sound)
    times = [seconds for pair in pairs for seconds in pair]
    assert sorted(set(times)) == times
    assert all(0 <= seconds <= len(sound) / RATE for seconds in times)
    detector, pcm, bounds = SpeechDetector(RATE), pcm_of(sound), []
    for start in range(0, len(pcm), size):
        bounds += detector.feed(memoryview(pcm)[start : start + size])
    assert times == [bound.seconds for bound in (*bounds, *detector.flush())]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((0,), ValueError),
        ((16_000.0,), TypeError),
        ((16_000, 0), ValueError),
    ],
)
def test_a_format_that_none_is(arguments, error):
    """It is refused at once."""
    with pytest.raises(error):
        SpeechDetector(*arguments)


@pytest.mark.parametrize("name", ["end_seconds", "min_speech_seconds"])
@pytest.mark.parametrize("seconds", [-0.1, math.inf, math.nan])
def test_seconds_that_are_none(name, seconds):
    """The error names the keyword."""
    with pytest.raises(ValueError, match=name):
        SpeechDetector(16_000, **{name: seconds})


# -- voices of espeak-ng -------------------------------------------------------------------------

#: In ms: the median and the largest error that onsets may have, and that ends may have.
BOUNDS = [
    (None, math.inf, (1, 2, 1, 2)),
    ("white", 20, (8, 30, 15, 150)),
    ("white", 10, (15, 100, 70, 150)),
    ("white", 5, (30, 120, 110, 170)),
    ("pink", 20, (8, 40, 15, 150)),
    ("pink", 10, (15, 100, 80, 150)),
    ("pink", 5, (35, 130, 120, 200)),
    ("babble", 20, (10, None, 30, None)),
    ("babble", 10, (40, None, 130, None)),
]


@pytest.mark.parametrize(("kind", "snr", "bounds"), BOUNDS)
def test_a_voice_in_noise(kind, snr, bounds):
    """Every voice is found; the worst onset or end is one that is weaker than the noise.

    In a babble of voices, one may stand out; so the worst is not looked at there.
    """
    errors = measure(kind, snr)
    onset, worst_onset, end, worst_end = bounds
    assert 0 == errors.missed
    assert quantile(errors.onsets, 0.5) <= onset
    assert quantile(errors.ends, 0.5) <= end
    if worst_onset is not None:
        assert 0 == errors.invented
        assert quantile(errors.onsets, 1) <= worst_onset
        assert quantile(errors.ends, 1) <= worst_end


def test_a_bot_that_sends_silence_between_what_it_says():
    """The bounds of every sentence at 24 kHz are known to a sample or so."""
    parts, expected, at = [], [], 0.4
    for voice, speed, text in SAID[:4]:
        said = speak(text, voice, words_per_minute=speed, sample_rate=24_000)
        parts.append((at, said))
        expected.append((at, at + said.duration))
        at = round(at + said.duration + 0.8, 2)
    sound = placed(parts, at)
    for one, other in zip(expected, find_speech(sound), strict=True):
        assert pytest.approx(one, abs=2e-3) == other


def test_a_voice_with_an_offset():
    """A cheap sound card adds one, and some noise."""
    voice, speed, text = SAID[0]
    said = speak(text, voice, words_per_minute=speed, sample_rate=RATE)
    sound = over(hiss(1.5 + said.duration, dbfs=-55), 0.7, samples_of(said.pcm))
    ((begin, end),) = found(array("h", [min(sample + 3_000, 32_767) for sample in sound]))
    assert pytest.approx((0.7, 0.7 + said.duration), abs=0.03) == (begin, end)
