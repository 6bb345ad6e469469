"""Two joined ends of a transport, and what may be done with them: for the rules.

Each helper says in an `AssertionError` what it missed.
"""

import itertools
import math
from array import array
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final, Literal, TypeAlias

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from .._codec import encode_command, encode_event
from .._messages import ClientMessage, ServerMessage
from .._state import Side
from ..audio import AudioChunk
from ..audio._pcm import pcm_of, samples_of
from ..transports import Incoming, LinkEnd, Transport

#: What a transport may do without.
TransportFeature: TypeAlias = Literal[
    "audio to the bot", "audio to the client", "exact audio", "stereo", "backpressure", "reasons"
]

#: How long everybody has to wait before all are taken to wait for good, in seconds of real time.
_CUSHION: Final = 0.01
#: How many items nobody reads a sender may send before there is no backpressure, and of what size.
_BACKLOG: Final = 2000
_BACKLOG_ITEM: Final = 16 * 1024


class Deaf(Transport):
    """A link without the sound that comes: where it is not exact there may be some at any time."""

    def __init__(self, link: Transport) -> None:
        self.link = link

    def __repr__(self) -> str:
        return repr(self.link)

    @property
    def max_message_size(self) -> int:  # type: ignore[override]  # it may change, as the link's
        """As the link's."""
        return self.link.max_message_size

    @property
    def end(self) -> LinkEnd | None:
        """As the link's."""
        return self.link.end

    async def receive(self) -> Incoming:
        """Return what is next and no sound."""
        while True:
            item = await self.link.receive()
            if not isinstance(item, AudioChunk):
                return item

    async def send_message(self, text: str) -> None:
        """Send it."""
        await self.link.send_message(text)

    async def send_audio(self, chunk: AudioChunk) -> None:
        """Send it."""
        await self.link.send_audio(chunk)

    async def send_interruption(self) -> None:
        """Send it, if there is such a thing."""
        await self.link.send_interruption()

    async def aclose(self, code: int = 1000, text: str = "") -> None:
        """Say goodbye."""
        await self.link.aclose(code, text)

    async def abort(self, detail: str) -> None:
        """Be gone."""
        await self.link.abort(detail)


@attrs.define
class Ends:
    """Two joined ends. `ours` is the one a rule is seen from."""

    client: Transport
    bot: Transport
    our_side: Side
    without: frozenset[TransportFeature]

    @property
    def ours(self) -> Transport:
        """The end that acts."""
        return self.client if self.our_side == "client" else self.bot

    @property
    def theirs(self) -> Transport:
        """The end that sees what comes of it."""
        return self.bot if self.our_side == "client" else self.client

    @property
    def messages(self) -> bool:
        """Can we send messages?"""
        return self.ours.speaks_rtvi

    @property
    def sound(self) -> bool:
        """Can we send audio, in whatever way it arrives?"""
        other = "bot" if self.our_side == "client" else "client"
        return f"audio to the {other}" not in self.without

    @property
    def audio(self) -> bool:
        """Can we send audio that arrives as it was, and only then?"""
        return self.sound and "exact audio" not in self.without

    @property
    def stereo(self) -> bool:
        """Are there two channels?"""
        return "stereo" not in self.without

    def turned(self) -> "Ends":
        """Return these ends, seen from the other."""
        other: Side = "bot" if self.our_side == "client" else "client"
        return attrs.evolve(self, our_side=other)

    def message(self, number: int, size: int = 0) -> str:
        """Return a message of ours that no other equals, of at least `size` bytes."""
        if self.our_side == "client":
            return encode_command(ClientMessage(t="check", d="x" * size), str(number))
        return encode_event(ServerMessage(data={"n": number, "x": "é✓" + "x" * size}))

    def chunk(self, number: int, size: int = 0) -> AudioChunk:
        """Return some audio of ours that no other equals."""
        rate = (8_000, 16_000, 24_000, 48_000)[number % 4] if not size else 16_000
        channels = 2 if self.stereo and number % 3 == 2 else 1
        pcm = number.to_bytes(4, "little") * (2 + number % 7) + b"\1\2\3\4" * (size // 4)
        return AudioChunk(pcm, rate, channels)

    def item(self, number: int, size: int = 0) -> str | AudioChunk:
        """Return the item of a number: messages and audio by turns, if there are both."""
        if self.messages and (number % 2 == 0 or not self.audio):
            return self.message(number, size)
        return self.chunk(number, size)

    def items(self, count: int) -> list[str | AudioChunk]:
        """Return that many items, each of its own."""
        return [self.item(number) for number in range(count)]

    async def send(self, item: str | AudioChunk) -> None:
        """Send an item from our end."""
        if isinstance(item, str):
            await self.ours.send_message(item)
        else:
            await self.ours.send_audio(item)

    async def send_all(self, items: Iterable[str | AudioChunk]) -> None:
        """Send items from our end, one after the other."""
        for item in items:
            await self.send(item)


async def all_wait() -> None:
    """Wait until everybody else waits. On a busy machine that is a guess, on the lenient side."""
    await wait_all_tasks_blocked(_CUSHION)


async def cancel_after(scope: trio.CancelScope, steps: int) -> None:
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def read_to_end(link: Transport, items: list[Incoming]) -> None:
    with suppress(trio.EndOfChannel):
        while True:
            items.append(await link.receive())


async def read_as_much(
    link: Transport, expected: Sequence[Incoming], items: list[Incoming]
) -> None:
    """Read until there is as much as was sent."""
    while _weight(items) < _weight(expected):
        items.append(await link.receive())


async def goodbye_and_read(ends: Ends) -> list[Incoming]:
    """Have our end say goodbye, and return what the other has received up to its end."""
    items: list[Incoming] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_to_end, ends.ours, [])
        nursery.start_soon(read_to_end, ends.theirs, items)
        await ends.ours.aclose()
    return items


def sine(hertz: float, seconds: float, rate: int) -> bytes:
    """Return a tone of half the full amplitude."""
    turn = 2 * math.pi * hertz / rate
    samples = (round(16_383 * math.sin(turn * number)) for number in range(round(seconds * rate)))
    return pcm_of(array("h", samples))


def frequency(pcm: bytes, rate: int) -> float:
    """Return how often a second mono sound goes up through zero."""
    samples = samples_of(pcm)
    ups = sum(one < 0 <= other for one, other in itertools.pairwise(samples))
    return ups * rate / max(len(samples), 1)


async def send_sound(link: Transport, chunk: AudioChunk) -> None:
    """Send sound in pieces of 20 ms, as fast as they are taken."""
    for piece in chunk.split(chunk.sample_rate // 50 * 2):
        await link.send_audio(piece)


def _merged(items: Iterable[Incoming]) -> list[Incoming]:
    """Join neighbouring audio of one format: it may come in other pieces. Drop what is empty."""
    merged: list[Incoming] = []
    for item in items:
        last = merged[-1] if merged else None
        if not isinstance(item, AudioChunk):
            merged.append(item)
        elif isinstance(last, AudioChunk) and _format(last) == _format(item):
            merged[-1] = AudioChunk(last.pcm + item.pcm, *_format(item))
        elif item.pcm:
            merged.append(AudioChunk(item.pcm, *_format(item)))
    return merged


def _format(chunk: AudioChunk) -> tuple[int, int]:
    return chunk.sample_rate, chunk.num_channels


def _weight(items: Iterable[Incoming]) -> int:
    """Return how much items come to, whatever pieces their audio is in."""
    return sum(len(item.pcm) if isinstance(item, AudioChunk) else 1 for item in items)


def same(expected: Sequence[Incoming], received: Sequence[Incoming]) -> None:
    """Assert that what arrived is what was sent."""
    ours, theirs = _merged(expected), _merged(received)
    for number, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        assert one == other, f"item {number}: {short(one)} was sent, {short(other)} arrived"
    assert len(ours) == len(theirs), f"{len(ours)} items were sent, {len(theirs)} arrived"


def short(item: Incoming) -> str:
    text = repr(item)
    return text if len(text) < 100 else f"{text[:100]}…"


def ended(link: Transport) -> LinkEnd:
    end = link.end
    assert end is not None, f"{link!r} has no end"
    return end


@attrs.define
class Flood:
    """A sender that nobody reads. `sent` is what was handed over."""

    ends: Ends
    sent: list[str | AudioChunk] = attrs.field(factory=list)
    over: bool = False

    async def run(self) -> None:
        """Send until it is cancelled."""
        for number in range(_BACKLOG):
            item = self.ends.item(number, _BACKLOG_ITEM)
            await self.ends.send(item)
            self.sent.append(item)
        self.over = True

    async def wait_stuck(self) -> None:
        """Wait until no more is taken."""
        before = -1
        while before != len(self.sent):
            before = len(self.sent)
            await all_wait()
        size = _BACKLOG * _BACKLOG_ITEM // 2**20
        assert not self.over, f"{_BACKLOG} items, {size} MiB, were taken and nobody reads"
