"""The bot's voice on its way to its listeners."""

import pytest

from trio_pipecat._bot_audio import BotAudio
from trio_pipecat._streams import AudioStream, StreamOwner
from trio_pipecat.audio import AudioChunk


def hearing(errors: list[BaseException], *, readers: int = 1) -> tuple[BotAudio, list[AudioStream]]:
    """Return one with streams that are read."""
    audio = BotAudio(errors.append)
    audio.streams += [AudioStream(StreamOwner(), "a test's", 9) for _ in range(readers)]
    return audio, [*audio.streams]


async def test_a_format_is_new_once() -> None:
    """And again when it comes back."""
    audio, _ = hearing([])
    mono, stereo = AudioChunk(b"", 8_000), AudioChunk(b"", 8_000, 2)
    assert [True, False, True, True] == [
        audio.is_new_format(chunk) for chunk in (mono, mono, stereo, mono)
    ]


async def test_frames_are_put_together() -> None:
    """However they were cut; nothing is given out while there is none."""
    audio, (stream,) = hearing([])
    reader = aiter(stream)
    for byte in b"abcdef":
        chunk = AudioChunk(bytes([byte]), 8_000, at=1.5)
        audio.is_new_format(chunk)
        audio.receive(chunk)
    chunks = [await anext(reader) for _ in range(stream.unread)]
    assert [b"ab", b"cd", b"ef"] == [chunk.pcm for chunk in chunks]
    assert {1.5} == {chunk.at for chunk in chunks}


async def test_half_a_frame_does_not_outlive_an_interruption() -> None:
    """What comes then begins anew."""
    audio, (stream,) = hearing([])
    reader = aiter(stream)
    audio.is_new_format(AudioChunk(b"", 8_000))
    audio.receive(AudioChunk(b"xyz", 8_000))
    audio.interrupt()
    audio.receive(AudioChunk(b"ab", 8_000))
    assert b"ab" == (await anext(reader)).pcm
    assert 0 == stream.unread


async def test_what_a_listener_raises_is_told_and_the_others_are_flushed() -> None:
    """It is not ours."""
    errors: list[BaseException] = []
    audio, (one, other) = hearing(errors, readers=2)
    readers = [aiter(one), aiter(other)]
    one.on_flush.append(lambda: {}["mine"])
    audio.receive(AudioChunk(b"ab", 8_000))
    audio.interrupt()
    assert [0, 0] == [one.unread, other.unread]
    assert ["KeyError('mine')"] == list(map(repr, errors))
    del readers


@pytest.mark.parametrize("raised", [KeyError("mine"), SystemExit("mine")])
async def test_what_a_tap_raises_is_told_and_nobody_misses_anything(raised: BaseException) -> None:
    """Who reads the same stream, or another, hears it; one that closes its own harms nobody."""

    def fail(chunk: AudioChunk) -> None:
        raise raised

    errors: list[BaseException] = []
    audio, (one, other) = hearing(errors, readers=2)
    readers = [aiter(one), aiter(other)]
    third = AudioStream(StreamOwner(), "a third", 9)
    audio.streams.insert(1, third)
    with one.tap(fail), third.tap(lambda chunk: audio.streams.remove(third)):
        audio.receive(AudioChunk(b"ab", 8_000))
    assert [1, 1] == [one.unread, other.unread]
    assert [raised] == errors
    del readers


@pytest.mark.parametrize("stops", [True, False])
async def test_what_comes_of_an_interrupted_utterance_is_stale(stops: bool) -> None:
    """Until the bot says that it has stopped."""
    audio, (stream,) = hearing([])
    reader = aiter(stream)
    audio.note_speaking(is_speaking=True)
    audio.interrupt()
    if stops:
        audio.note_speaking(is_speaking=False)
    audio.receive(AudioChunk.silence(0.5, 8_000))
    assert (0 if stops else 0.5) == stream.stale_seconds
    del reader
