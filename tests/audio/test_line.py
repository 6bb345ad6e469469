"""A device in use: how it is opened, closed, and found to be gone."""

from contextlib import asynccontextmanager

import pytest
import trio
from fake_sounddevice import PortAudioError
from trio.testing import wait_all_tasks_blocked

from trio_pipecat import DeviceError
from trio_pipecat.audio import _line
from trio_pipecat.audio._line import SILENT_SECONDS, WAKING_SECONDS, Line, open_line


@asynccontextmanager
async def opened(on_block=lambda block, at: None, *, kind="microphone"):
    """A device in use for a block."""
    line = Line(kind, None, 16_000, 1)
    line.on_block = on_block
    async with open_line(line, block_seconds=0.02, latency=None):
        yield line


async def test_a_line_is_opened_and_closed(sounddevice) -> None:
    """The device runs for the block, and no longer."""
    async with opened() as line:
        stream = sounddevice.stream
        assert (True, False) == (stream.started, stream.closed)
        assert "microphone 'Desk Microphone': open, 16000 Hz, 1 channel(s)" == str(line)
    assert (True, True) == (stream.aborted, stream.closed)
    assert "microphone 'Desk Microphone': closed, 16000 Hz, 1 channel(s)" == str(line)
    with pytest.raises(trio.ClosedResourceError):
        line.check()
    await line.aclose()


async def test_before_it_is_open() -> None:
    """It is not known which device that will be."""
    assert "speaker: opening, 16000 Hz, 1 channel(s)" == str(Line("speaker", None, 16_000, 1))


async def test_it_says_what_it_came_to(sounddevice) -> None:
    """The device's rate, where that is not what was asked for."""
    sounddevice.rates, sounddevice.channels = [48_000], [2]
    async with opened() as line:
        assert (48_000, 2, 4) == (line.sample_rate, line.num_channels, line.frame_size)
        assert 0.5 == line.seconds(96_000)


async def test_the_format_is_known_before_the_first_block(sounddevice) -> None:
    """It may come while the device is being started."""
    sounddevice.rates = [48_000]
    sounddevice.at_start = lambda stream: stream.hear(bytes(640))
    rates = []
    line = Line("microphone", None, 16_000, 1)
    line.on_block = lambda block, at: rates.append(line.sample_rate)
    async with open_line(line, block_seconds=0.02, latency=None):
        assert [48_000] == rates


@pytest.mark.parametrize("step", ["open", "start"])
async def test_a_device_that_can_not_be_opened(step, sounddevice) -> None:
    """The error names it, and nothing stays open."""
    sounddevice.refusal, sounddevice.refused_at = PortAudioError("no"), step
    with pytest.raises(DeviceError, match="microphone 'Desk Microphone': no"):
        async with opened():
            raise AssertionError
    assert all(stream.closed for stream in sounddevice.streams)


async def test_blocks_have_trios_time(sounddevice, mock_clock) -> None:
    """Captured before they are there, or sounding later, by the delay of the device."""
    heard = []
    mock_clock.jump(50)
    async with opened(lambda block, at: heard.append(at)):
        now = trio.current_time()
        await trio.to_thread.run_sync(lambda: sounddevice.stream.hear(bytes(640), delay=0.25))
    async with opened(lambda block, at: heard.append(at), kind="speaker"):
        await trio.to_thread.run_sync(lambda: sounddevice.stream.sound(320, delay=0.25))
    assert [now - 0.25, now + 0.25] == heard


async def test_whoever_waits_is_woken(sounddevice) -> None:
    """By a block from another thread."""
    async with opened() as line, trio.open_nursery() as nursery:
        nursery.start_soon(line.moved)
        nursery.start_soon(line.moved)
        await wait_all_tasks_blocked()
        await trio.to_thread.run_sync(sounddevice.stream.hear, bytes(640))


async def test_sound_that_was_lost_is_counted(sounddevice) -> None:
    """PortAudio says so with the block that comes after it."""
    async with opened() as line:
        for lost in (True, False, True):
            sounddevice.stream.hear(bytes(640), lost=lost)
        assert 2 == line.losses


# -- how it ends -------------------------------------------------------------------------


async def test_a_device_that_is_unplugged(sounddevice) -> None:
    """Whoever waits is told, and whoever asks later."""
    async with opened() as line:
        async with trio.open_nursery() as nursery:

            async def wait():
                with pytest.raises(DeviceError, match="'Desk Microphone': it has stopped by itsel"):
                    await line.moved()

            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            await trio.to_thread.run_sync(sounddevice.stream.unplug)
        with pytest.raises(DeviceError):
            await line.moved()
        assert "ended" in str(line)


async def test_a_callback_that_fails(sounddevice) -> None:
    """Nothing goes through PortAudio; the stream ends, and the error is the cause of ours."""
    problem = ZeroDivisionError("in the callback")

    def fail(block, at):
        raise problem

    async with opened(fail) as line:
        await trio.to_thread.run_sync(sounddevice.stream.hear, bytes(640))
        assert sounddevice.stream.ended
        with pytest.raises(DeviceError, match="its callback failed: ZeroDivisionError") as raised:
            await line.moved()
        assert problem is raised.value.__cause__


@pytest.mark.parametrize(("blocks", "patience"), [(0, WAKING_SECONDS), (1, SILENT_SECONDS)])
async def test_a_device_that_falls_silent(blocks, patience, sounddevice, mock_clock) -> None:
    """It is gone too, though nobody said so. Before its first block it has more time."""
    async with opened() as line:
        for _ in range(blocks):
            sounddevice.stream.hear(bytes(640))
        await wait_all_tasks_blocked()
        mock_clock.autojump_threshold = 0
        began = trio.current_time()
        with pytest.raises(DeviceError, match=f"it has said nothing for {patience:g} s"):
            await line.moved()
        assert patience == trio.current_time() - began
        mock_clock.autojump_threshold = float("inf")


async def test_a_process_that_stood_still(sounddevice, mock_clock) -> None:
    """When all of it goes on, the device has a second to speak before it is thought to be gone."""
    async with opened() as line, trio.open_nursery() as nursery:
        nursery.start_soon(line.moved)
        await wait_all_tasks_blocked()
        mock_clock.jump(100)
        await wait_all_tasks_blocked()
        sounddevice.stream.hear(bytes(640))


async def test_a_device_that_speaks_while_nobody_could_hear_it(sounddevice, mock_clock) -> None:
    """What counts is that there was a block, not who was woken by it."""
    async with opened() as line, trio.open_nursery() as nursery:
        nursery.start_soon(line.moved)
        await wait_all_tasks_blocked()
        line._blocks += 1
        mock_clock.jump(WAKING_SECONDS / 2)


async def test_the_block_is_left_while_somebody_waits(sounddevice) -> None:
    """They are told that it is closed."""

    async def wait(line):
        with pytest.raises(trio.ClosedResourceError):
            await line.moved()

    async with trio.open_nursery() as nursery:
        async with opened() as line:
            nursery.start_soon(wait, line)
            await wait_all_tasks_blocked()


async def test_a_block_after_the_end(sounddevice, monkeypatch) -> None:
    """A device that does not close is told to stop, and nobody hears it."""
    heard = []
    async with opened(lambda block, at: heard.append(at)):
        stream = sounddevice.stream
    stream.ended = False
    stream.hear(bytes(640))
    assert ([], True) == (heard, stream.ended)


def test_a_block_after_the_end_of_trio(sounddevice) -> None:
    """There is nobody left to wake, and that is no error."""

    async def main():
        async with opened() as line:
            return line

    line = trio.run(main)
    line.closed = False
    stream = sounddevice.stream
    stream.ended = False
    stream.hear(bytes(640))
    assert not stream.ended
    stream.unplug()


# -- cancellation ------------------------------------------------------------------------


async def paused(sounddevice):
    """Wait until a thread stands still where it was told to."""
    assert await trio.to_thread.run_sync(sounddevice.paused.wait, 30)


@pytest.mark.parametrize("step", ["open", "start"])
async def test_cancelled_while_opening(step, sounddevice) -> None:
    """PortAudio can't be interrupted. When it is through, what it opened is closed."""
    sounddevice.pause_at = step
    bodies = []

    async def body():
        async with opened():
            bodies.append("entered")
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(body)
        await paused(sounddevice)
        nursery.cancel_scope.cancel()
        sounddevice.go_on.set()
    assert [True] == [stream.closed for stream in sounddevice.streams]
    assert bodies in ([], ["entered"])


async def test_cancelled_before(sounddevice) -> None:
    """Nothing is opened."""
    with trio.CancelScope() as scope:
        scope.cancel()
        async with opened():
            raise AssertionError
    assert [] == sounddevice.streams


async def test_cancelled_in_the_block(sounddevice) -> None:
    """The device is closed all the same."""
    with trio.CancelScope() as scope:
        async with opened():
            scope.cancel()
            await trio.sleep_forever()
    assert sounddevice.stream.closed


async def test_cancelled_while_waiting(sounddevice) -> None:
    """And whoever waits next is woken as ever."""
    async with opened() as line:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.moved)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.moved)
            await wait_all_tasks_blocked()
            sounddevice.stream.hear(bytes(640))


async def test_a_device_that_does_not_close(sounddevice, mock_clock) -> None:
    """Is left alone after a while, though cancelling does not shorten that."""
    sounddevice.pause_at = "abort"

    async def jump():
        with trio.CancelScope(shield=True):
            await paused(sounddevice)
            await wait_all_tasks_blocked()
            mock_clock.jump(_line._CLOSING_SECONDS)

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(jump)
            async with opened():
                scope.cancel()
    assert not sounddevice.stream.closed
    sounddevice.go_on.set()
