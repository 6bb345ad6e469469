"""Pipecat's SmallWebRTC: the link to a bot over WebRTC, with offers and answers over HTTP.

`open_smallwebrtc` is a `Connector`. Whatever waits for the network of the offers waits in trio, so
that cancelling it is trio's own cancelling; whatever belongs to the peer connection is asked of the
loop's thread. Each step of the opening has a name (`LinkOptions.on_stage`), and no deadline but the
caller's, except for what STUN and TURN servers may take: one that is dead costs `gather_timeout`,
and then we go without.
"""

import logging
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from socket import AF_INET
from typing import Any, Final, final

import attrs
import trio

from .._errors import TransportStartError
from .._ice import IceServer, read_ice_servers
from .._params import ConnectParams
from .._service import Services, open_services
from ._abc import LinkEnd, LinkOptions, Transport
from ._loop_thread import LoopThread, open_loop_thread
from ._rtc_peer import TRACKS, Peer
from ._signalling import Answer, Candidate, Signalling
from ._webrtc_link import WebRtcTransport

logger: Final = logging.getLogger("trio_pipecat")

#: How long a renegotiation that the bot has asked for may take, in seconds. It can do without.
_RENEGOTIATION_SECONDS: Final = 10
_RENEGOTIATION_PAUSE: Final = 1
#: How long it may take to have another peer carry the link, in seconds. It is a few steps.
_SETTLING_SECONDS: Final = 2
#: aiortc puts messages together in this much memory, so there are no larger ones, in bytes.
_MAX_MESSAGE: Final = 2**20
#: The URL of a STUN or TURN server; in the middle is its host.
_SERVER: Final = re.compile(r"(\w+:)([^:?]+)(.*)")
_MAX_MESSAGE_LINE: Final = re.compile(r"(?m)^a=max-message-size:\d+")


@final
class SmallWebRtcTransport(WebRtcTransport):
    """The client's end. Made by `open_smallwebrtc`."""

    def __init__(
        self,
        loop: LoopThread,
        signalling: Signalling,
        ice_servers: Sequence[IceServer],
        options: LinkOptions,
        services: Services,
    ) -> None:
        super().__init__("client", loop, options)
        self._signalling = signalling
        self._ice_servers = tuple(ice_servers)
        self._services = services
        self._pc_id: str | None = None
        #: One offer at a time.
        self._offering = trio.Lock()
        #: While there is a restart: what cancels it, and what is set when it is over.
        self._restarting: tuple[trio.CancelScope, trio.Event] | None = None
        #: The bot has asked for another offer; somebody is about it.
        self._is_asked = False
        self._is_renegotiating = False

    # -- opening --

    async def open(self) -> None:
        """Make the peer connection.

        Raises:
            TransportStartError: there is none to be had.
        """
        await self._adopt(await self._connect())
        self._begin_renegotiating()

    async def _adopt(self, peer: Peer) -> None:
        """Have the link carried by a peer that is connected."""
        self._peer = peer
        await self._set_counts(counts=True)
        for track in TRACKS:
            self._announce(track)

    async def _connect(self, *, restart: bool = False) -> Peer:
        """Return a peer that is connected; with `restart`, in place of the one there is."""
        servers = dict.fromkeys((self._ice_servers, _relays(self._ice_servers), ()))
        for known in servers:
            peer = None
            self._options.on_stage("gather", _explain_gathering(known))
            try:
                peer = self._make_peer(await self._resolved(known))
                if self._options.trickle_ice:
                    is_open = await self._open_and_trickle(peer, known, restart=restart)
                    # The bot has answered: what is next takes the place of this.
                    restart = True
                else:
                    is_open = await self._gather_and_open(peer, known, restart=restart)
            except BaseException:
                await self._give_up(peer)  # noqa: ASYNC102  # it has a shield and a deadline
                raise
            if is_open:
                return peer
            logger.debug("gathering took over %g s; going on with less", self._patience(known))
            await self._put_away(peer)
        raise AssertionError("without servers, gathering waits for nobody")

    def _patience(self, servers: Sequence[IceServer]) -> float:
        return self._options.gather_timeout if servers else float("inf")

    async def _gather_and_open(
        self, peer: Peer, servers: Sequence[IceServer], *, restart: bool
    ) -> bool:
        """Connect a peer. False: its servers take too long."""
        sdp = None
        with trio.move_on_after(self._patience(servers)):
            sdp = await self._loop.run(_make_offer, peer, True, owner=peer.owner)
        if sdp is None:
            return False
        async with self._offering:
            answer = await self._offer(sdp, restart=restart)
            await self._loop.run(peer.take_answer, answer.sdp, owner=peer.owner)
        await self._wait_open(peer, sdp)
        return True

    async def _open_and_trickle(
        self, peer: Peer, servers: Sequence[IceServer], *, restart: bool
    ) -> bool:
        """Connect a peer, whose candidates follow its offer. False: its servers take too long."""
        async with self._offering:
            sdp = await self._loop.run(_make_offer, peer, False, owner=peer.owner)
            answer = await self._offer(sdp, restart=restart)
            self._options.on_stage("gather", _explain_gathering(servers))
            with trio.move_on_after(self._patience(servers)) as gathering:
                await self._loop.run(peer.wait_gathered, owner=peer.owner)
            if gathering.cancelled_caught:
                return False
            await self._loop.run(peer.take_answer, answer.sdp, owner=peer.owner)
        found = await self._loop.run(peer.local_candidates, owner=peer.owner)
        mid, index = (found[0][1], found[0][2]) if found else ("0", 0)
        candidates = [Candidate(*candidate) for candidate in found]
        await self._signalling.trickle(answer.pc_id, [*candidates, Candidate("", mid, index)])
        await self._wait_open(peer, " ".join(candidate for candidate, _, _ in found))
        return True

    async def _offer(self, sdp: str, *, restart: bool) -> Answer:
        if restart:
            await self._set_counts(counts=False)
        self._options.on_stage("offer", "the bot's server has not answered the offer")
        answer = await self._signalling.offer(
            self._with_limit(sdp), pc_id=self._pc_id, restart=restart
        )
        self._pc_id = answer.pc_id
        self.max_message_size = min(self._options.max_message_size, answer.max_message_size)
        return answer

    async def _give_up(self, peer: Peer | None) -> None:
        """Put a peer away that does not connect. The one there was, if any, counts again."""
        with trio.move_on_after(_SETTLING_SECONDS, shield=True):
            await self._set_counts(counts=True)
        if peer is not None:
            await self._put_away(peer)

    async def _resolved(self, servers: Sequence[IceServer]) -> list[IceServer]:
        """Return servers by their addresses, as far as they are known in time.

        aiortc would ask for them in a thread that can't be left. Those with TLS keep their names,
        which are in their certificates.
        """
        found: dict[str, str] = {}

        async def resolve(url: str) -> None:
            parts = _SERVER.fullmatch(url)
            assert parts is not None
            with suppress(OSError, UnicodeError):
                answers = await trio.socket.getaddrinfo(parts[2], None, family=AF_INET)
                found[url] = f"{parts[1]}{answers[0][4][0]}{parts[3]}"

        with trio.move_on_after(self._patience(servers)):
            async with trio.open_nursery() as nursery:
                for url in (url for server in servers for url in server.urls):
                    if url.startswith(("stuns:", "turns:")):
                        found[url] = url
                    else:
                        nursery.start_soon(resolve, url)
        known = (
            attrs.evolve(server, urls=tuple(found[url] for url in server.urls if url in found))
            for server in servers
        )
        return [server for server in known if server.urls]

    def _with_limit(self, sdp: str) -> str:
        """Return an offer that says how large a message may be."""
        limit = min(self._options.max_receive_size, _MAX_MESSAGE)
        return _MAX_MESSAGE_LINE.sub(f"a=max-message-size:{limit}", sdp)

    async def _wait_open(self, peer: Peer, sdp: str) -> None:
        stage, run, owner = self._options.on_stage, self._loop.run, peer.owner
        stage("ice", self._explain_ice(sdp))
        if not await run(peer.wait_ice, owner=owner):
            self._check(peer, "ice", self._explain_ice(sdp))
        stage("dtls", "the bot does not answer the encryption's handshake")
        if not await run(peer.wait_connected, owner=owner):
            self._check(peer, "dtls", "")
        stage("data channel", "the bot has not opened the data channel")
        await run(peer.wait_open, owner=owner)
        self._check(peer, "data channel", "")

    def _explain_ice(self, sdp: str) -> str:
        """Say what may be the matter if no way is found."""
        explained = "no packet of ours came to the bot and back"
        if _relays(self._ice_servers) and " typ relay" not in sdp:
            explained += "; the TURN server gave no relay (wrong credentials, or not there)"
        elif not self._ice_servers:
            explained += "; behind a NAT it takes ice_servers"
        return explained

    def _check(self, peer: Peer, stage: str, hint: str) -> None:
        if peer.end is not None:
            detail = peer.end.detail or "the bot hung up"
            raise TransportStartError(stage, f"{detail}; {hint}" if hint else detail)

    # -- restarting and renegotiating --

    async def restart(self) -> None:
        """Make another peer connection in place of this one; the bot stays, and greets again.

        What is on its way meanwhile, in either direction, is lost. When it fails, or is cancelled,
        the link goes on as it was, if the bot's server has not given it up by then: it does when it
        answers.
        """
        await trio.lowlevel.checkpoint()
        old = self._peer
        if self.end is not None or old is None:
            raise trio.BrokenResourceError("the link has ended")
        over = trio.Event()
        with trio.CancelScope() as scope:
            self._restarting = (scope, over)
            try:
                peer = await self._connect(restart=True)
                # There is no way back any more, so this is not left half done.
                with trio.move_on_after(_SETTLING_SECONDS, shield=True):
                    await self._adopt(peer)
                    await self._put_away(old)
            finally:
                self._restarting = None
                over.set()
                self._begin_renegotiating()
        if scope.cancelled_caught:
            raise trio.BrokenResourceError("the link has ended")

    async def _settle(self) -> None:
        if self._restarting is not None:
            scope, over = self._restarting
            scope.cancel()
            await over.wait()

    async def _set_counts(self, *, counts: bool) -> None:
        peer = self._peer
        if peer is not None and peer in self._peers:
            await self._loop.run(peer.count, counts)

    def _note_signal(self, signal: dict[str, Any]) -> None:
        if signal.get("type") == "renegotiate":
            self._tell(self._be_asked)

    def _be_asked(self) -> None:
        self._is_asked = True
        self._begin_renegotiating()

    def _begin_renegotiating(self) -> None:
        is_settled = self._peer is not None and self._restarting is None and self.end is None
        if self._is_asked and is_settled and not self._is_renegotiating:
            self._is_renegotiating = True
            self._services.start(self._renegotiate, name="trio_pipecat: renegotiation")

    async def _renegotiate(self) -> None:
        """Offer the same connection again: the bot has come late, and has missed pictures."""
        try:
            while self._is_asked and self._restarting is None and self.end is None:
                self._is_asked = False
                with trio.move_on_after(_RENEGOTIATION_SECONDS):
                    async with self._offering:
                        # What goes wrong is no loss; a broken link is found out elsewhere.
                        with suppress(TransportStartError, trio.BrokenResourceError):
                            await self._offer_again()
                # Pipecat's server does not ask more often than every two seconds.
                await trio.sleep(_RENEGOTIATION_PAUSE)
        finally:
            self._is_renegotiating = False

    async def _offer_again(self) -> None:
        peer, pc_id = self._peer, self._pc_id
        assert peer is not None
        sdp = await self._loop.run(_make_offer, peer, True, owner=peer.owner)
        answer = await self._signalling.offer(self._with_limit(sdp), pc_id=pc_id)
        if answer.pc_id == pc_id:
            await self._loop.run(peer.take_answer, answer.sdp, owner=peer.owner)
        else:
            detail = "the bot's server does not know this connection any more"
            self._finish(LinkEnd(code=1006, first="bot", detail=detail))


def _explain_gathering(servers: Sequence[IceServer]) -> str:
    return "no STUN or TURN server has answered" if servers else ""


def _relays(servers: Sequence[IceServer]) -> tuple[IceServer, ...]:
    """Return the TURN servers among them."""
    urls = [
        (server, tuple(url for url in server.urls if url.startswith("turn"))) for server in servers
    ]
    return tuple(attrs.evolve(server, urls=found) for server, found in urls if found)


async def _make_offer(peer: Peer, gather: bool) -> str:
    return await peer.make_offer(gather=gather)


@asynccontextmanager
async def open_smallwebrtc(
    params: ConnectParams,
    options: LinkOptions,
    make_signalling: Callable[[ConnectParams, LinkOptions], Signalling] = Signalling,
) -> AsyncGenerator[Transport, None]:
    """Open a link to a Pipecat bot over WebRTC. A `Connector`.

    `make_signalling` is how offers are brought to the bot; by default over HTTP.

    Raises:
        InvalidParamsError: the address, the token or an ICE server can't be used.
        TransportStartError: there is no link to be had.
    """
    signalling = make_signalling(params, options)
    ice_servers = read_ice_servers(params.ice_servers or ())

    async def say_goodbye(error: BaseException | None) -> None:
        if transport is not None and transport.end is None:
            await transport.aclose()

    transport: SmallWebRtcTransport | None = None
    async with open_loop_thread() as loop:
        try:
            async with open_services(say_goodbye, grace=options.grace) as services:
                opening = SmallWebRtcTransport(loop, signalling, ice_servers, options, services)
                try:
                    await opening.open()
                finally:
                    transport = opening
                yield transport
        finally:
            if transport is not None:
                await transport.dispose()  # noqa: ASYNC102  # it has a shield and a deadline
