"""The kit for transports: ours pass it, and each broken one fails by the rule that it breaks."""

import contextlib
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

import trio_pipecat as tp
from trio_pipecat._codec import decode_event
from trio_pipecat.audio import AudioChunk
from trio_pipecat.testing import check_transport, virtual_network
from trio_pipecat.testing._webrtc_bot import WebRtcBotTransport
from trio_pipecat.transports import (
    Incoming,
    LinkEnd,
    LinkOptions,
    MemoryTransport,
    Transport,
    memory_transport_pair,
)
from trio_pipecat.transports._loop_thread import open_loop_thread
from trio_pipecat.transports._signalling import Answer, Signalling, largest_message
from trio_pipecat.transports._smallwebrtc import open_smallwebrtc
from trio_pipecat.transports._websocket import open_websocket
from trio_pipecat.transports._websocket_server import accept_websocket
from trio_pipecat.transports._wires import JsonWire, Wire

Pair = tuple[Transport, Transport]


class ClientsJsonWire:
    """The client's side of the JSON wire, as far as it goes."""

    def message(self, text: str) -> str:
        return text

    def audio(self, chunk: AudioChunk) -> None:
        return None

    def interruption(self) -> None:
        return None

    def decode(self, data: str | bytes, *, at: float) -> Incoming:
        assert isinstance(data, str)
        event = decode_event(data, at=at)
        if isinstance(event, tp.EvalBotAudio):
            return AudioChunk(event.audio, event.sample_rate, 1, at)
        return data


@asynccontextmanager
async def memory_link() -> AsyncGenerator[Pair, None]:
    client, bot = memory_transport_pair()
    yield client, bot
    await client.abort("left")


@asynccontextmanager
async def websocket_link(
    server_tls: ssl.SSLContext | None = None,
    client_tls: ssl.SSLContext | None = None,
    client_wire: Wire | None = None,
    bot_wire: Wire | None = None,
) -> AsyncGenerator[Pair, None]:
    """A WebSocket on loopback, or on whatever trio takes for it."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    accepted, left = trio.Event(), trio.Event()
    bot: Transport | None = None

    async def serve() -> None:
        nonlocal bot
        stream: trio.abc.Stream = await listener.accept()
        if server_tls is not None:
            stream = trio.SSLStream(stream, server_tls, server_side=True, https_compatible=True)
        async with accept_websocket(stream, LinkOptions(), bot_wire) as bot:
            accepted.set()
            await left.wait()

    port = listener.socket.getsockname()[1]
    url = f"{'ws' if server_tls is None else 'wss'}://127.0.0.1:{port}/ws-client"
    params = tp.ConnectParams(transport="websocket", ws_url=url)
    options = LinkOptions(ssl_context=client_tls)
    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        async with open_websocket(params, options, client_wire) as client:
            await accepted.wait()
            assert bot is not None
            yield client, bot
        left.set()


# -- ours ----------------------------------------------------------------------------------------


async def test_memory_in_virtual_time(autojump_clock: Any) -> None:
    """The link in memory keeps every rule."""
    await check_transport(memory_link)


async def test_memory_in_real_time() -> None:
    """And takes no time for it."""
    await check_transport(memory_link, patience=30)


@pytest.mark.socket
async def test_websocket_on_loopback() -> None:
    """The WebSocket keeps every rule, on real sockets."""
    await check_transport(websocket_link, patience=30)


@pytest.mark.socket
async def test_websocket_with_tls(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    """TLS changes nothing."""
    await check_transport(lambda: websocket_link(server_tls, client_tls), patience=30)


async def test_websocket_in_virtual_time(autojump_clock: Any) -> None:
    """Nor does a network in memory, and leaving closes every socket."""
    with virtual_network() as network:
        await check_transport(websocket_link)
        assert 0 == network.open_sockets


async def test_json_wire(autojump_clock: Any) -> None:
    """The JSON wire keeps what it claims: sound goes to the client only, and in mono."""

    def maker() -> Any:
        return websocket_link(client_wire=ClientsJsonWire(), bot_wire=JsonWire(sends_audio=True))

    with virtual_network():
        await check_transport(maker, without=["audio to the bot", "stereo"])


@asynccontextmanager
async def webrtc_link() -> AsyncGenerator[Pair, None]:
    """A peer connection on loopback: its offer and answer need no server here."""

    options = LinkOptions(ping_timeout=1.5)
    async with open_loop_thread() as loop:
        bot = WebRtcBotTransport(loop, options)

        class InProcess(Signalling):
            async def offer(self, sdp: str, **kind: Any) -> Answer:
                answer = await bot.answer(sdp)
                return Answer(sdp=answer, pc_id="it", max_message_size=largest_message(answer))

        params = tp.ConnectParams(transport="webrtc", webrtc_url="http://127.0.0.1/api/offer")
        try:
            async with open_smallwebrtc(params, options, InProcess) as client:
                await bot.wait_open()
                yield client, bot
        finally:
            await bot.aclose()


@pytest.mark.socket
@pytest.mark.timeout(240)
async def test_webrtc_on_loopback() -> None:
    """WebRTC keeps what it claims: sound is lossy, in mono, and comes whether it is read or not."""
    without = ["exact audio", "stereo", "backpressure", "reasons"]
    await check_transport(webrtc_link, patience=30, without=without)


# -- broken ones ---------------------------------------------------------------------------------


class Faulty(Transport):
    """Passes everything on to a link that works; its kin do one thing wrong."""

    def __init__(self, inner: MemoryTransport) -> None:
        self.inner = inner
        self.max_message_size = inner.max_message_size

    @property
    def end(self) -> LinkEnd | None:
        return self.inner.end

    async def receive(self) -> Incoming:
        return await self.inner.receive()

    async def send_message(self, text: str) -> None:
        await self.inner.send_message(text)

    async def send_audio(self, chunk: AudioChunk) -> None:
        await self.inner.send_audio(chunk)

    async def aclose(self, code: int = 1000, text: str = "") -> None:
        await self.inner.aclose(code, text)

    async def abort(self, detail: str) -> None:
        await self.inner.abort(detail)


class DropsWhatIsUnreadAtTheEnd(Faulty):
    async def receive(self) -> Incoming:
        if self.end is not None:
            raise trio.EndOfChannel
        return await self.inner.receive()


class ForgetsTheFormat(Faulty):
    async def receive(self) -> Incoming:
        item = await self.inner.receive()
        return AudioChunk(item.pcm, 16_000) if isinstance(item, AudioChunk) else item


class DoesNotStampAudio(Faulty):
    async def receive(self) -> Incoming:
        item = await self.inner.receive()
        return attrs.evolve(item, at=None) if isinstance(item, AudioChunk) else item


class ReceivesWithoutACheckpoint(Faulty):
    async def receive(self) -> Incoming:
        with contextlib.suppress(IndexError):
            return self.inner._inbox.popleft()
        return await self.inner.receive()


class LosesWhatACancelledReceiveHad(Faulty):
    async def receive(self) -> Incoming:
        item = await self.inner.receive()
        await trio.lowlevel.checkpoint()
        return item


class GoesOnAfterHandingOver(Faulty):
    async def send_message(self, text: str) -> None:
        await self.inner.send_message(text)
        await trio.lowlevel.checkpoint()


class NeverMakesASenderWait(Faulty):
    async def send_message(self, text: str) -> None:
        await trio.lowlevel.checkpoint()
        if self.end is not None:
            raise trio.ClosedResourceError
        self.inner._other._inbox.append(text)
        self.inner._other._wake()

    async def send_audio(self, chunk: AudioChunk) -> None:
        await trio.lowlevel.checkpoint()
        if self.end is not None:
            raise trio.ClosedResourceError
        self.inner._other._inbox.append(attrs.evolve(chunk, at=trio.current_time()))
        self.inner._other._wake()


class OneLockForAll(Faulty):
    def __init__(self, inner: MemoryTransport) -> None:
        super().__init__(inner)
        self._lock = trio.Lock()

    async def receive(self) -> Incoming:
        while self.end is None and not self.inner._inbox:
            await trio.sleep(0.01)
        async with self._lock:
            return await self.inner.receive()

    async def send_message(self, text: str) -> None:
        async with self._lock:
            await self.inner.send_message(text)


class DoesNotSayWhoWasFirst(Faulty):
    @property
    def end(self) -> LinkEnd | None:
        end = self.inner.end
        return None if end is None else attrs.evolve(end, first="network")


class KeepsTheReasonToItself(Faulty):
    async def aclose(self, code: int = 1000, text: str = "") -> None:
        await self.inner.aclose()


class EndsAgainAndAgain(Faulty):
    def __init__(self, inner: MemoryTransport) -> None:
        super().__init__(inner)
        self._again = 0

    @property
    def end(self) -> LinkEnd | None:
        end = self.inner.end
        return end and attrs.evolve(end, detail="again" * self._again)

    async def aclose(self, code: int = 1000, text: str = "") -> None:
        self._again += self.end is not None
        await self.inner.aclose(code, text)


class LeavesReadersWaiting(Faulty):
    async def receive(self) -> Incoming:
        try:
            return await self.inner.receive()
        except trio.EndOfChannel:
            await trio.sleep_forever()
            raise


class StaysOpenWhenCancelled(Faulty):
    async def aclose(self, code: int = 1000, text: str = "") -> None:
        await trio.lowlevel.checkpoint()
        await self.inner.aclose(code, text)


class AbortsPolitely(Faulty):
    async def abort(self, detail: str) -> None:
        await self.inner.aclose()


class ReceivesNoneAfterTheEnd(Faulty):
    def __init__(self, inner: MemoryTransport) -> None:
        super().__init__(inner)
        self._told = False

    async def receive(self) -> Incoming:
        try:
            return await self.inner.receive()
        except trio.EndOfChannel:
            if self._told:
                return ""
            self._told = True
            raise


class TakesWhatIsTooLate(Faulty):
    async def send_message(self, text: str) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            await self.inner.send_message(text)


class CutsLargeMessages(Faulty):
    async def send_message(self, text: str) -> None:
        await self.inner.send_message(text[: 2**16])


class RaisesSomethingElse(Faulty):
    async def send_interruption(self) -> None:
        raise NotImplementedError


class LeavesATask(Faulty):
    def __init__(self, inner: MemoryTransport) -> None:
        super().__init__(inner)
        trio.lowlevel.spawn_system_task(trio.sleep, 3600, name="a task of mine")


@asynccontextmanager
async def faulty_link(kind: type[Faulty]) -> AsyncGenerator[Pair, None]:
    client, bot = memory_transport_pair()
    yield kind(client), kind(bot)
    client.vanish()


@asynccontextmanager
async def endless_link() -> AsyncGenerator[Pair, None]:
    yield memory_transport_pair()


SAID = {
    DropsWhatIsUnreadAtTheEnd: "What is sent arrives|Everything that was sent before a goodbye",
    ForgetsTheFormat: "audio keeps its format",
    DoesNotStampAudio: "says when it came",
    ReceivesWithoutACheckpoint: "Receiving can be cancelled each time",
    LosesWhatACancelledReceiveHad: "A receive that is cancelled loses nothing",
    GoesOnAfterHandingOver: "A send that is cancelled has sent nothing",
    NeverMakesASenderWait: "A sender waits when nobody reads",
    OneLockForAll: "keeps nobody from reading",
    DoesNotSayWhoWasFirst: "who was first",
    KeepsTheReasonToItself: "with its code and text",
    EndsAgainAndAgain: "it changes nothing",
    LeavesReadersWaiting: "not over within",
    StaysOpenWhenCancelled: "A goodbye that is cancelled closes",
    AbortsPolitely: "After abort there was no goodbye|told when the link breaks",
    ReceivesNoneAfterTheEnd: "After the end receiving raises",
    TakesWhatIsTooLate: "told when the link breaks|After the end sending raises",
    CutsLargeMessages: "A message of max_message_size|A sender waits",
    RaisesSomethingElse: "An interruption arrives .*NotImplementedError",
    LeavesATask: "left tasks behind: a task of mine",
}


@pytest.mark.parametrize("kind", SAID, ids=lambda kind: kind.__name__)
async def test_a_broken_transport_fails(kind: type[Faulty], autojump_clock: Any) -> None:
    """By the rule that it breaks."""
    with pytest.raises(AssertionError, match=SAID[kind]):
        await check_transport(lambda: faulty_link(kind), patience=5)


class AudioOnly(Faulty):
    speaks_rtvi = False

    async def send_message(self, text: str) -> None:
        raise AssertionError("this wire has no messages")


async def test_a_wire_without_messages_is_spared_their_rules(autojump_clock: Any) -> None:
    """It is checked with audio alone, and one with audio in neither direction without."""
    await check_transport(lambda: faulty_link(AudioOnly))
    nothing = ("audio to the bot", "audio to the client")
    await check_transport(lambda: faulty_link(AudioOnly), without=nothing)


async def test_a_transport_may_do_without(autojump_clock: Any) -> None:
    """What it does not claim is not asked of it."""
    await check_transport(lambda: faulty_link(NeverMakesASenderWait), without=["backpressure"])
    await check_transport(lambda: faulty_link(KeepsTheReasonToItself), without=["reasons"])


async def test_what_it_does_without_has_a_name() -> None:
    """Another one is refused."""
    with pytest.raises(tp.InvalidParamsError, match="bananas; there is audio to the bot"):
        await check_transport(memory_link, without=["bananas"])  # type: ignore[list-item]


async def test_a_link_that_does_not_end_fails(autojump_clock: Any) -> None:
    """Leaving the maker's context is the end of the link."""
    with pytest.raises(AssertionError, match="has no end after its context was left"):
        await check_transport(endless_link)


async def test_a_link_that_can_not_be_made_fails(autojump_clock: Any) -> None:
    """With what went wrong."""

    @asynccontextmanager
    async def maker() -> AsyncGenerator[Pair, None]:
        raise OSError("no such device")
        yield

    with pytest.raises(AssertionError, match="OSError: no such device") as failed:
        await check_transport(maker)
    assert isinstance(failed.value.__cause__, OSError)
