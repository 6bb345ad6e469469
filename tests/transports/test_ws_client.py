"""The client's side of a WebSocket, against wsproto's server and wsproto's own client."""

import itertools
import os
import random
import subprocess
import sys
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from raw_server import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    close_frame,
    frame,
    masked_frame,
)
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
    TextMessage,
)
from wsproto.handshake import H11Handshake

from trio_pipecat.transports._ws_client import (
    MAX_ANSWER,
    TOO_LARGE,
    Closed,
    Consent,
    Frames,
    Handshake,
    Refusal,
)

#: Where the head of a frame changes, and what wsproto is given piece by piece.
SIZES = [0, 1, 125, 126, 127, 4_000, 16_384, 16_385, 65_535, 65_536, 200_000]
LIMIT = 2**20


# -- the handshake -----------------------------------------------------------------------


class Asked(NamedTuple):
    """A handshake, and the server that has its request."""

    handshake: Handshake
    server: H11Handshake


def ask() -> Asked:
    """Have a client ask wsproto's server for the upgrade."""
    handshake = Handshake("bot.example", "/ws?a=1", [(b"x-key", b"7")])
    server = H11Handshake(ConnectionType.SERVER)
    server.receive_data(handshake.request)
    (request,) = server.events()
    assert ("bot.example", "/ws?a=1") == (request.host, request.target)
    assert (b"x-key", b"7") in request.extra_headers
    return Asked(handshake, server)


def pieces(data: bytes, size: int) -> list[bytes]:
    """Cut bytes into pieces of a size."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def answer(handshake: Handshake, data: bytes, size: int) -> Consent | Refusal | None:
    """Give a handshake the answer in pieces; return what it made of the last that it wanted."""
    for piece in pieces(data, size):
        if (said := handshake.answer(piece)) is not None:
            return said
    return None


CUTS = pytest.mark.parametrize("size", [1, 7, 10**6], ids=["byte by byte", "in pieces", "whole"])


@CUTS
def test_a_consent(size: int) -> None:
    """The answer of another implementation's server is a consent."""
    handshake, server = ask()
    assert Consent(b"") == answer(handshake, server.send(AcceptConnection()), size)


@pytest.mark.parametrize("rest", [frame(BINARY, b"hi"), b"\r\n\r\n", b"HTTP/1.1", bytes(10_000)])
def test_what_follows_a_consent_is_kept(rest: bytes) -> None:
    """Whatever it is: it belongs to the frames."""
    handshake, server = ask()
    assert Consent(rest) == handshake.answer(server.send(AcceptConnection()) + rest)


@pytest.mark.parametrize("at", [1, 7, 40, -1])
def test_a_consent_that_comes_in_two(at: int) -> None:
    """Nothing is said before it is whole."""
    handshake, server = ask()
    consent = server.send(AcceptConnection())
    assert None is handshake.answer(consent[:at])
    assert Consent(b"rest") == handshake.answer(consent[at:] + b"rest")


def test_each_request_has_its_own_key() -> None:
    """So the consent to one is none to another."""
    (one, _), (_, server) = ask(), ask()
    assert Refusal(101, b"") == one.answer(server.send(AcceptConnection()))


@CUTS
@pytest.mark.parametrize("body", [b"", b"no", b"n" * 5_000])
def test_a_refusal_of_wsprotos(size: int, body: bytes) -> None:
    """With the length told, it is over with the last byte."""
    handshake, server = ask()
    headers = [(b"content-length", b"%d" % len(body))]
    data = server.send(RejectConnection(status_code=403, headers=headers, has_body=True))
    data += server.send(RejectData(data=body, body_finished=True))
    assert Refusal(403, body) == answer(handshake, data, size)


@CUTS
def test_a_refusal_in_chunks(size: int) -> None:
    """Its body is what is in them."""
    head = b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n"
    data = head + b"3\r\nout\r\n6\r\n of it\r\n0\r\n\r\n"
    assert Refusal(500, b"out of it") == answer(ask().handshake, data, size)


@CUTS
@pytest.mark.parametrize("body", [b"", b"out of it"])
def test_a_refusal_up_to_the_end(size: int, body: bytes) -> None:
    """It is over when nothing more comes."""
    handshake = ask().handshake
    assert None is answer(handshake, b"HTTP/1.1 503 Oops\r\n\r\n" + body, size)
    assert Refusal(503, body) == handshake.end()


@CUTS
@pytest.mark.parametrize(
    "line", [b"HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nhalf", b"HTTP/1.1 403 No\r\nServ"]
)
def test_a_refusal_that_breaks_off(size: int, line: bytes) -> None:
    """Its status counts, and what came of the body."""
    handshake = ask().handshake
    assert None is answer(handshake, line, size)
    assert Refusal(403, b"half" if b"half" in line else b"") == handshake.end()


def test_a_refusal_that_is_no_http_in_the_end() -> None:
    """What came before that counts."""
    handshake = ask().handshake
    head = b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert None is handshake.answer(head + b"3\r\nout\r\n")
    assert Refusal(500, b"out") == handshake.answer(b"no chunk\r\n")


def test_a_refusal_that_is_no_http_after_its_head() -> None:
    """Its status counts."""
    head = b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert Refusal(500, b"") == ask().handshake.answer(head + b"no chunk\r\n")


def test_an_informational_answer_is_a_refusal() -> None:
    """There is none that would mean anything here."""
    assert Refusal(102, b"") == ask().handshake.answer(b"HTTP/1.1 102 Processing\r\n\r\n")


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 101 Yes\r\n\r\n",
        b"HTTP/1.1 101 Yes\r\nno header\r\n\r\n",
        b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgr\xe4de\r\n\r\n",
        b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX: y\r\n\r\n",
    ],
)
def test_a_consent_that_is_not_valid_is_a_refusal(head: bytes) -> None:
    """Nothing of what follows it counts."""
    assert Refusal(101, b"") == ask().handshake.answer(head + frame(BINARY, b"hi"))


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH_9.6\r\n", b"\x15\x03\x01", b"http/1.1 200 OK"])
def test_what_is_no_http(said: bytes) -> None:
    """It is known with the first byte that can't be."""
    assert Refusal(None, said) == ask().handshake.answer(said)
    handshake = ask().handshake
    assert Refusal(None, said[:1]) == handshake.answer(said[:1])


@pytest.mark.parametrize("said", [b"", b"H", b"HTTP/1.", b"HTTP/1.1 1"])
def test_what_says_nothing(said: bytes) -> None:
    """It may become HTTP, until nothing more comes."""
    handshake = ask().handshake
    assert None is handshake.answer(said)
    assert Refusal(None, said) == handshake.end()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", 200),
        (b"HTTP/1.1 200 OK\r\nX: ", 200),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n", 200),
        (b"HTTP/1.1 999 Odd\r\nX: ", None),
    ],
)
def test_an_answer_without_an_end(head: bytes, status: int | None) -> None:
    """So much is read, and no more; where there is a status, that counts."""
    handshake, read = ask().handshake, len(head)
    said = handshake.answer(head)
    while said is None:
        said = handshake.answer(b"x" * 1_000)
        read += 1_000
    assert MAX_ANSWER < read <= MAX_ANSWER + 1_000
    assert isinstance(said, Refusal)
    assert (status, status is None) == (said.status, said.is_endless)
    assert len(said.said) <= MAX_ANSWER + 1_000


@given(data=st.binary() | st.binary().map(lambda more: b"HTTP/1.1 101 Yes\r\n" + more))
def test_no_answer_is_an_error(data: bytes) -> None:
    """Whatever comes, it is nothing yet, or a refusal, and the same in pieces."""
    said = []
    for size in (1, 10**6):
        handshake = Handshake("bot.example", "/", [])
        said.append(answer(handshake, data, size) or handshake.end())
        assert isinstance(said[-1], Refusal)
    assert said[0].status == said[1].status


# -- frames: reading ---------------------------------------------------------------------


class Reader:
    """Frames, and what they told."""

    def __init__(self, max_size: int = LIMIT) -> None:
        self.messages: list[bytes | str] = []
        self.answers: list[bytes] = []
        self.pongs: list[bytes] = []
        self.frames = Frames(
            max_size,
            on_message=self.messages.append,
            on_answer=self.answers.append,
            on_pong=self.pongs.append,
        )

    def read(self, *data: bytes) -> Closed | None:
        """Read bytes, in these pieces, each from a buffer that is used again."""
        closed = None
        buffer = bytearray(max(map(len, data), default=0))
        for piece in data:
            buffer[: len(piece)] = piece
            with memoryview(buffer)[: len(piece)] as view:
                closed = self.frames.receive(view)
            buffer[:] = b"\xa5" * len(buffer)
        return closed


class Reference:
    """What wsproto, fed the same bytes, has to say."""

    def __init__(self) -> None:
        self.messages: list[bytes | str] = []
        self.pings: list[bytes] = []
        self.pongs: list[bytes] = []
        self.closed: tuple[int, str] | None = None
        #: Whether that is a goodbye, and not a rule that was broken.
        self.is_goodbye = False
        self.connection = Connection(ConnectionType.CLIENT)
        self._parts: list[Any] = []

    def read(self, *data: bytes) -> None:
        """Read bytes, in these pieces."""
        for piece in data:
            if self.closed is None:
                self.connection.receive_data(piece)
                for event in self.connection.events():
                    self._take(event)

    def _take(self, event: Event) -> None:
        match event:
            case BytesMessage() | TextMessage():
                self._parts.append(event.data)
                if event.message_finished:
                    empty: Any = "" if isinstance(event, TextMessage) else b""
                    self.messages.append(empty.join(self._parts))
                    self._parts = []
            case Ping():
                self.pings.append(bytes(event.payload))
            case Pong():
                self.pongs.append(bytes(event.payload))
            case CloseConnection():
                self.is_goodbye = self.connection.state is not ConnectionState.OPEN
                self.closed = event.code, (event.reason or "") if self.is_goodbye else ""


def check_as_wsproto(*data: bytes) -> None:
    """Check that bytes, in these pieces, are read as wsproto reads them."""
    reader, reference = Reader(), Reference()
    closed = reader.read(*data)
    reference.read(*data)
    assert reference.messages == reader.messages
    assert reference.pongs == reader.pongs
    assert reference.pings == [payload for _, payload in heard_by_server(*reader.answers)]
    assert reference.closed == (None if closed is None else (closed.code, closed.text))
    if closed is not None:
        assert reference.is_goodbye is not bool(closed.error)


def heard_by_server(*data: bytes) -> list[tuple[str, Any]]:
    """Return what wsproto's server reads: what each event is, and what is in it."""
    server = Connection(ConnectionType.SERVER)
    heard: list[tuple[str, Any]] = []
    for piece in data:
        server.receive_data(piece)
        for event in server.events():
            if isinstance(event, CloseConnection):
                heard.append(("CloseConnection", (int(event.code), event.reason)))
                continue
            content = event.payload if isinstance(event, Ping | Pong) else event.data
            heard.append(
                (type(event).__name__, content if isinstance(content, str) else bytes(content))
            )
    return heard


def byte_by_byte(data: bytes) -> list[bytes]:
    """Cut bytes into bytes."""
    return pieces(data, 1)


KINDS = {
    "empty": frame(BINARY),
    "short": frame(BINARY, b"x" * 125),
    "of two bytes' length": frame(BINARY, b"x" * 126),
    "longest of those": frame(BINARY, b"x" * 65_535),
    "of eight bytes' length": frame(BINARY, b"x" * 65_536),
    "text": frame(TEXT, "é€".encode()),
    "empty text": frame(TEXT),
    "long text": frame(TEXT, b"x" * 126),
    "fragments": frame(BINARY, b"a", fin=False) + frame(0, b"b", fin=False) + frame(0, b"c"),
    "fragments of nothing": frame(BINARY, fin=False) + frame(0, fin=False) + frame(0),
    "a character in two fragments": frame(TEXT, b"\xc3", fin=False) + frame(0, b"\xa9"),
    "ping between fragments": frame(TEXT, b"a", fin=False) + frame(PING, b"?") + frame(0, b"b"),
    "frames in a frame": frame(BINARY, frame(BINARY, b"inner"), fin=False) + frame(0, b"\x82\x01x"),
    "ping": frame(PING, b"?"),
    "empty ping": frame(PING),
    "longest ping": frame(PING, b"?" * 125),
    "pong": frame(PONG, b"!"),
    "goodbye": close_frame(1000, "bye"),
    "goodbye without a code": close_frame(),
    "goodbye of one's own": close_frame(4001, "é"),
    "reserved bit": frame(BINARY, b"x", bits=0x40),
    "unknown opcode": frame(0x3, b"x"),
    "unknown control frame": frame(0xB, b"x"),
    "masked": masked_frame(BINARY, b"x"),
    "masked, long": bytes([0x82, 0xFE, 0, 126]) + bytes(4) + b"x" * 126,
    "masked ping": masked_frame(PING, b"x"),
    "no UTF-8": frame(TEXT, b"ok\xff"),
    "large ping": frame(PING, b"x" * 126),
    "ping in fragments": frame(PING, b"x", fin=False),
    "no beginning": frame(0, b"x"),
    "two beginnings": frame(BINARY, b"x", fin=False) + frame(BINARY, b"y"),
    "half a code": frame(CLOSE, b"\x03"),
    "no code": close_frame(999),
    "length in two bytes, for nothing": bytes([0x82, 126, 0, 125]) + b"x" * 125,
    "length in eight bytes, for nothing": bytes([0x82, 127]) + (5).to_bytes(8) + b"12345",
    "negative length": bytes([0x82, 127]) + b"\xff" * 8,
}


@pytest.mark.parametrize("after", [b"", frame(BINARY, b"next"), frame(TEXT, b"n")[:-1]])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_frame(kind: str, after: bytes) -> None:
    """It is read as wsproto reads it: whole, byte by byte, and with something behind it."""
    data = KINDS[kind] + after
    check_as_wsproto(data)
    if len(data) < 1_000:
        check_as_wsproto(*byte_by_byte(data))
    for cut in range(1, min(len(data), 12)):
        check_as_wsproto(data[:cut], data[cut:])
    check_as_wsproto(data[:-1], data[-1:])


def bodies(size: int) -> bytes:
    """Return so many bytes of ASCII, which tell where they are from."""
    return (
        random.Random(size).randbytes(size).translate(bytes([byte & 0x7F for byte in range(256)]))
    )


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Frames as a server may send them, cut anywhere."""
    data = b""
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["whole", "whole", "fragments", PING, PONG]))
        opcode = draw(st.sampled_from([BINARY, BINARY, TEXT]))
        body = bodies(draw(st.sampled_from(SIZES) | st.integers(0, 300)))
        if kind == "whole":
            data += frame(opcode, body)
        elif kind == "fragments":
            at = draw(st.integers(0, len(body)))
            data += frame(opcode, body[:at], fin=False)
            data += frame(PING, b"mid") if draw(st.booleans()) else b""
            data += frame(0, body[at:], fin=False) + frame(0, b"end")
        else:
            data += frame(kind, body[:125])
    data += close_frame(1000, "bye") if draw(st.booleans()) else b""
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return [data[a:b] for a, b in itertools.pairwise([0, *cuts, len(data)])]


@given(streams())
@example([frame(BINARY, bodies(size)) for size in SIZES])
@example([b"".join(frame(TEXT, bodies(size)) for size in SIZES)])
def test_any_stream_is_read_as_wsproto_reads_it(data: list[bytes]) -> None:
    """Whatever messages it has, in fragments or not, with pings in between, cut anywhere."""
    check_as_wsproto(*data)


@given(data=st.binary(max_size=60), cuts=st.lists(st.integers(0, 60), max_size=5))
def test_any_bytes_are_read_as_wsproto_reads_them(data: bytes, cuts: list[int]) -> None:
    """Nonsense ends with the same code, and nothing is ever raised."""
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    cut = [data[a:b] for a, b in itertools.pairwise(edges)]
    reader, reference = Reader(), Reference()
    closed = reader.read(*cut)
    reference.read(*cut)
    assert reference.messages == reader.messages
    # wsproto has no limit, and refuses some heads before they are whole.
    if closed is None:
        assert reference.closed is None or reference.closed[0] == 1002
    elif closed.code != TOO_LARGE:
        assert reference.closed == (closed.code, closed.text)


def test_what_is_kept_is_a_copy() -> None:
    """A buffer that is used again changes no message, whole or not."""
    reader = Reader()
    for data in (frame(BINARY, b"whole"), frame(BINARY, b"half")[:-2]):
        buffer = bytearray(data)
        reader.frames.receive(memoryview(buffer))
        buffer[:] = b"\xff" * len(buffer)
    reader.read(b"lf")
    assert [b"whole", b"half"] == reader.messages
    assert {bytes} == {type(message) for message in reader.messages}


def test_a_pause() -> None:
    """What comes during it is kept, and read afterwards, in order."""
    reader = Reader()
    seen = reader.messages

    def take(message: bytes | str) -> None:
        seen.append(message)
        frames.is_paused = len(seen) == 2

    frames = Frames(LIMIT, on_message=take, on_answer=lambda _: None, on_pong=lambda _: None)
    data = b"".join(frame(BINARY, b"%d" % number) for number in range(4))
    assert None is frames.receive(data + frame(TEXT, b"4")[:1])
    assert [b"0", b"1"] == seen
    frames.receive(frame(TEXT, b"4")[1:] + close_frame(1000))
    assert [b"0", b"1"] == seen
    frames.is_paused = False
    closed = frames.receive(b"")
    assert [b"0", b"1", b"2", b"3", "4"] == seen
    assert closed is not None
    assert 1000 == closed.code


@pytest.mark.parametrize(
    ("one", "between_pauses"),
    [(frame(BINARY, b"x"), 500), (frame(TEXT, b"x"), 100), (frame(PING), 100)],
    ids=["plain", "text", "ping"],
)
def test_many_frames_at_once_are_read_with_pauses(one: bytes, between_pauses: int) -> None:
    """However small they are, others have their turn."""
    seen: list[object] = []
    frames = Frames(LIMIT, on_message=seen.append, on_answer=seen.append, on_pong=seen.append)
    frames.receive(one * 1_050)
    counts = []
    while frames.is_paused:
        counts.append(len(seen))
        frames.is_paused = False
        frames.receive(b"")
    assert list(range(between_pauses, 1_050, between_pauses)) == counts
    assert 1_050 == len(seen)


# -- limits ------------------------------------------------------------------------------


LIMITED = {
    "binary": frame(BINARY, b"x" * 1_001),
    "text": frame(TEXT, b"x" * 1_001),
    "its head": frame(BINARY, b"x" * 1_001)[:4],
    "eight bytes of length": bytes([0x82, 127]) + (2**62).to_bytes(8),
    "fragments": frame(BINARY, b"x" * 600, fin=False) + frame(0, b"x" * 600),
    "a ping between": frame(TEXT, b"x" * 600, fin=False) + frame(PING) + frame(0, b"x" * 600)[:4],
}


@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize("kind", LIMITED)
def test_a_message_over_the_limit(kind: str, cut: bool) -> None:
    """It ends the frames as soon as it is known, after what came before it."""
    reader = Reader(max_size=1_000)
    data = frame(BINARY, b"x" * 1_000) + frame(TEXT, b"y" * 1_000) + LIMITED[kind]
    closed = reader.read(*(byte_by_byte(data) if cut else [data]))
    assert [b"x" * 1_000, "y" * 1_000] == reader.messages
    assert closed is not None
    error = "a message of over 1000 bytes came"
    assert (TOO_LARGE, "", error) == (closed.code, closed.text, closed.error)
    assert [("CloseConnection", (TOO_LARGE, ""))] == heard_by_server(closed.answer)


def test_fragments_of_two_messages_are_counted_apart() -> None:
    """The limit is for each."""
    reader = Reader(max_size=1_000)
    one = frame(BINARY, b"x" * 900, fin=False) + frame(0, b"x" * 100)
    assert None is reader.read(one, one + frame(PING, b"?" * 125) + one)
    assert [b"x" * 1_000] * 3 == reader.messages


# -- goodbyes ----------------------------------------------------------------------------


def test_a_goodbye_is_answered() -> None:
    """With the same, and nothing after it is read."""
    reader = Reader()
    closed = reader.read(close_frame(4001, "é") + frame(BINARY, b"late"))
    assert closed is not None
    assert (4001, "é", "") == (closed.code, closed.text, closed.error)
    assert [("CloseConnection", (4001, "é"))] == heard_by_server(closed.answer)
    assert closed is reader.frames.closed
    assert closed is reader.read(frame(BINARY, b"later"))
    assert [] == reader.messages


def test_a_goodbye_without_a_code() -> None:
    """Its code is 1005, which is not sent."""
    closed = Reader().read(close_frame())
    assert closed is not None
    assert (1005, b"\x88\x80") == (closed.code, closed.answer[:2])


def test_our_goodbye() -> None:
    """It is said once; then nothing but messages goes out, and the answer is not answered."""
    reader = Reader()
    frames = reader.frames
    said = frames.close(1000, "bye")
    assert [("CloseConnection", (1000, "bye"))] == heard_by_server(said)
    assert (b"", b"") == (frames.close(1011), frames.ping(b"?"))
    assert None is reader.read(frame(PING, b"crosses"), frame(BINARY, b"crosses"))
    assert ([], [b"crosses"]) == (reader.answers, reader.messages)
    assert Closed(1000, "bye") == reader.read(close_frame(1000, "bye"))


def test_a_goodbye_needs_no_text() -> None:
    """Just its code goes out."""
    assert [("CloseConnection", (1000, ""))] == heard_by_server(Reader().frames.close(1000))


def test_nonsense_after_our_goodbye() -> None:
    """It is told, and not answered."""
    reader = Reader()
    reader.frames.close(1000)
    closed = reader.read(frame(BINARY, b"x", bits=0x70))
    assert closed is not None
    assert (1002, b"") == (closed.code, closed.answer)
    assert closed.error


def test_what_breaks_the_rules_is_answered_with_its_code() -> None:
    """And with what was wrong told to us."""
    closed = Reader().read(frame(TEXT, b"\xff"))
    assert closed is not None
    assert [("CloseConnection", (1007, ""))] == heard_by_server(closed.answer)
    assert "utf-8" in closed.error


def test_a_goodbye_to_a_server_to_which_nothing_else_was_said() -> None:
    """It is a frame of a client's."""
    assert [("CloseConnection", (1000, ""))] == heard_by_server(
        Frames(10, on_message=bool, on_answer=bool, on_pong=bool).close(1000)
    )


def test_pings_and_pongs() -> None:
    """What is asked is answered; what was asked is told."""
    reader = Reader()
    assert [("Ping", b"abcd")] == heard_by_server(reader.frames.ping(b"abcd"))
    assert None is reader.read(frame(PONG, b"abcd") + frame(PING, b"and you?"))
    assert [b"abcd"] == reader.pongs
    assert [("Pong", b"and you?")] == heard_by_server(*reader.answers)


# -- frames: writing ---------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_what_is_written_is_what_a_server_reads(size: int) -> None:
    """Binary messages and texts of any size."""
    frames, body = Reader().frames, bodies(size)
    for message in (body, body.decode()):
        server = Reference()
        server.connection = Connection(ConnectionType.SERVER)
        server.read(frames.message(message))
        assert [message] == server.messages


@given(st.lists(st.binary(max_size=300) | st.text(max_size=300), max_size=5))
def test_any_messages_are_written_as_a_server_reads_them(messages: list[bytes | str]) -> None:
    """One after the other, in the same connection."""
    frames, server = Reader().frames, Reference()
    server.connection = Connection(ConnectionType.SERVER)
    server.read(b"".join(map(frames.message, messages)))
    assert messages == server.messages


def key_of(data: bytes) -> bytes:
    """Return the mask of a short frame."""
    return data[2:6]


def test_every_frame_has_a_mask_of_its_own() -> None:
    """However many there are."""
    frames = Reader().frames
    keys = [key_of(frames.message(b"x")) for _ in range(3_000)]
    # Two of so many may be alike by chance, one time in a thousand; three are not.
    assert 2_998 <= len({*keys})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_process_that_forks_masks_as_its_child_does_not() -> None:
    """Neither uses what the other does."""
    program = """
import os
from trio_pipecat.transports._ws_client import Frames
frames = Frames(1, on_message=print, on_answer=print, on_pong=print)
frames.message(b"x")
child = os.fork()
keys = [frames.message(b"x")[2:6].hex() + "\\n" for _ in range(300)]
os.write(1, "".join(keys).encode())
if child:
    assert 0 == os.waitpid(child, 0)[1]
else:
    os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True
    )
    keys = done.stdout.split()
    assert 600 == len(keys)
    assert 599 <= len({*keys})
