"""What the caller asked to connect to, made into a plan."""

import pytest
from http_server import answering, serve_http

from trio_pipecat import (
    ConnectParams,
    InvalidParamsError,
    StartBotError,
    StartedBot,
    UnsupportedFeatureError,
)
from trio_pipecat._options import check_options
from trio_pipecat._targets import make_plan
from trio_pipecat.transports import _registry, find_connector

WEBSOCKET = find_connector("websocket")
ENDPOINT = "http://localhost:7860/start"
WS_URL = "ws://localhost:7860/ws-client"
OFFER_URL = "http://localhost:7860/api/offer"
TEMPLATE = "https://bot.example/:sessionId/offer"
STUN, TURN = {"urls": "stun:x"}, {"urls": "turn:x"}


def connector(params, options):
    """Stand for a connector: nobody calls it here."""
    raise AssertionError


def plan_for(target=None, **keywords):
    """Return the plan for what a caller says."""
    return make_plan(target, check_options(keywords))


def refusal(target=None, **keywords):
    """Return what is said against what a caller says."""
    with pytest.raises(InvalidParamsError) as caught:
        plan_for(target, **keywords)
    return str(caught.value)


def websocket_params(**fields):
    """Return parameters for a WebSocket."""
    return ConnectParams(**{"transport": "websocket", "ws_url": WS_URL, **fields})


# -- the three ways ----------------------------------------------------------------------


@pytest.mark.parametrize("first", [True, False])
def test_an_endpoint_means_start_first(first):
    """With an endpoint there is something to start, and nothing to connect to yet."""
    headers = {"Authorization": "Bearer abc"}
    plan = (
        plan_for(ENDPOINT, headers=headers)
        if first
        else plan_for(endpoint=ENDPOINT, headers=headers)
    )
    assert plan.start is not None
    assert (None, None) == (plan.params, plan.started)


def test_the_start_requests_headers_are_not_the_upgrades():
    """The link may lead somewhere else, so a start request's headers do not go there."""
    headers = {"Authorization": "Bearer abc"}
    params = websocket_params()
    started = StartedBot(endpoint=ENDPOINT, answer={}, params=params)
    assert {} == plan_for(ENDPOINT, headers=headers).headers_for(params, started)
    assert headers == plan_for(WS_URL, headers=headers).headers_for(params, None)
    assert headers == plan_for(params, headers=headers).headers_for(params, None)
    assert headers == plan_for(started, headers=headers).headers_for(params, started)
    assert headers == plan_for("sim:", headers=headers).headers_for(params, started)


@pytest.mark.parametrize(
    ("url", "goes"),
    [
        ("https://bot.example/sessions/1/api/offer", True),
        ("https://BOT.example:443/other", True),
        ("http://bot.example/sessions/1/api/offer", False),
        ("https://bot.example:444/sessions/1/api/offer", False),
        ("https://eu.bot.example/sessions/1/api/offer", False),
        (None, False),
    ],
)
def test_the_start_requests_headers_go_with_offers_to_the_same_server(url, goes):
    """Pipecat Cloud wants to see them again; nobody else does."""
    headers = {"Authorization": "Bearer abc", "X-Name": "a"}
    plan = plan_for("https://bot.example/start", headers=headers)
    params = ConnectParams(transport="webrtc", webrtc_url=url)
    started = StartedBot(endpoint="https://bot.example/start", answer={}, params=params)
    assert (headers if goes else {}) == plan.headers_for(params, started)
    assert {} == plan.headers_for(params, None)
    params.transport = "websocket"
    assert {} == plan.headers_for(params, started)


def test_a_token_goes_before_the_start_requests_authorization():
    """Two of them would be one too many."""
    headers = {"AUTHORIZATION": "Bearer abc", "X-Name": "a"}
    params = ConnectParams(transport="webrtc", webrtc_url=OFFER_URL, token="t")
    started = StartedBot(endpoint=ENDPOINT, answer={}, params=params)
    assert {"X-Name": "a"} == plan_for(ENDPOINT, headers=headers).headers_for(params, started)


@pytest.mark.parametrize("first", [True, False])
def test_a_websocket_address_means_connect(first):
    """With a WebSocket address there are parameters at once."""
    keywords = {"token": "abc"}
    plan = plan_for(WS_URL, **keywords) if first else plan_for(ws_url=WS_URL, **keywords)
    assert websocket_params(**keywords) == plan.params
    assert (None, None, None) == (plan.start, plan.started, plan.connector)
    assert WEBSOCKET is plan.connector_for(plan.params)


def test_an_offer_address_means_webrtc():
    """With an address for offers and a connector there are parameters at once."""
    plan = plan_for(webrtc_url=OFFER_URL, token="abc", transport=connector)
    expected = ConnectParams(transport="webrtc", webrtc_url=OFFER_URL, token="abc")
    assert expected == plan.params
    assert connector is plan.connector_for(plan.params)


@pytest.fixture
def webrtc(monkeypatch):
    """WebRTC is installed, though nothing opens it here."""
    monkeypatch.setitem(_registry._CONNECTORS, "webrtc", f"{__name__}:connector")


@pytest.mark.parametrize("url", [OFFER_URL, f"{OFFER_URL}/?a=b", "HTTPS://x/sessions/1/api/offer"])
@pytest.mark.parametrize("keywords", [{}, {"transport": "webrtc"}])
def test_a_first_argument_that_takes_offers_means_webrtc(webrtc, url, keywords):
    """Its path says so; such a bot takes request data."""
    plan = plan_for(url, request_data={"a": 1}, ice_servers=[STUN], **keywords)
    expected = ConnectParams(
        transport="webrtc", webrtc_url=url, request_data={"a": 1}, ice_servers=[STUN]
    )
    assert (expected, None, "webrtc") == (plan.params, plan.start, plan.kind)
    assert connector is plan.connector_for(plan.params)


@pytest.mark.parametrize(
    "keywords",
    [{"target": f"{ENDPOINT}?next=/api/offer"}, {"endpoint": OFFER_URL}],
)
def test_other_addresses_start_a_bot(keywords):
    """Those whose query looks so, and those that are said to be endpoints."""
    assert plan_for(**keywords).start is not None


def test_parameters_at_hand_are_taken():
    """`ConnectParams` are what to connect with."""
    params = websocket_params(token="abc", session_id="1")
    plan = plan_for(params)
    assert params == plan.params
    assert (None, None) == (plan.start, plan.started)


def test_a_started_bot_is_connected_to():
    """A `StartedBot` is not started again; its parameters may have been changed."""
    started = StartedBot(endpoint=ENDPOINT, answer={}, params=websocket_params())
    started.params.token = "abc"
    plan = plan_for(started)
    assert websocket_params(token="abc") == plan.params
    assert started is plan.started
    assert plan.start is None


def test_parameters_for_the_simulated_bot_need_no_address():
    """Only a WebSocket has to have its address."""
    assert "sim" == plan_for(ConnectParams(transport="sim")).params.transport


def test_keywords_change_parameters_at_hand():
    """A token, ICE servers or transport given beside parameters win; the parameters are kept."""
    params = websocket_params(transport="webrtc", token="old", ice_servers=[])
    plan = plan_for(params, token="new", ice_servers=[STUN], transport="websocket")
    assert websocket_params(token="new", ice_servers=[STUN]) == plan.params
    assert websocket_params(transport="webrtc", token="old", ice_servers=[]) == params


def test_a_connector_of_ones_own_needs_no_address():
    """A connector may know its way itself."""
    plan = plan_for(transport=connector)
    assert ConnectParams(transport="custom") == plan.params
    assert connector is plan.connector_for(plan.params)


@pytest.mark.parametrize("target", [ENDPOINT, WS_URL, websocket_params(ws_url=None)])
def test_a_connector_of_ones_own_opens_any_target(target):
    """A connector of one's own gets whatever parameters there are."""
    assert connector is plan_for(target, transport=connector).connector


@pytest.mark.parametrize(
    "address", ["HTTP://localhost/start", "Https://localhost/start", "WS://localhost", "wsS://x"]
)
def test_the_case_of_a_scheme_does_not_matter(address):
    """A scheme may be written in capitals."""
    plan = plan_for(address)
    assert (plan.start is None) == address.lower().startswith("ws")


def test_the_simulated_bot_is_started():
    """A ``sim:`` address has its bot started, and its parameters come later."""
    plan = plan_for("sim:")
    assert plan.start is not None
    assert plan.params is None


async def test_the_simulated_bot_is_connected_to_as_such():
    """What is started for ``sim:`` is a `StartedBot` whose transport is the simulated one."""
    started = await plan_for("sim:?think=1").start()
    assert ("sim", "sim:?think=1") == (started.params.transport, started.params.sim_url)


# -- what can't be meant -----------------------------------------------------------------

NOTHING = "nothing to connect to: give an address, endpoint=, ws_url= or webrtc_url="


def test_nothing_to_connect_to_is_an_error():
    """Somebody has to say where the bot is."""
    assert NOTHING == refusal()
    assert NOTHING == refusal(transport="websocket", token="abc")


@pytest.mark.parametrize(
    ("target", "keywords", "named"),
    [
        (None, {"endpoint": ENDPOINT, "ws_url": WS_URL}, "endpoint and ws_url"),
        (None, {"ws_url": WS_URL, "webrtc_url": OFFER_URL}, "ws_url and webrtc_url"),
        (
            None,
            {"endpoint": ENDPOINT, "ws_url": WS_URL, "webrtc_url": OFFER_URL},
            "endpoint and ws_url and webrtc_url",
        ),
        (ENDPOINT, {"endpoint": ENDPOINT}, "the first argument and endpoint"),
        (WS_URL, {"ws_url": WS_URL}, "the first argument and ws_url"),
        (ENDPOINT, {"ws_url": WS_URL}, "endpoint and ws_url"),
        ("sim:", {"ws_url": WS_URL}, "the first argument and ws_url"),
        (websocket_params(), {"endpoint": ENDPOINT}, "the first argument and endpoint"),
        (
            StartedBot(endpoint=ENDPOINT, answer={}, params=websocket_params()),
            {"ws_url": WS_URL},
            "the first argument and ws_url",
        ),
    ],
)
def test_two_targets_are_an_error(target, keywords, named):
    """Of two ways nobody can say which was meant; the error names both."""
    assert f"{named} were given; one of them, please" == refusal(target, **keywords)


ADDRESS = "expected a ws://, wss://, http://, https:// or sim: address"


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("", f"{ADDRESS}, not ''"),
        ("localhost:7860", f"{ADDRESS}, not 'localhost:7860'"),
        ("ftp://localhost", f"{ADDRESS}, not 'ftp://localhost'"),
        ("user:s3cret-word@localhost", f"{ADDRESS}, not '***'"),
        ("ftp://u:s3cret-word@localhost?s3cret-word", f"{ADDRESS}, not 'ftp://localhost?***'"),
        (" ws://localhost", f"{ADDRESS}, not 'ws://localhost'"),
        ("ws:localhost", "a URL without a usable host or port"),
        ("http://", "a URL without a usable host or port"),
        ("ws://localhost:99999", "not a URL: its host or port can't be read"),
        (7860, "the first argument is an address, a StartedBot or ConnectParams, not int"),
        (b"ws://x", "the first argument is an address, a StartedBot or ConnectParams, not bytes"),
        ({}, "the first argument is an address, a StartedBot or ConnectParams, not dict"),
    ],
)
@pytest.mark.parametrize("keywords", [{}, {"transport": connector}])
def test_a_first_argument_that_is_no_target_is_an_error(target, why, keywords):
    """What is no address is refused at once, whatever the transport, without its secrets."""
    assert why in refusal(target, **keywords)


@pytest.mark.parametrize(
    ("key", "url", "wanted"),
    [
        ("endpoint", "ws://localhost", "http:// or https://"),
        ("endpoint", "", "http:// or https://"),
        ("ws_url", "http://localhost", "ws:// or wss://"),
        ("ws_url", "/ws-client", "ws:// or wss://"),
        ("webrtc_url", "wss://localhost", "http:// or https://"),
        ("base_url", "bot.example", "http:// or https:// or ws:// or wss://"),
    ],
)
def test_an_address_of_another_scheme_is_an_error(key, url, wanted):
    """Each keyword takes the schemes that it can use."""
    target = ENDPOINT if key == "base_url" else None
    assert f"expected a {wanted} URL, not {url!r}" == refusal(target, **{key: url})


@pytest.mark.parametrize("key", ["endpoint", "ws_url", "webrtc_url", "base_url"])
@pytest.mark.parametrize("value", [7, b"ws://localhost", ["ws://localhost"]])
def test_an_address_that_is_no_string_is_an_error(key, value):
    """An address is text."""
    target = ENDPOINT if key == "base_url" else None
    said = refusal(target, **{key: value})
    assert f"a URL is a string, not {type(value).__name__}" == said


@pytest.mark.parametrize(
    ("target", "keywords", "why"),
    [
        (websocket_params(ws_url=None), {}, "a WebSocket needs a ws_url"),
        (websocket_params(ws_url="http://x"), {}, "expected a ws:// or wss:// URL, not 'http://x'"),
        (
            StartedBot(endpoint=ENDPOINT, answer={}, params=websocket_params(ws_url=None)),
            {},
            "a WebSocket needs a ws_url",
        ),
        (
            None,
            {"webrtc_url": OFFER_URL, "transport": "websocket"},
            "transport 'websocket' does not fit a webrtc address",
        ),
        (WS_URL, {"transport": "sim"}, "transport 'sim' does not fit a websocket address"),
        (WS_URL, {"request_data": {}}, "request_data has no use with ws_url: nothing is started"),
        (WS_URL, {"base_url": ENDPOINT}, "base_url has no use with ws_url: nothing is started"),
        (WS_URL, {"ice_servers": []}, "ice_servers has no use with ws_url: nothing is started"),
        (
            WS_URL,
            {"base_url": ENDPOINT, "transport": "websocket"},
            "base_url has no use with ws_url: nothing is started",
        ),
        (
            WS_URL,
            {"offer_url_template": TEMPLATE},
            "offer_url_template has no use with ws_url: nothing is started",
        ),
        (
            OFFER_URL,
            {"base_url": ENDPOINT, "transport": "webrtc"},
            "base_url has no use with webrtc_url: nothing is started",
        ),
        (
            OFFER_URL,
            {"offer_url_template": TEMPLATE},
            "offer_url_template has no use with webrtc_url: nothing is started",
        ),
        (
            ENDPOINT,
            {"offer_url_template": ENDPOINT},
            "offer_url_template has no :sessionId in its path",
        ),
        (
            WS_URL,
            {"transport": "webrtc"},
            "transport 'webrtc' does not fit a websocket address; bots take offers at http://…/api/offer",
        ),
        (
            OFFER_URL,
            {"webrtc_url": OFFER_URL},
            "the first argument and webrtc_url were given; one of them, please",
        ),
        (OFFER_URL, {"ws_url": WS_URL}, "ws_url and webrtc_url were given; one of them, please"),
        (ConnectParams(transport="webrtc"), {}, "WebRTC needs a webrtc_url"),
        (
            ConnectParams(transport="webrtc", webrtc_url=WS_URL),
            {},
            f"expected a http:// or https:// URL, not {WS_URL!r}",
        ),
        (
            ConnectParams(transport="webrtc", webrtc_url=OFFER_URL, ice_servers=[1]),
            {},
            "ICE server 1 is no object with urls",
        ),
        (
            "http://bot.example/api/offer",
            {"token": "s3cret-word"},
            (
                "credentials would go to 'http://bot.example/api/offer' unencrypted; use https://, "
                "or say allow_insecure_token=True"
            ),
        ),
    ],
)
def test_parameters_that_lead_nowhere_are_an_error(webrtc, target, keywords, why):
    """Parameters are looked at before anything is tried."""
    assert why == refusal(target, **keywords)


@pytest.mark.parametrize(
    ("target", "keywords"),
    [
        (ENDPOINT, {"transport": "smoke"}),
        (ENDPOINT, {"transport": ""}),
        (WS_URL, {"transport": "smoke"}),
        (ConnectParams(transport="smoke"), {}),
    ],
)
def test_a_transport_that_is_unknown_is_an_error(target, keywords):
    """A transport that does not exist is refused before anything is tried."""
    with pytest.raises(UnsupportedFeatureError, match="the transport"):
        plan_for(target, **keywords)


@pytest.mark.parametrize(
    ("endpoint", "headers"),
    [
        ("http://bot.example/start", {"Authorization": "Bearer s3cret-word"}),
        ("http://user:s3cret-word@bot.example/start", {}),
        ("http://bot.example/start?token=s3cret-word", {}),
    ],
)
def test_credentials_are_not_sent_for_everyone_to_read(endpoint, headers):
    """Credentials over plain HTTP to another machine are refused at once, unless that is wanted."""
    said = refusal(endpoint, headers=headers)
    assert "unencrypted" in said
    assert "s3cret" not in said
    assert plan_for(endpoint, headers=headers, allow_insecure_token=True).start is not None


# -- starting ----------------------------------------------------------------------------

ANSWER = {"wsUrl": "wss://0.0.0.0:1/ws", "token": "theirs", "iceConfig": {"iceServers": [1, STUN]}}


@pytest.mark.socket
async def test_what_the_endpoint_answers_is_what_to_connect_with():
    """The plan's start asks the endpoint, with the caller's headers and data."""
    async with serve_http(answering(200, ANSWER)) as server:
        plan = plan_for(server.url(), headers={"X-Name": "a"}, request_data={"b": 1})
        started = await plan.start()
    (request,) = server.requests
    assert {"b": 1, "transport": "websocket"} == request.json
    assert ["a"] == request.header("x-name")
    expected = ConnectParams(
        transport="websocket",
        ws_url=f"ws://127.0.0.1:{server.port}/ws",
        token="theirs",
        ice_servers=[STUN],
        request_data={"b": 1},
    )
    assert expected == started.params
    assert WEBSOCKET is plan.connector_for(started.params)


@pytest.mark.socket
async def test_the_callers_token_and_ice_servers_win():
    """What the caller says goes before what the endpoint answers."""
    async with serve_http(answering(200, ANSWER)) as server:
        keywords = {"token": "ours", "ice_servers": [TURN], "base_url": "wss://proxy.example"}
        started = await plan_for(server.url(), **keywords).start()
    params = started.params
    assert ("ours", [TURN], "wss://proxy.example/ws") == (
        params.token,
        params.ice_servers,
        params.ws_url,
    )


@pytest.mark.socket
@pytest.mark.parametrize(("transport", "asked"), [(None, "websocket"), (connector, "websocket")])
async def test_the_endpoint_is_asked_for_the_transport(transport, asked):
    """A start request says which transport is wanted."""
    async with serve_http(answering(200, {"sessionId": "1", **ANSWER})) as server:
        await plan_for(server.url(), transport=transport).start()
    assert {"transport": asked} == server.requests[0].json


@pytest.mark.socket
async def test_a_bot_is_started_for_webrtc(webrtc):
    """When it is said; the offer goes where the template says."""
    async with serve_http(answering(200, {"sessionId": "1", **ANSWER})) as server:
        plan = plan_for(server.url(), transport="webrtc", offer_url_template=TEMPLATE)
        params = (await plan.start()).params
    assert {"transport": "webrtc"} == server.requests[0].json
    assert ("webrtc", "https://bot.example/1/offer") == (params.transport, params.webrtc_url)
    assert connector is plan.connector_for(params)


@pytest.mark.socket
async def test_a_start_has_a_deadline():
    """``start_timeout`` is the endpoint's."""
    async with serve_http(lambda exchange: exchange.hang()) as server:
        with pytest.raises(StartBotError, match="no answer within"):
            await plan_for(server.url(), start_timeout=0.05).start()


# -- secrets -----------------------------------------------------------------------------


def test_a_plan_knows_what_nobody_should_see():
    """Of what was asked, of what was answered, and of what is connected to."""
    plan = plan_for(
        "https://me:pass-word@bot.example/start?key=query%20secret",
        headers={"Authorization": "Bearer header-secret"},
        request_data={"body": {"api_key": "key-secret", "city": "Oslo"}},
        ice_servers=[{"urls": "turn:x", "credential": "turn-secret"}],
        token="given/token",
    )
    params = websocket_params(
        token="later-token", ws_url=f"{WS_URL}?token=url-token", body="sealed"
    )
    started = StartedBot(endpoint=ENDPOINT, answer={"token": "answer-token"}, params=params)
    known = {"pass-word", "query secret", "query%20secret", "header-secret", "key-secret"}
    known |= {"turn-secret", "given/token", "given%2Ftoken"}
    assert known <= {*plan.secrets(None, None)}
    known |= {"later-token", "url-token", "sealed", "answer-token"}
    secrets = plan.secrets(params, started)
    assert known <= {*secrets}
    assert not {"Oslo", "", None} & {*secrets}


@pytest.mark.parametrize(
    ("target", "keywords", "kind"),
    [
        ("sim:", {}, "sim"),
        (ENDPOINT, {}, "endpoint"),
        (WS_URL, {}, "websocket"),
        (OFFER_URL, {}, "webrtc"),
        (None, {"transport": connector}, "custom"),
    ],
)
def test_a_plan_says_of_what_kind_it_is(webrtc, target, keywords, kind):
    """And not where it leads."""
    assert kind == plan_for(target, **keywords).kind
