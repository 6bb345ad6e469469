"""The opening of a WebSocket: TCP, TLS, and the upgrade, in the task of who asks for it."""

import socket
from contextlib import suppress
from ssl import SSLError
from typing import Final

import trio

from .._causes import root_cause
from .._errors import TransportStartError
from .._tls import default_ssl_context
from ._abc import LinkOptions
from ._carrier import READ_SIZE, Carrier, StreamCarrier, TlsCarrier
from ._engine import Engine, SocketCarrier
from ._tls_pipe import TlsPipe
from ._upgrade import UpgradeRequest, refused
from ._ws_client import Consent, Frames, Handshake

#: How long who is cancelled waits for the consent to an upgrade, to say goodbye properly.
_LATE_CONSENT: Final = 0.5


class Line:
    """A connection to a server, with TLS or without, while nobody carries it yet."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._pipe: TlsPipe | None = None

    async def start_tls(self, pipe: TlsPipe) -> None:
        """Encrypt from here on.

        Raises:
            trio.BrokenResourceError, ssl.SSLError: the server does not take part.
        """
        self._pipe = pipe
        while True:
            is_done, refusal = False, None
            try:
                is_done = pipe.shake_hands()
            except SSLError as error:
                refusal = error
            await self.send(b"")  # its part of the handshake, or why there will be none
            if refusal is not None:
                raise refusal
            if is_done:
                return
            pipe.feed(await self._stream.receive_some(READ_SIZE))

    async def send(self, data: bytes) -> None:
        """Send all of it, if there is somebody to send it to."""
        with suppress(trio.BrokenResourceError):
            await self._stream.send_all(data if self._pipe is None else self._pipe.encrypt(data))

    async def receive(self) -> bytes:
        """Return what came; nothing: it is over."""
        with suppress(trio.BrokenResourceError, SSLError):
            if self._pipe is None:
                return bytes(await self._stream.receive_some(READ_SIZE))
            while True:
                # Some may have come with the last of the handshake.
                plain = b"".join(iter(self._pipe.decrypt, b""))
                if plain or self._pipe.is_over:
                    return plain
                self._pipe.feed(await self._stream.receive_some(READ_SIZE))
        return b""

    async def hang_up(self) -> None:
        """Close, without a word."""
        await trio.aclose_forcefully(self._stream)

    def carrier(self, engine: Engine) -> Carrier:
        """Hand the connection over to what carries it from now on."""
        sock = _take_socket(self._stream) if engine.watches_sockets else None
        carrier: Carrier
        carrier = StreamCarrier(self._stream) if sock is None else SocketCarrier(engine, sock)
        return carrier if self._pipe is None else TlsCarrier(carrier, self._pipe)


async def dial(
    request: UpgradeRequest, options: LinkOptions, engine: Engine
) -> tuple[Carrier, bytes]:
    """Open a connection that speaks WebSocket; return what carries it, and what was said already.

    Cancelled: the connection is closed; if the server has agreed meanwhile, after a goodbye.

    Raises:
        TransportStartError: there is none to be had.
    """
    line = Line(await _open_tcp(request, options))
    try:
        if request.tls:
            await _start_tls(line, request, options)
        options.on_stage("upgrade")
        handshake = Handshake(request.netloc, request.target, request.headers)
        await line.send(handshake.request)
        try:
            said = await _wait_for_consent(line, handshake, request)
            return line.carrier(engine), said
        except trio.Cancelled:
            await _decline(line, handshake, request, options)  # noqa: ASYNC102  # it has both
            raise
    except BaseException:
        await line.hang_up()  # noqa: ASYNC102  # it closes without waiting
        raise


async def _open_tcp(request: UpgradeRequest, options: LinkOptions) -> trio.SocketStream:
    host, port = request.host, request.port
    options.on_stage("connect")
    try:
        return await trio.open_tcp_stream(host, port)
    except socket.gaierror as error:
        detail = f"{host!r} can't be resolved: {error.strerror or error}"
        raise TransportStartError("resolve", detail) from error
    except (OSError, UnicodeError) as error:
        detail = f"{host}:{port}: {root_cause(error)}"
        raise TransportStartError("connect", detail) from error


async def _start_tls(line: Line, request: UpgradeRequest, options: LinkOptions) -> None:
    options.on_stage("tls")
    context = options.ssl_context or default_ssl_context()
    try:
        await line.start_tls(TlsPipe(context, request.host))
    except (trio.BrokenResourceError, SSLError, OSError) as error:
        detail = f"{request.host}:{request.port}: {root_cause(error)}"
        raise TransportStartError("tls", detail) from error


async def _wait_for_consent(line: Line, handshake: Handshake, request: UpgradeRequest) -> bytes:
    while data := await line.receive():
        match handshake.answer(data):
            case Consent(rest):
                return rest
            case None:
                pass
            case refusal:
                raise refused(request, refusal)
    raise refused(request, handshake.end())


async def _decline(
    line: Line, handshake: Handshake, request: UpgradeRequest, options: LinkOptions
) -> None:
    """Say goodbye to a server that has agreed by now: it has a bot waiting, who wants to hear."""
    patience = min(_LATE_CONSENT, options.grace)
    with trio.move_on_after(patience, shield=True) as scope, suppress(TransportStartError):
        said = await _wait_for_consent(line, handshake, request)
        scope.deadline = trio.current_time() + options.grace
        frames = Frames(options.max_receive_size, on_message=bool, on_answer=bool, on_pong=bool)
        await line.send(frames.close(1000))
        while frames.receive(said) is None:
            frames.is_paused = False
            said = await line.receive()
            if not said:
                break


def _take_socket(stream: trio.SocketStream) -> socket.socket | None:
    """Take the socket out of a stream; None: it has none of the system's."""
    sock = stream.socket
    family, type_, proto = sock.family, sock.type, sock.proto
    try:
        descriptor = sock.detach()
    except NotImplementedError:
        return None
    taken = socket.socket(family, type_, proto, fileno=descriptor)
    taken.setblocking(False)
    return taken
