"""The client's side of a WebSocket: bytes to messages and back. No I/O.

The one file that knows wsproto, which does the handshake, and every frame that is not of the plain
kind. A plain frame is what a call consists of: a whole binary message in one frame, shorter than 64
KiB. Those are read and written here, because they come 75 times a second in each call: against
wsproto that takes a seventh of the time to read one, and half of it to write one.

`Handshake` asks for the upgrade, `Frames` is what follows. Neither raises what a peer can cause:
`Handshake.answer` says what the server answered, `Frames.receive` reports how it ended.
"""

import os
import re
from collections.abc import Callable, Iterator
from io import BytesIO, StringIO
from typing import Final

import attrs
from wsproto import ConnectionType
from wsproto.connection import Connection, ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.handshake import H11Handshake
from wsproto.utilities import RemoteProtocolError

#: The first byte of a whole message, of text and binary.
_TEXT, _BINARY = 0x81, 0x82
#: The bit of the first byte that says: a control frame.
_CONTROL: Final = 0x08
#: What a length byte says of a length in two more bytes, and of one in eight.
_TWO_BYTES, _EIGHT_BYTES = 126, 127
_MASKED: Final = 0x80
#: A frame that says it is as long as this, or longer, breaks the rules.
_NO_LENGTH: Final = 2**63
#: A frame that is longer, and not yet whole, is read piece by piece.
_LARGEST_WAITED_FOR: Final = 16 * 1024
_KEYS_AT_ONCE: Final = 256
#: So many plain frames are read between two pauses, and one that is not plain counts for so many:
#: they take some milliseconds.
_MOST_AT_ONCE, _PLAIN_PER_ODD = 500, 5
#: How what is HTTP begins, and how its head ends.
_HTTP, _HEAD_END = b"HTTP/1.", b"\r\n\r\n"
#: How much of an answer that is no consent is read, in bytes.
MAX_ANSWER: Final = 256 * 1024
#: The code of a message over the limit.
TOO_LARGE: Final = 1009


# -- the handshake -----------------------------------------------------------------------------


@attrs.frozen
class Consent:
    """The server speaks WebSocket from here on. `rest` is what it said after its consent."""

    rest: bytes


@attrs.frozen
class Refusal:
    """The server said no (`status`, with what it said), or what is no answer (`status` is None).

    A consent that is not the right one has the status 101.
    """

    status: int | None
    said: bytes
    #: There was more of it than anybody reads.
    is_endless: bool = False


class Handshake:
    """One request for an upgrade, and its answer."""

    def __init__(self, host: str, target: str, headers: list[tuple[bytes, bytes]]) -> None:
        self._library = H11Handshake(ConnectionType.CLIENT)
        self.request = self._library.send(Request(host=host, target=target, extra_headers=headers))
        self._received = b""
        self._size = 0
        self._head_is_over = False
        self._refusal: Refusal | None = None

    def answer(self, data: bytes) -> Consent | Refusal | None:
        """Take more of what came; say what it means, None if that is not known yet."""
        self._size += len(data)
        if self._head_is_over:
            return self._read(data)
        self._received = received = self._received + data
        if not received.startswith(_HTTP[: len(received)]):
            return Refusal(None, received)
        # What follows a consent is not for the library: it would keep the frames to itself.
        head, found, rest = received.partition(_HEAD_END)
        if not found:
            return self.end() if self._size > MAX_ANSWER else None
        self._head_is_over = True
        return self._read(head + found, rest)

    def end(self) -> Refusal:
        """Say what it means that nothing more comes, or nothing more is read."""
        if self._refusal is not None:
            return self._refusal
        if status_line := re.match(rb"HTTP/1\.[01] ([1-5]\d\d)", self._received):
            return Refusal(int(status_line[1]), b"")
        return Refusal(None, self._received, is_endless=self._size > MAX_ANSWER)

    def _read(self, data: bytes, rest: bytes = b"") -> Consent | Refusal | None:
        try:
            self._library.receive_data(data)
        except (RemoteProtocolError, UnicodeError):  # the latter is wsproto's, of odd headers
            return self.end()
        for event in self._library.events():
            match event:
                case AcceptConnection():
                    return Consent(rest)
                case RejectConnection():
                    self._refusal = Refusal(event.status_code, b"")
                    if not event.has_body:
                        return self._refusal
                case RejectData():
                    refusal = self.end()
                    self._refusal = attrs.evolve(refusal, said=refusal.said + bytes(event.data))
                    if event.body_finished:
                        return self._refusal
        if rest:
            return self._read(rest)
        return self.end() if self._size > MAX_ANSWER else None


# -- frames ------------------------------------------------------------------------------------


@attrs.frozen
class Closed:
    """No more frames: the other side said goodbye, or broke the rules.

    `answer` is what to send because of it. `error` says what was wrong; empty: nothing was.
    """

    code: int
    text: str
    answer: bytes = b""
    error: str = ""


class Frames:
    """The frames of one client, after the handshake.

    `on_message` is called with each whole message, `on_answer` with the pongs that are to be sent,
    `on_pong` with what was in one.
    """

    __slots__ = (
        "_begun_size",
        "_binary",
        "_buffer",
        "_in_message",
        "_library",
        "_max_size",
        "_on_answer",
        "_on_message",
        "_on_pong",
        "_owed",
        "_text",
        "closed",
        "is_paused",
    )

    def __init__(
        self,
        max_size: int,
        *,
        on_message: Callable[[bytes | str], object],
        on_answer: Callable[[bytes], object],
        on_pong: Callable[[bytes], object],
    ) -> None:
        self._max_size = max_size
        self._on_message = on_message
        self._on_answer = on_answer
        self._on_pong = on_pong
        #: What came of a frame that is not whole yet.
        self._buffer = b""
        #: wsproto's, made when there is a frame for it: many calls never have one.
        self._library: Connection | None = None
        #: How much of the frame that wsproto is reading is still to come.
        self._owed = 0
        #: A message that wsproto reads has begun, and what came of it so far.
        self._in_message = False
        self._binary: BytesIO | None = None
        self._text: StringIO | None = None
        self._begun_size = 0
        #: Set, by `on_message` too, to have no more frames read for now.
        self.is_paused = False
        #: Set when no more frames are read.
        self.closed: Closed | None = None

    # -- reading --

    def receive(self, data: bytes | memoryview) -> Closed | None:
        """Read what came. Returns how the frames ended, if they did; the rest is not read.

        What is not read because of a pause is kept, and read by the next call without one. A pause
        begins by itself after many frames: others want their time.
        """
        if self._buffer:
            data = self._buffer + bytes(data)
            self._buffer = b""
        position, size, effort = 0, len(data), 0
        while position < size and self.closed is None:
            if self.is_paused:
                self._buffer = bytes(data[position:])
                break
            if self._owed or self._in_message or data[position] != _BINARY:
                step = self._receive_odd(data, position)
                effort += _PLAIN_PER_ODD
            else:
                step = self._receive_plain(data, position)
                effort += 1
            if effort >= _MOST_AT_ONCE:
                self.is_paused = True
            if not step:
                self._buffer = bytes(data[position:])
                break
            position += step
        return self.closed

    def _receive_plain(self, data: bytes | memoryview, start: int) -> int:
        """Read a frame that begins as a plain one does; return how much of the data it was."""
        size = len(data) - start
        if size < 2:
            return 0
        length, head = data[start + 1], 2
        if length == _TWO_BYTES:
            if size < 4:
                return 0
            length, head = data[start + 2] << 8 | data[start + 3], 4
        if not (length < _TWO_BYTES if head == 2 else length > _TWO_BYTES - 1):
            return self._receive_odd(data, start)  # eight bytes of length, masked, or wrong
        end = head + length
        if length > self._max_size or (end > size and length > _LARGEST_WAITED_FOR):
            return self._receive_odd(data, start)
        if end > size:
            return 0
        self._on_message(bytes(data[start + head : start + end]))
        return end

    def _receive_odd(self, data: bytes | memoryview, start: int) -> int:
        """Have wsproto read of one frame what is there; return how much of the data that was."""
        library = self._open_library()
        if not self._owed:
            head = _measure(data, start)
            if head is None:
                return 0
            is_control, self._owed, length = head
            if not is_control:
                self._in_message = True
                self._begun_size += max(length, 1)  # nothing, without end, is too much as well
                if self._max_size < self._begun_size < _NO_LENGTH:
                    self._end(TOO_LARGE, f"a message of over {self._max_size} bytes came")
                    return len(data) - start
        step = min(self._owed, len(data) - start)
        self._owed -= step
        library.receive_data(bytes(data[start : start + step]))
        for event in library.events():
            self._take(event)
            if self.closed is not None:
                break
        return step

    def _take(self, event: Event) -> None:
        match event:
            case BytesMessage():
                self._binary = self._binary or BytesIO()
                self._binary.write(event.data)
                if event.message_finished:
                    binary, self._binary = self._binary.getvalue(), None
                    self._deliver(binary)
            case TextMessage():
                self._text = self._text or StringIO(newline="")
                self._text.write(event.data)
                if event.message_finished:
                    text, self._text = self._text.getvalue(), None
                    self._deliver(text)
            case Ping():
                # Once a goodbye is out, a ping that crosses it gets no answer.
                if self._is_open:
                    self._on_answer(self._open_library().send(event.response()))
            case Pong():
                self._on_pong(bytes(event.payload))
            case CloseConnection():
                library, code, text = self._open_library(), int(event.code), event.reason or ""
                if library.state is ConnectionState.REMOTE_CLOSING:
                    self.closed = Closed(code, text, library.send(event.response()))
                elif library.state is ConnectionState.CLOSED:
                    self.closed = Closed(code, text)
                else:  # this is how wsproto says that a frame breaks the rules
                    self._end(code, text)

    def _deliver(self, message: bytes | str) -> None:
        self._in_message, self._begun_size = False, 0
        self._on_message(message)

    def _end(self, code: int, error: str) -> None:
        self.closed = Closed(code, "", self.close(code), error)

    # -- writing --

    def message(self, data: bytes | str) -> bytes:
        """Return the frame of a message."""
        if isinstance(data, str):
            return _frame(_TEXT, data.encode())
        return _frame(_BINARY, data)

    def ping(self, payload: bytes) -> bytes:
        """Return a ping, or nothing once a goodbye is out."""
        return self._open_library().send(Ping(payload)) if self._is_open else b""

    def close(self, code: int, text: str = "") -> bytes:
        """Return the goodbye, or nothing if it is out already."""
        if not self._is_open:
            return b""
        return self._open_library().send(CloseConnection(code, text or None))

    @property
    def _is_open(self) -> bool:
        return self._library is None or self._library.state is ConnectionState.OPEN

    def _open_library(self) -> Connection:
        if self._library is None:
            self._library = Connection(ConnectionType.CLIENT)
        return self._library


def _measure(data: bytes | memoryview, start: int) -> tuple[bool, int, int] | None:
    """Return whether a frame is a control frame, its size, and its payload's; None: not known yet.

    What is wrong with it is for wsproto to say, which refuses a bad head as soon as it sees it.
    """
    size = len(data) - start
    if size < 2:
        return None
    short, head = data[start + 1] & ~_MASKED, 2
    length = short
    if short >= _TWO_BYTES:
        head += 2 if short == _TWO_BYTES else 8
        if size < head:
            return None
        length = int.from_bytes(data[start + 2 : start + head])
    if data[start + 1] & _MASKED:
        head += 4
    return bool(data[start] & _CONTROL), head + length, length


def _frame(first: int, payload: bytes) -> bytes:
    """Return a whole message in one masked frame."""
    length = len(payload)
    if length < _TWO_BYTES:
        head = bytes((first, _MASKED | length))
    elif length <= 0xFFFF:
        head = bytes((first, _MASKED | _TWO_BYTES, length >> 8, length & 0xFF))
    else:
        head = bytes((first, _MASKED | _EIGHT_BYTES)) + length.to_bytes(8)
    key = _keys.next()
    # As numbers: one operation for all of it, where a loop would take one for each byte.
    mask = (key * (length // 4 + 1))[:length]
    masked = int.from_bytes(payload, "little") ^ int.from_bytes(mask, "little")
    return head + key + masked.to_bytes(length, "little")


class _MaskingKeys:
    """Keys that nobody can foresee, as RFC 6455 (5.3) wants them: fetched many at a time."""

    def __init__(self) -> None:
        self._keys: Iterator[bytes] = iter(())
        # A process that forks must not mask as its child does.
        os.register_at_fork(after_in_child=self._forget)

    def next(self) -> bytes:
        """Return a key that was never used."""
        for key in self._keys:
            return key
        pool = os.urandom(4 * _KEYS_AT_ONCE)
        first, *others = (pool[at : at + 4] for at in range(0, len(pool), 4))
        self._keys = iter(others)
        return first

    def _forget(self) -> None:
        self._keys = iter(())


_keys: Final = _MaskingKeys()
