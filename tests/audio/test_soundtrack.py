"""The sound of a session as it was heard: where each sample is."""

import random
from array import array
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_pipecat import AudioChunk
from trio_pipecat.audio import _resample
from trio_pipecat.audio._pcm import pcm_of
from trio_pipecat.audio._soundtrack import Soundtrack, _Run
from trio_pipecat.audio._stereo import BOT, USER, StereoReader
from trio_pipecat.audio._track import scale


def chunk(samples: list[int], rate: int) -> AudioChunk:
    return AudioChunk(pcm_of(array("h", samples)), rate)


def sounds(path: Path) -> tuple[int, list[int], list[int]]:
    """Return the rate and both sides of a file."""
    reader = StereoReader(path)
    user, bot = (reader.read(side, 0, reader.frames).tolist() for side in (USER, BOT))
    reader.close()
    return reader.rate, user, bot


@pytest.fixture(params=["soxr", "python"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Either way to resample."""
    monkeypatch.setattr(_resample, "_has_soxr", lambda engine: request.param == "soxr")
    return str(request.param)


MINUTES = 10
USER_RATE, BOT_RATE = 16_000, 24_000


def test_ten_minutes_do_not_drift(tmp_path: Path, engine: str) -> None:
    """Both sides on the beat, with jitter, bursts and gaps: each impulse is at its frame.

    A chunk that begins a turn is heard when it comes; those that follow, however early they come or
    late within what counts as in time, are heard on the beat of the samples.
    """
    rng = random.Random(4)
    sound = Soundtrack(tmp_path / "x.wav")
    coming: list[tuple[float, int, AudioChunk]] = []
    marked: dict[int, list[int]] = {USER: [], BOT: []}
    for side, rate, size in ((USER, USER_RATE, 320), (BOT, BOT_RATE, 960)):
        now = 0.0 if side == USER else 0.5
        while now < MINUTES * 60 - 30:
            first = round(now * rate)
            burst = side == BOT and rng.random() < 0.3
            comes = now
            count = rng.randrange(50, 1_500 if side == USER else 300)
            for number in range(count):
                samples = [0] * size
                if number in (0, 1, count // 2, count - 1):
                    # What is on both rates' beat has its peak on one frame.
                    at = number * size + 64 + (first + number * size) % 2
                    samples[at % size] = 20_000
                    marked[side].append(first + at)
                late = 0 if number == 0 else rng.uniform(-0.01, 0.03)
                beat = 0 if burst else number * size / rate
                comes = max(comes, now + beat + late)  # nothing overtakes
                coming.append((comes, side, chunk(samples, rate)))
            now += count * size / rate + rng.uniform(0.1, 9)
    for at, side, piece in sorted(coming, key=lambda item: item[0]):
        sound.place(side, piece, at)
    sound.end(MINUTES * 60)
    rate, user, bot = sounds(tmp_path / "x.wav")
    assert BOT_RATE == rate
    assert marked[BOT] == [frame for frame, sample in enumerate(bot) if sample]
    assert 100 < len(marked[USER])
    for frame in marked[USER]:
        expected = frame * BOT_RATE // USER_RATE
        around = user[expected - 20 : expected + 21]
        assert 20 == around.index(max(around))
        assert max(around) > 15_000


@given(
    st.sampled_from([8_000, 11_025, 16_000, 44_100, 48_000, 7_919]),
    st.sampled_from([16_000, 24_000, 8_000]),
    st.integers(0, 10_000),
    st.lists(st.integers(0, 700), max_size=8),
)
def test_a_run_fills_its_frames(rate: int, to_rate: int, begin: int, sizes: list[int]) -> None:
    """From the first that is not before it, to the last, none twice, however it was cut."""
    run = _Run(rate, begin, to_rate)
    expected = scale(begin, rate, to_rate)
    for frames in sizes:
        run.feed(bytes(2 * frames))
        at, out = run.take()
        assert expected == at
        expected += len(out) // 2
    run.finish()
    at, out = run.take()
    assert expected == at
    assert scale(begin + sum(sizes), rate, to_rate) == at + len(out) // 2


def test_no_clicks_between_chunks(tmp_path: Path, engine: str) -> None:
    """A steady sound, cut in pieces, is steady at another rate."""
    sound = Soundtrack(tmp_path / "x.wav", 24_000)
    for number in range(50):
        sound.place(USER, chunk([10_000] * 320, 16_000), number / 50)
    sound.close()
    _, user, _ = sounds(tmp_path / "x.wav")
    assert 24_000 == len(user)
    assert {9_999, 10_000, 10_001} >= set(user[200:-200])


def test_the_files_own_rate_is_kept_to_the_bit(tmp_path: Path) -> None:
    """Early, late, and after a gap."""
    sound = Soundtrack(tmp_path / "x.wav")
    for at, value in ((0.0, 1), (0.001, 2), (0.09, 3), (1.0, 4)):
        sound.place(BOT, chunk([value] * 960, 24_000), at)
    sound.close()
    _, _, bot = sounds(tmp_path / "x.wav")
    assert [1] * 960 + [2] * 960 + [3] * 960 == bot[:2_880]
    assert [4] * 960 == bot[24_000:]
    assert {0} == set(bot[2_880:24_000])


def test_an_interruption_is_exact_at_another_rate(tmp_path: Path) -> None:
    """Nothing sounds after it, and what comes next begins then."""
    sound = Soundtrack(tmp_path / "x.wav", 48_000)
    sound.place(BOT, chunk([9_000] * 24_000, 24_000), 0)
    assert 6_000 == sound.cut(BOT, 0.25)
    sound.place(BOT, chunk([500] * 960, 24_000), 0.5)
    sound.close()
    _, _, bot = sounds(tmp_path / "x.wav")
    assert 48_000 * 54 // 100 == len(bot)
    assert 9_000 == bot[11_500]
    assert {0} == set(bot[12_000:24_000])


@pytest.mark.parametrize("rate", [16_000, 24_000])
def test_what_had_not_sounded_at_the_end_is_not_there(rate: int, tmp_path: Path) -> None:
    """Of either side. A bot's two seconds of silence that were heard are."""
    sound = Soundtrack(tmp_path / "x.wav", 24_000)
    sound.place(USER, chunk([1_000] * 8_000, 16_000), 0)
    sound.place(BOT, chunk([1_000] * 10 * rate, rate), 0)
    sound.cut(BOT, 0.5)
    sound.place(BOT, AudioChunk.silence(2, rate), 0.5)
    sound.place(USER, chunk([1_000] * 160_000, 16_000), 1)
    sound.end(2.5)
    _, user, bot = sounds(tmp_path / "x.wav")
    assert 60_000 == len(user) == len(bot)
    assert abs(user[59_000] - 1_000) < 5
    assert {0} == set(bot[12_000:])


def test_a_session_that_broke_off_has_no_tail(tmp_path: Path) -> None:
    """However much the bot had sent."""
    sound = Soundtrack(tmp_path / "x.wav")
    sound.place(BOT, chunk([5] * 240_000, 24_000), 1)
    sound.end(2)
    assert 48_000 == len(sounds(tmp_path / "x.wav")[2])
    assert 2 == sound.seconds


def test_the_users_first_words_are_in_the_file_at_once(tmp_path: Path) -> None:
    """At their own rate; when the bot speaks, in another, they are converted, marks as well."""
    sound = Soundtrack(tmp_path / "x.wav", cues=True)
    sound.open()
    sound.mark(0, "zero")
    sound.place(USER, chunk([700] * 16_000, 16_000), 1)
    sound.mark(2, "two")
    rate, user, _ = sounds(tmp_path / "x.wav")
    assert (16_000, [700] * 16_000) == (rate, user[16_000:])
    sound.place(BOT, chunk([5] * 960, 24_000), 2)
    sound.place(USER, chunk([700] * 320, 16_000), 2)
    sound.mark(3, "three")
    sound.close()
    reader = StereoReader(tmp_path / "x.wav")
    assert [(0, "zero"), (48_000, "two"), (72_000, "three")] == reader.cues()
    reader.close()
    rate, user, bot = sounds(tmp_path / "x.wav")
    assert (24_000, [5] * 960) == (rate, bot[48_000:48_960])
    assert {700} == set(user[24_100:48_300])


def test_a_bot_that_is_silent_for_long_leaves_the_usual_rate(tmp_path: Path) -> None:
    """After five seconds of the user's sound, which is not kept any longer."""
    sound = Soundtrack(tmp_path / "x.wav")
    for number in range(300):
        sound.place(USER, chunk([700] * 320, 16_000), number / 50)
    sound.place(BOT, chunk([5] * 640, 32_000), 6)
    sound.close()
    rate, user, bot = sounds(tmp_path / "x.wav")
    assert (24_000, 144_480, 144_480) == (rate, len(user), len(bot))
    assert {700} == set(user[100:143_900])


def test_what_the_filter_held_back_is_written_when_the_gap_is_seen(
    tmp_path: Path, engine: str
) -> None:
    """By whatever happens next."""
    sound = Soundtrack(tmp_path / "x.wav", 24_000, cues=True)
    sound.open()
    sound.place(USER, chunk([700] * 1_600, 16_000), 0)
    held_back = 2_400 - round(sound.seconds * 24_000)
    assert 0 < held_back < 1_200
    sound.mark(0.2, "")
    _, user, _ = sounds(tmp_path / "x.wav")
    assert abs(user[2_300] - 700) < 20
    sound.close()


def test_a_frame_cut_in_two_is_put_together(tmp_path: Path) -> None:
    """Unless there was an interruption, or another format."""
    pcm = pcm_of(array("h", [1_000, 2_000]))
    sound = Soundtrack(tmp_path / "x.wav")
    for part in (pcm[:1], pcm[1:]):
        sound.place(BOT, AudioChunk(part, 8_000), 0)
    sound.place(BOT, AudioChunk(b"\x07", 8_000), 0)
    sound.cut(BOT, 0)
    sound.place(BOT, AudioChunk(pcm, 8_000), 0)
    sound.place(BOT, AudioChunk(b"\x07", 8_000), 0)
    sound.place(BOT, AudioChunk(pcm + pcm, 8_000, 2), 0)
    sound.close()
    assert [1_000, 2_000, 1_500, 1_500] == sounds(tmp_path / "x.wav")[2]


@pytest.mark.parametrize(("rate", "channels"), [(999, 1), (192_001, 1), (2**31, 1), (8_000, 33)])
def test_what_can_be_no_sound_is_not_kept(rate: int, channels: int, tmp_path: Path) -> None:
    """Nor is there a file for it."""
    sound = Soundtrack(tmp_path / "x.wav")
    assert None is sound.place(BOT, AudioChunk(bytes(132), rate, channels), 0).begin
    sound.cut(BOT, 0)
    sound.close()
    assert not (tmp_path / "x.wav").exists()


@pytest.mark.parametrize("side", [USER, BOT])
def test_a_full_file_takes_no_more(side: int, tmp_path: Path) -> None:
    """Its sizes have 32 bits: twelve hours at 24 kHz."""
    sound = Soundtrack(tmp_path / "x.wav", 24_000, cues=True)
    sound.open()
    assert 0 == sound.place(side, chunk([1, 2], 24_000), 0).begin
    assert None is sound.place(side, chunk([1, 2], 24_000), 13 * 3_600).begin
    sound.mark(13 * 3_600, "too late")
    sound.end(13 * 3_600)
    assert 2 == len(sounds(tmp_path / "x.wav")[0:][1])


@pytest.mark.parametrize(
    ("rate", "error"), [(0, ValueError), (200_000, ValueError), (1.5, TypeError)]
)
def test_a_rate_that_is_none_is_refused(rate: Any, error: type[Exception], tmp_path: Path) -> None:
    """Before there is a file."""
    with pytest.raises(error, match="sample rate"):
        Soundtrack(tmp_path / "x.wav", rate)
