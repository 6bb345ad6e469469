"""What a start answer means, and that nothing shows its secrets."""

import json

import pytest

from trio_pipecat import ConnectParams, InvalidParamsError, StartBotError, StartedBot
from trio_pipecat._params import (
    check_offer_url_template,
    offer_url,
    read_answer,
    secrets_in,
    without_secrets,
)

ENDPOINT = "http://localhost:7860/start"
UUID = "123e4567-e89b-12d3-a456-426614174000"
TURN = {"urls": ["turn:turn.example:3478"], "username": "u", "credential": "c"}
STUN = {"urls": "stun:stun.example:19302"}


def params(**fields):
    """Return what is expected of an answer."""
    return ConnectParams(**fields)


# -- every answer of Pipecat's runner ----------------------------------------------------

WEBSOCKET = {
    "wsUrl": "ws://localhost:7860/ws-client",
    "sessionId": UUID,
    "token": None,
    "fileUploadUrl": "/files",
}


def test_the_answer_for_websocket():
    """A WebSocket answer has an address, no token in open mode, and a session id."""
    expected = params(
        transport="websocket",
        ws_url="ws://localhost:7860/ws-client",
        session_id=UUID,
        file_upload_url="http://localhost:7860/files",
    )
    assert expected == read_answer(WEBSOCKET, ENDPOINT)


def test_the_answer_for_websocket_in_token_mode():
    """The token is for the link."""
    assert "abc123" == read_answer({**WEBSOCKET, "token": "abc123"}, ENDPOINT).token


@pytest.mark.parametrize("answer", [{}, {"token": "abc123"}])
def test_the_answer_for_telephony(answer):
    """A telephony answer is an address and perhaps a token, and no session id."""
    answer = {"wsUrl": "wss://bot.example/ws", **answer}
    expected = params(
        transport="websocket", ws_url="wss://bot.example/ws", token=answer.get("token")
    )
    assert expected == read_answer(answer, ENDPOINT)


@pytest.mark.parametrize("servers", [[STUN], [TURN, STUN], []])
@pytest.mark.parametrize("transport", [None, "webrtc"])
def test_the_answer_for_webrtc(servers, transport):
    """A WebRTC answer is a session id: the offer goes beside the endpoint. ICE servers go along."""
    answer = {
        "sessionId": UUID,
        "iceConfig": {"iceServers": servers},
        "fileUploadUrl": f"/sessions/{UUID}/files",
    }
    expected = params(
        transport="webrtc",
        webrtc_url=f"http://localhost:7860/sessions/{UUID}/api/offer",
        ice_servers=servers,
        session_id=UUID,
        file_upload_url=f"http://localhost:7860/sessions/{UUID}/files",
    )
    assert expected == read_answer(answer, ENDPOINT, transport=transport)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ({"dailyRoom": "https://x.daily.co/r", "dailyToken": "t", "sessionId": UUID}, "Daily"),
        ({"daily_room": "https://x.daily.co/r"}, "Daily"),
        ({"url": "wss://x.livekit.cloud", "token": "t", "sessionId": UUID}, "LiveKit"),
        ({"sessionId": UUID, "moq": {"relayUrl": "https://relay.example"}}, "MoQ"),
    ],
)
def test_an_answer_for_another_transport_is_named(answer, name):
    """An answer for a transport that is not spoken here is no WebRTC session: it is refused."""
    with pytest.raises(StartBotError) as caught:
        read_answer(answer, ENDPOINT)
    assert f"the answer is for {name}, which this client does not speak" == caught.value.detail


def test_a_websocket_address_beside_a_room_counts():
    """An answer that names a room and a WebSocket is for us."""
    answer = {"dailyRoom": "https://x.daily.co/r", "wsUrl": "wss://bot.example/ws", "url": "x"}
    assert "websocket" == read_answer({**answer, "token": "t"}, ENDPOINT).transport


def test_the_answer_of_pipecat_cloud():
    """Pipecat Cloud gives the body back for the upgrade."""
    answer = {
        "sessionId": UUID,
        "dailyRoom": None,
        "dailyToken": None,
        "wsUrl": "wss://eu.api.example/ws/generic/agent.org",
        "token": "abc123",
        "body": "eyJhIjogMX0=",
    }
    expected = params(
        transport="websocket",
        ws_url="wss://eu.api.example/ws/generic/agent.org",
        token="abc123",
        body="eyJhIjogMX0=",
        session_id=UUID,
    )
    assert expected == read_answer(answer, "https://api.example/v1/public/agent/start")


def test_the_answer_for_the_simulated_bot():
    """The simulated bot's address is its own."""
    expected = params(transport="sim", sim_url="sim:", session_id=UUID)
    assert expected == read_answer({"simUrl": "sim:", "sessionId": UUID}, "sim:")


# -- read tolerantly ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("camel", "snake"),
    [
        (
            {"wsUrl": "ws://localhost/ws", "sessionId": "1", "fileUploadUrl": "/files"},
            {"ws_url": "ws://localhost/ws", "session_id": "1", "file_upload_url": "/files"},
        ),
        (
            {"sessionId": "1", "iceConfig": {"iceServers": [STUN]}},
            {"session_id": "1", "ice_config": {"ice_servers": [STUN]}},
        ),
        (
            {"webrtcUrl": "http://localhost/offer", "sessionId": "1"},
            {"webrtc_url": "http://localhost/offer", "session_id": "1"},
        ),
        ({"wsURL": "ws://localhost/ws"}, {"ws_url": "ws://localhost/ws"}),
        ({"simUrl": "sim:"}, {"sim_url": "sim:"}),
    ],
)
def test_both_spellings_are_read(camel, snake):
    """camelCase and snake_case mean the same."""
    assert read_answer(snake, ENDPOINT) == read_answer(camel, ENDPOINT)


@pytest.mark.parametrize("nothing", [None, ""])
def test_null_is_absent(nothing):
    """A key that is null, or an empty string, is as good as none."""
    keys = ("token", "sessionId", "fileUploadUrl", "body", "simUrl", "webrtcUrl", "dailyRoom")
    answer = {"wsUrl": "ws://localhost/ws", **dict.fromkeys(keys, nothing)}
    found = read_answer(answer, ENDPOINT)
    assert params(transport="websocket", ws_url="ws://localhost/ws", other=found.other) == found
    assert {} == {key: value for key, value in found.other.items() if value}


def test_a_room_that_is_empty_is_none():
    """An empty room does not make a WebRTC answer one for Daily."""
    assert "webrtc" == read_answer({"sessionId": UUID, "dailyRoom": ""}, ENDPOINT).transport


def test_unknown_keys_are_kept():
    """What is unknown is not minded, and there for who knows it."""
    answer = {**WEBSOCKET, "region": "eu", "somethingElse": [1, None], "nothing": None}
    assert {"region": "eu", "something_else": [1, None]} == read_answer(answer, ENDPOINT).other


def test_an_explicit_webrtc_address_is_taken():
    """An address that is given is not made up, and a session id does not replace it."""
    answer = {"webrtcUrl": "https://bot.example/offer", "sessionId": UUID}
    found = read_answer(answer, ENDPOINT, request_data={"a": 1})
    expected = params(transport="webrtc", webrtc_url="https://bot.example/offer", session_id=UUID)
    assert expected == found


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"wsUrl": "ws://localhost/ws"}, {"a": 1}),
        ({"simUrl": "sim:"}, {"a": 1}),
        ({"sessionId": UUID}, None),
    ],
)
def test_an_offer_does_not_repeat_the_start_request(answer, expected):
    """It would replace the body that the bot was started with."""
    assert expected == read_answer(answer, ENDPOINT, request_data={"a": 1}).request_data


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        (None, "http://localhost:7860/offer"),
        ("wss://proxy.example/bots/", "https://proxy.example/bots/offer"),
    ],
)
def test_a_relative_webrtc_address_is_beside_the_endpoint(base_url, expected):
    """Or where ``base_url`` says."""
    found = read_answer({"webrtcUrl": "/offer"}, ENDPOINT, base_url=base_url)
    assert expected == found.webrtc_url


@pytest.mark.parametrize("config", ["turn:x", [], {}, {"iceServers": None}, {"iceServers": "x"}])
def test_ice_servers_that_are_none_are_none(config):
    """An iceConfig that can't be read is as good as none."""
    assert read_answer({"sessionId": UUID, "iceConfig": config}, ENDPOINT).ice_servers is None


def test_ice_servers_that_cannot_be_used_are_left_out():
    """A server may know some that we don't."""
    answer = {"sessionId": UUID, "iceConfig": {"iceServers": [{"urls": "quic:x"}, TURN, 7, STUN]}}
    assert [TURN, STUN] == read_answer(answer, ENDPOINT).ice_servers


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("/files", "http://localhost:7860/files"),
        ("https://files.example/up", "https://files.example/up"),
        (f"/sessions/{UUID}/files", f"http://localhost:7860/sessions/{UUID}/files"),
    ],
)
def test_the_upload_address_is_relative_or_absolute(given, expected):
    """Pipecat's runner gives a path, other servers an address."""
    answer = {**WEBSOCKET, "fileUploadUrl": given}
    assert expected == read_answer(answer, ENDPOINT).file_upload_url


def test_base_url_goes_for_both_addresses():
    """Behind a proxy, link and uploads go through the proxy."""
    found = read_answer(WEBSOCKET, ENDPOINT, base_url="https://proxy.example/bots")
    assert "wss://proxy.example/bots/ws-client" == found.ws_url
    assert "https://proxy.example/bots/files" == found.file_upload_url


def test_the_websocket_address_is_mended():
    """An address that can't be reached from here is made into one that can."""
    answer = {"wsUrl": "wss://0.0.0.0:7860/ws-client"}
    assert "ws://localhost:7860/ws-client" == read_answer(answer, ENDPOINT).ws_url


# -- which transport ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transport", "expected"), [(None, "websocket"), ("websocket", "websocket"), ("webrtc",) * 2]
)
def test_the_transport_follows_from_the_answer_unless_told(transport, expected):
    """A WebSocket address makes a WebSocket, unless WebRTC was asked for and can be had."""
    found = read_answer(WEBSOCKET, ENDPOINT, transport=transport)
    assert expected == found.transport
    assert "ws://localhost:7860/ws-client" == found.ws_url


def test_a_transport_that_is_unknown_here_is_left_to_its_connector():
    """What another transport needs, its own connector knows."""
    assert "smoke" == read_answer({"signals": 3}, ENDPOINT, transport="smoke").transport


@pytest.mark.parametrize(
    ("answer", "transport"),
    [
        ({}, None),
        ({"token": "t"}, None),
        ({"message": "hello"}, None),
        ({"sessionId": UUID}, "websocket"),
        ({"wsUrl": "ws://localhost/ws"}, "webrtc"),
    ],
)
def test_an_answer_without_a_usable_address_is_an_error(answer, transport):
    """An answer that does not lead to what was asked for is refused, and its keys are named."""
    with pytest.raises(StartBotError) as caught:
        read_answer(answer, ENDPOINT, transport=transport)
    assert 200 == caught.value.status
    assert f"the answer names no address; its keys are {sorted(answer)}" == caught.value.detail


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (None, "null"),
        ([], "a list"),
        ([WEBSOCKET], "a list"),
        (0, "no object"),
        ("ws://localhost", "no object"),
        (True, "no object"),
    ],
)
def test_an_answer_that_is_no_object_is_an_error(answer, kind):
    """Literal null is what a runner without a Daily room says."""
    with pytest.raises(StartBotError) as caught:
        read_answer(answer, ENDPOINT)
    expected = f"the answer is {kind}, not an object with an address"
    assert (expected, 200) == (caught.value.detail, caught.value.status)


@pytest.mark.parametrize("value", [7, 1.5, True, ["ws://localhost"], {"url": "ws://localhost"}])
@pytest.mark.parametrize("key", ["wsUrl", "token", "sessionId", "fileUploadUrl", "webrtcUrl"])
def test_a_known_key_that_is_no_string_is_an_error(key, value):
    """A key of the wrong type is named, without its value."""
    with pytest.raises(StartBotError, match=r"^the bot .*: the answer's [a-z_]+ is no string$"):
        read_answer({**WEBSOCKET, key: value}, ENDPOINT)


@pytest.mark.parametrize(
    "answer",
    [
        {"wsUrl": "ftp://bot.example/ws"},
        {"wsUrl": "ws://bot.example:99999/ws"},
        {"wsUrl": "ws://["},
        {"wsUrl": "ws://user:s3cret-word@bot.example:x/ws?token=s3cret-word"},
        {**WEBSOCKET, "fileUploadUrl": "ftp://user:s3cret-word@files.example"},
        {**WEBSOCKET, "fileUploadUrl": "http://["},
        {"webrtcUrl": "ws://user:s3cret-word@bot.example"},
        {"webrtcUrl": "http://["},
    ],
)
def test_an_address_that_cannot_be_used_is_an_error(answer):
    """Whatever a server says, the outcome is parameters or `StartBotError`, without its secrets."""
    with pytest.raises(StartBotError, match="the answer has an address that can't be used") as err:
        read_answer(answer, ENDPOINT)
    assert "s3cret" not in f"{err.value} {err.value!r}"


# -- where the offer goes ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("http://localhost/start", "http://localhost/sessions/ID/api/offer"),
        ("http://localhost/start/", "http://localhost/sessions/ID/api/offer"),
        ("http://localhost/api/start?x=1", "http://localhost/api/sessions/ID/api/offer?x=1"),
        (
            "https://api.example/v1/public/agent/start",
            "https://api.example/v1/public/agent/sessions/ID/api/offer",
        ),
        ("https://start.example/start", "https://start.example/sessions/ID/api/offer"),
        ("https://x.example/starter/start", "https://x.example/starter/sessions/ID/api/offer"),
        ("https://x.example/begin", "https://x.example/sessions/ID/api/offer"),
        ("https://x.example", "https://x.example/sessions/ID/api/offer"),
    ],
)
def test_the_offer_goes_beside_the_endpoint(endpoint, expected):
    """Only the last path segment of the endpoint is replaced."""
    assert expected == offer_url(endpoint, "ID")


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("https://proxy.example", "https://proxy.example/sessions/ID/api/offer"),
        ("http://proxy.example:8/bots/", "http://proxy.example:8/bots/sessions/ID/api/offer"),
        ("wss://proxy.example/bots", "https://proxy.example/bots/sessions/ID/api/offer"),
        ("ws://proxy.example", "http://proxy.example/sessions/ID/api/offer"),
    ],
)
def test_the_offer_goes_where_the_base_url_says(base_url, expected):
    """Instead of the endpoint's server and folder; the endpoint's credentials stay behind."""
    endpoint = "http://me:pw@localhost:7860/api/start?key=k"
    assert expected == offer_url(endpoint, "ID", base_url=base_url)
    found = read_answer({"sessionId": "ID"}, endpoint, base_url=base_url)
    assert expected == found.webrtc_url


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("https://x.example/a/:sessionId/api/offer", "https://x.example/a/..%2Fb/api/offer"),
        ("http://x.example/offer?id=:sessionId&a=1", "http://x.example/offer?id=..%2Fb&a=1"),
    ],
)
def test_the_offer_goes_where_a_template_says(template, expected):
    """Whatever the endpoint and the base URL are."""
    check_offer_url_template(template)
    found = read_answer(
        {"sessionId": "../b"}, ENDPOINT, base_url="https://y.example", offer_url_template=template
    )
    assert expected == found.webrtc_url


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("https://x.example/api/offer", "offer_url_template has no :sessionId in its path"),
        ("https://x.example/a#:sessionId", "offer_url_template has no :sessionId in its path"),
        ("wss://x.example/:sessionId", "expected a http:// or https:// URL"),
        ("/sessions/:sessionId", "expected a http:// or https:// URL"),
        ("https://x.example:sessionId/", "not a URL"),
        (7, "a URL is a string, not int"),
    ],
)
def test_a_template_that_makes_no_address_is_refused(template, why):
    """Before anything is sent."""
    with pytest.raises(InvalidParamsError, match=why):
        check_offer_url_template(template)


def test_a_session_id_is_one_segment():
    """A session id can't lead anywhere else."""
    expected = "http://localhost/sessions/..%2F..%2Fx%3Fy/api/offer"
    assert expected == offer_url("http://localhost/start", "../../x?y")


# -- secrets -----------------------------------------------------------------------------

SECRET = "s3cret-word"


def test_params_show_no_secret():
    """The repr of parameters has their addresses, and neither tokens nor what may hold them."""
    shown = repr(
        params(
            transport="websocket",
            ws_url=f"wss://{SECRET}:{SECRET}@bot.example/ws?token={SECRET}",
            token=SECRET,
            body=SECRET,
            webrtc_url=f"https://bot.example/{4 * SECRET}",
            ice_servers=[{"credential": SECRET}],
            request_data={"key": SECRET},
            file_upload_url=f"https://bot.example/files?{SECRET}",
            other={"dailyToken": SECRET},
        )
    )
    assert SECRET not in shown
    assert "ws_url='wss://bot.example/ws?token=***', token='***'" in shown
    assert "other=['dailyToken']" in shown
    assert "token=None" in repr(params(transport="websocket"))


def test_a_started_bot_shows_no_secret():
    """The repr of a started bot has its endpoint, and not the answer."""
    bot = StartedBot(
        endpoint=f"https://bot.example/start?token={SECRET}",
        answer={"token": SECRET},
        params=params(transport="websocket", token=SECRET),
    )
    assert SECRET not in repr(bot)
    assert repr(bot).startswith("StartedBot(endpoint='https://bot.example/start?token=***', params")


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (None, None),
        ("text", "text"),
        ([1, True, None], [1, True, None]),
        ({"sessionId": UUID, "n": 1}, {"sessionId": UUID, "n": 1}),
        ({"token": SECRET, "dailyToken": SECRET}, {"token": "***", "dailyToken": "***"}),
        ({"token": None, "body": None}, {"token": None, "body": None}),
        ({"body": SECRET, "somebody": "x"}, {"body": "***", "somebody": "x"}),
        ({"Authorization": SECRET, "apiKey": SECRET}, {"Authorization": "***", "apiKey": "***"}),
        ({"password": {"a": [SECRET]}}, {"password": "***"}),
        ({"wsUrl": f"ws://h/w?t={SECRET}"}, {"wsUrl": "ws://h/w?t=***"}),
        ({"wsUrl": f"/ws/{4 * SECRET}?t={SECRET}"}, {"wsUrl": "/ws/***?t=***"}),
        ({"urls": [f"turn://u:{SECRET}@h"]}, {"urls": ["turn://h"]}),
        (
            {"iceConfig": {"iceServers": [TURN]}},
            {"iceConfig": {"iceServers": [{**TURN, "credential": "***"}]}},
        ),
    ],
)
def test_an_answer_is_shown_without_its_secrets(answer, shown):
    """`without_secrets` hides what is named like a secret, and redacts addresses."""
    assert shown == without_secrets(answer)


def test_a_very_deep_answer_is_shown_to_some_depth():
    """An answer that is a tower of lists breaks nothing."""
    answer = json.loads(450 * '{"a":[' + 450 * "]}")
    assert "***" in json.dumps(without_secrets(answer))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, []),
        ("text", []),
        ({"token": "t"}, ["t"]),
        ({"TOKEN": 5, "Token": None}, []),
        ([{"apiKey": ["a", {"x": "b"}, 1]}], ["a", "b"]),
        ({"body": "sealed"}, ["sealed"]),
        ({"body": {"city": "Oslo", "password": "p"}}, ["p"]),
        ({"plain": {"credential": "c"}, "x": [1]}, ["c"]),
    ],
)
def test_secrets_are_known_by_their_keys(value, found):
    """However deep; a body that is an object is not one, but may hold some."""
    assert found == secrets_in(value)


def test_secrets_are_not_looked_for_without_end():
    """Nothing is as deep on purpose."""
    deep = {"token": "t"}
    for _ in range(100):
        deep = {"x": [deep]}
    assert [] == secrets_in(deep)
    for _ in range(100):
        deep = {"token": [deep]}
    assert [] == secrets_in(deep)
