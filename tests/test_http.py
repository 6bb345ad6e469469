"""One request and its redirects, over real sockets."""

import httpx
import pytest
import trio
from http_server import (
    HOST,
    answering,
    endless_body,
    half_an_answer,
    hanging_up,
    redirecting,
    sending,
    serve_http,
    serve_tcp,
    silent,
    wait_for_eof,
)
from trio.testing import wait_all_tasks_blocked

from trio_pipecat._http import HttpError, Request, multipart

pytestmark = pytest.mark.socket

OK = {"wsUrl": "wss://eu.bot.example/ws"}
SECRET = "s3cret-word"


def request(url, *, headers=None, ssl_context=None, content=b"{}"):
    """Return a POST that is not yet sent."""
    return Request(url, headers or {}, "application/json", content, ssl_context)


async def post(url, **options):
    """Send one, and return the answer."""
    return await request(url, **options).send()


async def failure(url, **options):
    """Return the error of one that is not answered."""
    with pytest.raises(HttpError) as caught:
        await post(url, **options)
    return caught.value


async def failure_of(handler):
    """Return the error of one at a server whose requests `handler` answers."""
    async with serve_http(handler) as server:
        error = await failure(server.url())
        await server.wait_idle()
        return error


# -- there is no server ------------------------------------------------------------------


async def test_a_refused_connection_is_an_error():
    """Nobody listens: the error says where, and has no status."""
    async with serve_http(silent) as server:
        pass
    error = await failure(server.url())
    assert f"{server.url()}: Connection refused" == error.detail
    assert error.status is None
    assert isinstance(error.__cause__, httpx.ConnectError)


async def test_a_name_that_leads_nowhere_is_an_error(names):
    """The resolver's words are the error's."""
    error = await failure("http://nowhere.invalid/start")
    assert "http://nowhere.invalid/start: Name or service not known" == error.detail


@pytest.mark.parametrize("host", ["xn--", "[v1.x]", f"{60 * 'ä'}.example"])
async def test_a_name_that_is_none_is_an_error(names, host):
    """A host that no resolver takes is an error of ours, not of a codec."""
    error = await failure(f"http://{host}/start")
    assert error.detail.endswith(": this is no host or no URL")


async def test_an_untrusted_certificate_is_an_error(garbage, server_tls):
    """A server that is not who it says gets nothing."""
    async with serve_http(answering(200, OK), ssl_context=server_tls) as server:
        error = await failure(server.url())
        await server.wait_idle()
    assert f"{server.url()}: certificate refused: " in error.detail
    assert [] == server.requests


async def test_a_certificate_for_another_name_is_an_error(names, server_tls, client_tls):
    """A trusted server that is somebody else gets nothing."""
    async with serve_http(answering(200, OK), ssl_context=server_tls) as server:
        error = await failure(server.url(host="localhost"), ssl_context=client_tls)
    assert "certificate refused: " in error.detail
    assert [] == server.requests


async def test_a_trusted_server_is_spoken_to(names, server_tls, client_tls):
    """The caller's context decides whom to trust."""
    async with serve_http(answering(200, OK), ssl_context=server_tls) as server:
        url = server.url(host="bot.example", user=f"al:{SECRET}@")
        await post(url, ssl_context=client_tls, headers={"X-Token": "abc"})
        await server.wait_idle()
    assert ["abc"] == server.requests[0].header("x-token")


async def test_plain_http_where_tls_was_expected_is_an_error():
    """A server without TLS is told from one with a bad certificate."""
    async with serve_http(answering(200, OK)) as server:
        error = await failure(server.url().replace("http", "https"))
        await server.wait_idle()
    assert ": TLS failed: " in error.detail


async def test_tls_where_plain_http_was_expected_is_an_error(server_tls):
    """A server that wants TLS hangs up on a plain request."""
    async with serve_http(answering(200, OK), ssl_context=server_tls) as server:
        error = await failure(server.url().replace("https", "http"))
        await server.wait_idle()
    assert error.status is None


# -- the server misbehaves ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("handler", "detail"),
    [
        (hanging_up, "Server disconnected without sending a response."),
        (sending(b"220 smtp.example ESMTP\r\n\r\n"), "illegal status line"),
        (sending(b"\x00\x01\x02\r\n\r\n"), "illegal"),
        (sending(b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n"), "illegal header line"),
        (sending(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), "bad Content-Length"),
        (sending(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), "peer closed connection"),
        (sending(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"), "illegal chunk"),
        (sending(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), None),
        (sending(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 30_000), "Receive buffer too long"),
        (sending(b"x" * 200_000), "Receive buffer too long"),
    ],
)
async def test_an_answer_that_is_no_http_is_an_error(handler, detail):
    """Whatever comes back, the outcome is `HttpError`, and the connection is closed."""
    error = await failure_of(handler)
    assert error.status in (None, 101)
    if detail is not None:
        assert detail in error.detail
    assert len(error.detail) < 600


async def endless_chunks(exchange):
    """Answer in chunks, and never stop."""
    await exchange.send(b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await exchange.send(b"10000\r\n" + 65_536 * b"x" + b"\r\n")


@pytest.mark.parametrize(("handler", "status"), [(endless_body, 200), (endless_chunks, 500)])
async def test_an_endless_answer_is_given_up(garbage, handler, status):
    """A start answer has at most a megabyte; the server's connection is closed."""
    error = await failure_of(handler)
    assert ("an answer of over 1048576 bytes", status) == (error.detail, error.status)


async def test_the_longest_answer_is_read():
    """An answer of just a megabyte is fine."""
    async with serve_http(answering(200, bytes(2**20))) as server:
        assert 2**20 == len((await post(server.url())).content)


# -- redirects ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_on_the_same_origin_is_followed_with_the_same_request(status):
    """Method, body and headers go along: FastAPI redirects for a slash."""
    async with serve_http(redirecting(status, "/api/start?x=1", OK)) as server:
        url = server.url(user="al:pass@")
        sent = request(url, headers={"X-Name": "a"}, content=b'{"b": 2}')
        assert 200 == (await sent.send()).status
    first, second = server.requests
    assert ("POST", "/api/start?x=1") == (second.method, second.target)
    assert first.body == second.body
    assert first.headers == second.headers
    assert [["Basic YWw6cGFzcw=="]] * 2 == [r.header("authorization") for r in server.requests]
    assert server.url("/api/start?x=1", user="al:pass@") == sent.url


async def test_a_redirect_may_spell_out_the_origin(names):
    """An absolute address of the same origin is no other place, whatever its case."""
    server_url = ""

    async def handle(exchange):
        if exchange.request.target == "/start":
            await exchange.answer(307, b"", {"Location": server_url})
        else:
            await exchange.answer(200, {"wsUrl": "/ws"})

    async with serve_http(handle) as server:
        server_url = server.url("/there", host="BOT.example").replace("http", "HTTP")
        sent = request(server.url(host="bot.example"), headers={"Authorization": "a"})
        await sent.send()
    assert ["a"] == server.requests[1].header("authorization")
    assert server_url.replace("HTTP", "http") == sent.url


async def test_a_patch_is_redirected_as_one():
    """The method is the caller's, and stays."""
    async with serve_http(redirecting(307, "/there", OK)) as server:
        sent = Request(server.url(), {}, "application/json", b"[1]", None, method="PATCH")
        assert 200 == (await sent.send()).status
    assert [("PATCH", [1])] * 2 == [(r.method, r.json) for r in server.requests]


async def test_a_303_is_not_followed():
    """To follow a 303 would be to GET, and that starts no bot."""
    async with serve_http(redirecting(303, "/there", OK)) as server:
        answer = await post(server.url())
    assert (303, b"moved", 1) == (answer.status, answer.content, len(server.requests))


async def test_from_http_to_https_on_the_same_host_is_followed(server_tls, client_tls):
    """A server that insists on TLS is obeyed."""
    async with (
        serve_http(answering(200, OK), ssl_context=server_tls) as secure,
        serve_http(redirecting(308, secure.url("/there"), OK)) as plain,
    ):
        headers = {"Authorization": "Bearer abc"}
        sent = request(plain.url(), ssl_context=client_tls, headers=headers)
        await sent.send()
    assert ["Bearer abc"] == secure.requests[0].header("authorization")
    assert b"{}" == secure.requests[0].body
    assert secure.url("/there") == sent.url


async def test_from_https_to_http_is_refused(server_tls, client_tls):
    """What was encrypted stays so: nothing is sent to the other place."""
    async with serve_http(answering(200, OK)) as plain:
        handler = redirecting(307, plain.url("/there"), OK)
        async with serve_http(handler, ssl_context=server_tls) as secure:
            error = await failure(secure.url(), ssl_context=client_tls)
    assert 307 == error.status
    assert 0 == plain.connections


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("form", ["http://{host}:{port}/x?a=b", "//{host}:{port}/x?a=b"])
async def test_a_redirect_to_another_origin_is_refused(status, form):
    """Another port is another origin: nothing is sent there, and the error says where."""
    async with serve_http(answering(200, OK)) as other:
        location = form.format(host=HOST, port=other.port)
        error = await failure_of(redirecting(status, location, OK))
        where = other.url("/x?a=***")
        expected = f"a redirect to {where!r} was not followed: it is another origin"
        assert (status, expected) == (error.status, error.detail)
        assert (0, []) == (other.connections, other.requests)


@pytest.mark.parametrize(
    "location",
    [
        "http://localhost/start",
        "https://bot.example/start",
        f"http://{HOST}@bot.example/start",
        f"http://{HOST}\\@bot.example/start",
        "ftp://127.0.0.1/start",
        "javascript:alert(1)",
        "https:///start",
        "sim:",
    ],
)
async def test_a_redirect_to_another_host_is_refused(location):
    """However another place is dressed up, nothing is sent there."""
    error = await failure_of(redirecting(307, location, OK))
    assert "was not followed: it is another origin" in error.detail


@pytest.mark.parametrize("location", ["http://[", "http://bot.example:99999/", "//bot:x/"])
async def test_a_redirect_to_what_is_no_address_is_an_error(location):
    """Whatever a server says, the outcome is an answer or `HttpError`."""
    error = await failure_of(redirecting(307, location, OK))
    assert ("a redirect to what is no URL", 307) == (error.detail, error.status)


@pytest.mark.parametrize(
    "location", ["", "/start", "http:///start", "?x=1", "/start/%zz", "/start ?a b"]
)
async def test_a_circle_of_redirects_is_left(location):
    """After five redirects the sixth is not followed."""
    async with serve_http(redirecting(307, location, OK)) as server:
        error = await failure(server.url())
    assert ("more than 5 redirects", 6) == (error.detail, len(server.requests))


# -- cancelling --------------------------------------------------------------------------


async def test_cancelling_while_connecting_leaves_nothing(garbage):
    """One that is cancelled at once has done nothing."""
    async with serve_http(silent) as server:
        with trio.CancelScope() as scope:
            scope.cancel()
            await post(server.url())
        assert scope.cancelled_caught
        await server.wait_idle()


@pytest.mark.parametrize("handler", [silent, half_an_answer, endless_body])
async def test_cancelling_while_waiting_closes_the_connection(garbage, handler):
    """One that is cancelled while the server takes its time hangs up."""
    async with serve_http(handler) as server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(post, server.url())
            await server.wait_request()
            nursery.cancel_scope.cancel()
        await server.wait_idle()


async def test_cancelling_while_sending_closes_the_connection(garbage):
    """One that is cancelled while the server does not read hangs up."""
    connected = trio.Event()

    async def leave_alone(stream):
        connected.set()
        await trio.sleep_forever()

    async with serve_tcp(leave_alone) as port, trio.open_nursery() as nursery:
        sent = request(f"http://{HOST}:{port}/start", content=30_000_000 * b"x")
        nursery.start_soon(sent.send)
        await connected.wait()
        await wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()


async def test_cancelling_in_the_handshake_closes_the_connection(garbage, client_tls):
    """One that is cancelled before TLS is up hangs up."""
    async with serve_tcp(wait_for_eof) as port:
        for context in (client_tls, None):
            with trio.move_on_after(0.1) as scope:
                await post(f"https://{HOST}:{port}/start", ssl_context=context)
            assert scope.cancelled_caught


async def test_cancelling_under_tls_closes_the_connection(garbage, server_tls, client_tls):
    """One that is cancelled under TLS hangs up."""
    async with serve_http(silent, ssl_context=server_tls) as server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: post(server.url(), ssl_context=client_tls))
            await server.wait_request()
            nursery.cancel_scope.cancel()
        await server.wait_idle()


async def test_cancelling_between_redirects_closes_the_connection(garbage):
    """One that is cancelled on its way through redirects hangs up."""
    async with serve_http(redirecting(307, "/start", OK)) as server:
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(failure, server.url())
                await server.wait_request()
                nursery.cancel_scope.cancel()
            await server.wait_idle()


class CancelAfter(trio.abc.Instrument):
    """Cancels a scope when so many steps of any task have been taken."""

    def __init__(self, scope, steps):
        self.scope = scope
        self.steps = steps

    def after_task_step(self, task):
        self.steps -= 1
        if not self.steps:
            self.scope.cancel()


async def is_over_before(steps, call):
    """Cancel a call after some steps. Return whether it was over before."""
    with trio.CancelScope() as scope:
        instrument = CancelAfter(scope, steps)
        trio.lowlevel.add_instrument(instrument)
        try:
            await call()
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return not scope.cancelled_caught


async def test_cancelling_at_any_step_leaves_nothing_open(garbage, server_tls, client_tls):
    """However many steps it has taken, cancelling it closes what it opened."""
    async with (
        serve_http(answering(200, OK), ssl_context=server_tls) as secure,
        serve_http(redirecting(307, secure.url("/there"), OK)) as plain,
    ):
        steps = 1
        while not await is_over_before(steps, lambda: post(plain.url(), ssl_context=client_tls)):
            steps += 1
            await plain.wait_idle()
            await secure.wait_idle()
    assert 20 < steps


# -- secrets -----------------------------------------------------------------------------


def test_what_is_shown_has_no_secrets():
    """Neither the caller's, nor the address's, nor the headers'; an origin is none."""
    url = f"http://x/?token={SECRET}"
    headers = {"Cookie": "a=b1scuit", "Origin": "https://app.example"}
    asked = Request(url, headers, "application/json", b"{}", None, secrets=["0ther-secret"])
    said = asked.show(f"{SECRET}\n b1scuit 0ther-secret https://app.example")
    assert "*** *** *** https://app.example" == said


# -- forms -------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"--\r\n--", bytes(range(256))])
def test_a_form_has_one_file(content):
    """Under its own name without the folders, whatever is in it."""
    content_type, body = multipart("/etc/a.bin", content, "application/x-test")
    kind, _, boundary = content_type.partition("; boundary=")
    assert "multipart/form-data" == kind
    first, part, last = body.split(b"--" + boundary.encode())
    assert (b"", b"--\r\n") == (first, last)
    head, _, rest = part.partition(b"\r\n\r\n")
    assert b'name="file"; filename="a.bin"\r\nContent-Type: application/x-test' in head
    assert content + b"\r\n" == rest
