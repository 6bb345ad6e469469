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
#: aiortc puts messages together in this much memory, so there are no larger ones, in bytes.
_MAX_MESSAGE: Final = 2**20
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

    # -- opening --

    async def open(self) -> None:
        """Make the peer connection.

        Raises:
            TransportStartError: there is none to be had.
        """
        await self._adopt(await self._connect())

    async def _adopt(self, peer: Peer) -> None:
        """Have the link carried by a peer that is connected."""
        self._peer = peer
        await self._set_counts(counts=True)
        for track in TRACKS:
            self._announce(track)
        self._loop.call_soon(peer.flush)

    async def _connect(self, *, restart: bool = False) -> Peer:
        """Return a peer that is connected; with `restart`, in place of the one there is."""
        stage = self._options.on_stage
        stage("gather", "no STUN or TURN server has answered")
        peer, sdp = await self._make_offer()
        try:
            async with self._offering:
                if restart:
                    await self._set_counts(counts=False)
                stage("offer", "the bot's server has not answered the offer")
                answer = await self._signalling.offer(
                    self._with_limit(sdp), pc_id=self._pc_id, restart=restart
                )
                await self._loop.run(peer.take_answer, answer.sdp, owner=peer.owner)
            self._note_answer(answer)
            if self._options.trickle_ice:
                await self._trickle(peer, answer.pc_id)
            await self._wait_open(peer, sdp)
        except BaseException:
            await self._put_away(peer)
            if restart:
                with trio.CancelScope(shield=True):  # it is a matter of one step in the loop
                    await self._set_counts(counts=True)
            raise
        return peer

    async def _make_offer(self) -> tuple[Peer, str]:
        """Return a peer that has offered, without the servers that take too long if need be."""
        for servers in dict.fromkeys((self._ice_servers, _relays(self._ice_servers), ())):
            peer = self._make_peer(servers)
            patience = self._options.gather_timeout if servers else float("inf")
            try:
                with trio.move_on_after(patience):
                    gather = not self._options.trickle_ice
                    sdp = await self._loop.run(_make_offer, peer, gather, owner=peer.owner)
                    return peer, sdp
            except BaseException:
                await self._put_away(peer)
                raise
            logger.debug("gathering took over %g s; going on with less", patience)
            await self._put_away(peer)
        raise AssertionError("without servers, gathering waits for nobody")

    def _with_limit(self, sdp: str) -> str:
        """Return an offer that says how large a message may be."""
        limit = min(self._options.max_receive_size, _MAX_MESSAGE)
        return _MAX_MESSAGE_LINE.sub(f"a=max-message-size:{limit}", sdp)

    def _note_answer(self, answer: Answer) -> None:
        self._pc_id = answer.pc_id
        self.max_message_size = min(self._options.max_message_size, answer.max_message_size)

    async def _trickle(self, peer: Peer, pc_id: str) -> None:
        found = await self._loop.run(peer.local_candidates, owner=peer.owner)
        mid, index = (found[0][1], found[0][2]) if found else ("0", 0)
        candidates = [Candidate(*candidate) for candidate in found]
        await self._signalling.trickle(pc_id, [*candidates, Candidate("", mid, index)])

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
        the link goes on as it was, if the bot's server has not given it up by then.
        """
        await trio.lowlevel.checkpoint()
        old = self._peer
        if self.end is not None or old is None:
            raise trio.BrokenResourceError("the link has ended")
        await self._adopt(await self._connect(restart=True))
        await self._put_away(old)

    async def _set_counts(self, *, counts: bool) -> None:
        peer = self._peer
        if peer is not None and peer in self._peers:
            await self._loop.run(peer.count, counts)

    def _note_signal(self, signal: dict[str, Any]) -> None:
        if signal.get("type") == "renegotiate" and self.end is None:
            self._services.start(self._renegotiate, name="trio_pipecat: renegotiation")

    async def _renegotiate(self) -> None:
        """Offer the same connection again: the bot has come late, and has missed pictures."""
        peer, pc_id = self._peer, self._pc_id
        if peer is None or self._offering.locked():
            return
        with trio.move_on_after(_RENEGOTIATION_SECONDS):
            async with self._offering:
                # What goes wrong is no loss; a link that has broken is found out elsewhere.
                with suppress(TransportStartError, trio.BrokenResourceError):
                    sdp = await self._loop.run(_make_offer, peer, True, owner=peer.owner)
                    answer = await self._signalling.offer(self._with_limit(sdp), pc_id=pc_id)
                    if answer.pc_id == pc_id:
                        await self._loop.run(peer.take_answer, answer.sdp, owner=peer.owner)
                    else:
                        detail = "the bot's server does not know this connection any more"
                        self._finish(LinkEnd(code=1006, first="bot", detail=detail))


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
                await transport.dispose()
