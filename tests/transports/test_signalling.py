"""Offers and answers of a WebRTC session, over real HTTP."""

import json
import sys
import traceback

import pytest
import trio
from http_server import (
    answering,
    hanging_up,
    redirecting,
    sending,
    serve_http,
    silent,
)
from hypothesis import given
from hypothesis import strategies as st
from strategies import JSON

from trio_pipecat import ConnectParams, InvalidParamsError, TransportStartError, __version__
from trio_pipecat.transports import LinkOptions
from trio_pipecat.transports._signalling import Answer, Candidate, Signalling, _read_answer

SECRET = "s3cret-word"
PC_ID = "SmallWebRTCConnection#0-0123456789abcdef"
OFFER = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-pwd:0ur-ice-password\r\n"
LINES = [
    "v=0",
    "m=audio 9 UDP/TLS/RTP/SAVPF 96",
    "a=ice-ufrag:4ZcD",
    "a=ice-pwd:2/1muCWoOi3uLifh0NuRHlbe",
    "a=fingerprint:sha-256 AB:CD",
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    "a=max-message-size:262144",
]


def sdp(*, without="-", instead=None):
    """Return the SDP of an answer, some of its lines left out or replaced."""
    lines = [line if not line.startswith(without) else instead for line in LINES]
    return "".join(f"{line}\r\n" for line in lines if line is not None)


def body(**changes):
    """Return what Pipecat's server answers."""
    return {"sdp": sdp(), "type": "answer", "pc_id": PC_ID, **changes}


def signalling(url, *, token=None, request_data=None, **options):
    """Return the signalling of one session."""
    params = ConnectParams(
        transport="webrtc", webrtc_url=url, token=token, request_data=request_data
    )
    return Signalling(params, LinkOptions(**options))


def refusal(url="http://localhost/api/offer", **options):
    """Return what is said against parameters, before anything is sent."""
    with pytest.raises(InvalidParamsError) as caught:
        signalling(url, **options)
    return str(caught.value)


async def failure_of(handler, **options):
    """Return the error of an offer to a server whose requests `handler` answers."""
    async with serve_http(handler) as server:
        with pytest.raises(TransportStartError) as caught:
            await signalling(server.url("/api/offer"), **options).offer(OFFER)
        await server.wait_idle()
    return caught.value


async def request_of(path="/api/offer", **options):
    """Return the request that an offer is."""
    async with serve_http(answering(200, body())) as server:
        await signalling(server.url(path), **options).offer(OFFER)
    return server.requests[0]


# -- offers ------------------------------------------------------------------------------


@pytest.mark.socket
async def test_an_offer_is_a_post_of_json():
    """The first has no name for the connection yet, and the answer gives one."""
    async with serve_http(answering(200, body())) as server:
        answer = await signalling(server.url("/api/offer?a=b")).offer(OFFER)
        await server.wait_idle()
    assert Answer(sdp=sdp(), pc_id=PC_ID, max_message_size=262_144) == answer
    (request,) = server.requests
    assert ("POST", "/api/offer?a=b") == (request.method, request.target)
    assert {"sdp": OFFER, "type": "offer"} == request.json
    assert ["application/json"] == request.header("content-type")
    assert [f"trio-pipecat/{__version__}"] == request.header("user-agent")
    assert [] == request.header("authorization")


@pytest.mark.socket
async def test_request_data_goes_with_every_offer():
    """A server that has lost the connection starts another bot, and that wants it."""
    async with serve_http(answering(200, body())) as server:
        signals = signalling(server.url("/api/offer"), request_data={"a": 1})
        await signals.offer(OFFER)
        await signals.offer(OFFER)
        await signals.offer(OFFER, pc_id=PC_ID)
        await signals.offer(OFFER, pc_id=PC_ID, restart=True)
    offer = {"sdp": OFFER, "type": "offer", "request_data": {"a": 1}}
    assert [
        offer,
        offer,
        {**offer, "pc_id": PC_ID},
        {**offer, "pc_id": PC_ID, "restart_pc": True},
    ] == [request.json for request in server.requests]


@pytest.mark.socket
@pytest.mark.parametrize("data", [{}, [], 0, False, ""])
async def test_request_data_may_be_any_json(data):
    """Only None is none."""
    assert data == (await request_of(request_data=data)).json["request_data"]


@pytest.mark.socket
@pytest.mark.parametrize(
    ("place", "target", "header"),
    [
        ("header", "/api/offer?a=1", ["Bearer t/k"]),
        ("query", "/api/offer?a=1&token=t%2Fk", []),
    ],
)
async def test_a_token_goes_where_it_is_wanted(place, target, header):
    """In a header, or quoted in the query beside what is there."""
    request = await request_of("/api/offer?a=1", token="t/k", token_in=place)
    assert (target, header) == (request.target, request.header("authorization"))


@pytest.mark.socket
async def test_headers_and_origin_go_along():
    """Those of the caller, as far as HTTP leaves them to him."""
    headers = {"Authorization": "Bearer abc", "X-Name": "ä", "Content-Type": "text/plain"}
    request = await request_of(headers=headers, origin="https://app.example")
    assert ["Bearer abc"] == request.header("authorization")
    assert ["ä"] == request.header("x-name")
    assert ["https://app.example"] == request.header("origin")
    assert ["application/json"] == request.header("content-type")


@pytest.mark.socket
async def test_a_user_in_the_address_is_basic_authentication():
    """As everywhere else."""
    async with serve_http(answering(200, body())) as server:
        await signalling(server.url("/api/offer", user="al:pass@")).offer(OFFER)
    assert ["Basic YWw6cGFzcw=="] == server.requests[0].header("authorization")


@pytest.mark.socket
async def test_where_a_redirect_has_led_is_where_the_next_request_goes():
    """Method and body go along, and the detour is not taken twice."""
    async with serve_http(redirecting(307, "/api/offer", body())) as server:
        signals = signalling(server.url("/start"))
        await signals.offer(OFFER)
        await signals.trickle(PC_ID, [])
    assert [("POST", "/start"), ("POST", "/api/offer"), ("PATCH", "/api/offer")] == [
        (request.method, request.target) for request in server.requests
    ]


@pytest.mark.socket
async def test_a_context_decides_whom_to_trust(server_tls, client_tls):
    """Over TLS, that is."""
    async with serve_http(answering(200, body()), ssl_context=server_tls) as server:
        signals = signalling(server.url("/api/offer"), ssl_context=client_tls)
        assert PC_ID == (await signals.offer(OFFER)).pc_id
        with pytest.raises(TransportStartError, match="certificate refused"):
            await signalling(server.url("/api/offer")).offer(OFFER)


# -- trickle -----------------------------------------------------------------------------


@pytest.mark.socket
async def test_candidates_are_a_patch():
    """To the same address, with the same authorization, and whatever is answered."""
    async with serve_http(answering(200, b"")) as server:
        await signalling(server.url("/api/offer"), token="abc").trickle(
            PC_ID,
            [
                Candidate("candidate:1 1 udp 1 192.0.2.1 9", "0", 0),
                Candidate("", sdp_mid="0", sdp_mline_index=0),
            ],
        )
    (request,) = server.requests
    assert ("PATCH", "/api/offer") == (request.method, request.target)
    assert ["Bearer abc"] == request.header("authorization")
    where = {"sdp_mid": "0", "sdp_mline_index": 0}
    assert {
        "pc_id": PC_ID,
        "candidates": [
            {"candidate": "candidate:1 1 udp 1 192.0.2.1 9", **where},
            {"candidate": "", **where},
        ],
    } == request.json


@pytest.mark.socket
async def test_candidates_that_are_not_taken_are_an_error():
    """Of the stage ``trickle``."""
    handler = answering(404, {"detail": "Peer connection not found"})
    async with serve_http(handler) as server:
        with pytest.raises(TransportStartError) as caught:
            await signalling(server.url("/api/offer")).trickle(PC_ID, [])
    said = "the session has ended, or there is no such path (Peer connection not found)"
    assert ("trickle", said, 404) == (caught.value.stage, caught.value.detail, caught.value.status)


# -- answers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "size"),
    [
        (None, 65_536),
        ("a=max-message-size:100", 100),
        ("a=max-message-size:0", sys.maxsize),
        ("a=max-message-size:", 65_536),
        ("a=max-message-size:-1", 65_536),
        (f"a=max-message-size:{5000 * '9'}", 65_536),
    ],
)
def test_the_largest_message_is_in_the_sdp(line, size):
    """Without one it is what the RFC says; 0 is no limit."""
    answer = _read_answer(body(sdp=sdp(without="a=max", instead=line)), 200)
    assert size == answer.max_message_size


def test_lines_may_end_without_a_carriage_return():
    """aiortc's end with one, others' may not."""
    answer = _read_answer(body(sdp=sdp().replace("\r", "")), 200)
    assert 262_144 == answer.max_message_size


def test_both_spellings_of_the_id_are_read():
    """camelCase and snake_case mean the same."""
    answer = {"sdp": sdp(), "type": "answer", "pcId": PC_ID, "more": [1]}
    assert PC_ID == _read_answer(answer, 200).pc_id
    assert PC_ID == _read_answer({**answer, "pc_id": None}, 200).pc_id


NO_SDP = "the answer accepts nothing: its SDP has no m= line and no ice-ufrag and no ice-pwd"


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (None, "the answer is no JSON object"),
        ([], "the answer is no JSON object"),
        ({}, "the answer is not of type 'answer'"),
        (body(type="offer"), "the answer is not of type 'answer'"),
        (body(sdp=None), "the answer has no sdp"),
        (body(sdp=["v=0"]), "the answer has no sdp"),
        (body(sdp=""), f"{NO_SDP} and no fingerprint"),
        (body(sdp="v=0\r\ns=-\r\nt=0 0\r\n"), f"{NO_SDP} and no fingerprint"),
        (
            body(sdp=sdp(without="m=")),
            "the answer accepts nothing: its SDP has no m= line",
        ),
        (
            body(sdp=sdp(without="a=ice-pwd", instead="a=ice-pwd:")),
            "the answer accepts nothing: its SDP has no ice-pwd",
        ),
        (
            body(sdp=sdp(without="a=fingerprint")),
            "the answer accepts nothing: its SDP has no fingerprint",
        ),
        (body(pc_id=None), "the answer has no pc_id"),
        (body(pc_id=""), "the answer has no pc_id"),
        (body(pc_id=7), "the answer has no pc_id"),
    ],
)
def test_an_answer_that_makes_no_connection_is_an_error(answer, detail):
    """Pipecat answers garbage with 200 and an answer that accepts nothing."""
    with pytest.raises(TransportStartError) as caught:
        _read_answer(answer, 200)
    assert ("offer", detail, 200) == (caught.value.stage, caught.value.detail, caught.value.status)


fields = st.fixed_dictionaries(
    {},
    optional={
        "type": st.just("answer") | JSON,
        "sdp": st.lists(st.sampled_from(LINES) | st.text()).map("\r\n".join) | JSON,
        "pc_id": st.just(PC_ID) | JSON,
        "pcId": JSON,
    },
)


@given(JSON | fields)
def test_any_answer_is_taken_or_refused(answer):
    """With `TransportStartError` and nothing else."""
    try:
        taken = _read_answer(answer, 200)
    except TransportStartError:
        return
    assert taken.pc_id
    assert taken.max_message_size > 0


@pytest.mark.socket
@pytest.mark.parametrize(
    ("status", "content", "detail"),
    [
        (200, "", "the answer is empty; is this an address for offers?"),
        (200, " \n", "the answer is empty; is this an address for offers?"),
        (200, "v=0 o=-", "the answer is not JSON: 'v=0 o=-'"),
        (200, b"\xff", "the answer is not JSON: '\N{REPLACEMENT CHARACTER}'"),
        (201, {"type": "answer"}, "the answer has no sdp"),
        (400, "Invalid WebRTC request", "Invalid WebRTC request"),
        (401, {"error": "no", "code": "401"}, "no (401)"),
        (
            404,
            "Invalid or not-yet-ready session_id",
            "the session has ended, or there is no such path (Invalid or not-yet-ready session_id)",
        ),
        (404, "", "the session has ended, or there is no such path (Not Found)"),
        (422, {"detail": [{"loc": ["body", "sdp"], "msg": "Missing"}]}, "body.sdp: Missing"),
        (500, "", "Internal Server Error"),
        (303, "", "See Other"),
    ],
)
async def test_a_refusal_is_told_in_the_servers_words(status, content, detail):
    """Or in ours, where it has none."""
    error = await failure_of(answering(status, content))
    assert ("offer", detail, status) == (error.stage, error.detail, error.status)
    assert f"no link to the bot (offer): HTTP {status}: {detail}" == str(error)


@pytest.mark.socket
@pytest.mark.parametrize("handler", [hanging_up, sending(b"220 smtp.example\r\n\r\n")])
async def test_no_answer_at_all_is_an_error(garbage, handler):
    """Without a status."""
    error = await failure_of(handler)
    assert ("offer", None) == (error.stage, error.status)


@pytest.mark.socket
async def test_cancelling_an_offer_closes_the_connection(garbage):
    """Nothing stays behind."""
    async with serve_http(silent) as server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(signalling(server.url()).offer, OFFER)
            await server.wait_request()
            nursery.cancel_scope.cancel()
        await server.wait_idle()


# -- what can't work ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"url": None}, "WebRTC needs a webrtc_url"),
        ({"url": "ws://localhost"}, "expected a http:// or https:// URL"),
        (
            {"token": "t", "token_in": "path"},
            "the token of a WebRTC offer goes in the header or the query",
        ),
        (
            {"token": "t", "headers": {"Authorization": SECRET}},
            "two authorizations, by headers and by token; say token_in='query', or leave one out",
        ),
        (
            {"token": "t", "url": f"http://al:{SECRET}@localhost"},
            "two authorizations, by the URL and by token",
        ),
        ({"token": "a\r\nb"}, "the header authorization holds what can't be sent in a header"),
        ({"token": "€"}, "the header authorization holds what can't be sent in a header"),
        ({"request_data": {"a": b""}}, "request_data can't be JSON: Object of type bytes"),
        ({"request_data": float("nan")}, "request_data can't be JSON"),
    ],
)
def test_parameters_that_cannot_work_are_refused(options, why):
    """Before anything is sent, without their secrets."""
    said = refusal(**options)
    assert said.startswith(why)
    assert SECRET not in said


@pytest.mark.parametrize("options", [{"token": "t"}, {"headers": {"Cookie": "a=b"}}])
def test_credentials_are_not_sent_in_the_clear(options):
    """To another machine, that is, and unless somebody asked for it."""
    assert "unencrypted" in refusal("http://bot.example/api/offer", **options)
    signalling("http://bot.example/api/offer", allow_insecure_token=True, **options)
    signalling("https://bot.example/api/offer", **options)


def test_a_token_that_goes_nowhere_may_go_anywhere():
    """Without a token its place does not matter."""
    signalling("http://localhost/api/offer", token_in="path")


# -- secrets -----------------------------------------------------------------------------


def test_an_answer_shows_no_secret():
    """Its SDP holds the key to the connection."""
    assert f"Answer(pc_id={PC_ID!r}, max_message_size=262144)" == repr(_read_answer(body(), 200))


@pytest.mark.socket
@pytest.mark.parametrize("status", [200, 400, 404])
@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/api/offer", {"token": SECRET}),
        ("/api/offer", {"token": SECRET, "token_in": "query"}),
        (f"/api/offer?key={SECRET}", {}),
        ("/api/offer", {"headers": {"X-Api-Key": SECRET}}),
        ("/api/offer", {"request_data": {"api_key": SECRET}}),
    ],
)
async def test_what_a_server_repeats_is_not_shown(status, path, options):
    """Our secrets come back in errors, and stay out of ours; the offer's password is one."""

    async def echo(exchange):
        request = exchange.request
        told = f"{request.target} {request.headers} {request.json}"
        await exchange.answer(status, told if status == 200 else {"detail": told})

    async with serve_http(echo) as server:
        with pytest.raises(TransportStartError) as caught:
            await signalling(server.url(path), **options).offer(OFFER)
    told = "".join(traceback.format_exception(caught.value))
    assert SECRET not in told
    assert "0ur-ice-password" not in told
    assert "0ur-ice-password" in json.dumps(server.requests[0].json)


@pytest.mark.socket
async def test_a_server_may_quote_our_origin():
    """It is no secret, and says what is wrong."""
    handler = answering(403, {"detail": "https://app.example may not"})
    error = await failure_of(handler, origin="https://app.example")
    assert "https://app.example may not" == error.detail
