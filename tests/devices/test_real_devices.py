"""Sound that goes out through a speaker and comes in through a microphone, sample by sample.

The figures that are measured are printed (``pytest -s``). How long something takes is bounded, but
only loosely: the machine may have much else to do.
"""

import statistics

import pytest
from real_devices import noise

#: The sound server's resampler takes the top of the band, where white noise has some of its power.
#: What is not the same sound is alike by less than 0.1.
ALIKE = 0.9
#: How long each piece is that is looked for.
_BLOCK_SECONDS = 0.1
#: No figure may be worse than this, in seconds; half a second is not a delay but a fault.
_BOUND = 0.5


@pytest.fixture
def numpy():
    """Correlation is its business."""
    import numpy as np

    return np


def captured(numpy, path):
    """Return what was heard."""
    return numpy.frombuffer(path.read_bytes(), "<i2").astype(float)


def found(numpy, sound, piece):
    """Return where `piece` is in `sound`, and how alike they are, from 0 to 1."""
    size = len(sound) + len(piece)
    spectrum = numpy.fft.rfft(sound, size) * numpy.conj(numpy.fft.rfft(piece, size))
    correlation = numpy.fft.irfft(spectrum, size)[: len(sound) - len(piece) + 1]
    place = int(correlation.argmax())
    there = sound[place : place + len(piece)]
    norm = numpy.linalg.norm(there) * numpy.linalg.norm(piece)
    return place, float(correlation[place] / norm) if norm else 0.0


def time_of(sample, chunks, *, rate):
    """Return when a sample was heard, and when it was there, on trio's clock."""
    for frames, heard, there in chunks:
        if sample < frames:
            return heard + sample / rate, there
        sample -= frames
    raise AssertionError("beyond the end")


def test_the_devices_have_names(sound_server) -> None:
    """And one that does not exist is refused with theirs."""
    told = sound_server.told_by("names")
    assert {"test_speaker", "test_microphone"} <= set(told["names"])
    assert "speaker 'piano': there is no such device" in told["refusal"]
    assert "'test_speaker, ALSA'" in told["refusal"]


@pytest.mark.parametrize(("out_rate", "in_rate"), [(48_000, 48_000), (24_000, 48_000)])
def test_every_sample_arrives_once(out_rate, in_rate, sound_server, numpy, tmp_path) -> None:
    """What goes out comes in: no gap, nothing twice, as many samples, and then silence."""
    seconds = 6
    path = tmp_path / "heard"
    told = sound_server.told_by("loop", path, out_rate, in_rate, seconds)
    assert (0, 0, 0) == (told["underruns"], told["overflows"], told["dropped_seconds"])
    heard = captured(numpy, path)
    sent = numpy.frombuffer(noise(seconds, out_rate).pcm, "<i2").astype(float)
    if out_rate != in_rate:
        sent = resampled(numpy, sent, in_rate // out_rate)
    size = round(_BLOCK_SECONDS * in_rate)
    lags, alikes = [], []
    for start in range(0, len(sent), size):
        place, likeness = found(numpy, heard, sent[start : start + size])
        lags.append(place - start)
        alikes.append(likeness)
    assert ALIKE < min(alikes)
    assert [lags[0]] * len(lags) == lags
    sounding = numpy.nonzero(numpy.abs(heard) > 100)[0]
    error = sounding[-1] - sounding[0] + 1 - len(sent)
    print(
        f"\n{out_rate} to {in_rate} Hz, {seconds} s: {len(lags)} blocks of 100 ms, all at one lag, "
        f"least correlation {min(alikes):.6f}; sample count error {error}"
    )
    if out_rate == in_rate:
        assert 0 == error
        assert numpy.array_equal(heard[lags[0] : lags[0] + len(sent)], sent)
    else:
        assert abs(error) <= 0.002 * in_rate


def resampled(numpy, samples, factor):
    """Return sound at a multiple of its rate, with nothing above what it had."""
    spectrum = numpy.fft.rfft(samples)
    wide = numpy.zeros(len(samples) * factor // 2 + 1, complex)
    wide[: len(spectrum)] = spectrum
    return numpy.fft.irfft(wide) * factor


@pytest.mark.parametrize("latency", ["default", 0.1])
def test_round_trip(latency, sound_server, numpy, tmp_path) -> None:
    """From `play` to the chunk that has it, and to the time that chunk was heard."""
    path = tmp_path / "heard"
    told = sound_server.told_by("round_trips", path, latency, 9)
    heard = captured(numpy, path)
    piece = numpy.frombuffer(noise(0.1, 48_000).pcm, "<i2").astype(float)
    there, at, begin = [], [], 0
    for played in told["played"]:
        # Each is looked for behind the one before, and is alone in its window.
        window = heard[begin : begin + 48_000 * 2]
        place, likeness = found(numpy, window[: first_sound(numpy, window) + 12_000], piece)
        assert ALIKE < likeness
        heard_at, there_at = time_of(begin + place, told["chunks"], rate=48_000)
        begin += place + len(piece)
        there.append(there_at - played)
        at.append(heard_at - played)
    print(f"\nround trip, both with latency={latency}, play to chunk: {figures(there)}")
    print(f"... play to chunk.at: {figures(at)}")
    assert 0 < min(at)
    assert all(before <= after for before, after in zip(at, there, strict=True))
    assert statistics.median(there) < _BOUND


def first_sound(numpy, samples):
    """Return where silence ends."""
    return int(numpy.nonzero(numpy.abs(samples) > 300)[0][0])


@pytest.mark.parametrize("latency", ["default", 0.1])
def test_flush(latency, sound_server, numpy, tmp_path) -> None:
    """Sound ends soon after it, and more than four of five seconds are forgotten."""
    path = tmp_path / "heard"
    told = sound_server.told_by("flushes", path, latency, 5)
    heard = captured(numpy, path)
    sounding = numpy.nonzero(numpy.abs(heard) > 300)[0]
    # Each ends where there is silence for a while.
    ends = [*sounding[:-1][numpy.diff(sounding) > 4_000], sounding[-1]]
    assert len(told["flushed"]) == len(ends)
    longer = [
        time_of(int(end), told["chunks"], rate=16_000)[0] - flushed
        for end, (flushed, _) in zip(ends, told["flushed"], strict=True)
    ]
    print(f"\nsound after flush(): {figures(longer)}; latency={latency}")
    assert all(4 < seconds < 5 for _, seconds in told["flushed"])
    assert statistics.median(longer) < _BOUND


def test_half_duplex(sound_server, tmp_path) -> None:
    """Not one sample of the speaker comes back; without the guard they all do."""
    told = sound_server.told_by("half_duplex", tmp_path / "heard")
    print(f"\nhalf duplex: {told['guarded']} samples of {told['unguarded']} were heard")
    assert 0 == told["guarded"]
    assert 0.9 * 1.3 * 16_000 < told["unguarded"]


@pytest.mark.parametrize("how", ["unload", "kill"])
def test_unplugged(how, breakable_sound_server) -> None:
    """Player and reader are told, in bounded time, and no thread stays behind."""
    told = breakable_sound_server.told_by("unplug", how, breakable_sound_server.pid)
    assert {"speaker", "microphone"} == set(told["told"])
    for name, (error, seconds) in told["told"].items():
        assert f"{name} 'test_{name}': " in error
        assert seconds < 5
        print(f"\n{how}: {seconds:.3f} s: {error}", end="")
    before, running, after = told["threads"]
    print(f"\nclosed in {told['closing']:.3f} s; threads {before}, {running}, {after}")
    assert before == after < running


def test_cancelled_while_opening(sound_server) -> None:
    """At any moment: no thread stays behind, and the devices can be opened again."""
    before, after = sound_server.told_by("cancel", 40)["threads"]
    assert before == after


def figures(seconds):
    """Return what there is to say about a few durations."""
    milliseconds = sorted(round(1_000 * item) for item in seconds)
    return (
        f"median {statistics.median(milliseconds):g} ms, "
        f"{milliseconds[0]} to {milliseconds[-1]} ms, of {len(seconds)}"
    )
