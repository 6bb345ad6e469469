"""The recorder of two bots: each where it was heard, on one timeline."""

import errno
import os
from array import array
from pathlib import Path
from typing import Any

import pytest
import trio
from test_bridge import Actor, bursts, fails, is_interrupted, leaves, numbered, opened, says
from test_wav_recorder import marks
from trio.testing import MockClock

import trio_pipecat as tp
from trio_pipecat.audio._pcm import samples_of
from trio_pipecat.audio._stereo import BOT, USER, StereoReader
from trio_pipecat.testing import SimulatedBot

RATE = 24_000


def sides(path: Path) -> tuple[int, "array[int]", "array[int]"]:
    """Return the rate of a file, and its left and its right."""
    reader = StereoReader(path)
    found = [reader.read(side, 0, reader.frames) for side in (USER, BOT)]
    reader.close()
    return reader.rate, found[0], found[1]


async def recorded(path: Path, a: Any, b: Any, seconds: float, **options: Any) -> tp.BridgeRecorder:
    """Record two bots that talk for so long."""
    async with opened(a, b) as (one, other):
        recorder = tp.BridgeRecorder(one, other, path, **options)
        with trio.move_on_after(seconds):
            await tp.bridge(one, other)
    return recorder


def sound_at(samples: "array[int]", second: float, count: int, rate: int = RATE) -> list[int]:
    """Return so many samples from a second on."""
    begin = round(second * rate)
    return [*samples[begin : begin + count]]


async def test_each_sample_is_where_it_was_heard(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A left and B right, byte for byte, on one timeline: that of the first session."""
    one, other = numbered(1, RATE), numbered(0.5, RATE, begin=500)
    path = tmp_path / "talk.wav"
    recorder = await recorded(path, Actor((1, says(one))), Actor((1.5, says(other))), 4)
    rate, left, right = sides(path)
    assert RATE == rate
    assert [*samples_of(one.pcm)] == sound_at(left, 1, RATE)
    assert [*samples_of(other.pcm)] == sound_at(right, 1.5, RATE // 2)
    assert RATE == sum(map(bool, left))
    assert RATE // 2 == sum(map(bool, right))
    assert None is recorder.error
    assert 4 == pytest.approx(recorder.seconds, abs=0.1)
    assert "closed" in repr(recorder)


async def test_another_rate(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Sound that has it is written as it is, and other sound is converted: where it was heard."""
    one, other = numbered(1, 16_000), numbered(0.5, 8_000)
    path = tmp_path / "talk.wav"
    a, b = Actor((1, says(one))), Actor((2, says(other)))
    await recorded(path, a, b, 4, sample_rate=16_000)
    rate, left, right = sides(path)
    assert 16_000 == rate
    assert [*samples_of(one.pcm)] == sound_at(left, 1, 16_000, 16_000)
    begins = next(place for place, sample in enumerate(right) if abs(sample) > 3)
    assert 2 == pytest.approx(begins / rate, abs=0.002)
    assert 0.5 == pytest.approx(sum(map(bool, right)) / rate, abs=0.01)


async def test_what_was_not_heard_is_not_there(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Of one that is interrupted, or has left, while the other one goes on."""
    path = tmp_path / "talk.wav"
    a = Actor((1, bursts(numbered(2, RATE))), (1.5, is_interrupted), (3, bursts(numbered(2, RATE))))
    b = Actor((1, bursts(numbered(4, RATE))), (4, leaves))
    async with opened(a, b, disconnect_on_bot_disconnect=False) as (one, other):
        tp.BridgeRecorder(one, other, path)
        await tp.bridge(one, other)
        await trio.sleep(1)
    _, left, right = sides(path)
    assert 2.5 == pytest.approx(sum(map(bool, left)) / RATE, abs=0.01)
    assert 3.0 == pytest.approx(sum(map(bool, right)) / RATE, abs=0.05)


async def test_marks(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Who was ready, said what, was interrupted, and failed; nothing secret."""
    path = tmp_path / "talk.wav"
    failing = Actor((2, is_interrupted), (3, fails))
    with pytest.raises(tp.FatalBotError):
        await recorded(path, SimulatedBot(greeting="My dear. Hello!"), failing, 9)
    labels = [label for _, label in marks(path)]
    assert sorted(labels[:2]) == ["a bot-ready", "b bot-ready"]
    assert labels[2:4] == ["a bot-output: My dear.", "a bot-output: Hello!"]
    assert labels[4:6] == ["b bot-interrupted", "b error: out of tea"]
    assert sorted(labels[6:]) == ["a left", "b left"]
    assert 2 == pytest.approx(marks(path)[4][0], abs=0.05)


async def test_secrets_are_no_marks(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Also if a bot says them."""
    path = tmp_path / "talk.wav"
    bot = SimulatedBot(greeting="It is s3cret-token.").connect
    async with (
        tp.open_session(transport=bot, token="s3cret-token") as one,
        tp.open_session("sim:?greeting=") as other,
    ):
        tp.BridgeRecorder(one, other, path)
        await trio.sleep(2)
    assert "a bot-output: It is ***." in [label for _, label in marks(path)]


async def test_stopping(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Early: the file is whole, and the talk goes on."""
    path = tmp_path / "talk.wav"
    async with opened(Actor((1, says(numbered(3, RATE)))), Actor()) as (one, other):
        with tp.BridgeRecorder(one, other, path) as recorder:
            assert "recording" in repr(recorder)
            with trio.move_on_after(2):
                await tp.bridge(one, other)
            recorder.stop()
            recorder.stop()
            await trio.sleep(1)
        assert [] == one._driver.taps == other._driver.taps
    _, left, _ = sides(path)
    assert 1 == pytest.approx(sum(map(bool, left)) / RATE, abs=0.05)


async def test_sessions_that_are_over(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Leave a file without sound."""
    async with opened(Actor(), Actor()) as (one, other):
        await one.wait_ready()
        await one.disconnect()
        await other.disconnect()
        recorder = tp.BridgeRecorder(one, other, tmp_path / "talk.wav")
    assert "closed" in repr(recorder)
    assert not any(sides(recorder.path)[1])


async def test_what_can_not_be_written(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Is refused at once; or ends the recording, and not the talk."""
    async with opened(Actor((1, says(numbered(1)))), Actor()) as (one, other):
        with pytest.raises(OSError, match="No such file"):
            tp.BridgeRecorder(one, other, tmp_path / "nowhere" / "talk.wav")
        with pytest.raises(ValueError, match="sample rate"):
            tp.BridgeRecorder(one, other, tmp_path / "talk.wav", sample_rate=10)
        recorder = tp.BridgeRecorder(one, other, tmp_path / "talk.wav")

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        close = recorder._sound.close

        def close_badly() -> None:
            close()
            full()

        recorder._sound.place, recorder._sound.close = full, close_badly  # type: ignore[method-assign, assignment]
        with pytest.raises(OSError, match="No space"), recorder:
            with trio.move_on_after(3):
                await tp.bridge(one, other)
        assert tp.State.READY is one.state


async def test_a_file_that_is_full(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Sizes in a WAV file have 32 bits."""
    async with opened(Actor((1, says(numbered(1)))), Actor()) as (one, other):
        recorder = tp.BridgeRecorder(one, other, tmp_path / "talk.wav")
        recorder._sound.is_full = True
        await trio.sleep(3)
    assert recorder.error is not None
    assert errno.EFBIG == recorder.error.errno
