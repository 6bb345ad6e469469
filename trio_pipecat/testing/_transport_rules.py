"""The rules of a transport, each as a check of two ends that are joined.

A rule is an async function of `Ends`. `RULES` lists them all, with the sentence that its failure is
told by.
"""

import math
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import attrs
import trio

from .._errors import UnsupportedFeatureError
from ..audio import AudioChunk
from ..transports import Incoming, Interruption, Transport
from ._transport_ends import (
    Ends,
    Flood,
    all_wait,
    cancel_after,
    ended,
    frequency,
    goodbye_and_read,
    read_as_much,
    read_to_end,
    same,
    send_sound,
    short,
    sine,
)

#: The tone by which sound is known again: in Hz, in samples a second, and how much of it.
_TONE_HERTZ: Final = 440
_TONE_RATE: Final = 16_000
_TONE_SECONDS: Final = 0.4
_TONE_PEAK: Final = 0.5
#: How many steps into a call it is cancelled, one after the other, and how often each.
_STEPS: Final = 10
_TRIES: Final = 3
#: Among so many items that are received one after the other, other tasks have their turn.
_MANY: Final = 32

Check: TypeAlias = Callable[[Ends], Awaitable[None]]


@attrs.frozen
class Rule:
    """One rule: what it says, and how it is checked."""

    sentence: str
    check: Check
    needs_backpressure: bool
    #: Is it about sound that need not be exact?
    hears: bool

    def applies_to(self, ends: Ends) -> bool:
        """Has the end anything that the rule is about?"""
        if self.needs_backpressure and "backpressure" in ends.without:
            return False
        return ends.messages or ends.sound


RULES: Final[list[Rule]] = []


def _rule(
    sentence: str, *, needs_backpressure: bool = False, hears: bool = False
) -> Callable[[Check], Check]:
    def add(check: Check) -> Check:
        RULES.append(Rule(sentence, check, needs_backpressure, hears))
        return check

    return add


@_rule("What is sent arrives, whole and in order, and audio keeps its format")
async def _arrives(ends: Ends) -> None:
    assert (ends.ours.end, ends.theirs.end) == (None, None), "an open link has an end"
    items = ends.items(40)
    received: list[Incoming] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.send_all, items)
        await read_as_much(ends.theirs, items, received)
    same(items, received + await goodbye_and_read(ends))


@_rule("Both ends may send at once")
async def _both_ways(ends: Ends) -> None:
    other = ends.turned()
    items, others = ends.items(20), other.items(20) if other.messages or other.audio else []
    received: list[Incoming] = []
    others_received: list[Incoming] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.send_all, items)
        nursery.start_soon(other.send_all, others)
        nursery.start_soon(read_as_much, ends.theirs, items, received)
        nursery.start_soon(read_as_much, ends.ours, others, others_received)
    same(items, received)
    same(others, others_received)


@_rule("Many tasks may send at once, and each item arrives whole")
async def _many_senders(ends: Ends) -> None:
    sent = [ends.item(number, 1000) for number in range(20)]
    received: list[Incoming] = []
    async with trio.open_nursery() as nursery:
        for item in sent:
            nursery.start_soon(ends.send, item)
        await read_as_much(ends.theirs, sent, received)
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
        await all_wait()
        await read_to_end(ends.theirs, received)
    same(items, received)
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
    same(messages, received)


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
        await read_as_much(ends.theirs, chunks, received)
    same(chunks, received)
    for item in received:
        if isinstance(item, AudioChunk):
            assert item.at is not None, "received audio does not say when it came"
            assert began <= item.at <= trio.current_time(), f"audio came at {item.at}"


@_rule("A tone that is sent is the tone that is heard", hears=True)
async def _tone(ends: Ends) -> None:
    if not ends.sound:
        return
    tone = AudioChunk(sine(_TONE_HERTZ, 1.0, _TONE_RATE), _TONE_RATE)
    heard: list[AudioChunk] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_sound, ends.ours, tone)
        while sum(chunk.duration for chunk in heard) < _TONE_SECONDS:
            item = await ends.theirs.receive()
            if isinstance(item, AudioChunk) and item.with_channels(1).peak > _TONE_PEAK / 4:
                heard.append(item.with_channels(1))
        nursery.cancel_scope.cancel()
    (rate,) = {chunk.sample_rate for chunk in heard}
    hertz = frequency(b"".join(chunk.pcm for chunk in heard), rate)
    told = f"{_TONE_HERTZ} Hz was sent, {hertz:.0f} Hz was heard"
    assert abs(hertz - _TONE_HERTZ) < _TONE_HERTZ / 20, told


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
    same([*expected, ends.item(1)], await goodbye_and_read(ends))


# -- receiving -----------------------------------------------------------------------------------


@_rule("Receiving can be cancelled each time, and others have their turn meanwhile")
async def _receive_is_a_checkpoint(ends: Ends) -> None:
    items = ends.items(2 * _MANY)
    received: list[Incoming] = []
    turns = 0

    async def have_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.send_all, items)
        await all_wait()
        nursery.start_soon(have_turns)
        while len(received) < _MANY:
            with trio.CancelScope() as scope:
                scope.cancel()
                await ends.theirs.receive()
            assert scope.cancelled_caught, "a receive that was cancelled before has returned"
            received.append(await ends.theirs.receive())
        assert turns >= 2, f"{_MANY} items were received, and others had no turn"
        await read_as_much(ends.theirs, items, received)
        nursery.cancel_scope.cancel()
    same(items, received)


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
                await all_wait()
            await ends.send(item)
            nursery.start_soon(cancel_after, scope, number // _TRIES)
    with trio.CancelScope() as at_once:
        at_once.cancel()
        received.append(await ends.theirs.receive())
    same(items, received + await goodbye_and_read(ends))


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
                nursery.start_soon(cancel_after, scope, number // _TRIES)
    last = ends.item(2_000)
    await ends.send(last)
    same([*sent, last], await goodbye_and_read(ends))


@_rule(
    "A sender waits when nobody reads, and cancelling it there sends nothing",
    needs_backpressure=True,
)
async def _check_backpressure(ends: Ends) -> None:
    flood = Flood(ends)
    received: list[Incoming] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood.run)
        await flood.wait_stuck()
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_to_end, ends.theirs, received)
        await ends.send(ends.item(1))
        await ends.ours.aclose()
    same([*flood.sent, ends.item(1)], received)


@_rule("A sender that waits keeps nobody from reading", needs_backpressure=True)
async def _waiting_sender_and_reader(ends: Ends) -> None:
    flood, other = Flood(ends), ends.turned()
    items = other.items(10) if other.messages or other.audio else []
    received: list[Incoming] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood.run)
        await flood.wait_stuck()
        await other.send_all(items)
        await read_as_much(ends.ours, items, received)
        nursery.cancel_scope.cancel()
    same(items, received)


@_rule("A sender that waits goes on when there is room", needs_backpressure=True)
async def _waiting_sender_goes_on(ends: Ends) -> None:
    flood = Flood(ends)
    received: list[Incoming] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood.run)
        await flood.wait_stuck()
        stuck_at = len(flood.sent)
        while len(flood.sent) < stuck_at + 20:
            received.append(await ends.theirs.receive())
        nursery.cancel_scope.cancel()
    same(flood.sent, received + await goodbye_and_read(ends))


@_rule("A sender that waits is told when the link breaks", needs_backpressure=True)
async def _waiting_sender_is_told(ends: Ends) -> None:
    flood = Flood(ends)
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
        nursery.start_soon(read_to_end, ends.theirs, received)
        await ends.ours.aclose(1001, "going")
    for link in (ends.ours, ends.theirs):
        end = ended(link)
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
            raise AssertionError(f"{short(item)} came from nowhere")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive, ends.ours)
        nursery.start_soon(receive, ends.theirs)
        await all_wait()
        await ends.ours.aclose()
    assert len(woken) == 2


@_rule("A goodbye may be said again, by both; it changes nothing")
async def _goodbye_again(ends: Ends) -> None:
    await goodbye_and_read(ends)
    ours, theirs = ended(ends.ours), ended(ends.theirs)
    for link in (ends.ours, ends.theirs, ends.ours):
        await link.aclose(1011, "again")
    assert (ours, theirs) == (ends.ours.end, ends.theirs.end), "the end has changed"


@_rule("Both ends may say goodbye at once")
async def _goodbyes_cross(ends: Ends) -> None:
    async with trio.open_nursery() as nursery:
        for link in (ends.ours, ends.theirs):
            nursery.start_soon(read_to_end, link, [])
            nursery.start_soon(link.aclose)
    for link in (ends.ours, ends.theirs):
        assert ended(link).orderly, f"{link!r} ended with {link.end}"


@_rule("A goodbye that is cancelled closes all the same")
async def _cancelled_goodbye(ends: Ends) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await ends.ours.aclose()
    await read_to_end(ends.ours, [])
    await read_to_end(ends.theirs, [])
    for link in (ends.ours, ends.theirs):
        ended(link)


@_rule("After abort there was no goodbye: neither end is orderly, and ours says why")
async def _check_abort(ends: Ends) -> None:
    await ends.ours.abort("checking")
    await read_to_end(ends.ours, [])
    await read_to_end(ends.theirs, [])
    for link in (ends.ours, ends.theirs):
        assert not ended(link).orderly, f"{link!r} ended with {link.end}"
    assert "checking" in ended(ends.ours).detail, f"the detail is {ended(ends.ours).detail!r}"
    assert ended(ends.theirs).first != ("bot" if ends.our_side == "client" else "client")


@_rule("abort wakes a receive that waits, at both ends")
async def _abort_wakes(ends: Ends) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_to_end, ends.ours, [])
        nursery.start_soon(read_to_end, ends.theirs, [])
        await all_wait()
        await ends.ours.abort("checking")


@_rule("After the end receiving raises EndOfChannel, always, and the end stays what it is")
async def _receiving_after_the_end(ends: Ends) -> None:
    await goodbye_and_read(ends)
    for link in (ends.ours, ends.theirs):
        end = ended(link)
        for _ in range(3):
            try:
                item = await link.receive()
            except trio.EndOfChannel:
                pass
            else:
                raise AssertionError(f"{short(item)} was received after the end")
            assert link.end == end, f"{end} became {link.end}"


@_rule("After the end sending raises BrokenResourceError or ClosedResourceError, at both ends")
async def _sending_after_the_end(ends: Ends) -> None:
    await goodbye_and_read(ends)
    for side in (ends, ends.turned()):
        if not (side.messages or side.audio):
            continue
        for number in range(4):
            try:
                await side.send(side.item(number))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            else:
                raise AssertionError(f"{side.ours!r} took {short(side.item(number))}")


@_rule("A link on which nothing is said stays open")
async def _silence(ends: Ends) -> None:
    received: list[Incoming] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_to_end, ends.theirs, received)
        nursery.start_soon(read_to_end, ends.ours, [])
        deadline = trio.current_effective_deadline()
        if deadline < math.inf:
            await trio.sleep(min(0.2, (deadline - trio.current_time()) / 2))
        await ends.send(ends.item(0))
        await ends.ours.aclose()
    same([ends.item(0)], received)
