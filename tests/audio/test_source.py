"""What can be streamed, as short pieces of mono PCM."""

import os
import struct
import threading
from array import array
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import wait_all_tasks_blocked

from trio_pipecat.audio import AudioChunk, write_wav
from trio_pipecat.audio._pcm import pcm_of, samples_of
from trio_pipecat.audio._source import read_source

RATE = 16_000


def ramp(frames: int, channels: int = 1) -> bytes:
    """Return sound in which every sample can be told: the same in all channels."""
    return pcm_of(array("h", [n % 30_000 for n in range(frames) for _ in range(channels)]))


async def read(source: Any, **format_: int) -> bytes:
    """Return all that comes of a source at 16 kHz; and no piece is long."""
    async with aclosing(read_source(source, to_rate=RATE, **format_)) as pieces:
        found = [piece.pcm async for piece in pieces]
    assert all(len(piece) <= 2 * 4_800 for piece in found)
    return b"".join(found)


async def gives(*items: Any) -> AsyncIterator[Any]:
    """Yield items, with checkpoints in between."""
    for item in items:
        await trio.lowlevel.checkpoint()
        yield item


SOUND = ramp(10_000)


@pytest.mark.parametrize(
    "source",
    [
        SOUND,
        bytearray(SOUND),
        memoryview(SOUND),
        AudioChunk(SOUND, RATE),
        [SOUND[:4_000], SOUND[4_000:]],
        (AudioChunk(SOUND[:2], RATE), SOUND[2:]),
    ],
    ids=lambda source: type(source).__name__,
)
async def test_sound_at_the_right_rate_comes_as_it_is(source: Any) -> None:
    """Whatever holds it."""
    assert SOUND == await read(source, sample_rate=RATE)


async def test_iterables_of_both_kinds() -> None:
    """Cut anywhere, even in a sample."""
    pieces = [SOUND[:4_001], SOUND[4_001:4_002], SOUND[4_002:]]
    assert SOUND == await read(gives(*pieces), sample_rate=RATE)
    assert SOUND == await read(iter(pieces), sample_rate=RATE)


async def test_a_wav_file(tmp_path: Path) -> None:
    """By its path, as a string too; at its own rate."""
    path = tmp_path / "hello.wav"
    write_wav(path, AudioChunk(SOUND, RATE))
    assert SOUND == await read(path) == await read(str(path))
    write_wav(path, AudioChunk(ramp(48_000, 2), 48_000, 2))
    assert 2 * RATE == len(await read(path))


async def test_a_long_file_is_read_in_blocks(tmp_path: Path) -> None:
    """All of it."""
    path = tmp_path / "long.wav"
    write_wav(path, AudioChunk(ramp(RATE * 9), RATE))
    assert ramp(RATE * 9) == await read(path)


async def test_channels_become_one() -> None:
    """Their mean."""
    assert SOUND == await read(AudioChunk(ramp(10_000, 2), RATE, 2))
    assert SOUND == await read(ramp(10_000, 3), sample_rate=RATE, num_channels=3)


async def test_rates_may_change_in_between() -> None:
    """Each stretch is as long as it was."""
    chunks = [AudioChunk(ramp(rate), rate) for rate in (8_000, 24_000, 16_000)]
    sound = samples_of(await read(gives(*chunks)))
    assert 3 * RATE == len(sound)
    assert ramp(16_000) == pcm_of(sound[-16_000:])


async def test_a_leading_wav_header_is_no_sound(tmp_path: Path) -> None:
    """Bytes of a whole file are what the file says."""
    path = tmp_path / "hello.wav"
    write_wav(path, AudioChunk(SOUND, RATE))
    assert SOUND == await read(path.read_bytes(), sample_rate=8_000)
    assert SOUND == await read(
        [path.read_bytes()[:1_000], path.read_bytes()[1_000:]], sample_rate=24_000
    )


@pytest.mark.parametrize("source", [5, None, object()])
def test_what_is_no_source_is_refused_at_once(source: Any) -> None:
    """With the names of what is one."""
    with pytest.raises(TypeError, match="path, sound, or an iterable of sound, not"):
        read_source(source, to_rate=RATE)


@pytest.mark.parametrize(
    ("source", "format_", "error", "text"),
    [
        (b"\0\0", {}, ValueError, "with a sample_rate"),
        (b"\0\0", {"sample_rate": 0}, ValueError, "positive"),
        (b"\0\0", {"sample_rate": "16k"}, TypeError, "integer"),
        (b"\0\0", {"sample_rate": RATE, "num_channels": 0}, ValueError, "positive"),
    ],
)
def test_bytes_without_a_format_are_refused_at_once(
    source: Any, format_: Any, error: type[Exception], text: str
) -> None:
    """Not when the first frame is due."""
    with pytest.raises(error, match=text):
        read_source(source, to_rate=RATE, **format_)


@pytest.mark.parametrize(
    ("chunk", "error", "text"),
    [
        (AudioChunk(array("h", [1, 2]), RATE), TypeError, "item 1 .* type array"),  # type: ignore[arg-type]
        (AudioChunk("loud", RATE), TypeError, "item 1 .* type str"),  # type: ignore[arg-type]
        (AudioChunk(SOUND, 0), ValueError, "sample rate is positive"),
        (AudioChunk(SOUND, 2**31), ValueError, "sample rate is from 1000"),
        (AudioChunk(SOUND, RATE, 0), ValueError, "number of channels is positive"),
        (AudioChunk(SOUND, RATE, 1.0), TypeError, "number of channels is an integer"),  # type: ignore[arg-type]
    ],
)
async def test_a_chunk_that_cannot_be_is_refused(
    chunk: AudioChunk, error: type[Exception], text: str
) -> None:
    """It is a value, and holds what it was made of."""
    with pytest.raises(error, match=text):
        await read([chunk])


async def test_numbers_are_sound_once_they_are_bytes() -> None:
    """A view of them has other lengths than its bytes."""
    numbers = array("h", SOUND)
    chunk = AudioChunk(memoryview(numbers), RATE)  # type: ignore[arg-type]
    assert SOUND == await read([chunk])


async def test_nothing_for_ever_can_be_cancelled() -> None:
    """Items without sound are no reason to keep everybody else from running."""

    class Endless(list[bytes]):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield b""

    with trio.move_on_after(0.01) as scope:
        await read(Endless(), sample_rate=RATE)
    assert scope.cancelled_caught


async def test_an_item_that_is_no_sound_is_named() -> None:
    """By its place."""
    with pytest.raises(TypeError, match="its item 2 is of type str"):
        await read([SOUND, "hello"], sample_rate=RATE)
    with pytest.raises(ValueError, match="with a sample_rate"):
        await read([SOUND])


async def test_an_empty_source_has_no_sound() -> None:
    """And no error."""
    assert b"" == await read([]) == await read(gives()) == await read(b"", sample_rate=RATE)


async def test_a_file_that_is_not_there() -> None:
    """Is the system's error."""
    with pytest.raises(FileNotFoundError):
        await read("no such file.wav")


async def test_what_a_source_raises_comes_out() -> None:
    """As it is."""

    def failing() -> Iterator[bytes]:
        yield SOUND
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        await read(failing(), sample_rate=RATE)


async def test_an_iterator_may_block() -> None:
    """Nobody else has to wait for it."""
    go_on = threading.Event()
    threads = []

    def blocking() -> Iterator[bytes]:
        threads.append(threading.current_thread())
        go_on.wait()
        yield SOUND

    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def set_soon() -> None:
            await trio.lowlevel.checkpoint()
            go_on.set()

        assert SOUND == await read(blocking(), sample_rate=RATE)
    assert threading.main_thread() not in threads


async def test_cancelling_does_not_wait_for_a_thread_that_blocks() -> None:
    """It is left to itself."""
    go_on = threading.Event()

    def blocking() -> Iterator[bytes]:
        go_on.wait()
        yield SOUND

    try:
        with trio.move_on_after(0.01) as scope:
            await read(blocking(), sample_rate=RATE)
        assert scope.cancelled_caught
    finally:
        go_on.set()


async def test_a_pipe_that_nobody_writes_to_can_be_left(tmp_path: Path) -> None:
    """And its file is closed when the thread gets away from it."""
    path = tmp_path / "pipe.wav"
    os.mkfifo(path)
    with trio.move_on_after(0.01) as scope:
        await read(path)
    assert scope.cancelled_caught
    # Only somebody who reads lets this one open it.
    await trio.to_thread.run_sync(lambda: open(path, "wb").close())


async def test_sources_that_block_leave_threads_to_others() -> None:
    """However many there are."""
    go_on = threading.Event()

    def blocking() -> Iterator[bytes]:
        go_on.wait()
        yield SOUND

    limiter = trio.to_thread.current_default_thread_limiter()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(partial(read, blocking(), sample_rate=RATE))
        await wait_all_tasks_blocked()
        assert 0 == limiter.borrowed_tokens
        go_on.set()


async def test_a_file_of_an_odd_rate_is_named(tmp_path: Path) -> None:
    """Its header may well lie."""
    path = tmp_path / "slow.wav"
    write_wav(path, AudioChunk(SOUND, 5))
    with pytest.raises(ValueError, match=r"slow.wav: a sample rate is from 1000 .* not 5"):
        await read(path)


async def test_generators_are_closed_with_the_reading() -> None:
    """Of both kinds; what is no generator is not touched."""
    closed = []

    def plain() -> Iterator[bytes]:
        try:
            yield SOUND
        finally:
            closed.append("plain")

    async def asynchronous() -> AsyncIterator[bytes]:
        try:
            yield SOUND
        finally:
            closed.append("async")

    for source in (plain(), asynchronous()):
        async with aclosing(read_source(source, to_rate=RATE, sample_rate=RATE)) as pieces:
            await anext(pieces)
            await anext(pieces)
    assert ["plain", "async"] == closed


async def test_live_sound_says_when_it_was_heard() -> None:
    """One chunk after the other, also of those that came at once; what was made does not say."""
    chunks = [AudioChunk(bytes(3_200), RATE, at=at) for at in (5.0, 5.0, 7.0)]
    async with aclosing(read_source(chunks, to_rate=RATE)) as pieces:
        until = [piece.until async for piece in pieces if piece.pcm]
    assert [5.1, 5.2, 7.1] == pytest.approx(until)
    async with aclosing(read_source(SOUND, to_rate=RATE, sample_rate=RATE)) as pieces:
        assert {None} == {piece.until async for piece in pieces}


async def test_pieces_of_a_file_that_is_not_16_bit_are_refused() -> None:
    """They would be noise; the whole of it is not."""
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        36 + 4_000,
        b"WAVE",
        b"fmt ",
        16,
        3,
        1,
        RATE,
        RATE * 4,
        4,
        32,
        b"data",
        4_000,
    )
    whole = header + struct.pack("<1000f", *[0.25] * 1_000)
    assert struct.pack("<1000h", *[8_192] * 1_000) == await read(whole, sample_rate=RATE)
    with pytest.raises(ValueError, match="give the path or the whole"):
        await read([whole[:1_000], whole[1_000:]], sample_rate=RATE)


async def test_a_clock_that_is_fast_is_not_a_burst() -> None:
    """Each chunk was heard when it says, though a little before the one before is over."""
    chunks = [AudioChunk(bytes(640), RATE, at=5 + 0.0198 * number) for number in range(100)]
    async with aclosing(read_source(chunks, to_rate=RATE)) as pieces:
        until = [piece.until async for piece in pieces if piece.pcm]
    assert [5 + 0.0198 * number + 0.02 for number in range(100)] == pytest.approx(until)
