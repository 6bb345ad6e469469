"""What can be streamed as the user's voice, made into one thing: short pieces of mono PCM."""

import os
from collections.abc import AsyncIterable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, Self, TypeAlias, cast, final

import trio

from ._align import FrameAligner
from ._chunk import AudioChunk, check_format
from ._items import END, AwaitedItems, Items, ItemsAtHand, ItemsInThread, ItemsReadAhead
from ._pcm import SAMPLE_WIDTH, mix_down, pcm_of, samples_of
from ._resample import MAX_RATE, MIN_RATE, Engine, Resampler, load_engine
from ._wav import WavReader
from ._wav_header import strip_wav_header

#: Something that sounds: a WAV file by its path, sound, or many pieces of sound. Bytes are PCM.
AudioSource: TypeAlias = (
    str
    | os.PathLike[str]
    | AudioChunk
    | bytes
    | bytearray
    | memoryview
    | Iterable[AudioChunk | bytes]
    | AsyncIterable[AudioChunk | bytes]
)


class Piece(NamedTuple):
    """Mono PCM, and when the last of it was heard, on trio's clock; None: it was made, not heard.

    Of chunks that came at once, each was heard after the one before.
    """

    pcm: bytes | memoryview
    until: float | None


#: Chunks that come at least so steadily are heard one by one; a clock may be a little fast.
_STEADY: Final = 0.8
#: Conversion is done in pieces of so many seconds, so that nobody else has to wait for long.
_PIECE_SECONDS: Final = 0.2
#: So much of a file is read at once, in a thread: of most files, all, before the beat begins.
_BLOCK_BYTES: Final = 2 * 1024 * 1024
_NO_RATE: Final = "bytes are sound only with a sample_rate: give it, or AudioChunks"


def read_source(
    source: AudioSource, *, to_rate: int, sample_rate: int | None = None, num_channels: int = 1
) -> "SourceReader":
    """Return the sound of `source` as mono PCM of `to_rate`, in pieces of about 0.2 s at most.

    Close it, and the file or the async generator behind it is closed.

    Args:
        source: a path is that of a WAV file. An iterable is read ahead by a little; one that is no
            sequence may block, it is iterated over in a thread.
        to_rate: in Hz.
        sample_rate: of bytes; chunks and files know theirs.
        num_channels: of bytes.

    Raises:
        TypeError, ValueError: `source` can't be sound. At once; of what it holds, when it comes.
        WavError: a file is no WAV file, or none that can be read. When it is read.
        OSError: it can't be read.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        source = [bytes(source)]
        if sample_rate is None:
            raise ValueError(_NO_RATE)
    elif not isinstance(source, str | os.PathLike | AudioChunk | Iterable | AsyncIterable):
        raise TypeError(
            "what is streamed is a path, sound, or an iterable of sound, "
            f"not {type(source).__name__}"
        )
    if sample_rate is not None:
        check_format(b"", sample_rate, num_channels)
        Resampler(sample_rate, to_rate, engine="python")
    # What is made as it is sent can't wait for a tenth of a second of soxr's. Files are read in a
    # thread, which can import it: that takes as long.
    engine: Engine = "auto" if isinstance(source, str | os.PathLike) else "python"
    return SourceReader(_items_of(source), _Conversion(to_rate, sample_rate, num_channels, engine))


@final
class SourceReader:
    """The sound of a source, piece by piece. Made by `read_source`; close it."""

    def __init__(self, items: Items, conversion: "_Conversion") -> None:
        self._items = items
        self._conversion = conversion
        self._pieces: Iterator[Piece] = iter(())
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        while True:
            for piece in self._pieces:
                if piece.pcm:
                    return piece
            if self._is_over:
                raise StopAsyncIteration
            # What has no sound takes no time to say, and nobody waits for it, however much it is.
            await trio.lowlevel.checkpoint()
            item = await self._items.next()
            self._is_over = item is END
            self._pieces = (
                iter([self._conversion.flush()]) if self._is_over else self._conversion.feed(item)
            )

    async def aclose(self) -> None:
        """Read no more: close the file, or the generator, that is behind it."""
        self._is_over, self._pieces = True, iter(())
        await self._items.aclose()


def _items_of(source: Any) -> Items:
    if isinstance(source, AudioChunk):
        return ItemsAtHand(iter([source]))
    if isinstance(source, str | os.PathLike):
        # A file may be a pipe, and block.
        return ItemsReadAhead(ItemsInThread(_blocks(cast("str | os.PathLike[str]", source))))
    if isinstance(source, AsyncIterable):
        return AwaitedItems(source)
    if isinstance(source, Sequence):
        return ItemsAtHand(iter(source))
    return ItemsInThread(iter(source))


def _blocks(path: "str | os.PathLike[str]") -> Iterator[AudioChunk]:
    load_engine()
    with WavReader(path) as reader:
        rate = reader.sample_rate
        if not MIN_RATE <= rate <= MAX_RATE:
            raise ValueError(
                f"{os.fspath(path)}: a sample rate is from {MIN_RATE} to {MAX_RATE}, not {rate}"
            )
        frames = max(_BLOCK_BYTES // (SAMPLE_WIDTH * reader.num_channels), 1)
        if not os.path.isfile(path):  # noqa: PTH113  # a pipe, which may be as slow as speech
            frames = round(_PIECE_SECONDS * rate)
        while (block := reader.read(frames)).pcm:
            yield block


@final
class _Conversion:
    """Makes sound of any format into mono PCM of one rate."""

    def __init__(
        self, to_rate: int, sample_rate: int | None, num_channels: int, engine: Engine
    ) -> None:
        self._to_rate = to_rate
        self._engine: Engine = engine
        self._sample_rate = sample_rate
        self._num_channels = num_channels
        self._format: tuple[int, int] | None = None
        self._aligner = FrameAligner(1)
        self._resampler = Resampler(to_rate, to_rate)
        self._items = 0
        self._is_cut_file = False
        self._until: float | None = None
        #: A chunk that comes from then on is not of a burst with the one before.
        self._next_at = 0.0

    def feed(self, item: object) -> Iterator[Piece]:
        """Yield what comes of another item of the source, piece by piece."""
        self._items += 1
        chunk = self._chunk(item)
        format_ = (chunk.sample_rate, chunk.num_channels)
        if format_ != self._format:
            yield self.flush()
            self._format = format_
            self._aligner = FrameAligner(chunk.num_channels)
            self._resampler = Resampler(chunk.sample_rate, self._to_rate, engine=self._engine)
        pcm = self._aligner.feed(chunk.pcm)
        if chunk.at is not None:
            self._note_time(chunk.at, chunk.duration)
        step = round(_PIECE_SECONDS * chunk.sample_rate) * chunk.num_channels * SAMPLE_WIDTH
        is_as_wanted = format_ == (self._to_rate, 1)
        for start in range(0, len(pcm), step):
            part = memoryview(pcm)[start : start + step]
            if self._until is not None:
                self._until += len(part) / SAMPLE_WIDTH / chunk.num_channels / chunk.sample_rate
            # Of sound that is as it has to be nothing is copied before it is sent.
            yield Piece(part if is_as_wanted else self._convert(bytes(part)), self._until)

    def _convert(self, pcm: bytes) -> bytes:
        channels = 1 if self._format is None else self._format[1]
        if channels > 1:
            pcm = pcm_of(mix_down(samples_of(pcm), channels))
        return self._resampler.resample(pcm)

    def _note_time(self, at: float, duration: float) -> None:
        """A chunk was heard from `at` on, or came then, in a burst with others."""
        expected, self._next_at = self._next_at, at + _STEADY * duration
        if self._until is None or at >= min(expected, self._until):
            self._until = at

    def flush(self) -> Piece:
        """Return the rest."""
        return Piece(self._resampler.flush(), self._until)

    def _chunk(self, item: object) -> AudioChunk:
        if isinstance(item, AudioChunk):
            pcm: object = item.pcm
            if not isinstance(pcm, bytes | bytearray | memoryview):
                raise TypeError(
                    f"sound is bytes; in item {self._items} of the source it is of type "
                    f"{type(pcm).__name__}"
                )
            check_format(b"", item.sample_rate, item.num_channels)
            return AudioChunk(bytes(pcm), item.sample_rate, item.num_channels, item.at)
        if not isinstance(item, bytes | bytearray | memoryview):
            raise TypeError(
                f"a source of sound gives bytes or AudioChunks; its item {self._items} is "
                f"of type {type(item).__name__}"
            )
        if self._sample_rate is None:
            raise ValueError(_NO_RATE)
        chunk = AudioChunk(bytes(item), self._sample_rate, self._num_channels)
        if self._is_cut_file:
            raise ValueError("of a WAV file that is not 16-bit PCM, give the path or the whole")
        if self._items == 1:
            chunk = strip_wav_header(chunk)
            self._is_cut_file = chunk.pcm not in bytes(item)
            # The header of a file that comes in pieces is that of the others too.
            self._sample_rate, self._num_channels = chunk.sample_rate, chunk.num_channels
        return chunk
