"""Starting a bot and uploading a file, over real HTTP."""

import gzip
import json
import logging
import math
import traceback
from contextlib import contextmanager

import pytest
import trio
from http_server import (
    HOST,
    answering,
    endless_body,
    half_an_answer,
    hanging_up,
    sending,
    serve_http,
    serve_tcp,
    silent,
    wait_for_eof,
)

from trio_pipecat import (
    ConnectParams,
    InvalidParamsError,
    StartBotError,
    UploadError,
    UrlSource,
    __version__,
    start_bot,
)
from trio_pipecat._start import upload
from trio_pipecat._urls import check_credentials

pytestmark = pytest.mark.socket

OK = {"wsUrl": "wss://eu.bot.example/ws", "sessionId": "1", "token": None}
SECRET = "s3cret-word"


async def failure(endpoint, **options):
    """Return the error of a start that fails."""
    with pytest.raises(StartBotError) as caught:
        await start_bot(endpoint, **options)
    return caught.value


async def failure_of(handler, **options):
    """Return the error of a start at a server whose requests `handler` answers."""
    async with serve_http(handler) as server:
        error = await failure(server.url(), **options)
        await server.wait_idle()
        return error


async def refusal(endpoint="http://localhost:1/start", **options):
    """Return what is said against parameters, of which nothing was sent."""
    with pytest.raises(InvalidParamsError) as caught:
        await start_bot(endpoint, **options)
    return str(caught.value)


# -- the request -------------------------------------------------------------------------


async def test_a_start_is_a_post_of_json():
    """The endpoint is POSTed a JSON object, by a client that says its name."""
    async with serve_http(answering(200, OK)) as server:
        await start_bot(server.url("/api/start?a=b%20c&d"), request_data={"body": {"x": "ä"}})
        await server.wait_idle()
    (request,) = server.requests
    assert ("POST", "/api/start?a=b%20c&d") == (request.method, request.target)
    assert {"body": {"x": "ä"}, "transport": "websocket"} == request.json
    assert ["application/json"] == request.header("content-type")
    assert [f"trio-pipecat/{__version__}"] == request.header("user-agent")
    assert [f"{HOST}:{server.port}"] == request.header("host")
    assert [str(len(request.body))] == request.header("content-length")
    assert [] == request.header("authorization")


@pytest.mark.parametrize(
    ("request_data", "transport", "expected"),
    [
        (None, None, {"transport": "websocket"}),
        ({}, "webrtc", {"transport": "webrtc"}),
        ({"transport": "twilio"}, "webrtc", {"transport": "twilio"}),
        ({"transport": None}, None, {"transport": "websocket"}),
    ],
)
async def test_the_request_says_which_transport(request_data, transport, expected):
    """A runner that is not told answers for WebRTC, so it is told; who tells it himself, does."""
    async with serve_http(answering(200, {**OK, "webrtcUrl": "http://x/offer"})) as server:
        await start_bot(server.url(), request_data=request_data, transport=transport)
    assert expected == server.requests[0].json


@pytest.mark.parametrize(
    ("request_data", "transport", "expected"),
    [
        ({"body": None, "a": None}, "webrtc", {"a": None, "transport": "webrtc"}),
        ({"body": None, "transport": "webrtc"}, None, {"transport": "webrtc"}),
        ({"body": {}}, "webrtc", {"body": {}, "transport": "webrtc"}),
        ({"body": None}, None, {"body": None, "transport": "websocket"}),
    ],
)
async def test_a_body_that_is_null_is_left_out_for_webrtc(request_data, transport, expected):
    """Pipecat's runner makes a session of it that answers 404 for ever."""
    async with serve_http(answering(200, {**OK, "webrtcUrl": "/offer"})) as server:
        await start_bot(server.url(), request_data=request_data, transport=transport)
    assert expected == server.requests[0].json


async def test_a_started_webrtc_session_is_where_its_offer_goes():
    """Beside the endpoint, or where a template says; the bot has the request's data already."""
    async with serve_http(answering(200, {"sessionId": "a/b"})) as server:
        started = await start_bot(server.url(), transport="webrtc", request_data={"body": {}})
        assert server.url("/sessions/a%2Fb/api/offer") == started.params.webrtc_url
        assert started.params.request_data is None
        started = await start_bot(
            server.url(), transport="webrtc", offer_url_template="https://x.example/:sessionId/o"
        )
    assert "https://x.example/a%2Fb/o" == started.params.webrtc_url


async def test_the_callers_headers_are_sent():
    """Headers go as they are, in Latin-1, once each; the caller's win, but for what the body is."""
    headers = {
        "authorization": "Bearer abc",
        "user-agent": "me",
        "content-type": "text/plain",
        "accept-encoding": "gzip",
        "X-Name": "Ärger",
    }
    async with serve_http(answering(200, OK)) as server:
        await start_bot(server.url(), headers=headers)
    (request,) = server.requests
    assert ["Bearer abc"] == request.header("authorization")
    assert ["me"] == request.header("user-agent")
    assert ["application/json"] == request.header("content-type")
    assert ["identity"] == request.header("accept-encoding")
    assert ["Ärger"] == request.header("x-name")


@pytest.mark.parametrize(
    ("user", "headers", "expected"),
    [
        ("al:pa%3Ass@", {}, "Basic YWw6cGE6c3M="),
        ("al@", {}, "Basic YWw6"),
        ("al:pass@", {"authorization": "Bearer abc"}, "Bearer abc"),
    ],
)
async def test_a_user_in_the_address_is_basic_authentication(user, headers, expected):
    """User and password of the address go into a header, unless there is one."""
    async with serve_http(answering(200, OK)) as server:
        started = await start_bot(server.url(user=user), headers=headers)
    assert [expected] == server.requests[0].header("authorization")
    assert started.endpoint == server.url(user=user)


async def test_proxies_of_the_environment_are_left_alone(monkeypatch):
    """A proxy that the WebSocket would not use is not used, nor asked for a SOCKS package."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "socks5://127.0.0.1:1")
    async with serve_http(answering(200, OK)) as server:
        await start_bot(server.url())


async def test_an_endpoint_may_have_no_path(names):
    """An address without a path means the root."""
    async with serve_http(answering(200, OK)) as server:
        await start_bot(server.url("", host="localhost"))
    assert "/" == server.requests[0].target


# -- the answer --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "handler",
    [
        answering(200, OK),
        answering(201, OK),
        answering(200, OK, {"Content-Type": "text/plain; charset=utf-16"}),
        lambda exchange: exchange.answer_in_chunks(b'{"wsUrl":"wss://eu.', b'bot.example/ws"}'),
        sending(b'HTTP/1.0 200 OK\r\n\r\n{"wsUrl": "wss://eu.bot.example/ws"}'),
        sending(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
            b'HTTP/1.1 200\r\nConnection: close\r\n\r\n{"wsUrl": "wss://eu.bot.example/ws"}'
        ),
    ],
)
async def test_an_answer_may_be_framed_in_every_way(handler):
    """An answer is any success with JSON in it, with a length, in chunks, or till the end."""
    async with serve_http(handler) as server:
        started = await start_bot(server.url())
        await server.wait_idle()
    assert "wss://eu.bot.example/ws" == started.params.ws_url


async def test_a_started_bot_is_the_answer_and_what_it_means():
    """A started bot knows its endpoint, the whole answer, and the parameters."""
    answer = {**OK, "wsUrl": "wss://0.0.0.0:7860/ws-client", "region": "eu"}
    async with serve_http(answering(200, answer)) as server:
        started = await start_bot(server.url(), request_data={"a": 1})
    expected = ConnectParams(
        transport="websocket",
        ws_url=f"ws://{HOST}:{server.port}/ws-client",
        session_id="1",
        request_data={"a": 1},
        other={"region": "eu"},
    )
    assert (server.url(), answer, expected) == (started.endpoint, started.answer, started.params)


async def test_a_base_url_replaces_what_the_answer_names():
    """The caller knows better where the bot can be reached."""
    async with serve_http(answering(200, OK)) as server:
        started = await start_bot(server.url(), base_url="https://proxy.example/a")
    assert "wss://proxy.example/a/ws" == started.params.ws_url


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"null", "the answer is null, not an object with an address"),
        (b"[1]", "the answer is a list, not an object with an address"),
        (b"7", "the answer is no object, not an object with an address"),
        (b"NaN", "the answer is no object, not an object with an address"),
        (b'"ws://x"', "the answer is no object, not an object with an address"),
        (b"{}", "the answer names no address; its keys are []"),
        (b'{"a": 1}', "the answer names no address; its keys are ['a']"),
        (b"", "the answer is not JSON: ''"),
        (b"Internal\nServer Error", "the answer is not JSON: 'Internal Server Error'"),
        (b"\xff\xfe\x00", "the answer is not JSON: '\N{REPLACEMENT CHARACTER}"),
        (b'{"wsUrl": "ws://x', 'the answer is not JSON: \'{"wsUrl": "ws://x\''),
        (b"[" * 100_000, f"the answer is not JSON: '{60 * '['}'"),
        (b"9" * 10_000, f"the answer is not JSON: '{60 * '9'}'"),
        (gzip.compress(b"{}", mtime=0), "the answer is not JSON: '"),
        (b'{"wsUrl": "ws://["}', "the answer has an address that can't be used: not a URL"),
        (b'{"wsUrl": "ws://x:99999"}', "the answer has an address that can't be used: not a URL"),
        (b'{"wsUrl": 7}', "the answer's ws_url is no string"),
        (b'{"wsUrl": "ws://x", "fileUploadUrl": "x:y"}', "the answer has an address that can't be"),
        (b'{"sessionId": "1"}', "the answer names no address; its keys are ['sessionId']"),
    ],
)
async def test_an_answer_that_cannot_be_used_is_an_error(body, detail):
    """A success that leads nowhere is a failure, and the error says what came instead."""
    error = await failure_of(answering(200, body), transport="websocket")
    assert 200 == error.status
    assert error.detail.startswith(detail)


async def test_an_error_is_never_long():
    """Whatever a server sends, an error is one line of some hundred characters."""
    long = json.dumps({100_000 * "k": 1, "\x1b[2J\r\n": 2})
    error = await failure_of(answering(200, long))
    assert len(str(error)) < 700
    assert str(error).isprintable()


async def test_compression_is_not_undone():
    """A few bytes that are a hundred megabytes are a few bytes."""
    bomb = gzip.compress(gzip.compress(bytes(50_000_000)))
    error = await failure_of(answering(200, bomb, {"Content-Encoding": "gzip, gzip"}))
    assert error.detail.startswith("the answer is not JSON")


# -- the server says no ------------------------------------------------------------------

VALIDATION = {
    "detail": [
        {
            "type": "string_type",
            "loc": ["body", "transport"],
            "msg": "Input should be a valid string",
            "input": SECRET,
        },
        {"msg": "no place", "input": {"token": SECRET}},
        {"loc": "nowhere", "msg": "odd place"},
        {"loc": ["body", 0], "input": SECRET},
        SECRET,
    ]
}
VALIDATION_SHOWN = "body.transport: Input should be a valid string; no place; odd place"


@pytest.mark.parametrize(
    ("status", "body", "detail"),
    [
        (400, {"detail": "Unknown transport 'x'."}, "Unknown transport 'x'."),
        (405, {"detail": "Method Not Allowed"}, "Method Not Allowed"),
        (504, {"detail": "Bot did not become ready"}, "Bot did not become ready"),
        (422, VALIDATION, VALIDATION_SHOWN),
        (422, {"detail": []}, "Unprocessable Entity"),
        (422, {"detail": [{"loc": ["body"]}]}, "Unprocessable Entity"),
        (400, {"info": "no such agent"}, "no such agent"),
        (401, {"error": "Unauthorized", "code": "401"}, "Unauthorized (401)"),
        (429, {"error": "at capacity", "code": 1002}, "at capacity (1002)"),
        (
            429,
            {"status": "error", "code": "PCC-AGENT-AT-CAPACITY", "message": "at capacity"},
            "at capacity (PCC-AGENT-AT-CAPACITY)",
        ),
        (400, {"error": {"message": "inner", "code": 7}}, "inner"),
        (400, {"error": {"msg": "inner"}}, "inner"),
        (400, {"error": {"message": {"message": "too deep"}}}, "Bad Request"),
        (400, {"detail": None, "info": "", "message": "last"}, "last"),
        (400, {"detail": 7}, "Bad Request"),
        (400, {"code": "x"}, "Bad Request"),
        (400, {"error": "x", "code": None}, "x"),
        (400, ["x"], "Bad Request"),
        (400, "7", "Bad Request"),
        (400, '"just text"', "just text"),
        (500, "Internal Server Error", "Internal Server Error"),
        (500, "  several\r\n\tlines \x1b[2J\u202e\x00 ", "several lines [2J"),
        (500, "", "Internal Server Error"),
        (500, " \n", "Internal Server Error"),
        (599, "", "no reason given"),
        (502, "<html>\n<head><title>502 Bad\nGateway</title></head>…", "502 Bad Gateway"),
        (502, "<h1>Bad Gateway</h1>", "<h1>Bad Gateway</h1>"),
        (500, b"caf\xe9", "caf\N{REPLACEMENT CHARACTER}"),
        (500, b'{"detail": "caf\xe9"}', '{"detail": "caf\N{REPLACEMENT CHARACTER}"}'),
        (500, b'{"detail": "\\ud800x"}', "x"),
        (500, '{"detail": "half', '{"detail": "half'),
        (500, 600 * "x", 500 * "x"),
        (500, {"detail": 600 * "x"}, 500 * "x"),
        (500, 450 * '{"message":' + "1" + 450 * "}", "Internal Server Error"),
        (500, 10_000 * "[", 500 * "["),
        (404, "Invalid or not-yet-ready session_id", "Invalid or not-yet-ready session_id"),
        (303, "", "See Other"),
        (304, "", "Not Modified"),
        (307, "", "Temporary Redirect"),
    ],
)
async def test_a_refusal_is_told_in_the_servers_words(status, body, detail):
    """Every known shape of an error body is read; without one, the status speaks."""
    error = await failure_of(answering(status, body))
    assert (status, detail) == (error.status, error.detail)
    assert f"the bot was not started: HTTP {status}: {detail}" == str(error)
    assert error.retry_after is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3),
        ("0", 0),
        ("1.5", 1.5),
        ("-3", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None),
    ],
)
async def test_the_servers_advice_when_to_come_back_is_kept(value, seconds):
    """`retry_after` is a number of seconds that one can sleep, or None."""
    error = await failure_of(answering(429, {"detail": "full"}, {"Retry-After": value}))
    assert (429, seconds) == (error.status, error.retry_after)
    assert str(error).endswith("full" if seconds is None else f"full (retry after {seconds:g} s)")


# -- deadlines ---------------------------------------------------------------------------


async def drip(exchange):
    """Answer so slowly that every read succeeds, and the whole never does."""
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        await exchange.send(b"x")
        await trio.sleep(0.01)


@pytest.mark.parametrize("handler", [silent, half_an_answer, drip])
async def test_a_silent_server_is_given_up(garbage, handler):
    """``start_timeout`` is for the whole exchange, not for each part."""
    error = await failure_of(handler, start_timeout=0.1)
    assert ("no answer within 0.1 s", None) == (error.detail, error.status)


async def test_a_server_that_is_silent_in_the_handshake_is_given_up(garbage):
    """A TLS handshake without an answer is under the deadline too, and leaves no socket open."""
    async with serve_tcp(wait_for_eof) as port:
        error = await failure(f"https://{HOST}:{port}/start", start_timeout=0.1)
    assert "no answer within 0.1 s" == error.detail


# -- parameters --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "options", "why"),
    [
        ("ws://localhost/start", {}, "expected a http:// or https:// URL"),
        ("localhost:7860/start", {}, "expected a http:// or https:// URL"),
        (None, {}, "a URL is a string, not NoneType"),
        (
            "http://localhost",
            {"offer_url_template": "https://x/offer"},
            "offer_url_template has no :sessionId in its path",
        ),
        ("http://localhost", {"base_url": "proxy.example"}, "expected a http:// or https:// or ws"),
        ("http://localhost", {"start_timeout": 0}, "start_timeout is a positive number, not 0"),
        ("http://localhost", {"start_timeout": math.nan}, "start_timeout is a positive number"),
        ("http://localhost", {"start_timeout": "30"}, "start_timeout is a positive number"),
        ("http://localhost", {"headers": {"X": "a\nb"}}, "the header X holds a line break"),
        ("http://localhost", {"headers": 7}, "headers are a mapping of names to values"),
        ("http://localhost", {"request_data": []}, "request_data is an object (a mapping)"),
        ("http://localhost", {"request_data": "{}"}, "request_data is an object (a mapping)"),
        ("http://localhost", {"request_data": {"a": b""}}, "request_data can't be JSON"),
        ("http://localhost", {"request_data": {"a": math.nan}}, "request_data can't be JSON"),
    ],
)
async def test_parameters_that_cannot_work_are_refused(endpoint, options, why):
    """What can't work is refused before anything is sent."""
    assert why in await refusal(endpoint, **options)


@pytest.mark.parametrize(
    ("user", "query", "headers"),
    [
        ("", "", {"Authorization": SECRET}),
        ("", "", {"authorization": SECRET}),
        ("", "", {"Cookie": SECRET}),
        ("", "", {"Proxy-Authorization": SECRET}),
        ("", "", {"X-Api-Key": SECRET}),
        ("", "", {"ApiKey": SECRET}),
        ("", "", {"X-Auth-Token": SECRET}),
        (f"al:{SECRET}@", "", {}),
        (f"{SECRET}@", "", {}),
        ("", f"?token={SECRET}", {}),
        ("", f"?a=b&api_key={SECRET}", {}),
        ("", f"?key={SECRET}", {}),
    ],
)
async def test_credentials_go_encrypted_or_to_this_machine(names, user, query, headers):
    """Over plain HTTP to another machine they are refused, and nothing is sent, unless allowed."""
    async with serve_http(answering(200, OK)) as server:
        remote = server.url(f"/start{query}", host="bot.example", user=user)
        said = await refusal(remote, headers=headers)
        assert f"credentials would go to 'http://bot.example:{server.port}/start" in said
        assert SECRET not in said
        assert 0 == server.connections
        await start_bot(remote, headers=headers, allow_insecure_token=True)
        await start_bot(server.url(f"/start{query}", user=user), headers=headers)


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("http://bot.example/start?agent=x", {"X-Author": "me", "Idempotency-Key": "1"}),
        ("https://user:pass@bot.example/start?token=x", {"Authorization": "Bearer x"}),
        ("http://localhost/start?token=x", {"Authorization": "Bearer x"}),
        ("http://[::1]/start?token=x", {"Authorization": "Bearer x"}),
    ],
)
def test_other_requests_may_go_anywhere(url, headers):
    """What is no credential, what is encrypted and what stays here is sent."""
    check_credentials(url, headers, allow_insecure=False)


async def test_a_name_that_cannot_be_is_refused_at_once():
    """An empty label in a host is a slip of the keyboard."""
    assert "without a usable host" in await refusal("http://bot..example/start")


# -- secrets -----------------------------------------------------------------------------

QUOTED = "s3cret%2Fword"  # as it stands in a URL
DECODED = "s3cret/word"
BASIC = "czNjcmV0L3dvcmQ6czNjcmV0L3dvcmQ="  # the user s3cret/word with that password
LONG = "L0ng" + 60 * "g"
SECRETS = ["s3cret", "word", BASIC, "L0ngg"]
#: Ways to send a secret, and what a server may echo of it.
WAYS = {
    "query": ({"path": f"/start?token={QUOTED}&flag"}, f"{DECODED} or {QUOTED}"),
    "bare query": ({"path": f"/start?{QUOTED}"}, f"{DECODED} or {QUOTED}"),
    "header": ({"headers": {"Authorization": f"Bearer {DECODED}"}}, f"Bearer {DECODED} {DECODED}"),
    "own header": ({"headers": {"X-Name": DECODED}}, DECODED),
    "cookie": ({"headers": {"Cookie": f"a=b; session={DECODED}"}}, DECODED),
    "user": ({"user": f"{QUOTED}:{QUOTED}@"}, f"{BASIC} or {DECODED} or {QUOTED}"),
    "path": ({"path": f"/{LONG}/start"}, f"no such page: /{LONG}/start"),
}


def shown(error):
    """Return all there is to see of an error, causes, and contexts that tracebacks leave out."""
    texts = traceback.format_exception(error)
    todo, seen = [error], []
    while todo:
        one = todo.pop()
        if one is not None and one not in seen:
            seen.append(one)
            texts.append(f"{one} {one!r} {one.args!r} {vars(one)!r}")
            todo += [one.__cause__, one.__context__]
    return "".join(texts)


def leaks(text):
    """Return the secrets that are in a text."""
    return [secret for secret in SECRETS if secret in text]


@contextmanager
def logs():
    """Record whatever any logger says, at every level.

    But for httpcore's own trace of an answer's headers: what a server echoes there is the server's
    to keep, and filtering another library's logger is not ours to do.
    """
    lines = []

    class Recorder(logging.Handler):
        def emit(self, record):
            if record.name == "httpcore.http11" and "receive_response" in str(record.msg):
                return
            lines.append(f"{record.name} {record.getMessage()} {record.exc_text}")

    root, recorder = logging.getLogger(), Recorder()
    level = root.level
    root.addHandler(recorder)
    root.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        root.setLevel(level)
        root.removeHandler(recorder)


async def start_with_secrets(server, path="/start", user="", headers=None):
    """Start a bot in one of the `WAYS`."""
    return await start_bot(server.url(path, user=user), headers=headers)


#: Ways to echo it.
ECHOES = {
    "header": lambda echo: answering(200, OK, {"X-Echo": echo}),
    "detail": lambda echo: answering(400, {"detail": echo}),
    "detail over the edge": lambda echo: answering(400, {"detail": 490 * "x" + echo}),
    "text": lambda echo: answering(500, echo),
    "text over the edge": lambda echo: answering(500, 497 * "x" + echo),
    "text far over the edge": lambda echo: answering(500, 4093 * " " + echo),
    "title": lambda echo: answering(500, f"<title>{echo}</title>"),
    "reason": lambda echo: sending(f"HTTP/1.1 500 {echo}\r\n\r\n".encode()),
    "key": lambda echo: answering(200, {echo: 1}),
    "address": lambda echo: answering(200, {"wsUrl": f"ftp://x/?{echo}"}),
    "not JSON": lambda echo: answering(200, echo),
    "not JSON over the edge": lambda echo: answering(200, 57 * "x" + echo),
    "not UTF-8": lambda echo: answering(200, b"\xff" + echo.encode()),
    "garbage": lambda echo: sending(f"{echo}\r\n\r\n".encode()),
    "garbage over the edge": lambda echo: sending(f"{420 * 'x'}{echo}\r\n\r\n".encode()),
    "bad header": lambda echo: sending(f"HTTP/1.1 200 OK\r\n{echo}\r\n\r\n".encode()),
    "bad chunk": lambda echo: sending(
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{echo}\r\n".encode()
    ),
    "redirect": lambda echo: answering(307, b"", {"Location": f"http://x/{LONG}?token={echo}"}),
    "redirects": lambda echo: answering(307, b"", {"Location": f"/x?token={echo}"}),
    "silence": lambda echo: hanging_up,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", ECHOES)
async def test_no_secret_is_ever_shown(way, how):
    """Whatever a server echoes: no error, cause, context, repr or log line has a secret in it."""
    options, echo = WAYS[way]
    with logs() as lines:
        async with serve_http(ECHOES[how](echo)) as server:
            try:
                said = repr(await start_with_secrets(server, **options))
            except StartBotError as error:
                said = shown(error)
    assert server.requests
    assert [] == leaks(said)
    assert [] == leaks("\n".join(lines))


@pytest.mark.parametrize("way", WAYS)
async def test_a_refused_connection_shows_no_secret(way):
    """An error without an answer names the place only."""
    async with serve_http(silent) as server:
        pass
    with logs() as lines, pytest.raises(StartBotError) as caught:
        await start_with_secrets(server, **WAYS[way][0])
    assert [] == leaks(shown(caught.value) + "\n".join(lines))


async def test_a_secret_of_a_redirect_is_one_too():
    """What the server adds to the address on the way is not shown either."""

    async def handle(exchange):
        if exchange.request.target == "/start":
            await exchange.answer(307, b"", {"Location": f"/there?session={QUOTED}"})
        else:
            await exchange.answer(400, {"detail": f"{DECODED} or {QUOTED}"})

    with logs() as lines:
        error = await failure_of(handle)
    assert "*** or ***" == error.detail
    assert [] == leaks("\n".join(lines))


# -- uploading ---------------------------------------------------------------------------

FILE = {"name": "a.txt", "source": {"type": "url", "url": "pipecat:123"}, "format": "text/plain"}


async def do_upload(server, path="/files", **changes):
    """Upload a small file."""
    options = {"name": "a.txt", "format": "text/plain", "headers": {}, "ssl_context": None}
    return await upload(server.url(path), b"hello", **{**options, **changes})


async def upload_failure(handler, **changes):
    """Return the error of an upload that fails."""
    async with serve_http(handler) as server:
        with pytest.raises(UploadError) as caught:
            await do_upload(server, **changes)
        await server.wait_idle()
        return caught.value


def parts_of(request):
    """Return the body of a request, and the boundary of its parts."""
    (content_type,) = request.header("content-type")
    kind, _, boundary = content_type.partition("; boundary=")
    assert "multipart/form-data" == kind
    return boundary, request.body


@pytest.mark.parametrize("status", [200, 201])
async def test_an_upload_is_a_form_with_one_file(status):
    """The form has one part, named file, and the answer is what a message wants."""
    async with serve_http(answering(status, FILE)) as server:
        file = await do_upload(server, headers={"X-Name": "a", "content-type": "x/y"})
        await server.wait_idle()
    assert ("a.txt", "text/plain", UrlSource(url="pipecat:123")) == (
        file.name,
        file.format,
        file.source,
    )
    (request,) = server.requests
    boundary, body = parts_of(request)
    expected = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n'
        f"Content-Type: text/plain\r\n\r\nhello\r\n--{boundary}--\r\n"
    )
    assert expected.encode() == body
    assert ("POST", "/files") == (request.method, request.target)
    assert ["a"] == request.header("x-name")
    assert [f"trio-pipecat/{__version__}"] == request.header("user-agent")


@pytest.mark.parametrize(
    ("name", "filename"),
    [
        ("/home/al/a.txt", "a.txt"),
        ("../a.txt", "a.txt"),
        ("folder/", "folder"),
        ('a "quoted" name', "a %22quoted%22 name"),
        ("line\r\nbreak", "line%0D%0Abreak"),
        ("Ärger 日本.txt", "Ärger 日本.txt"),
        ("a;b=c.txt", "a;b=c.txt"),
    ],
)
async def test_a_file_is_sent_under_its_own_name(name, filename):
    """The name has no folders, and can't be mistaken for more than a name."""
    async with serve_http(answering(200, FILE)) as server:
        await do_upload(server, name=name)
    _, body = parts_of(server.requests[0])
    assert f'name="file"; filename="{filename}"\r\n'.encode() in body


@pytest.mark.parametrize("format_", ["text/plain\r\nX: y", "text/€"])
async def test_a_format_that_is_no_header_is_refused(format_):
    """The format can't smuggle anything into the form."""
    async with serve_http(answering(200, FILE)) as server:
        with pytest.raises(InvalidParamsError):
            await do_upload(server, format=format_)
        assert 0 == server.connections


@pytest.mark.parametrize(
    ("status", "body", "detail"),
    [
        (413, {"detail": "over 50 MiB"}, "over 50 MiB"),
        (503, {"detail": "uploads are not enabled"}, "uploads are not enabled"),
        (404, {"detail": "no such session"}, "no such session"),
        (500, "Internal Server Error", "Internal Server Error"),
        (500, {"detail": "Failed to save file"}, "Failed to save file"),
        (502, "", "Bad Gateway"),
        (303, "", "See Other"),
        (200, "", "the answer describes no file: it is not JSON"),
        (200, b"\xff", "the answer describes no file: it is not JSON"),
        (200, 10_000 * "[", "the answer describes no file: it is not JSON"),
        (200, "null", "the answer describes no file: "),
        (200, [], "the answer describes no file: expected an object, got a list"),
        (200, {"name": "a"}, "the answer describes no file: "),
        (200, {**FILE, "source": {"type": "x"}}, "the answer describes no file: source"),
        (200, {**FILE, "format": 7}, "the answer describes no file: format"),
    ],
)
async def test_a_file_that_is_not_taken_is_an_error(status, body, detail):
    """A refusal, and an answer that describes no file, are told in the same words as elsewhere."""
    error = await upload_failure(answering(status, body))
    assert status == error.status
    assert error.detail.startswith(detail)
    assert str(error).startswith(f"the file was not uploaded: HTTP {status}: {detail}")


async def test_an_early_refusal_of_a_large_file_is_read():
    """A server that answers before it has read everything is understood."""

    async def refuse(stream):
        await stream.receive_some(100)
        await stream.send_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge")
        await wait_for_eof(stream)

    async with serve_tcp(refuse) as port:
        with pytest.raises(UploadError) as caught:
            await upload(
                f"http://{HOST}:{port}/files",
                bytes(10_000_000),
                name="a",
                format="text/plain",
                headers={},
                ssl_context=None,
            )
    assert (413, "large") == (caught.value.status, caught.value.detail)


@pytest.mark.parametrize(
    ("handler", "detail"),
    [
        (hanging_up, "Server disconnected"),
        (sending(b"garbage\r\n\r\n"), "illegal status line"),
        (endless_body, "an answer of over 1048576 bytes"),
        (answering(307, b"", {"Location": "http://bot.example/"}), "was not followed"),
    ],
)
async def test_an_upload_that_fails_is_an_error(handler, detail):
    """What goes wrong below is an `UploadError` as well."""
    assert detail in (await upload_failure(handler)).detail


async def test_an_upload_is_redirected_whole():
    """A redirect on the same origin gets the file again."""

    async def handle(exchange):
        moved = exchange.request.target == "/files"
        await exchange.answer(*((308, b"", {"Location": "/files/"}) if moved else (200, FILE)))

    async with serve_http(handle) as server:
        await do_upload(server)
    first, second = server.requests
    assert first.body == second.body


@pytest.mark.parametrize("how", ["detail", "garbage", "not JSON"])
async def test_an_upload_shows_no_secret(how):
    """Errors and logs of an upload are as clean as those of a start."""
    headers = {"Authorization": f"Bearer {DECODED}"}
    handler = ECHOES[how](f"{DECODED} {QUOTED} {LONG}")
    with logs() as lines:
        error = await upload_failure(handler, path=f"/{LONG}?sig={QUOTED}", headers=headers)
    assert [] == leaks(shown(error))
    assert [] == leaks("\n".join(lines))


async def test_cancelling_an_upload_closes_the_connection(garbage):
    """An upload that is cancelled hangs up."""
    async with serve_http(silent) as server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(do_upload, server)
            await server.wait_request()
            nursery.cancel_scope.cancel()
        await server.wait_idle()
