"""Sound at another rate: how long, when, how exact, and how it is cut."""

import importlib.util
import math
import sys
from array import array
from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_pipecat import UnsupportedFeatureError
from trio_pipecat.audio import AudioChunk, Resampler
from trio_pipecat.audio._pcm import pcm_of, samples_of
from trio_pipecat.audio._resample import MAX_RATE, MIN_RATE, Engine

NEEDS_SOXR = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("numpy", "soxr")),
    reason='needs soxr; type: pip install "trio-pipecat[audio]"',
)
ENGINES = [
    pytest.param("soxr", marks=NEEDS_SOXR),
    "python",
]
engines = pytest.mark.parametrize("engine", ENGINES)
#: Of speech, of CDs, and of nobody.
RATES = [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 12_347]
PAIRS = [(one, other) for one in RATES for other in RATES]


def tone(hertz: float, rate: int, seconds: float, peak: float = 16_000) -> "array[int]":
    """Return a sine, from 0 on."""
    frames = round(seconds * rate)
    return array("h", [round(peak * math.sin(math.tau * hertz * n / rate)) for n in range(frames)])


def convert(samples: "array[int]", from_rate: int, to_rate: int, engine: Engine) -> "array[int]":
    """Return mono at another rate."""
    resampler = Resampler(from_rate, to_rate, engine=engine)
    return samples_of(resampler.resample(pcm_of(samples)) + resampler.flush())


def level(numbers: "list[float]") -> float:
    """Return dB below the peak of a sine of 16 000."""
    mean = sum(number * number for number in numbers) / len(numbers)
    return 10 * math.log10(max(mean, 1e-9) / (16_000**2 / 2))


def middle(samples: "array[int]") -> "list[float]":
    """Return what is far from both ends."""
    edge = len(samples) // 5
    return [float(sample) for sample in samples[edge:-edge]]


@engines
@pytest.mark.parametrize(("from_rate", "to_rate"), PAIRS)
def test_a_tone_is_at_its_time(from_rate: int, to_rate: int, engine: Engine) -> None:
    """What comes out is the same sine at the same phase, 65 dB and more above the rest."""
    found = convert(tone(1_000, from_rate, 0.1), from_rate, to_rate, engine)
    expected = [16_000 * math.sin(math.tau * 1_000 * n / to_rate) for n in range(len(found))]
    edge = len(found) // 5
    errors = [one - other for one, other in zip(found, expected, strict=True)]
    assert level(errors[edge:-edge]) < -65


@engines
@pytest.mark.parametrize(
    ("from_rate", "to_rate"),
    [(24_000, 16_000), (16_000, 24_000), (8_000, 16_000), (16_000, 48_000)],
)
def test_a_tone_of_1_khz_has_little_noise(from_rate: int, to_rate: int, engine: Engine) -> None:
    """At the rates of speech it is 80 dB above the rest; 16 bits have 92 for it."""
    found = convert(tone(1_000, from_rate, 0.2), from_rate, to_rate, engine)
    expected = [16_000 * math.sin(math.tau * 1_000 * n / to_rate) for n in range(len(found))]
    edge = len(found) // 5
    errors = [one - other for one, other in zip(found, expected, strict=True)]
    assert level(errors[edge:-edge]) < -80


@engines
@pytest.mark.parametrize("part", [0.05, 0.3, 0.6, 0.8])
@pytest.mark.parametrize(
    ("from_rate", "to_rate"), [(24_000, 16_000), (8_000, 24_000), (16_000, 8_000)]
)
def test_the_band_is_flat(from_rate: int, to_rate: int, part: float, engine: Engine) -> None:
    """Up to 80 % of the lower band nothing is louder or softer by more than 0.05 dB."""
    hertz = part * min(from_rate, to_rate) / 2
    found = convert(tone(hertz, from_rate, 0.5), from_rate, to_rate, engine)
    assert pytest.approx(0, abs=0.05) == level(middle(found))


@engines
@pytest.mark.parametrize(
    ("hertz", "from_rate", "to_rate"),
    [
        (7_000, 16_000, 8_000),
        (4_500, 16_000, 8_000),
        (9_000, 24_000, 16_000),
        (11_000, 24_000, 16_000),
        (20_000, 48_000, 16_000),
        (9_000, 44_100, 16_000),
    ],
)
def test_what_does_not_fit_the_band_is_gone(
    hertz: int, from_rate: int, to_rate: int, engine: Engine
) -> None:
    """It does not come back as another tone: what is left is 65 dB softer."""
    assert level(middle(convert(tone(hertz, from_rate, 0.3), from_rate, to_rate, engine))) < -65


@engines
def test_a_higher_rate_has_no_new_tones(engine: Engine) -> None:
    """The mirror image of 3 kHz at 8 kHz is 5 kHz: without it, all is below 4 kHz."""
    high = convert(tone(3_000, 8_000, 0.3), 8_000, 16_000, engine)
    expected = [16_000 * math.sin(math.tau * 3_000 * n / 16_000) for n in range(len(high))]
    errors = [one - other for one, other in zip(high, expected, strict=True)]
    assert level(errors[len(errors) // 5 : -len(errors) // 5]) < -70


@engines
@given(
    pcm=st.binary(max_size=400),
    cuts=st.lists(st.integers(0, 400), max_size=8),
    pair=st.sampled_from(PAIRS),
    channels=st.integers(1, 3),
)
def test_how_it_is_cut_does_not_matter(
    engine: Engine, pcm: bytes, cuts: list[int], pair: tuple[int, int], channels: int
) -> None:
    """Not even within a sample; and there is exactly as much as there should be."""
    whole = Resampler(*pair, channels, engine=engine)
    expected = whole.resample(pcm) + whole.flush()
    edges = [0, *sorted(cuts), len(pcm)]
    pieces = [pcm[begin:end] for begin, end in pairwise(edges)]
    pieced = Resampler(*pair, channels, engine=engine)
    found = b"".join(map(pieced.resample, pieces)) + pieced.flush()
    assert expected == found
    frame = 2 * channels
    assert math.ceil(len(pcm) // frame * pair[1] / pair[0]) * frame == len(expected)


@engines
def test_a_long_sound_is_as_one_of_many_chunks(engine: Engine) -> None:
    """Longer than what is worked on at once."""
    samples = tone(440, 24_000, 2)
    resampler = Resampler(24_000, 16_000, engine=engine)
    pcm = pcm_of(samples)
    pieces = [resampler.resample(pcm[start : start + 961]) for start in range(0, len(pcm), 961)]
    assert convert(samples, 24_000, 16_000, engine) == samples_of(
        b"".join(pieces) + resampler.flush()
    )


@engines
def test_a_flushed_one_is_as_new(engine: Engine) -> None:
    """The next sound hears nothing of the one before, nor of half a sample."""
    resampler = Resampler(16_000, 24_000, engine=engine)
    pcm = pcm_of(tone(300, 16_000, 0.05))
    first = resampler.resample(pcm) + resampler.flush()
    resampler.resample(pcm[:101])
    resampler.flush()
    assert first == resampler.resample(pcm) + resampler.flush()
    assert b"" == resampler.flush()


@engines
def test_most_of_a_chunk_comes_at_once(engine: Engine) -> None:
    """What is kept back for what follows is less than 20 ms."""
    resampler = Resampler(24_000, 16_000, engine=engine)
    found = resampler.resample(bytes(2 * 2_400))
    assert 2 * (1_600 - 320) < len(found) <= 2 * 1_600


@engines
def test_channels_do_not_mix(engine: Engine) -> None:
    """Each is what it would be alone."""
    left, right = tone(500, 8_000, 0.05), tone(700, 8_000, 0.05)
    both = array("h", bytes(4 * len(left)))
    both[::2], both[1::2] = left, right
    resampler = Resampler(8_000, 48_000, 2, engine=engine)
    found = samples_of(resampler.resample(pcm_of(both)) + resampler.flush())
    assert convert(left, 8_000, 48_000, engine) == found[::2]
    assert convert(right, 8_000, 48_000, engine) == found[1::2]


@engines
@pytest.mark.parametrize("pair", [(8_000, 16_000), (24_000, 16_000), (44_100, 16_000)])
@pytest.mark.parametrize("value", [32_767, -32_768, 1, -1])
def test_a_constant_stays_what_it_is(pair: tuple[int, int], value: int, engine: Engine) -> None:
    """At full scale too."""
    found = convert(array("h", [value] * 2_000), *pair, engine)
    edge = len(found) // 5
    assert {value} == set(found[edge:-edge])


@engines
@pytest.mark.parametrize("pair", [(8_000, 16_000), (24_000, 16_000), (16_000, 44_100)])
def test_what_is_beyond_full_scale_is_at_it(pair: tuple[int, int], engine: Engine) -> None:
    """A square wave overshoots; it must not come out at the other end."""
    square = array("h", ([32_767] * 40 + [-32_768] * 40) * 20)
    found = convert(square, *pair, engine)
    period = 80 * pair[1] / pair[0]
    assert {-32_768, 32_767} <= set(found)
    for number, sample in enumerate(found):
        place = number / period % 1
        if 0.1 < place < 0.4 or 0.6 < place < 0.9:
            assert (sample > 20_000) == (place < 0.5)


@pytest.mark.parametrize("rate", [8_000, 11_025])
def test_the_same_rate_passes_through(rate: int) -> None:
    """As it is, but for halves of frames."""
    resampler = Resampler(rate, rate, 2)
    assert b"abcdefgh" == resampler.resample(b"abcdefgh")
    assert [b"", b"abcd"] == [resampler.resample(b"a"), resampler.resample(b"bcdef")]
    assert b"" == resampler.flush()
    assert b"ghij" == resampler.resample(b"ghij")


@engines
def test_doubled_sound_has_the_samples_that_were_there(engine: Engine) -> None:
    """Each second one; to a thousandth with soxr, and exactly without."""
    samples = tone(900, 8_000, 0.1)
    errors = [
        abs(one - other)
        for one, other in zip(samples, convert(samples, 8_000, 16_000, engine)[::2], strict=True)
    ]
    assert max(errors[100:-100]) <= (0 if engine == "python" else 16)


def test_both_engines_agree() -> None:
    """On how long it is, and when what sounds."""
    pytest.importorskip("soxr", reason='needs soxr; type: pip install "trio-pipecat[audio]"')
    samples = tone(650, 24_000, 0.2)
    one, other = (convert(samples, 24_000, 16_000, engine) for engine in ("soxr", "python"))
    assert len(one) == len(other)
    assert max(abs(a - b) for a, b in zip(middle(one), middle(other), strict=True)) < 5


@pytest.mark.parametrize("name", ["soxr", "numpy"])
def test_without_the_extra_there_is_the_core(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for soxr by name is told what to type."""
    samples = tone(650, 24_000, 0.05)
    monkeypatch.setitem(sys.modules, name, None)
    assert convert(samples, 24_000, 16_000, "python") == convert(samples, 24_000, 16_000, "auto")
    with pytest.raises(UnsupportedFeatureError) as caught:
        Resampler(24_000, 16_000, engine="soxr")
    assert 'resampling with soxr needs pip install "trio-pipecat[audio]"' == str(caught.value)


@NEEDS_SOXR
def test_with_the_extra_it_is_used() -> None:
    """Without a word."""
    samples = tone(650, 24_000, 0.05)
    assert convert(samples, 24_000, 16_000, "soxr") == convert(samples, 24_000, 16_000, "auto")


@engines
@pytest.mark.parametrize(
    ("from_rate", "to_rate"), [(MIN_RATE, MAX_RATE), (MAX_RATE, MIN_RATE), (MAX_RATE - 1, MIN_RATE)]
)
def test_the_widest_ratios_work(from_rate: int, to_rate: int, engine: Engine) -> None:
    """Slowly, but without a large table."""
    found = convert(array("h", [1_000] * (from_rate // 50)), from_rate, to_rate, engine)
    assert math.ceil(from_rate // 50 * to_rate / from_rate) == len(found)


@pytest.mark.parametrize("rate", [0, -1, 999, 768_001, 2**31, 2**70])
def test_no_sound_has_such_a_rate(rate: int) -> None:
    """A bot may say anything; it does not cost memory."""
    for pair in ((rate, 16_000), (16_000, rate), (rate, rate)):
        with pytest.raises(ValueError, match="a sample rate is from 1000 to 768000, not"):
            Resampler(*pair)
    with pytest.raises(ValueError, match="a sample rate is from 1000 to 768000, not"):
        AudioChunk(bytes(2), 16_000).resampled(rate)


@pytest.mark.parametrize("wrong", [True, 16_000.0, "16000", None])
def test_a_rate_is_an_integer(wrong: object) -> None:
    """True is none, and 16000.0 neither."""
    with pytest.raises(TypeError, match="a sample rate is an integer, not"):
        Resampler(cast(int, wrong), 16_000)
    with pytest.raises(TypeError, match="a number of channels is an integer, not"):
        Resampler(8_000, 16_000, cast(int, wrong))


@pytest.mark.parametrize("channels", [0, -1, 256, 2**31])
def test_no_sound_has_so_many_channels(channels: int) -> None:
    """Nor none."""
    with pytest.raises(ValueError, match="a number of channels is from 1 to 255, not"):
        Resampler(8_000, 16_000, channels)


def test_an_engine_is_one_of_three() -> None:
    """A typo is not auto."""
    with pytest.raises(ValueError, match="an engine is auto, soxr or python, not 'sox'"):
        Resampler(8_000, 16_000, engine=cast(Engine, "sox"))


def test_a_chunk_at_another_rate() -> None:
    """It begins when it did, and lasts as long; half a frame is left out."""
    chunk = AudioChunk(bytes(4 * 160 + 1), 8_000, 2, at=5.0)
    found = chunk.resampled(24_000)
    assert (AudioChunk(bytes(4 * 480), 24_000, 2), 5.0) == (found, found.at)


def test_a_chunk_that_has_the_rate() -> None:
    """Is itself."""
    chunk = AudioChunk(bytes(320), 8_000)
    assert chunk is chunk.resampled(8_000)
