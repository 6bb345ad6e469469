"""A speaker: what sounds, when, and what is forgotten."""

import math
from array import array

import pytest
import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from trio_pipecat import AudioChunk, BotInterrupted, DeviceError, open_session, open_speaker
from trio_pipecat._streams import AudioStream, StreamOwner
from trio_pipecat.audio._line import SILENT_SECONDS
from trio_pipecat.audio._playlist import Playlist
from trio_pipecat.audio._resample import Resampler
from trio_pipecat.testing import SimulatedBot

#: What the device takes at once, in these tests: 20 ms of 1000 Hz.
BLOCK = 20


def sound(frames, *, value=1, sample_rate=1000, num_channels=1):
    """Return a chunk, one sample of which sounds a millisecond."""
    return AudioChunk(bytes([value, 1]) * frames * num_channels, sample_rate, num_channels)


def opened(**options):
    """Open a speaker of 1000 Hz."""
    return open_speaker(**{"sample_rate": 1000, "buffer_seconds": 0.1, **options})


def tone(frames, rate):
    """Return a tone of 200 Hz."""
    samples = (round(8_000 * math.sin(math.tau * 200 * n / rate)) for n in range(frames))
    return AudioChunk(array("h", samples).tobytes(), rate)


# -- playing -----------------------------------------------------------------------------


async def test_what_is_played_sounds(sounddevice) -> None:
    """In order, without a gap, and then there is silence."""
    async with opened() as speaker:
        with assert_checkpoints():
            await speaker.play(sound(30, value=1))
        await speaker.play(sound(5, value=2))
        assert pytest.approx(0.035) == speaker.queued_seconds
        heard = b"".join(sounddevice.stream.sound(BLOCK) for _ in range(3))
        assert sound(30, value=1).pcm + sound(5, value=2).pcm + bytes(50) == heard
        assert 0 == speaker.queued_seconds == speaker.underruns


async def test_a_gap_is_silence(sounddevice) -> None:
    """And no underrun; an underrun is what the device says is one."""
    async with opened() as speaker:
        assert bytes(2 * BLOCK) == sounddevice.stream.sound(BLOCK)
        assert 0 == speaker.underruns
        sounddevice.stream.sound(BLOCK, lost=True)
        assert 1 == speaker.underruns


async def test_what_it_is(sounddevice) -> None:
    """Its name, its format, and where it is."""
    async with opened(device="headset", num_channels=2) as speaker:
        assert ("Headset", 1000, 2) == (speaker.name, speaker.sample_rate, speaker.num_channels)
        await speaker.play(sound(50, num_channels=2))
        assert "<Speaker speaker 'Headset': open, 1000 Hz, 2 channel(s), 0.050 s queued>" == repr(
            speaker
        )


async def test_the_level_is_that_of_the_last_block(sounddevice) -> None:
    """For a meter."""
    async with opened() as speaker:
        assert 0 == speaker.level
        chunk = sound(BLOCK)
        await speaker.play(chunk)
        sounddevice.stream.sound(BLOCK)
        assert chunk.level == speaker.level > 0
        sounddevice.stream.sound(BLOCK)
        assert 0 == speaker.level


async def test_an_empty_chunk(sounddevice) -> None:
    """Is nothing, and so is half a sample."""
    async with opened() as speaker:
        await speaker.play(AudioChunk(b"", 1000))
        await speaker.play(AudioChunk(b"x", 1000))
        assert 0 == speaker.queued_seconds


# -- formats -----------------------------------------------------------------------------


async def test_channels_are_converted(sounddevice) -> None:
    """As the device has them."""
    async with opened(num_channels=2) as speaker:
        await speaker.play(AudioChunk(array("h", [1, 2]).tobytes(), 1000))
        await speaker.play(AudioChunk(array("h", [3, 4, 5, 6]).tobytes() + b"xyz", 1000, 2))
        assert array("h", [1, 1, 2, 2, 3, 4, 5, 6]).tobytes() == sounddevice.stream.sound(4)


async def test_rates_are_converted(sounddevice) -> None:
    """As if the chunks were one sound; what comes after has another rate, and follows it."""
    async with opened(sample_rate=8_000, buffer_seconds=9) as speaker:
        first, second, third = tone(1600, 16_000), tone(800, 8_000), tone(2400, 24_000)
        expected = b""
        for chunk in (first, third):
            resampler = Resampler(chunk.sample_rate, 8_000, engine="python")
            expected += resampler.resample(chunk.pcm) + resampler.flush()
            expected += second.pcm if chunk is first else b""
        for chunk in (first, second, third):
            for piece in chunk.split(300):
                await speaker.play(piece)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speaker.drain)
            await wait_all_tasks_blocked()
            assert expected == sounddevice.stream.sound(2400)


async def test_a_device_with_another_rate(sounddevice) -> None:
    """Is run at that, and everything is converted."""
    sounddevice.rates = [48_000]
    async with open_speaker(sample_rate=24_000) as speaker:
        assert 48_000 == speaker.sample_rate
        await speaker.play(tone(2400, 24_000))
        assert 0.05 < speaker.queued_seconds <= 0.1


# -- backpressure ------------------------------------------------------------------------


async def test_play_waits_while_much_is_queued(sounddevice) -> None:
    """Until the device has taken some; then it queues all of its chunk."""
    async with opened() as speaker, trio.open_nursery() as nursery:
        await speaker.play(sound(90))
        await speaker.play(sound(50))
        nursery.start_soon(speaker.play, sound(60))
        for left in (140, 120):
            await wait_all_tasks_blocked()
            assert pytest.approx(left / 1000) == speaker.queued_seconds
            sounddevice.stream.sound(BLOCK)
        await wait_all_tasks_blocked()
        assert pytest.approx(0.160) == speaker.queued_seconds


async def test_cancelling_play_loses_its_chunk(sounddevice) -> None:
    """All of it, and nothing else."""
    async with opened() as speaker:
        await speaker.play(sound(130))
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(speaker.play, sound(50))
                await wait_all_tasks_blocked()
                scope.cancel()
        assert pytest.approx(0.130) == speaker.queued_seconds
        assert sound(130).pcm == sounddevice.stream.sound(130)


# -- forgetting --------------------------------------------------------------------------


async def test_flush_forgets_what_is_queued(sounddevice) -> None:
    """At once: what sounds next is silence, and then what is played from now on."""
    async with opened() as speaker:
        await speaker.play(sound(100))
        sounddevice.stream.sound(BLOCK)
        assert pytest.approx(0.08) == speaker.flush()
        assert 0 == speaker.queued_seconds == speaker.flush()
        assert bytes(2 * BLOCK) == sounddevice.stream.sound(BLOCK)
        await speaker.play(sound(BLOCK, value=7))
        assert sound(BLOCK, value=7).pcm == sounddevice.stream.sound(BLOCK)


async def test_flush_in_the_middle_of_a_block(sounddevice) -> None:
    """That block is the last: the thread that takes it is not disturbed."""
    async with opened() as speaker:
        await speaker.play(sound(100))
        before = speaker._list
        speaker.flush()
        assert sound(BLOCK).pcm == before.take(2 * BLOCK)
        assert bytes(2 * BLOCK) == sounddevice.stream.sound(BLOCK)


async def test_flush_forgets_what_waits_to_be_queued(sounddevice) -> None:
    """A chunk on its way to the speaker is as stale as those before it."""
    async with opened() as speaker:
        await speaker.play(sound(130))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speaker.play, sound(50))
            await wait_all_tasks_blocked()
            speaker.flush()
        assert 0 == speaker.queued_seconds


async def test_flush_forgets_what_the_resampler_has(sounddevice) -> None:
    """Not a click of the old sound is in the new one."""
    async with opened(sample_rate=8_000) as speaker:
        await speaker.play(tone(480, 16_000))
        speaker.flush()
        await speaker.play(AudioChunk(bytes(960), 16_000))
        assert bytes(480) == sounddevice.stream.sound(240)


# -- draining ----------------------------------------------------------------------------


async def test_drain_waits_until_all_has_sounded(sounddevice, mock_clock) -> None:
    """The device has it before it sounds: so long it takes after the last block."""
    async with opened() as speaker:
        await speaker.play(sound(30))
        done = []

        async def drain():
            await speaker.drain()
            done.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain)
            await wait_all_tasks_blocked()
            for _ in range(2):
                sounddevice.stream.sound(BLOCK, delay=0.5)
            taken = trio.current_time()
            await wait_all_tasks_blocked()
            mock_clock.jump(0.505)
            await wait_all_tasks_blocked()
            assert [] == done
            mock_clock.jump(0.006)
        assert [taken + 0.511] == done


async def test_drain_may_look_in_the_middle_of_a_block(sounddevice, monkeypatch) -> None:
    """What was taken sounds later, and that is known before it counts as taken."""
    take, seen = Playlist.take, []
    async with opened() as speaker:

        def watched(playlist, size):
            pcm = take(playlist, size)
            seen.append(speaker._until - trio.current_time())
            return pcm

        monkeypatch.setattr(Playlist, "take", watched)
        await speaker.play(sound(5))
        sounddevice.stream.sound(BLOCK, delay=4)
    assert seen[0] > 3


async def test_drain_where_there_is_nothing(sounddevice) -> None:
    """Is a checkpoint."""
    async with opened() as speaker:
        with assert_checkpoints():
            await speaker.drain()


async def test_drain_does_not_wait_for_what_comes_after(sounddevice) -> None:
    """Or it might never end."""
    async with opened() as speaker:
        await speaker.play(sound(BLOCK))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speaker.drain)
            await wait_all_tasks_blocked()
            await speaker.play(sound(100))
            sounddevice.stream.sound(BLOCK, delay=0)
        assert pytest.approx(0.1) == speaker.queued_seconds


async def test_a_flush_ends_a_drain(sounddevice) -> None:
    """What was forgotten does not sound any more."""
    async with opened() as speaker:
        await speaker.play(sound(100))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speaker.drain)
            await wait_all_tasks_blocked()
            speaker.flush()


# -- when it sounds ----------------------------------------------------------------------


async def test_until_when_it_sounds(sounddevice, mock_clock) -> None:
    """What the device has counts, and what is zeros does not."""
    async with opened() as speaker:
        assert -math.inf == speaker.sounds_until
        await speaker.play(sound(30))
        assert -math.inf == speaker.sounds_until
        now = trio.current_time()
        for _ in range(2):
            sounddevice.stream.sound(BLOCK, delay=0.5)
        assert pytest.approx(now + 0.510) == speaker.sounds_until
        await speaker.play(AudioChunk.silence(0.1, 1000))
        mock_clock.jump(1)
        sounddevice.stream.sound(BLOCK)
        assert pytest.approx(now + 0.510) == speaker.sounds_until


# -- following a session -----------------------------------------------------------------


def session_audio():
    """Return sound as a session has it."""
    return AudioStream(StreamOwner(), "audio", 10.0)


async def test_following_a_stream(sounddevice) -> None:
    """It is played as it comes, until it is over and has sounded."""
    async with opened() as speaker:
        audio = session_audio()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speaker.follow, audio)
            for value in (1, 2):
                await wait_all_tasks_blocked()
                audio._feed(sound(BLOCK, value=value))
            audio._finish()
            await wait_all_tasks_blocked()
            heard = [sounddevice.stream.sound(BLOCK, delay=0) for _ in range(2)]
        assert [sound(BLOCK, value=1).pcm, sound(BLOCK, value=2).pcm] == heard
        assert [] == audio.on_flush


async def test_a_stream_that_is_flushed(sounddevice) -> None:
    """Flushes the speaker in the same moment, with the chunk that waited to be queued."""
    async with opened() as speaker:
        audio = session_audio()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speaker.follow, audio)
            await wait_all_tasks_blocked()
            for frames in (130, 50, 40):
                audio._feed(sound(frames))
            await wait_all_tasks_blocked()
            assert pytest.approx(0.040) == audio.flush()
            assert bytes(2 * BLOCK) == sounddevice.stream.sound(BLOCK)
            await wait_all_tasks_blocked()
            assert 0 == speaker.queued_seconds
            audio._feed(sound(BLOCK, value=9))
            await wait_all_tasks_blocked()
            assert sound(BLOCK, value=9).pcm == sounddevice.stream.sound(BLOCK)
            nursery.cancel_scope.cancel()
        assert [] == audio.on_flush


async def test_flushed_by_a_session(sounddevice) -> None:
    """When its bot is interrupted."""
    bot = SimulatedBot(greeting="A sentence that nobody will hear the end of, for it is too long.")
    async with open_speaker() as speaker, open_session(transport=bot.connect) as session:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speaker.follow, session.audio)
            with session.subscribe(BotInterrupted) as interrupted:
                while not speaker.queued_seconds:
                    await trio.sleep(0.01)
                await session.interrupt()
                await interrupted.receive()
            assert 0 == speaker.queued_seconds
            nursery.cancel_scope.cancel()


# -- when it ends ------------------------------------------------------------------------


async def test_an_unplugged_speaker(sounddevice) -> None:
    """Is refused to whoever plays, waits for room, drains, or follows."""
    async with opened() as speaker:
        await speaker.play(sound(130))

        async def told(step, *arguments):
            with pytest.raises(DeviceError, match="speaker 'Loud Speaker': it has stopped"):
                await step(*arguments)

        audio = session_audio()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(told, speaker.play, sound(1))
            nursery.start_soon(told, speaker.drain)
            nursery.start_soon(told, speaker.follow, audio)
            await wait_all_tasks_blocked()
            audio._feed(sound(1))
            await wait_all_tasks_blocked()
            await trio.to_thread.run_sync(sounddevice.stream.unplug)
        assert [] == audio.on_flush
        await told(speaker.play, sound(1))
        await told(speaker.drain)


async def test_a_speaker_that_asks_for_nothing(sounddevice, mock_clock) -> None:
    """It is found to be gone by whoever waits for room."""
    async with opened() as speaker:
        await speaker.play(sound(130))
        sounddevice.stream.sound(BLOCK)
        await wait_all_tasks_blocked()
        mock_clock.autojump_threshold = 0
        began = trio.current_time()
        with pytest.raises(DeviceError, match="it has said nothing for 2 s"):
            await speaker.play(sound(1))
        assert SILENT_SECONDS == trio.current_time() - began
        mock_clock.autojump_threshold = float("inf")


async def test_a_closed_speaker(sounddevice) -> None:
    """Plays nothing."""
    async with opened() as speaker:
        pass
    for step in (lambda: speaker.play(sound(1)), speaker.drain):
        with pytest.raises(trio.ClosedResourceError):
            await step()


@pytest.mark.parametrize(
    "options",
    [
        {"sample_rate": 0},
        {"num_channels": -1},
        {"buffer_seconds": 0},
        {"latency": 0},
    ],
)
async def test_what_can_not_be(options, sounddevice) -> None:
    """Is refused before anything is opened."""
    with pytest.raises(ValueError, match="positive"):
        async with open_speaker(**options):
            raise AssertionError
    assert [] == sounddevice.streams
