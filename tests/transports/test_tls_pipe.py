"""TLS without I/O, against a server of the standard library's that has none either."""

import ssl

import pytest
import trustme

from trio_pipecat.transports._tls_pipe import TlsPipe

HOST = "bot.example"
SIZES = [1, 100, 16_383, 16_384, 16_385, 65_536, 200_000]


class Server:
    """The other end: TLS over memory."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def feed(self, data: bytes) -> None:
        """Take what came."""
        self._incoming.write(data)

    def to_send(self) -> bytes:
        """Return what is to be sent."""
        return self._outgoing.read()

    def say(self, data: bytes) -> bytes:
        """Return what is to be sent to say `data`."""
        assert len(data) == self.tls.write(data)
        return self.to_send()

    def hear(self) -> bytes:
        """Return all that was said."""
        heard = b""
        try:
            while data := self.tls.read(2**20):
                heard += data
        except ssl.SSLWantReadError:
            pass
        return heard

    def shake_hands(self) -> bool:
        """Go on with the handshake."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def hang_up(self) -> bytes:
        """Return what says that nothing more comes."""
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self.to_send()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority that signs certificates."""
    return trustme.CA()


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def server(request: pytest.FixtureRequest, authority: trustme.CA) -> Server:
    """A server that has not spoken yet, of each version."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = request.param
    authority.issue_cert(HOST).configure_cert(context)
    return Server(context)


@pytest.fixture
def pipe(authority: trustme.CA) -> TlsPipe:
    """A client that has not spoken yet, and trusts the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return TlsPipe(context, HOST)


def shake_hands(pipe: TlsPipe, server: Server) -> None:
    """Carry between the two until both are done, and nothing is left to say."""
    is_done = False
    while not (pipe.shake_hands() and is_done):
        server.feed(pipe.to_send())
        is_done = server.shake_hands()
        if data := server.to_send():
            pipe.feed(data)
    assert b"" == pipe.to_send()


def hear(pipe: TlsPipe) -> bytes:
    """Return all that was said to the client."""
    return b"".join(iter(pipe.decrypt, b""))


def test_the_handshake_goes_on_as_something_comes(pipe: TlsPipe, server: Server) -> None:
    """It is not done before the server has spoken, and says so each time."""
    assert not pipe.shake_hands()
    server.feed(pipe.to_send())
    assert b"" == pipe.to_send()
    assert not pipe.shake_hands()
    server.shake_hands()
    for byte in server.to_send():
        pipe.feed(bytes([byte]))
        if pipe.shake_hands():
            break
    server.feed(pipe.to_send())
    assert server.shake_hands()
    assert server.tls.version() in ("TLSv1.2", "TLSv1.3")


@pytest.mark.parametrize("size", SIZES)
def test_what_is_encrypted_is_what_the_server_reads(
    pipe: TlsPipe, server: Server, size: int
) -> None:
    """However many records it takes."""
    shake_hands(pipe, server)
    data = bytes(range(251)) * (size // 251 + 1)
    sent = pipe.encrypt(data[:size])
    assert len(sent) > size
    server.feed(sent)
    assert data[:size] == server.hear()
    assert (0, b"") == (pipe.unsent, pipe.to_send())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("piece", [1_000, 10**6])
def test_what_the_server_says_is_decrypted(
    pipe: TlsPipe, server: Server, size: int, piece: int
) -> None:
    """However it is cut."""
    shake_hands(pipe, server)
    data = bytes(range(251)) * (size // 251 + 1)
    sent = server.say(data[:size])
    heard = b""
    for at in range(0, len(sent), piece):
        pipe.feed(memoryview(sent)[at : at + piece])
        heard += hear(pipe)
    assert data[:size] == heard
    assert not pipe.is_over


def test_half_a_record_says_nothing_yet(pipe: TlsPipe, server: Server) -> None:
    """The other half is waited for, byte by byte."""
    shake_hands(pipe, server)
    sent = server.say(b"hello")
    for at in range(len(sent) - 1):
        pipe.feed(sent[at : at + 1])
        assert b"" == pipe.decrypt()
    pipe.feed(sent[-1:])
    assert b"hello" == pipe.decrypt()


def test_nothing_is_nothing(pipe: TlsPipe, server: Server) -> None:
    """To say it costs no record."""
    shake_hands(pipe, server)
    assert b"" == pipe.encrypt(b"")
    assert b"" == pipe.decrypt()


def test_what_is_said_too_early_waits(pipe: TlsPipe, server: Server) -> None:
    """It goes out, in order, when it can be encrypted; until then it is unsent."""
    begin = pipe.encrypt(b"too ")
    assert begin
    server.feed(begin)
    assert b"" == pipe.encrypt(b"early")
    assert len(b"too early") == pipe.unsent
    assert b"" == pipe.to_send()
    assert len(b"too early") == pipe.unsent
    server.shake_hands()
    pipe.feed(server.to_send())
    server.feed(pipe.to_send())
    while not server.shake_hands():
        server.feed(pipe.to_send())
    if data := server.to_send():
        pipe.feed(data)
    server.feed(pipe.to_send())
    assert b"too early" == server.hear()
    assert 0 == pipe.unsent


def test_a_goodbye(pipe: TlsPipe, server: Server) -> None:
    """What was said before it is read first; then it is over, however often one asks."""
    shake_hands(pipe, server)
    pipe.feed(server.say(b"last words") + server.hang_up())
    assert b"last words" == pipe.decrypt()
    assert not pipe.is_over
    for _ in range(2):
        assert b"" == pipe.decrypt()
        assert pipe.is_over


def test_a_server_that_hangs_up_without_a_word(pipe: TlsPipe, server: Server) -> None:
    """It may be somebody else who has cut it off: that is an error."""
    shake_hands(pipe, server)
    pipe.feed(server.say(b"last words")[:-1])
    pipe.feed(b"")
    with pytest.raises(ssl.SSLError):
        pipe.decrypt()


def test_a_server_that_hangs_up_during_the_handshake(pipe: TlsPipe) -> None:
    """There is no connection to be had."""
    assert not pipe.shake_hands()
    pipe.feed(b"")
    with pytest.raises(ssl.SSLError):
        pipe.shake_hands()


def test_nothing_more_comes_after_the_end(pipe: TlsPipe, server: Server) -> None:
    """What comes all the same is an error, of no other kind."""
    shake_hands(pipe, server)
    pipe.feed(b"")
    with pytest.raises(ssl.SSLError):
        pipe.feed(b"more")


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes(100), b"\xff" * 9])
def test_a_server_without_tls(pipe: TlsPipe, garbage: bytes) -> None:
    """What it says is no handshake."""
    assert not pipe.shake_hands()
    pipe.feed(garbage)
    with pytest.raises(ssl.SSLError):
        pipe.shake_hands()


@pytest.mark.parametrize("at", [0, 5, -1])
def test_what_was_changed_on_the_way(pipe: TlsPipe, server: Server, at: int) -> None:
    """Nothing of it is given out."""
    shake_hands(pipe, server)
    changed = bytearray(server.say(b"hello"))
    changed[at] ^= 0xFF
    pipe.feed(changed)
    with pytest.raises(ssl.SSLError):
        pipe.decrypt()


def test_a_certificate_of_a_stranger(server: Server) -> None:
    """It is refused, and the server is told so."""
    pipe = TlsPipe(ssl.create_default_context(), HOST)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(pipe, server)
    server.feed(pipe.to_send())
    with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
        server.shake_hands() and server.hear()


def test_a_certificate_of_another_host(authority: trustme.CA, server: Server) -> None:
    """It is refused."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with pytest.raises(ssl.SSLCertVerificationError, match="elsewhere"):
        shake_hands(TlsPipe(context, "elsewhere.example"), server)
