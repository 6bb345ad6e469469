"""TLS without I/O: the client's side of a connection, between what is said and what is sent."""

from ssl import MemoryBIO, SSLContext, SSLWantReadError, SSLZeroReturnError
from typing import Final

#: What is decrypted at a time, in bytes: more than a record has.
_READ_SIZE: Final = 64 * 1024


class TlsPipe:
    """One connection. What it raises is `ssl.SSLError`."""

    def __init__(self, context: SSLContext, host: str) -> None:
        self._incoming = MemoryBIO()
        self._outgoing = MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        #: What could not be encrypted before something else has come.
        self._waiting = b""
        #: The other side has said that nothing more comes.
        self.is_over = False

    def shake_hands(self) -> bool:
        """Go on with the handshake. False: more has to come first. Look at `to_send` after it."""
        try:
            self._tls.do_handshake()
        except SSLWantReadError:
            return False
        return True

    def to_send(self) -> bytes:
        """Return what is to be sent by now."""
        if self._waiting:
            waiting, self._waiting = self._waiting, b""
            return self.encrypt(waiting)
        return self._outgoing.read() if self._outgoing.pending else b""

    @property
    def unsent(self) -> int:
        """How many bytes could not be encrypted yet."""
        return len(self._waiting)

    def feed(self, data: bytes | memoryview) -> None:
        """Take what came; nothing means that nothing more comes."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def encrypt(self, data: bytes) -> bytes:
        """Return what is to be sent to say `data`."""
        if self._waiting:
            self._waiting += data
            return b""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._tls.write(rest) :]
            except SSLWantReadError:
                self._waiting = bytes(rest)
                break
        return self._outgoing.read()

    def decrypt(self) -> bytes:
        """Return some of what was said; nothing: no more for now."""
        try:
            data = self._tls.read(_READ_SIZE)
        except SSLWantReadError:
            return b""
        except SSLZeroReturnError:
            self.is_over = True
            return b""
        if not data:
            self.is_over = True
        return data
