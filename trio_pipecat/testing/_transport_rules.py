"""The rules of a transport, each as a check of two ends that are joined.

A rule is an async function of `Ends`. `RULES` lists them all, with the sentence that its failure is
told by.
"""

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final, Literal, TypeAlias

import attrs
import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from .._codec import encode_command, encode_event
from .._errors import UnsupportedFeatureError
from .._messages import ClientMessage, ServerMessage
from .._state import Side
from ..audio import AudioChunk
from ..transports import Incoming, Interruption, LinkEnd, Transport

#: What a transport may do without.
TransportFeature: TypeAlias = Literal[
    "audio to the bot", "audio to the client", "stereo", "backpressure", "reasons"
]

#: How long everybody has to wait before all are taken to wait for good, in seconds of real time.
_CUSHION: Final = 0.01
#: How many items nobody reads a sender may send before there is no backpressure, and of what size.
_BACKLOG: Final = 2000
_BACKLOG_ITEM: Final = 16 * 1024
#: How many steps into a call it is cancelled, one after the other, and how often each.
_STEPS: Final = 10
_TRIES: Final = 3


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
    def audio(self) -> bool:
        """Can we send audio?"""
        other = "bot" if self.our_side == "client" else "client"
        return f"audio to the {other}" not in self.without

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


Check: TypeAlias = Callable[[Ends], Awaitable[None]]


@attrs.frozen
class Rule:
    """One rule: what it says, and how it is checked."""

    sentence: str
    check: Check
    needs_backpressure: bool

    def applies_to(self, ends: Ends) -> bool:
        """Has the end anything that the rule is about?"""
        if self.needs_backpressure and "backpressure" in ends.without:
            return False
        return ends.messages or ends.audio


RULES: Final[list[Rule]] = []


def _rule(sentence: str, *, needs_backpressure: bool = False) -> Callable[[Check], Check]:
    def add(check: Check) -> Check:
        RULES.append(Rule(sentence, check, needs_backpressure))
        return check

    return add


# -- helpers -------------------------------------------------------------------------------------


async def _all_wait() -> None:
    """Wait until everybody else waits. On a busy machine that is a guess, on the lenient side."""
    await wait_all_tasks_blocked(_CUSHION)


async def _cancel_after(scope: trio.CancelScope, steps: int) -> None:
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def _read_to_end(link: Transport, items: list[Incoming]) -> None:
    with suppress(trio.EndOfChannel):
        while True:
            items.append(await link.receive())


async def _read_as_much(
    link: Transport, expected: Sequence[Incoming], items: list[Incoming]
) -> None:
    """Read until there is as much as was sent."""
    while _weight(items) < _weight(expected):
        items.append(await link.receive())


async def _goodbye_and_read(ends: Ends) -> list[Incoming]:
    """Have our end say goodbye, and return what the other has received up to its end."""
    items: list[Incoming] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_read_to_end, ends.ours, [])
        nursery.start_soon(_read_to_end, ends.theirs, items)
        await ends.ours.aclose()
    return items


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


def _same(expected: Sequence[Incoming], received: Sequence[Incoming]) -> None:
    """Assert that what arrived is what was sent."""
    ours, theirs = _merged(expected), _merged(received)
    for number, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        assert one == other, f"item {number}: {_short(one)} was sent, {_short(other)} arrived"
    assert len(ours) == len(theirs), f"{len(ours)} items were sent, {len(theirs)} arrived"


def _short(item: Incoming) -> str:
    text = repr(item)
    return text if len(text) < 100 else f"{text[:100]}…"


def _ended(link: Transport) -> LinkEnd:
    end = link.end
    assert end is not None, f"{link!r} has no end"
    return end


@attrs.define
class _Flood:
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
            await _all_wait()
        size = _BACKLOG * _BACKLOG_ITEM // 2**20
        assert not self.over, f"{_BACKLOG} items, {size} MiB, were taken and nobody reads"


# -- what arrives --------------------------------------------------------------------------------


@_rule("What is sent arrives, whole and in order, and audio keeps its format")
async def _arrives(ends: Ends) -> None:
    assert (ends.ours.end, ends.theirs.end) == (None, None), "an open link has an end"
    items = ends.items(40)
    received: list[Incoming] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.send_all, items)
        await _read_as_much(ends.theirs, items, received)
    _same(items, received + await _goodbye_and_read(ends))


@_rule("Both ends may send at once")
async def _both_ways(ends: Ends) -> None:
    other = ends.turned()
    items, others = ends.items(20), other.items(20) if other.messages or other.audio else []
    received: list[Incoming] = []
    others_received: list[Incoming] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.send_all, items)
        nursery.start_soon(other.send_all, others)
        nursery.start_soon(_read_as_much, ends.theirs, items, received)
        nursery.start_soon(_read_as_much, ends.ours, others, others_received)
    _same(items, received)
    _same(others, others_received)


@_rule("Many tasks may send at once, and each item arrives whole")
async def _many_senders(ends: Ends) -> None:
    sent = [ends.item(number, 1000) for number in range(20)]
    received: list[Incoming] = []
    async with trio.open_nursery() as nursery:
        for item in sent:
            nursery.start_soon(ends.send, item)
        await _read_as_much(ends.theirs, sent, received)
    texts = [item for item in received if isinstance(item, str)]
    sound = b"".join(item.pcm for item in received if isinstance(item, AudioChunk))
    assert sorted(texts) == sorted(item for item in sent if isinstance(item, str))
    for item in sent:
        if isinstance(item, AudioChunk):
            assert item.pcm in sound, f"{item} arrived torn or not at all"


@_rule("Everything that was sent before a goodbye arrives before the end")
async def _before_the_end(ends: Ends) -> None:
    items = ends.items(20)
    await ends.send_all(items)
    received: list[Incoming] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.ours.aclose)
        await _all_wait()
        await _read_to_end(ends.theirs, received)
    _same(items, received)
    assert ends.theirs.end is not None, "the end is not told with the last item"


@_rule("A message of max_message_size bytes goes through")
async def _largest_message(ends: Ends) -> None:
    if not ends.messages:
        return
    room = ends.ours.max_message_size - len(ends.message(0).encode())
    messages = [ends.message(0, room), ends.message(1)]
    assert len(messages[0].encode()) == ends.ours.max_message_size
    received: list[Incoming] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.send_all, messages)
        while len(received) < len(messages):
            received.append(await ends.theirs.receive())
    _same(messages, received)


@_rule("Audio goes through in any shape: long, short, stereo, empty; and says when it came")
async def _shapes(ends: Ends) -> None:
    if not ends.audio:
        return
    chunks = [
        AudioChunk(bytes(range(256)) * 375, 24_000),  # two seconds, as a bot says goodbye
        AudioChunk(b"\1\2", 16_000),
        AudioChunk(b"", 16_000),
        AudioChunk(b"\3\4" * 320, 16_000),
    ]
    if ends.stereo:
        chunks[2:2] = [AudioChunk(b"\1\2\3\4" * 480, 48_000, 2)]
    began = trio.current_time()
    received: list[Incoming] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.send_all, chunks)
        await _read_as_much(ends.theirs, chunks, received)
    _same(chunks, received)
    for item in received:
        if isinstance(item, AudioChunk):
            assert item.at is not None, "received audio does not say when it came"
            assert began <= item.at <= trio.current_time(), f"audio came at {item.at}"


@_rule("An interruption arrives as Interruption, or is refused with UnsupportedFeatureError")
async def _interruption(ends: Ends) -> None:
    expected: list[Incoming] = [ends.item(0)]
    await ends.send(ends.item(0))
    try:
        await ends.ours.send_interruption()
    except UnsupportedFeatureError:
        pass
    else:
        expected.append(Interruption())
    await ends.send(ends.item(1))
    _same([*expected, ends.item(1)], await _goodbye_and_read(ends))


# -- receiving -----------------------------------------------------------------------------------


@_rule("Receiving is a checkpoint each time")
async def _receive_is_a_checkpoint(ends: Ends) -> None:
    await ends.send_all(ends.items(2))
    await _all_wait()
    for _ in range(2):
        with assert_checkpoints():
            await ends.theirs.receive()


@_rule("A receive that is cancelled loses nothing, and may be called again")
async def _cancelled_receive(ends: Ends) -> None:
    received: list[Incoming] = []

    async def receive(scope: trio.CancelScope) -> None:
        with scope:
            received.append(await ends.theirs.receive())

    items = ends.items(_STEPS * _TRIES)
    for number, item in enumerate(items):
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()
            nursery.start_soon(receive, scope)
            if number % _TRIES:
                await _all_wait()
            await ends.send(item)
            nursery.start_soon(_cancel_after, scope, number // _TRIES)
    with trio.CancelScope() as at_once:
        at_once.cancel()
        received.append(await ends.theirs.receive())
    _same(items, received + await _goodbye_and_read(ends))


# -- sending -------------------------------------------------------------------------------------


@_rule("A send that is cancelled has sent nothing; one that has handed over returns in that step")
async def _cancelled_send(ends: Ends) -> None:
    sent: list[str | AudioChunk] = []

    async def send(item: str | AudioChunk, scope: trio.CancelScope) -> None:
        with scope:
            await ends.send(item)
            sent.append(item)

    with trio.CancelScope() as at_once:
        at_once.cancel()
        await ends.send(ends.item(1_000))
        sent.append(ends.item(1_000))
    for number in range(_STEPS * _TRIES):
        # As many of each kind at each step.
        for item in (ends.item(2 * number), ends.item(2 * number + 1)):
            async with trio.open_nursery() as nursery:
                scope = trio.CancelScope()
                nursery.start_soon(send, item, scope)
                nursery.start_soon(_cancel_after, scope, number // _TRIES)
    last = ends.item(2_000)
    await ends.send(last)
    _same([*sent, last], await _goodbye_and_read(ends))


@_rule(
    "A sender waits when nobody reads, and cancelling it there sends nothing",
    needs_backpressure=True,
)
async def _check_backpressure(ends: Ends) -> None:
    flood = _Flood(ends)
    received: list[Incoming] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood.run)
        await flood.wait_stuck()
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_read_to_end, ends.theirs, received)
        await ends.send(ends.item(1))
        await ends.ours.aclose()
    _same([*flood.sent, ends.item(1)], received)


@_rule("A sender that waits keeps nobody from reading", needs_backpressure=True)
async def _waiting_sender_and_reader(ends: Ends) -> None:
    flood, other = _Flood(ends), ends.turned()
    items = other.items(10) if other.messages or other.audio else []
    received: list[Incoming] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood.run)
        await flood.wait_stuck()
        await other.send_all(items)
        await _read_as_much(ends.ours, items, received)
        nursery.cancel_scope.cancel()
    _same(items, received)


@_rule("A sender that waits goes on when there is room", needs_backpressure=True)
async def _waiting_sender_goes_on(ends: Ends) -> None:
    flood = _Flood(ends)
    received: list[Incoming] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood.run)
        await flood.wait_stuck()
        stuck_at = len(flood.sent)
        while len(flood.sent) < stuck_at + 20:
            received.append(await ends.theirs.receive())
        nursery.cancel_scope.cancel()
    _same(flood.sent, received + await _goodbye_and_read(ends))


@_rule("A sender that waits is told when the link breaks", needs_backpressure=True)
async def _waiting_sender_is_told(ends: Ends) -> None:
    flood = _Flood(ends)
    told = False

    async def send() -> None:
        nonlocal told
        try:
            await flood.run()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            told = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await flood.wait_stuck()
        await ends.theirs.abort("checking")
    assert told, "it went on sending"


# -- the end -------------------------------------------------------------------------------------


@_rule("A goodbye is seen at both ends, with its code and text and who was first")
async def _check_goodbye(ends: Ends) -> None:
    received: list[Incoming] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_read_to_end, ends.theirs, received)
        await ends.ours.aclose(1001, "going")
    for link in (ends.ours, ends.theirs):
        end = _ended(link)
        assert end.orderly, f"{link!r} ended with {end}"
        assert end.first == ends.our_side, f"first was the {ends.our_side}, told: {end.first}"
        if "reasons" not in ends.without:
            told = (end.code, end.text)
            assert told == (1001, "going"), f"{told} was told, not (1001, 'going')"


@_rule("A goodbye wakes a receive that waits, at both ends")
async def _goodbye_wakes(ends: Ends) -> None:
    woken: list[Transport] = []

    async def receive(link: Transport) -> None:
        try:
            item = await link.receive()
        except trio.EndOfChannel:
            woken.append(link)
        else:
            raise AssertionError(f"{_short(item)} came from nowhere")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive, ends.ours)
        nursery.start_soon(receive, ends.theirs)
        await _all_wait()
        await ends.ours.aclose()
    assert len(woken) == 2


@_rule("A goodbye may be said again, by both; it changes nothing")
async def _goodbye_again(ends: Ends) -> None:
    await _goodbye_and_read(ends)
    ours, theirs = _ended(ends.ours), _ended(ends.theirs)
    for link in (ends.ours, ends.theirs, ends.ours):
        await link.aclose(1011, "again")
    assert (ours, theirs) == (ends.ours.end, ends.theirs.end), "the end has changed"


@_rule("Both ends may say goodbye at once")
async def _goodbyes_cross(ends: Ends) -> None:
    async with trio.open_nursery() as nursery:
        for link in (ends.ours, ends.theirs):
            nursery.start_soon(_read_to_end, link, [])
            nursery.start_soon(link.aclose)
    for link in (ends.ours, ends.theirs):
        assert _ended(link).orderly, f"{link!r} ended with {link.end}"


@_rule("A goodbye that is cancelled closes all the same")
async def _cancelled_goodbye(ends: Ends) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await ends.ours.aclose()
    await _read_to_end(ends.ours, [])
    await _read_to_end(ends.theirs, [])
    for link in (ends.ours, ends.theirs):
        _ended(link)


@_rule("After abort there was no goodbye: neither end is orderly, and ours says why")
async def _check_abort(ends: Ends) -> None:
    await ends.ours.abort("checking")
    await _read_to_end(ends.ours, [])
    await _read_to_end(ends.theirs, [])
    for link in (ends.ours, ends.theirs):
        assert not _ended(link).orderly, f"{link!r} ended with {link.end}"
    assert "checking" in _ended(ends.ours).detail, f"the detail is {_ended(ends.ours).detail!r}"
    assert _ended(ends.theirs).first != ("bot" if ends.our_side == "client" else "client")


@_rule("abort wakes a receive that waits, at both ends")
async def _abort_wakes(ends: Ends) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_read_to_end, ends.ours, [])
        nursery.start_soon(_read_to_end, ends.theirs, [])
        await _all_wait()
        await ends.ours.abort("checking")


@_rule("After the end receiving raises EndOfChannel, always, and the end stays what it is")
async def _receiving_after_the_end(ends: Ends) -> None:
    await _goodbye_and_read(ends)
    for link in (ends.ours, ends.theirs):
        end = _ended(link)
        for _ in range(3):
            try:
                item = await link.receive()
            except trio.EndOfChannel:
                pass
            else:
                raise AssertionError(f"{_short(item)} was received after the end")
            assert link.end == end, f"{end} became {link.end}"


@_rule("After the end sending raises BrokenResourceError or ClosedResourceError, at both ends")
async def _sending_after_the_end(ends: Ends) -> None:
    await _goodbye_and_read(ends)
    for side in (ends, ends.turned()):
        if not (side.messages or side.audio):
            continue
        for number in range(4):
            try:
                await side.send(side.item(number))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            else:
                raise AssertionError(f"{side.ours!r} took {_short(side.item(number))}")


@_rule("A link on which nothing is said stays open")
async def _silence(ends: Ends) -> None:
    received: list[Incoming] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_read_to_end, ends.theirs, received)
        nursery.start_soon(_read_to_end, ends.ours, [])
        deadline = trio.current_effective_deadline()
        if deadline < math.inf:
            await trio.sleep(min(0.2, (deadline - trio.current_time()) / 2))
        await ends.send(ends.item(0))
        await ends.ours.aclose()
    _same([ends.item(0)], received)
