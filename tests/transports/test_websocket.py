"""The client's WebSocket, against peers good, bad and silent, on real sockets."""

import itertools
import logging
import math
import socket
import ssl
import struct
import traceback
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio
import trio_websocket
import trustme
from links import chain_of, connect, receive_all
from raw_server import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Frame,
    close_code,
    close_frame,
    frame,
    masked_frame,
    nothing_left,
    serve_raw,
)
from trio.testing import assert_checkpoints

from trio_pipecat import (
    InternalError,
    InvalidParamsError,
    PipecatError,
    TransportStartError,
)
from trio_pipecat._version import USER_AGENT
from trio_pipecat.audio import AudioChunk
from trio_pipecat.transports import Interruption, LinkEnd, Undecodable
from trio_pipecat.transports._envelope import (
    decode,
    encode_audio,
    encode_interruption,
    encode_message,
)

pytestmark = pytest.mark.socket

SECRET = "eyJleHAiOjE3.c0ffee-s3cret_t0ken"
OK_END = LinkEnd(code=1000, first="client")
BIG = 2**20


# -- helpers -----------------------------------------------------------------------------


@asynccontextmanager
async def linked(script, tls=(None, None), **options):
    """Serve a script, and open a link to it."""
    server_context, client_context = tls
    async with (
        serve_raw(script, ssl_context=server_context) as server,
        connect(server.url, ssl_context=client_context, **options) as link,
    ):
        yield link, server


async def refusal(url, **options):
    """Return the error that opening a link gives. It is bare, and hides no bug of ours."""
    with pytest.raises(PipecatError) as caught:
        async with connect(url, **options):
            raise AssertionError("the link is open")
    for error in chain_of(caught.value):
        assert not isinstance(error, InternalError)
    return caught.value


def message(text):
    """Return the frame of a message, as a server sends it."""
    return frame(BINARY, encode_message(text))


def saying(data):
    """Return a script that accepts, says all that in the same packet, and returns what it got."""

    async def script(peer):
        await peer.accept(and_send=data)
        return await peer.frames()

    return script


def answering(answer):
    """Return a script that answers the upgrade with these bytes and hangs up."""

    async def script(peer):
        await peer.request()
        with suppress(trio.BrokenResourceError):  # a client may know enough before the end
            await peer.send(answer)

    return script


async def polite(peer):
    """A script that accepts, reads up to the goodbye and answers it; it returns the code."""
    await peer.accept()
    return await peer.good_close()


async def keep(peer):
    """A script that accepts, reads up to the goodbye and answers it; it returns what came."""
    await peer.accept()
    frames = await peer.until_close()
    await peer.send(close_frame(1000))
    return frames


async def cancel_later(scope, steps):
    """Cancel a scope after so many steps."""
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def send_until_blocked(link, size=BIG):
    """Send messages until one has to wait; then give, cancelled, the number of those sent."""
    sent = 0

    async def send():
        nonlocal sent
        while True:
            await link.send_message(f"{sent:04}" + "x" * size)
            sent += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        before = -1
        while before != sent:
            before = sent
            await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    return sent


def texts(frames):
    """Return the texts of the messages in frames of ours, and the opcodes of what is no message."""
    return [decode(f.payload) if f.opcode == BINARY else f.opcode for f in frames]


@pytest.fixture(scope="module")
def authority():
    """An authority that signs certificates."""
    return trustme.CA()


@pytest.fixture(scope="module")
def server_tls(authority):
    """The TLS settings of a server on 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def client_tls(authority):
    """The TLS settings of a client that trusts the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(params=["plain", "tls"])
def tls(request, server_tls, client_tls):
    """Settings of both sides, without TLS and with it."""
    return (server_tls, client_tls) if request.param == "tls" else (None, None)


class Resolver(trio.abc.HostnameResolver):
    """A resolver that finds nothing, or never answers."""

    def __init__(self, *, answers):
        self.asked = trio.Event()
        self._answers = answers

    async def getaddrinfo(self, host, port, *how):
        self.asked.set()
        if not self._answers:
            await trio.sleep_forever()
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


def resolve_with(resolver):
    """Have this test's names resolved by `resolver`."""
    trio.socket.set_custom_hostname_resolver(resolver)
    return resolver


# -- no link to be had -------------------------------------------------------------------


async def test_refused_port():
    """Where nobody listens, the error says so, and where."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with nothing_left():
        error = await refusal(f"ws://127.0.0.1:{port}/ws")
    assert ("connect", None) == (error.stage, error.status)
    assert f"127.0.0.1:{port}: Connection refused" == error.detail


async def test_unresolvable_host():
    """A host that has no address is an error of its own stage."""
    resolve_with(Resolver(answers=True))
    with nothing_left():
        error = await refusal("ws://nowhere.invalid/ws")
    assert "resolve" == error.stage
    assert "'nowhere.invalid' can't be resolved: Name or service not known" == error.detail


async def is_refused(peer):
    """A script whose client does not trust it, and says so."""
    with suppress(trio.BrokenResourceError):
        await peer.stream.receive_some()


async def test_certificate_of_a_stranger(server_tls):
    """A certificate that nobody we trust has signed is refused."""
    async with serve_raw(is_refused, ssl_context=server_tls) as server:
        error = await refusal(server.url)
    assert "tls" == error.stage
    assert "certificate refused" in error.detail


async def test_certificate_of_another_host(authority, client_tls):
    """A certificate for another name is refused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.example").configure_cert(context)
    async with serve_raw(is_refused, ssl_context=context) as server:
        error = await refusal(server.url, ssl_context=client_tls)
    assert "tls" == error.stage
    assert "certificate refused" in error.detail
    assert "127.0.0.1" in error.detail


async def test_plain_server_on_wss(client_tls):
    """A server without TLS is found out when wss is asked for."""

    async def script(peer):
        await peer.stream.receive_some()
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serve_raw(script) as server:
        error = await refusal(server.url.replace("ws://", "wss://"), ssl_context=client_tls)
    assert "tls" == error.stage
    assert "TLS failed" in error.detail


async def test_tls_server_on_ws(server_tls):
    """A server with TLS is found out when plain ws is asked for."""

    async def script(peer):
        with suppress(trio.BrokenResourceError):
            await peer.stream.receive_some()

    async with serve_raw(script, ssl_context=server_tls) as server:
        error = await refusal(server.url.replace("wss://", "ws://"))
    assert "upgrade" == error.stage


@pytest.mark.parametrize("how", ["hangs up", "resets"])
async def test_server_that_is_gone_during_tls(client_tls, how):
    """A server that goes away during the TLS handshake is no link."""

    async def script(peer):
        await peer.stream.receive_some()
        if how == "resets":
            peer.reset()

    async with serve_raw(script) as server:
        error = await refusal(server.url.replace("ws://", "wss://"), ssl_context=client_tls)
    assert "tls" == error.stage


@pytest.mark.parametrize("when", ["at once", "after the request", "with a reset"])
async def test_server_that_hangs_up(when):
    """A server that hangs up without a word is no link."""

    async def script(peer):
        if when != "at once":
            await peer.request()
        if when == "with a reset":
            peer.reset()

    async with serve_raw(script) as server:
        error = await refusal(server.url)
    assert ("upgrade", None) == (error.stage, error.status)
    assert "the server hung up without an answer" == error.detail


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\nInvalid SSH identification string.\r\n\r\n",
        b"220 mail.example ESMTP\r\n",
        b"-ERR unknown command 'GET'\r\n",
        b"hello\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"\x00" * 100_000,
        b"x" * 300_000,
    ],
)
async def test_server_of_something_else(answer):
    """A server that speaks something else is named by what it said."""
    async with serve_raw(answering(answer)) as server:
        error = await refusal(server.url)
    assert ("upgrade", None) == (error.stage, error.status)
    said = repr(answer.decode("latin-1")[:15].strip())[1:-1]
    assert error.detail.startswith("this is no WebSocket server: it answered ")
    assert said in error.detail
    assert len(error.detail) < 1000


async def test_server_that_echoes():
    """An echo server is no WebSocket server."""

    async def script(peer):
        while data := await peer.stream.receive_some():
            await peer.send(data)

    async with serve_raw(script) as server:
        error = await refusal(server.url)
    assert "it answered 'GET /ws-client HTTP/1.1" in error.detail


REASONS = {
    200: "refused the upgrade",
    302: "refused the upgrade",
    401: "refused the upgrade",
    403: "the token was bad or used up, the Origin is not allowed, or there is no such path",
    404: "refused the upgrade",
    500: "refused the upgrade",
}


def framed(status, body, framing):
    """Return an HTTP response with its body framed in some way."""
    head = f"HTTP/1.1 {status} Whatever\r\nServer: hostile\r\n".encode()
    match framing:
        case "length":
            return head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body
        case "chunked":
            chunk = f"{len(body):x}\r\n".encode() + body + b"\r\n" if body else b""
            return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n"
        case _:
            return head + b"\r\n" + body


@pytest.mark.parametrize("framing", ["length", "chunked", "until the end"])
@pytest.mark.parametrize("body", ["", " the server's own words\n"])
@pytest.mark.parametrize("status", REASONS)
async def test_refused_upgrade(status, body, framing):
    """An upgrade that is refused has its status, and the server's own words where it gave some."""
    async with serve_raw(answering(framed(status, body.encode(), framing))) as server:
        error = await refusal(server.url)
    assert ("upgrade", status) == (error.stage, error.status)
    words = body.strip()
    if words:
        assert words in error.detail
    if not words or status == 403:
        assert REASONS[status] in error.detail


async def test_refusal_while_the_connection_stays():
    """A refusal counts when it is complete, though the server does not hang up."""

    async def script(peer):
        await peer.request()
        await peer.send(framed(403, b'{"detail":"no"}', "length"))
        return await peer.stream.receive_some()

    async with serve_raw(script) as server:
        error = await refusal(server.url)
        assert b"" == await server.view()
    assert 403 == error.status
    assert error.detail.endswith('({"detail":"no"})')


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "])
async def test_endless_answer(head):
    """A server that goes on for ever is cut off; what counts is the status."""

    async def script(peer):
        await peer.request()
        await peer.send(head)
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await peer.send(b"x" * 10_000)

    async with serve_raw(script) as server:
        error = await refusal(server.url)
        await server.view()
    assert 200 == error.status


async def test_endless_answer_with_an_odd_status():
    """An endless answer with a status that HTTP does not know is told by it all the same."""

    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 999 Odd\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await peer.send(b"x" * 10_000)

    async with serve_raw(script) as server:
        error = await refusal(server.url)
    assert 999 == error.status


@pytest.mark.parametrize("length", [199, 200, 201, 5000])
async def test_long_words_are_cut(length):
    """Of what a server said only the beginning is shown."""
    async with serve_raw(answering(framed(500, b"w" * length, "length"))) as server:
        error = await refusal(server.url)
    assert "w" * min(length, 200) == error.detail


ACCEPT = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Accept": "right",
}


@pytest.mark.parametrize(
    "change",
    [
        {"Sec-WebSocket-Accept": "dGhpcyBpcyB3cm9uZyE="},
        {"Sec-WebSocket-Accept": ""},
        {"Upgrade": "h2c"},
        {"Connection": "close"},
        {"Connection": "Upgr\xe4de"},
        {"Sec-WebSocket-Extensions": "permessage-deflate"},
        {"Sec-WebSocket-Protocol": "rtvi"},
        {"Sec-WebSocket-Protocol": "\xe4"},
    ],
)
async def test_consent_that_is_not_valid(change):
    """A consent to the upgrade that is not the right answer to our request is none."""

    async def script(peer):
        right = (await peer.request()).accept_token().decode()
        lines = [
            f"{name}: {value if value != 'right' else right}\r\n"
            for name, value in {**ACCEPT, **change}.items()
        ]
        head = f"HTTP/1.1 101 Switching Protocols\r\n{''.join(lines)}\r\n"
        await peer.send(head.encode("latin-1"))
        return await peer.stream.receive_some()

    async with serve_raw(script) as server:
        error = await refusal(server.url)
        assert b"" == await server.view()
    assert ("upgrade", 101) == (error.stage, error.status)
    assert "not valid" in error.detail


async def test_refusal_that_breaks_the_rules():
    """A refusal whose body is no HTTP any more has its status all the same."""
    answer = framed(403, b"", "chunked")[:-5] + b"this is no chunk\r\n"
    async with serve_raw(answering(answer)) as server:
        error = await refusal(server.url)
    assert 403 == error.status


async def test_server_of_something_else_that_waits():
    """Its first words are enough: the caller's patience is not tried."""

    async def script(peer):
        await peer.request()
        await peer.send(b"SSH-2.0-OpenSSH_9.6\r\n")
        await peer.frames()

    async with serve_raw(script) as server:
        error = await refusal(server.url)
    assert "SSH-2.0" in error.detail


async def test_informational_answer():
    """An answer that is neither consent nor refusal is told by its status."""
    async with serve_raw(answering(b"HTTP/1.1 102 Processing\r\n\r\n")) as server:
        error = await refusal(server.url)
    assert 102 == error.status


@pytest.mark.parametrize("answer", [b"", b"HTT", b"HTTP/1.1 101 Swi"])
async def test_server_that_says_nothing_more(answer):
    """A server that falls silent during the upgrade has the caller's patience, and no more."""

    async def script(peer):
        await peer.request()
        await peer.send(answer or b"")
        return await peer.stream.receive_some()

    async with serve_raw(script) as server:
        with trio.move_on_after(0.1) as deadline:
            async with connect(server.url):
                raise AssertionError("the link is open")
        assert deadline.cancelled_caught
        assert b"" == await server.view()


# -- what is asked for ---------------------------------------------------------------------


async def request_of(url=None, *, host="127.0.0.1", path=None, **options):
    """Return the request that a server sees."""

    async def script(peer):
        request = await peer.accept()
        await peer.good_close()
        return request

    async with serve_raw(script, host=host) as server:
        address = server.url if path is None else server.url.replace("/ws-client", path)
        async with connect(address.replace("ws://", url or "ws://"), **options):
            pass
        return server.port, await server.view()


async def test_plain_request():
    """A request without anything names its host, with the port, and who asks."""
    port, request = await request_of()
    assert "/ws-client" == request.target
    assert f"127.0.0.1:{port}" == request.headers["host"]
    assert USER_AGENT == request.headers["user-agent"]
    assert "authorization" not in request.headers
    assert "origin" not in request.headers


async def test_token_in_the_header():
    """A token is a bearer token, unless the caller says otherwise."""
    _, request = await request_of(token=SECRET)
    assert f"Bearer {SECRET}" == request.headers["authorization"]
    assert "/ws-client" == request.target


@pytest.mark.parametrize(
    ("place", "target"),
    [("query", f"/ws-client?a=1&token={SECRET}"), ("path", f"/ws-client/{SECRET}?a=1")],
)
async def test_token_elsewhere(place, target):
    """A token may go into the query or the path, and then into no header."""
    _, request = await request_of(token=SECRET, token_in=place, path="/ws-client?a=1")
    assert target == request.target
    assert "authorization" not in request.headers


async def test_token_with_odd_characters():
    """A token in the query or the path is percent-encoded."""
    _, request = await request_of(token="a/b ü&c", token_in="query")
    assert "/ws-client?token=a%2Fb%20%C3%BC%26c" == request.target
    _, request = await request_of(token="a/b ü&c", token_in="path")
    assert "/ws-client/a%2Fb%20%C3%BC%26c" == request.target


async def test_body_goes_into_the_query():
    """What Pipecat Cloud wants to see again is a query parameter."""
    _, request = await request_of(body='{"a":1}', token=SECRET, token_in="query")
    assert f"/ws-client?token={SECRET}&body=%7B%22a%22%3A1%7D" == request.target


async def test_origin_and_headers():
    """The origin and other headers are the caller's, its User-Agent too."""
    headers = {"X-Trace": "7", "user-agent": "mine/1.0", "X-Latin": "caf\xe9"}
    _, request = await request_of(origin="https://example.com", headers=headers)
    assert "https://example.com" == request.headers["origin"]
    assert "7" == request.headers["x-trace"]
    assert "caf\xe9" == request.headers["x-latin"]
    assert "mine/1.0" == request.headers["user-agent"]


async def test_headers_are_sent_once():
    """A header that both sides would set is the caller's, however it is spelt."""
    lines = []

    async def script(peer):
        lines.append(await peer.stream.receive_some())

    async with serve_raw(script) as server:
        url = server.url.replace("ws://", "ws://ann:pw@")
        await refusal(url, headers={"Authorization": "Mine", "User-Agent": "mine"})
    assert 1 == lines[0].lower().count(b"authorization:")
    assert 1 == lines[0].lower().count(b"user-agent:")
    assert b"authorization: Mine\r\n" in lines[0]


@pytest.mark.parametrize(
    ("address", "more"),
    [
        ("ws://127.0.0.1:1/", {"headers": {"Authorization": "Mine"}}),
        ("ws://ann:pw@127.0.0.1:1/", {}),
    ],
)
async def test_two_authorizations_are_one_too_many(address, more):
    """Which of them was meant, the caller has to say."""
    error = await refusal(address, token=SECRET, **more)
    assert isinstance(error, InvalidParamsError)
    assert "two authorizations" in str(error)
    assert SECRET not in str(error)


@pytest.mark.parametrize(
    ("user", "authorization"),
    [
        ("ann:pw", "Basic YW5uOnB3"),
        ("ann", "Basic YW5uOg=="),
        ("a%40b:%C3%BC%3A", "Basic YUBiOsO8Og=="),
    ],
)
async def test_user_in_the_address(user, authorization):
    """A user in the address is Basic authorization, and stays out of the Host header."""
    port, request = await request_of(f"ws://{user}@")
    assert authorization == request.headers["authorization"]
    assert f"127.0.0.1:{port}" == request.headers["host"]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("", "/"),
        ("/", "/"),
        ("?x=1", "/?x=1"),
        ("/ü/ö?ä=é", "/%C3%BC/%C3%B6?%C3%A4=%C3%A9"),
        ("/a%20b%2Fc", "/a%20b%2Fc"),
        ("/ws#fragment", "/ws"),
        ('/"<>?"<>', "/%22%3C%3E?%22%3C%3E"),
        ("/a;b=1/~c,d", "/a;b=1/~c,d"),
    ],
)
async def test_path_is_percent_encoded(path, target):
    """What a request can't hold as it is, is percent-encoded; what is encoded already stays."""
    _, request = await request_of(path=path)
    assert target == request.target


async def test_ipv6_host():
    """An IPv6 address is connected to, and named in brackets."""
    try:
        port, request = await request_of(host="::1")
    except OSError:
        pytest.skip("no IPv6 on this machine")
    assert f"[::1]:{port}" == request.headers["host"]


@pytest.mark.parametrize(
    ("url", "more"),
    [
        ("ws://bot.example/ws", {"token": SECRET}),
        (f"ws://bot.example/ws?token={SECRET}", {}),
        (f"ws://ann:{SECRET}@bot.example/ws", {}),
        ("ws://bot.example/ws", {"headers": {"cookie": f"session={SECRET}"}}),
        ("ws://bot.example/ws", {"headers": {"Authorization": SECRET}}),
        ("ws://10.0.0.1/ws", {"token": SECRET, "token_in": "query"}),
    ],
)
async def test_insecure_token(url, more):
    """A token does not go over the network unencrypted, unless the caller allows it."""
    resolve_with(Resolver(answers=True))
    error = await refusal(url, **more)
    assert isinstance(error, InvalidParamsError)
    assert "allow_insecure_token=True" in str(error)
    assert SECRET not in str(error)
    if "10.0.0.1" not in url:
        error = await refusal(url, **more, allow_insecure_token=True)
        assert "resolve" == error.stage


@pytest.mark.parametrize("url", ["ws://bot.example/ws", "wss://bot.example/ws"])
async def test_token_that_is_none_or_safe(url):
    """Without a token, or with TLS, there is nothing to allow."""
    resolve_with(Resolver(answers=True))
    token = SECRET if url.startswith("wss") else None
    assert "resolve" == (await refusal(url, token=token)).stage


@pytest.mark.parametrize(
    "url", [None, "http://127.0.0.1/", "ws://", "ws://127.0.0.1:99999/", "ws://127.0.0.1/a b"]
)
async def test_address_that_is_none(url):
    """Something that is no WebSocket address is refused before anything is tried."""
    assert isinstance(await refusal(url), InvalidParamsError)


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"token": f"{SECRET}\n"}, "Authorization"),
        ({"token": f"{SECRET}€"}, "Authorization"),
        ({"token": f" {SECRET} "}, "Authorization"),
        ({"headers": {"X-Key": f"{SECRET}\r\nX-Other: 1"}}, "X-Key"),
        ({"headers": {"X-Key": f"{SECRET}\0"}}, "X-Key"),
        ({"origin": "https://€.example"}, "Origin"),
    ],
)
async def test_header_that_can_not_be_sent(more, name):
    """A token or header that does not fit into a request is refused, by name, and not shown."""
    error = await refusal("ws://127.0.0.1:1/", **more)
    assert isinstance(error, InvalidParamsError)
    assert name.lower() in str(error)
    assert SECRET not in str(error)


async def test_stages(tls):
    """Whoever wants to know is told each step of the opening."""
    stages = []
    async with linked(polite, tls, on_stage=stages.append):
        pass
    assert ["connect", *(["tls"] if any(tls) else []), "upgrade"] == stages


# -- secrets -----------------------------------------------------------------------------


PLACES = {
    "header": {"token": SECRET},
    "query": {"token": SECRET, "token_in": "query"},
    "path": {"token": SECRET, "token_in": "path"},
    "body": {"body": f'{{"key":"{SECRET}"}}'},
    "headers": {"headers": {"X-Api-Key": SECRET, "Cookie": f"a=b; session={SECRET}"}},
    "user": {"user": f"ann:{SECRET}"},
    "address": {"path": f"/ws-client?key={SECRET}"},
}


async def echo_body(peer):
    """Refuse the upgrade with the request as the body."""
    request = await peer.request()
    body = repr(request).encode()
    await peer.send(framed(403, body, "length"))


async def echo_location(peer):
    """Send the client elsewhere, with its secrets."""
    request = await peer.request()
    await peer.send(
        f"HTTP/1.1 302 Found\r\nLocation: {request.target}\r\nContent-Length: 0\r\n"
        f"Set-Cookie: {request.headers.get('authorization')}\r\n\r\n".encode()
    )


async def echo_everything(peer):
    """Send back what comes."""
    while data := await peer.stream.receive_some():
        await peer.send(data)


async def echo_late(peer):
    """Send the secret where the error cuts what was said."""
    request = await peer.request()
    await peer.send(framed(500, b"." * 190 + repr(request).encode(), "length"))


async def echo_messages(peer):
    """Accept, answer messages, then break the rules of the protocol."""
    await peer.accept(and_send=message("hi") + frame(BINARY, b"\xff") + frame(PING, b"?"))
    await peer.send(frame(BINARY, b"x", bits=0x40))
    await peer.frames()


async def echo_in_the_close(peer):
    """Say the secret as the reason of the goodbye."""
    request = await peer.accept()
    told = (request.target, *request.headers.values())
    await peer.send(close_frame(4001, next((part for part in told if SECRET in part), "bye")))
    await peer.frames()


@pytest.fixture
def log_records():
    """Every log record of the test, of whatever logger and level, as text."""
    records = []

    class Recorder(logging.Handler):
        def emit(self, record):
            records.append(self.format(record))

    root, recorder = logging.getLogger(), Recorder()
    level = root.level
    root.addHandler(recorder)
    root.setLevel(logging.DEBUG)
    yield records
    root.setLevel(level)
    root.removeHandler(recorder)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "script",
    [
        echo_body,
        echo_location,
        echo_everything,
        echo_late,
        echo_messages,
        echo_in_the_close,
        polite,
    ],
)
async def test_secrets_are_not_shown(script, place, log_records):
    """No secret is in an error, its causes, a repr or a log record, though the server echoes it."""
    more = PLACES[place].copy()
    user, path = more.pop("user", None), more.pop("path", "/ws-client")
    shown = log_records
    async with serve_raw(script) as server:
        url = server.url.replace("/ws-client", path)
        url = url if user is None else url.replace("ws://", f"ws://{user}@")
        try:
            async with connect(url, **more) as link:
                shown.append(repr(link))
                if script in (echo_messages, echo_in_the_close):
                    shown += map(repr, await receive_all(link))
                    with pytest.raises(trio.BrokenResourceError) as broken:
                        await link.send_message("{}")
                    shown += traceback.format_exception(broken.value)
                shown.append(repr(link))
        except TransportStartError as error:
            shown += traceback.format_exception(error)
            shown += [repr(found) for found in chain_of(error)]
    for part in (SECRET, SECRET[:12], "YW5uOm"):
        assert not [line for line in shown if part in line]


# -- the conversation ----------------------------------------------------------------------


async def test_every_kind_of_item(tls):
    """Messages, audio and interruptions go both ways; text messages are taken for messages."""
    server_context, client_context = tls
    chunk = AudioChunk(b"\x01\x02" * 480, 24_000, 1)
    sound = frame(BINARY, encode_audio(chunk))
    interruption = frame(BINARY, encode_interruption())

    async def script(peer):
        await peer.accept(and_send=message("hé") + sound + interruption + frame(TEXT, b"{}"))
        received = await peer.until_close()
        await peer.send(close_frame(1000))
        return [(f.opcode, f.payload) for f in received[:-1]]

    async with serve_raw(script, ssl_context=server_context) as server:
        before = trio.current_time()
        async with connect(server.url, ssl_context=client_context) as link:
            items = [await link.receive() for _ in range(4)]
            assert ["hé", chunk, Interruption(), "{}"] == items
            assert before <= items[1].at <= trio.current_time()
            assert link.end is None
            await link.send_message("hé")
            await link.send_audio(chunk)
            await link.send_interruption()
            await link.send_bytes(b"\xff\xff")
            await link.send_text("{}")
        assert [
            (BINARY, encode_message("hé")),
            (BINARY, encode_audio(chunk)),
            (BINARY, encode_interruption()),
            (BINARY, b"\xff\xff"),
            (TEXT, b"{}"),
        ] == await server.view()
        assert OK_END == link.end


async def test_every_call_is_a_checkpoint():
    """Sending and receiving are checkpoints."""
    async with serve_raw(saying(message("one"))) as server, connect(server.url, grace=0.1) as link:
        await trio.sleep(0.05)
        with assert_checkpoints():
            await link.receive()
        for call in (
            partial(link.send_message, "hi"),
            partial(link.send_audio, AudioChunk(b"", 8000)),
            link.send_interruption,
        ):
            with assert_checkpoints():
                await call()


@pytest.mark.parametrize("attempt", range(5))
async def test_handing_over_is_the_last_step(attempt):
    """A sender goes on before the answer can be there."""

    async def script(peer):
        await peer.accept()
        await peer.frame()
        await peer.send(message("answer"))
        return await peer.good_close()

    order = []
    async with serve_raw(script) as server, connect(server.url) as link:

        async def read():
            order.append(await link.receive())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await link.send_message("question")
            order.append("sent")
    assert ["sent", "answer"] == order


@pytest.mark.parametrize(
    "garbage", [b"\xff\xff", b"\x0a\x05hi", b"", b"\x12\x02\x1a\x00", b"x" * 500, b"\x32\x00"]
)
async def test_protobuf_garbage(garbage):
    """A binary message that is no frame of ours is Undecodable, and the link goes on."""
    async with linked(saying(frame(BINARY, garbage) + message("next")), grace=0.1) as (link, _):
        item = await link.receive()
        assert isinstance(item, Undecodable)
        assert item.detail
        assert garbage.startswith(item.raw)
        assert "next" == await link.receive()
        assert link.end is None


async def test_fragments_with_pings_between():
    """A message in fragments is one message; pings between them are answered."""
    payload = encode_message("in many parts")
    data = frame(BINARY, payload[:3], fin=False)
    for index, start in enumerate(range(3, len(payload), 2)):
        data += frame(PING, b"%d" % index) + frame(0, payload[start : start + 2], fin=False)
    data += frame(0, b"")

    async def script(peer):
        await peer.accept(and_send=data)
        return await peer.until_close()

    async with serve_raw(script) as server:
        async with connect(server.url, grace=0.1) as link:
            assert "in many parts" == await link.receive()
        frames = await server.view()
    assert [PONG] * 7 + [CLOSE] == [f.opcode for f in frames]
    assert b"0" == frames[0].payload


async def test_one_byte_at_a_time():
    """A server whose every byte comes alone is understood."""

    async def script(peer):
        token = (await peer.request()).accept_token()
        consent = (
            b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + token + b"\r\n\r\n"
        )
        for byte in consent + message("slow") + close_frame(1000, "bye"):
            await peer.send(bytes([byte]))
            await trio.lowlevel.checkpoint()
        return await peer.frames()

    async with serve_raw(script) as server:
        async with connect(server.url) as link:
            assert ["slow"] == await receive_all(link)
        assert LinkEnd(code=1000, text="bye", first="bot") == link.end
        assert [CLOSE] == [f.opcode for f in await server.view()]


@pytest.mark.parametrize("size", [1000, 100_000, 3_000_000])
async def test_bot_that_speaks_at_once(size):
    """What comes in the same packet as the consent, however much, is received."""
    data = message("x" * size) + b"".join(message(str(number)) for number in range(200))
    async with linked(saying(data + close_frame(1000))) as (link, _):
        first, *others = await receive_all(link)
    assert size == len(first)
    assert [*map(str, range(200))] == others
    assert LinkEnd(code=1000, first="bot") == link.end


async def test_cancelled_receive_loses_nothing():
    """A reader that is cancelled at any time leaves what comes to the next."""
    count = 300

    async def script(peer):
        await peer.accept()
        for number in range(count):
            await peer.send(message(str(number)))
            await trio.lowlevel.checkpoint()
        return await peer.good_close()

    items = []
    async with serve_raw(script) as server, connect(server.url) as link:
        for steps in itertools.cycle(range(5)):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cancel_later, scope, steps)
                    while True:
                        items.append(await link.receive())
            if len(items) == count:
                break
    assert [*map(str, range(count))] == items


async def test_two_readers_share():
    """Of two readers each message goes to one."""
    data = b"".join(message(str(number)) for number in range(50))
    async with linked(saying(data + close_frame(1000))) as (link, _):
        found = []

        async def read():
            found.extend(await receive_all(link))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(read)
    assert sorted(map(str, range(50))) == sorted(found)


async def test_fifty_senders_at_once():
    """Many tasks may send at once: every message arrives once and whole, in order for each."""

    async def send(link, sender):
        for number in range(10):
            await link.send_message(f"{sender} {number} " + "x" * (sender * 997 % 20_000))

    async with serve_raw(keep) as server:
        async with connect(server.url, grace=10) as link, trio.open_nursery() as nursery:
            for sender in range(50):
                nursery.start_soon(send, link, sender)
        frames = await server.view()
    *messages, last = texts(frames)
    assert CLOSE == last
    seen = {sender: [] for sender in range(50)}
    for text in messages:
        sender, number, padding = text.split(" ")
        assert int(sender) * 997 % 20_000 == len(padding)
        seen[int(sender)].append(int(number))
    assert [[*range(10)]] * 50 == [*seen.values()]


async def test_senders_and_cancellation_tear_nothing():
    """Senders that are cancelled at any step leave whole frames, and a link that works."""
    sent = set()

    async def send(link, number):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                if number % 2:
                    nursery.start_soon(cancel_later, scope, number)
                await link.send_message(f"{number} " + "x" * 10_000)
                sent.add(number)

    async with serve_raw(keep) as server:
        async with connect(server.url, grace=10) as link, trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(send, link, number)
        *messages, last = texts(await server.view())
    assert CLOSE == last
    assert sent == {int(text.split(" ")[0]) for text in messages}
    assert sent >= {*range(0, 100, 2)}
    assert OK_END == link.end


async def test_well_behaved_server():
    """A conversation with another implementation's server goes as it should, both ways."""
    reasons = []

    async def handler(request):
        socket = await request.accept()
        try:
            while True:
                await socket.send_message(await socket.get_message())
        except trio_websocket.ConnectionClosed as closed:
            reasons.append(closed.reason.code)

    with nothing_left():
        async with trio.open_nursery() as nursery:
            serve = partial(trio_websocket.serve_websocket, handler, "127.0.0.1", 0, None)
            server = await nursery.start(serve)
            async with connect(f"ws://127.0.0.1:{server.port}/ws") as link:
                for size in (0, 1, 125, 126, 65_535, 65_536, 500_000):
                    await link.send_message("x" * size)
                    assert "x" * size == await link.receive()
            nursery.cancel_scope.cancel()
    assert [1000] == reasons
    assert OK_END == link.end


# -- the other side ends it ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "text", "orderly"),
    [
        (1000, "", True),
        (1001, "going away", True),
        (None, "", True),
        (1002, "", False),
        (1008, "policy", False),
        (1009, "too large", False),
        (1009, "Exceeded maximum message size: 1048576 bytes", False),
        (1011, "böse", False),
        (1012, "restart", False),
        (1013, "", False),
        (4003, "bad token", False),
    ],
)
async def test_close_by_the_bot(code, text, orderly):
    """A bot's close is answered with the same, and `end` says what it was."""
    data = message("one") + message("two") + close_frame(code, text) + message("too late")
    async with serve_raw(saying(data)) as server:
        async with connect(server.url) as link:
            assert ["one", "two"] == await receive_all(link)
            assert [] == await receive_all(link)
        expected = LinkEnd(code=1005 if code is None else code, text=text, first="bot")
        assert expected == link.end
        assert orderly == link.end.orderly
        (answer,) = await server.view()
        assert (CLOSE, code) == (answer.opcode, close_code(answer))


@pytest.mark.parametrize("attempt", range(20))
async def test_close_is_answered_however_fast_the_body_leaves(attempt):
    """The answer to the bot's goodbye is on its way before the link is closed."""
    async with serve_raw(saying(close_frame(1000))) as server:
        async with connect(server.url) as link:
            with pytest.raises(trio.EndOfChannel):
                await link.receive()
        assert [CLOSE] == [f.opcode for f in await server.view()]


async def test_many_messages_and_a_close_in_one_packet():
    """However many messages come with a goodbye, every one is received before the end."""
    data = b"".join(message(str(number)) for number in range(500))
    async with linked(saying(data + close_frame(1001))) as (link, _):
        items = []
        with pytest.raises(trio.EndOfChannel):
            while True:
                items.append(await link.receive())
                await trio.lowlevel.checkpoint()
    assert [*map(str, range(500))] == items
    assert 1001 == link.end.code


async def test_sound_that_waits_is_received_in_few_turns():
    """Sixteen chunks a turn, and each message in one of its own, so that who is behind catches up.

    What a message tells is told before the next one: who waits for it may want that one too.
    """
    sound = [AudioChunk(bytes([number]) * 640, 16_000) for number in range(48)]
    data = message("first") + b"".join(frame(BINARY, encode_audio(chunk)) for chunk in sound)
    turns = 0

    async def count_turns():
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with linked(saying(data + message("last") + message("lastest"))) as (link, _):
        await trio.sleep(0.05)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count_turns)
            assert "first" == await link.receive()
            before = turns
            assert [chunk.pcm for chunk in sound] == [(await link.receive()).pcm for _ in sound]
            assert turns - before <= 6
            for text in ("last", "lastest"):
                with assert_checkpoints():
                    assert text == await link.receive()
            nursery.cancel_scope.cancel()


async def test_sending_after_the_end():
    """What is sent on a link that has ended is refused."""
    async with serve_raw(saying(close_frame(1000))) as server, connect(server.url) as link:
        assert [] == await receive_all(link)
        for call in (
            partial(link.send_message, "hi"),
            partial(link.send_audio, AudioChunk(b"", 8000)),
            link.send_interruption,
        ):
            with pytest.raises(trio.BrokenResourceError):
                await call()


GARBAGE = {
    "reserved bit 1": (frame(BINARY, b"x", bits=0x40), 1002),
    "reserved bit 2": (frame(BINARY, b"x", bits=0x20), 1002),
    "reserved bit 3": (frame(BINARY, b"x", bits=0x10), 1002),
    "opcode 3": (frame(0x3, b"x"), 1002),
    "opcode 7": (frame(0x7, b"x"), 1002),
    "opcode B": (frame(0xB, b"x"), 1002),
    "opcode F": (frame(0xF, b"x"), 1002),
    "masked": (masked_frame(BINARY, b"x"), 1002),
    "not UTF-8": (frame(TEXT, b"ok\xff"), 1007),
    "half a character": (frame(TEXT, "é".encode()[:1]), 1007),
    "large ping": (frame(PING, b"x" * 126), 1002),
    "ping in fragments": (frame(PING, b"x", fin=False), 1002),
    "close in fragments": (frame(CLOSE, b"\x03\xe8", fin=False), 1002),
    "no beginning": (frame(0, b"x"), 1002),
    "two beginnings": (frame(BINARY, b"x", fin=False) + frame(BINARY, b"y"), 1002),
    "half a code": (frame(CLOSE, b"\x03"), 1002),
    "code 0": (close_frame(0), 1002),
    "code 999": (close_frame(999), 1002),
    "code 1004": (close_frame(1004), 1002),
    "code 1005": (close_frame(1005), 1002),
    "code 1006": (close_frame(1006), 1002),
    "code 1015": (close_frame(1015), 1002),
    "code 2999": (close_frame(2999), 1002),
    "code 5000": (close_frame(5000), 1002),
    "reason not UTF-8": (frame(CLOSE, b"\x03\xe8\xff"), 1007),
    "length in two bytes": (bytes([0x80 | BINARY, 126, 0, 5]) + b"12345", 1002),
    "length in eight bytes": (bytes([0x80 | BINARY, 127]) + struct.pack("!Q", 5), 1002),
    "negative length": (bytes([0x80 | BINARY, 127]) + struct.pack("!q", -1), 1002),
}


@pytest.mark.parametrize("kind", GARBAGE)
async def test_frames_against_the_rules(kind):
    """A frame that breaks the rules ends the link, after what came before it."""
    garbage, code = GARBAGE[kind]
    async with serve_raw(saying(message("one") + garbage + message("never"))) as server:
        async with connect(server.url) as link:
            assert ["one"] == await receive_all(link)
            assert code == link.end.code
            assert not link.end.orderly
            with pytest.raises(trio.BrokenResourceError):
                await link.send_message("hi")
        await server.view()


@pytest.mark.parametrize(
    "last", [frame(BINARY, b"x", bits=0x40), close_frame(1000), frame(BINARY, b"x" * 2000)]
)
async def test_nothing_counts_after_the_end(last):
    """A bot that goes on for ever after the end is not listened to, and costs no memory."""

    async def script(peer):
        await peer.accept(and_send=last)
        for megabytes in range(64):
            with trio.move_on_after(0.2) as scope:
                await peer.send(bytes(BIG))
            if scope.cancelled_caught:
                return megabytes
        return "everything was taken"

    async with linked(script, max_receive_size=1000) as (link, server):
        assert [] == await receive_all(link)
        assert await server.view() in range(64)


@pytest.mark.parametrize("how", ["hangs up", "resets"])
@pytest.mark.parametrize(
    "rest", [b"", message("never")[:7], frame(BINARY, encode_message("x")[:-1], fin=False), b"\x88"]
)
async def test_bot_that_vanishes(how, rest):
    """A bot that is gone without a goodbye is a broken link, be it in the middle of a frame."""

    async def script(peer):
        await peer.accept(and_send=message("one") + rest)
        await peer.frame()  # the client has read what was sent
        if how == "resets":
            peer.reset()

    async with serve_raw(script) as server, connect(server.url) as link:
        assert "one" == await link.receive()
        await link.send_message("read")
        assert [] == await receive_all(link)
        assert LinkEnd(code=1006, first="network") == link.end


async def test_server_that_hangs_up_right_after_its_consent():
    """A link that is broken as soon as it is open is opened, and then found broken."""
    async with serve_raw(lambda peer: peer.accept()) as server, connect(server.url) as link:
        assert [] == await receive_all(link)
        assert LinkEnd(code=1006, first="network") == link.end


@pytest.mark.parametrize(
    "data",
    [
        frame(BINARY, b"x" * 1001),
        frame(TEXT, b"x" * 1001),
        frame(BINARY, b"x" * 600, fin=False) + frame(0, b"x" * 600),
        frame(BINARY, b"", fin=False) + frame(0, b"x", fin=False) * 10_000,
        struct.pack("!BBQ", 0x80 | BINARY, 127, 2**40) + b"x" * 2000,
    ],
    ids=["binary", "text", "two fragments", "10,000 fragments", "only begun"],
)
@pytest.mark.parametrize("more", [b"", frame(PING, b"?"), frame(BINARY, b"y" * 5000)])
@pytest.mark.parametrize("pause", [0, 0.05])
async def test_message_that_is_too_large(data, more, pause):
    """A message over the limit is our reason to end the link, whatever comes after it."""
    async with serve_raw(saying(data + more)) as server:
        async with connect(server.url, max_receive_size=1000) as link:
            assert [] == await receive_all(link)
            await trio.sleep(pause)
            assert (1009, "client") == (link.end.code, link.end.first)
            assert "a message of over 1000 bytes came" == link.end.detail
        (closing,) = await server.view()
        assert (CLOSE, 1009) == (closing.opcode, close_code(closing))


async def test_message_of_just_the_right_size():
    """A message that is as large as the limit is received."""
    data = encode_message("x" * 994)
    assert 1000 == len(data)
    async with linked(saying(frame(BINARY, data)), max_receive_size=1000, grace=0.1) as (link, _):
        assert 994 == len(await link.receive())


async def test_messages_before_one_that_is_too_large():
    """Messages that came before one that is too large are received by a body that reads."""
    async with linked(
        saying(message("one") + frame(BINARY, b"x" * 2000)), max_receive_size=1000
    ) as (link, _):
        assert ["one"] == await receive_all(link)
        assert 1009 == link.end.code


# -- keepalive -----------------------------------------------------------------------------


async def test_pings_are_answered_while_nobody_reads():
    """Pings are answered though the body has not read what came before them."""
    data = b"".join(message(str(number)) for number in range(60))

    async def script(peer):
        await peer.accept(and_send=data + frame(PING, b"are you there?"))
        pong = await peer.frame()
        await peer.send(close_frame(1000))
        return pong

    async with serve_raw(script) as server, connect(server.url) as link:
        assert Frame(PONG, b"are you there?") == await server.view()
        assert [*map(str, range(60))] == await receive_all(link)


async def test_pings_are_answered_while_a_sender_is_blocked():
    """A sender that waits for a peer does not keep messages from being read, nor pongs back."""
    begin = trio.Event()

    async def script(peer):
        await peer.accept()
        await begin.wait()
        await peer.send(message("read me") + frame(PING, b"?"))
        frames = await peer.until_close()
        await peer.send(close_frame(1000))
        return [f.opcode for f in frames]

    async with serve_raw(script) as server:
        async with connect(server.url, grace=10) as link, trio.open_nursery() as nursery:
            sent = await send_until_blocked(link)
            nursery.start_soon(link.send_message, "waits" + "x" * BIG)
            begin.set()
            assert "read me" == await link.receive()
        opcodes = await server.view()
    assert [BINARY] * (sent + 1) + [PONG, CLOSE] == sorted(opcodes, key=[BINARY, PONG, CLOSE].index)
    assert CLOSE == opcodes[-1]


async def test_keepalive_asks_and_is_answered():
    """The link is tested at intervals, and goes on as long as it is answered."""

    async def script(peer):
        await peer.accept()
        for _ in range(3):
            ping = await peer.frame()
            assert PING == ping.opcode
            await peer.send(frame(PONG, ping.payload))
        await peer.send(close_frame(1000, "enough"))
        return await peer.frames()

    async with linked(script, ping_interval=0.02, ping_timeout=20) as (link, server):
        assert [] == await receive_all(link)
        assert "enough" == link.end.text
        assert [] == [f for f in await closed_view(link, server) if f.opcode == PING]


async def closed_view(link, server):
    """Wait until the keepalive has had its chance, close, and return the server's view."""
    await trio.sleep(0.1)
    await link.abort("enough")
    return await server.view()


@pytest.mark.parametrize("reads", [True, False])
async def test_keepalive_without_an_answer(reads):
    """A peer that does not answer a ping in time is given up, whether it reads or not."""

    async def script(peer):
        await peer.accept(and_send=message("one"))
        if reads:
            await peer.frames()
        else:
            await trio.sleep_forever()

    async with linked(script, ping_interval=0.02, ping_timeout=0.1) as (link, _):
        start = trio.current_time()
        assert ["one"] == await receive_all(link)
        detail = "no answer to a ping within 0.1 s"
        assert LinkEnd(code=1006, first="network", detail=detail) == link.end
        assert trio.current_time() - start < 5


async def test_keepalive_frees_a_blocked_sender():
    """A sender that waits for a peer that is gone is told when the keepalive finds out."""

    async def script(peer):
        await peer.accept()
        await trio.sleep_forever()

    async with linked(script, ping_interval=0.1, ping_timeout=0.3) as (link, _):
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await link.send_message("x" * BIG)


async def test_keepalive_of_a_link_that_has_ended():
    """A ping that nobody answers because the link has ended does not change how it ended."""

    async def script(peer):
        await peer.accept()
        await peer.frame()  # the ping
        await peer.send(close_frame(1000, "bye"))
        return await peer.frames()

    async with linked(script, ping_interval=0.05, ping_timeout=0.1) as (link, _):
        assert [] == await receive_all(link)
        await trio.sleep(0.3)
        assert LinkEnd(code=1000, text="bye", first="bot") == link.end


async def test_keepalive_works_without_a_limit():
    """Intervals may be as long as one likes."""
    async with serve_raw(polite) as server:
        async with connect(server.url, ping_interval=math.inf):
            pass
        assert 1000 == await server.view()


# -- our goodbye ---------------------------------------------------------------------------


async def test_leaving_is_a_goodbye(tls):
    """Leaving the block closes with 1000, and waits for the answer."""
    server_context, client_context = tls
    async with serve_raw(polite, ssl_context=server_context) as server:
        async with connect(server.url, ssl_context=client_context) as link:
            assert "<WebSocketTransport of the client: open>" == repr(link)
        assert 1000 == await server.view()
    assert OK_END == link.end
    assert "code=1000" in repr(link)


async def test_goodbye_with_a_reason():
    """A goodbye may have another code, and a text."""

    async def script(peer):
        await peer.accept()
        closing = (await peer.until_close())[-1]
        await peer.send(frame(CLOSE, closing.payload))
        return closing.payload

    async with serve_raw(script) as server:
        async with connect(server.url) as link:
            await link.aclose(4000, "had enough")
            assert LinkEnd(code=4000, text="had enough", first="client") == link.end
        assert struct.pack("!H", 4000) + b"had enough" == await server.view()


async def test_goodbye_may_be_said_again():
    """Closing again is a checkpoint and changes nothing."""
    async with serve_raw(polite) as server, connect(server.url) as link:
        await link.aclose()
        with assert_checkpoints():
            await link.aclose(1011)
        assert OK_END == link.end


async def test_goodbye_after_the_bots():
    """Closing a link that the bot has closed changes nothing."""
    async with serve_raw(saying(close_frame(1001))) as server, connect(server.url) as link:
        await receive_all(link)
        await link.aclose()
        assert LinkEnd(code=1001, first="bot") == link.end


async def test_reader_is_told_when_the_goodbye_is_over():
    """A reader that waits while another task closes is told, and not before the answer is there."""
    closing = trio.Event()

    async def script(peer):
        await peer.accept()
        payload = (await peer.until_close())[-1].payload
        closing.set()
        await trio.sleep(0.1)
        order.append("answered")
        await peer.send(frame(CLOSE, payload))

    order = []
    async with serve_raw(script) as server, connect(server.url) as link:

        async def read():
            await receive_all(link)
            order.append("told")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(link.aclose)
            await closing.wait()
    assert ["answered", "told"] == order
    assert OK_END == link.end


@pytest.mark.parametrize("how", ["hangs up", "resets"])
async def test_goodbye_to_a_bot_that_just_goes(how):
    """A bot that goes away instead of answering our goodbye is as good as one that answers."""

    async def script(peer):
        await peer.accept()
        await peer.until_close()
        if how == "resets":
            peer.reset()

    async with serve_raw(script) as server:
        async with connect(server.url) as link:
            await link.aclose()
        assert OK_END == link.end


async def never_answers(peer):
    """A script that accepts, and never answers a goodbye; it returns what came."""
    await peer.accept()
    return [f.opcode for f in await peer.frames()]


async def test_goodbye_under_a_deadline(tls):
    """A goodbye that is not answered ends with the caller's patience, and the link is closed."""
    async with linked(never_answers, tls) as (link, server):
        with trio.move_on_after(0.1) as deadline:
            await link.aclose(1001)
        assert deadline.cancelled_caught
        assert LinkEnd(code=1001, first="client") == link.end
        assert [CLOSE] == await server.view()
        assert [] == await receive_all(link)


async def test_leaving_has_its_grace():
    """On leaving, a bot that does not answer has the grace, and no more."""
    async with serve_raw(never_answers) as server:
        start = trio.current_time()
        async with connect(server.url, grace=0.2) as link:
            pass
        assert 0.2 <= trio.current_time() - start < 5
        assert [CLOSE] == await server.view()
    assert OK_END == link.end


async def test_two_tasks_say_goodbye():
    """Of two tasks that close, both return when the close is over."""
    closing = trio.Event()

    async def script(peer):
        await peer.accept()
        payload = (await peer.until_close())[-1].payload
        closing.set()
        await trio.sleep(0.1)
        order.append("answered")
        await peer.send(frame(CLOSE, payload))
        return await peer.frames()

    order = []

    async def close(link):
        await link.aclose()
        order.append("closed")

    async with serve_raw(script) as server:
        async with connect(server.url) as link, trio.open_nursery() as nursery:
            nursery.start_soon(close, link)
            nursery.start_soon(close, link)
        assert [] == await server.view()
    assert ["answered", "closed", "closed"] == order


async def test_second_task_may_cut_the_goodbye_short():
    """When one of two tasks that close is cancelled, the link is closed without the wait."""
    async with serve_raw(never_answers) as server:
        async with connect(server.url, grace=30) as link, trio.open_nursery() as nursery:
            nursery.start_soon(link.aclose)
            await trio.sleep(0.1)
            with trio.move_on_after(0.1) as deadline:
                await link.aclose()
            assert deadline.cancelled_caught
        assert [CLOSE] == await server.view()


CROSSING = {
    "ping": frame(PING, b"?"),
    "large message": frame(BINARY, b"x" * 2000),
    "message": message("one more thing"),
    "close": close_frame(1001),
    "garbage": frame(BINARY, b"x", bits=0x70),
}


@pytest.mark.parametrize("crossing", CROSSING)
@pytest.mark.parametrize("then", ["answers", "hangs up", "goes on for a while"])
async def test_what_crosses_our_goodbye(crossing, then):
    """Whatever the bot sends before it has our goodbye, the goodbye is a good one, and fast."""

    async def script(peer):
        await peer.accept()
        payload = (await peer.until_close())[-1].payload
        await peer.send(CROSSING[crossing])
        with suppress(trio.BrokenResourceError):
            if then == "goes on for a while":
                await trio.sleep(0.05)
                await peer.send(message("and another") + frame(PING, b"?"))
            if then != "hangs up":
                await peer.send(frame(CLOSE, payload))
        return close_code(Frame(CLOSE, payload))

    async with serve_raw(script) as server:
        start = trio.current_time()
        async with connect(server.url, grace=20, max_receive_size=1000) as link:
            pass
        assert trio.current_time() - start < 10
        assert 1000 == await server.view()
    assert "client" == link.end.first


async def test_goodbye_with_much_unread():
    """A body that leaves with unread messages says goodbye all the same."""
    data = b"".join(message(str(number)) for number in range(1000))

    async def script(peer):
        await peer.accept(and_send=data)
        return await peer.good_close()

    async with serve_raw(script) as server:
        async with connect(server.url) as link:
            assert "0" == await link.receive()
        assert 1000 == await server.view()
    assert OK_END == link.end


async def test_abort():
    """Aborting closes without a goodbye, and says why."""
    async with serve_raw(never_answers) as server, connect(server.url) as link:
        with assert_checkpoints():
            await link.abort("enough")
        assert [] == await receive_all(link)
        assert LinkEnd(code=1006, first="network", detail="enough") == link.end
        assert [] == await server.view()


# -- a peer that does not read -------------------------------------------------------------


def waits_to_read(begin):
    """Return a script that reads nothing until `begin`, then everything, and is polite."""

    async def script(peer):
        await peer.accept()
        await begin.wait()
        frames = await peer.until_close()
        await peer.send(close_frame(1000))
        return texts(frames)

    return script


async def test_cancelled_sender_tears_nothing(tls):
    """Cancelling a sender that waits for a peer that does not read sends nothing of its message."""
    server_context, client_context = tls
    begin = trio.Event()
    async with serve_raw(waits_to_read(begin), ssl_context=server_context) as server:
        async with connect(server.url, ssl_context=client_context, grace=10) as link:
            sent = await send_until_blocked(link)
            begin.set()
            await link.send_message("after")
        *messages, last, closing = await server.view()
    assert CLOSE == closing
    assert "after" == last
    assert [f"{number:04}" for number in range(sent)] == [text[:4] for text in messages]
    assert {BIG + 4} == {len(text) for text in messages}


async def test_body_cancelled_in_send(tls):
    """A body that is cancelled while it sends says goodbye, after what it had sent."""
    server_context, client_context = tls
    begin = trio.Event()
    async with serve_raw(waits_to_read(begin), ssl_context=server_context) as server:
        with trio.CancelScope() as scope:
            async with connect(server.url, ssl_context=client_context, grace=10) as link:
                sent = await send_until_blocked(link)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(link.send_message, "never")
                    await trio.sleep(0.05)
                    begin.set()
                    scope.cancel()
        assert scope.cancelled_caught
        *messages, closing = await server.view()
    assert CLOSE == closing
    assert [f"{number:04}" for number in range(sent)] == [text[:4] for text in messages]
    assert OK_END == link.end


async def test_leaving_a_peer_that_never_reads(tls):
    """A peer that never reads does not keep us longer than the grace, with TLS neither."""

    async def script(peer):
        await peer.accept()
        await trio.sleep_forever()

    server_context, client_context = tls
    async with serve_raw(script, ssl_context=server_context) as server:
        async with connect(server.url, ssl_context=client_context, grace=0.2) as link:
            await send_until_blocked(link)
            start = trio.current_time()
        assert trio.current_time() - start < 5
    assert "client" == link.end.first


async def test_sender_elsewhere_is_told_when_the_block_is_left():
    """A task that waits to send to a peer that does not read is told when the link is closed."""

    async def script(peer):
        await peer.accept()
        await begin.wait()
        await peer.send(close_frame(1000))
        await trio.sleep_forever()

    begin = trio.Event()
    refused = []

    async def send(link):
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await link.send_message("x" * BIG)
        refused.append(True)

    async with trio.open_nursery() as nursery, linked(script, grace=0.2) as (link, _):
        sent = await send_until_blocked(link)
        assert sent
        nursery.start_soon(send, link)
        begin.set()
        assert [] == await receive_all(link)
    assert [True] == refused


# -- cancellation in every phase -----------------------------------------------------------


async def test_cancelled_while_resolving():
    """A caller that is cancelled while its host is looked up leaves nothing behind."""
    resolver = resolve_with(Resolver(answers=False))
    with nothing_left():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refusal, "ws://bot.example/ws")
            await resolver.asked.wait()
            nursery.cancel_scope.cancel()


async def test_cancelled_during_tls(client_tls):
    """A caller that is cancelled during the TLS handshake closes the connection."""
    begun = trio.Event()

    async def script(peer):
        await peer.stream.receive_some()
        begun.set()
        return await peer.stream.receive_some()

    async with serve_raw(script) as server:
        url = server.url.replace("ws://", "wss://")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(refusal, url, ssl_context=client_tls))
            await begun.wait()
            nursery.cancel_scope.cancel()
        assert b"" == await server.view()


class CtrlC(ssl.SSLContext):
    """TLS settings with which the user interrupts the handshake."""

    def wrap_bio(self, *args, **kwargs):
        return self

    def do_handshake(self):
        raise KeyboardInterrupt


async def test_ctrl_c_during_tls():
    """Ctrl-C during the TLS handshake closes the connection, and comes out bare."""
    async with serve_raw(lambda peer: peer.stream.receive_some()) as server:
        url = server.url.replace("ws://", "wss://")
        with pytest.raises(KeyboardInterrupt):
            async with connect(url, ssl_context=CtrlC(ssl.PROTOCOL_TLS_CLIENT)):
                raise AssertionError("the link is open")
        assert b"" == await server.view()


async def test_cancelled_during_the_upgrade(tls):
    """A caller that is cancelled during the upgrade closes the connection, without a frame."""
    server_context, client_context = tls
    asked = trio.Event()

    async def script(peer):
        await peer.request()
        asked.set()
        return await peer.stream.receive_some()

    async with serve_raw(script, ssl_context=server_context) as server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(refusal, server.url, ssl_context=client_context))
            await asked.wait()
            nursery.cancel_scope.cancel()
        assert b"" == await server.view()


@pytest.mark.parametrize("doing", ["sleeping", "receiving", "closing in its own clean-up"])
async def test_cancelled_while_open(tls, doing):
    """A body that is cancelled says a clean goodbye."""
    server_context, client_context = tls
    async with serve_raw(polite, ssl_context=server_context) as server:
        with trio.CancelScope() as scope:
            async with connect(server.url, ssl_context=client_context) as link:
                scope.cancel()
                try:
                    if doing == "receiving":
                        await link.receive()
                    await trio.sleep_forever()
                finally:
                    if doing == "closing in its own clean-up":
                        with trio.move_on_after(5, shield=True):
                            await link.aclose()
        assert scope.cancelled_caught
        assert 1000 == await server.view()
    assert OK_END == link.end


async def test_cancelled_in_aclose():
    """A body that is cancelled while it waits for the answer closes at once."""
    async with serve_raw(never_answers) as server:
        start = trio.current_time()
        with trio.move_on_after(0.1) as scope:
            async with connect(server.url, grace=30) as link:
                await link.aclose()
        assert scope.cancelled_caught
        assert trio.current_time() - start < 10
        assert [CLOSE] == await server.view()
    assert OK_END == link.end


async def test_closing_when_cancelled_already():
    """Closing in a cancelled scope closes the connection."""
    async with serve_raw(never_answers) as server:
        with trio.CancelScope() as scope:
            async with connect(server.url, grace=30) as link:
                scope.cancel()
                await link.aclose()
        assert scope.cancelled_caught
        assert await server.view() in ([], [CLOSE])
    assert OK_END == link.end


@pytest.mark.parametrize("error", [ValueError("mine"), ExceptionGroup("mine", [ValueError()])])
async def test_body_that_raises(error):
    """What the body raises comes out as it is, and the goodbye is said."""
    async with serve_raw(polite) as server:
        with pytest.raises(type(error)) as caught:
            async with connect(server.url):
                raise error
        assert error is caught.value
        assert 1000 == await server.view()
