"""What is before the sound of a WAV file: true, wrong and missing."""

import io
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_pipecat import WavError
from trio_pipecat.audio import AudioChunk, strip_wav_header
from trio_pipecat.audio._encodings import Encoding
from trio_pipecat.audio._wav_header import HeaderReader, WavHeader

GUID = bytes.fromhex("000000001000800000aa00389b71")
PCM = b"\x01\x00\x02\x00\x03\x00\x04\x00"


def chunk_of(name: bytes, body: bytes, order: str = "<", size: int | None = None) -> bytes:
    """Return a chunk of a RIFF file, padded."""
    length = len(body) if size is None else size
    return name + struct.pack(f"{order}I", length) + body + b"\0" * (len(body) % 2)


def format_of(
    codec: int = 1,
    channels: int = 1,
    rate: int = 16_000,
    bits: int = 16,
    *,
    order: str = "<",
    align: int | None = None,
    byte_rate: int | None = None,
    extensible: bool = False,
    guid: bytes = b"",
) -> bytes:
    """Return a ``fmt `` chunk; what is not said is right."""
    frame = (bits + 7) // 8 * channels if align is None else align
    per_second = rate * frame if byte_rate is None else byte_rate
    tag = 0xFFFE if extensible else codec
    body = struct.pack(f"{order}HHIIHH", tag, channels, rate, per_second % 2**32, frame, bits)
    if extensible:
        middle = struct.pack(f"{order}IHH", codec, 0, 16)
        body += struct.pack(f"{order}HHI", 22, bits, 0) + (guid or middle + GUID[6:])
    return chunk_of(b"fmt ", body, order)


def wav_of(*chunks: bytes, magic: bytes = b"RIFF", size: int | None = None) -> bytes:
    """Return a file of chunks."""
    body = b"WAVE" + b"".join(chunks)
    order = ">" if magic == b"RIFX" else "<"
    return magic + struct.pack(f"{order}I", len(body) if size is None else size) + body


def read(data: bytes, size: int | None = -1) -> tuple[WavHeader, bytes]:
    """Return a file's header and sound. Its size is known if nothing else is said."""
    source = io.BytesIO(data)
    header = HeaderReader(source, "x.wav", len(data) if size == -1 else size).read()
    return header, source.read(header.size)


DATA = chunk_of(b"data", PCM)


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(("magic", "order"), [(b"RIFF", "<"), (b"RIFX", ">")])
@pytest.mark.parametrize(
    ("codec", "bits", "kind", "width"),
    [
        (1, 8, "integer", 1),
        (1, 16, "integer", 2),
        (1, 20, "integer", 3),
        (1, 24, "integer", 3),
        (1, 32, "integer", 4),
        (3, 32, "float", 4),
        (3, 64, "float", 8),
        (6, 8, "A-law", 1),
        (7, 8, "mu-law", 1),
    ],
)
def test_every_format_is_known(
    codec: int, bits: int, kind: Any, width: int, magic: bytes, order: str, extensible: bool
) -> None:
    """In either order of bytes, extensible or not."""
    fmt = format_of(codec, 2, 44_100, bits, order=order, extensible=extensible)
    header, sound = read(wav_of(fmt, chunk_of(b"data", PCM, order), magic=magic))
    big = magic == b"RIFX" and kind in ("integer", "float")
    assert WavHeader(Encoding(kind, width, big), 44_100, 2, 8) == header
    assert PCM == sound


def test_the_codec_of_a_big_endian_extensible_file_is_written_in_two_ways() -> None:
    """All of its GUID turned round, or, as sox does it, the codec alone."""
    fmt = format_of(bits=24, order=">", extensible=True, guid=b"\x00\x01" + GUID)
    header, _ = read(wav_of(fmt, chunk_of(b"data", PCM, ">"), magic=b"RIFX"))
    assert Encoding("integer", 3, True) == header.encoding


@pytest.mark.parametrize(
    "data",
    [
        wav_of(chunk_of(b"JUNK", b"abc"), chunk_of(b"LIST", b"x" * 70_001), format_of(), DATA),
        wav_of(format_of(), chunk_of(b"fact", b"\x04\0\0\0"), DATA, chunk_of(b"LIST", b"after")),
        wav_of(format_of(), DATA, size=0),
        wav_of(format_of(), DATA, size=0xFFFF_FFFF),
        wav_of(format_of(), chunk_of(b"data", PCM, size=0), size=36),
        wav_of(format_of(), chunk_of(b"data", PCM, size=0), size=0),
        wav_of(format_of(), chunk_of(b"data", PCM, size=0xFFFF_FFFF)),
        wav_of(format_of(), chunk_of(b"data", PCM, size=0x7FFF_FF00)),
        wav_of(format_of(), chunk_of(b"data", PCM, size=9)),
        wav_of(format_of(align=7, byte_rate=32_000), DATA),
        wav_of(format_of(align=0, byte_rate=0), DATA),
        wav_of(format_of(byte_rate=123), DATA),
    ],
    ids=range(12),
)
def test_what_can_be_told_is_read(data: bytes) -> None:
    """Chunks that are not sound, sizes that are unknown or too large, one wrong of two."""
    header, sound = read(data)
    assert (16_000, 1, PCM) == (header.sample_rate, header.num_channels, sound)


def test_an_empty_sound_is_not_what_follows() -> None:
    """A size of 0 in a file that is whole means 0."""
    header, sound = read(wav_of(format_of(), chunk_of(b"data", b""), chunk_of(b"LIST", b"Hello!")))
    assert (0, b"") == (header.size, sound)


@pytest.mark.parametrize(("said", "size"), [(0, None), (0xFFFF_FFFF, None), (6, 6)])
def test_a_pipe_is_read_as_far_as_it_says(said: int, size: int | None) -> None:
    """Or to its end, if it does not."""
    header, _ = read(wav_of(format_of(), chunk_of(b"data", PCM, size=said)), size=None)
    assert size == header.size


@pytest.mark.parametrize(
    ("data", "offset", "detail"),
    [
        (b"", 0, "the file is empty"),
        (b"RI", 0, "not a WAV file: it begins with b'RI', not with b'RIFF'"),
        (b"ID3\x04" + bytes(20), 0, "not a WAV file: it begins with b'ID3\\x04'"),
        (b"RIFF\0\0", 6, "the file ends within its first header"),
        (b"RIFF\0\0\0\0AVI " + bytes(9), 8, "RIFF of the kind b'AVI ', not b'WAVE'"),
        (wav_of(DATA, magic=b"RF64"), 0, "an RF64 file (WAV of more than 4 GB) can't be read"),
        (wav_of(), 12, "the file ends before its format ('fmt ' chunk)"),
        (wav_of(format_of()), 36, "the file ends before its sound ('data' chunk)"),
        (wav_of(format_of(), b"data\0"), 36, "the file ends before its sound ('data' chunk)"),
        (wav_of(chunk_of(b"JUNK", b"", size=2**32 - 1)), 20, "ends before its format"),
        (wav_of(DATA, format_of()), 12, "the sound ('data' chunk) is before its format"),
        (wav_of(chunk_of(b"fmt ", bytes(14)), DATA), 20, "of 14 bytes; the shortest has 16"),
        (wav_of(b"fmt \x10\0\0\0\1\0"), 20, "of 2 bytes; the shortest has 16"),
        (wav_of(format_of(channels=0), DATA), 22, "the number of channels is 0"),
        (wav_of(format_of(rate=0), DATA), 24, "the sample rate is 0"),
        (wav_of(format_of(align=6), DATA), 32, "a frame has 6 bytes, and 1 channel(s) of 16 bits"),
        (wav_of(format_of(bits=24, align=4), DATA), 32, "a frame has 4 bytes"),
        (wav_of(format_of(bits=0), DATA), 34, "integer samples of 0 bits can't be read"),
        (wav_of(format_of(bits=33), DATA), 34, "integer samples of 33 bits can't be read"),
        (wav_of(format_of(3, bits=16), DATA), 34, "float samples of 16 bits can't be read"),
        (wav_of(format_of(6, bits=16), DATA), 34, "A-law samples of 16 bits can't be read"),
        (wav_of(format_of(7, bits=4), DATA), 34, "mu-law samples of 4 bits can't be read"),
        (
            wav_of(format_of(2, bits=4), DATA),
            20,
            "the codec 0x0002 (Microsoft ADPCM) can't be read",
        ),
        (wav_of(format_of(0x55, bits=0), DATA), 20, "the codec 0x0055 (MP3) can't be read"),
        (wav_of(format_of(0x1234), DATA), 20, "the codec 0x1234 can't be read"),
        (wav_of(format_of(0x11, extensible=True), DATA), 44, "the codec 0x0011 (IMA ADPCM)"),
        (wav_of(format_of(extensible=True, guid=b"?" * 16), DATA), 44, "an unknown codec (3f3f"),
        (wav_of(format_of(0xFFFE), DATA), 20, "an extensible format of 16 bytes"),
    ],
)
def test_what_cannot_be_told_is_an_error(data: bytes, offset: int, detail: str) -> None:
    """It names the file, the byte, and what is wrong there."""
    with pytest.raises(WavError) as caught:
        read(data)
    assert ("x.wav", offset) == (caught.value.path, caught.value.offset)
    assert detail in caught.value.detail
    assert str(caught.value).startswith(f"x.wav, byte {offset}: ")


class Counting(io.BytesIO):
    """Knows the most that was asked for at once."""

    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        self.most = max(self.most, size)
        return super().read(size)


BEGINNINGS = [b"", b"RIFF\xff\xff\xff\xffWAVE", b"RIFX\0\0\0\0WAVE", wav_of(format_of())]
BEGINNINGS += [wav_of(format_of(extensible=True))[:-16], wav_of(b"fmt \xff\xff\xff\xff")]


@given(st.sampled_from(BEGINNINGS), st.binary(max_size=100), st.booleans())
def test_garbage_is_an_error_or_sound(begin: bytes, rest: bytes, known: bool) -> None:
    """Never another error, and no room is made for what is not there."""
    source = Counting(begin + rest)
    size = len(begin + rest) if known else None
    try:
        header = HeaderReader(source, "x.wav", size).read()
    except WavError as error:
        assert 0 <= error.offset <= len(begin + rest)  # noqa: PT017
    else:
        assert header.frame > 0 < header.sample_rate
    assert source.most <= 65_536


# -- at the beginning of a chunk -------------------------------------------------------------------


def test_sound_without_a_header_is_itself() -> None:
    """Even if it begins as if it had one."""
    for pcm in (b"", b"RIFF", b"RIFF\0\0\0\0WAV", b"RIFF" + bytes(40), bytes(640)):
        chunk = AudioChunk(pcm, 24_000, at=1.0)
        assert chunk is strip_wav_header(chunk)


def test_the_header_knows_best() -> None:
    """Its rate and channels are what the sound was made with."""
    chunk = AudioChunk(wav_of(format_of(channels=2, rate=8_000), DATA), 24_000, 1, at=1.0)
    found = strip_wav_header(chunk)
    assert (AudioChunk(PCM, 8_000, 2), 1.0) == (found, found.at)


@pytest.mark.parametrize("said", [0, 0xFFFF_FFFF, 1_000_000])
def test_the_header_of_a_whole_stream_is_taken_off_its_first_chunk(said: int) -> None:
    """It says more than there is, or nothing; half a frame is left for what follows."""
    pcm = wav_of(format_of(), chunk_of(b"data", PCM + b"x", size=said)[:-1], size=said)
    assert AudioChunk(PCM + b"x", 16_000) == strip_wav_header(AudioChunk(pcm, 16_000))


def test_a_header_alone_is_no_sound() -> None:
    """Nothing is left of it."""
    pcm = wav_of(format_of(), chunk_of(b"data", b""))
    assert AudioChunk(b"", 16_000) == strip_wav_header(AudioChunk(pcm, 16_000))


def test_other_encodings_become_pcm() -> None:
    """Floats, of which the last is not whole, in a chunk."""
    floats = struct.pack("<2f", 0.5, -1) + b"xy"
    pcm = wav_of(format_of(3, bits=32), chunk_of(b"data", floats))
    expected = AudioChunk(struct.pack("<2h", 16_384, -32_768), 16_000)
    assert expected == strip_wav_header(AudioChunk(pcm, 16_000))


def test_a_header_that_cannot_be_read_is_an_error() -> None:
    """It is not played as if it were sound."""
    with pytest.raises(WavError, match=r"a chunk of sound, byte 24: the sample rate is 0"):
        strip_wav_header(AudioChunk(wav_of(format_of(rate=0), DATA), 16_000))
